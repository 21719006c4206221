//! Pickle instructions of protocol 2 as Python's pickler gives them, memo included.
//!
//! Whatever the pickler has written once it refers to afterwards, by a number counted up with every object that it could
//! meet again. Which objects are the same is a matter of the script: constants are, texts that are made anew are not.

use std::collections::BTreeMap;

use super::super::raw::Dtype;

/// Items of a dict between two of its instructions.
const DICT_BATCH: usize = 1000;

/// What the pickler recognizes when it meets it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Known<'a> {
    /// A constant of the script, by its text.
    Constant(&'a str),
    /// The name of a tensor: one object wherever it is a key.
    Name(&'a str),
    /// A class or function, as `module\nname`.
    Global(&'static str),
}

/// The instructions so far.
#[derive(Default)]
pub(super) struct Pickler<'a> {
    bytes: Vec<u8>,
    memo: BTreeMap<Known<'a>, u32>,
    memoized: u32,
    /// The bytes of each tensor, in the order of their storages.
    storages: Vec<Vec<u8>>,
}

impl<'a> Pickler<'a> {
    /// Begins a pickle of protocol 2.
    pub fn new() -> Self {
        Pickler { bytes: vec![0x80, 2], ..Pickler::default() }
    }

    /// Ends it: the pickle, and the storages.
    pub fn finish(mut self) -> (Vec<u8>, Vec<Vec<u8>>) {
        self.bytes.push(b'.');
        (self.bytes, self.storages)
    }

    /// BINPUT or LONG_BINPUT: the object just written gets the next number.
    fn memoize(&mut self) -> u32 {
        let number = self.memoized;
        self.memoized += 1;
        match u8::try_from(number) {
            Ok(short) => self.bytes.extend([b'q', short]),
            Err(_) => {
                self.bytes.push(b'r');
                self.bytes.extend(number.to_le_bytes());
            }
        }
        number
    }

    /// An object that may come again; `write` writes it the first time.
    fn known(&mut self, object: Known<'a>, write: impl FnOnce(&mut Vec<u8>)) {
        match self.memo.get(&object) {
            Some(&number) => match u8::try_from(number) {
                Ok(short) => self.bytes.extend([b'h', short]),
                Err(_) => {
                    self.bytes.push(b'j');
                    self.bytes.extend(number.to_le_bytes());
                }
            },
            None => {
                write(&mut self.bytes);
                let number = self.memoize();
                self.memo.insert(object, number);
            }
        }
    }

    /// A constant of the script.
    pub fn constant(&mut self, text: &'a str) {
        self.known(Known::Constant(text), |bytes| unicode(bytes, text));
    }

    /// The name of a tensor as the state dict has it.
    pub fn name(&mut self, name: &'a str) {
        self.known(Known::Name(name), |bytes| unicode(bytes, name));
    }

    /// A text that is made anew each time.
    pub fn text(&mut self, text: &str) {
        unicode(&mut self.bytes, text);
        self.memoize();
    }

    fn global(&mut self, global: &'static str) {
        self.known(Known::Global(global), |bytes| {
            bytes.push(b'c');
            bytes.extend_from_slice(global.as_bytes());
            bytes.push(b'\n');
        });
    }

    /// The shortest integer instruction.
    fn integer(&mut self, value: usize) {
        if let Ok(byte) = u8::try_from(value) {
            self.bytes.extend([b'K', byte]);
        } else if let Ok(short) = u16::try_from(value) {
            self.bytes.push(b'M');
            self.bytes.extend(short.to_le_bytes());
        } else {
            // The container's bounds keep sides and counts far below 2^31.
            self.bytes.push(b'J');
            self.bytes.extend((value as i32).to_le_bytes());
        }
    }

    /// Up to three elements have instructions of their own; the empty tuple is no object to remember.
    fn integers(&mut self, values: &[usize]) {
        let end = match values.len() {
            0 => {
                self.bytes.push(b')');
                return;
            }
            1 => 0x85,
            2 => 0x86,
            3 => 0x87,
            _ => b't',
        };
        if end == b't' {
            self.bytes.push(b'(');
        }
        values.iter().for_each(|&value| self.integer(value));
        self.bytes.push(end);
        self.memoize();
    }

    /// A dict of `count` items; `item` writes a key and its value.
    pub fn dict(&mut self, count: usize, mut item: impl FnMut(&mut Self, usize)) {
        self.bytes.push(b'}');
        self.memoize();
        if count == 1 {
            item(self, 0);
            self.bytes.push(b's');
        } else if count > 1 {
            // Python begins another batch behind a full one, even if nothing is left for it.
            for batch in 0..=count / DICT_BATCH {
                self.bytes.push(b'(');
                (batch * DICT_BATCH..count.min((batch + 1) * DICT_BATCH)).for_each(|index| item(self, index));
                self.bytes.push(b'u');
            }
        }
    }

    /// `torch._utils._rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())`.
    pub fn tensor(&mut self, dtype: Dtype, shape: &[usize], content: Vec<u8>) {
        self.global("torch._utils\n_rebuild_tensor_v2");
        self.bytes.extend(b"((");
        self.constant("storage");
        self.global(match dtype {
            Dtype::I8 => "torch\nCharStorage",
            Dtype::F16 => "torch\nHalfStorage",
            _ => "torch\nFloatStorage",
        });
        self.text(&self.storages.len().to_string());
        self.constant("cpu");
        self.integer(content.len() / dtype.size());
        self.bytes.push(b't');
        self.memoize();
        self.bytes.push(b'Q');
        self.integer(0);
        self.integers(shape);
        let side = |from: usize| shape.iter().skip(from).map(|&side| side.max(1)).product();
        self.integers(&(1..=shape.len()).map(side).collect::<Vec<_>>());
        self.bytes.push(0x89);
        self.global("collections\nOrderedDict");
        self.bytes.extend(b")R");
        self.memoize();
        self.bytes.push(b't');
        self.memoize();
        self.bytes.push(b'R');
        self.memoize();
        self.storages.push(content);
    }
}

/// BINUNICODE.
fn unicode(bytes: &mut Vec<u8>, text: &str) {
    bytes.push(b'X');
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}
