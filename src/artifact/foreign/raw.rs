//! A tensor as foreign files hold it: typed little-endian bytes.

/// Element types that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Dtype {
    F64,
    F32,
    F16,
    BF16,
    I8,
    U8,
    I16,
    I32,
    I64,
    Bool,
    U16,
    U32,
    U64,
    /// Two single-precision numbers.
    C64,
    /// Two double-precision numbers.
    C128,
    /// Four bits of exponent, three of mantissa, no infinities (`float8_e4m3fn`).
    F8E4M3,
    /// Five bits of exponent, two of mantissa (`float8_e5m2`).
    F8E5M2,
    /// Listed by size; its values are not decoded.
    Other(OtherDtype),
}

/// An element type that is listed and not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OtherDtype {
    /// What to call it.
    pub name: &'static str,
    /// Bits of one element.
    pub bits: u32,
}

impl Dtype {
    /// Bytes of one element, rounded up.
    pub fn size(self) -> usize {
        self.bits().div_ceil(8)
    }

    /// Bits of one element.
    pub fn bits(self) -> usize {
        match self {
            Dtype::C128 => 128,
            Dtype::F64 | Dtype::I64 | Dtype::U64 | Dtype::C64 => 64,
            Dtype::F32 | Dtype::I32 | Dtype::U32 => 32,
            Dtype::F16 | Dtype::BF16 | Dtype::I16 | Dtype::U16 => 16,
            Dtype::I8 | Dtype::U8 | Dtype::Bool | Dtype::F8E4M3 | Dtype::F8E5M2 => 8,
            Dtype::Other(other) => other.bits as usize,
        }
    }

    /// PyTorch's name, as in `torch.float32`.
    pub fn torch_name(self) -> &'static str {
        match self {
            Dtype::F64 => "float64",
            Dtype::F32 => "float32",
            Dtype::F16 => "float16",
            Dtype::BF16 => "bfloat16",
            Dtype::I8 => "int8",
            Dtype::U8 => "uint8",
            Dtype::I16 => "int16",
            Dtype::I32 => "int32",
            Dtype::I64 => "int64",
            Dtype::Bool => "bool",
            Dtype::U16 => "uint16",
            Dtype::U32 => "uint32",
            Dtype::U64 => "uint64",
            Dtype::C64 => "complex64",
            Dtype::C128 => "complex128",
            Dtype::F8E4M3 => "float8_e4m3fn",
            Dtype::F8E5M2 => "float8_e5m2",
            Dtype::Other(other) => other.name,
        }
    }

    /// The type of PyTorch's name.
    pub fn from_torch_name(name: &str) -> Option<Self> {
        let listed = Self::LISTED.into_iter().map(|(name, bits)| Dtype::Other(OtherDtype { name, bits }));
        Dtype::ALL.into_iter().chain(listed).find(|dtype| dtype.torch_name() == name)
    }

    /// PyTorch's types of whole bytes that are listed only. Quantized integers mean nothing without what they are
    /// scaled by.
    const LISTED: [(&'static str, u32); 9] = [
        ("complex32", 32),
        ("float8_e4m3fnuz", 8),
        ("float8_e5m2fnuz", 8),
        ("float8_e8m0fnu", 8),
        ("float4_e2m1fn_x2", 8),
        ("qint8", 8),
        ("quint8", 8),
        ("qint32", 32),
        ("bits8", 8),
    ];

    /// Every type that is decoded.
    pub const ALL: [Dtype; 17] = [
        Dtype::F64,
        Dtype::F32,
        Dtype::F16,
        Dtype::BF16,
        Dtype::I8,
        Dtype::U8,
        Dtype::I16,
        Dtype::I32,
        Dtype::I64,
        Dtype::Bool,
        Dtype::U16,
        Dtype::U32,
        Dtype::U64,
        Dtype::C64,
        Dtype::C128,
        Dtype::F8E4M3,
        Dtype::F8E5M2,
    ];
}

/// Row-major elements with a shape.
#[derive(Clone, Debug, PartialEq)]
pub struct RawTensor {
    /// Element type.
    pub dtype: Dtype,
    /// Sides, outermost first.
    pub shape: Vec<usize>,
    /// Elements, little-endian. Empty where a file is only listed.
    pub bytes: Vec<u8>,
    /// The zip member the elements came from, in containers that are zip files.
    pub member: Option<String>,
}

impl RawTensor {
    /// Puts a tensor together; `None` when the bytes do not fit shape and type.
    pub fn new(dtype: Dtype, shape: Vec<usize>, bytes: Vec<u8>) -> Option<Self> {
        let elements = shape.iter().try_fold(1usize, |n, &side| n.checked_mul(side))?;
        let bits = elements.checked_mul(dtype.bits())?;
        (bits.div_ceil(8) == bytes.len()).then_some(RawTensor { dtype, shape, bytes, member: None })
    }

    /// The same tensor, said to come from a zip member.
    pub(super) fn of_member(self, member: &str) -> Self {
        RawTensor { member: Some(member.to_string()), ..self }
    }

    /// A tensor of which only type and shape are known; `None` when there cannot be one so large.
    pub(super) fn listed(dtype: Dtype, shape: Vec<usize>) -> Option<Self> {
        let elements = shape.iter().try_fold(1usize, |n, &side| n.checked_mul(side))?;
        elements.checked_mul(dtype.bits())?;
        Some(RawTensor { dtype, shape, bytes: Vec::new(), member: None })
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        // No side of a tensor makes this overflow: both ways to make one check it.
        self.shape.iter().fold(1usize, |n, &side| n.saturating_mul(side))
    }

    /// Elements as single precision; `None` when one is not exactly representable there.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        let wide = |value: i64| {
            let single = value as f32;
            (single as i64 == value).then_some(single)
        };
        match self.dtype {
            Dtype::F32 => Some(self.chunks().map(f32::from_le_bytes).collect()),
            Dtype::F16 => Some(self.chunks().map(|b| half::f16::from_le_bytes(b).to_f32()).collect()),
            Dtype::BF16 => Some(self.chunks().map(|b| half::bf16::from_le_bytes(b).to_f32()).collect()),
            Dtype::F64 => self
                .chunks()
                .map(|b| {
                    let value = f64::from_le_bytes(b);
                    let single = value as f32;
                    (f64::from(single) == value || value.is_nan()).then_some(single)
                })
                .collect(),
            Dtype::I8 => Some(self.bytes.iter().map(|&byte| f32::from(byte as i8)).collect()),
            Dtype::U8 | Dtype::Bool => Some(self.bytes.iter().map(|&byte| f32::from(byte)).collect()),
            Dtype::I16 => Some(self.chunks().map(|b| f32::from(i16::from_le_bytes(b))).collect()),
            Dtype::I32 => self.chunks().map(|b| wide(i64::from(i32::from_le_bytes(b)))).collect(),
            Dtype::I64 => self.chunks().map(|b| wide(i64::from_le_bytes(b))).collect(),
            Dtype::U16 => Some(self.chunks().map(|b| f32::from(u16::from_le_bytes(b))).collect()),
            Dtype::U32 => self.chunks().map(|b| wide(i64::from(u32::from_le_bytes(b)))).collect(),
            Dtype::U64 => self.chunks().map(|b| wide(i64::try_from(u64::from_le_bytes(b)).ok()?)).collect(),
            Dtype::F8E4M3 => Some(self.bytes.iter().map(|&byte| float8(byte, 4)).collect()),
            Dtype::F8E5M2 => Some(self.bytes.iter().map(|&byte| float8(byte, 5)).collect()),
            Dtype::C64 | Dtype::C128 | Dtype::Other(_) => None,
        }
    }

    fn chunks<const N: usize>(&self) -> impl Iterator<Item = [u8; N]> + '_ {
        self.bytes.chunks_exact(N).map(|chunk| {
            let mut array = [0; N];
            array.copy_from_slice(chunk);
            array
        })
    }
}

/// Eight bits as a float with so many bits of exponent: IEEE's layout with 5; with 4, the two patterns that would be
/// infinities and most that would be NaN are numbers (Micikevicius et al. 2022, "FP8 formats for deep learning").
fn float8(byte: u8, exponent_bits: u32) -> f32 {
    let mantissa_bits = 7 - exponent_bits;
    let bias = (1 << (exponent_bits - 1)) - 1;
    let sign = if byte & 0x80 != 0 { -1.0 } else { 1.0 };
    let exponent = i32::from(byte & 0x7f) >> mantissa_bits;
    let mantissa = f32::from(byte & ((1 << mantissa_bits) - 1)) / (1u32 << mantissa_bits) as f32;
    let top = (1 << exponent_bits) - 1;
    match (exponent, exponent_bits) {
        (_, 4) if byte & 0x7f == 0x7f => f32::NAN,
        (e, 5) if e == top => {
            if mantissa == 0.0 {
                sign * f32::INFINITY
            } else {
                f32::NAN
            }
        }
        (0, _) => sign * mantissa * 2f32.powi(1 - bias),
        (e, _) => sign * (1.0 + mantissa) * 2f32.powi(e - bias),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bit_floats_have_the_values_of_their_paper() {
        let e4m3 = |byte| float8(byte, 4);
        assert_eq!((e4m3(0x7e), e4m3(0x08), e4m3(0x01), e4m3(0xb8)), (448.0, 2f32.powi(-6), 2f32.powi(-9), -1.0));
        assert!(e4m3(0xff).is_nan());
        let e5m2 = |byte| float8(byte, 5);
        assert_eq!((e5m2(0x7b), e5m2(0x04), e5m2(0x01), e5m2(0xbc)), (57344.0, 2f32.powi(-14), 2f32.powi(-16), -1.0));
        assert_eq!(e5m2(0xfc), f32::NEG_INFINITY);
        assert!(e5m2(0x7d).is_nan());
    }

    #[test]
    fn integers_are_decoded_where_single_precision_holds_them() {
        let tensor = |dtype, bytes: &[u8]| RawTensor::new(dtype, vec![1], bytes.to_vec()).unwrap().to_f32();
        assert_eq!(tensor(Dtype::U16, &[0xff, 0xff]), Some(vec![65535.0]));
        assert_eq!(tensor(Dtype::U32, &[0, 0, 0, 0x80]), Some(vec![2_147_483_648.0]));
        assert_eq!(tensor(Dtype::U32, &[1, 0, 0, 0x80]), None);
        assert_eq!(tensor(Dtype::U64, &[0xff; 8]), None);
        assert_eq!(tensor(Dtype::C64, &[0; 8]), None);
        let nibbles = OtherDtype { name: "f4", bits: 4 };
        assert_eq!(RawTensor::new(Dtype::Other(nibbles), vec![3], vec![0; 2]).unwrap().elements(), 3);
    }
}
