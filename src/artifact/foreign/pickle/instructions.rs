//! What each instruction does on the stack machine.

use std::sync::Arc;

use super::machine::{Machine, Step};
use super::opcode::{Opcode, Operand};
use super::text::{string_literal, unicode_line};
use super::{MAX_COPIED_BYTES, Node, NodeId};

impl Machine<'_> {
    /// Follows one instruction; true after STOP.
    pub(super) fn step(&mut self) -> Step<bool> {
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
                let module = Arc::from(lossy(self.line()?));
                let name = Arc::from(lossy(self.line()?));
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
            Opcode::BINPUT | Opcode::LONG_BINPUT => self.memoize(value)?,
            Opcode::PROTO => self.protocol = value as u8,
            Opcode::FRAME => self.frame(value),
            // What stands behind a code of the extension registry is known to the loading process only.
            _ => {
                self.import(Arc::from("copyreg"), Arc::from(format!("extension {value}")));
                self.pop()?;
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
            _ if content.len() > MAX_COPIED_BYTES => Node::Span(self.next - content.len()..self.next),
            _ => Node::Bytes(content.to_vec()),
        };
        self.push(node);
    }

    fn lined(&mut self, opcode: Opcode, line: &[u8]) -> Step<()> {
        let words = lossy(line);
        match opcode {
            Opcode::GET | Opcode::PUT => {
                let Ok(key) = words.trim().parse() else { return self.fail("a memo key that is no number") };
                if opcode == Opcode::GET { self.recall(key)? } else { self.memoize(key)? }
            }
            Opcode::INT if words == "00" => self.push(Node::Bool(false)),
            Opcode::INT if words == "01" => self.push(Node::Bool(true)),
            Opcode::INT | Opcode::LONG => {
                let digits = words.trim().trim_end_matches('L');
                let unsigned = digits.strip_prefix(['-', '+']).unwrap_or(digits);
                if unsigned.is_empty() || !unsigned.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                    return self.fail("an integer that is no number");
                }
                self.push(digits.parse().map_or_else(|_| Node::BigInt(line.to_vec()), Node::Int));
            }
            Opcode::FLOAT => match words.trim().parse() {
                Ok(value) => self.push(Node::Float(value)),
                Err(_) => return self.fail("a float that is no number"),
            },
            Opcode::PERSID => {
                self.push(Node::Str(Arc::from(words)));
                let id = self.pop()?;
                self.push(Node::Persistent(id));
            }
            Opcode::STRING => match string_literal(line) {
                Some(bytes) => self.push(text(&bytes)),
                None => return self.fail("a STRING that is not quoted"),
            },
            _ => self.push(Node::Str(Arc::from(unicode_line(line)))),
        }
        Ok(())
    }

    fn plain(&mut self, opcode: Opcode) -> Step<bool> {
        match opcode {
            Opcode::STOP => return Ok(true),
            Opcode::MARK => self.marks.push(self.stack.len()),
            Opcode::POP => self.pop_or_unmark()?,
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
            Opcode::TUPLE1 => self.tuple(1)?,
            Opcode::TUPLE2 => self.tuple(2)?,
            Opcode::TUPLE3 => self.tuple(3)?,
            Opcode::TUPLE => {
                let items = self.pop_mark()?;
                self.push(Node::Tuple(items));
            }
            Opcode::LIST => {
                let items = self.pop_mark()?;
                self.push(Node::List(items));
            }
            Opcode::FROZENSET => {
                let items = self.pop_mark()?;
                self.push(Node::Set(items));
            }
            Opcode::DICT => {
                let items = self.pop_mark()?;
                self.push(Node::Dict(Vec::new()));
                self.set_items(items)?;
            }
            Opcode::APPEND => {
                let item = self.pop()?;
                self.extend(vec![item])?;
            }
            Opcode::APPENDS | Opcode::ADDITEMS => {
                let items = self.pop_mark()?;
                self.extend(items)?;
            }
            Opcode::SETITEM => {
                let items = self.pop_n(2)?;
                self.set_items(items)?;
            }
            Opcode::SETITEMS => {
                let items = self.pop_mark()?;
                self.set_items(items)?;
            }
            Opcode::BINPERSID => {
                let id = self.pop()?;
                self.push(Node::Persistent(id));
            }
            Opcode::STACK_GLOBAL => self.import_from_stack()?,
            Opcode::REDUCE | Opcode::NEWOBJ => self.call_popped(opcode)?,
            Opcode::NEWOBJ_EX => {
                let _keywords = self.pop()?;
                self.call_popped(opcode)?;
            }
            Opcode::OBJ => self.call_marked(opcode)?,
            Opcode::BUILD => self.build(opcode)?,
            Opcode::MEMOIZE => self.memoize(self.memo.len() as u64)?,
            Opcode::NEXT_BUFFER => self.push(Node::Opaque("out-of-band buffer")),
            // READONLY_BUFFER changes nothing that matters here; all others have operands.
            _ => {}
        }
        Ok(false)
    }

    /// POP takes an open MARK away, too.
    fn pop_or_unmark(&mut self) -> Step<()> {
        if self.stack.len() == self.floor() && !self.marks.is_empty() {
            self.marks.pop();
        } else {
            self.pop()?;
        }
        Ok(())
    }

    fn tuple(&mut self, n: usize) -> Step<()> {
        let items = self.pop_n(n)?;
        self.push(Node::Tuple(items));
        Ok(())
    }

    fn import_from_stack(&mut self) -> Step<()> {
        let name = self.pop()?;
        let module = self.pop()?;
        let spelled = |machine: &Self, id: NodeId| match machine.nodes.get(id.0 as usize) {
            Some(Node::Str(text)) => text.clone(),
            _ => Arc::from("?"),
        };
        let (module, name) = (spelled(self, module), spelled(self, name));
        self.import(module, name);
        Ok(())
    }

    fn call_popped(&mut self, opcode: Opcode) -> Step<()> {
        let arguments = self.pop()?;
        let callee = self.pop()?;
        self.call(opcode, callee, arguments);
        Ok(())
    }

    fn call_marked(&mut self, opcode: Opcode) -> Step<()> {
        let mut items = self.pop_mark()?;
        if items.is_empty() {
            return self.fail("OBJ without a class");
        }
        let callee = items.remove(0);
        self.push(Node::Tuple(items));
        let arguments = self.pop()?;
        self.call(opcode, callee, arguments);
        Ok(())
    }

    fn build(&mut self, opcode: Opcode) -> Step<()> {
        let new = self.pop()?;
        let target = self.top()?;
        self.act(opcode, Some(target));
        // Sets attributes of what was imported, for everybody else who uses it.
        self.misuse(target);
        if let Node::Call { state, .. } = self.node_mut(target)? {
            *state = Some(new);
        }
        Ok(())
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn text(bytes: &[u8]) -> Node {
    std::str::from_utf8(bytes).map_or_else(|_| Node::Bytes(bytes.to_vec()), |text| Node::Str(Arc::from(text)))
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
