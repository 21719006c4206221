//! Whether parts make a whole: one division, every part of it once.

use std::path::PathBuf;

use super::{MergeError, Shard};

/// All records, in the order of their parts, must be of one division.
pub(super) fn check_division<T>(parts: &[(PathBuf, T)], shard: impl Fn(&T) -> Shard) -> Result<(), MergeError> {
    let Some((first, part)) = parts.first() else { return Err(MergeError::Empty) };
    let of = shard(part).of;
    match parts.iter().find(|(_, part)| shard(part).of != of) {
        Some((path, part)) => {
            let (path, first, found) = (path.clone(), first.clone(), shard(part));
            Err(MergeError::Division { path, found, first, parts: of })
        }
        None => Ok(()),
    }
}

/// Every part must be there once.
pub(super) fn check_complete<T>(parts: &[(PathBuf, T)], shard: impl Fn(&T) -> Shard) -> Result<(), MergeError> {
    let Some((_, first)) = parts.first() else { return Err(MergeError::Empty) };
    let of = shard(first).of;
    if let Some(pair) = parts.windows(2).find(|pair| shard(&pair[0].1) == shard(&pair[1].1)) {
        let (first, second) = (pair[0].0.clone(), pair[1].0.clone());
        return Err(MergeError::Twice { shard: shard(&pair[0].1), first, second });
    }
    let gap = parts.iter().zip(1..).find(|((_, part), index)| shard(part).index != *index).map(|(_, index)| index);
    let after_last = (parts.len() as u64 != of).then_some(parts.len() as u64 + 1);
    match gap.or(after_last) {
        Some(index) => Err(MergeError::Missing { shard: Shard { index, of }, given: parts.len() }),
        None => Ok(()),
    }
}
