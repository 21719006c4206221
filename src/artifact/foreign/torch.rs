//! `torch.save`'s zip: a pickle that describes tensors, and one file of bytes per storage.

use std::collections::BTreeMap;
use std::path::Path;

use super::pickle::{self, Node, NodeId, Pickle};
use super::zip::Zip;
use super::{Container, Dtype, ForeignError, RawTensor};

/// The pickle of a torch file with every tensor it describes.
pub(in crate::artifact) struct Tree {
    /// The interpreted pickle.
    pub pickle: Pickle,
    /// Tensors by the node that would rebuild them.
    pub tensors: BTreeMap<NodeId, RawTensor>,
}

/// Reads the pickle and all tensors of a torch zip, refusing pickles that import anything else.
///
/// `max` bounds the bytes of the members and, by itself, those of the tensors: several may share a storage, so the
/// file's own size does not bound them.
pub(in crate::artifact) fn read(bytes: &[u8], path: &Path, max: u64) -> Result<Tree, ForeignError> {
    let damaged =
        |what: String| ForeignError::Damaged { path: path.to_path_buf(), container: Container::TorchZip, what };
    let mut zip = Zip::open(bytes, max).map_err(damaged)?;
    let names = zip.names();
    let index = names.iter().find(|name| is_index(name));
    let index = index.ok_or_else(|| damaged("no data.pkl in it: not written by torch.save".into()))?;
    let root = index.trim_end_matches("data.pkl").to_string();
    let order = format!("{root}byteorder");
    if names.contains(&order) && zip.member(&order).map_err(damaged)? != b"little" {
        return Err(damaged("its byte order is not little-endian".into()));
    }
    let program = zip.member(index).map_err(damaged)?;
    let pickle =
        pickle::interpret(&program).map_err(|source| ForeignError::Pickle { path: path.to_path_buf(), source })?;
    if let Some(import) = pickle.first_refused() {
        return Err(ForeignError::Import {
            path: path.to_path_buf(),
            module: import.module.clone(),
            name: import.name.clone(),
            offset: import.offset,
            verdict: import.verdict,
        });
    }
    let mut storages = BTreeMap::new();
    let mut tensors = BTreeMap::new();
    let mut left = usize::try_from(max).unwrap_or(usize::MAX);
    for (i, node) in pickle.nodes.iter().enumerate() {
        let Node::Call { callee, arguments, .. } = node else { continue };
        let Some(Rebuild { storage, offset, shape, strides, dtype }) = rebuild(&pickle, *callee, *arguments) else {
            continue;
        };
        let member = format!("{root}data/{storage}");
        if !storages.contains_key(&storage) {
            let content = zip.member(&member).map_err(damaged)?;
            storages.insert(storage.clone(), content);
        }
        let content = storages.get(&storage).map_or(&[][..], Vec::as_slice);
        let tensor = gather(content, dtype, offset, shape, &strides, left)
            .map_err(|e| damaged(format!("tensor over storage {storage}: {e}")))?;
        left = left.saturating_sub(tensor.bytes.len());
        tensors.insert(pickle.id(i), tensor.of_member(&member));
    }
    Ok(Tree { pickle, tensors })
}

/// Whether a member is the pickle that describes the tensors.
pub(in crate::artifact) fn is_index(member: &str) -> bool {
    member == "data.pkl" || member.ends_with("/data.pkl")
}

/// Arguments of `torch._utils._rebuild_tensor_v2` and `_v3`.
struct Rebuild {
    storage: String,
    /// In elements.
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
    dtype: Dtype,
}

/// What a call would rebuild, if it is one of torch's tensor functions with arguments of the usual form.
fn rebuild(pickle: &Pickle, callee: NodeId, arguments: NodeId) -> Option<Rebuild> {
    let is = |name| pickle.is_global(callee, "torch._utils", name);
    let typed = is("_rebuild_tensor_v3");
    if !(is("_rebuild_tensor") || is("_rebuild_tensor_v2") || typed) {
        return None;
    }
    let arguments = pickle.elements(arguments)?;
    let &[storage, offset, shape, strides, ..] = arguments else { return None };
    let Node::Persistent(id) = pickle.node(storage) else { return None };
    // ('storage', type, key, location, elements)
    let &[tag, kind, key, _location, _elements] = pickle.elements(*id)? else { return None };
    if pickle.text(tag) != Some("storage") {
        return None;
    }
    let dtype = if typed { named_dtype(pickle, *arguments.get(6)?)? } else { storage_dtype(pickle, kind)? };
    let counts = |id| pickle.elements(id)?.iter().map(|&side| pickle.count(side)).collect::<Option<Vec<_>>>();
    Some(Rebuild {
        storage: pickle.text(key)?.to_string(),
        offset: pickle.count(offset)?,
        shape: counts(shape)?,
        strides: counts(strides)?,
        dtype,
    })
}

fn storage_dtype(pickle: &Pickle, kind: NodeId) -> Option<Dtype> {
    let Node::Global(_, name) = pickle.node(kind) else { return None };
    Some(match name.as_str() {
        "DoubleStorage" => Dtype::F64,
        "FloatStorage" => Dtype::F32,
        "HalfStorage" => Dtype::F16,
        "BFloat16Storage" => Dtype::BF16,
        "CharStorage" => Dtype::I8,
        "ByteStorage" => Dtype::U8,
        "ShortStorage" => Dtype::I16,
        "IntStorage" => Dtype::I32,
        "LongStorage" => Dtype::I64,
        "BoolStorage" => Dtype::Bool,
        _ => return None,
    })
}

fn named_dtype(pickle: &Pickle, id: NodeId) -> Option<Dtype> {
    match pickle.node(id) {
        Node::Global(module, name) if module == "torch" => Dtype::from_torch_name(name),
        _ => None,
    }
}

/// Copies a strided view out of a storage, row-major.
fn gather(
    storage: &[u8],
    dtype: Dtype,
    offset: usize,
    shape: Vec<usize>,
    strides: &[usize],
    room: usize,
) -> Result<RawTensor, String> {
    let size = dtype.size();
    let elements = shape.iter().try_fold(1usize, |n, &side| n.checked_mul(side));
    let total = elements.and_then(|n| n.checked_mul(size)).filter(|&total| total <= room);
    let total = total.ok_or_else(|| format!("shape {shape:?} is too large"))?;
    if strides.len() != shape.len() {
        return Err(format!("{} strides for {} sides", strides.len(), shape.len()));
    }
    // The farthest element must lie inside; then every one does.
    if total > 0 {
        let far = shape
            .iter()
            .zip(strides)
            .try_fold(offset, |far, (&side, &stride)| far.checked_add((side - 1).checked_mul(stride)?));
        let end = far.and_then(|far| far.checked_add(1)?.checked_mul(size));
        if end.is_none_or(|end| end > storage.len()) {
            return Err(format!("shape {shape:?} with strides {strides:?} reaches past its {} bytes", storage.len()));
        }
    }
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
