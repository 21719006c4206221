//! NumPy's `.npz`: a zip of `.npy` arrays.

use super::allowance::Allowance;
use super::zip::{Fault, Zip};
use super::{Detail, RawTensor, npy};

/// Name and tensor of every array; together they may expand to `max` bytes. Arrays of types that are not read at all,
/// objects among them, are left out: one of them does not close the file.
pub(super) fn read(zip: &Zip<'_>, detail: Detail, max: u64) -> Result<Vec<(String, RawTensor)>, Fault> {
    let allowance = Allowance::new(max);
    let mut tensors = Vec::new();
    let mut last = None;
    for member in zip.members().iter().filter(|member| member.name.ends_with(".npy")) {
        let content = zip.content(member, &allowance)?;
        match npy::parse(&content) {
            Ok(mut tensor) => {
                if detail == Detail::Sizes {
                    tensor.bytes = Vec::new();
                }
                let name = member.name.trim_end_matches(".npy").to_string();
                tensors.push((name, tensor.of_member(&member.name)));
            }
            Err(what) => last = Some(format!("array `{}`: {what}", member.name)),
        }
    }
    match last {
        Some(what) if tensors.is_empty() => Err(Fault::Damaged(what)),
        _ => Ok(tensors),
    }
}
