//! The forward pass, recording or not: the visits of the graph one after another.

use super::block::{BlockInput, BlockOutput};
use super::operands::{FusedMixInputs, FusedMixOutputs, Heads, Norm, PendingResidual};
use super::parameters::{Network, Scaled};
use super::record::{Record, VisitRecord};
use super::rows::Rows;
use super::traits::Kernels;
use crate::model::{Graph, LinearInput, ModelConfig};

/// Runs the network on a device.
pub(in crate::engine) struct Forward<'a, K: Kernels> {
    pub k: &'a K,
    pub config: &'a ModelConfig,
    /// The configuration's blocks in the order they are run.
    pub graph: &'a Graph,
    pub network: &'a Network<K::Buffer>,
    /// For the backward pass, where the network has scales apart from the matrices.
    pub scaled: Option<&'a Scaled<K::Buffer>>,
    pub tables: &'a K::Tables,
    /// Who is shown what enters the linear layers; usually nobody.
    pub observer: Option<&'a dyn Observer<K::Buffer>>,
    /// Keys and values of earlier positions, where one position is run at a time.
    pub memory: Option<&'a dyn Memory<K::Buffer>>,
}

/// Keys and values of the positions that were run before, by visit (KV cache).
pub(in crate::engine) trait Memory<B>: Sync {
    /// Takes up the keys and values of one more position of every row and gives its queries' average of all values so far.
    /// Visits come in their order, once a position.
    fn attend(&self, heads: Heads, qkv: [&B; 3]) -> B;
}

/// Tokens that a position's first activations depend on: its own, the one before it by the smear, and the one before that,
/// with which that one makes a bigram.
pub(in crate::engine) const CONTEXT: usize = 3;

/// Is shown what enters the linear layers, in the order they are run.
pub(in crate::engine) trait Observer<B>: Sync {
    fn see(&self, input: LinearInput, x: &B);
}

/// What the visits read besides the stream.
#[derive(Clone, Copy)]
struct Source<'a, K: Kernels> {
    rows: &'a Rows<K>,
    /// The network's first activations.
    x0: &'a K::Buffer,
    /// The value embedding.
    values: Option<&'a K::Buffer>,
}

/// What the visits leave: the stream, its norm, and the lanes it was merged from.
struct Visited<B> {
    x: B,
    normed: B,
    lanes: Option<[B; 2]>,
}

impl<K: Kernels> Forward<'_, K> {
    /// The forward pass with everything the backward pass needs.
    pub fn record(&self, rows: &Rows<K>) -> Record<K::Buffer> {
        let (bigram, embedded, x0) = self.embed(rows);
        let values = self.values(rows);
        let (mut visits, mut outputs) = (Vec::new(), Vec::new());
        let source = Source { rows, x0: &x0, values: values.as_ref().map(|values| &values.projected) };
        let Visited { x: last, normed, lanes } = self.visits(source, 0, &mut outputs, Some(&mut visits));
        Record { bigram, embedded, x0, values, visits, outputs, lanes, last, normed }
    }

    /// Normalized activations of the positions from `first` on of every row, ready for the head.
    ///
    /// The last visit's queries, its MLP and all that follows are computed for those positions alone; its keys
    /// and values for all.
    pub fn score(&self, rows: &Rows<K>, first: usize) -> K::Buffer {
        let (_, _, x0) = self.embed(rows);
        let values = self.values(rows);
        let source = Source { rows, x0: &x0, values: values.as_ref().map(|values| &values.projected) };
        let normed = self.visits(source, first, &mut Vec::new(), None).normed;
        self.see(LinearInput::Head, &normed);
        normed
    }

    /// Normalized activations of one position of every row, the last of those in `context`: its last [`CONTEXT`] tokens, or
    /// all there are. `last` has the position's token alone. Keys and values of earlier positions are in the memory.
    pub fn step(&self, context: &Rows<K>, last: &Rows<K>) -> K::Buffer {
        let (_, _, x0) = self.embed(context);
        let x0 = self.tails(x0, (context, context.seq_len - 1));
        let values = self.values(last);
        let source = Source { rows: last, x0: &x0, values: values.as_ref().map(|values| &values.projected) };
        self.visits(source, 0, &mut Vec::new(), None).normed
    }

    /// Shows the observer what enters a linear layer.
    pub(super) fn see(&self, input: LinearInput, x: &K::Buffer) {
        if let Some(observer) = self.observer {
            observer.see(input, x);
        }
    }

    /// All visits: the activations after the last one and their norm, of the positions from `first` on.
    ///
    /// `outputs` gets the output of each visit but the last, where a skip takes it up.
    fn visits(
        &self,
        Source { rows, x0, values }: Source<'_, K>,
        first: usize,
        outputs: &mut Vec<Option<K::Buffer>>,
        mut record: Option<&mut Vec<VisitRecord<K::Buffer>>>,
    ) -> Visited<K::Buffer> {
        let (k, graph, width) = (self.k, self.graph, self.config.model_dim);
        // The first activations stay as they are: a first visit that begins with a mixture reads them where they lie.
        let is_mixed_first = graph.visits.first().is_some_and(|visit| {
            let block = self.network.blocks.get(visit.block);
            visit.skip.is_none() && graph.split() != Some(0) && block.is_some_and(|block| block.resid_mix.is_some())
        });
        let (mut x, mut lane) = (if is_mixed_first { k.unset(0) } else { k.copy(x0) }, None);
        let mut pending: Option<(K::Buffer, &K::Buffer)> = None;
        for (at, visit) in graph.visits.iter().enumerate() {
            let Some(block) = self.network.blocks.get(visit.block) else { continue };
            let product = pending.take();
            let mut residual = product.as_ref().map(|&(ref product, scale)| PendingResidual { product, scale, width });
            let is_pending = residual.is_some();
            let is_output = at.checked_sub(1).is_some_and(|before| graph.is_kept(before));
            let is_gated = visit.skip.is_some_and(|skip| skip.gated);
            // An output that goes on and, by another weight, right into its own skip is added up first; so is what a gate
            // weighs against a skip.
            let is_copied = is_output && visit.skip.is_some();
            if is_copied || is_gated {
                self.keep_attended(record.as_deref_mut().filter(|_| is_pending), |k| k.copy(&x));
                k.add_residual(residual.take(), &mut x);
            }
            let is_input = is_output && !is_copied;
            if at > 0 && !is_input {
                outputs.push(is_copied.then(|| k.copy(&x)));
            }
            let before_skip = (is_gated && record.is_some()).then(|| k.copy(&x));
            let skip = self.enter_skip(visit.skip, outputs, &mut x);
            let is_split = graph.split() == Some(at);
            let inputs = FusedMixInputs {
                residual,
                skip,
                mix: self.mix_of(block, x0),
                norm: Norm { width, factor: visit.recipe.norm_scale },
                keep_input: is_input || is_split || at > 0 && record.is_some(),
            };
            let FusedMixOutputs { mut input, before, mixed, normed } = match inputs.mix {
                Some(mix) if at == 0 && is_mixed_first => {
                    let [mixed, normed] = k.mix_rms_norm(x0, mix, inputs.norm);
                    FusedMixOutputs { input: None, before: None, mixed, normed }
                }
                _ => k.fused_mix_rms_norm(x, inputs),
            };
            drop(product);
            if let Some(before) = before {
                self.keep_attended(record.as_deref_mut().filter(|_| is_pending), |_| before);
            }
            if is_split {
                lane = input.as_ref().map(|input| k.copy(input));
            }
            // Between encoder blocks an output is an input.
            if is_input {
                outputs.push(input.take());
            }
            let first = if at + 1 == graph.visits.len() { first } else { 0 };
            let input_of_block = BlockInput { index: visit.block, mixed, normed, lane, values };
            let output = self.block(&visit.recipe, block, input_of_block, (rows, first), record.is_some());
            let BlockOutput { x: stream, lane: second, residual, kept } = output;
            if let (Some(record), Some(kept)) = (&mut record, kept) {
                record.push(VisitRecord { x: input.filter(|_| at > 0), before_skip, ..kept });
            }
            (x, lane) = (stream, second);
            pending = residual.map(|product| (product, &block.mlp_scale));
        }
        self.keep_attended(record.filter(|_| pending.is_some()), |k| k.copy(&x));
        let norm = Norm::of(width);
        if let Some(lane) = lane {
            let merged = self.merge([&x, &lane]);
            let normed = k.rms_norm(&merged, norm);
            return Visited { x: merged, normed, lanes: Some([x, lane]) };
        }
        let residual = pending.as_ref().map(|&(ref product, scale)| PendingResidual { product, scale, width });
        let normed = k.add_residual_rms_norm(residual, norm, &mut x);
        Visited { x, normed, lanes: None }
    }

    /// Completes the last visit's record, where its stream was not copied.
    fn keep_attended(&self, record: Option<&mut Vec<VisitRecord<K::Buffer>>>, stream: impl FnOnce(&K) -> K::Buffer) {
        if let Some(last) = record.and_then(|record| record.last_mut())
            && last.attended.is_none()
        {
            last.attended = Some(stream(self.k));
        }
    }
}
