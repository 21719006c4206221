//! Strided views of a storage: PyTorch's way to describe a tensor.

use super::{Dtype, RawTensor};

/// Bytes of so many elements; `None` where they overflow.
fn bytes_of(size: usize, shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(size, |n, &side| n.checked_mul(side)).or_else(|| shape.contains(&0).then_some(0))
}

/// Sides of a tensor, as many as PyTorch has: each is looked at for every element.
const MAX_SIDES: usize = 64;

/// Whether a view lies inside a storage of so many bytes.
pub(super) fn check(
    storage: usize,
    dtype: Dtype,
    offset: usize,
    shape: &[usize],
    strides: &[usize],
) -> Result<(), String> {
    if shape.len() > MAX_SIDES {
        return Err(format!("a shape of {} sides; at most {MAX_SIDES} are read", shape.len()));
    }
    if strides.len() != shape.len() {
        return Err(format!("{} strides for {} sides", strides.len(), shape.len()));
    }
    let total = bytes_of(dtype.size(), shape).ok_or_else(|| format!("shape {shape:?} is too large"))?;
    // The farthest element must lie inside; then every one does.
    if total > 0 {
        let far = shape
            .iter()
            .zip(strides)
            .try_fold(offset, |far, (&side, &stride)| far.checked_add((side - 1).checked_mul(stride)?));
        let end = far.and_then(|far| far.checked_add(1)?.checked_mul(dtype.size()));
        if end.is_none_or(|end| end > storage) {
            return Err(format!("shape {shape:?} with strides {strides:?} reaches past its {storage} bytes"));
        }
    }
    Ok(())
}

/// Copies a strided view out of a storage, row-major.
pub(super) fn gather(
    storage: &[u8],
    dtype: Dtype,
    offset: usize,
    shape: Vec<usize>,
    strides: &[usize],
    room: usize,
) -> Result<RawTensor, String> {
    let size = dtype.size();
    let total = bytes_of(size, &shape).filter(|&total| total <= room);
    let total = total.ok_or_else(|| format!("shape {shape:?} is too large"))?;
    check(storage.len(), dtype, offset, &shape, strides)?;
    let mut bytes = Vec::with_capacity(total);
    let mut index = vec![0usize; shape.len()];
    while bytes.len() < total {
        let at = index.iter().zip(strides).fold(offset, |at, (&i, &stride)| at + i * stride) * size;
        // Whole rows at once where the last side is contiguous.
        let run = match (shape.last(), strides.last()) {
            (Some(&side), Some(1)) => side,
            _ => 1,
        };
        bytes.extend_from_slice(storage.get(at..at + run * size).ok_or("a row past its storage")?);
        let mut side = if run > 1 { shape.len() - 1 } else { shape.len() };
        while side > 0 {
            side -= 1;
            index[side] += 1;
            if index[side] < shape[side] {
                break;
            }
            index[side] = 0;
        }
    }
    RawTensor::new(dtype, shape, bytes).ok_or_else(|| "does not fit its shape".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strided_views_are_gathered_and_bounded() {
        let storage: Vec<u8> = (0..12).collect();
        let view = |offset, shape: &[usize], strides: &[usize]| {
            gather(&storage, Dtype::U8, offset, shape.to_vec(), strides, 1000).map(|tensor| tensor.bytes)
        };
        assert_eq!(view(0, &[3, 4], &[4, 1]).unwrap(), storage);
        assert_eq!(view(0, &[4, 3], &[1, 4]).unwrap(), [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]);
        assert_eq!(view(5, &[2], &[3]).unwrap(), [5, 8]);
        assert_eq!(view(7, &[], &[]).unwrap(), [7]);
        assert_eq!(view(7, &[1; 64], &[0; 64]).unwrap(), [7]);
        assert!(view(7, &[1; 65], &[0; 65]).unwrap_err().contains("65 sides; at most 64"));
        assert_eq!(view(0, &[3], &[0]).unwrap(), [0, 0, 0]);
        assert_eq!(view(0, &[2, 1], &[4, 1]).unwrap(), [0, 4]);
        assert!(view(99, &[0, 5], &[5, 1]).unwrap().is_empty());
        assert!(view(0, &[3, 5], &[4, 1]).is_err());
        assert!(view(0, &[2], &[usize::MAX]).is_err());
        assert!(view(usize::MAX, &[1], &[1]).is_err());
        assert!(view(0, &[usize::MAX, 2], &[0, 0]).is_err());
        assert!(view(0, &[1001], &[0]).is_err());
    }
}
