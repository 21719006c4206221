//! Row numbers on the device, with the bound that makes reading a table by them safe.

use super::CudaKernels;
use super::launch::{Operand, in_view};
use crate::engine::cuda::device::{DType, Device};
use crate::engine::cuda::error::DeviceError;
use crate::engine::cuda::memory::Buffer;
use crate::engine::cuda::view::View;

/// Row numbers of a table of so many rows, all of them checked when they were copied.
pub(in crate::engine::cuda) struct Ids<D: Device> {
    numbers: Buffer<D>,
    rows: usize,
}

impl<D: Device> Ids<D> {
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Rows of the table they are for.
    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn view(&self) -> View<'_> {
        self.numbers.view()
    }

    /// As a kernel's operand that must be so many.
    pub(super) fn operand(&self, len: usize) -> Operand<'_> {
        in_view(self.view(), DType::F32, len)
    }
}

fn check(ids: &[u32], rows: usize) -> Result<(), DeviceError> {
    match ids.iter().enumerate().find(|&(_, &id)| id as usize >= rows) {
        Some((position, &id)) => Err(DeviceError::Row { id, position, rows }),
        None => Ok(()),
    }
}

impl<D: Device> CudaKernels<D> {
    pub(super) fn upload_ids(&self, ids: &[u32], rows: usize) -> Ids<D> {
        self.shared.keep(check(ids, rows));
        Ids { numbers: Buffer::of_bits(&self.shared, ids), rows }
    }

    /// Puts other row numbers of the same table, as many, in the place of some.
    pub(in crate::engine::cuda) fn rewrite(&self, ids: &Ids<D>, numbers: &[u32]) {
        self.shared.keep(check(numbers, ids.rows));
        self.shared.write(ids.view(), numbers);
    }

    /// Keeps an error unless the numbers are `len` ones for a table of so many rows.
    pub(super) fn check_ids(&self, operation: &'static str, ids: &Ids<D>, rows: usize, len: usize) {
        for (operand, found, expected) in [("row numbers", ids.len(), len), ("rows of the table", ids.rows, rows)] {
            if found != expected {
                let operand = operand.into();
                self.shared.keep(Err::<(), _>(DeviceError::Length { operation, operand, found, expected }));
            }
        }
    }
}
