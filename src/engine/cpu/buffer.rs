//! Buffers that are used again.
//!
//! A forward pass makes hundreds of buffers of a few sizes. Asking the system for each costs more than filling it:
//! every fresh page is cleared by the kernel on first touch. So a thread keeps what it frees.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;

use super::bf16::Right;

/// Most values a thread keeps for later: 1 GiB.
const MOST_KEPT: usize = 1 << 28;

thread_local! {
    static FREE: RefCell<Free> = const { RefCell::new(Free { buffers: Vec::new(), values: 0 }) };
}

struct Free {
    buffers: Vec<Vec<f32>>,
    /// Sum of their capacities.
    values: usize,
}

impl Free {
    /// A buffer that holds `len` values and not twice as many, the tightest there is.
    fn take(&mut self, len: usize) -> Option<Vec<f32>> {
        let fits = |capacity: usize| capacity >= len && capacity / 2 <= len;
        let candidates = self.buffers.iter().enumerate().filter(|(_, buffer)| fits(buffer.capacity()));
        let (place, _) = candidates.min_by_key(|(_, buffer)| buffer.capacity())?;
        let buffer = self.buffers.swap_remove(place);
        self.values -= buffer.capacity();
        Some(buffer)
    }

    fn keep(&mut self, buffer: Vec<f32>) {
        if self.values + buffer.capacity() <= MOST_KEPT {
            self.values += buffer.capacity();
            self.buffers.push(buffer);
        }
    }
}

/// Single-precision values; their memory goes back to the thread that drops them.
#[derive(Debug, Default)]
pub(in crate::engine) struct Buffer {
    values: Vec<f32>,
    /// The same values as the right operand of bfloat16 products, made for the first of them.
    packed: OnceLock<Box<Right>>,
}

impl Buffer {
    /// `len` values of no particular size, to be overwritten.
    pub fn unset(len: usize) -> Self {
        let mut values = FREE.with_borrow_mut(|free| free.take(len)).unwrap_or_default();
        // Only what a kept buffer never held is written here; a new one comes zeroed from the system.
        if values.capacity() == 0 {
            values = vec![0.0; len];
        } else {
            values.resize(len, 0.0);
        }
        Buffer { values, packed: OnceLock::new() }
    }

    pub fn zeros(len: usize) -> Self {
        let mut buffer = Buffer::unset(len);
        buffer.fill(0.0);
        buffer
    }

    pub fn copy_of(values: &[f32]) -> Self {
        let mut buffer = Buffer::unset(values.len());
        buffer.copy_from_slice(values);
        buffer
    }

    /// The values as a vector, which is not used again.
    pub fn into_vec(mut self) -> Vec<f32> {
        std::mem::take(&mut self.values)
    }

    /// The matrix `[columns, inner]` it holds, packed for bfloat16 products.
    pub fn packed(&self, columns: usize, inner: usize) -> &Right {
        let packed = self.packed.get_or_init(|| Box::new(Right::of(&self.values, columns, inner)));
        debug_assert_eq!((packed.columns, packed.inner), (columns, inner), "a matrix has one shape");
        packed
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let values = std::mem::take(&mut self.values);
        if values.capacity() > 0 {
            // While the thread ends there may be nobody left to keep it.
            let _ = FREE.try_with(|free| free.borrow_mut().keep(values));
        }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        self.packed = OnceLock::new();
        &mut self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_and_zeros_are_zeros() {
        let mut first = Buffer::unset(1000);
        first.fill(7.0);
        let place = first.as_ptr();
        drop(first);
        let second = Buffer::zeros(900);
        assert_eq!((second.as_ptr(), second.len()), (place, 900));
        assert!(second.iter().all(|&value| value == 0.0));
        // Much smaller ones leave it alone; longer ones cannot use it.
        drop(second);
        assert_ne!(Buffer::unset(10).as_ptr(), place);
        assert_eq!(Buffer::copy_of(&[1.0; 1001]).into_vec(), [1.0; 1001]);
    }
}
