//! The other ranks, seen from the device: gradients summed while the backward pass goes on, Muon's updates shared.

use std::ops::Range;
use std::sync::Arc;

use super::arena::{Arena, Matrices};
use super::buckets::{Bucket, buckets};
use super::shares::shares;
use crate::collective::{Collective, CollectiveError, DeviceCollective, Span};
use crate::engine::EngineError;
use crate::engine::cuda::backend::CudaKernels;
use crate::engine::cuda::collective::device_collective;
use crate::engine::cuda::device::Device;
use crate::engine::cuda::error::DeviceError;
use crate::engine::cuda::memory::Buffer;
use crate::engine::cuda::view::View;
use crate::engine::network::Finished;
use crate::optim::FakeQuant;

/// The ranks a model on a device is trained with.
pub(super) struct Ranks<'a> {
    collective: Box<dyn DeviceCollective + 'a>,
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
        let collective = device_collective(&k.shared, ranks)?;
        let shares = shares(&arena.batches(), collective.rank().world_size());
        Some(Ranks { collective, buckets: buckets(arena, layers, bucket_values), shares })
    }

    /// Whether a step is complete with so many micro-batches of this rank.
    pub fn is_complete_with(&self, micro_batches: usize) -> bool {
        micro_batches == self.collective.rank().micro_batches()
    }

    /// Queues the sum of all values, and of one value elsewhere.
    pub fn sum_all<D: Device>(&mut self, all: &Buffer<D>, beside: View<'_>) -> Result<(), EngineError> {
        sum(&mut *self.collective, all, std::slice::from_ref(&(0..all.len())), Some(beside))
    }

    /// This rank's matrices of a batch.
    pub fn own_share(&self, batch: usize) -> Result<Matrices, EngineError> {
        let rank = self.collective.rank().index();
        let share = self.shares_of(batch)?.get(rank).copied();
        Ok(share.ok_or_else(|| DeviceError::Missing { name: format!("the share of rank {rank}") })?)
    }

    fn shares_of(&self, batch: usize) -> Result<&[Matrices], DeviceError> {
        let shares = self.shares.get(batch).map(Vec::as_slice);
        shares.ok_or_else(|| DeviceError::Missing { name: format!("the shares of batch {batch}") })
    }

    /// Queues the exchange of a batch's finished updates, which are in `updates` as the matrices are in the arena.
    pub fn share_updates<D: Device>(&mut self, updates: &Buffer<D>, batch: usize) -> Result<(), EngineError> {
        let of_rank = |(rank, share): (usize, &Matrices)| Ok((rank, words_of(updates.view().slice(share.values())?)?));
        let shares = self.shares_of(batch)?.iter().enumerate().filter(|(_, share)| share.count > 0);
        let spans = shares.map(of_rank).collect::<Result<Vec<_>, DeviceError>>()?;
        // SAFETY: the shares of a batch are separate parts of `updates` (bounds checked by `slice`); the trainer keeps
        // `updates` until the step has been synchronized, or gives up the work with itself.
        Ok(unsafe { self.collective.broadcast(&spans) }?)
    }

    /// Lets what is launched from now on wait for what was queued.
    pub fn stream_wait(&mut self) -> Result<(), CollectiveError> {
        self.collective.stream_wait()
    }

    /// Waits for the other ranks' part of what was queued.
    pub fn synchronize(&mut self) -> Result<(), CollectiveError> {
        self.collective.synchronize()
    }
}

/// Values as the words they take up, whole ones.
fn words_of(view: View<'_>) -> Result<Span, DeviceError> {
    const WORD: usize = size_of::<f32>();
    if view.address() == 0 {
        let (operation, operand) = ("exchange between ranks", "a part of a buffer".into());
        return Err(DeviceError::Foreign { operation, operand });
    }
    if !view.bytes().is_multiple_of(WORD) {
        let (operation, operand) = ("exchange between ranks", "a share (bytes)".into());
        let expected = view.bytes().next_multiple_of(WORD);
        return Err(DeviceError::Length { operation, operand, found: view.bytes(), expected });
    }
    Ok(Span { address: view.address(), len: view.bytes() / WORD })
}

/// Queues the sum of some ranges of a buffer, and of one value elsewhere.
fn sum<D: Device>(
    collective: &mut dyn DeviceCollective,
    buffer: &Buffer<D>,
    ranges: &[Range<usize>],
    beside: Option<View<'_>>,
) -> Result<(), EngineError> {
    let views = ranges.iter().map(|range| buffer.view().slice(range.clone())).chain(beside.map(Ok));
    let spans = views.map(|view| words_of(view?)).collect::<Result<Vec<_>, _>>()?;
    // SAFETY: ranges of an arena are separate parts of `buffer` (bounds checked by `slice`); the trainer keeps it and the
    // value beside it until the step has been synchronized, or gives up the work with itself.
    Ok(unsafe { collective.all_reduce_sum(&spans) }?)
}

/// The last micro-batch of a step: as the backward pass completes buckets, they get their last additions and are sent off.
pub(super) struct BucketReducer<'b, 'a, D: Device> {
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
    failure: Option<EngineError>,
}

impl<'b, 'a, D: Device> BucketReducer<'b, 'a, D> {
    /// `before` is what [`TreeSum::before_last`](crate::collective::TreeSum::before_last) says.
    pub fn new(
        k: &'b CudaKernels<D>,
        ranks: &'b mut Ranks<'a>,
        weights: &'b Buffer<D>,
        fake_quant: FakeQuant,
        gradients: Arc<Buffer<D>>,
        before: Vec<Arc<Buffer<D>>>,
    ) -> Self {
        BucketReducer { k, ranks, weights, fake_quant, gradients, before, sent: 0, failure: None }
    }

    /// Sends the next bucket off, if the backward pass has now finished it.
    pub fn on_finished(&mut self, finished: Finished) {
        let next = self.ranks.buckets.get(self.sent);
        if next.is_some_and(|bucket| bucket.completed_by == Some(finished)) {
            self.send(None);
        }
    }

    /// Sends what is left, and one value beside it: the sums of the whole step, once the stream has waited for them.
    pub fn finish(mut self, beside: View<'_>) -> Result<Arc<Buffer<D>>, EngineError> {
        while self.failure.is_none() && self.sent + 1 < self.ranks.buckets.len() {
            self.send(None);
        }
        self.send(Some(beside));
        self.failure.map_or(Ok(self.before.pop().unwrap_or(self.gradients)), Err)
    }

    fn send(&mut self, beside: Option<View<'_>>) {
        if self.failure.is_none() {
            self.failure = self.try_send(beside).err();
        }
    }

    fn try_send(&mut self, beside: Option<View<'_>>) -> Result<(), EngineError> {
        let Ranks { collective, buckets, .. } = &mut *self.ranks;
        let missing = || DeviceError::Missing { name: format!("bucket {}", self.sent) };
        let bucket = buckets.get(self.sent).ok_or_else(missing)?;
        self.sent += 1;
        self.k.unfold(&bucket.transformed, self.weights, &self.gradients, self.fake_quant);
        let mut total = &self.gradients;
        for before in &self.before {
            for range in &bucket.ranges {
                let [more, sum] = [total, before].map(|flat| flat.view().slice(range.clone()));
                self.k.add_views(more?, sum?);
            }
            total = before;
        }
        sum(&mut **collective, total, &bucket.ranges, beside)
    }
}
