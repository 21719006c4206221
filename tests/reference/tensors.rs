//! Reading reference tensors: double precision, whatever type they are stored in.

use std::collections::BTreeMap;
use std::path::Path;

use golf_harness::model::{HostTensor, Params};
use safetensors::{Dtype, SafeTensors};

/// A reference tensor in double precision.
#[derive(Clone, Debug)]
pub struct Reference {
    pub shape: Vec<usize>,
    pub data: Vec<f64>,
}

/// Every tensor of a file by name.
pub fn read(path: &Path) -> BTreeMap<String, Reference> {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        let bytes = view.data();
        let data = match view.dtype() {
            Dtype::F64 => bytes.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
            Dtype::F32 => bytes.as_chunks().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect(),
            Dtype::I64 => bytes.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b) as f64).collect(),
            Dtype::I32 => bytes.as_chunks().0.iter().map(|&b| f64::from(i32::from_le_bytes(b))).collect(),
            other => panic!("{}: {name} is {other:?}", path.display()),
        };
        tensors.insert(name.to_string(), Reference { shape: view.shape().to_vec(), data });
    }
    tensors
}

impl Reference {
    /// Values that are token ids.
    pub fn ids(&self) -> Vec<u16> {
        self.data.iter().map(|&id| u16::try_from(id as i64).unwrap()).collect()
    }

    /// `|found - self| / |self|` in the 2-norm.
    pub fn relative_distance(&self, found: &[f32]) -> f64 {
        assert_eq!(found.len(), self.data.len());
        let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
        let distance = square(&mut self.data.iter().zip(found).map(|(&e, &f)| f64::from(f) - e));
        let norm = square(&mut self.data.iter().copied());
        if norm == 0.0 { distance } else { distance / norm }
    }

    /// Largest `|found - self| / max(1, |self|)` over the elements.
    pub fn largest_error(&self, found: &[f32]) -> f64 {
        assert_eq!(found.len(), self.data.len());
        let error = |(&e, &f): (&f64, &f32)| (f64::from(f) - e).abs() / e.abs().max(1.0);
        self.data.iter().zip(found).map(error).fold(0.0, f64::max)
    }
}

/// Reference weights as parameters, in any order.
pub fn params(path: &Path) -> Params {
    let tensor = |(name, reference): (String, Reference)| {
        let data = reference.data.iter().map(|&v| v as f32).collect();
        (name, HostTensor::new(reference.shape, data).unwrap())
    };
    Params::from_entries(read(path).into_iter().map(tensor).collect())
}
