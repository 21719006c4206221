//! The symbolic stack machine.

use std::collections::BTreeMap;

use super::opcode::{Opcode, Operand};
use super::{Action, Import, MAX_PICKLE_BYTES, MAX_VALUES, Node, NodeId, Pickle, PickleError, judge};

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
struct Machine<'a> {
    bytes: &'a [u8],
    /// Offset of the instruction being followed.
    at: usize,
    /// Offset of the next byte to read.
    next: usize,
    protocol: u8,
    nodes: Vec<Node>,
    stack: Vec<NodeId>,
    /// Heights of the stack at each open MARK.
    marks: Vec<usize>,
    memo: BTreeMap<u64, NodeId>,
    imports: Vec<Import>,
    actions: Vec<Action>,
    opcodes: BTreeMap<Opcode, u64>,
}

type Step<T> = Result<T, PickleError>;

impl<'a> Machine<'a> {
    fn fail<T>(&self, what: impl Into<String>) -> Step<T> {
        Err(PickleError { offset: self.at, what: what.into() })
    }

    fn take(&mut self, n: usize) -> Step<&'a [u8]> {
        let slice = self.next.checked_add(n).and_then(|end| self.bytes.get(self.next..end));
        let Some(slice) = slice else {
            return self.fail(format!("cut short: {n} bytes needed, {} left", self.bytes.len() - self.next));
        };
        self.next += n;
        Ok(slice)
    }

    fn line(&mut self) -> Step<&'a [u8]> {
        let rest = self.bytes.get(self.next..).unwrap_or(&[]);
        let Some(length) = rest.iter().position(|&byte| byte == b'\n') else {
            return self.fail("a line without end");
        };
        let line = self.take(length)?;
        self.next += 1;
        Ok(line)
    }

    fn little_endian(&mut self, n: usize) -> Step<u64> {
        Ok(self.take(n)?.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    fn push(&mut self, node: Node) {
        // Bounded by MAX_VALUES, far below 2^32.
        let id = NodeId(self.nodes.len() as u32);
        self.nodes.push(node);
        self.stack.push(id);
    }

    /// Height below which instructions may not reach: the innermost MARK.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Step<NodeId> {
        if self.stack.len() <= self.floor() {
            return self.fail("takes from an empty stack");
        }
        match self.stack.pop() {
            Some(id) => Ok(id),
            None => self.fail("takes from an empty stack"),
        }
    }

    fn top(&self) -> Step<NodeId> {
        match self.stack.last() {
            Some(&id) if self.stack.len() > self.floor() => Ok(id),
            _ => self.fail("looks at an empty stack"),
        }
    }

    fn pop_mark(&mut self) -> Step<Vec<NodeId>> {
        match self.marks.pop() {
            Some(height) if height <= self.stack.len() => Ok(self.stack.split_off(height)),
            _ => self.fail("no MARK to go back to"),
        }
    }

    fn pop_n(&mut self, n: usize) -> Step<Vec<NodeId>> {
        let mut items = (0..n).map(|_| self.pop()).collect::<Step<Vec<_>>>()?;
        items.reverse();
        Ok(items)
    }

    fn node_mut(&mut self, id: NodeId) -> Step<&mut Node> {
        let at = self.at;
        let error = PickleError { offset: at, what: "refers to nothing".into() };
        self.nodes.get_mut(id.0 as usize).ok_or(error)
    }

    fn import(&mut self, module: String, name: String) {
        let verdict = judge(&module, &name);
        self.imports.push(Import { module: module.clone(), name: name.clone(), offset: self.at, verdict });
        self.push(Node::Global(module, name));
    }

    fn act(&mut self, opcode: Opcode, target: Option<NodeId>) {
        self.actions.push(Action { opcode, offset: self.at, target });
    }

    fn call(&mut self, opcode: Opcode, callee: NodeId, arguments: NodeId) {
        self.act(opcode, Some(callee));
        self.push(Node::Call { callee, arguments, items: Vec::new(), state: None });
    }

    fn extend(&mut self, target: NodeId, new: Vec<NodeId>) -> Step<()> {
        match self.node_mut(target)? {
            Node::List(items) | Node::Set(items) => items.extend(new),
            // Objects that behave as lists: what is appended does not matter here.
            Node::Call { .. } | Node::Opaque(_) => {}
            _ => return self.fail("appends to something that is no list"),
        }
        Ok(())
    }

    fn set_items(&mut self, target: NodeId, new: Vec<NodeId>) -> Step<()> {
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

    fn memoise(&mut self, key: u64) -> Step<()> {
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u64) -> Step<()> {
        match self.memo.get(&key) {
            Some(&id) => self.stack.push(id),
            None => return self.fail(format!("memo {key} was never set")),
        }
        Ok(())
    }

    /// Follows one instruction; true after STOP.
    fn step(&mut self) -> Step<bool> {
        self.at = self.next;
        let byte = match self.take(1)? {
            [byte] => *byte,
            _ => return self.fail("cut short"),
        };
        let Some(opcode) = Opcode::from_byte(byte) else {
            return self.fail(format!("0x{byte:02x} is no pickle instruction"));
        };
        *self.opcodes.entry(opcode).or_default() += 1;
        match opcode.operand() {
            Operand::None => return self.plain(opcode),
            Operand::Fixed(n) => {
                let value = self.little_endian(n)?;
                self.fixed(opcode, value)?;
            }
            Operand::Counted(n) => {
                let length = self.little_endian(n)?;
                let Ok(length) = usize::try_from(length) else { return self.fail("a length beyond memory") };
                let content = self.take(length)?;
                self.counted(opcode, content);
            }
            Operand::Line => {
                let line = self.line()?;
                self.lined(opcode, line)?;
            }
            Operand::TwoLines => {
                let module = lossy(self.line()?);
                let name = lossy(self.line()?);
                if opcode == Opcode::INST {
                    let arguments = self.pop_mark()?;
                    self.import(module, name);
                    let callee = self.pop()?;
                    self.push(Node::Tuple(arguments));
                    let arguments = self.pop()?;
                    self.call(opcode, callee, arguments);
                } else {
                    self.import(module, name);
                }
            }
        }
        Ok(false)
    }

    fn fixed(&mut self, opcode: Opcode, value: u64) -> Step<()> {
        match opcode {
            Opcode::BININT => self.push(Node::Int(i64::from(value as u32 as i32))),
            Opcode::BININT1 | Opcode::BININT2 => self.push(Node::Int(value as i64)),
            // The only big-endian operand.
            Opcode::BINFLOAT => self.push(Node::Float(f64::from_bits(value.swap_bytes()))),
            Opcode::BINGET | Opcode::LONG_BINGET => self.recall(value)?,
            Opcode::BINPUT | Opcode::LONG_BINPUT => self.memoise(value)?,
            Opcode::PROTO => self.protocol = value as u8,
            // FRAME only announces how much may be read ahead.
            Opcode::FRAME => {}
            _ => {
                self.act(opcode, None);
                self.push(Node::Opaque("extension registry"));
            }
        }
        Ok(())
    }

    fn counted(&mut self, opcode: Opcode, content: &[u8]) {
        let node = match opcode {
            Opcode::LONG1 | Opcode::LONG4 => integer(content),
            Opcode::BINUNICODE | Opcode::SHORT_BINUNICODE | Opcode::BINUNICODE8 => text(content),
            // Python 2 text: bytes, nearly always ASCII.
            Opcode::BINSTRING | Opcode::SHORT_BINSTRING => text(content),
            _ => Node::Bytes(content.to_vec()),
        };
        self.push(node);
    }

    fn lined(&mut self, opcode: Opcode, line: &[u8]) -> Step<()> {
        let words = lossy(line);
        match opcode {
            Opcode::GET | Opcode::PUT => {
                let Ok(key) = words.trim().parse() else { return self.fail("a memo key that is no number") };
                if opcode == Opcode::GET { self.recall(key)? } else { self.memoise(key)? }
            }
            Opcode::INT if words == "00" => self.push(Node::Bool(false)),
            Opcode::INT if words == "01" => self.push(Node::Bool(true)),
            Opcode::INT | Opcode::LONG => {
                let digits = words.trim().trim_end_matches('L');
                self.push(digits.parse().map_or_else(|_| Node::BigInt(line.to_vec()), Node::Int));
            }
            Opcode::FLOAT => match words.trim().parse() {
                Ok(value) => self.push(Node::Float(value)),
                Err(_) => return self.fail("a float that is no number"),
            },
            Opcode::PERSID => {
                self.push(Node::Str(words));
                let id = self.pop()?;
                self.push(Node::Persistent(id));
            }
            // STRING is quoted; the quotes do not matter for what is looked up in it.
            Opcode::STRING => {
                let inner = words.trim_matches(|c| c == '\'' || c == '"').to_string();
                self.push(Node::Str(inner));
            }
            _ => self.push(text(line)),
        }
        Ok(())
    }

    fn plain(&mut self, opcode: Opcode) -> Step<bool> {
        match opcode {
            Opcode::STOP => return Ok(true),
            Opcode::MARK => self.marks.push(self.stack.len()),
            Opcode::POP => {
                if self.stack.len() == self.floor() && !self.marks.is_empty() {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            Opcode::POP_MARK => drop(self.pop_mark()?),
            Opcode::DUP => {
                let top = self.top()?;
                self.stack.push(top);
            }
            Opcode::NONE => self.push(Node::None),
            Opcode::NEWTRUE => self.push(Node::Bool(true)),
            Opcode::NEWFALSE => self.push(Node::Bool(false)),
            Opcode::EMPTY_DICT => self.push(Node::Dict(Vec::new())),
            Opcode::EMPTY_LIST => self.push(Node::List(Vec::new())),
            Opcode::EMPTY_TUPLE => self.push(Node::Tuple(Vec::new())),
            Opcode::EMPTY_SET => self.push(Node::Set(Vec::new())),
            Opcode::TUPLE1 | Opcode::TUPLE2 | Opcode::TUPLE3 => {
                let n = if opcode == Opcode::TUPLE1 {
                    1
                } else if opcode == Opcode::TUPLE2 {
                    2
                } else {
                    3
                };
                let items = self.pop_n(n)?;
                self.push(Node::Tuple(items));
            }
            Opcode::TUPLE | Opcode::LIST | Opcode::FROZENSET => {
                let items = self.pop_mark()?;
                self.push(match opcode {
                    Opcode::TUPLE => Node::Tuple(items),
                    Opcode::LIST => Node::List(items),
                    _ => Node::Set(items),
                });
            }
            Opcode::DICT => {
                let items = self.pop_mark()?;
                self.push(Node::Dict(Vec::new()));
                let dict = self.top()?;
                self.set_items(dict, items)?;
            }
            Opcode::APPEND => {
                let item = self.pop()?;
                let list = self.top()?;
                self.extend(list, vec![item])?;
            }
            Opcode::APPENDS | Opcode::ADDITEMS => {
                let items = self.pop_mark()?;
                let list = self.top()?;
                self.extend(list, items)?;
            }
            Opcode::SETITEM => {
                let items = self.pop_n(2)?;
                let dict = self.top()?;
                self.set_items(dict, items)?;
            }
            Opcode::SETITEMS => {
                let items = self.pop_mark()?;
                let dict = self.top()?;
                self.set_items(dict, items)?;
            }
            Opcode::BINPERSID => {
                let id = self.pop()?;
                self.push(Node::Persistent(id));
            }
            Opcode::STACK_GLOBAL => {
                let name = self.pop()?;
                let module = self.pop()?;
                let spelled = |machine: &Self, id: NodeId| match machine.nodes.get(id.0 as usize) {
                    Some(Node::Str(text)) => text.clone(),
                    _ => "?".to_string(),
                };
                let (module, name) = (spelled(self, module), spelled(self, name));
                self.import(module, name);
            }
            Opcode::REDUCE | Opcode::NEWOBJ => {
                let arguments = self.pop()?;
                let callee = self.pop()?;
                self.call(opcode, callee, arguments);
            }
            Opcode::NEWOBJ_EX => {
                let _keywords = self.pop()?;
                let arguments = self.pop()?;
                let callee = self.pop()?;
                self.call(opcode, callee, arguments);
            }
            Opcode::OBJ => {
                let mut items = self.pop_mark()?;
                if items.is_empty() {
                    return self.fail("OBJ without a class");
                }
                let callee = items.remove(0);
                self.push(Node::Tuple(items));
                let arguments = self.pop()?;
                self.call(opcode, callee, arguments);
            }
            Opcode::BUILD => {
                let new = self.pop()?;
                let target = self.top()?;
                self.act(opcode, Some(target));
                if let Node::Call { state, .. } = self.node_mut(target)? {
                    *state = Some(new);
                }
            }
            Opcode::MEMOIZE => self.memoise(self.memo.len() as u64)?,
            Opcode::NEXT_BUFFER => self.push(Node::Opaque("out-of-band buffer")),
            // READONLY_BUFFER changes nothing that matters here; all others have operands.
            _ => {}
        }
        Ok(false)
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn text(bytes: &[u8]) -> Node {
    std::str::from_utf8(bytes).map_or_else(|_| Node::Bytes(bytes.to_vec()), |text| Node::Str(text.to_string()))
}

/// Little-endian two's complement of any length.
fn integer(bytes: &[u8]) -> Node {
    if bytes.len() > 8 {
        return Node::BigInt(bytes.to_vec());
    }
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let start = if negative { -1i64 } else { 0 };
    Node::Int(bytes.iter().rev().fold(start, |value, &byte| value << 8 | i64::from(byte)))
}
