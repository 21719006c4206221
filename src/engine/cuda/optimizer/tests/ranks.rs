//! Steps that several ranks take together, each a thread with a model of its own.

use std::ops::Range;
use std::sync::Arc;

use super::late::LateRank;
use super::steps::{plan, recipe, start};
use crate::collective::{Collective, CollectiveError, Solo, ThreadRank, in_process, reading_order};
use crate::data::TokenBatch;
use crate::engine::cuda::device::Device;
use crate::engine::cuda::shim::{shim, strict_shim};
use crate::engine::cuda::tests::network::{batch, engine, narrow_engine};
use crate::engine::cuda::tests::on_both;
use crate::engine::{DeviceTrainer, Engine, EngineError, TrainerState, TrainerStep, Window};
use crate::manifest::{MICRO_BATCHES_PER_STEP, OptimizerConfig, OrthogonalizerPrecision};
use crate::model::ModelConfig;
use crate::optim::FakeQuant;

on_both!(ranks_end_in_the_bytes_of_one, a_lost_rank_ends_all);

const PIECES: usize = MICRO_BATCHES_PER_STEP as usize;
const ROW: usize = 6;

/// As small as they can be: tied; untied, table as wide as the model, three blocks.
pub(super) fn configs() -> [ModelConfig; 2] {
    let tied = ModelConfig {
        vocab_size: 12,
        num_layers: 2,
        model_dim: 8,
        num_heads: 2,
        num_kv_heads: 1,
        mlp_mult: 2.0,
        bigram_vocab_size: 5,
        bigram_dim: 4,
        ..Default::default()
    };
    let untied = ModelConfig { num_layers: 3, bigram_dim: 8, tie_embeddings: false, ..tied.clone() };
    [tied, untied]
}

/// The recipe, with fewer of the products that a processor takes long for.
pub(super) fn quick(precision: OrthogonalizerPrecision) -> OptimizerConfig {
    let mut recipe = recipe(precision);
    recipe.muon.newton_schulz_steps = 2;
    recipe
}

/// Piece `index` of a step: two rows, of which the engine takes one group, or with more rows two.
fn piece(config: &ModelConfig, step: usize, index: usize) -> TokenBatch {
    let rows = if index == PIECES - 1 { 7 } else { 2 };
    let all = batch(config, rows, ROW);
    let shift = 5 * step + index;
    let rotated = |ids: &[u16]| ids.iter().map(|id| (id + shift as u16) % config.vocab_size as u16).collect();
    TokenBatch { inputs: rotated(&all.inputs), targets: rotated(&all.targets), seq_len: ROW }
}

/// A step of one rank: its losses, the norm.
fn step(
    trainer: &mut dyn DeviceTrainer,
    config: &ModelConfig,
    ranks: &dyn Collective,
    step: usize,
) -> Result<TrainerStep, EngineError> {
    let place = ranks.rank();
    for m in reading_order(place.micro_batches()) {
        let piece = piece(config, step, m * place.world_size() + place.index());
        trainer.micro_batch(&piece, plan(step).fake_quant)?;
    }
    trainer.step(&plan(step), 1.0 / PIECES as f32)
}

fn trainer<'a>(
    engine: &dyn Engine,
    config: &ModelConfig,
    state: &TrainerState,
    ranks: &'a dyn Collective,
) -> Box<dyn DeviceTrainer + 'a> {
    engine.device_trainer(config, &state.weights, &state.optimizer, &state.swa, ranks).unwrap().unwrap()
}

/// Norms of all steps, and where they end.
pub(super) fn train(
    engine: &dyn Engine,
    config: &ModelConfig,
    begin: &TrainerState,
    steps: Range<usize>,
    ranks: &dyn Collective,
) -> (Vec<f64>, TrainerState) {
    let mut trainer = trainer(engine, config, begin, ranks);
    let norms = steps.clone().map(|i| step(&mut *trainer, config, ranks, i).unwrap().gradient_norm).collect();
    assert_eq!(trainer.steps(), steps.len() as u64);
    (norms, trainer.state().unwrap())
}

/// What each rank makes of it, in rank order.
fn on_ranks<R: Send>(world: usize, work: impl Fn(ThreadRank) -> R + Sync) -> Vec<R> {
    let work = &work;
    std::thread::scope(|scope| {
        let ranks = in_process(world).unwrap().into_iter();
        let threads: Vec<_> = ranks.map(|rank| scope.spawn(move || work(rank))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn ranks_end_in_the_bytes_of_one<D: Device + 'static>(device: &Arc<D>) {
    let engine = &engine(device);
    // All five steps with late QAT and snapshots once; the other network's last two.
    let (five, two) = ((0..5, &[2, 4, 8][..]), (3..5, &[4][..]));
    let cases = [(five, OrthogonalizerPrecision::Bf16), (two, OrthogonalizerPrecision::F32)];
    for (config, ((steps, worlds), precision)) in configs().iter().zip(cases) {
        let begin = &start(config, &quick(precision));
        let alone = train(engine, config, begin, steps.clone(), &Solo);
        assert_eq!(alone.1.swa.count(), 2);
        for &world in worlds {
            let found = on_ranks(world, |rank| train(engine, config, begin, steps.clone(), &rank));
            assert!(found.iter().all(|rank| *rank == found[0]), "{world} ranks differ");
            // A library may multiply another number of matrices in another order.
            assert!(!D::EXACT || found[0] == alone, "{world} ranks are not one");
        }
    }
}

/// What a rank does while sums are under way is what it does otherwise.
#[test]
fn nothing_looks_at_values_that_are_under_way() {
    if shim().is_none() {
        return;
    }
    // In single precision throughout; in bfloat16, updates too.
    let cases = [(false, OrthogonalizerPrecision::F32), (true, OrthogonalizerPrecision::Bf16)];
    for (config, (is_narrow, precision)) in configs().into_iter().zip(cases) {
        let begin = &start(&config, &quick(precision));
        let engine = || if is_narrow { narrow_engine(&shim().unwrap()) } else { engine(&shim().unwrap()) };
        let [alone, late] = [false, true].map(|is_late| {
            // Ranks that wait for one another while they hand over work have a device each.
            let found = on_ranks(2, |rank| match is_late {
                false => (train(&engine(), &config, begin, 3..5, &rank), Vec::new()),
                true => {
                    let rank = LateRank::new(rank);
                    let found = train(&engine(), &config, begin, 3..5, &rank);
                    let calls = std::mem::take(&mut *rank.calls.lock().unwrap());
                    (found, calls)
                }
            });
            found.into_iter().next().unwrap()
        });
        assert_eq!(late.0, alone.0);
        // A bucket a block, the rest with the losses; a share a shape.
        let buckets = config.num_layers + 1 + usize::from(!config.tie_embeddings);
        let of_a_step = &late.1[..late.1.len() / 2];
        let sums = of_a_step.iter().take_while(|call| call.starts_with("sum")).count();
        let shares = of_a_step[sums + 1..].iter().take_while(|call| call.starts_with("broadcast")).count();
        assert_eq!((sums, &of_a_step[sums]), (buckets, &"stream_wait".to_string()));
        assert!(shares >= 4);
        assert_eq!(of_a_step[sums + 1 + shares..], ["stream_wait", "synchronize"]);
    }
}

#[test]
fn a_loss_that_is_no_number_on_one_rank_stops_all() {
    if shim().is_none() {
        return;
    }
    let config = &configs()[0];
    let begin = &start(config, &quick(OrthogonalizerPrecision::F32));
    let states = on_ranks(2, |rank| {
        let (engine, rank) =
            (&engine(&shim().unwrap()), LateRank { has_bad_losses_elsewhere: true, ..LateRank::new(rank) });
        let mut trainer = trainer(engine, config, begin, &rank);
        let found = step(&mut *trainer, config, &rank, 4).unwrap();
        assert!(found.gradient_norm.is_finite() && found.losses.iter().all(|loss| loss.is_finite()));
        (trainer.steps(), trainer.snapshots(), trainer.state().unwrap())
    });
    for (steps, snapshots, state) in states {
        assert_eq!((steps, snapshots), (0, 0));
        assert_eq!(&state, begin);
    }
}

fn a_lost_rank_ends_all<D: Device + 'static>(device: &Arc<D>) {
    let (engine, config) = (&engine(device), &configs()[1]);
    let begin = &start(config, &quick(OrthogonalizerPrecision::F32));
    let errors = on_ranks(4, |rank| {
        let mut trainer = trainer(engine, config, begin, &rank);
        step(&mut *trainer, config, &rank, 0).unwrap();
        if Collective::rank(&rank).index() == 2 {
            Collective::abandon(&rank, "the disk is full");
            return None;
        }
        Some(step(&mut *trainer, config, &rank, 1).unwrap_err())
    });
    for error in errors.into_iter().flatten() {
        assert!(matches!(error, EngineError::Ranks(CollectiveError::Lost { rank: 2, .. })), "{error}");
        assert_eq!(error.to_string(), "rank 2 is lost: the disk is full");
    }
}

#[test]
fn what_a_rank_has_queued_is_given_up_with_its_model() {
    if shim().is_none() {
        return;
    }
    let config = &configs()[0];
    let begin = &start(config, &quick(OrthogonalizerPrecision::F32));
    let calls = on_ranks(8, |rank| {
        let (engine, rank) = (&engine(&shim().unwrap()), LateRank::new(rank));
        let place = Collective::rank(&rank);
        let mut trainer = trainer(engine, config, begin, &rank);
        trainer.micro_batch(&piece(config, 0, place.index()), plan(0).fake_quant).unwrap();
        drop(trainer);
        rank.calls.lock().unwrap().pop()
    });
    assert!(calls.iter().all(|call| call.as_deref() == Some("abort")), "{calls:?}");
}

/// Threads share a device: what one records must not be mixed with what another asks for.
#[test]
fn whoever_uses_the_stream_holds_its_lock() {
    let Some(device) = strict_shim() else { return };
    let (engine, config) = (&engine(&device), &configs()[0]);
    let begin = &start(config, &quick(OrthogonalizerPrecision::F32));
    train(engine, config, begin, 3..4, &Solo);
    on_ranks(2, |rank| train(engine, config, begin, 3..5, &rank));
    let batch = batch(config, 2, ROW);
    engine.loss_and_gradients(config, &begin.weights, &batch, FakeQuant::Off).unwrap();
    let scorer = engine.scorer(config, &begin.weights).unwrap();
    scorer.nll(&[Window { tokens: &batch.inputs, first_scored: 2 }]).unwrap();
    scorer.logits(&batch.inputs).unwrap();
}
