//! Parts of device memory that know their bounds.

use std::marker::PhantomData;
use std::ops::Range;

use super::device::DType;
use super::error::DeviceError;

/// Neighboring numbers in a device's memory: where they begin, how many there are, how they are stored and whose they are.
///
/// Made by a [`Buffer`](super::memory::Buffer), which is borrowed meanwhile: the numbers stay allocated.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    address: u64,
    len: usize,
    dtype: DType,
    /// Address of the owning device's bookkeeping: tells devices apart.
    owner: usize,
    /// Where they are not neighbors.
    columns: Option<Columns>,
    buffer: PhantomData<&'a ()>,
}

/// Some columns of a wider matrix: rows of `width` numbers, which begin `stride` numbers apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    pub width: usize,
    pub stride: usize,
}

impl<'a> View<'a> {
    /// # Safety
    /// The numbers must be allocated memory of the device that `owner` stands for, for as long as `'a`; or `address` is
    /// 0, and there is no memory.
    pub(super) unsafe fn new(address: u64, len: usize, dtype: DType, owner: usize) -> Self {
        View { address, len, dtype, owner, columns: None, buffer: PhantomData }
    }

    /// As many numbers from the same one on, which lie as columns of a wider matrix.
    ///
    /// # Safety
    /// As for [`Self::new`], of all that lies from the first number to the last.
    pub(super) unsafe fn in_columns(self, columns: Columns) -> Self {
        View { columns: Some(columns), ..self }
    }

    /// Device address of the first number; 0 after a failure of the device, when nothing is run anymore.
    pub fn address(self) -> u64 {
        self.address
    }

    /// How many numbers.
    pub fn len(self) -> usize {
        self.len
    }

    /// How each is stored.
    pub fn dtype(self) -> DType {
        self.dtype
    }

    /// Numbers from the beginning of one row of `width` to the next; an error where they are other columns.
    pub fn row_stride(self, operation: &'static str, width: usize) -> Result<usize, DeviceError> {
        match self.columns {
            None => Ok(width),
            Some(columns) if columns.width == width => Ok(columns.stride),
            Some(Columns { width: found, .. }) => {
                Err(DeviceError::Length { operation, operand: "columns".into(), found, expected: width })
            }
        }
    }

    /// Bytes of all.
    pub fn bytes(self) -> usize {
        self.len * self.dtype.bytes()
    }

    /// Some of the numbers.
    pub fn slice(self, values: Range<usize>) -> Result<View<'a>, DeviceError> {
        check_range(&values, self.len)?;
        if self.columns.is_some() {
            return Err(DeviceError::Columns { operation: "a part", operand: "the buffer".into() });
        }
        let skipped = (values.start * self.dtype.bytes()) as u64;
        let address = if self.address == 0 { 0 } else { self.address + skipped };
        Ok(View { address, len: values.len(), ..self })
    }

    /// Checks that these are `expected` neighboring numbers of that type in memory of `owner`.
    pub fn check(
        self,
        operation: &'static str,
        operand: impl Fn() -> String,
        owner: usize,
        dtype: DType,
        expected: usize,
    ) -> Result<(), DeviceError> {
        if self.columns.is_some() {
            return Err(DeviceError::Columns { operation, operand: operand() });
        }
        self.check_rows(operation, operand, owner, dtype, expected)
    }

    /// The same where they may be columns of a wider matrix.
    pub fn check_rows(
        self,
        operation: &'static str,
        operand: impl Fn() -> String,
        owner: usize,
        dtype: DType,
        expected: usize,
    ) -> Result<(), DeviceError> {
        if self.owner != owner || self.address == 0 {
            return Err(DeviceError::Foreign { operation, operand: operand() });
        }
        if self.dtype != dtype {
            let (found, expected) = (self.dtype.name(), dtype.name());
            return Err(DeviceError::DType { operation, operand: operand(), found, expected });
        }
        if self.len != expected {
            return Err(DeviceError::Length { operation, operand: operand(), found: self.len, expected });
        }
        Ok(())
    }

    /// Whether a byte is in both.
    pub fn overlaps(self, other: View<'_>) -> bool {
        // Columns reach from their first number to their last.
        let extent = |view: View<'_>| match view.columns {
            Some(Columns { width, stride }) if view.len > 0 => (view.len / width - 1) * stride + width,
            _ => view.len,
        };
        let end = |view: View<'_>| view.address + (extent(view) * view.dtype.bytes()) as u64;
        self.address < end(other) && other.address < end(self)
    }
}

/// Checks that a range lies in a buffer of so many values.
pub(super) fn check_range(values: &Range<usize>, len: usize) -> Result<(), DeviceError> {
    let &Range { start, end } = values;
    if start > end || end > len { Err(DeviceError::Range { start, end, len }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_stays_within_its_view() {
        // SAFETY: nothing reads or writes this memory.
        let view = unsafe { View::new(4096, 10, DType::Bf16, 1) };
        let part = view.slice(4..10).unwrap();
        assert_eq!((part.address(), part.len(), part.bytes()), (4104, 6, 12));
        assert_eq!(view.slice(4..11).unwrap_err(), DeviceError::Range { start: 4, end: 11, len: 10 });
        let error = part.slice(6..7).unwrap_err();
        assert_eq!(error.to_string(), "values 6..7 of a buffer of 6");
        assert!(part.slice(6..6).is_ok());
        assert!(view.overlaps(part) && !view.slice(0..4).unwrap().overlaps(part));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        // SAFETY: nothing reads or writes this memory.
        let [view, none] = [4096, 0].map(|address| unsafe { View::new(address, 10, DType::F32, 1) });
        let check = |view: View<'_>, owner, dtype, len| {
            view.check("add", || "argument 2".into(), owner, dtype, len).map_err(|error| error.to_string())
        };
        assert_eq!(check(view, 1, DType::F32, 10), Ok(()));
        let expected = "add: argument 2 has 10 values where 11 are needed";
        assert_eq!(check(view, 1, DType::F32, 11).unwrap_err(), expected);
        let expected = "add: argument 2 is stored as f32 where bf16 is needed";
        assert_eq!(check(view, 1, DType::Bf16, 10).unwrap_err(), expected);
        for (view, owner) in [(view, 2), (none, 1)] {
            let expected = "add: argument 2 is not in this device's memory";
            assert_eq!(check(view, owner, DType::F32, 10).unwrap_err(), expected);
        }
    }
}
