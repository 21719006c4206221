//! Device memory that is used again, and the first thing that went wrong.
//!
//! A forward pass makes hundreds of buffers of a few sizes, and asking the driver for each would wait for the device.
//! Freed memory may still be read by kernels already launched; whatever reuses it is launched after them, and a
//! device runs its kernels in order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::device::{DType, Device, DeviceError};

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

    /// Waits for this thread's [turn](Device::stream_lock). Whoever allocates, copies or launches has it.
    pub fn lock_stream(&self) -> MutexGuard<'_, ()> {
        self.device.stream_lock().lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something whose buffers come from `pool` and go back there; by the one whose [turn](Self::lock_stream) it is.
    pub fn within<T>(&self, pool: &mut Pool<D>, work: impl FnOnce() -> T) -> T {
        let swap = |pool: &mut Pool<D>| {
            std::mem::swap(&mut *self.free.lock().unwrap_or_else(PoisonError::into_inner), pool);
        };
        swap(pool);
        let done = work();
        swap(pool);
        done
    }

    /// Forgets a failure, and says what it was; for work that can be done in another way.
    pub fn take_error(&self) -> Option<DeviceError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Runs something on the device unless it has failed; remembers a failure.
    pub fn run<T>(&self, work: impl FnOnce(&D) -> Result<T, DeviceError>) -> Option<T> {
        self.check().ok()?;
        work(&self.device).map_err(|error| self.fail(error)).ok()
    }

    fn fail(&self, error: DeviceError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// Memory for so many bytes: kept memory up to twice as large, else fresh; all that is kept is given up before
    /// the device is found too small.
    fn take(&self, bytes: usize) -> Option<Room<D>> {
        let bytes = bytes.max(1).next_multiple_of(if D::EXACT { 1 } else { GRAIN });
        let most = if D::EXACT { bytes } else { 2 * bytes };
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = free.0.range_mut(bytes..=most).find_map(|(&size, kept)| Some((size, kept.pop()?)));
        if let Some((bytes, memory)) = kept {
            return Some(Room { bytes, memory });
        }
        let fresh = self.run(|device| {
            device.allocate(bytes).or_else(|_| {
                free.0.clear();
                device.allocate(bytes)
            })
        });
        fresh.map(|memory| Room { bytes, memory })
    }
}

struct Room<D: Device> {
    bytes: usize,
    memory: D::Memory,
}

/// Numbers on a device; 32-bit integers count as single precision.
pub(super) struct Buffer<D: Device> {
    shared: Arc<Shared<D>>,
    dtype: DType,
    /// None after a failure, and in a part of another buffer.
    room: Option<Room<D>>,
    /// The buffer this is a part of, and its first value there.
    whole: Option<(Arc<Buffer<D>>, usize)>,
    len: usize,
}

impl<D: Device> Buffer<D> {
    /// `len` single-precision values of no particular size, to be overwritten.
    pub fn unset(shared: &Arc<Shared<D>>, len: usize) -> Self {
        Self::unset_of(DType::F32, shared, len)
    }

    /// The same of values stored in some way.
    pub fn unset_of(dtype: DType, shared: &Arc<Shared<D>>, len: usize) -> Self {
        // Copies from and to the host are made in words.
        let bytes = (len * dtype.bytes()).next_multiple_of(size_of::<u32>());
        Buffer { shared: Arc::clone(shared), dtype, room: shared.take(bytes), whole: None, len }
    }

    /// Some of another buffer's values; they stay as long as any part does.
    pub fn part(whole: &Arc<Self>, values: Range<usize>) -> Self {
        let shared = Arc::clone(&whole.shared);
        let dtype = whole.dtype;
        Buffer { shared, dtype, room: None, whole: Some((Arc::clone(whole), values.start)), len: values.len() }
    }

    /// Values copied to the device, given by their bits.
    pub fn of_bits(shared: &Arc<Shared<D>>, bits: &[u32]) -> Self {
        let buffer = Buffer::unset(shared, bits.len());
        shared.run(|device| device.write(buffer.address(), bits));
        buffer
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Where the values begin; 0 after a failure, when nothing is run any more.
    pub fn address(&self) -> u64 {
        match &self.whole {
            Some((whole, start)) => whole.address() + (start * self.dtype.bytes()) as u64,
            None => self.room.as_ref().map_or(0, |room| D::address(&room.memory)),
        }
    }

    pub fn bytes(&self) -> usize {
        self.len * self.dtype.bytes()
    }
}

impl<D: Device> Drop for Buffer<D> {
    fn drop(&mut self) {
        if let Some(Room { bytes, memory }) = self.room.take() {
            let mut free = self.shared.free.lock().unwrap_or_else(PoisonError::into_inner);
            free.0.entry(bytes).or_default().push(memory);
        }
    }
}
