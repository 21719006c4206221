//! Scoring on a device: windows of one shape together, in groups that are queued ahead of their results.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::backend::CudaKernels;
use super::device::Device;
use super::device_batch::DeviceBatch;
use super::error::DeviceError;
use super::memory::Buffer;
use crate::engine::network::{Kernels, Loaded};
use crate::engine::{EngineError, Scorer, Window, check};

/// Groups queued before the first of their results is read: the device has work while the host reads.
pub(super) const GROUPS_AHEAD: usize = 8;

/// Scores windows of one shape together.
pub(super) struct CudaScorer<D: Device> {
    loaded: Loaded<CudaKernels<D>>,
    /// Tokens of a group.
    scored_tokens: usize,
    /// The shape last scored: of a long evaluation, nearly all windows have one.
    group: Mutex<Option<(Shape, DeviceBatch<D>)>>,
}

/// Length and first scored target of a window.
type Shape = (usize, usize);

impl<D: Device> CudaScorer<D> {
    pub fn new(loaded: Loaded<CudaKernels<D>>, scored_tokens: usize) -> Self {
        CudaScorer { loaded, scored_tokens, group: Mutex::default() }
    }

    /// Windows of a length that are scored at once.
    fn at_once(&self, len: usize) -> usize {
        (self.scored_tokens / (len - 1)).max(1)
    }

    /// Queues the likelihoods of windows of one shape, at most as many as are scored at once.
    fn queue(&self, group: &mut Option<(Shape, DeviceBatch<D>)>, windows: &[&Window<'_>]) -> Option<Buffer<D>> {
        let (k, config) = (&self.loaded.kernels, &self.loaded.config);
        let &last = windows.last()?;
        let (first, seq_len) = (last.first_scored, last.tokens.len() - 1);
        let padded = || windows.iter().copied().chain(std::iter::repeat(last)).take(self.at_once(last.tokens.len()));
        let inputs: Vec<u16> = padded().flat_map(|window| &window.tokens[..seq_len]).copied().collect();
        let targets: Vec<u16> = padded().flat_map(|window| &window.tokens[first + 1..]).copied().collect();
        let (tokens, shape) = ([&inputs[..], &targets], (last.tokens.len(), first));
        let DeviceBatch { rows, targets, tables, likelihoods } = match group {
            Some((known, device_batch)) if *known == shape => {
                device_batch.replace(k, config, tokens);
                device_batch
            }
            other => {
                // Another shape's memory is given up first.
                *other = None;
                &mut other.insert((shape, DeviceBatch::new(k, config, tokens, seq_len))).1
            }
        };
        let work = || self.loaded.queue(rows, first, (targets, targets.len()), tables);
        // SAFETY: the work is the same for every group of a shape; rows, targets and tables are kept beside the runner, the
        // weights in `loaded`, which outlives it.
        unsafe { likelihoods.run(&k.shared, work) }.map(|found| k.copy(found))
    }
}

impl<D: Device> Scorer for CudaScorer<D> {
    fn nll(&self, windows: &[Window<'_>]) -> Result<Vec<Vec<f32>>, EngineError> {
        check::windows(&self.loaded.config, windows)?;
        let mut shapes: BTreeMap<Shape, Vec<usize>> = BTreeMap::new();
        for (i, window) in windows.iter().enumerate() {
            // A window with nothing to score has an empty answer.
            if window.first_scored + 1 < window.tokens.len() {
                shapes.entry((window.tokens.len(), window.first_scored)).or_default().push(i);
            }
        }
        let k = &self.loaded.kernels;
        let _stream = k.shared.lock_stream();
        let mut group = self.group.lock().unwrap_or_else(PoisonError::into_inner);
        let mut queued = Vec::new();
        for ((len, first), members) in &shapes {
            for places in members.chunks(self.at_once(*len)) {
                let some: Vec<_> = places.iter().map(|&i| &windows[i]).collect();
                let found = self.queue(&mut group, &some);
                queued.extend(found.map(|found| (places, len - 1 - first, found)));
            }
        }
        let mut likelihoods = vec![Vec::new(); windows.len()];
        for (places, scored, found) in queued {
            let values = k.download(found);
            for (i, &place) in places.iter().enumerate() {
                let (start, end, len) = (i * scored, (i + 1) * scored, values.len());
                let own = values.get(start..end).ok_or(DeviceError::Range { start, end, len })?;
                likelihoods[place] = own.to_vec();
            }
        }
        k.check()?;
        Ok(likelihoods)
    }

    fn logits(&self, inputs: &[u16]) -> Result<Vec<f32>, EngineError> {
        let _stream = self.loaded.kernels.shared.lock_stream();
        let logits = self.loaded.logits(inputs)?;
        self.loaded.kernels.check()?;
        Ok(logits)
    }

    fn windows_at_once(&self, len: usize) -> usize {
        GROUPS_AHEAD * self.at_once(len.max(2))
    }
}
