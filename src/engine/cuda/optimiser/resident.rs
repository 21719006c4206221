//! The training state on a device.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use super::arena::Arena;
use super::effective::{Effective, Whole};
use super::muon::MuonTensors;
use super::sums::{DOUBLE, Summed};
use crate::collective::TreeSum;
use crate::data::TokenBatch;
use crate::engine::cuda::backend::{CudaKernels, offset};
use crate::engine::cuda::device::{Argument, Device};
use crate::engine::cuda::memory::Buffer;
use crate::engine::cuda::placed::Placed;
use crate::engine::kernels::{Forward, Kernels, Network, Scaled};
use crate::engine::{EngineError, FakeQuant, Resident, ResidentState, ResidentStep, check};
use crate::model::{HostTensor, ModelConfig, ParamRole, Params};
use crate::train::{AdamStep, Group, Method, MuonStep, Optimizer, STEP_ORDER, StepPlan, SwaSum};
use crate::train::{FIRST_MOMENT, MOMENTUM_BUFFER, SECOND_MOMENT};

/// Tokens of a group, tokens of a row, and the bits of a token's share in the loss.
type Shape = (usize, usize, u32);

/// A model in training on a device.
pub(in crate::engine::cuda) struct CudaResident<D: Device> {
    kernels: CudaKernels<D>,
    config: ModelConfig,
    /// Tokens whose activations exist at once.
    group_tokens: usize,
    arena: Arena,
    weights: Whole<D>,
    /// Weights as the network sees them, whose parts `network` and `scaled` hold, and under which quantisation.
    effective: Effective<D>,
    network: Network<Buffer<D>>,
    scaled: Option<Scaled<Buffer<D>>>,
    sees: Option<FakeQuant>,
    /// Gradients of the micro-batches of the coming step.
    sum: TreeSum<Whole<D>>,
    /// Their sum, once it was asked for or replaced.
    total: Option<Whole<D>>,
    /// First moments of AdamW's parameters, momentum buffers of Muon's.
    first: Whole<D>,
    /// Second moments of what comes after the matrices.
    second: Whole<D>,
    /// Gradients of the micro-batch at hand.
    gradients: Whole<D>,
    /// Groups of rows, by their shape: of a run, one or two.
    groups: BTreeMap<Shape, Placed<D>>,
    /// Doubles: the gradients' squared norm, then the summed losses of the micro-batches in `tokens`.
    sums: Buffer<D>,
    /// Tokens of the micro-batches of the coming step.
    tokens: Vec<usize>,
    /// Moments are elsewhere; this is recipe and count.
    recipe: crate::manifest::OptimizerConfig,
    steps: u64,
    snapshots: Option<Whole<D>>,
    snapshot_count: u64,
}

impl<D: Device> CudaResident<D> {
    /// Copies a state to the device. `config` has been checked and the weights are in its layout.
    pub fn new(
        kernels: CudaKernels<D>,
        group_tokens: usize,
        config: &ModelConfig,
        weights: &Params,
        optimizer: &Optimizer,
        swa: &SwaSum,
    ) -> Result<Self, EngineError> {
        let k = &kernels;
        let arena = Arena::new(config);
        let upload = |values: &[f32]| Arc::new(k.upload(values));
        let moments: std::collections::BTreeMap<String, &HostTensor> = optimizer.moments().collect();
        let moment = |prefixes: &[&str]| {
            arena.gather(|name| prefixes.iter().find_map(|prefix| moments.get(&format!("{prefix}{name}")).copied()))
        };
        let effective = Effective::new(k, &arena, config);
        let weights = upload(&arena.gather(|name| weights.get(name)));
        let (network, scaled) = effective.network(config, &arena, &weights);
        let matrices = arena.role(ParamRole::Matrix).end;
        let second = moment(&[SECOND_MOMENT]);
        let resident = CudaResident {
            config: config.clone(),
            group_tokens,
            weights,
            network,
            scaled,
            effective,
            sees: None,
            sum: TreeSum::default(),
            total: None,
            first: upload(&moment(&[FIRST_MOMENT, MOMENTUM_BUFFER])),
            second: upload(second.get(matrices..).unwrap_or_default()),
            gradients: Arc::new(k.gradients(arena.len())),
            groups: BTreeMap::new(),
            sums: k.doubles(1),
            tokens: Vec::new(),
            recipe: optimizer.config().clone(),
            steps: optimizer.steps(),
            snapshots: swa.sum().map(|sum| upload(&arena.gather(|name| sum.get(name)))),
            snapshot_count: swa.count(),
            arena,
            kernels,
        };
        resident.kernels.check()?;
        Ok(resident)
    }

    /// Makes the weights as the network sees them, unless they are there.
    fn see(&mut self, fake_quant: FakeQuant) {
        if self.sees != Some(fake_quant) {
            self.kernels.see(&self.arena, &self.weights, &self.effective, fake_quant);
            self.sees = Some(fake_quant);
        }
    }

    /// A place for the summed loss of another micro-batch.
    fn loss_place(&mut self) -> u64 {
        let place = DOUBLE * (1 + self.tokens.len());
        if place >= self.sums.len() {
            let larger = self.kernels.doubles(self.sums.len().max(DOUBLE));
            let sums = std::mem::replace(&mut self.sums, larger);
            self.kernels.shared.run(|device| device.copy(sums.address(), self.sums.address(), sums.bytes()));
        }
        offset(&self.sums, place)
    }

    /// The learning rate of a role, and its decay.
    fn group(&self, role: ParamRole) -> Group {
        Group::of(role, &self.recipe, self.config.tie_embeddings)
    }

    /// The gradients of the coming step, which then has none.
    fn take_gradients(&mut self) -> Whole<D> {
        let sum = std::mem::take(&mut self.sum).finish();
        self.total.take().or(sum).unwrap_or_else(|| Arc::new(self.kernels.gradients(self.arena.len())))
    }

    fn adam(&self, role: ParamRole, plan: &StepPlan, gradients: &Buffer<D>, factor: u64) {
        let Range { start, end } = self.arena.role(role);
        let group = self.group(role);
        let rate = group.learning_rate * plan.lr_multiplier;
        let scalars = AdamStep::new(&self.recipe.adam, rate, group.weight_decay, self.steps + 1).scalars();
        let matrices = self.arena.role(ParamRole::Matrix).end;
        let arguments = [
            Argument::Address(offset(&self.weights, start)),
            Argument::Address(offset(&self.first, start)),
            Argument::Address(offset(&self.second, start - matrices)),
            Argument::Address(offset(gradients, start)),
            Argument::Address(factor),
            Argument::F32(scalars.keep),
            Argument::F32(scalars.step_size),
            Argument::F32(scalars.mix1),
            Argument::F32(scalars.beta2),
            Argument::F32(scalars.mix2),
            Argument::F32(scalars.second_root),
            Argument::F32(scalars.eps),
        ];
        self.kernels.each("adamw", end - start, &arguments);
    }

    fn muon(&self, role: ParamRole, plan: &StepPlan, gradients: &Whole<D>, factor: u64) {
        let rate = self.group(role).learning_rate * plan.lr_multiplier;
        let step = MuonStep::new(&self.recipe.muon, rate, plan.muon_momentum);
        for batch in self.arena.batches() {
            let at = |whole: &Whole<D>| offset(whole, batch.start);
            let (weight, buffer, gradient) = (at(&self.weights), at(&self.first), at(gradients));
            self.kernels.muon(batch, &step, MuonTensors { weight, buffer, gradient, factor });
        }
    }

    fn add_snapshot(&mut self) {
        match &mut self.snapshots {
            None => self.snapshots = Some(Arc::new(self.kernels.copy(&self.weights))),
            Some(sum) => {
                add(&self.kernels, &self.weights, sum);
            }
        }
        self.snapshot_count += 1;
    }

    fn read(&self, whole: &Buffer<D>) -> Result<Vec<f32>, EngineError> {
        let values = self.kernels.read(whole);
        self.kernels.check()?;
        Ok(values)
    }
}

/// `sum += x`.
fn add<D: Device>(kernels: &CudaKernels<D>, x: &Buffer<D>, sum: &Buffer<D>) {
    kernels.spans("add", sum.len(), &[Argument::Address(x.address()), Argument::Address(sum.address())]);
}

/// An allocation seen as a network.
fn parts<D: Device>(config: &ModelConfig, arena: &Arena, whole: &Whole<D>) -> Network<Buffer<D>> {
    let mut places = arena.places().into_iter();
    Network::build(config, &mut || Buffer::part(whole, places.next().unwrap_or_default()))
}

impl<D: Device> Resident for CudaResident<D> {
    fn steps(&self) -> u64 {
        self.steps
    }

    fn snapshots(&self) -> u64 {
        self.snapshot_count
    }

    fn micro_batch(&mut self, batch: &TokenBatch, fake_quant: FakeQuant) -> Result<(), EngineError> {
        check::batch(&self.config, batch)?;
        let shared = Arc::clone(&self.kernels.shared);
        let _turn = shared.turn();
        self.see(fake_quant);
        let loss = self.loss_place();
        let k = &self.kernels;
        shared.run(|device| device.clear(self.gradients.address(), self.gradients.bytes()));
        let weight = 1.0 / batch.inputs.len() as f32;
        let group = (self.group_tokens / batch.seq_len).max(1) * batch.seq_len;
        for (i, (inputs, targets)) in batch.inputs.chunks(group).zip(batch.targets.chunks(group)).enumerate() {
            let shape = (inputs.len(), batch.seq_len, weight.to_bits());
            let tokens = [inputs, targets];
            let Placed { rows, targets, tables, likelihoods } = match self.groups.entry(shape) {
                Entry::Occupied(known) => {
                    known.get().replace(k, &self.config, tokens);
                    known.into_mut()
                }
                Entry::Vacant(unknown) => unknown.insert(Placed::new(k, &self.config, tokens, batch.seq_len)),
            };
            let (config, scaled) = (&self.config, self.scaled.as_ref());
            let forward = Forward { k, config, network: &self.network, scaled, tables };
            let work = || {
                let mut grads = parts(config, &self.arena, &self.gradients);
                forward.backward(rows, targets, weight, forward.record(rows), &mut grads)
            };
            if let Some(nll) = likelihoods.run(&shared, work) {
                k.sum_to(nll.address(), Summed::Values, nll.len(), loss, i > 0);
            }
        }
        let gradients = Arc::new(k.copy(&self.gradients));
        k.unfold(&self.arena, &self.weights, &gradients, fake_quant);
        self.sum.push(gradients, |sum, other| add(k, &other, sum));
        self.tokens.push(batch.inputs.len());
        Ok(k.check()?)
    }

    fn gradients(&mut self) -> Result<Params, EngineError> {
        let total = self.take_gradients();
        let gradients = self.arena.params(&self.read(&total)?);
        self.total = Some(total);
        Ok(gradients)
    }

    fn set_gradients(&mut self, gradients: &Params) -> Result<(), EngineError> {
        gradients.check_layout(&self.config)?;
        self.sum = TreeSum::default();
        self.total = Some(Arc::new(self.kernels.upload(&self.arena.gather(|name| gradients.get(name)))));
        Ok(self.kernels.check()?)
    }

    fn step(&mut self, plan: &StepPlan, share: f32) -> Result<ResidentStep, EngineError> {
        let gradients = self.take_gradients();
        let k = &self.kernels;
        k.each("scale", gradients.len(), &[Argument::Address(gradients.address()), Argument::F32(share)]);
        let count = self.tokens.len();
        k.sum_to(gradients.address(), Summed::Squares, gradients.len(), self.sums.address(), false);
        let factor = k.gradients(1);
        let arguments = [
            Argument::Address(self.sums.address()),
            Argument::Address(offset(&self.sums, DOUBLE)),
            Argument::U32(count as u32),
            Argument::F64(self.recipe.grad_clip_norm),
            Argument::Address(factor.address()),
        ];
        k.launch("clip_factor", [1, 1], 32, &arguments);
        for role in STEP_ORDER {
            match self.group(role).method {
                Method::AdamW => self.adam(role, plan, &gradients, factor.address()),
                Method::Muon => self.muon(role, plan, &gradients, factor.address()),
            }
        }
        self.sees = None;
        let sums = k.read_doubles(&self.sums);
        k.check()?;
        let gradient_norm = sums.first().copied().unwrap_or_default().sqrt();
        let loss = |(sum, &tokens): (&f64, &usize)| (sum / tokens as f64) as f32;
        let losses: Vec<f32> = sums.iter().skip(1).zip(&self.tokens).map(loss).collect();
        self.tokens.clear();
        if gradient_norm.is_finite() && losses.iter().all(|loss| loss.is_finite()) {
            self.steps += 1;
            if plan.swa_pick {
                self.add_snapshot();
            }
        }
        Ok(ResidentStep { losses, gradient_norm })
    }

    fn state(&self) -> Result<ResidentState, EngineError> {
        let matrices = self.arena.role(ParamRole::Matrix).end;
        let (first, mut second) = (self.read(&self.first)?, vec![0.0; matrices]);
        second.extend(self.read(&self.second)?);
        let mut optimizer = Optimizer::new(&self.recipe, &self.config);
        optimizer.restore(self.steps, |name| {
            let of = |values: &[f32], prefix| self.arena.tensor(values, name.strip_prefix(prefix)?);
            of(&first, FIRST_MOMENT).or_else(|| of(&first, MOMENTUM_BUFFER)).or_else(|| of(&second, SECOND_MOMENT))
        })?;
        let sum = match &self.snapshots {
            None => None,
            Some(sum) => Some(self.arena.params(&self.read(sum)?)),
        };
        let swa = SwaSum::from_parts(sum, self.snapshot_count);
        let weights = self.arena.params(&self.read(&self.weights)?);
        Ok(ResidentState { weights, optimizer, swa })
    }
}
