//! The training state on a device.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use super::arena::{Arena, Matrices, Members};
use super::effective::{Effective, Whole};
use super::muon::{MuonTensors, stored};
use super::ranks::{Finishing, Ranks};
use super::sums::{DOUBLE, Summed};
use crate::collective::{Collective, TreeSum};
use crate::data::TokenBatch;
use crate::engine::cuda::backend::{CudaKernels, offset};
use crate::engine::cuda::device::{Argument, Device};
use crate::engine::cuda::device_batch::DeviceBatch;
use crate::engine::cuda::memory::Buffer;
use crate::engine::kernels::{Finished, Forward, Kernels, Network, Scaled};
use crate::engine::{DeviceTrainer, EngineError, FakeQuant, TrainerState, TrainerStep, check};
use crate::model::{HostTensor, ModelConfig, ParamRole, Params};
use crate::train::{AdamStep, Group, Method, MuonStep, Optimizer, STEP_ORDER, StepPlan, SwaSum};
use crate::train::{FIRST_MOMENT, MOMENTUM_BUFFER, SECOND_MOMENT};

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
    group_tokens: usize,
    arena: Arena,
    weights: Whole<D>,
    /// Weights as the network sees them, whose parts `network` and `scaled` hold, and under which quantization.
    effective: Effective<D>,
    network: Network<Buffer<D>>,
    scaled: Option<Scaled<Buffer<D>>>,
    sees: Option<FakeQuant>,
    /// Gradients of the micro-batches of the coming step.
    sum: TreeSum<Whole<D>>,
    /// Their sum over all ranks, queued with the last micro-batch.
    total: Option<Whole<D>>,
    /// First moments of AdamW's parameters, momentum buffers of Muon's.
    first: Whole<D>,
    /// Second moments of what comes after the matrices.
    second: Whole<D>,
    /// Gradients of the micro-batch at hand.
    gradients: Whole<D>,
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
    snapshots: Option<Whole<D>>,
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
        // The ranks may meet here, and so wait for one another.
        let ranks = Ranks::new(&kernels, ranks, &arena, config.num_layers, sizes.bucket_values);
        let (k, shared) = (&kernels, Arc::clone(&kernels.shared));
        let _stream = shared.lock_stream();
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
        let trainer = CudaTrainer {
            ranks,
            config: config.clone(),
            group_tokens: sizes.group_tokens,
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
            sums: k.doubles(BEFORE_LOSSES),
            tokens: Vec::new(),
            recipe: optimizer.config().clone(),
            steps: optimizer.steps(),
            snapshots: swa.sum().map(|sum| upload(&arena.gather(|name| sum.get(name)))),
            snapshot_count: swa.count(),
            arena,
            kernels,
        };
        trainer.kernels.check()?;
        Ok(trainer)
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
        let place = DOUBLE * (BEFORE_LOSSES + self.tokens.len());
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

    /// Where the number of bad losses of all ranks is, and the factor.
    fn verdict(&self) -> [u64; 2] {
        [0, 1].map(|place| offset(&self.sums, DOUBLE + place))
    }

    /// The gradients of the coming step, summed over the ranks once joined; it then has none.
    fn take_gradients(&mut self) -> Result<Whole<D>, EngineError> {
        if let Some(total) = self.total.take() {
            return Ok(total);
        }
        let sum = std::mem::take(&mut self.sum).finish();
        let total = sum.unwrap_or_else(|| Arc::new(self.kernels.gradients(self.arena.len())));
        let [bad, _] = self.verdict();
        self.kernels.count_bad(offset(&self.sums, DOUBLE * BEFORE_LOSSES), self.tokens.len(), bad);
        if let Some(ranks) = &mut self.ranks {
            ranks.sum_all(&total, bad)?;
        }
        Ok(total)
    }

    /// Lets what is launched from now on see what the other ranks have done. By one whose turn it is not: they may be
    /// threads that wait for theirs.
    fn join(&mut self) -> Result<(), EngineError> {
        Ok(self.ranks.as_mut().map_or(Ok(()), Ranks::join)?)
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

    fn muon_step(&self, plan: &StepPlan) -> MuonStep {
        let rate = self.group(ParamRole::Matrix).learning_rate * plan.lr_multiplier;
        MuonStep::new(&self.recipe.muon, rate, plan.muon_momentum)
    }

    /// The finished updates of all matrices, which lie as they do. Those of other ranks are there once joined.
    fn muon_updates(&mut self, step: &MuonStep, gradients: &Whole<D>, factor: u64) -> Result<Whole<D>, EngineError> {
        let k = &self.kernels;
        let updates = Arc::new(k.buffer_of(stored(step), self.arena.role(ParamRole::Matrix).end));
        for (i, batch) in self.arena.batches().into_iter().enumerate() {
            k.muon_momentum(step, self.muon_tensors(batch, gradients, factor), &batch.part(&updates));
            let own = self.ranks.as_ref().map_or(Some(batch), |ranks| ranks.own_share(i));
            if let Some(own) = own {
                k.orthogonalize(own, &own.part(&updates), step.newton_schulz_steps);
            }
            if let Some(ranks) = &mut self.ranks {
                ranks.share_updates(&updates, i)?;
            }
        }
        Ok(updates)
    }

    fn muon_tensors(&self, batch: Matrices, gradients: &Buffer<D>, factor: u64) -> MuonTensors {
        let at = |whole: &Buffer<D>| offset(whole, batch.start);
        MuonTensors { weight: at(&self.weights), buffer: at(&self.first), gradient: at(gradients), factor }
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
        let _stream = self.kernels.shared.lock_stream();
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

impl<'a, D: Device + 'a> DeviceTrainer for CudaTrainer<'a, D> {
    fn steps(&self) -> u64 {
        self.steps
    }

    fn snapshots(&self) -> u64 {
        self.snapshot_count
    }

    fn micro_batch(&mut self, batch: &TokenBatch, fake_quant: FakeQuant) -> Result<(), EngineError> {
        check::batch(&self.config, batch)?;
        let shared = Arc::clone(&self.kernels.shared);
        let _stream = shared.lock_stream();
        self.see(fake_quant);
        let loss = self.loss_place();
        let k = &self.kernels;
        shared.run(|device| device.clear(self.gradients.address(), self.gradients.bytes()));
        self.tokens.push(batch.inputs.len());
        let count = self.tokens.len();
        // The last one's gradients go to the other ranks while the pass is still at it.
        let others = self.ranks.as_mut().filter(|ranks| ranks.is_complete_with(count));
        let mut finishing = others.map(|ranks| {
            let before = std::mem::take(&mut self.sum).before_last();
            Finishing::new(k, ranks, &self.weights, fake_quant, Arc::clone(&self.gradients), before)
        });
        let weight = 1.0 / batch.inputs.len() as f32;
        let group = (self.group_tokens / batch.seq_len).max(1) * batch.seq_len;
        let groups = batch.inputs.len().div_ceil(group);
        for (i, (inputs, targets)) in batch.inputs.chunks(group).zip(batch.targets.chunks(group)).enumerate() {
            let shape = (inputs.len(), batch.seq_len, weight.to_bits());
            let tokens = [inputs, targets];
            let DeviceBatch { rows, targets, tables, likelihoods } = match self.groups.entry(shape) {
                Entry::Occupied(known) => {
                    known.get().replace(k, &self.config, tokens);
                    known.into_mut()
                }
                Entry::Vacant(unknown) => unknown.insert(DeviceBatch::new(k, &self.config, tokens, batch.seq_len)),
            };
            let (config, scaled) = (&self.config, self.scaled.as_ref());
            let forward = Forward { k, config, network: &self.network, scaled, tables };
            let work = |take: &mut dyn FnMut(Finished)| {
                let mut grads = parts(config, &self.arena, &self.gradients);
                forward.backward(rows, targets, weight, forward.record(rows), &mut grads, take)
            };
            let add_loss = |nll: &Buffer<D>| k.sum_to(nll.address(), Summed::Values, nll.len(), loss, i > 0);
            match &mut finishing {
                // Every group adds to all gradients: what the last one finishes is finished.
                Some(finishing) if i + 1 == groups => {
                    likelihoods.beside(&shared, || add_loss(&work(&mut |finished| finishing.take(finished))));
                }
                _ => {
                    if let Some(nll) = likelihoods.run(&shared, || work(&mut |_| ())) {
                        add_loss(nll);
                    }
                }
            }
        }
        match finishing {
            None => {
                let gradients = Arc::new(k.copy(&self.gradients));
                k.unfold(&self.arena.seen(&Members::ALL), &self.weights, &gradients, fake_quant);
                self.sum.push(gradients, |sum, other| add(k, &other, sum));
            }
            Some(finishing) => {
                let bad = offset(&self.sums, DOUBLE);
                k.count_bad(offset(&self.sums, DOUBLE * BEFORE_LOSSES), count, bad);
                let total = finishing.close(bad);
                k.check()?;
                self.total = Some(total?);
            }
        }
        Ok(k.check()?)
    }

    fn step(&mut self, plan: &StepPlan, share: f32) -> Result<TrainerStep, EngineError> {
        let shared = Arc::clone(&self.kernels.shared);
        let stream = shared.lock_stream();
        let gradients = self.take_gradients()?;
        drop(stream);
        self.join()?;
        let stream = shared.lock_stream();
        let ([bad, factor], k) = (self.verdict(), &self.kernels);
        k.each("scale", gradients.len(), &[Argument::Address(gradients.address()), Argument::F32(share)]);
        k.sum_to(gradients.address(), Summed::Squares, gradients.len(), self.sums.address(), false);
        k.clip_factor(self.sums.address(), bad, self.recipe.grad_clip_norm, factor);
        // First what others wait for. Parameters are independent of one another, so any order gives the same bits.
        let step = self.muon_step(plan);
        let updates = self.muon_updates(&step, &gradients, factor)?;
        for role in STEP_ORDER.into_iter().filter(|role| self.group(*role).method == Method::AdamW) {
            self.adam(role, plan, &gradients, factor);
        }
        drop(stream);
        self.join()?;
        let stream = shared.lock_stream();
        for batch in self.arena.batches() {
            let tensors = self.muon_tensors(batch, &gradients, factor);
            self.kernels.muon_descend(batch, &step, tensors, &batch.part(&updates));
        }
        drop(stream);
        self.sees = None;
        self.kernels.check()?;
        if let Some(ranks) = &mut self.ranks {
            ranks.settle()?;
        }
        let stream = shared.lock_stream();
        let sums = self.kernels.read_doubles(&self.sums);
        drop(stream);
        self.kernels.check()?;
        let gradient_norm = sums.first().copied().unwrap_or_default().sqrt();
        let loss = |(sum, &tokens): (&f64, &usize)| (sum / tokens as f64) as f32;
        let losses: Vec<f32> = sums.iter().skip(BEFORE_LOSSES).zip(&self.tokens).map(loss).collect();
        self.tokens.clear();
        // The device's own verdict, which is that of all ranks.
        let factor = sums.get(1).map_or(f32::NAN, |pair| f32::from_bits((pair.to_bits() >> 32) as u32));
        if factor >= 0.0 {
            self.steps += 1;
            if plan.swa_pick {
                let _stream = shared.lock_stream();
                self.add_snapshot();
            }
        }
        Ok(TrainerStep { losses, gradient_norm })
    }

    fn state(&self) -> Result<TrainerState, EngineError> {
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
        Ok(TrainerState { weights, optimizer, swa })
    }
}
