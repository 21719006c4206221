//! The networks of the leaderboard's records, narrower, take two steps on both engines, and every tensor learns.

use std::path::Path;

use golf_harness::data::{BatchGeometry, Loader};
use golf_harness::engine::{Engine, EngineKind, create};
use golf_harness::manifest::{MICRO_BATCHES_PER_STEP, Manifest, assignment, with_overrides};
use golf_harness::model::{Params, Recurrence, init, layout};
use golf_harness::optim::Group;
use golf_harness::train::{Schedule, Trainer};

use crate::records::records;

/// All blocks, whose features differ from one to the next; heads as wide as the records', so that 16 of 64 coordinates
/// turn; a vocabulary that the smoke run's tokens fit in; rows of 64 tokens; steps at the full rate.
const SMALL: [&str; 10] = [
    "model.vocab_size=1024",
    "model.model_dim=192",
    "model.num_heads=3",
    "model.num_kv_heads=1",
    "schedule.train_seq_len=64",
    "schedule.train_batch_tokens=512",
    "schedule.world_size=1",
    "schedule.max_wallclock_seconds=0",
    "schedule.iterations=20",
    "schedule.warmdown_iters=0",
];

const STEPS: u64 = 2;

fn small(record: Manifest) -> Manifest {
    let changes: Vec<_> = SMALL.iter().map(|text| assignment(text).unwrap()).collect();
    with_overrides(record, &changes).unwrap()
}

/// The same with all repetitions from the first step.
fn repeating(mut record: Manifest) -> Option<Manifest> {
    match record.model.recurrence.as_mut()? {
        Recurrence::Loop { from_fraction, .. } => from_fraction.iter_mut().for_each(|from| *from = 0.0),
        Recurrence::Insert { from_step, .. } => *from_step = 0,
    }
    Some(record)
}

/// Trains and returns the weights before and after.
fn trained(record: &Manifest, engine: &dyn Engine, phase: usize) -> (Params, Params) {
    let shard = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/smoke/smoke_train_000000.bin");
    let (schedule, vocab) = (&record.schedule, record.model.vocab_size as u32);
    let geometry =
        BatchGeometry::new(schedule.train_batch_tokens, schedule.train_seq_len, MICRO_BATCHES_PER_STEP, 1, 0);
    let mut loader = Loader::open(&[shard], geometry.unwrap(), vocab).unwrap();
    let start = init(&record.model, schedule.seed);
    let mut trainer = Trainer::new(engine, record, start.clone());
    let plans = Schedule::new(schedule, &record.optimizer.muon).repeating(record.model.recurrence.as_ref());
    for step in 0..STEPS {
        let plan = plans.plan(step, 0.0);
        assert_eq!((plan.lr_multiplier, plan.phase), (1.0, phase), "{}", record.name);
        let report = trainer.step(&plan, &mut loader).unwrap_or_else(|error| panic!("{}: {error}", record.name));
        assert!(report.loss.is_finite() && report.gradient_norm > 0.0, "{}: {report:?}", record.name);
    }
    (start, trainer.weights().unwrap().clone())
}

/// Decay alone moves no tensor as far as two steps along its gradient do: both optimizers take steps of the rate's
/// size, whatever the gradient's.
fn every_tensor_learns(record: &Manifest, engine: &dyn Engine, phase: usize) {
    let (before, after) = trained(record, engine, phase);
    let specs = layout(&record.model);
    for (((name, before), (_, after)), spec) in before.iter().zip(after.iter()).zip(specs) {
        // Behind projections that start at zero and a small table, its gradients are below Adam's eps after one step.
        if name.starts_with("ve_") {
            continue;
        }
        let group = Group::of(spec.role, &record.optimizer, record.model.tie_embeddings);
        let by_decay = STEPS as f64 * group.learning_rate * group.weight_decay;
        let learned = before.data().iter().zip(after.data()).any(|(&before, &after)| {
            let (before, after) = (f64::from(before), f64::from(after));
            (after - before).abs() > by_decay * before.abs() + 1e-5
        });
        assert!(learned, "{} phase {phase} {}: {name} has not learned", record.name, engine.kind());
    }
}

fn two_steps(kind: EngineKind) {
    let engine = create(kind);
    for (_, record) in records() {
        let record = small(record);
        every_tensor_learns(&record, &*engine, 0);
        if let Some(record) = repeating(record) {
            let last = record.model.recurrence.as_ref().map_or(0, Recurrence::phases);
            every_tensor_learns(&record, &*engine, last);
        }
    }
}

#[test]
fn every_record_takes_two_steps_on_kernels() {
    two_steps(EngineKind::Kernels);
}

#[test]
fn every_record_takes_two_steps_on_dfdx() {
    two_steps(EngineKind::Dfdx);
}
