//! How a tensor's values are held in an artifact.

use std::fmt;
use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Storage class of one tensor (PR #286's export).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TensorClass {
    /// 5-bit integers in -16..=15 with one f16 scale a row.
    Int5,
    /// 6-bit integers in -32..=31 with one f16 scale a row.
    Int6,
    /// 8-bit integers in -127..=127 with one f16 scale a row.
    Int8,
    /// Half precision.
    F16,
    /// Single precision.
    F32,
}

impl TensorClass {
    /// Every class, in the order of their codes and of tables for people.
    pub const ALL: [TensorClass; 5] =
        [TensorClass::Int5, TensorClass::Int6, TensorClass::Int8, TensorClass::F16, TensorClass::F32];

    /// The integers an integer class may hold; `None` for the float classes.
    pub fn symbols(self) -> Option<RangeInclusive<i8>> {
        match self {
            TensorClass::Int5 => Some(-16..=15),
            TensorClass::Int6 => Some(-32..=31),
            TensorClass::Int8 => Some(-127..=127),
            TensorClass::F16 | TensorClass::F32 => None,
        }
    }

    /// Bits a value takes before any compression, scales aside.
    pub fn bits(self) -> u32 {
        match self {
            TensorClass::Int5 => 5,
            TensorClass::Int6 => 6,
            TensorClass::Int8 => 8,
            TensorClass::F16 => 16,
            TensorClass::F32 => 32,
        }
    }

    /// Its name, as in manifests and tables.
    pub fn label(self) -> &'static str {
        match self {
            TensorClass::Int5 => "int5",
            TensorClass::Int6 => "int6",
            TensorClass::Int8 => "int8",
            TensorClass::F16 => "f16",
            TensorClass::F32 => "f32",
        }
    }

    /// The byte that stands for the class in an artifact.
    pub(crate) fn code(self) -> u8 {
        match self {
            TensorClass::Int5 => 5,
            TensorClass::Int6 => 6,
            TensorClass::Int8 => 8,
            TensorClass::F16 => 16,
            TensorClass::F32 => 32,
        }
    }

    /// The class a byte of an artifact stands for.
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        TensorClass::ALL.into_iter().find(|class| class.code() == code)
    }
}

impl fmt::Display for TensorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_as_the_format_describes_them() {
        let expected = [
            (TensorClass::Int5, "int5", 5, 5, Some(-16..=15)),
            (TensorClass::Int6, "int6", 6, 6, Some(-32..=31)),
            (TensorClass::Int8, "int8", 8, 8, Some(-127..=127)),
            (TensorClass::F16, "f16", 16, 16, None),
            (TensorClass::F32, "f32", 32, 32, None),
        ];
        assert_eq!(TensorClass::ALL, expected.clone().map(|(class, ..)| class));
        for (class, name, bits, code, symbols) in expected {
            assert_eq!((class.to_string().as_str(), class.bits(), class.code()), (name, bits, code));
            assert_eq!((class.symbols(), TensorClass::from_code(code)), (symbols, Some(class)));
        }
        assert_eq!(TensorClass::from_code(7), None);
        assert_eq!(format!("{:>6}", TensorClass::F16), "   f16");
    }
}
