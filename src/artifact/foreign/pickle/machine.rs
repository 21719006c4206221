//! The symbolic stack machine: its memory, and what instructions do to it.

use std::collections::BTreeMap;

use super::opcode::Opcode;
use super::{Action, Import, MAX_PICKLE_BYTES, MAX_VALUES, Node, NodeId, Pickle, PickleError, classify};

/// Follows the pickle at the start of `bytes` to its STOP, importing and calling nothing.
pub fn interpret(bytes: &[u8]) -> Result<Pickle, PickleError> {
    if bytes.len() > MAX_PICKLE_BYTES {
        let what = format!("{} bytes are more than the {MAX_PICKLE_BYTES} that are followed", bytes.len());
        return Err(PickleError { offset: MAX_PICKLE_BYTES, what });
    }
    let mut machine = Machine { bytes, ..Machine::default() };
    while !machine.step()? {
        let held = [machine.nodes.len(), machine.stack.len(), machine.marks.len(), machine.memo.len()];
        if held.into_iter().any(|n| n > MAX_VALUES) {
            return machine.fail(format!("more than {MAX_VALUES} values"));
        }
    }
    let root = machine.pop()?;
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
    pub(super) opcodes: BTreeMap<Opcode, u64>,
}

pub(super) type Step<T> = Result<T, PickleError>;

impl<'a> Machine<'a> {
    pub(super) fn fail<T>(&self, what: impl Into<String>) -> Step<T> {
        Err(PickleError { offset: self.at, what: what.into() })
    }

    pub(super) fn take(&mut self, n: usize) -> Step<&'a [u8]> {
        let slice = self.next.checked_add(n).and_then(|end| self.bytes.get(self.next..end));
        let Some(slice) = slice else {
            return self.fail(format!("cut short: {n} bytes needed, {} left", self.bytes.len() - self.next));
        };
        self.next += n;
        Ok(slice)
    }

    pub(super) fn line(&mut self) -> Step<&'a [u8]> {
        let rest = self.bytes.get(self.next..).unwrap_or(&[]);
        let Some(length) = rest.iter().position(|&byte| byte == b'\n') else {
            return self.fail("a line without end");
        };
        let line = self.take(length)?;
        self.next += 1;
        Ok(line)
    }

    pub(super) fn little_endian(&mut self, n: usize) -> Step<u64> {
        Ok(self.take(n)?.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    pub(super) fn push(&mut self, node: Node) {
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
        let error = PickleError { offset: at, what: "refers to nothing".into() };
        self.nodes.get_mut(id.0 as usize).ok_or(error)
    }

    pub(super) fn import(&mut self, module: String, name: String) {
        let verdict = classify(&module, &name);
        self.imports.push(Import { module: module.clone(), name: name.clone(), offset: self.at, verdict });
        self.push(Node::Global(module, name));
    }

    pub(super) fn act(&mut self, opcode: Opcode, target: Option<NodeId>) {
        self.actions.push(Action { opcode, offset: self.at, target });
    }

    pub(super) fn call(&mut self, opcode: Opcode, callee: NodeId, arguments: NodeId) {
        self.act(opcode, Some(callee));
        self.push(Node::Call { callee, arguments, items: Vec::new(), state: None });
    }

    /// Appends to the list on top.
    pub(super) fn extend(&mut self, new: Vec<NodeId>) -> Step<()> {
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
