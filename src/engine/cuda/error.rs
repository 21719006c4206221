//! What goes wrong on a device, and what an operation was given that does not fit it.

/// What a device could not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The device or one of its libraries refused something.
    #[error("{what}: {said}")]
    Refused {
        /// What was tried.
        what: String,
        /// What the device or its library answered.
        said: String,
    },
    /// An operand that holds another number of values than the operation works on.
    #[error("{operation}: {operand} has {found} values where {expected} are needed")]
    Length {
        /// A kernel, a copy or a product.
        operation: &'static str,
        /// Which operand.
        operand: String,
        /// Values it holds.
        found: usize,
        /// Values the operation reads or writes.
        expected: usize,
    },
    /// An operand stored in another type than the operation takes.
    #[error("{operation}: {operand} is stored as {found} where {expected} is needed")]
    DType {
        /// A kernel, a copy or a product.
        operation: &'static str,
        /// Which operand.
        operand: String,
        /// How it is stored.
        found: &'static str,
        /// What the operation takes.
        expected: &'static str,
    },
    /// An operand in the memory of another device, or without memory.
    #[error("{operation}: {operand} is not in this device's memory")]
    Foreign {
        /// A kernel, a copy or a product.
        operation: &'static str,
        /// Which operand.
        operand: String,
    },
    /// A result that lies where an operand of the same product is read.
    #[error("{operation}: the result overlaps {operand}")]
    Overlap {
        /// A copy or a product.
        operation: &'static str,
        /// Which operand.
        operand: String,
    },
    /// Columns of a wider matrix, where an operation takes numbers that are neighbors.
    #[error("{operation}: {operand} is columns of a wider matrix")]
    Columns {
        /// A kernel, a copy or a product.
        operation: &'static str,
        /// Which operand.
        operand: String,
    },
    /// A part of a buffer that reaches past its end.
    #[error("values {start}..{end} of a buffer of {len}")]
    Range {
        /// First value of the part.
        start: usize,
        /// One past its last.
        end: usize,
        /// Values of the buffer.
        len: usize,
    },
    /// A row number outside its table.
    #[error("row number {id} at position {position} of a table of {rows} rows")]
    Row {
        /// The row number.
        id: u32,
        /// Where it stands.
        position: usize,
        /// Rows of the table.
        rows: usize,
    },
    /// A size larger than a kernel can be told.
    #[error("{operation}: {value} does not fit the 32 bits of an argument")]
    Size {
        /// A kernel.
        operation: &'static str,
        /// The size.
        value: usize,
    },
    /// A parameter or its moments that the host did not give.
    #[error("no values for {name}")]
    Missing {
        /// Name of the tensor.
        name: String,
    },
}

impl DeviceError {
    /// What the device or one of its libraries refused.
    pub(super) fn new(what: impl Into<String>, said: impl ToString) -> Self {
        DeviceError::Refused { what: what.into(), said: said.to_string() }
    }
}
