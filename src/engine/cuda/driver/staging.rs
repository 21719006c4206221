//! Small copies to the device that wait for nothing.
//!
//! From ordinary memory the driver copies only when all work before it is done, and the thread that hands over token
//! ids would stand still in between. From pinned memory it queues the copy; the ring's slots are used again when their
//! copies have been made.

use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::{CudaContext, DriverError, result, sys};

/// Bytes of a slot: ids of the tokens whose activations exist at once, twice.
const SLOT_BYTES: usize = 1 << 20;
/// Slots: what a few such groups need.
const SLOTS: usize = 32;

/// A ring of pinned slots.
pub(super) struct Staging {
    ring: Mutex<Ring>,
    context: Arc<CudaContext>,
}

struct Ring {
    memory: *mut u32,
    /// One a slot, recorded behind its last copy.
    events: Vec<sys::CUevent>,
    next: usize,
}

// SAFETY: pinned memory and events may be used from any thread; the ring is behind a lock.
unsafe impl Send for Staging {}
// SAFETY: as above.
unsafe impl Sync for Staging {}

impl Staging {
    /// `None` where the system gives no pinned memory: copies are then made the ordinary way. The context must be bound
    /// to this thread.
    pub fn new(context: &Arc<CudaContext>) -> Option<Self> {
        // SAFETY: nothing is read before it is written.
        let memory = unsafe { result::malloc_host(SLOTS * SLOT_BYTES, 0) }.ok()?;
        let ring = Ring { memory: memory.cast(), events: Vec::with_capacity(SLOTS), next: 0 };
        let staging = Staging { ring: Mutex::new(ring), context: Arc::clone(context) };
        for _ in 0..SLOTS {
            let event = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING).ok()?;
            staging.ring.lock().unwrap_or_else(PoisonError::into_inner).events.push(event);
        }
        Some(staging)
    }

    /// Queues a copy on a stream, always the same; false, and nothing is done, when the values do not fit a slot.
    ///
    /// # Safety
    /// The context must be bound to this thread, and the range, four bytes a word, lie in memory of its device.
    pub unsafe fn write(&self, address: u64, values: &[u32], stream: sys::CUstream) -> Result<bool, DriverError> {
        if size_of_val(values) > SLOT_BYTES {
            return Ok(false);
        }
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = ring.next;
        ring.next = (slot + 1) % SLOTS;
        let Some(&event) = ring.events.get(slot) else { return Ok(false) };
        // SAFETY: the slot lies in the ring's memory and holds the values; the event, which is not yet destroyed, says
        // when its last copy has been made (one never recorded is done), so nothing reads what is overwritten here; the
        // memory is freed only after all copies; the range on the device is the caller's promise.
        unsafe {
            result::event::synchronize(event)?;
            let start = ring.memory.add(slot * (SLOT_BYTES / size_of::<u32>()));
            std::ptr::copy_nonoverlapping(values.as_ptr(), start, values.len());
            let staged = std::slice::from_raw_parts(start, values.len());
            result::memcpy_htod_async(address, staged, stream)?;
            result::event::record(event, stream)?;
        }
        Ok(true)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.context.bind_to_thread().is_err() {
            return;
        }
        let ring = self.ring.get_mut().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: events and memory were made in `new` and are given back nowhere else; each event is waited for, so no
        // copy reads the memory any more.
        unsafe {
            for &event in &ring.events {
                let _ = result::event::synchronize(event);
                let _ = result::event::destroy(event);
            }
            let _ = result::free_host(ring.memory.cast());
        }
    }
}
