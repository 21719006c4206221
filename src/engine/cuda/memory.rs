//! Device memory: buffers with bounds, memory that is used again, and the first thing that went wrong.
//!
//! A forward pass makes hundreds of buffers of a few sizes, and asking the driver for each would wait for the device.
//! Freed memory may still be read by kernels already launched; whatever reuses it is launched after them, and a
//! device runs its kernels in order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::device::{DType, Device};
use super::error::DeviceError;
use super::stream_lock::StreamGuard;
use super::view::{Columns, View};

/// Sizes are rounded up to this many bytes, so that nearly equal ones share memory.
const GRAIN: usize = 512;

/// A device, the memory it may use again, and its first failure.
///
/// After a failure nothing more is run and results are zeros; the engine asks [`Shared::check`] before it answers.
pub(super) struct Shared<D: Device> {
    pub device: Arc<D>,
    free: Mutex<Pool<D>>,
    failure: Mutex<Option<DeviceError>>,
}

/// Memory that is free, by its size.
pub(super) struct Pool<D: Device>(BTreeMap<usize, Vec<D::Memory>>);

impl<D: Device> Default for Pool<D> {
    fn default() -> Self {
        Pool(BTreeMap::new())
    }
}

impl<D: Device> Shared<D> {
    pub fn new(device: Arc<D>) -> Self {
        Shared { device, free: Mutex::default(), failure: Mutex::default() }
    }

    /// The first failure, if any.
    pub fn check(&self) -> Result<(), DeviceError> {
        match &*self.failure.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some(failure) => Err(failure.clone()),
        }
    }

    /// Waits for the [stream lock](Device::stream_lock). Whoever allocates, copies or launches holds it.
    pub fn lock_stream(&self) -> StreamGuard<'_> {
        self.device.stream_lock().lock()
    }

    /// Does something whose buffers come from `pool` and go back there; the caller holds the
    /// [stream lock](Self::lock_stream).
    pub fn within<T>(&self, pool: &mut Pool<D>, work: impl FnOnce() -> T) -> T {
        let swap = |pool: &mut Pool<D>| {
            std::mem::swap(&mut *self.free.lock().unwrap_or_else(PoisonError::into_inner), pool);
        };
        swap(pool);
        let done = work();
        swap(pool);
        done
    }

    /// Removes the failure and returns it: for work that can be done in another way.
    pub fn take_error(&self) -> Option<DeviceError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Runs something on the device unless it has failed; remembers a failure.
    pub fn run<T>(&self, work: impl FnOnce(&D) -> Result<T, DeviceError>) -> Option<T> {
        self.check().ok()?;
        self.keep(work(&self.device))
    }

    /// The result; an error becomes the device's failure, if it is the first.
    pub fn keep<T>(&self, result: Result<T, DeviceError>) -> Option<T> {
        result.map_err(|error| self.fail(error)).ok()
    }

    fn fail(&self, error: DeviceError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// What this device's [`View`]s name as their owner.
    pub fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Copies words to numbers that take up exactly as many; halves of a last word are padding.
    pub fn write(&self, to: View<'_>, words: &[u32]) {
        self.run(|device| {
            to.check("copy to the device", || "the buffer".into(), self.id(), to.dtype(), to.len())?;
            let expected = to.bytes().div_ceil(size_of::<u32>());
            if words.len() != expected {
                let (operation, operand, found) = ("copy to the device", "the host's side (words)".into(), words.len());
                return Err(DeviceError::Length { operation, operand, found, expected });
            }
            // SAFETY: the view is this device's memory, allocated in whole words, and as long as `words`.
            unsafe { device.write(to.address(), words) }
        });
    }

    /// The words that numbers take up, after everything launched before; zeros after a failure.
    pub fn read(&self, from: View<'_>) -> Vec<f32> {
        let mut words = vec![0.0; from.bytes().div_ceil(size_of::<f32>())];
        self.run(|device| {
            from.check("copy from the device", || "the buffer".into(), self.id(), from.dtype(), from.len())?;
            // SAFETY: the view is this device's memory, allocated in whole words, and as long as `words`.
            unsafe { device.read(from.address(), &mut words) }
        });
        words
    }

    /// Copies numbers to as many of the same type elsewhere on the device.
    pub fn copy(&self, from: View<'_>, to: View<'_>) {
        const COPY: &str = "copy on the device";
        self.run(|device| {
            from.check(COPY, || "the source".into(), self.id(), from.dtype(), from.len())?;
            to.check(COPY, || "the destination".into(), self.id(), from.dtype(), from.len())?;
            if from.overlaps(to) {
                return Err(DeviceError::Overlap { operation: COPY, operand: "the source".into() });
            }
            // SAFETY: both views are this device's memory, equally long and apart; freed memory is used again only by what
            // is launched later.
            unsafe { device.copy(from.address(), to.address(), from.bytes()) }
        });
    }

    /// Sets numbers to zero.
    pub fn clear(&self, values: View<'_>) {
        self.run(|device| {
            values.check("clear memory", || "the buffer".into(), self.id(), values.dtype(), values.len())?;
            // SAFETY: the view is this device's memory; freed memory is used again only by what is launched later.
            unsafe { device.clear(values.address(), values.bytes()) }
        });
    }

    /// Memory for so many bytes: kept memory up to twice as large, else fresh; all that is kept is given up before
    /// the device is found too small.
    fn take(&self, bytes: usize) -> Option<Allocation<D>> {
        let bytes = bytes.max(1).next_multiple_of(if D::EXACT { 1 } else { GRAIN });
        let most = if D::EXACT { bytes } else { 2 * bytes };
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = free.0.range_mut(bytes..=most).find_map(|(&size, kept)| Some((size, kept.pop()?)));
        if let Some((bytes, memory)) = kept {
            return Some(Allocation { bytes, memory });
        }
        let fresh = self.run(|device| {
            device.allocate(bytes).or_else(|_| {
                free.0.clear();
                device.allocate(bytes)
            })
        });
        fresh.map(|memory| Allocation { bytes, memory })
    }
}

struct Allocation<D: Device> {
    bytes: usize,
    memory: D::Memory,
}

/// Numbers on a device; 32-bit integers count as single precision.
pub(super) struct Buffer<D: Device> {
    shared: Arc<Shared<D>>,
    dtype: DType,
    memory: Memory<D>,
    len: usize,
    /// Where its values are not neighbors.
    columns: Option<Columns>,
}

enum Memory<D: Device> {
    /// None after a failure.
    Own(Option<Allocation<D>>),
    /// A part of another buffer, from this value on; checked when it was made.
    Part(Arc<Buffer<D>>, usize),
}

impl<D: Device> Buffer<D> {
    /// `len` single-precision values of no particular size, to be overwritten.
    pub fn unset(shared: &Arc<Shared<D>>, len: usize) -> Self {
        Self::unset_of(DType::F32, shared, len)
    }

    /// The same of values of some type.
    pub fn unset_of(dtype: DType, shared: &Arc<Shared<D>>, len: usize) -> Self {
        // Copies from and to the host are made in words.
        let bytes = (len * dtype.bytes()).next_multiple_of(size_of::<u32>());
        Buffer { shared: Arc::clone(shared), dtype, memory: Memory::Own(shared.take(bytes)), len, columns: None }
    }

    /// Some of another buffer's values, which stays as long as any part of it does.
    pub fn part(whole: &Arc<Self>, values: Range<usize>) -> Result<Self, DeviceError> {
        whole.view().slice(values.clone())?;
        let (shared, dtype, len) = (Arc::clone(&whole.shared), whole.dtype, values.len());
        Ok(Buffer { shared, dtype, memory: Memory::Part(Arc::clone(whole), values.start), len, columns: None })
    }

    /// Matrices side by side: of one buffer of rows, the columns of so many widths from the first on, which together are
    /// whole rows.
    pub fn side_by_side<const N: usize>(whole: &Arc<Self>, widths: [usize; N]) -> Result<[Self; N], DeviceError> {
        let stride = widths.iter().sum::<usize>();
        let rows = whole.len / stride.max(1);
        if whole.columns.is_some() || rows * stride != whole.len {
            return Err(DeviceError::Range { start: 0, end: rows * stride, len: whole.len });
        }
        let mut start = 0;
        Ok(widths.map(|width| {
            let memory = Memory::Part(Arc::clone(whole), start);
            start += width;
            let (shared, columns) = (Arc::clone(&whole.shared), Some(Columns { width, stride }));
            Buffer { shared, dtype: whole.dtype, memory, len: rows * width, columns }
        }))
    }

    /// The buffer that these are all columns of, in their order; nothing where they are not.
    pub fn beside<const N: usize>(parts: [&Self; N]) -> Option<&Arc<Self>> {
        let Memory::Part(whole, _) = &parts.first()?.memory else { return None };
        let mut next = 0;
        for part in parts {
            let (Memory::Part(own, start), Some(Columns { width, stride })) = (&part.memory, part.columns) else {
                return None;
            };
            if !Arc::ptr_eq(own, whole) || *start != next || part.len / width.max(1) * stride != whole.len {
                return None;
            }
            next += width;
        }
        (parts.first()?.columns?.stride == next).then_some(whole)
    }

    /// The values of parts of one buffer that follow one another; nothing where they do not.
    pub fn joined<const N: usize>(parts: [&Self; N]) -> Option<View<'_>> {
        let Memory::Part(whole, first) = &parts.first()?.memory else { return None };
        let mut next = *first;
        for part in parts {
            let Memory::Part(own, start) = &part.memory else { return None };
            if !Arc::ptr_eq(own, whole) || *start != next || part.columns.is_some() {
                return None;
            }
            next += part.len;
        }
        whole.view().slice(*first..next).ok()
    }

    /// Values copied to the device, given by their bits.
    pub fn of_bits(shared: &Arc<Shared<D>>, bits: &[u32]) -> Self {
        let buffer = Buffer::unset(shared, bits.len());
        shared.write(buffer.view(), bits);
        buffer
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// All its values.
    pub fn view(&self) -> View<'_> {
        // SAFETY: the memory was allocated for this many values of this device, or is a part, within bounds, of a buffer
        // that was; it is given back when the buffer is dropped, which the view's lifetime forbids meanwhile.
        let view = unsafe { View::new(self.address(), self.len, self.dtype, self.shared.id()) };
        match self.columns {
            None => view,
            // SAFETY: all rows of the columns are in the buffer that they are of (checked when they were made).
            Some(columns) => unsafe { view.in_columns(columns) },
        }
    }

    fn address(&self) -> u64 {
        match &self.memory {
            Memory::Own(own) => own.as_ref().map_or(0, |own| D::address(&own.memory)),
            Memory::Part(whole, start) => match whole.address() {
                0 => 0,
                address => address + (start * self.dtype.bytes()) as u64,
            },
        }
    }
}

impl<D: Device> Drop for Buffer<D> {
    fn drop(&mut self) {
        if let Memory::Own(own) = &mut self.memory
            && let Some(Allocation { bytes, memory }) = own.take()
        {
            let mut free = self.shared.free.lock().unwrap_or_else(PoisonError::into_inner);
            free.0.entry(bytes).or_default().push(memory);
        }
    }
}
