//! The lock of a device's one stream.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

/// Held by the thread whose work on the stream must not be mixed with another's. It knows who that is, so that a device
/// in tests can refuse work of a thread that does not hold it.
#[derive(Default)]
pub(super) struct StreamLock {
    lock: Mutex<()>,
    holder: Mutex<Option<ThreadId>>,
}

/// The stream is this thread's until it is dropped.
pub(super) struct StreamGuard<'a> {
    /// Released after `drop` has forgotten the holder.
    _held: MutexGuard<'a, ()>,
    lock: &'a StreamLock,
}

impl StreamLock {
    /// Waits for the stream. A thread must not lock it twice.
    pub fn lock(&self) -> StreamGuard<'_> {
        // What a panicking thread leaves behind is queued work, which is whole.
        let held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.set_holder(Some(std::thread::current().id()));
        StreamGuard { _held: held, lock: self }
    }

    /// Whether this thread holds it.
    #[cfg(test)]
    pub fn is_held_here(&self) -> bool {
        *self.holder.lock().unwrap_or_else(PoisonError::into_inner) == Some(std::thread::current().id())
    }

    fn set_holder(&self, holder: Option<ThreadId>) {
        *self.holder.lock().unwrap_or_else(PoisonError::into_inner) = holder;
    }
}

impl Drop for StreamGuard<'_> {
    fn drop(&mut self) {
        self.lock.set_holder(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_thread_that_locked_it_holds_it() {
        let lock = StreamLock::default();
        assert!(!lock.is_held_here());
        let guard = lock.lock();
        assert!(lock.is_held_here());
        std::thread::scope(|scope| scope.spawn(|| assert!(!lock.is_held_here())).join().unwrap());
        drop(guard);
        assert!(!lock.is_held_here());
        drop(lock.lock());
    }
}
