//! The training state on a device.

mod micro_batch;
mod state;
mod step;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::arena::{Arena, Matrices};
use super::effective::{EffectiveWeights, Flat};
use super::ranks::Ranks;
use super::sums::DOUBLE;
use crate::collective::{Collective, TreeSum};
use crate::data::TokenBatch;
use crate::engine::cuda::backend::CudaKernels;
use crate::engine::cuda::device::Device;
use crate::engine::cuda::device_batch::DeviceBatch;
use crate::engine::cuda::error::DeviceError;
use crate::engine::cuda::memory::Buffer;
use crate::engine::cuda::view::View;
use crate::engine::network::{Kernels, Network, Scaled};
use crate::engine::{DeviceTrainer, EngineError, TrainerState, TrainerStep};
use crate::model::{Graph, HostTensor, ModelConfig, ParamRole, Params};
use crate::optim::{FIRST_MOMENT, FakeQuant, Group, MOMENTUM_BUFFER, Optimizer, SECOND_MOMENT, StepPlan, SwaSum};

/// Tokens of a group, tokens of a row, and the bits of a token's share in the loss.
type Shape = (usize, usize, u32);

/// Doubles before the losses in `sums`: the squared norm; the number of bad losses and the factor, a float each.
const BEFORE_LOSSES: usize = 2;

/// How work is cut.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine::cuda) struct Sizes {
    /// Tokens whose activations exist at once.
    pub group_tokens: usize,
    /// Gradients summed over the ranks at once.
    pub bucket_values: usize,
}

/// A model in training on a device.
pub(in crate::engine::cuda) struct CudaTrainer<'a, D: Device> {
    /// Dropped before any memory is: what it has queued is given up with it.
    ranks: Option<Ranks<'a>>,
    kernels: CudaKernels<D>,
    config: ModelConfig,
    graph: Graph,
    group_tokens: usize,
    arena: Arena,
    weights: Flat<D>,
    /// Weights in the form the network uses, whose parts `network` and `scaled` hold.
    effective: EffectiveWeights<D>,
    network: Network<Buffer<D>>,
    scaled: Option<Scaled<Buffer<D>>>,
    /// What `effective` was made with, since the weights last changed.
    effective_for: Option<FakeQuant>,
    /// Gradients of the micro-batches of the coming step.
    sum: TreeSum<Flat<D>>,
    /// Their sum over all ranks, queued with the last micro-batch.
    total: Option<Flat<D>>,
    /// First moments of AdamW's parameters, momentum buffers of Muon's.
    first: Flat<D>,
    /// Second moments of what comes after the matrices.
    second: Flat<D>,
    /// Gradients of the micro-batch at hand.
    gradients: Flat<D>,
    /// Groups of rows, by their shape: of a run, one or two.
    groups: BTreeMap<Shape, DeviceBatch<D>>,
    /// Doubles: the gradients' squared norm, the verdict ([`BEFORE_LOSSES`]), then the summed losses of the micro-batches
    /// in `tokens`.
    sums: Buffer<D>,
    /// Tokens of the micro-batches of the coming step.
    tokens: Vec<usize>,
    /// Moments are elsewhere; this is recipe and count.
    recipe: crate::manifest::OptimizerConfig,
    steps: u64,
    snapshots: Option<Flat<D>>,
    snapshot_count: u64,
}

impl<'a, D: Device + 'a> CudaTrainer<'a, D> {
    /// Copies a state to the device. `config` has been checked and the weights are in its layout.
    pub fn new(
        kernels: CudaKernels<D>,
        sizes: Sizes,
        config: &ModelConfig,
        weights: &Params,
        optimizer: &Optimizer,
        swa: &SwaSum,
        ranks: &'a dyn Collective,
    ) -> Result<Self, EngineError> {
        let arena = Arena::new(config);
        // The ranks may rendezvous here, and so wait for one another.
        let ranks = Ranks::new(&kernels, ranks, &arena, config.num_layers, sizes.bucket_values);
        let (k, shared) = (&kernels, Arc::clone(&kernels.shared));
        let _stream = shared.lock_stream();
        let upload = |values: &[f32]| Arc::new(k.upload(values));
        let all = 0..arena.len();
        let moments: BTreeMap<String, &HostTensor> = optimizer.moments().collect();
        let moment = |prefix: &str, name: &str| moments.get(&format!("{prefix}{name}")).copied();
        let first =
            arena.pack(all.clone(), |name| moment(FIRST_MOMENT, name).or_else(|| moment(MOMENTUM_BUFFER, name)))?;
        let after_matrices = arena.role(ParamRole::Matrix).end..arena.len();
        let second = arena.pack(after_matrices, |name| moment(SECOND_MOMENT, name))?;
        let snapshots = swa.sum().map(|sum| arena.pack(all.clone(), |name| sum.get(name))).transpose()?;
        let effective = EffectiveWeights::new(k, &arena, config);
        let weights = upload(&arena.pack(all, |name| weights.get(name))?);
        let (network, scaled) = effective.network(config, &arena, &weights)?;
        let trainer = CudaTrainer {
            ranks,
            config: config.clone(),
            graph: Graph::new(config),
            group_tokens: sizes.group_tokens,
            weights,
            network,
            scaled,
            effective,
            effective_for: None,
            sum: TreeSum::default(),
            total: None,
            first: upload(&first),
            second: upload(&second),
            gradients: Arc::new(k.gradients(arena.len())),
            groups: BTreeMap::new(),
            sums: k.doubles(BEFORE_LOSSES),
            tokens: Vec::new(),
            recipe: optimizer.config().clone(),
            steps: optimizer.steps(),
            snapshots: snapshots.map(|sum| upload(&sum)),
            snapshot_count: swa.count(),
            arena,
            kernels,
        };
        trainer.kernels.check()?;
        Ok(trainer)
    }

    /// The learning rate of a role, and its decay.
    fn group(&self, role: ParamRole) -> Group {
        Group::of(role, &self.recipe, self.config.tie_embeddings)
    }

    /// The squared norm of the gradients: a double.
    fn square(&self) -> Result<View<'_>, DeviceError> {
        self.sums.view().slice(0..DOUBLE)
    }

    /// The number of bad losses of all ranks, and the factor: a float each.
    fn verdict(&self) -> Result<[View<'_>; 2], DeviceError> {
        let verdict = self.sums.view().slice(DOUBLE..2 * DOUBLE)?;
        Ok([verdict.slice(0..1)?, verdict.slice(1..2)?])
    }

    /// The summed losses of the micro-batches so far: doubles.
    fn losses(&self) -> Result<View<'_>, DeviceError> {
        let start = DOUBLE * BEFORE_LOSSES;
        self.sums.view().slice(start..start + DOUBLE * self.tokens.len())
    }

    fn matrices_of<'b>(buffer: &'b Buffer<D>, batch: Matrices) -> Result<View<'b>, DeviceError> {
        buffer.view().slice(batch.values())
    }
}

impl<'a, D: Device + 'a> DeviceTrainer for CudaTrainer<'a, D> {
    fn steps(&self) -> u64 {
        self.steps
    }

    fn snapshots(&self) -> u64 {
        self.snapshot_count
    }

    fn set_phase(&mut self, phase: usize) {
        if self.config.run.phase == Some(phase) {
            return;
        }
        self.config.run.phase = Some(phase);
        let graph = Graph::new(&self.config);
        if graph != self.graph {
            let _stream = self.kernels.shared.lock_stream();
            // What is recorded runs the blocks in the old order.
            self.groups.clear();
        }
        self.graph = graph;
    }

    fn micro_batch(&mut self, batch: &TokenBatch, fake_quant: FakeQuant) -> Result<(), EngineError> {
        self.run_micro_batch(batch, fake_quant)
    }

    fn step(&mut self, plan: &StepPlan, share: f32) -> Result<TrainerStep, EngineError> {
        self.take_step(plan, share)
    }

    fn state(&self) -> Result<TrainerState, EngineError> {
        self.copy_to_host()
    }
}
