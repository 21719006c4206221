//! Samples drawn from losses of a trained network, of which the true value is known: `fixtures/sample/`.

use golf_harness::data::{Shard, Tokenizer};
use golf_harness::eval::WindowPlan;
use golf_harness::eval::sample::{ALPHA, Decision, Estimate, Population, SampleSettings, Schedule};
use golf_harness::manifest::ClaimedNumber;

use crate::support::ReferenceSet;

/// What a count of `n` draws, each a hit with a probability between `least` and `most`, hardly ever leaves: four
/// standard deviations of the binomial at either end.
fn is_plausible(hits: usize, n: usize, least: f64, most: f64) -> bool {
    let (hits, n) = (hits as f64, n as f64);
    let bound = |p: f64| 4.0 * (n * p * (1.0 - p)).sqrt();
    hits >= n * least - bound(least) && hits <= n * most + bound(most)
}

fn population() -> Population {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/sample/smoke_val.nll.f32");
    let bytes = std::fs::read(path).unwrap();
    let nll: Vec<f32> = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let tokens = Shard::open(&ReferenceSet::Shipped.val_shard()).unwrap().read_all().unwrap();
    let table = Tokenizer::read(&ReferenceSet::Shipped.tokenizer()).unwrap().0.byte_table();
    let plan = WindowPlan::sliding(tokens.len() as u64, 128, 64).unwrap();
    assert!(Population::new(plan, &tokens, &table, &nll[1..]).is_none());
    Population::new(plan, &tokens, &table, &nll).unwrap()
}

#[test]
fn intervals_hold_the_true_value_as_often_as_they_say() {
    let population = population();
    assert_eq!(population.windows(), 838);
    let truth = population.total();
    // 53,655 losses of 0.78192914 nats on average: the score's own report.
    assert!((truth / 53_655.0 - 0.781_929_14).abs() < 1e-8, "{truth}");
    for size in [60, 200] {
        const DRAWS: usize = 500;
        let found: Vec<_> =
            (0..DRAWS as u64).map(|seed| population.estimate(&SampleSettings::new(seed, size)).unwrap()).collect();
        let covers = |estimate: &Estimate| (estimate.total - truth).abs() <= estimate.half_width(ALPHA);
        let plain = found.iter().filter(|found| covers(&found.plain)).count();
        let regression = found.iter().filter(|found| covers(&found.regression)).count();
        assert!(is_plausible(plain, DRAWS, 0.93, 0.97), "{size}: {plain} of {DRAWS}, plain");
        assert!(is_plausible(regression, DRAWS, 0.93, 0.97), "{size}: {regression} of {DRAWS}, with control variates");
        let squares = |of: &dyn Fn(usize) -> f64| (0..DRAWS).map(|i| (of(i) - truth).powi(2)).sum::<f64>();
        let gain = squares(&|i| found[i].plain.total) / squares(&|i| found[i].regression.total);
        assert!(gain > 1.2, "{size}: the control variates gain {gain}");
    }
    // All of them: no chance is left.
    let all = population.estimate(&SampleSettings::new(1, 838)).unwrap();
    assert!((all.plain.total / truth - 1.0).abs() < 1e-12 && all.regression.variance == 0.0);
}

/// A claim that is off by just more than the margin is accepted in at most 5 % of all tests, and one that is off by just
/// less is rejected in at most 5 %.
#[test]
fn tests_are_wrong_no_more_often_than_they_say() {
    const TESTS: usize = 300;
    let population = population();
    let truth = population.bpb(population.total());
    let schedule = Schedule::new(64, population.windows());
    let margin = 0.008;
    let run = |off: f64| {
        let claim = ClaimedNumber::parse(&format!("{:.16}", truth + off * margin)).unwrap();
        let run = |seed| population.test(seed, &schedule, &claim, margin).unwrap();
        let tests: Vec<_> = (0..TESTS as u64).map(run).collect();
        let count = |decision| tests.iter().filter(|test| test.decision == decision).count();
        let windows = tests.iter().map(|test| test.windows as f64).sum::<f64>() / TESTS as f64;
        assert_eq!(count(Decision::Undecided), 0);
        let covered = tests.iter().filter(|test| test.covered).count();
        assert!(is_plausible(covered, TESTS, 0.92, 1.0), "all intervals held the value in {covered} of {TESTS}");
        (count(Decision::Accepted), count(Decision::Rejected), windows)
    };
    let (accepted, ..) = run(1.001);
    assert!(is_plausible(accepted, TESTS, 0.0, 0.05), "{accepted} of {TESTS} wrong claims were accepted");
    let (_, rejected, _) = run(-0.999);
    assert!(is_plausible(rejected, TESTS, 0.0, 0.05), "{rejected} of {TESTS} right claims were rejected");
    // What is clear is decided early.
    let (accepted, rejected, windows) = run(0.0);
    assert!(
        accepted > TESTS * 9 / 10 && windows < 600.0,
        "{accepted} accepted, {rejected} rejected, {windows} windows"
    );
    let (_, rejected, windows) = run(4.0);
    assert!(rejected > TESTS * 9 / 10 && windows < 400.0, "{rejected} rejected, {windows} windows");
}
