//! How much a file may expand to, all its layers and members together.

use std::cell::Cell;

/// Bytes that decompression may still make. Shared by all layers and members of a file, so nesting multiplies nothing.
#[derive(Debug)]
pub(in crate::artifact) struct Allowance {
    max: u64,
    left: Cell<u64>,
}

/// More bytes than are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::artifact) struct Spent;

impl Allowance {
    /// Of so many bytes.
    pub fn new(max: u64) -> Self {
        Allowance { max, left: Cell::new(max) }
    }

    /// What there was at first.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// What is left.
    pub fn left(&self) -> u64 {
        self.left.get()
    }

    /// Takes so many bytes off it; nothing is taken where there are fewer.
    pub fn take(&self, bytes: usize) -> Result<(), Spent> {
        let left = self.left.get().checked_sub(bytes as u64).ok_or(Spent)?;
        self.left.set(left);
        Ok(())
    }
}
