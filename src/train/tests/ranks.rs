//! On several ranks, as threads.

use super::meddled::Meddled;
use super::{BY_CLOCK, BY_STEPS, CHECKPOINT, TRACE, TestRun, Workshop, assert_same};
use crate::collective::CollectiveError;
use crate::engine::KernelsEngine;
use crate::interrupt::Interrupt;
use crate::train::{Start, TrainError};

#[test]
fn ranks_train_the_bytes_of_one() {
    // By steps, and by a clock that only rank 0 reads.
    for schedule in [BY_STEPS, BY_CLOCK] {
        let workshop = Workshop::new(schedule);
        let alone = workshop.job("alone");
        let outcome = alone.run().unwrap();
        for ranks in [2, 4, 8] {
            let several = TestRun { ranks, ..workshop.job(&format!("of-{ranks}")) };
            let found = several.run().unwrap();
            assert_same(&several, &alone, CHECKPOINT);
            assert_same(&several, &alone, TRACE);
            assert_eq!(found.validation, outcome.validation);
            let log = several.log();
            assert!(log.contains(&format!("world_size:{ranks} grad_accum_steps:{}\n", 8 / ranks)), "{log}");
            let line = log.lines().find_map(|line| line.strip_prefix("step:3/")?.split_once("rank_losses:")).unwrap();
            assert_eq!(line.1.split(' ').count(), ranks);
        }
    }
}

#[test]
fn a_run_continues_in_another_world() {
    let workshop = Workshop::new(BY_STEPS);
    let straight = TestRun { tick: 0.0, ..workshop.job("straight") };
    straight.run().unwrap();
    for (before, after) in [(4, 1), (1, 8), (2, 4)] {
        let broken = TestRun { tick: 0.0, ranks: before, ..workshop.job(&format!("{before}-{after}")) };
        // After snapshots and the start of QAT.
        let stop = &mut |line: &str, interrupt: &Interrupt| {
            if line.starts_with("step:9/10 train_loss") {
                interrupt.raise();
            }
        };
        let error = broken.run_with(&KernelsEngine::default(), stop).unwrap_err();
        assert!(matches!(error, TrainError::Interrupted { steps: 9, .. }), "{error}");
        let resumed = TestRun { start: Start::Resume, ranks: after, ..broken };
        resumed.run().unwrap();
        assert_same(&resumed, &straight, CHECKPOINT);
        assert_same(&resumed, &straight, TRACE);
    }
}

#[test]
fn a_failure_on_one_rank_ends_all() {
    let workshop = Workshop::new(BY_STEPS);
    // A loss that is no number, on whichever rank it falls: all ranks see it.
    let diverged = TestRun { ranks: 4, ..workshop.job("diverged") };
    let error = diverged.run_with(&Meddled::losing(8 * 8 + 5, f32::NAN), &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, TrainError::Diverged { step: 9, .. }), "{error}");
    assert!(!diverged.has(CHECKPOINT));

    // An engine that fails on one rank only; rank 0 may be that rank or hear of it.
    let broken = TestRun { ranks: 8, ..workshop.job("broken") };
    let error = broken.run_with(&Meddled::breaking(8 * 8 + 5), &mut |_, _| {}).unwrap_err();
    let expected = |error: &TrainError| match error {
        TrainError::Ranks(CollectiveError::Lost { rank, reason }) => *rank > 0 && reason.contains("out of memory"),
        TrainError::Engine(error) => error.to_string().contains("out of memory"),
        _ => false,
    };
    assert!(expected(&error), "{error}");
    assert!(!broken.has(CHECKPOINT) && !broken.has("manifest.yaml"));
    let odd = TestRun { ranks: 3, ..workshop.job("odd") };
    assert!(odd.run().unwrap_err().to_string().contains("a world of 3 ranks cannot share"));
}
