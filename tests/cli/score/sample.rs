//! `score --sample` and `score --until-decided`.

use golf_harness::manifest::{self, ClaimedNumber, Program, ProgramName};
use serde_json::Value;

use super::workshop::{Workshop, json, stdout};
use crate::support::golf;

/// Windows of 32 every 2 over 521 tokens: 1 + (520 - 32) / 2 of them.
const WINDOWS: u64 = 245;
const MANY: [&str; 3] = ["run/manifest.yaml", "--stride", "2"];

fn run(workshop: &Workshop, flags: &[&str]) -> Value {
    json(&mut workshop.command(&[&MANY[..], &["--json"], flags].concat()))
}

/// What must not depend on how the work was done.
fn essence(mut report: Value) -> Value {
    for key in ["run", "outlook", "processors", "cross_check"] {
        report.as_object_mut().unwrap().remove(key).unwrap();
    }
    report
}

#[test]
fn a_sample_depends_on_seed_and_size_alone() {
    let workshop = Workshop::new();
    let report = run(&workshop, &["--sample", "40", "--seed", "7"]);
    assert_eq!(report["schema"], "golf-harness/score-sample/v1");
    assert_eq!((&report["complete"], &report["sample"]["windows"]), (&false.into(), &40.into()));
    assert_eq!((report["sample"]["of"].as_u64(), report["sample"]["seed"].as_u64()), (Some(WINDOWS), Some(7)));
    for flags in
        [&["--threads", "1"][..], &["--batch-windows", "1"], &["--batch-windows", "1000"], &["--engine", "both"]]
    {
        let other = run(&workshop, &[&["--sample", "40", "--seed", "7"], flags].concat());
        if flags[0] != "--engine" {
            assert_eq!(essence(other.clone()), essence(report.clone()), "{flags:?}");
        }
        assert_eq!(other["val_bpb"], report["val_bpb"], "{flags:?}");
    }
    assert_ne!(run(&workshop, &["--sample", "40", "--seed", "8"])["val_bpb"], report["val_bpb"]);

    // Tokens and bytes are those of the whole split, and the true value is not far.
    let full = &workshop.json(&["--stride", "2", "--sliding"])["scores"]["packed/sliding"];
    assert_eq!((&full["tokens"], &full["bytes"]), (&report["tokens"], &report["bytes"]));
    let (estimate, half_width) = (&report["val_bpb"]["estimate"], &report["val_bpb"]["half_width"]);
    let off = (estimate.as_f64().unwrap() - full["val_bpb"].as_f64().unwrap()).abs();
    assert!(off < 3.0 * half_width.as_f64().unwrap(), "{off} {report:#}");
}

#[test]
fn a_sample_of_everything_is_the_score() {
    let workshop = Workshop::new();
    let full = workshop.json(&["--stride", "2", "--sliding"])["scores"]["packed/sliding"].clone();
    let all = run(&workshop, &["--sample", "1000000"]);
    assert_eq!((&all["complete"], &all["sample"]["windows"]), (&true.into(), &WINDOWS.into()));
    assert_eq!((&all["val_bpb"]["estimate"], &all["val_bpb"]["half_width"]), (&full["val_bpb"], &0.0.into()));
    assert_eq!(all["val_loss"]["estimate"], full["val_loss"]);
    let text = stdout(&mut workshop.command(&[&MANY[..], &["--sample", "18446744073709551615"]].concat()));
    assert!(text.starts_with("All 245 windows were scored: no sample"), "{text}");
    // Side by side there are 16 windows, fewer than any sample has.
    let report = workshop.json(&["--sample", "30", "--non-overlapping"]);
    assert_eq!((&report["complete"], &report["label"]), (&true.into(), &"packed/non-overlapping".into()));
}

#[test]
fn parts_of_a_sample_make_the_sample() {
    let workshop = Workshop::new();
    let sample = ["--sample", "50", "--seed", "3", "--claim", "2.5"];
    let whole = workshop.command(&[&MANY[..], &["--json"], &sample].concat()).output().unwrap();
    let whole: Value = serde_json::from_slice(&whole.stdout).unwrap();
    let part = |shard: &str, name: &str, flags: &[&str]| {
        let args = [&MANY[..], &["--shard", shard, "-o", name, "--quiet"], flags].concat();
        workshop.command(&args).assert().success();
    };
    for (shard, name) in [("1/3", "1.json"), ("2/3", "2.json"), ("3/3", "3.json")] {
        part(shard, name, &sample);
    }
    let merged = workshop.command(&["merge", "3.json", "1.json", "2.json", "--json"]).output().unwrap();
    let merged: Value = serde_json::from_slice(&merged.stdout).unwrap();
    assert_eq!(essence(merged), essence(whole));
    // Made anew without --force: it is known for a part.
    part("1/3", "1.json", &sample);

    part("3/3", "seed.json", &["--sample", "50", "--seed", "4", "--claim", "2.5"]);
    part("3/3", "size.json", &["--sample", "51", "--seed", "3", "--claim", "2.5"]);
    part("3/3", "claim.json", &["--sample", "50", "--seed", "3", "--claim", "2.6"]);
    part("3/3", "full.json", &[]);
    let three = String::from_utf8(workshop.bytes("3.json")).unwrap();
    let edit = |name: &str, from: &str, to: &str| {
        let edited = three.replacen(from, to, 1);
        assert_ne!(edited, three, "{from}");
        workshop.write(name, &edited);
    };
    let part: Value = serde_json::from_str(&three).unwrap();
    let first = part["windows"][0].to_string();
    edit("window.json", &first, "[1,2.0,[3.0,4.0,5.0,6.0]]");
    edit("nats.json", &first, &first.replace(&part["windows"][0][1].to_string(), "1.5"));
    edit("huge.json", "\"size\":50", "\"size\":18446744073709551615");
    for (third, expected) in [
        ("seed.json", "seed: 3 against 4"),
        ("size.json", "size of the sample: 50 against 51"),
        ("claim.json", "claim: 2.5 against 2.6"),
        ("full.json", "this version reads `golf-harness/score-sample-part/v1`"),
        ("window.json", "not those that seed and part give"),
        ("nats.json", "where their sum is"),
        ("huge.json", "size of the sample"),
        ("2.json", "are both part 2/3"),
    ] {
        let message = workshop.fails(&["merge", "1.json", "2.json", third], 2);
        assert!(
            message.contains(expected) || third == "full.json" && message.contains("is not a part record"),
            "{message}"
        );
    }
    assert!(workshop.fails(&["merge", "1.json", "2.json"], 2).contains("part 3/3 is missing"));
    assert!(workshop.fails(&["merge", "full.json", "1.json"], 2).contains("is not a part record"));
}

#[test]
fn a_claim_is_held_against_the_interval_and_tested() {
    let workshop = Workshop::new();
    let full = workshop.json(&["--stride", "2", "--sliding"])["scores"]["packed/sliding"]["val_bpb"].as_f64().unwrap();
    let (right, wrong) = (format!("{full:.4}"), format!("{:.4}", full * 2.0));
    let test = |claim: &str, code: i32| {
        let flags = ["--json", "--until-decided", claim, "--within", "0.05", "--sample", "30", "--seed", "1"];
        let output = workshop.command(&[&MANY[..], &flags].concat()).assert().code(code).get_output().clone();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let accepted = test(&right, 0);
    assert_eq!(accepted["test"]["decision"], "accepted", "{accepted:#}");
    let rejected = test(&wrong, 1);
    assert_eq!(rejected["test"]["decision"], "rejected", "{rejected:#}");
    assert_eq!(rejected["test"]["looks"].as_array().unwrap().len(), 1);
    assert_eq!(rejected["sample"]["windows"], 30);
    assert_eq!(rejected["claim"]["source"], "flag");

    // Nothing but the true value is near enough: all windows are scored, which decides.
    let flags = ["--until-decided", &right, "--within", "0", "--json"];
    let exact = json(&mut workshop.command(&[&MANY[..], &flags].concat()));
    assert_eq!((&exact["complete"], &exact["test"]["decision"]), (&true.into(), &"accepted".into()));

    let output = workshop.command(&[&MANY[..], &["--sample", "60", "--claim", &wrong, "--quiet"]].concat());
    let mut output = output;
    let text = output.assert().code(1).get_output().stdout.clone();
    assert!(String::from_utf8(text).unwrap().trim_end().ends_with("claim:outside"));
    let markdown = stdout(&mut workshop.command(&[&MANY[..], &["--sample", "60", "--markdown"]].concat()));
    assert!(
        markdown.starts_with("**Sample of 60 of 245 windows, seed 0") && markdown.contains("| val_loss | val_bpb |")
    );
}

#[test]
fn flags_that_make_no_sample_are_refused() {
    let workshop = Workshop::new();
    for (flags, expected) in [
        (&["--sample", "0"][..], "must be 30 or more"),
        (&["--sample", "-3"], "must be 30 or more"),
        (&["--sample", "1.5"], "must be a whole number, 30 or more"),
        (&["--sample", "40", "--seed", "x"], "--seed"),
        (&["--seed", "1"], "--seed is for --sample or --until-decided"),
        (&["--claim", "1"], "--claim is for --sample or --until-decided"),
        (&["--markdown"], "--markdown is for --sample or --until-decided"),
        (&["--sample", "40", "--claim", "x"], "is not a finite decimal number"),
        (&["--until-decided", "inf"], "is not a finite decimal number"),
        (&["--until-decided", "-1"], "must be 0 or more"),
        (&["--within", "0.1"], "--until-decided"),
        (&["--until-decided", "1", "--within", "nan"], "must be a number, 0 or more"),
        (&["--until-decided", "1", "--shard", "1/2"], "cannot be used with"),
        (&["--sample", "40", "--probe"], "cannot be used with"),
        (&["--sample", "40", "--nll-out", "x.f32"], "cannot be used with"),
        (&["--sample", "40", "--checkpoint", "weights.safetensors"], "one form of the weights"),
        (&["--sample", "40", "--record"], "eval was changed from outside"),
    ] {
        let message = workshop.fails(&[&MANY[..], flags].concat(), 2);
        assert!(message.contains(expected), "{flags:?}: {message}");
    }
    let message = workshop.fails(&["run/manifest.yaml", "--sample", "40", "--non-overlapping", "--seq-len", "600"], 2);
    assert!(message.contains("nothing was scored"), "{message}");
}

/// A sample is recorded beside the scores: `verify` shows it as what it is, and it reaches no level.
#[test]
fn a_recorded_sample_is_no_score() {
    let workshop = Workshop::new();
    let report = workshop.json(&["--sample", "40", "--record", "--seed", "5"]);
    let path = workshop.path("run/manifest.yaml");
    let mut manifest = manifest::load(&path).unwrap();
    assert!(manifest.results.scores.is_empty());
    let sample = manifest.results.samples["packed/sliding"].clone();
    assert_eq!((sample.windows, sample.of, sample.seed), (40, 62, 5));
    assert_eq!(Some(sample.val_bpb.0), report["val_bpb"]["estimate"].as_f64());
    assert_eq!(Some(sample.val_bpb_high.0), report["val_bpb"]["high"].as_f64());
    manifest.claim.metrics.val_bpb = Some(ClaimedNumber::parse(&format!("{:.2}", sample.val_bpb.0)).unwrap());
    manifest.program = Some(Program { name: ProgramName::GolfHarness, source: None }.as_built_here());
    manifest::save(&manifest, &path).unwrap();
    let audit = json(golf("verify").current_dir(workshop.folder()).args(["run/manifest.yaml", "--json"]));
    let assurance = &audit["reports"][0]["assurance"];
    assert_eq!(assurance["level"], "sealed", "{audit:#}");
    let next = assurance["next_needs"][0].as_str().unwrap();
    assert!(next.contains("recorded, not recomputed: rescored (sample of 40 of 62 windows): val_bpb "), "{next}");
}
