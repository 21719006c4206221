//! Sums over ranks of values in the device's memory.

use std::sync::Arc;

use super::device::Device;
use super::error::DeviceError;
use super::memory::Shared;
use crate::collective::{Collective, CollectiveError, DeviceCollective, Rank, Span};

/// The way to the other ranks for memory of this device: their own, or through the host. `None` without others.
pub(super) fn device_collective<'a, D: Device + 'a>(
    shared: &Arc<Shared<D>>,
    ranks: &'a dyn Collective,
) -> Option<Box<dyn DeviceCollective + 'a>> {
    let through_host = || {
        let queued = Vec::new();
        Box::new(ThroughHost { shared: Arc::clone(shared), ranks, queued }) as Box<dyn DeviceCollective>
    };
    (ranks.rank().world_size() > 1).then(|| shared.device.device_collective(ranks).unwrap_or_else(through_host))
}

/// Copies values to the host, lets the ranks work on them there, and copies them back: all of it in
/// [`DeviceCollective::stream_wait`], so that no rank waits for others while it queues work.
///
/// Sums have the order of [`TreeSum`](crate::collective::TreeSum): the bits of one rank.
struct ThroughHost<'a, D: Device> {
    shared: Arc<Shared<D>>,
    ranks: &'a dyn Collective,
    queued: Vec<Work>,
}

enum Work {
    Sum(Vec<Span>),
    Broadcast(Vec<(usize, Span)>),
}

impl<D: Device> ThroughHost<'_, D> {
    /// # Safety
    /// The spans must be as [`DeviceCollective::all_reduce_sum`] says.
    unsafe fn read(&self, spans: &[Span]) -> Result<Vec<f32>, CollectiveError> {
        let mut values = vec![0.0; spans.iter().map(|span| span.len).sum()];
        let mut rest = &mut values[..];
        let _stream = self.shared.lock_stream();
        for span in spans {
            let (part, others) = rest.split_at_mut(span.len);
            // SAFETY: passed on to the caller.
            self.shared.run(|device| unsafe { device.read(span.address, part) });
            rest = others;
        }
        self.check()?;
        Ok(values)
    }

    /// # Safety
    /// The spans must be as [`DeviceCollective::all_reduce_sum`] says.
    unsafe fn write(&self, spans: &[Span], values: &[f32]) -> Result<(), CollectiveError> {
        let (rank, expected) = (self.ranks.rank().index(), spans.iter().map(|span| span.len).sum());
        if values.len() != expected {
            return Err(CollectiveError::Length { rank, found: values.len(), expected });
        }
        let bits: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
        let mut rest = &bits[..];
        let _stream = self.shared.lock_stream();
        for span in spans {
            let (part, others) = rest.split_at(span.len);
            // SAFETY: passed on to the caller.
            self.shared.run(|device| unsafe { device.write(span.address, part) });
            rest = others;
        }
        self.check()
    }

    /// A device that has failed is the end of this rank.
    fn check(&self) -> Result<(), CollectiveError> {
        let lost =
            |error: DeviceError| CollectiveError::Lost { rank: self.ranks.rank().index(), reason: error.to_string() };
        self.shared.check().map_err(lost)
    }

    /// # Safety
    /// As for [`DeviceCollective::all_reduce_sum`].
    unsafe fn sum_now(&self, spans: &[Span]) -> Result<(), CollectiveError> {
        // SAFETY: passed on to the caller.
        let mut values = unsafe { self.read(spans) }?;
        self.ranks.all_reduce_sum(&mut values)?;
        // SAFETY: passed on to the caller.
        unsafe { self.write(spans, &values) }
    }

    /// # Safety
    /// As for [`DeviceCollective::broadcast`].
    unsafe fn broadcast_now(&self, spans: &[(usize, Span)]) -> Result<(), CollectiveError> {
        let place = self.ranks.rank();
        if let Some(&(rank, _)) = spans.iter().find(|(owner, _)| *owner >= place.world_size()) {
            return Err(CollectiveError::Lost { rank, reason: format!("there is no such rank beside {place}") });
        }
        for root in 0..place.world_size() {
            let of_root = spans.iter().filter(|(owner, _)| *owner == root);
            let of_root: Vec<Span> = of_root.map(|(_, span)| *span).collect();
            if of_root.is_empty() {
                continue;
            }
            let is_own = place.index() == root;
            let len = of_root.iter().map(|span| span.len).sum();
            // SAFETY: passed on to the caller.
            let mut values = if is_own { unsafe { self.read(&of_root) }? } else { vec![0.0; len] };
            self.ranks.broadcast(root, &mut values)?;
            if !is_own {
                // SAFETY: passed on to the caller.
                unsafe { self.write(&of_root, &values) }?;
            }
        }
        Ok(())
    }
}

impl<D: Device> DeviceCollective for ThroughHost<'_, D> {
    fn rank(&self) -> Rank {
        self.ranks.rank()
    }

    unsafe fn all_reduce_sum(&mut self, spans: &[Span]) -> Result<(), CollectiveError> {
        self.queued.push(Work::Sum(spans.to_vec()));
        Ok(())
    }

    unsafe fn broadcast(&mut self, spans: &[(usize, Span)]) -> Result<(), CollectiveError> {
        self.queued.push(Work::Broadcast(spans.to_vec()));
        Ok(())
    }

    fn stream_wait(&mut self) -> Result<(), CollectiveError> {
        // SAFETY: whoever queued the spans promised that they stay allocated, and apart, until `synchronize` or `abort` has
        // returned; `abort` empties the queue.
        std::mem::take(&mut self.queued).iter().try_for_each(|work| unsafe {
            match work {
                Work::Sum(spans) => self.sum_now(spans),
                Work::Broadcast(spans) => self.broadcast_now(spans),
            }
        })
    }

    fn synchronize(&mut self) -> Result<(), CollectiveError> {
        Ok(())
    }

    fn abort(&mut self) {
        self.queued.clear();
    }
}
