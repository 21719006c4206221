//! From the calls in a pickle to the tensors and arrays they would rebuild.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::gather::{check, gather};
use super::pickle::{Node, NodeId, Pickle};
use super::raw::OtherDtype;
use super::{Detail, Dtype, RawTensor, legacy, npy};

/// Most tensors of a file: a model has some hundreds.
pub(super) const MAX_TENSORS: usize = 1 << 16;

/// A pickle with every tensor it describes.
pub(in crate::artifact) struct Tree {
    /// The interpreted pickle.
    pub pickle: Pickle,
    /// Tensors by the node that would rebuild them.
    pub tensors: BTreeMap<NodeId, RawTensor>,
}

/// The bytes behind a storage's key, and the member of a zip they are.
pub(super) struct Storage<'a> {
    pub bytes: Cow<'a, [u8]>,
    pub member: Option<String>,
}

/// Where tensors' bytes come from: the storages of a file, by key and bytes of an element.
pub(super) type Storages<'s, 'a> = &'s mut dyn FnMut(&str, usize) -> Result<Storage<'a>, String>;

/// All tensors and arrays of a pickle. They may take `max` bytes together: several may share a storage, so the size of
/// the file does not bound them. `is_swapped`: the storages are big-endian.
pub(super) fn tensors(
    pickle: &Pickle,
    program: &[u8],
    detail: Detail,
    max: u64,
    is_swapped: bool,
    storages: Storages<'_, '_>,
) -> Result<BTreeMap<NodeId, RawTensor>, String> {
    let mut known: BTreeMap<String, Storage<'_>> = BTreeMap::new();
    let mut found = BTreeMap::new();
    let mut left = usize::try_from(max).unwrap_or(usize::MAX);
    for (i, node) in pickle.nodes.iter().enumerate() {
        let Node::Call { callee, arguments, state, .. } = node else { continue };
        if found.len() > MAX_TENSORS {
            return Err(format!("more than {MAX_TENSORS} tensors"));
        }
        if let Some(array) = array(pickle, program, *callee, *arguments, *state, left) {
            // An array of objects holds pickles, no tensor; text and the like are listed.
            let Ok(mut array) = array else { continue };
            left = left.saturating_sub(array.bytes.len());
            if detail == Detail::Sizes {
                array.bytes = Vec::new();
            }
            found.insert(pickle.id(i), array);
            continue;
        }
        let Some(rebuild) = rebuild(pickle, program, *callee, *arguments) else { continue };
        let name = rebuild.name();
        if !known.contains_key(&name) {
            let storage = match &rebuild.source {
                Source::Key(key) => storages(key, rebuild.width)?,
                Source::Inline(bytes) => Storage { bytes: bytes.clone(), member: None },
            };
            known.insert(name.clone(), storage);
        }
        let Some(storage) = known.get(&name) else { continue };
        let context = |e: String| format!("tensor over storage {name}: {e}");
        let Rebuild { dtype, offset, shape, strides, .. } = rebuild;
        let tensor = if detail == Detail::Sizes {
            check(storage.bytes.len(), dtype, offset, &shape, &strides).map_err(context)?;
            RawTensor::listed(dtype, shape).ok_or_else(|| context("too large".into()))?
        } else {
            let mut tensor = gather(&storage.bytes, dtype, offset, shape, &strides, left).map_err(context)?;
            if is_swapped {
                let width = if matches!(dtype, Dtype::C64 | Dtype::C128) { dtype.size() / 2 } else { dtype.size() };
                tensor.bytes.chunks_exact_mut(width.max(1)).for_each(<[u8]>::reverse);
            }
            tensor
        };
        left = left.saturating_sub(tensor.bytes.len());
        let tensor = match &storage.member {
            Some(member) => tensor.of_member(member),
            None => tensor,
        };
        found.insert(pickle.id(i), tensor);
    }
    Ok(found)
}

/// Where a tensor's bytes are.
enum Source<'a> {
    /// In the file's storage of that key.
    Key(String),
    /// In the pickle, as a file of its own.
    Inline(Cow<'a, [u8]>),
}

/// Arguments of `torch._utils._rebuild_tensor_v2` and its relatives.
struct Rebuild<'a> {
    source: Source<'a>,
    /// Bytes of an element of the storage.
    width: usize,
    dtype: Dtype,
    /// In elements.
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
    /// The node of the storage.
    node: NodeId,
}

impl Rebuild<'_> {
    fn name(&self) -> String {
        match &self.source {
            Source::Key(key) => key.clone(),
            Source::Inline(_) => format!("{:?}", self.node),
        }
    }
}

/// What a call would rebuild, if it is one of torch's tensor functions with arguments of the usual form.
fn rebuild<'a>(pickle: &'a Pickle, program: &'a [u8], callee: NodeId, arguments: NodeId) -> Option<Rebuild<'a>> {
    // `_rebuild_from_type_v2(function, type, arguments, state)` calls the function and sets the state.
    let (callee, arguments) = match pickle.elements(arguments) {
        Some([function, _type, inner, ..]) if pickle.is_global(callee, "torch._tensor", "_rebuild_from_type_v2") => {
            (*function, *inner)
        }
        _ => (callee, arguments),
    };
    let is = |name| pickle.is_global(callee, "torch._utils", name);
    let typed = is("_rebuild_tensor_v3");
    if !(typed || is("_rebuild_tensor") || is("_rebuild_tensor_v2") || is("_rebuild_qtensor")) {
        return None;
    }
    let arguments = pickle.elements(arguments)?;
    let &[storage, offset, shape, strides, ..] = arguments else { return None };
    let (source, storage_type, view) = source(pickle, program, storage)?;
    let dtype = if typed { named_dtype(pickle, *arguments.get(6)?)? } else { storage_type? };
    let counts = |id| pickle.elements(id)?.iter().map(|&side| pickle.count(side)).collect::<Option<Vec<_>>>();
    // `torch.Size` is a tuple that was called.
    let shape = match pickle.node(shape) {
        Node::Call { callee, arguments, .. } if pickle.is_global(*callee, "torch", "Size") => {
            counts(*pickle.elements(*arguments)?.first()?)?
        }
        _ => counts(shape)?,
    };
    Some(Rebuild {
        source,
        width: storage_type.map_or(1, Dtype::size),
        dtype,
        offset: pickle.count(offset)?.checked_add(view)?,
        shape,
        strides: counts(strides)?,
        node: storage,
    })
}

/// Where a storage's bytes are, the type of its elements, and how many elements into it a view begins.
fn source<'a>(pickle: &'a Pickle, program: &'a [u8], storage: NodeId) -> Option<(Source<'a>, Option<Dtype>, usize)> {
    match pickle.node(storage) {
        Node::Persistent(id) => {
            let (key, dtype, view) = persistent(pickle, *id)?;
            Some((Source::Key(key), dtype, view))
        }
        Node::Call { callee, arguments, .. } if pickle.is_global(*callee, "torch.storage", "_load_from_bytes") => {
            let bytes = pickle.bytes(*pickle.elements(*arguments)?.first()?, program)?;
            let (dtype, range) = legacy::only_storage(&bytes).ok()?;
            let inline = match bytes {
                Cow::Borrowed(bytes) => Cow::Borrowed(bytes.get(range)?),
                Cow::Owned(bytes) => Cow::Owned(bytes.get(range)?.to_vec()),
            };
            Some((Source::Inline(inline), Some(dtype), 0))
        }
        // `TypedStorage(wrap_storage=..., dtype=...)` and the like are left unread.
        _ => None,
    }
}

/// Key, element type and view of `('storage', type, key, location, elements[, (view key, offset, size)])`.
pub(super) fn persistent(pickle: &Pickle, id: NodeId) -> Option<(String, Option<Dtype>, usize)> {
    let (&[tag, kind, key, _location, _elements], rest) = pickle.elements(id)?.split_first_chunk()?;
    if pickle.text(tag) != Some("storage") {
        return None;
    }
    let key = match pickle.node(key) {
        Node::Int(key) => key.to_string(),
        _ => pickle.text(key)?.to_string(),
    };
    let view = match rest.first().map(|&view| pickle.elements(view)) {
        Some(Some([_key, offset, _size])) => pickle.count(*offset)?,
        _ => 0,
    };
    Some((key, storage_dtype(pickle, kind), view))
}

fn storage_dtype(pickle: &Pickle, kind: NodeId) -> Option<Dtype> {
    let Node::Global(_, name) = pickle.node(kind) else { return None };
    let listed = |name, bits| Dtype::Other(OtherDtype { name, bits });
    Some(match &**name {
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
        "ComplexFloatStorage" => Dtype::C64,
        "ComplexDoubleStorage" => Dtype::C128,
        "QInt8Storage" => listed("qint8", 8),
        "QUInt8Storage" => listed("quint8", 8),
        "QInt32Storage" => listed("qint32", 32),
        _ => return None,
    })
}

fn named_dtype(pickle: &Pickle, id: NodeId) -> Option<Dtype> {
    match pickle.node(id) {
        Node::Global(module, name) if &**module == "torch" => Dtype::from_torch_name(name),
        _ => None,
    }
}

/// The NumPy array that a call would make; `None` if it would make something else.
fn array(
    pickle: &Pickle,
    program: &[u8],
    callee: NodeId,
    arguments: NodeId,
    state: Option<NodeId>,
    room: usize,
) -> Option<Result<RawTensor, String>> {
    let Node::Global(module, name) = pickle.node(callee) else { return None };
    let module = module.strip_prefix("numpy.")?;
    let module = module.strip_prefix("_core.").or_else(|| module.strip_prefix("core."))?;
    let (data, dtype, shape, is_column_major) = match (module, &**name) {
        // The state is (version, shape, type, whether column-major, bytes).
        ("multiarray", "_reconstruct") => {
            let &[_version, shape, dtype, order, data] = pickle.elements(state?)? else { return None };
            (data, dtype, shape, matches!(pickle.node(order), Node::Bool(true)))
        }
        ("numeric", "_frombuffer") => {
            let &[data, dtype, shape, order] = pickle.elements(arguments)? else { return None };
            (data, dtype, shape, pickle.text(order) == Some("F"))
        }
        _ => return None,
    };
    let shape: Vec<usize> = pickle.elements(shape)?.iter().map(|&side| pickle.count(side)).collect::<Option<_>>()?;
    let descr = descr(pickle, dtype)?;
    let Some(data) = pickle.bytes(data, program) else { return Some(Err("its data are no bytes".into())) };
    if data.len() > room {
        return Some(Err("more arrays than are read".into()));
    }
    Some(npy::array(&descr, shape, is_column_major, &data))
}

/// A NumPy type as it is spelled in array files: `numpy.dtype('f4', False, True)` with its byte order in the state.
fn descr(pickle: &Pickle, id: NodeId) -> Option<String> {
    let Node::Call { callee, arguments, state, .. } = pickle.node(id) else { return None };
    if !pickle.is_global(*callee, "numpy", "dtype") {
        return None;
    }
    let kind = pickle.text(*pickle.elements(*arguments)?.first()?)?;
    let order = state.and_then(|state| pickle.text(*pickle.elements(state)?.get(1)?));
    Some(format!("{}{kind}", order.unwrap_or("|")))
}
