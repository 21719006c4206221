//! Sums over ranks of what lies in the device's memory.

use std::sync::Arc;

use super::device::Device;
use super::memory::Shared;
use crate::collective::{Collective, CollectiveError, DeviceCollective, Place, Span};

/// The way to the other ranks for memory of this device: their own, or through the host. `None` without others.
pub(super) fn device_collective<'a, D: Device + 'a>(
    shared: &Arc<Shared<D>>,
    ranks: &'a dyn Collective,
) -> Option<Box<dyn DeviceCollective + 'a>> {
    let through_host = || {
        let queued = Vec::new();
        Box::new(ThroughHost { shared: Arc::clone(shared), ranks, queued }) as Box<dyn DeviceCollective>
    };
    (ranks.place().world() > 1).then(|| shared.device.device_collective(ranks).unwrap_or_else(through_host))
}

/// Copies values to the host, lets the ranks work on them there, and copies them back: all of it when it is joined, so
/// that nobody waits for other ranks while it is handing over work.
///
/// Sums have the order of [`TreeSum`](crate::collective::TreeSum): the bits of one rank.
struct ThroughHost<'a, D: Device> {
    shared: Arc<Shared<D>>,
    ranks: &'a dyn Collective,
    queued: Vec<Work>,
}

enum Work {
    Sum(Vec<Span>),
    Share(Vec<(usize, Span)>),
}

impl<D: Device> ThroughHost<'_, D> {
    fn read(&self, spans: &[Span]) -> Result<Vec<f32>, CollectiveError> {
        let mut values = vec![0.0; spans.iter().map(|span| span.len).sum()];
        let mut rest = &mut values[..];
        let _stream = self.shared.lock_stream();
        for span in spans {
            let (part, others) = rest.split_at_mut(span.len);
            self.shared.run(|device| device.read(span.address, part));
            rest = others;
        }
        self.check()?;
        Ok(values)
    }

    fn write(&self, spans: &[Span], values: &[f32]) -> Result<(), CollectiveError> {
        let bits: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
        let mut rest = &bits[..];
        let _stream = self.shared.lock_stream();
        for span in spans {
            let (part, others) = rest.split_at(span.len);
            self.shared.run(|device| device.write(span.address, part));
            rest = others;
        }
        self.check()
    }

    /// A device that has failed is the end of this rank.
    fn check(&self) -> Result<(), CollectiveError> {
        let lost = |error: super::DeviceError| CollectiveError::Lost {
            rank: self.ranks.place().rank(),
            reason: error.to_string(),
        };
        self.shared.check().map_err(lost)
    }

    fn sum_now(&self, spans: &[Span]) -> Result<(), CollectiveError> {
        let mut values = self.read(spans)?;
        self.ranks.all_reduce_sum(&mut values)?;
        self.write(spans, &values)
    }

    fn share_now(&self, spans: &[(usize, Span)]) -> Result<(), CollectiveError> {
        let place = self.ranks.place();
        for root in 0..place.world() {
            let of_root = spans.iter().filter(|(owner, _)| *owner == root);
            let of_root: Vec<Span> = of_root.map(|(_, span)| *span).collect();
            if of_root.is_empty() {
                continue;
            }
            let is_own = place.rank() == root;
            let len = of_root.iter().map(|span| span.len).sum();
            let mut values = if is_own { self.read(&of_root)? } else { vec![0.0; len] };
            self.ranks.broadcast(root, &mut values)?;
            if !is_own {
                self.write(&of_root, &values)?;
            }
        }
        Ok(())
    }
}

impl<D: Device> DeviceCollective for ThroughHost<'_, D> {
    fn place(&self) -> Place {
        self.ranks.place()
    }

    unsafe fn sum(&mut self, spans: &[Span]) -> Result<(), CollectiveError> {
        self.queued.push(Work::Sum(spans.to_vec()));
        Ok(())
    }

    unsafe fn share(&mut self, spans: &[(usize, Span)]) -> Result<(), CollectiveError> {
        self.queued.push(Work::Share(spans.to_vec()));
        Ok(())
    }

    fn join(&mut self) -> Result<(), CollectiveError> {
        std::mem::take(&mut self.queued).iter().try_for_each(|work| match work {
            Work::Sum(spans) => self.sum_now(spans),
            Work::Share(spans) => self.share_now(spans),
        })
    }

    fn settle(&mut self) -> Result<(), CollectiveError> {
        Ok(())
    }

    fn stop(&mut self) {
        self.queued.clear();
    }
}
