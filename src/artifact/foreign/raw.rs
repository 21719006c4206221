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
}

impl Dtype {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Dtype::F64 | Dtype::I64 => 8,
            Dtype::F32 | Dtype::I32 => 4,
            Dtype::F16 | Dtype::BF16 | Dtype::I16 => 2,
            Dtype::I8 | Dtype::U8 | Dtype::Bool => 1,
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
        }
    }

    /// The type of PyTorch's name.
    pub fn from_torch_name(name: &str) -> Option<Self> {
        Dtype::ALL.into_iter().find(|dtype| dtype.torch_name() == name)
    }

    /// Every type.
    pub const ALL: [Dtype; 10] = [
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
    ];
}

/// Row-major elements with a shape.
#[derive(Clone, Debug, PartialEq)]
pub struct RawTensor {
    /// Element type.
    pub dtype: Dtype,
    /// Sides, outermost first.
    pub shape: Vec<usize>,
    /// Elements, little-endian.
    pub bytes: Vec<u8>,
    /// The zip member the elements came from, in containers that are zip files.
    pub member: Option<String>,
}

impl RawTensor {
    /// Puts a tensor together; `None` when the bytes do not fit shape and type.
    pub fn new(dtype: Dtype, shape: Vec<usize>, bytes: Vec<u8>) -> Option<Self> {
        let elements = shape.iter().try_fold(1usize, |n, &side| n.checked_mul(side))?;
        (elements.checked_mul(dtype.size())? == bytes.len()).then_some(RawTensor { dtype, shape, bytes, member: None })
    }

    /// The same tensor, said to come from a zip member.
    pub(super) fn of_member(self, member: &str) -> Self {
        RawTensor { member: Some(member.to_string()), ..self }
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.bytes.len() / self.dtype.size()
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
