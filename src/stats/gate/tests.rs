//! Claims against references: real ones, and numbers worked out by hand.

use super::*;

/// sp1024: 151,078,222 bytes in 62,021,632 tokens.
fn sp1024() -> Option<BytesPerToken> {
    BytesPerToken::from_counts(62_021_632, 151_078_222)
}

fn seeds(values: &[f64]) -> Vec<SeedRun> {
    values.iter().enumerate().map(|(i, v)| SeedRun::of(i as u64, *v)).collect()
}

fn compared(values: &[f64], reference: Reference) -> GateReport {
    let runs = seeds(values);
    compare(&runs, &runs, 0, &reference, sp1024(), &RecordTerms::default()).unwrap()
}

#[test]
fn pr_1019_against_549_is_a_record_by_a_hair() {
    // Both by their logs (PR #1019's README): 0.00464 bpb = 0.00784 nats per token.
    let standing = Reference::Runs(seeds(&[1.119_229_88, 1.120_020_32, 1.118_888_82]));
    let report = compared(&[1.115_081_20, 1.114_373_94, 1.114_750_14], standing);
    let plain = report.plain.unwrap();
    assert_eq!((format!("{:.2}", plain.t), format!("{:.2}", plain.df)), ("11.83".into(), "3.31".into()));
    assert_eq!(plain.p.to_string(), "0.0004");
    assert!((report.margins[0].improvement - 0.007_84).abs() < 5e-6, "{report:?}");
    // By SciPy: ttest_ind(candidate + margin, reference, equal_var=False, alternative="less") gives 0.00955.
    assert_eq!(report.margins[0].test.unwrap().p.to_string(), "0.0095");
    assert_eq!(report.outcome, GateVerdict::Record, "{}", report.verdict_text());
    // Read as nats per byte, the same improvement is too small.
    assert!(!report.margins[1].met);
}

#[test]
fn pr_286_is_no_record_and_gets_no_p() {
    let report = compared(&[1.162_826_70], Reference::Mean(1.159_8));
    assert_eq!(report.outcome, GateVerdict::NotBetter);
    assert!(report.plain.is_none() && report.seeds_needed.is_none());
    insta::assert_snapshot!(report.verdict_text(), @"no record: mean 1.16283 bpb over 1 run is 0.00303 worse than 1.15980 (-0.0051 nats per token, 0.005 asked for)");
}

#[test]
fn one_good_run_is_refused_and_told_how_many_it_needs() {
    let report = compared(&[1.15], Reference::Mean(1.159_8));
    assert_eq!(report.outcome, GateVerdict::Refused { reason: RefusalReason::OneRun });
    assert_eq!(report.seeds_needed, Some(3));
    insta::assert_snapshot!(report.verdict_text(), @"not decided, one run has no spread, so no p can be given: mean 1.15000 bpb over 1 run is 0.00980 better than 1.15980 (+0.0165 nats per token, 0.005 asked for); 3 runs with the usual spread of 0.00063 would show it");
}

#[test]
fn a_clear_improvement_is_a_record() {
    let report = compared(&[1.1401, 1.1405, 1.1409], Reference::Runs(seeds(&[1.1500, 1.1504, 1.1508])));
    assert_eq!(report.outcome, GateVerdict::Record, "{}", report.verdict_text());
}

#[test]
fn the_margin_is_reached_at_its_value_and_not_one_step_before() {
    let margin = Margin::record(MarginReading::NatsPerToken).in_bpb(sp1024().unwrap());
    let reference = 1.15;
    for (improvement, met) in [(margin * 1.000_001, true), (margin * 0.999_999, false)] {
        let report = compared(&[reference - improvement], Reference::Mean(reference));
        assert_eq!(report.margins[0].met, met);
    }
}

#[test]
fn the_level_itself_is_not_below_the_level() {
    let runs = seeds(&[1.1401, 1.1405, 1.1409]);
    let reference = Reference::Runs(seeds(&[1.1480, 1.1484, 1.1490]));
    let at = |alpha| {
        compare(&runs, &runs, 0, &reference, sp1024(), &RecordTerms { alpha, ..RecordTerms::default() }).unwrap()
    };
    let p = at(0.5).margins[0].test.unwrap().p.0;
    assert_eq!(at(p).outcome, GateVerdict::NotSignificant);
    assert_eq!(at(p * 1.001).outcome, GateVerdict::Record);
    // The same mean is not better, though it is better by a margin of nothing.
    let terms = RecordTerms { margin: 0.0, alpha: 0.01 };
    let same = compare(&runs, &runs, 0, &Reference::Mean(at(p).mean), sp1024(), &terms).unwrap();
    assert_eq!((same.outcome, same.margins[0].met), (GateVerdict::NotBetter, true));
}

#[test]
fn every_number_of_a_report_is_that_of_its_name() {
    // sd 0.01 over three; 3 bytes a token, so that 0.005 nats per token are 0.0024045 bpb.
    let runs = seeds(&[1.09, 1.10, 1.11]);
    let bytes_per_token = BytesPerToken::plausible(3.0);
    let reference = Reference::Published(Summary::published(4, 1.2, 0.02).unwrap());
    let report = compare(&runs, &runs, 5, &reference, bytes_per_token, &RecordTerms::default()).unwrap();
    assert_eq!((report.runs, report.reference_runs, report.reference_mean), (3, Some(4), 1.2));
    assert!((report.mean - 1.1).abs() < 1e-12 && (report.sd.unwrap() - 0.01).abs() < 1e-12);
    assert_eq!(report.reference_sd, Some(0.02));
    assert!((report.improvement_bpb - 0.1).abs() < 1e-12);
    assert_eq!(report.comparison, Comparison::Welch);
    // Standard errors 0.01 / sqrt 3 and 0.02 / 2: t = 0.1 / sqrt(1/30000 + 1/10000).
    let plain = report.plain.unwrap();
    assert!((plain.t - 0.1 / (4.0f64 / 30_000.0).sqrt()).abs() < 1e-9, "{plain:?}");
    let ln_2 = std::f64::consts::LN_2;
    let margins = [0.005 / (3.0 * ln_2), 0.005 / ln_2, 0.005];
    let improvements = [0.1 * 3.0 * ln_2, 0.1 * ln_2, 0.1];
    for (test, (margin, improvement)) in report.margins.iter().zip(margins.into_iter().zip(improvements)) {
        assert!((test.margin_bpb - margin).abs() < 1e-12 && (test.improvement - improvement).abs() < 1e-12);
        assert!(test.met && test.test.unwrap().t < plain.t);
    }
    assert_eq!(report.margins.len(), 3);
    assert_eq!(report.warnings, [SeedWarning::LeftOut { reported: 3, made: 5 }]);
    let lines = report.test_lines();
    assert_eq!(lines.len(), 4);
    assert!(lines[0].starts_with("Welch's one-sided test, margin 0: t 8.66, df "), "{}", lines[0]);
    let second = "0.005 nats per token = 0.00240 bpb: improvement +0.20794 nats per token, p ";
    assert!(lines[1].starts_with(second), "{}", lines[1]);
    let alone = compare(&runs, &runs, 0, &Reference::Mean(1.2), bytes_per_token, &RecordTerms::default()).unwrap();
    assert!(alone.test_lines()[0].starts_with("one-sided test against the published mean, margin 0: "));
    assert_eq!((alone.reference_runs, alone.reference_sd, alone.comparison), (None, None, Comparison::OneSample));
}

#[test]
fn sentences_say_what_decides() {
    // t = (0.01 - 0.0029613) / (0.01 / sqrt 3) = 1.2191 with 2 degrees of freedom; t(0.01, df 14) = 2.624 is the first
    // below 0.70387 sqrt n.
    let text = |values: &[f64], reference| compared(values, Reference::Mean(reference)).verdict_text();
    assert_eq!(
        text(&[1.10, 1.11, 1.12], 1.12),
        "not shown: mean 1.11000 bpb over 3 runs is 0.01000 better than 1.12000 (+0.0169 nats per token, 0.005 \
         asked for); p = 0.1735 at that margin; 15 runs with this spread would show it"
    );
    assert_eq!(
        text(&[1.1100, 1.1101], 1.1110),
        "no record, improvement too small: mean 1.11005 bpb over 2 runs is 0.00095 better than 1.11100 (+0.0016 \
         nats per token, 0.005 asked for)"
    );
    assert!(text(&[1.1, 1.1001, 1.1002], 1.2).starts_with("record: mean 1.10010 bpb over 3 runs is 0.09990 better"));
    assert!(text(&[1.1, 1.1], 1.1).starts_with("no record: mean 1.10000 bpb over 2 runs is 0.00000 worse than"));
    // Two runs alike, where two would do: no advice.
    let alike = text(&[1.1, 1.1], 1.2);
    assert!(alike.starts_with("not decided, a seed is reported more than once") && !alike.contains("would"), "{alike}");
}

#[test]
fn values_that_are_no_scores_are_refused() {
    let terms = RecordTerms::default();
    let outcome_of = |values: &[f64], reference: &Reference| {
        let runs = seeds(values);
        compare(&runs, &runs, 0, reference, sp1024(), &terms).map(|report| report.outcome)
    };
    let (mean, runs) = (Reference::Mean(1.0), |values: &[f64]| Reference::Runs(seeds(values)));
    assert_eq!(outcome_of(&[-0.1], &mean), Err(RefusalReason::NotFinite));
    assert_eq!(outcome_of(&[f64::INFINITY], &mean), Err(RefusalReason::NotFinite));
    assert_eq!(outcome_of(&[0.0], &mean), Ok(GateVerdict::Refused { reason: RefusalReason::OneRun }));
    assert_eq!(outcome_of(&[1.0], &runs(&[])), Err(RefusalReason::NoRuns));
    assert_eq!(outcome_of(&[1.0], &runs(&[1.0, f64::NAN])), Err(RefusalReason::NotFinite));
    assert_eq!(outcome_of(&[1.0], &runs(&[f64::NAN])), Err(RefusalReason::NotFinite));
    assert_eq!(outcome_of(&[1.0], &runs(&[1.0])), Ok(GateVerdict::NotBetter));
    // Runs without spread on either side: alike within the claim, so that the claim is one run repeated.
    let flat = [SeedRun::of(1, 1.0), SeedRun::of(2, 1.0)];
    let report = compare(&flat, &flat, 0, &Reference::Mean(1.2), sp1024(), &terms).unwrap();
    assert_eq!(report.outcome, GateVerdict::Refused { reason: RefusalReason::RepeatedSeeds });
}

#[test]
fn repeated_seeds_get_no_p() {
    let runs = [SeedRun::of(1, 1.10), SeedRun::of(1, 1.11), SeedRun::of(2, 1.105)];
    let report = compare(&runs, &runs, 0, &Reference::Mean(1.15), sp1024(), &RecordTerms::default()).unwrap();
    assert_eq!(report.outcome, GateVerdict::Refused { reason: RefusalReason::RepeatedSeeds });
    assert!(report.plain.is_none() && report.margins.iter().all(|m| m.test.is_none()));
    assert_eq!(report.warnings, [SeedWarning::Repeated { seed: 1, times: 2 }]);
}

#[test]
fn without_bytes_per_token_only_a_worse_mean_is_decided() {
    let runs = seeds(&[1.10, 1.11, 1.12]);
    let terms = RecordTerms::default();
    let better = compare(&runs, &runs, 0, &Reference::Mean(1.15), None, &terms).unwrap();
    assert_eq!(better.outcome, GateVerdict::Refused { reason: RefusalReason::NoBytesPerToken });
    let worse = compare(&runs, &runs, 0, &Reference::Mean(1.05), None, &terms).unwrap();
    assert_eq!(worse.outcome, GateVerdict::NotBetter);
    assert_eq!(compare(&[], &[], 0, &Reference::Mean(1.05), None, &terms), Err(RefusalReason::NoRuns));
    assert_eq!(compare(&runs, &runs, 0, &Reference::Mean(f64::NAN), None, &terms), Err(RefusalReason::NotFinite));
}
