//! A tensor in host memory: what files, optimizers and engines exchange.

/// Row-major single-precision values with a shape; an empty shape is a scalar.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    shape: Vec<usize>,
    data: Vec<f32>,
}

impl HostTensor {
    /// Wraps values; `None` when their number does not fit the shape.
    pub fn new(shape: Vec<usize>, data: Vec<f32>) -> Option<Self> {
        let elements = shape.iter().try_fold(1usize, |n, &side| n.checked_mul(side))?;
        (elements == data.len()).then_some(HostTensor { shape, data })
    }

    /// All zeros.
    pub fn zeros(shape: &[usize]) -> Self {
        HostTensor { shape: shape.to_vec(), data: vec![0.0; shape.iter().product()] }
    }

    /// All one value.
    pub fn full(shape: &[usize], value: f32) -> Self {
        HostTensor { shape: shape.to_vec(), data: vec![value; shape.iter().product()] }
    }

    /// Sides, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Values, row-major.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// Values, row-major, for updating in place.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// Values, row-major, without a copy.
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether a side is zero.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// (rows, columns) of a matrix; `None` for any other rank.
    pub fn matrix_sides(&self) -> Option<(usize, usize)> {
        match self.shape[..] {
            [rows, columns] => Some((rows, columns)),
            _ => None,
        }
    }

    /// Values as little-endian f32 bytes: what per-tensor digests are taken over.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        self.data.iter().flat_map(|value| value.to_le_bytes()).collect()
    }
}
