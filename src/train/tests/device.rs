//! On a device that keeps the model: its own kernels, run by the processor.

use super::meddled::Meddled;
use super::{BY_STEPS, CHECKPOINT, TRACE, TestRun, Workshop, assert_same};
use crate::collective::CollectiveError;
use crate::engine::shimmed_engine;
use crate::interrupt::Interrupt;
use crate::train::{Start, Trace, TrainError};

/// Five steps with late QAT and snapshots, on the device's own kernels run by the processor.
#[test]
fn a_model_that_stays_on_a_device_is_saved_shared_and_followed_as_any_other() {
    let Some(engine) = shimmed_engine() else { return };
    let workshop = Workshop::new(BY_STEPS);
    let short = &["schedule.iterations=5", "schedule.val_loss_every=0"];
    let job = |out: &str| TestRun { tick: 0.0, set: short, ..workshop.job(out) };
    let straight = job("straight");
    let outcome = straight.run_with(&*engine, &mut |_, _| {}).unwrap();
    assert_eq!((outcome.record.steps, outcome.record.swa_snapshots), (5, 2));

    // Begun by four ranks, interrupted among snapshots and QAT, continued by two.
    let broken = TestRun { ranks: 4, ..job("broken") };
    let stop = &mut |line: &str, interrupt: &Interrupt| {
        if line.starts_with("step:4/5 train_loss") {
            interrupt.raise();
        }
    };
    assert!(matches!(broken.run_with(&*engine, stop), Err(TrainError::Interrupted { steps: 4, .. })));
    let resumed = TestRun { start: Start::Resume, ranks: 2, ..broken };
    resumed.run_with(&*engine, &mut |_, _| {}).unwrap();
    assert_same(&resumed, &straight, CHECKPOINT);
    assert_same(&resumed, &straight, TRACE);

    // The same engine with the host's optimizer.
    let host = job("host");
    host.run_with(&Meddled::on_the_host(engine), &mut |_, _| {}).unwrap();
    let [found, expected] = [&straight, &host].map(|job| Trace::read(&job.out.join(TRACE)).unwrap().steps);
    assert_eq!(found[0].loss, expected[0].loss);
    for (found, expected) in found.iter().zip(&expected) {
        // Muon's bfloat16 magnifies the order of its sums.
        assert!((found.loss - expected.loss).abs() < 1e-3 * expected.loss, "{found:?} for {expected:?}");
        assert!((found.grad_norm / expected.grad_norm - 1.0).abs() < 0.02, "{found:?} for {expected:?}");
    }
}

#[test]
fn a_rank_whose_device_fails_ends_all() {
    let Some(engine) = shimmed_engine() else { return };
    let workshop = Workshop::new(BY_STEPS);
    let job = TestRun { ranks: 4, set: &["schedule.iterations=2"], ..workshop.job("broken") };
    let error = job.run_with(&Meddled::cramped(engine, 2), &mut |_, _| {}).unwrap_err();
    let expected = match &error {
        TrainError::Ranks(CollectiveError::Lost { rank, reason }) => *rank > 0 && reason.contains("out of memory"),
        TrainError::Engine(error) => error.to_string().contains("out of memory"),
        _ => false,
    };
    assert!(expected, "{error}");
    assert!(!job.has(CHECKPOINT) && !job.has("manifest.yaml"));
}
