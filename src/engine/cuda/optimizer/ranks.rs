//! The other ranks, seen from the device: gradients summed while the backward pass goes on, Muon's updates shared.

use std::ops::Range;
use std::sync::Arc;

use super::arena::{Arena, Matrices};
use super::buckets::{Bucket, buckets};
use super::shares::shares;
use crate::collective::{Collective, CollectiveError, DeviceCollective, Span};
use crate::engine::FakeQuant;
use crate::engine::cuda::backend::{CudaKernels, offset};
use crate::engine::cuda::collective::device_collective;
use crate::engine::cuda::device::{Argument, Device};
use crate::engine::cuda::memory::Buffer;
use crate::engine::kernels::Finished;

/// The ranks a model on a device is trained with.
pub(super) struct Ranks<'a> {
    way: Box<dyn DeviceCollective + 'a>,
    buckets: Vec<Bucket>,
    /// Of each batch, the matrices each rank orthogonalizes.
    shares: Vec<Vec<Matrices>>,
}

impl<'a> Ranks<'a> {
    /// `None` without other ranks. Buckets are closed at so many values.
    pub fn new<D: Device + 'a>(
        k: &CudaKernels<D>,
        ranks: &'a dyn Collective,
        arena: &Arena,
        layers: usize,
        bucket_values: usize,
    ) -> Option<Self> {
        let way = device_collective(&k.shared, ranks)?;
        let shares = shares(&arena.batches(), way.place().world());
        Some(Ranks { way, buckets: buckets(arena, layers, bucket_values), shares })
    }

    /// Whether a step is complete with so many micro-batches of this rank.
    pub fn is_complete_with(&self, micro_batches: usize) -> bool {
        micro_batches == self.way.place().micro_batches()
    }

    /// Queues the sum of everything at once, and of one value elsewhere.
    pub fn sum_all<D: Device>(&mut self, whole: &Buffer<D>, beside: u64) -> Result<(), CollectiveError> {
        sum(&mut *self.way, whole, std::slice::from_ref(&(0..whole.len())), Some(beside))
    }

    /// This rank's matrices of a batch.
    pub fn own_share(&self, batch: usize) -> Option<Matrices> {
        self.shares.get(batch)?.get(self.way.place().rank()).copied()
    }

    /// Queues the exchange of a batch's finished updates, which lie in `updates` as the matrices do in the arena.
    pub fn share_updates<D: Device>(&mut self, updates: &Buffer<D>, batch: usize) -> Result<(), CollectiveError> {
        let shares = self.shares.get(batch).into_iter().flatten().enumerate();
        let words = |values: usize| values * updates.dtype().bytes() / size_of::<f32>();
        let span = |(rank, share): (usize, &Matrices)| {
            (rank, Span { address: offset(updates, share.start), len: words(share.count * share.stride) })
        };
        let spans: Vec<_> = shares.filter(|(_, share)| share.count > 0).map(span).collect();
        // SAFETY: the shares of a batch lie apart from one another where `updates` has its matrices; the trainer keeps
        // `updates` until the step has settled, or gives up the work with itself.
        unsafe { self.way.share(&spans) }
    }

    /// Lets what is launched from now on wait for what was queued.
    pub fn join(&mut self) -> Result<(), CollectiveError> {
        self.way.join()
    }

    /// Waits for the other ranks' part of what was queued.
    pub fn settle(&mut self) -> Result<(), CollectiveError> {
        self.way.settle()
    }
}

/// Queues the sum of some ranges of `whole`, and of one value elsewhere.
fn sum<D: Device>(
    way: &mut dyn DeviceCollective,
    whole: &Buffer<D>,
    ranges: &[Range<usize>],
    beside: Option<u64>,
) -> Result<(), CollectiveError> {
    let span = |range: &Range<usize>| Span { address: offset(whole, range.start), len: range.len() };
    let beside = beside.map(|address| Span { address, len: 1 });
    let spans: Vec<Span> = ranges.iter().map(span).chain(beside).collect();
    // SAFETY: ranges of an arena lie in `whole` and apart from one another; the trainer keeps `whole` and the value
    // beside it until the step has settled, or gives up the work with itself.
    unsafe { way.sum(&spans) }
}

/// The last micro-batch of a step: buckets get their last additions and are sent off as the backward pass completes
/// them.
pub(super) struct Finishing<'b, 'a, D: Device> {
    k: &'b CudaKernels<D>,
    ranks: &'b mut Ranks<'a>,
    weights: &'b Buffer<D>,
    fake_quant: FakeQuant,
    /// The micro-batch's own, before what they are added to.
    gradients: Arc<Buffer<D>>,
    /// The sums they complete, innermost first.
    before: Vec<Arc<Buffer<D>>>,
    /// Buckets sent off.
    sent: usize,
    /// The first thing that went wrong; nothing is sent after it.
    failure: Option<CollectiveError>,
}

impl<'b, 'a, D: Device> Finishing<'b, 'a, D> {
    /// `before` is what [`TreeSum::before_last`](crate::collective::TreeSum::before_last) says.
    pub fn new(
        k: &'b CudaKernels<D>,
        ranks: &'b mut Ranks<'a>,
        weights: &'b Buffer<D>,
        fake_quant: FakeQuant,
        gradients: Arc<Buffer<D>>,
        before: Vec<Arc<Buffer<D>>>,
    ) -> Self {
        Finishing { k, ranks, weights, fake_quant, gradients, before, sent: 0, failure: None }
    }

    /// Takes note of what the backward pass has finished.
    pub fn take(&mut self, finished: Finished) {
        let next = self.ranks.buckets.get(self.sent);
        if next.is_some_and(|bucket| bucket.completed_by == Some(finished)) {
            self.send(None);
        }
    }

    /// Sends what is left, and one value beside it: the sums of the whole step, once they are joined.
    pub fn close(mut self, beside: u64) -> Result<Arc<Buffer<D>>, CollectiveError> {
        while self.sent + 1 < self.ranks.buckets.len() {
            self.send(None);
        }
        self.send(Some(beside));
        self.failure.map_or(Ok(self.before.pop().unwrap_or(self.gradients)), Err)
    }

    fn send(&mut self, beside: Option<u64>) {
        let Ranks { way, buckets, .. } = &mut *self.ranks;
        let Some(bucket) = buckets.get(self.sent) else { return };
        self.sent += 1;
        self.k.unfold(&bucket.seen, self.weights, &self.gradients, self.fake_quant);
        let mut total = &self.gradients;
        for before in &self.before {
            for range in &bucket.ranges {
                let [more, sum] = [total, before].map(|whole| Argument::Address(offset(whole, range.start)));
                self.k.spans("add", range.len(), &[more, sum]);
            }
            total = before;
        }
        if self.failure.is_none() {
            self.failure = sum(&mut **way, total, &bucket.ranges, beside).err();
        }
    }
}
