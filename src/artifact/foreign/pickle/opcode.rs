//! The instructions of pickle protocols 0 to 5 (Python's `pickletools`).

/// What follows an instruction's byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    /// Nothing.
    None,
    /// That many bytes of little-endian integer (or big-endian float for BINFLOAT).
    Fixed(usize),
    /// A length of that many bytes, then as many bytes.
    Counted(usize),
    /// A line, without its newline.
    Line,
    /// Two lines.
    TwoLines,
}

macro_rules! opcodes {
    ($($name:ident = $byte:literal, $operand:expr;)*) => {
        /// An instruction, named as in `pickletools`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, missing_docs)]
        pub enum Opcode { $($name),* }

        impl Opcode {
            /// The instruction a byte stands for.
            pub fn from_byte(byte: u8) -> Option<Self> {
                match byte { $($byte => Some(Opcode::$name),)* _ => None }
            }

            /// Its name in `pickletools`.
            pub fn name(self) -> &'static str {
                match self { $(Opcode::$name => stringify!($name)),* }
            }

            pub(super) fn operand(self) -> Operand {
                match self { $(Opcode::$name => $operand),* }
            }
        }
    };
}

use Operand::{Counted, Fixed, Line, TwoLines};

opcodes! {
    MARK = b'(', Operand::None;
    STOP = b'.', Operand::None;
    POP = b'0', Operand::None;
    POP_MARK = b'1', Operand::None;
    DUP = b'2', Operand::None;
    FLOAT = b'F', Line;
    INT = b'I', Line;
    BININT = b'J', Fixed(4);
    BININT1 = b'K', Fixed(1);
    LONG = b'L', Line;
    BININT2 = b'M', Fixed(2);
    NONE = b'N', Operand::None;
    PERSID = b'P', Line;
    BINPERSID = b'Q', Operand::None;
    REDUCE = b'R', Operand::None;
    STRING = b'S', Line;
    BINSTRING = b'T', Counted(4);
    SHORT_BINSTRING = b'U', Counted(1);
    UNICODE = b'V', Line;
    BINUNICODE = b'X', Counted(4);
    APPEND = b'a', Operand::None;
    BUILD = b'b', Operand::None;
    GLOBAL = b'c', TwoLines;
    DICT = b'd', Operand::None;
    EMPTY_DICT = b'}', Operand::None;
    APPENDS = b'e', Operand::None;
    GET = b'g', Line;
    BINGET = b'h', Fixed(1);
    INST = b'i', TwoLines;
    LONG_BINGET = b'j', Fixed(4);
    LIST = b'l', Operand::None;
    EMPTY_LIST = b']', Operand::None;
    OBJ = b'o', Operand::None;
    PUT = b'p', Line;
    BINPUT = b'q', Fixed(1);
    LONG_BINPUT = b'r', Fixed(4);
    SETITEM = b's', Operand::None;
    TUPLE = b't', Operand::None;
    EMPTY_TUPLE = b')', Operand::None;
    SETITEMS = b'u', Operand::None;
    BINFLOAT = b'G', Fixed(8);
    BINBYTES = b'B', Counted(4);
    SHORT_BINBYTES = b'C', Counted(1);
    PROTO = 0x80, Fixed(1);
    NEWOBJ = 0x81, Operand::None;
    EXT1 = 0x82, Fixed(1);
    EXT2 = 0x83, Fixed(2);
    EXT4 = 0x84, Fixed(4);
    TUPLE1 = 0x85, Operand::None;
    TUPLE2 = 0x86, Operand::None;
    TUPLE3 = 0x87, Operand::None;
    NEWTRUE = 0x88, Operand::None;
    NEWFALSE = 0x89, Operand::None;
    LONG1 = 0x8a, Counted(1);
    LONG4 = 0x8b, Counted(4);
    SHORT_BINUNICODE = 0x8c, Counted(1);
    BINUNICODE8 = 0x8d, Counted(8);
    BINBYTES8 = 0x8e, Counted(8);
    EMPTY_SET = 0x8f, Operand::None;
    ADDITEMS = 0x90, Operand::None;
    FROZENSET = 0x91, Operand::None;
    NEWOBJ_EX = 0x92, Operand::None;
    STACK_GLOBAL = 0x93, Operand::None;
    MEMOIZE = 0x94, Operand::None;
    FRAME = 0x95, Fixed(8);
    BYTEARRAY8 = 0x96, Counted(8);
    NEXT_BUFFER = 0x97, Operand::None;
    READONLY_BUFFER = 0x98, Operand::None;
}

impl std::fmt::Display for Opcode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}
