//! Memory that notices writes past its ends.

use std::alloc::{Layout, alloc, dealloc};
use std::sync::{Arc, Mutex};

/// Bytes before and after each allocation that must stay as they are.
const GUARD: usize = 256;
const PATTERN: u8 = 0xA5;
/// Every byte of fresh memory: as floats, a large negative number that no result would hide.
const UNSET: u8 = 0xFA;

/// Memory between two guards.
pub(in crate::engine::cuda) struct Guarded {
    start: *mut u8,
    bytes: usize,
    damaged: Arc<Mutex<usize>>,
}

// SAFETY: plain memory; who gives it to kernels has it to themselves (contract of `Device`).
unsafe impl Send for Guarded {}
// SAFETY: as above.
unsafe impl Sync for Guarded {}

impl Guarded {
    /// Fresh memory; `damaged` counts allocations whose guards were written over.
    pub fn new(bytes: usize, damaged: &Arc<Mutex<usize>>) -> Self {
        // SAFETY: the layout is never empty; every byte is written before the memory is used.
        let start = unsafe {
            let start = alloc(Guarded::layout(bytes));
            start.write_bytes(PATTERN, bytes + 2 * GUARD);
            start.add(GUARD).write_bytes(UNSET, bytes);
            start
        };
        Guarded { start, bytes, damaged: Arc::clone(damaged) }
    }

    pub fn address(&self) -> u64 {
        self.start as u64 + GUARD as u64
    }

    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes + 2 * GUARD, GUARD).unwrap()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: allocated with the same layout, every byte written then.
        let bytes = unsafe { std::slice::from_raw_parts(self.start, self.bytes + 2 * GUARD) };
        let (before, rest) = bytes.split_at(GUARD);
        if before.iter().chain(&rest[self.bytes..]).any(|&byte| byte != PATTERN) {
            *self.damaged.lock().unwrap() += 1;
        }
        // SAFETY: as above, and freed nowhere else.
        unsafe { dealloc(self.start, Self::layout(self.bytes)) };
    }
}
