//! Python pickles read without running them.
//!
//! A pickle is a program for a small stack machine; `import` and `call` are two of its instructions, which is why
//! unpickling a stranger's file runs the stranger's code. [`interpret`] follows the same program on symbols: an
//! import becomes a [`Node::Global`] that only carries its name, a call becomes a [`Node::Call`] that is never
//! made. What comes out is a tree to look at, and a [`Pickle::imports`] list of everything it wanted to import.
//!
//! Memory is bounded: every instruction makes at most one node, of which there may be [`MAX_VALUES`]; containers hold at
//! most [`MAX_ITEMS`] of them together; text is kept once however often it is recalled, and long byte strings stay
//! where they are in the input ([`Node::Span`]). No length in the input is trusted before the bytes are there.
//!
//! A loader runs every instruction up to the one that fails, so what a broken program imported before it broke counts
//! as well: [`follow`] gives it back beside the error.

mod instructions;
mod machine;
mod opcode;
#[cfg(test)]
mod tests;
mod text;
mod verdict;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

pub use machine::{follow, interpret};
pub use opcode::Opcode;
pub use verdict::{Import, ImportVerdict, MAX_NAME_BYTES, classify, name_start};

/// Largest pickle interpreted. A tensor index takes about 100 bytes a tensor; the rest is for inline data: exports of
/// MLX hold every array inline, so a file of eight times the artifact's budget has to fit.
pub const MAX_PICKLE_BYTES: usize = 128_000_000;

/// Most values a pickle may make or hold.
pub const MAX_VALUES: usize = 1 << 20;

/// Most values that lists, tuples, sets and dicts may hold together: a value may be held many times.
pub const MAX_ITEMS: usize = 1 << 23;

/// Most imports and calls: each is listed.
pub const MAX_IMPORTS: usize = 1 << 18;

/// Byte strings longer than this are not copied out of the program.
const MAX_COPIED_BYTES: usize = 1 << 10;

/// Index of a node in [`Pickle::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

/// One symbolic value.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer that fits 64 bits.
    Int(i64),
    /// An integer that does not: its little-endian two's complement bytes, or its digits as text.
    BigInt(Vec<u8>),
    /// A float.
    Float(f64),
    /// Text.
    Str(Arc<str>),
    /// Bytes, or text that is not UTF-8.
    Bytes(Vec<u8>),
    /// Bytes that stay in the program, at these offsets.
    Span(Range<usize>),
    /// A list.
    List(Vec<NodeId>),
    /// A tuple.
    Tuple(Vec<NodeId>),
    /// A set or frozen set.
    Set(Vec<NodeId>),
    /// A dict, in insertion order; repeated keys are kept.
    Dict(Vec<(NodeId, NodeId)>),
    /// An imported object: module and qualified name.
    Global(Arc<str>, Arc<str>),
    /// A call that was never made. Items and state set on its result are kept beside it.
    Call {
        /// What would be called.
        callee: NodeId,
        /// Its arguments: usually a tuple.
        arguments: NodeId,
        /// Dict items set on the result.
        items: Vec<(NodeId, NodeId)>,
        /// Argument of `__setstate__`.
        state: Option<NodeId>,
    },
    /// A persistent id, which the surrounding file gives a meaning.
    Persistent(NodeId),
    /// An object from the extension registry or an out-of-band buffer: nothing is known about it.
    Opaque(&'static str),
}

/// An instruction that can run code when a pickle is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// The instruction: REDUCE, NEWOBJ, BUILD, INST, OBJ, EXT...
    pub opcode: Opcode,
    /// Its offset.
    pub offset: usize,
    /// What it acts on, when that is an import.
    pub target: Option<NodeId>,
}

/// An interpreted pickle.
#[derive(Clone, Debug)]
pub struct Pickle {
    /// Protocol it announces; 0 when it announces none.
    pub protocol: u8,
    /// Every symbolic value.
    pub nodes: Vec<Node>,
    /// The value the pickle stands for.
    pub root: NodeId,
    /// Everything it would import, in order, with what is to be thought of it.
    pub imports: Vec<Import>,
    /// Every instruction that would call or build something.
    pub actions: Vec<Action>,
    /// How often each instruction occurs.
    pub opcodes: Vec<(Opcode, u64)>,
    /// Bytes of the input the program takes, STOP included.
    pub length: usize,
}

impl Pickle {
    /// The id of the node at an index of [`Pickle::nodes`].
    pub fn id(&self, index: usize) -> NodeId {
        NodeId(index.min(self.nodes.len()) as u32)
    }

    /// A node. Ids come from this pickle, so there always is one.
    pub fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(id.0 as usize).unwrap_or(&Node::None)
    }

    /// The text of a node, if it is text.
    pub fn text(&self, id: NodeId) -> Option<&str> {
        match self.node(id) {
            Node::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes of a node, if it is bytes, text that `_codecs.encode` makes bytes of (protocols 0 to 2), or a call of
    /// `bytes` or `bytearray` on such; `program` is what was followed.
    pub fn bytes<'a>(&'a self, id: NodeId, program: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        match self.node(id) {
            Node::Bytes(bytes) => Some(Cow::Borrowed(bytes)),
            Node::Span(range) => program.get(range.clone()).map(Cow::Borrowed),
            Node::Call { callee, arguments, .. } => {
                let Node::Global(module, name) = self.node(*callee) else { return None };
                let arguments = self.elements(*arguments)?;
                match (&**module, &**name, arguments) {
                    ("_codecs", "encode", [text, ..]) => {
                        let latin1 = self.text(*text)?.chars().map(|c| u8::try_from(u32::from(c)).ok());
                        latin1.collect::<Option<Vec<u8>>>().map(Cow::Owned)
                    }
                    ("builtins" | "__builtin__", "bytes" | "bytearray", []) => Some(Cow::Borrowed(&[])),
                    ("builtins" | "__builtin__", "bytes" | "bytearray", [inner, ..]) => match self.node(*inner) {
                        Node::Bytes(_) | Node::Span(_) => self.bytes(*inner, program),
                        // One level: `bytearray(_codecs.encode(text, 'latin1'))`.
                        Node::Call { callee, .. } if self.is_global(*callee, "_codecs", "encode") => {
                            self.bytes(*inner, program)
                        }
                        _ => None,
                    },
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// The integer of a node, if it is one that is not negative.
    pub fn count(&self, id: NodeId) -> Option<usize> {
        match self.node(id) {
            Node::Int(value) => usize::try_from(*value).ok(),
            _ => None,
        }
    }

    /// The items of a dict, or of a call to `collections.OrderedDict`, `defaultdict` or `Counter`.
    pub fn items(&self, id: NodeId) -> Option<&[(NodeId, NodeId)]> {
        match self.node(id) {
            Node::Dict(items) => Some(items),
            Node::Call { callee, items, .. } => match self.node(*callee) {
                Node::Global(module, name)
                    if &**module == "collections" && matches!(&**name, "OrderedDict" | "defaultdict" | "Counter") =>
                {
                    Some(items)
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// The value under a text key of a dict.
    pub fn get(&self, dict: NodeId, key: &str) -> Option<NodeId> {
        self.items(dict)?.iter().rev().find(|(known, _)| self.text(*known) == Some(key)).map(|(_, value)| *value)
    }

    /// The elements of a tuple or list.
    pub fn elements(&self, id: NodeId) -> Option<&[NodeId]> {
        match self.node(id) {
            Node::Tuple(elements) | Node::List(elements) => Some(elements),
            _ => None,
        }
    }

    /// Whether a node is that import.
    pub fn is_global(&self, id: NodeId, module: &str, name: &str) -> bool {
        matches!(self.node(id), Node::Global(m, n) if &**m == module && &**n == name)
    }

    /// The worst import that is not on the allow-list, the first of its kind.
    pub fn first_refused(&self) -> Option<&Import> {
        worst(&self.imports, |_| true)
    }
}

/// A program that broke, and what it had imported by then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Where and why.
    pub error: PickleError,
    /// Everything imported before.
    pub imports: Vec<Import>,
    /// Whether something imported was called before.
    pub called: bool,
}

impl Broken {
    /// The worst import that is not on the allow-list, the first of its kind.
    pub fn first_refused(&self) -> Option<&Import> {
        worst(&self.imports, |_| true)
    }
}

/// The first import that is not allowed, of those that count: known weapons before what is merely not known.
pub(super) fn worst(imports: &[Import], counts: impl Fn(&Import) -> bool) -> Option<&Import> {
    let first = |verdict| imports.iter().find(|import| import.verdict == verdict && counts(import));
    first(ImportVerdict::Dangerous).or_else(|| first(ImportVerdict::Unknown))
}

/// Why bytes are not a pickle that can be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pickle, offset {offset}: {what}")]
pub struct PickleError {
    /// Offset of the instruction at fault.
    pub offset: usize,
    /// What is wrong with it.
    pub what: String,
    /// Whether it is more than is followed, and not wrong.
    is_bound: bool,
    /// Whether there is nothing wrong but that it ends.
    is_cut: bool,
}

impl PickleError {
    /// Whether the program may go on as it should, and is more than is followed.
    pub fn is_bound(&self) -> bool {
        self.is_bound
    }

    /// Whether more bytes could mend it.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }
}
