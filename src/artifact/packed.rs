//! A tensor as an artifact holds it, and the values it stands for.

use half::f16;

use crate::model::HostTensor;
use crate::quant::TensorClass;

/// The stored values of one tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum PackedValues {
    /// Integers and the factors that turn them back into weights.
    Integers {
        /// int5, int6 or int8; every integer lies in [`TensorClass::symbols`].
        class: TensorClass,
        /// One integer a weight.
        symbols: Vec<i8>,
        /// One factor a row for a matrix, else a single one. See [`scale_count`].
        scales: Vec<f16>,
    },
    /// Half precision.
    F16(Vec<f16>),
    /// Single precision.
    F32(Vec<f32>),
}

/// A named tensor in its storage class. Built by [`PackedTensor::new`], so its parts always fit together.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedTensor {
    name: String,
    shape: Vec<usize>,
    values: PackedValues,
}

/// Number of scales of an integer tensor: one a row for a matrix, one for anything else.
pub fn scale_count(shape: &[usize]) -> usize {
    match shape {
        [rows, _] => *rows,
        _ => 1,
    }
}

impl PackedTensor {
    /// Puts a tensor together; `None` when counts do not fit the shape or an integer is outside its class.
    pub fn new(name: impl Into<String>, shape: Vec<usize>, values: PackedValues) -> Option<Self> {
        let elements = shape.iter().try_fold(1usize, |n, &side| n.checked_mul(side))?;
        let fits = match &values {
            PackedValues::Integers { class, symbols, scales } => {
                let range = class.symbols()?;
                symbols.len() == elements
                    && scales.len() == scale_count(&shape)
                    && symbols.iter().all(|symbol| range.contains(symbol))
            }
            PackedValues::F16(values) => values.len() == elements,
            PackedValues::F32(values) => values.len() == elements,
        };
        fits.then(|| PackedTensor { name: name.into(), shape, values })
    }

    /// [`PackedTensor::new`] where the caller derived the parts from a tensor of that very shape.
    pub(super) fn from_trusted_parts(name: impl Into<String>, shape: Vec<usize>, values: PackedValues) -> Self {
        PackedTensor { name: name.into(), shape, values }
    }

    /// State-dict name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sides, outermost first; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The stored values.
    pub fn values(&self) -> &PackedValues {
        &self.values
    }

    /// The symbols of a row of integers, to be replaced by others of the class.
    pub(super) fn row_mut(&mut self, row: usize) -> Option<&mut [i8]> {
        match &mut self.values {
            PackedValues::Integers { symbols, scales, .. } => {
                let columns = symbols.len().checked_div(scales.len())?.max(1);
                symbols.chunks_mut(columns).nth(row)
            }
            _ => None,
        }
    }

    /// Storage class.
    pub fn class(&self) -> TensorClass {
        match &self.values {
            PackedValues::Integers { class, .. } => *class,
            PackedValues::F16(_) => TensorClass::F16,
            PackedValues::F32(_) => TensorClass::F32,
        }
    }

    /// Number of weights.
    pub fn elements(&self) -> usize {
        match &self.values {
            PackedValues::Integers { symbols, .. } => symbols.len(),
            PackedValues::F16(values) => values.len(),
            PackedValues::F32(values) => values.len(),
        }
    }

    /// The weights: `integer * f32(scale)`, or the stored float widened (PR #286's loader).
    pub fn dequantize(&self) -> HostTensor {
        let data = match &self.values {
            PackedValues::Integers { symbols, scales, .. } => {
                let row = symbols.len().checked_div(scales.len()).unwrap_or(0).max(1);
                let rows = symbols.chunks(row).zip(scales);
                rows.flat_map(|(row, scale)| {
                    let scale = scale.to_f32();
                    row.iter().map(move |&symbol| f32::from(symbol) * scale)
                })
                .collect()
            }
            PackedValues::F16(values) => values.iter().map(|value| value.to_f32()).collect(),
            PackedValues::F32(values) => values.clone(),
        };
        // `new` has checked that the counts fit; a mismatch would be an empty tensor, never a panic.
        HostTensor::new(self.shape.clone(), data).unwrap_or_else(|| HostTensor::zeros(&[0]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integers(class: TensorClass, symbols: Vec<i8>, scales: &[f32]) -> PackedValues {
        PackedValues::Integers { class, symbols, scales: scales.iter().copied().map(f16::from_f32).collect() }
    }

    #[test]
    fn parts_must_fit_together() {
        let ok = integers(TensorClass::Int5, vec![-16, 15, 0, 1], &[0.5, 0.25]);
        let tensor = PackedTensor::new("w", vec![2, 2], ok).unwrap();
        assert_eq!(tensor.dequantize().data(), [-8.0, 7.5, 0.0, 0.25]);

        for (shape, values) in [
            (vec![2, 2], integers(TensorClass::Int5, vec![16, 0, 0, 0], &[1.0, 1.0])),
            (vec![2, 2], integers(TensorClass::Int5, vec![-17, 0, 0, 0], &[1.0, 1.0])),
            (vec![2, 2], integers(TensorClass::Int8, vec![-128, 0, 0, 0], &[1.0, 1.0])),
            (vec![2, 2], integers(TensorClass::Int6, vec![0; 4], &[1.0])),
            (vec![4], integers(TensorClass::Int6, vec![0; 4], &[1.0, 1.0])),
            (vec![2, 2], integers(TensorClass::F16, vec![0; 4], &[1.0, 1.0])),
            (vec![usize::MAX, 3], PackedValues::F32(vec![])),
            (vec![2], PackedValues::F16(vec![f16::ONE])),
        ] {
            assert_eq!(PackedTensor::new("w", shape, values), None);
        }
    }

    #[test]
    fn one_scale_serves_anything_but_a_matrix() {
        let cube = PackedTensor::new("w", vec![1, 2, 2], integers(TensorClass::Int6, vec![1, 2, 3, -32], &[2.0]));
        assert_eq!(cube.unwrap().dequantize().data(), [2.0, 4.0, 6.0, -64.0]);
        let no_columns = PackedTensor::new("w", vec![3, 0], integers(TensorClass::Int6, vec![], &[1.0; 3]));
        assert!(no_columns.unwrap().dequantize().is_empty());
    }
}
