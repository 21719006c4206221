//! The symbolic stack machine: its memory, and what instructions do to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::opcode::Opcode;
use super::{
    Action, Broken, Import, ImportVerdict, MAX_IMPORTS, MAX_ITEMS, MAX_PICKLE_BYTES, MAX_VALUES, Node, NodeId, Pickle,
    PickleError, classify,
};

/// Follows the pickle at the start of `bytes` to its STOP, importing and calling nothing.
pub fn interpret(bytes: &[u8]) -> Result<Pickle, PickleError> {
    follow(bytes).map_err(|broken| broken.error)
}

/// [`interpret`]; of a program that breaks, what it imported before.
pub fn follow(bytes: &[u8]) -> Result<Pickle, Broken> {
    // A longer file may hold a short program in front: only what it takes is bounded.
    let bytes = bytes.get(..MAX_PICKLE_BYTES).unwrap_or(bytes);
    let mut machine = Machine { bytes, ..Machine::default() };
    let root = machine.run();
    let called = |action: &Action| {
        let target = action.target.and_then(|id| machine.nodes.get(id.0 as usize));
        matches!(target, Some(Node::Global(..)))
    };
    let root = match root {
        Ok(root) => root,
        Err(error) => {
            let called = machine.actions.iter().any(called);
            return Err(Broken { error, imports: machine.imports, called });
        }
    };
    Ok(Pickle {
        protocol: machine.protocol,
        nodes: machine.nodes,
        root,
        imports: machine.imports,
        actions: machine.actions,
        opcodes: machine.opcodes.into_iter().collect(),
        length: machine.next,
    })
}

#[derive(Default)]
pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    /// Offset of the instruction being followed.
    pub(super) at: usize,
    /// Offset of the next byte to read.
    pub(super) next: usize,
    pub(super) protocol: u8,
    pub(super) nodes: Vec<Node>,
    pub(super) stack: Vec<NodeId>,
    /// Heights of the stack at each open MARK.
    pub(super) marks: Vec<usize>,
    pub(super) memo: BTreeMap<u64, NodeId>,
    imports: Vec<Import>,
    actions: Vec<Action>,
    /// Values in all containers together.
    items: usize,
    /// Where the frame ends that is being read.
    frame_end: Option<usize>,
    pub(super) opcodes: BTreeMap<Opcode, u64>,
}

pub(super) type Step<T> = Result<T, PickleError>;

impl<'a> Machine<'a> {
    fn run(&mut self) -> Step<NodeId> {
        while !self.step()? {
            if self.frame_end.is_some_and(|end| self.at < end && end < self.next) {
                self.misread();
            }
            let held = [self.nodes.len(), self.stack.len(), self.marks.len(), self.memo.len()];
            if held.into_iter().any(|n| n > MAX_VALUES) {
                return self.beyond(format!("more than {MAX_VALUES} values"));
            }
            if self.items > MAX_ITEMS {
                return self.beyond(format!("containers of more than {MAX_ITEMS} values"));
            }
            if self.imports.len().max(self.actions.len()) > MAX_IMPORTS {
                return self.beyond(format!("more than {MAX_IMPORTS} imports or calls"));
            }
        }
        if self.frame_end.is_some_and(|end| self.next < end) {
            self.misread();
        }
        self.pop()
    }

    /// A frame of so many bytes begins, within which no instruction of an honest program ends elsewhere.
    pub(super) fn frame(&mut self, length: u64) {
        let end = usize::try_from(length).map_or(usize::MAX, |length| self.next.saturating_add(length));
        // CPython's own reader stops here, others do not mind.
        if end > self.bytes.len() {
            return;
        }
        match self.frame_end {
            Some(outer) if self.next < outer && end <= outer => {}
            Some(outer) if self.next < outer => self.misread(),
            _ => self.frame_end = Some(end),
        }
    }

    /// CPython drops what is left of a frame when an instruction reaches past its end, and reads another program than
    /// the bytes are: what it imports is not known here.
    fn misread(&mut self) {
        let unknown: Arc<str> = Arc::from("?");
        let (module, name) = (unknown.clone(), unknown);
        self.imports.push(Import { module, name, offset: self.at, verdict: ImportVerdict::Unknown });
    }

    pub(super) fn fail<T>(&self, what: impl Into<String>) -> Step<T> {
        Err(PickleError { offset: self.at, what: what.into(), is_bound: false, is_cut: false })
    }

    /// No more bytes.
    fn cut<T>(&self, what: String) -> Step<T> {
        Err(PickleError { offset: self.at, what, is_bound: false, is_cut: true })
    }

    /// More than is followed.
    fn beyond<T>(&self, what: String) -> Step<T> {
        Err(PickleError { offset: self.at, what, is_bound: true, is_cut: false })
    }

    pub(super) fn take(&mut self, n: usize) -> Step<&'a [u8]> {
        let slice = self.next.checked_add(n).and_then(|end| self.bytes.get(self.next..end));
        let Some(slice) = slice else {
            return self.cut(format!("cut short: {n} bytes needed, {} left", self.bytes.len() - self.next));
        };
        self.next += n;
        Ok(slice)
    }

    pub(super) fn line(&mut self) -> Step<&'a [u8]> {
        let rest = self.bytes.get(self.next..).unwrap_or(&[]);
        let Some(length) = rest.iter().position(|&byte| byte == b'\n') else {
            return self.cut("a line without end".into());
        };
        let line = self.take(length)?;
        self.next += 1;
        Ok(line)
    }

    pub(super) fn little_endian(&mut self, n: usize) -> Step<u64> {
        Ok(self.take(n)?.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    pub(super) fn push(&mut self, node: Node) {
        match &node {
            Node::Tuple(items) | Node::List(items) | Node::Set(items) => self.items += items.len(),
            _ => {}
        }
        // Bounded by MAX_VALUES, far below 2^32.
        let id = NodeId(self.nodes.len() as u32);
        self.nodes.push(node);
        self.stack.push(id);
    }

    /// Height below which instructions may not reach: the innermost MARK.
    pub(super) fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    pub(super) fn pop(&mut self) -> Step<NodeId> {
        if self.stack.len() <= self.floor() {
            return self.fail("takes from an empty stack");
        }
        match self.stack.pop() {
            Some(id) => Ok(id),
            None => self.fail("takes from an empty stack"),
        }
    }

    pub(super) fn top(&self) -> Step<NodeId> {
        match self.stack.last() {
            Some(&id) if self.stack.len() > self.floor() => Ok(id),
            _ => self.fail("looks at an empty stack"),
        }
    }

    pub(super) fn pop_mark(&mut self) -> Step<Vec<NodeId>> {
        match self.marks.pop() {
            Some(height) if height <= self.stack.len() => Ok(self.stack.split_off(height)),
            _ => self.fail("no MARK to go back to"),
        }
    }

    pub(super) fn pop_n(&mut self, n: usize) -> Step<Vec<NodeId>> {
        let mut items = (0..n).map(|_| self.pop()).collect::<Step<Vec<_>>>()?;
        items.reverse();
        Ok(items)
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> Step<&mut Node> {
        let at = self.at;
        let error = PickleError { offset: at, what: "refers to nothing".into(), is_bound: false, is_cut: false };
        self.nodes.get_mut(id.0 as usize).ok_or(error)
    }

    pub(super) fn import(&mut self, module: Arc<str>, name: Arc<str>) {
        let verdict = classify(&module, &name);
        self.imports.push(Import { module: module.clone(), name: name.clone(), offset: self.at, verdict });
        self.push(Node::Global(module, name));
    }

    /// Lists an import once more, as one that is used as tensors need no use of it.
    pub(super) fn misuse(&mut self, target: NodeId) {
        if let Some(Node::Global(module, name)) = self.nodes.get(target.0 as usize) {
            let (module, name) = (module.clone(), name.clone());
            self.imports.push(Import { module, name, offset: self.at, verdict: ImportVerdict::Unknown });
        }
    }

    pub(super) fn act(&mut self, opcode: Opcode, target: Option<NodeId>) {
        self.actions.push(Action { opcode, offset: self.at, target });
    }

    pub(super) fn call(&mut self, opcode: Opcode, callee: NodeId, arguments: NodeId) {
        self.act(opcode, Some(callee));
        if self.is_misuse(callee, arguments) {
            self.misuse(callee);
        }
        self.push(Node::Call { callee, arguments, items: Vec::new(), state: None });
    }

    /// Whether a call of something allowed does more than tensors need: `_codecs.encode` looks modules up by the name
    /// of an encoding, so only the one that turns text into bytes passes; `torch.storage._load_from_bytes` loads a
    /// pickle, which is followed where it is a constant.
    fn is_misuse(&self, callee: NodeId, arguments: NodeId) -> bool {
        let node = |id: NodeId| self.nodes.get(id.0 as usize);
        let Some(Node::Global(module, name)) = node(callee) else { return false };
        // Tuples never change once they are made; a list could still.
        let arguments = match node(arguments) {
            Some(Node::Tuple(arguments)) => arguments.as_slice(),
            _ => &[],
        };
        let encoding = |id: NodeId| match node(id) {
            Some(Node::Str(text)) => matches!(&**text, "latin1" | "latin-1" | "iso-8859-1" | "ISO-8859-1"),
            _ => false,
        };
        match (&**module, &**name) {
            ("_codecs", "encode") => !matches!(arguments, [_, second] if encoding(*second)),
            ("torch.storage", "_load_from_bytes") => {
                !matches!(arguments, [only] if matches!(node(*only), Some(Node::Bytes(_) | Node::Span(_))))
            }
            _ => false,
        }
    }

    /// Appends to the list on top.
    pub(super) fn extend(&mut self, new: Vec<NodeId>) -> Step<()> {
        self.items += new.len();
        let target = self.top()?;
        match self.node_mut(target)? {
            Node::List(items) | Node::Set(items) => items.extend(new),
            // Objects that behave as lists: what is appended does not matter here.
            Node::Call { .. } | Node::Opaque(_) => {}
            _ => return self.fail("appends to something that is no list"),
        }
        Ok(())
    }

    /// Sets items of the dict on top: a key, its value, and so on.
    pub(super) fn set_items(&mut self, new: Vec<NodeId>) -> Step<()> {
        self.items += new.len();
        let target = self.top()?;
        if !new.len().is_multiple_of(2) {
            return self.fail("a key without a value");
        }
        let pairs = new.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        match self.node_mut(target)? {
            Node::Dict(items) | Node::Call { items, .. } => items.extend(pairs),
            Node::Opaque(_) => {}
            _ => return self.fail("sets an item of something that is no dict"),
        }
        Ok(())
    }

    pub(super) fn memoize(&mut self, key: u64) -> Step<()> {
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    pub(super) fn recall(&mut self, key: u64) -> Step<()> {
        match self.memo.get(&key) {
            Some(&id) => self.stack.push(id),
            None => return self.fail(format!("memo {key} was never set")),
        }
        Ok(())
    }
}
