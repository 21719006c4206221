//! How quantized tensors are spelled: from a container's tensors to storage classes.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use half::f16;

use super::RawTensor;
use super::pickle::{Node, NodeId, Pickle};
use super::raw::Dtype;
use super::rebuild::MAX_TENSORS;
use super::rebuild::Tree;
use crate::artifact::{PackedTensor, PackedValues, scale_count};
use crate::quant::TensorClass;

/// A spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convention {
    /// This crate's own.
    Golf,
    /// PR #286 and its relatives: `w` holds NAME.q and NAME.scale or NAME, `m` says how to read them.
    WeightsAndMeta,
    /// The challenge's baseline: `quantized`, `scales`, `dtypes`, `passthrough` under `__quant_format__`.
    BaselineInt8,
    /// Tensors by name, not quantized.
    Plain,
    /// A module of TorchScript, which brings code of its own.
    Script,
}

impl std::fmt::Display for Convention {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Convention::Golf => "golf-harness classes",
            Convention::WeightsAndMeta => "PR #286 export (w, m)",
            Convention::BaselineInt8 => "baseline int8 export",
            Convention::Plain => "plain tensors",
            Convention::Script => "TorchScript module",
        })
    }
}

/// `__quant_format__` of the challenge's baseline.
const BASELINE_FORMAT: &str = "int8_clean_per_row_v1";

/// Keys under which training scripts put the state dict.
const STATE_DICT_KEYS: [&str; 4] = ["state_dict", "model", "model_state_dict", "weights"];

/// One tensor of the model as a file spells it.
#[derive(Clone, Debug)]
pub(in crate::artifact) struct Entry<'a> {
    /// State-dict name.
    pub name: Cow<'a, str>,
    /// Its values in the file.
    pub spelling: Spelling<'a>,
    /// The type that a loader casts the decoded values to.
    original: Option<Dtype>,
}

/// The values of a tensor in a file.
#[derive(Clone, Copy, Debug)]
pub(in crate::artifact) enum Spelling<'a> {
    /// Integers and the factors that turn them back into weights; `kind` is the width the file names.
    Integers { q: &'a RawTensor, scale: &'a RawTensor, kind: Option<&'a str> },
    /// Floats, or integers that are the values themselves.
    Plain(&'a RawTensor),
}

impl<'a> Entry<'a> {
    fn plain(name: impl Into<Cow<'a, str>>, tensor: &'a RawTensor) -> Self {
        Entry { name: name.into(), spelling: Spelling::Plain(tensor), original: None }
    }

    /// The values as the file has them, without what they are scaled by.
    pub fn values(&self) -> &'a RawTensor {
        match self.spelling {
            Spelling::Integers { q, .. } => q,
            Spelling::Plain(tensor) => tensor,
        }
    }

    /// The tensor in a storage class; what fits none is decoded to single precision.
    pub(super) fn pack(&self) -> Result<PackedTensor, String> {
        match self.spelling {
            Spelling::Integers { q, scale, .. } => integers(&self.name, q, scale, self.class(), self.original),
            Spelling::Plain(tensor) => floats(&self.name, tensor, self.original),
        }
    }

    /// The class of integers with scales, if they are one of ours and keep to its range: the one the file names, or
    /// the narrowest that holds every symbol.
    pub fn class(&self) -> Option<TensorClass> {
        let Spelling::Integers { q, kind, .. } = self.spelling else { return None };
        let named = |class: &TensorClass| kind.is_none_or(|kind| kind == class.to_string());
        let holds = |class: &TensorClass| {
            class.symbols().is_some_and(|range| q.bytes.iter().all(|&byte| range.contains(&(byte as i8))))
        };
        let classes = [TensorClass::Int5, TensorClass::Int6, TensorClass::Int8];
        classes.into_iter().filter(|_| q.dtype == Dtype::I8).filter(named).find(holds)
    }
}

type Read<'a> = Result<(Convention, Vec<Entry<'a>>), String>;

/// Tensors without a tree around them: NAME.q and NAME.scale belong together, anything else is plain.
pub(in crate::artifact) fn of_tensors(tensors: &[(String, RawTensor)]) -> Read<'_> {
    let by_name: BTreeMap<&str, &RawTensor> = tensors.iter().rev().map(|(name, t)| (name.as_str(), t)).collect();
    let find = |name: String| by_name.get(name.as_str()).copied();
    let mut convention = Convention::Plain;
    let mut entries = Vec::new();
    for (name, tensor) in tensors {
        if let Some(base) = name.strip_suffix(".q")
            && let Some(scale) = find(format!("{base}.scale"))
        {
            convention = Convention::WeightsAndMeta;
            let spelling = Spelling::Integers { q: tensor, scale, kind: None };
            entries.push(Entry { name: base.into(), spelling, original: None });
        } else if name.strip_suffix(".scale").is_none_or(|base| find(format!("{base}.q")).is_none()) {
            entries.push(Entry::plain(name.as_str(), tensor));
        }
    }
    Ok((convention, entries))
}

/// The convention of a torch file's tree, and its tensors.
pub(in crate::artifact) fn of_tree(tree: &Tree) -> Read<'_> {
    let root = tree.pickle.root;
    let (w, m) = (tree.pickle.get(root, "w"), tree.pickle.get(root, "m"));
    if let (Some(w), Some(m)) = (w, m) {
        return Ok((Convention::WeightsAndMeta, weights_and_meta(tree, w, m)?));
    }
    if let Some(format) = tree.pickle.get(root, "__quant_format__") {
        let format = tree.pickle.text(format).unwrap_or("?");
        if format != BASELINE_FORMAT {
            return Err(format!("quantization format `{format}` is not known; `{BASELINE_FORMAT}` is"));
        }
        return Ok((Convention::BaselineInt8, baseline(tree)?));
    }
    if let Some(entries) = plain(tree, root) {
        return Ok((Convention::Plain, entries));
    }
    for key in STATE_DICT_KEYS {
        if let Some(inner) = tree.pickle.get(root, key)
            && let Some(entries) = plain(tree, inner)
        {
            return Ok((Convention::Plain, entries));
        }
    }
    // Anything else, wherever in it the tensors are: beside numbers, text and `None`, in modules' states, in lists.
    let mut walk = Walk { tree, seen: BTreeSet::new(), found: Vec::new() };
    walk.value(root, String::new(), 0);
    let is_script = match tree.pickle.node(root) {
        Node::Call { callee, .. } => {
            matches!(tree.pickle.node(*callee), Node::Global(module, _) if module.starts_with("__torch__"))
        }
        _ => false,
    };
    if is_script {
        return Ok((Convention::Script, walk.found));
    }
    if !walk.found.is_empty() {
        return Ok((Convention::Plain, walk.found));
    }
    let keys: Vec<&str> = entries(&tree.pickle, root).map(|(key, _)| key).take(8).collect();
    Err(format!("tensors in no known convention; the outermost keys are {keys:?}"))
}

/// Collects tensors under the path of keys that leads to them.
struct Walk<'a> {
    tree: &'a Tree,
    /// Containers that were entered: each is once, or a small file of many references would take for ever.
    seen: BTreeSet<NodeId>,
    found: Vec<Entry<'a>>,
}

/// Deepest nesting entered.
const MAX_NESTING: usize = 32;
/// Longest path of keys followed.
const MAX_NAME_BYTES: usize = 1 << 10;

impl Walk<'_> {
    fn value(&mut self, id: NodeId, path: String, depth: usize) {
        let tree = self.tree;
        if let Some(tensor) = tensor_at(tree, id) {
            let name = if path.is_empty() { "tensor".to_string() } else { path };
            if self.found.len() < MAX_TENSORS && name.len() <= MAX_NAME_BYTES {
                self.found.push(Entry::plain(name, tensor));
            }
            return;
        }
        if depth >= MAX_NESTING || path.len() > MAX_NAME_BYTES || !self.seen.insert(id) {
            return;
        }
        let under = |key: &str| if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
        let pickle = &tree.pickle;
        if let Some(items) = pickle.items(id) {
            for (key, value) in items {
                let key = match pickle.node(*key) {
                    Node::Str(text) => text.to_string(),
                    Node::Int(number) => number.to_string(),
                    _ => continue,
                };
                self.value(*value, under(&key), depth + 1);
            }
            return;
        }
        match pickle.node(id) {
            Node::List(elements) | Node::Tuple(elements) => {
                for (i, element) in elements.iter().enumerate() {
                    self.value(*element, under(&i.to_string()), depth + 1);
                }
            }
            Node::Call { callee, arguments, state, .. } => {
                if pickle.is_global(*callee, "torch._utils", "_rebuild_sparse_tensor") {
                    // (layout, (indices, values, size...))
                    let parts = pickle.elements(*arguments).and_then(|outer| pickle.elements(*outer.get(1)?));
                    for (part, name) in parts.unwrap_or(&[]).iter().zip(["indices", "values"]) {
                        self.value(*part, under(name), depth + 1);
                    }
                } else {
                    // An array of objects has them in its state, as a module has its tensors.
                    for inner in [Some(*arguments), *state].into_iter().flatten() {
                        self.value(inner, path.clone(), depth + 1);
                    }
                }
            }
            _ => {}
        }
    }
}

/// (text key, value) pairs of a dict.
fn entries(pickle: &Pickle, dict: NodeId) -> impl Iterator<Item = (&str, NodeId)> {
    pickle.items(dict).unwrap_or(&[]).iter().filter_map(|(key, value)| Some((pickle.text(*key)?, *value)))
}

/// Follows `_rebuild_parameter` to the tensor inside.
fn tensor_at(tree: &Tree, id: NodeId) -> Option<&RawTensor> {
    if let Some(tensor) = tree.tensors.get(&id) {
        return Some(tensor);
    }
    match tree.pickle.node(id) {
        Node::Call { callee, arguments, .. }
            if ["_rebuild_parameter", "_rebuild_parameter_with_state"]
                .iter()
                .any(|name| tree.pickle.is_global(*callee, "torch._utils", name)) =>
        {
            tree.tensors.get(tree.pickle.elements(*arguments)?.first()?)
        }
        _ => None,
    }
}

/// A dict with text for keys, to be looked up by them.
struct Section<'a> {
    tree: &'a Tree,
    dict: NodeId,
    by_key: BTreeMap<&'a str, NodeId>,
}

impl<'a> Section<'a> {
    /// An error for a dict with more entries than any model has tensors.
    fn new(tree: &'a Tree, dict: NodeId) -> Result<Self, String> {
        // An integer tensor has two.
        if tree.pickle.items(dict).is_some_and(|items| items.len() > 2 * MAX_TENSORS) {
            return Err(format!("more than {MAX_TENSORS} tensors"));
        }
        // Of a key that stands twice the last counts, as in Python.
        Ok(Section { tree, dict, by_key: entries(&tree.pickle, dict).collect() })
    }

    /// In the order of the file.
    fn entries(&self) -> impl Iterator<Item = (&'a str, NodeId)> {
        entries(&self.tree.pickle, self.dict)
    }

    fn tensor(&self, name: &str) -> Result<&'a RawTensor, String> {
        let found = self.by_key.get(name).and_then(|&id| tensor_at(self.tree, id));
        found.ok_or_else(|| format!("tensor `{name}` is missing"))
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.tree.pickle.text(*self.by_key.get(name)?)
    }
}

/// A dict whose values are all tensors; `None` when one is not.
fn plain(tree: &Tree, dict: NodeId) -> Option<Vec<Entry<'_>>> {
    let items = tree.pickle.items(dict).filter(|items| !items.is_empty() && items.len() <= MAX_TENSORS)?;
    let entry = |(key, value): &(NodeId, NodeId)| Some(Entry::plain(tree.pickle.text(*key)?, tensor_at(tree, *value)?));
    items.iter().map(entry).collect()
}

fn weights_and_meta(tree: &Tree, w: NodeId, m: NodeId) -> Result<Vec<Entry<'_>>, String> {
    let (weights, meta) = (Section::new(tree, w)?, Section::new(tree, m)?);
    let tensor = |(name, meta)| {
        let kind = match tree.pickle.text(meta) {
            // PR #1394 and later: `gptq (int6)`, beside `passthrough (float16)`.
            Some(words) => match words.strip_prefix("gptq (").and_then(|words| words.strip_suffix(')')) {
                Some(kind) => Some(kind),
                None => return Ok(Entry::plain(name, weights.tensor(name)?)),
            },
            None => tree.pickle.get(meta, "type").and_then(|kind| tree.pickle.text(kind)),
        };
        let kind = kind.ok_or_else(|| format!("`m` does not say how `{name}` is held"))?;
        let (q, scale) = (weights.tensor(&format!("{name}.q"))?, weights.tensor(&format!("{name}.scale"))?);
        Ok(Entry { name: name.into(), spelling: Spelling::Integers { q, scale, kind: Some(kind) }, original: None })
    };
    meta.entries().map(tensor).collect()
}

fn baseline(tree: &Tree) -> Result<Vec<Entry<'_>>, String> {
    let section = |key: &str| {
        let found = tree.pickle.get(tree.pickle.root, key);
        found.ok_or_else(|| format!("section `{key}` is missing")).and_then(|dict| Section::new(tree, dict))
    };
    let (quantized, scales, dtypes) = (section("quantized")?, section("scales")?, section("dtypes")?);
    let original =
        |dict: Option<&Section<'_>>, name: &str| Dtype::from_torch_name(dict?.text(name)?.trim_start_matches("torch."));
    let mut found = Vec::new();
    for (name, _) in quantized.entries() {
        let (q, scale) = (quantized.tensor(name)?, scales.tensor(name)?);
        let spelling = Spelling::Integers { q, scale, kind: Some("int8") };
        found.push(Entry { name: name.into(), spelling, original: original(Some(&dtypes), name) });
    }
    let originals = section("passthrough_orig_dtypes").ok();
    let passthrough = section("passthrough")?;
    for (name, _) in passthrough.entries() {
        let spelling = Spelling::Plain(passthrough.tensor(name)?);
        found.push(Entry { name: name.into(), spelling, original: original(originals.as_ref(), name) });
    }
    Ok(found)
}

/// Integers with scales. What is no class of ours (other widths, single-precision scales, a bf16 original) is decoded.
fn integers(
    name: &str,
    q: &RawTensor,
    scale: &RawTensor,
    class: Option<TensorClass>,
    original: Option<Dtype>,
) -> Result<PackedTensor, String> {
    if q.dtype != Dtype::I8 {
        return Err(format!("`{name}.q` holds {}, not int8", q.dtype.torch_name()));
    }
    let symbols: Vec<i8> = q.bytes.iter().map(|&byte| byte as i8).collect();
    let is_rounded = matches!(original, Some(Dtype::BF16 | Dtype::F16));
    if let (Some(class), Dtype::F16, false) = (class, scale.dtype, is_rounded) {
        let scales = scale.bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]])).collect();
        let values = PackedValues::Integers { class, symbols: symbols.clone(), scales };
        if let Some(packed) = PackedTensor::new(name, q.shape.clone(), values) {
            return Ok(packed);
        }
    }
    let scales = scale.to_f32().ok_or_else(|| format!("`{name}.scale` does not fit single precision"))?;
    let row = match scales.len() {
        1 => symbols.len(),
        n if n == scale_count(&q.shape) || Some(&n) == q.shape.first() => symbols.len() / n.max(1),
        n => return Err(format!("`{name}` {:?} has {n} scales", q.shape)),
    };
    let rows = symbols.chunks(row.max(1)).zip(&scales);
    let decoded = rows.flat_map(|(row, &scale)| row.iter().map(move |&symbol| f32::from(symbol) * scale)).collect();
    single(name, &q.shape, rounded(decoded, original))
}

/// Floats, or integers that are exact in single precision; `original` is the type the loader casts back to.
fn floats(name: &str, tensor: &RawTensor, original: Option<Dtype>) -> Result<PackedTensor, String> {
    if tensor.dtype == Dtype::F16 && !matches!(original, Some(Dtype::BF16)) {
        let halves = tensor.bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]])).collect();
        let packed = PackedTensor::new(name, tensor.shape.clone(), PackedValues::F16(halves));
        return packed.ok_or_else(|| format!("`{name}` does not fit its shape"));
    }
    let what = || format!("`{name}` holds {} values that single precision cannot", tensor.dtype.torch_name());
    single(name, &tensor.shape, rounded(tensor.to_f32().ok_or_else(what)?, original))
}

fn single(name: &str, shape: &[usize], values: Vec<f32>) -> Result<PackedTensor, String> {
    let packed = PackedTensor::new(name, shape.to_vec(), PackedValues::F32(values));
    packed.ok_or_else(|| format!("`{name}` does not fit its shape"))
}

/// Rounded to the type a loader casts to, then widened again.
fn rounded(mut values: Vec<f32>, original: Option<Dtype>) -> Vec<f32> {
    match original {
        Some(Dtype::BF16) => values.iter_mut().for_each(|value| *value = half::bf16::from_f32(*value).to_f32()),
        Some(Dtype::F16) => values.iter_mut().for_each(|value| *value = f16::from_f32(*value).to_f32()),
        _ => {}
    }
    values
}
