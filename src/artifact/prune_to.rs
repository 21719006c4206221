//! Prunes to a size: of the symbols that are 1 or -1, as many become zero as the size needs (PRs #1019, #1334).
//!
//! Setting such a symbol to zero misses the weight by its scale, so those of the smallest scales go first; of equal
//! scales those of earlier tensors, rows and columns. The number is found by bisection between none and all, packing
//! each time.

use half::f16;

use super::{PackedTensor, PackedValues};
use crate::quant::TensorClass;
use crate::units::{Bytes, group_digits};

/// Why a size cannot be reached.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error(
    "quantization.prune_to: {wanted} bytes of code and model cannot be reached: with all {} symbols of 1 and -1 of the \
     int5 and int6 tensors set to zero they are {smallest}", group_digits((*symbols).into())
)]
pub struct PruneError {
    /// Asked for.
    pub wanted: Bytes,
    /// Symbols that could be pruned.
    pub symbols: u64,
    /// What is left with all of them zero.
    pub smallest: Bytes,
}

/// Ones of a row.
#[derive(Clone, Copy, Debug)]
struct Row {
    scale: f16,
    tensor: usize,
    row: usize,
    ones: u64,
}

/// The least number of ones to prune, by bisection, and the pruned tensors packed; `pack` packs, and says what the size
/// comes to.
///
/// The outer error is what `pack` returned, the inner that even all are too few.
pub(super) fn prune_to<T, E>(
    tensors: &mut [PackedTensor],
    wanted: Bytes,
    mut pack: impl FnMut(&[PackedTensor]) -> Result<(Bytes, T), E>,
) -> Result<Result<(u64, T), PruneError>, E> {
    let (size, packed) = pack(tensors)?;
    if size <= wanted {
        return Ok(Ok((0, packed)));
    }
    drop(packed);
    let rows = rows(tensors);
    let symbols = rows.iter().map(|row| row.ones).sum();
    let original = tensors.to_vec();
    let mut try_with = |tensors: &mut [PackedTensor], count: u64| {
        tensors.clone_from_slice(&original);
        prune_first(tensors, &rows, count);
        pack(tensors)
    };
    let (smallest, mut packed) = try_with(tensors, symbols)?;
    if smallest > wanted {
        return Ok(Err(PruneError { wanted, symbols, smallest }));
    }
    // `few` is too few, `enough` is enough.
    let (mut few, mut enough) = (0, symbols);
    while enough - few > 1 {
        let middle = few + (enough - few) / 2;
        let (size, tried) = try_with(tensors, middle)?;
        if size <= wanted {
            (enough, packed) = (middle, tried);
        } else {
            few = middle;
        }
    }
    tensors.clone_from_slice(&original);
    prune_first(tensors, &rows, enough);
    Ok(Ok((enough, packed)))
}

/// Rows with ones, in the order in which they are pruned.
fn rows(tensors: &[PackedTensor]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (tensor, packed) in tensors.iter().enumerate() {
        let PackedValues::Integers { class: TensorClass::Int5 | TensorClass::Int6, symbols, scales } = packed.values()
        else {
            continue;
        };
        let columns = symbols.len().checked_div(scales.len()).unwrap_or(0).max(1);
        for (row, (symbols, &scale)) in symbols.chunks(columns).zip(scales).enumerate() {
            let ones = symbols.iter().filter(|symbol| is_one(**symbol)).count() as u64;
            rows.push(Row { scale, tensor, row, ones });
        }
    }
    rows.retain(|row| row.ones > 0);
    // Stable: of equal scales in the order of the file.
    rows.sort_by(|a, b| a.scale.total_cmp(&b.scale));
    rows
}

fn is_one(symbol: i8) -> bool {
    symbol.unsigned_abs() == 1
}

/// Sets the first `count` ones to zero.
fn prune_first(tensors: &mut [PackedTensor], rows: &[Row], mut count: u64) {
    for row in rows {
        if count == 0 {
            return;
        }
        let Some(symbols) = tensors.get_mut(row.tensor).and_then(|tensor| tensor.row_mut(row.row)) else { continue };
        for symbol in symbols.iter_mut().filter(|symbol| is_one(**symbol)) {
            if count == 0 {
                return;
            }
            *symbol = 0;
            count -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn tensor(name: &str, class: TensorClass, rows: &[(&[i8], f32)]) -> PackedTensor {
        let symbols = rows.iter().flat_map(|(symbols, _)| symbols.to_vec()).collect();
        let scales = rows.iter().map(|&(_, scale)| f16::from_f32(scale)).collect();
        let shape = vec![rows.len(), rows[0].0.len()];
        PackedTensor::new(name, shape, PackedValues::Integers { class, symbols, scales }).unwrap()
    }

    fn symbols(tensors: &[PackedTensor]) -> Vec<Vec<i8>> {
        let symbols = |tensor: &PackedTensor| match tensor.values() {
            PackedValues::Integers { symbols, .. } => symbols.clone(),
            _ => Vec::new(),
        };
        tensors.iter().map(symbols).collect()
    }

    fn model() -> Vec<PackedTensor> {
        vec![
            tensor("a", TensorClass::Int8, &[(&[1, -1, 2], 0.25)]),
            tensor("b", TensorClass::Int6, &[(&[1, 5, -1], 2.0), (&[0, -1, 1], 0.5)]),
            tensor("c", TensorClass::Int5, &[(&[-1, 1, 3], 1.0), (&[1, 1, 0], 0.5)]),
        ]
    }

    /// A file of 100 bytes, and one more for each symbol that is not zero.
    fn pack(tensors: &[PackedTensor]) -> Result<(Bytes, Vec<PackedTensor>), Infallible> {
        let nonzero = symbols(tensors).iter().flatten().filter(|symbol| **symbol != 0).count();
        Ok((Bytes(100 + nonzero as u64), tensors.to_vec()))
    }

    #[test]
    fn the_smallest_scales_go_first_and_no_more_than_needed() {
        // 3 + 5 + 5 are not zero. Scale 0.5 in b, then in c; then 1 in c; then 2 in b.
        let pruned = |wanted| {
            let mut tensors = model();
            let Ok(found) = prune_to(&mut tensors, Bytes(wanted), pack);
            let (count, packed) = found.unwrap();
            assert_eq!(packed, tensors, "{wanted}");
            (count, symbols(&tensors))
        };
        let a = vec![1, -1, 2];
        assert_eq!(pruned(113), (0, symbols(&model())));
        assert_eq!(pruned(112), (1, vec![a.clone(), vec![1, 5, -1, 0, 0, 1], vec![-1, 1, 3, 1, 1, 0]]));
        assert_eq!(pruned(110), (3, vec![a.clone(), vec![1, 5, -1, 0, 0, 0], vec![-1, 1, 3, 0, 1, 0]]));
        assert_eq!(pruned(108), (5, vec![a.clone(), vec![1, 5, -1, 0, 0, 0], vec![0, 1, 3, 0, 0, 0]]));
        assert_eq!(pruned(105), (8, vec![a, vec![0, 5, 0, 0, 0, 0], vec![0, 0, 3, 0, 0, 0]]));
    }

    #[test]
    fn what_cannot_be_reached_is_told_with_what_can() {
        let Ok(found) = prune_to(&mut model(), Bytes(104), pack);
        assert_eq!(found, Err(PruneError { wanted: Bytes(104), symbols: 8, smallest: Bytes(105) }));
        let Ok(found) = prune_to(&mut [], Bytes(99), pack);
        let error = found.unwrap_err().to_string();
        assert!(error.contains("99 bytes of code and model cannot be reached: with all 0 symbols"), "{error}");
    }
}
