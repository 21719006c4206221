//! Python pickles read without running them.
//!
//! A pickle is a program for a small stack machine; `import` and `call` are two of its instructions, which is why
//! unpickling a stranger's file runs the stranger's code. [`interpret`] follows the same program on symbols: an
//! import becomes a [`Node::Global`] that only carries its name, a call becomes a [`Node::Call`] that is never
//! made. What comes out is a tree to look at, and a [`Pickle::imports`] list of everything it wanted to import.
//!
//! Memory is bounded: every instruction makes at most one node, of which there may be [`MAX_VALUES`], and no
//! length in the input is trusted before the bytes are there.

mod instructions;
mod machine;
mod opcode;
#[cfg(test)]
mod tests;
mod verdict;

pub use machine::interpret;
pub use opcode::Opcode;
pub use verdict::{Import, ImportVerdict, classify};

/// Largest pickle interpreted. A tensor index takes about 100 bytes a tensor; the rest is for inline data.
pub const MAX_PICKLE_BYTES: usize = 64 << 20;

/// Most values a pickle may make or hold.
pub const MAX_VALUES: usize = 1 << 20;

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
    Str(String),
    /// Bytes, or text that is not UTF-8.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<NodeId>),
    /// A tuple.
    Tuple(Vec<NodeId>),
    /// A set or frozen set.
    Set(Vec<NodeId>),
    /// A dict, in insertion order; repeated keys are kept.
    Dict(Vec<(NodeId, NodeId)>),
    /// An imported object: module and qualified name.
    Global(String, String),
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

    /// The integer of a node, if it is one that is not negative.
    pub fn count(&self, id: NodeId) -> Option<usize> {
        match self.node(id) {
            Node::Int(value) => usize::try_from(*value).ok(),
            _ => None,
        }
    }

    /// The items of a dict, or of a call to `collections.OrderedDict` without arguments.
    pub fn items(&self, id: NodeId) -> Option<&[(NodeId, NodeId)]> {
        match self.node(id) {
            Node::Dict(items) => Some(items),
            Node::Call { callee, items, .. } if self.is_global(*callee, "collections", "OrderedDict") => Some(items),
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
        matches!(self.node(id), Node::Global(m, n) if m == module && n == name)
    }

    /// The first import that is not on the allow-list.
    pub fn first_refused(&self) -> Option<&Import> {
        self.imports.iter().find(|import| import.verdict != ImportVerdict::Allowed)
    }
}

/// Why bytes are not a pickle that can be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pickle, offset {offset}: {what}")]
pub struct PickleError {
    /// Offset of the instruction at fault.
    pub offset: usize,
    /// What is wrong with it.
    pub what: String,
}
