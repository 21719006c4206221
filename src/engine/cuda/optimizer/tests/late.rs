//! Ranks whose sums come as late as they may, to see that nobody looks at values that are under way.

use std::sync::{Arc, Mutex};

use crate::collective::{Collective, CollectiveError, DeviceCollective, Rank, Span, ThreadRank};

/// A number that is none, and no kernel's: what lies where values are under way.
const UNDER_WAY: u32 = 0x7fc0_dead;

/// A rank on the processor's memory.
pub(super) struct LateRank {
    pub rank: ThreadRank,
    /// Whether the losses of other ranks are no numbers.
    pub has_bad_losses_elsewhere: bool,
    /// What was asked for, in order.
    pub calls: Arc<Mutex<Vec<String>>>,
}

impl LateRank {
    pub fn new(rank: ThreadRank) -> Self {
        LateRank { rank, has_bad_losses_elsewhere: false, calls: Arc::default() }
    }
}

impl Collective for LateRank {
    fn rank(&self) -> Rank {
        Collective::rank(&self.rank)
    }

    fn all_reduce_sum(&self, values: &mut [f32]) -> Result<(), CollectiveError> {
        self.rank.all_reduce_sum(values)
    }

    fn broadcast(&self, root: usize, values: &mut [f32]) -> Result<(), CollectiveError> {
        self.rank.broadcast(root, values)
    }

    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, CollectiveError> {
        self.rank.all_gather(own)
    }

    fn on_device(&self, _: usize, _: u64) -> Option<Box<dyn DeviceCollective + '_>> {
        Some(Box::new(Late { rank: self, under_way: Vec::new(), is_synchronized: true }))
    }

    fn abandon(&self, reason: &str) {
        Collective::abandon(&self.rank, reason);
    }
}

struct Late<'a> {
    rank: &'a LateRank,
    /// Where values will be put, once the stream waits for them.
    under_way: Vec<(Span, Vec<f32>)>,
    is_synchronized: bool,
}

impl Late<'_> {
    fn note(&self, call: String) {
        self.rank.calls.lock().unwrap().push(call);
    }

    /// # Safety
    /// The span must be memory of the processor that nothing else refers to.
    unsafe fn values(span: Span) -> &'static mut [f32] {
        // SAFETY: passed on to the caller.
        unsafe { std::slice::from_raw_parts_mut(span.address as *mut f32, span.len) }
    }

    fn send_off(&mut self, span: Span, result: Vec<f32>) {
        // SAFETY: the shim's device memory is the processor's, and its kernels run one after another on this thread.
        unsafe { Self::values(span) }.fill(f32::from_bits(UNDER_WAY));
        self.under_way.push((span, result));
        self.is_synchronized = false;
    }
}

impl DeviceCollective for Late<'_> {
    fn rank(&self) -> Rank {
        Collective::rank(self.rank)
    }

    unsafe fn all_reduce_sum(&mut self, spans: &[Span]) -> Result<(), CollectiveError> {
        self.note(format!("sum {}", spans.len()));
        for &span in spans {
            // SAFETY: as in `send_off`.
            let mut values = unsafe { Self::values(span) }.to_vec();
            assert!(values.iter().all(|value| value.to_bits() != UNDER_WAY), "summed twice");
            self.rank.all_reduce_sum(&mut values)?;
            if span.len == 1 && self.rank.has_bad_losses_elsewhere {
                values[0] += 1.0;
            }
            self.send_off(span, values);
        }
        Ok(())
    }

    unsafe fn broadcast(&mut self, spans: &[(usize, Span)]) -> Result<(), CollectiveError> {
        self.note(format!("broadcast {}", spans.len()));
        for &(root, span) in spans {
            // SAFETY: as in `send_off`.
            let mut values = unsafe { Self::values(span) }.to_vec();
            self.rank.broadcast(root, &mut values)?;
            self.send_off(span, values);
        }
        Ok(())
    }

    fn stream_wait(&mut self) -> Result<(), CollectiveError> {
        self.note("stream_wait".into());
        for (span, result) in self.under_way.drain(..) {
            // SAFETY: as in `send_off`.
            let values = unsafe { Self::values(span) };
            assert!(values.iter().all(|value| value.to_bits() == UNDER_WAY), "written while it was under way");
            values.copy_from_slice(&result);
        }
        Ok(())
    }

    fn synchronize(&mut self) -> Result<(), CollectiveError> {
        self.note("synchronize".into());
        assert!(self.under_way.is_empty(), "synchronized before the stream waited for it");
        self.is_synchronized = true;
        Ok(())
    }

    fn abort(&mut self) {
        self.note("abort".into());
    }
}

impl Drop for Late<'_> {
    fn drop(&mut self) {
        if !self.is_synchronized {
            self.abort();
        }
    }
}
