//! On one rank, which is to leave the same bytes however it gets there.

use super::meddled::Meddled;
use super::{BY_CLOCK, BY_STEPS, CHECKPOINT, STATE, TRACE, TestRun, Workshop, assert_same};
use crate::engine::KernelsEngine;
use crate::interrupt::Interrupt;
use crate::train::{Start, Trace, TrainError};

#[test]
fn ten_steps_are_five_and_five_more() {
    let workshop = Workshop::new(BY_STEPS);
    // A clock that stands still: the schedule goes by steps, and the trace must not differ by when it was read.
    let straight = TestRun { tick: 0.0, ..workshop.job("straight") };
    let outcome = straight.run().unwrap();
    assert_eq!((outcome.record.steps, outcome.record.swa_snapshots), (10, 2));
    let trace = Trace::read(&straight.out.join(TRACE)).unwrap();
    let switches: Vec<(bool, bool)> = trace.steps.iter().map(|step| (step.qat, step.swa)).collect();
    assert_eq!(switches.iter().filter(|(qat, _)| *qat).count(), 2);
    assert!(!straight.has(STATE));

    for stop in [1, 3, 6, 9] {
        let broken = TestRun { tick: 0.0, ..workshop.job(&format!("stop-{stop}")) };
        let error = broken
            .run_with(&KernelsEngine::default(), &mut |line, interrupt| {
                if line.starts_with(&format!("step:{stop}/10 train_loss")) {
                    interrupt.raise();
                }
            })
            .unwrap_err();
        assert!(matches!(error, TrainError::Interrupted { steps, .. } if steps == stop), "{error}");
        assert!(broken.has(STATE) && !broken.has(CHECKPOINT));

        let resumed = TestRun { start: Start::Resume, ..broken };
        resumed.run().unwrap();
        assert_same(&resumed, &straight, CHECKPOINT);
        assert_same(&resumed, &straight, TRACE);
        assert!(!resumed.has(STATE));
    }
}

#[test]
fn steps_taken_after_the_last_checkpoint_are_taken_again() {
    let workshop = Workshop::new(BY_STEPS);
    let straight = TestRun { tick: 0.0, ..workshop.job("straight") };
    straight.run().unwrap();
    // Dies in step 9 with a state of step 6: the engine fails as a machine might.
    let broken = TestRun { tick: 0.0, every: Some(3), ..workshop.job("broken") };
    let error = broken.run_with(&Meddled::losing(8 * 8, f32::INFINITY), &mut |_, _| {}).unwrap_err();
    assert!(error.to_string().starts_with("the training loss is inf at step 9: training diverged"), "{error}");
    assert!(broken.has(STATE) && !broken.has(CHECKPOINT));
    let lines = broken.log();
    assert!(lines.contains("step:8/10 train_loss"), "{lines}");

    let resumed = TestRun { start: Start::Resume, ..broken };
    resumed.run().unwrap();
    assert_same(&resumed, &straight, CHECKPOINT);
    assert_same(&resumed, &straight, TRACE);
    let log = resumed.log();
    assert_eq!(log.matches("step:8/10 train_loss").count(), 1, "{log}");
    assert!(log.contains("resume:step:6/10"), "{log}");
}

#[test]
fn a_run_by_the_clock_is_replayed_to_the_same_bytes() {
    let workshop = Workshop::new(BY_CLOCK);
    let original = workshop.job("original");
    let outcome = original.run().unwrap();
    assert!(outcome.stopped_early && outcome.record.steps < 1000);
    assert!(outcome.record.swa_snapshots > 1, "{outcome:?}");
    let trace = Trace::read(&original.out.join(TRACE)).unwrap();
    assert!(trace.steps.iter().any(|step| step.qat) && trace.steps.iter().any(|step| step.lr_multiplier < 0.5));
    let log = original.log();
    assert!(
        log.contains("stopping_early: wallclock_cap train_time:") && log.contains("swa:applying averaged"),
        "{log}"
    );

    // Another clock altogether, and no warm-up.
    let replay = TestRun { replay: Some(original.out.join(TRACE)), tick: 77.0, ..workshop.job("replay") };
    let report = replay.run().unwrap().replay.unwrap();
    assert!(report.is_identical() && report.steps == outcome.record.steps, "{report:?}");
    assert_same(&replay, &original, CHECKPOINT);
    assert_same(&replay, &original, TRACE);

    // A replay can itself be interrupted and resumed.
    let broken = TestRun { out: workshop.path("broken"), ..replay.clone() };
    let stop = &mut |line: &str, interrupt: &Interrupt| {
        if line.starts_with("step:5/") {
            interrupt.raise();
        }
    };
    assert!(matches!(broken.run_with(&KernelsEngine::default(), stop), Err(TrainError::Interrupted { .. })));
    let resumed = TestRun { start: Start::Resume, ..broken };
    resumed.run().unwrap();
    assert_same(&resumed, &original, CHECKPOINT);
    assert_same(&resumed, &original, TRACE);
}

#[test]
fn a_trace_of_another_recipe_or_an_edited_one_is_refused() {
    let workshop = Workshop::new(BY_STEPS);
    let original = workshop.job("original");
    original.run().unwrap();
    let trace = original.out.join(TRACE);
    let other = TestRun { replay: Some(trace.clone()), set: &["schedule.seed=7"], ..workshop.job("other") };
    let error = other.run().unwrap_err().to_string();
    assert!(error.contains("was recorded with another recipe: `schedule.seed` is 1337 there and 7 here"), "{error}");

    let text = std::fs::read_to_string(&trace).unwrap();
    std::fs::write(&trace, text.replacen("\"qat\":false", "\"qat\":true", 1)).unwrap();
    let edited = TestRun { replay: Some(trace), ..workshop.job("edited") };
    let error = edited.run().unwrap_err().to_string();
    assert!(error.contains("trace.jsonl:2: `qat` is On, but this recipe gives Off at that time"), "{error}");
    assert!(!edited.has(CHECKPOINT));
}

#[test]
fn warm_up_and_threads_leave_no_mark() {
    let workshop = Workshop::new(BY_STEPS);
    let cold = workshop.job("cold");
    cold.run().unwrap();
    let warm = TestRun { set: &["schedule.warmup_steps=3"], ..workshop.job("warm") };
    warm.run().unwrap();
    assert_same(&warm, &cold, CHECKPOINT);
    assert!(warm.log().contains("warmup_step:3/3\n"));

    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let threads = workshop.job("threads");
    pool.install(|| threads.run().unwrap());
    assert_same(&threads, &cold, CHECKPOINT);
}

#[test]
fn an_input_that_changes_during_the_run_spoils_it() {
    for (name, expected) in
        [("t_train_000001.bin", "content changed during the run"), ("tiny.yaml", "changed during the run")]
    {
        let workshop = Workshop::new(BY_STEPS);
        let path = workshop.path(name);
        let job = workshop.job("run");
        let error = job
            .run_with(&KernelsEngine::default(), &mut |line, _| {
                if line.starts_with("step:9/10") {
                    let mut bytes = std::fs::read(&path).unwrap();
                    let last = bytes.len() - 2;
                    bytes[last] ^= 1;
                    std::fs::write(&path, bytes).unwrap();
                }
            })
            .unwrap_err()
            .to_string();
        assert!(error.contains(name) && error.contains(expected), "{error}");
        assert!(!job.has(CHECKPOINT) && !job.has("manifest.yaml"));
    }
}

#[test]
fn a_folder_in_use_is_not_overwritten_unasked() {
    let workshop = Workshop::new(BY_STEPS);
    let job = workshop.job("run");
    let nothing = TestRun { start: Start::Resume, ..job.clone() };
    assert!(matches!(nothing.run(), Err(TrainError::NothingToResume { .. })));
    job.run().unwrap();
    let first = job.bytes(CHECKPOINT);
    assert!(matches!(job.run(), Err(TrainError::FolderInUse { finished: true, .. })));
    assert!(matches!(nothing.run(), Err(TrainError::AlreadyFinished { .. })));
    TestRun { start: Start::Overwrite, ..job.clone() }.run().unwrap();
    assert!(job.bytes(CHECKPOINT) == first);
}
