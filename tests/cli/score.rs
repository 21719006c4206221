//! `score` on good and bad input.

mod numbers;
mod sample;
mod ttt;
mod workshop;

use std::path::Path;
use std::time::{Duration, Instant};

use golf_harness::data::{Shard, write_shard};
use golf_harness::digest::ContentDigest;
use golf_harness::manifest::{self, ClaimedNumber, CodeFile};
use golf_harness::model::{HostTensor, write_safetensors};
use serde_json::Value;

use self::workshop::{Workshop, json, stdout, weights, without_numbers};
use crate::support::{fixture, golf};

#[test]
fn packed_and_unpacked_stand_side_by_side() {
    let workshop = Workshop::new();
    let args = ["run/manifest.yaml", "--checkpoint", "weights.safetensors"];
    insta::assert_snapshot!(without_numbers(&stdout(&mut workshop.command(&args))));
    let verbose = [&args[..], &["-v", "--engine", "both", "--max-tokens", "300"]].concat();
    insta::assert_snapshot!("verbose", without_numbers(&stdout(&mut workshop.command(&verbose))));

    let report = workshop.json(&["--checkpoint", "weights.safetensors"]);
    let bpb = |label: &str| report["scores"][label]["val_bpb"].as_f64().unwrap();
    for windowing in ["sliding", "non-overlapping"] {
        let gap = bpb(&format!("packed/{windowing}")) - bpb(&format!("checkpoint/{windowing}"));
        assert_eq!(report["quantization_gap"][windowing]["val_bpb"].as_f64(), Some(gap));
        assert!(gap != 0.0);
    }
    assert_eq!(report["headline"], "packed/sliding");
}

#[test]
fn the_losses_of_a_pass_are_drawn_as_they_come_and_from_their_file() {
    let workshop = Workshop::new();
    let report = workshop.json(&["--sliding", "--nll-out", "nll.f32", "--plot", "losses.html"]);
    let page = String::from_utf8(workshop.bytes("losses.html")).unwrap();
    // The page's own sums come to what was published.
    let score = &report["scores"]["packed/sliding"];
    for name in ["val_bpb", "val_loss"] {
        let shown = format!("<b>{:.4}</b>", score[name].as_f64().unwrap());
        assert!(page.contains(&shown), "{name}: {shown} is not in:\n{page}");
    }
    assert!(page.contains("By place in the window"), "{page}");
    // Documents may speak of pages elsewhere; nothing leads there.
    for tag in ["<script", "<img", "<link", " src=", " href=\"http"] {
        assert!(!page.contains(tag), "{tag}: {page}");
    }

    let again = ["run/manifest.yaml", "--sliding", "--from-nll", "nll.f32", "--plot", "again.html"];
    workshop.command(&again).assert().success();
    let again = String::from_utf8(workshop.bytes("again.html")).unwrap();
    assert_eq!(again.replace(", sliding", ", packed/sliding"), page, "nothing is lost on the way through the file");

    workshop.command(&["run/manifest.yaml", "--from-nll", "nll.f32", "--plot", "a.svg", "--quiet"]).assert().success();
    assert!(workshop.bytes("a.svg").starts_with(b"<svg "));
    // Over an earlier plot without a question, over anything else never.
    workshop.command(&["run/manifest.yaml", "--from-nll", "nll.f32", "--plot", "a.svg", "--quiet"]).assert().success();
    workshop.write("mine.svg", "<svg xmlns='x'></svg>");
    let message = workshop.fails(&["run/manifest.yaml", "--from-nll", "nll.f32", "--plot", "mine.svg"], 2);
    assert!(message.contains("not made by this command"), "{message}");
    let message = workshop.fails(&["run/manifest.yaml", "--from-nll", "nll.f32", "--plot", "plot.png"], 2);
    assert!(message.contains("must end in .html or .svg"), "{message}");

    let other = ["run/manifest.yaml", "--non-overlapping", "--from-nll", "nll.f32", "--plot", "b.svg"];
    let message = workshop.fails(&other, 2);
    assert!(message.contains("2080 bytes") && message.contains("non-overlapping"), "{message}");
    std::fs::write(workshop.path("nan.f32"), [[0xff; 4]; 520].concat()).unwrap();
    let message = workshop.fails(&["run/manifest.yaml", "--from-nll", "nan.f32", "--plot", "b.svg"], 2);
    assert!(message.contains("prediction 0") && message.contains("NaN"), "{message}");
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let workshop = Workshop::new();
    let part = |shard: &str, name: &str, flags: &[&str]| {
        workshop.json(&[&["--shard", shard, "-o", name], flags].concat());
    };
    part("1/2", "one.json", &[]);
    part("2/2", "two.json", &[]);
    part("2/3", "third.json", &[]);
    part("2/2", "stride.json", &["--stride", "4"]);
    part("2/2", "sliding.json", &["--sliding"]);
    part("2/2", "engine.json", &["--engine", "dfdx"]);
    part("2/2", "subset.json", &["--max-tokens", "200"]);
    let other = Workshop::new();
    let mut tokens = Shard::open(&other.path("data/tiny_val_000001.bin")).unwrap().read_all().unwrap();
    tokens[5] ^= 1;
    write_shard(&other.path("data/tiny_val_000001.bin"), &tokens).unwrap();
    let elsewhere = workshop.path("elsewhere.json");
    other.json(&["--shard", "2/2", "-o", elsewhere.to_str().unwrap()]);
    let two = String::from_utf8(workshop.bytes("two.json")).unwrap();
    let edit = |name: &str, from: &str, to: &str| {
        let edited = two.replacen(from, to, 1);
        assert_ne!(edited, two, "{from}");
        workshop.write(name, &edited);
    };
    edit("tokens.json", "\"tokens\": 2", "\"tokens\": 1");
    edit("huge.json", "\"tokens\": 521", "\"tokens\": 18446744073709551615");
    edit("schema.json", "score-part/v1", "score-part/v9");
    edit("negative.json", "\"index\": 2", "\"index\": -2");
    edit("extra.json", "\"processor\"", "\"speed\": 1,\n  \"processor\"");
    workshop.write("empty.json", "");

    let mut messages = String::new();
    for second in [
        &[][..],
        &["one.json"],
        &["third.json"],
        &["stride.json"],
        &["sliding.json"],
        &["engine.json"],
        &["subset.json"],
        &["elsewhere.json"],
        &["tokens.json"],
        &["huge.json"],
        &["schema.json"],
        &["negative.json"],
        &["extra.json"],
        &["empty.json"],
        &["missing.json"],
        &["data/tokenizer.model"],
    ] {
        messages += &workshop.fails(&[&["merge", "one.json"], second].concat(), 2);
    }
    insta::assert_snapshot!(without_numbers(&messages));
    workshop.command(&["merge", "one.json", "two.json"]).assert().success();
}

#[test]
fn the_scorer_passes_its_probes() {
    let workshop = Workshop::new();
    let args = ["run/manifest.yaml", "--probe", "--checkpoint", "weights.safetensors"];
    insta::assert_snapshot!(stdout(&mut workshop.command(&args)));
    let report = workshop.json(&["--probe", "--probe-windows", "3", "--engine", "dfdx"]);
    assert_eq!(report["passed"], true);
    let probes = report["passes"][0]["probes"].as_array().unwrap();
    assert_eq!(probes.len(), 6);
    assert!(probes.iter().all(|probe| probe["failures"] == 0 && probe["checks"].as_u64() > Some(0)), "{probes:?}");
}

#[test]
fn flags_win_over_variables_and_these_over_the_manifest() {
    let workshop = Workshop::new();
    let windows = |variables: &[(&str, &str)], flags: &[&str]| {
        let args = [&["run/manifest.yaml", "--json"], flags].concat();
        let report = json(workshop.command(&args).envs(variables.iter().copied()));
        report["scores"]["packed/sliding"]["windows"].as_u64().unwrap()
    };
    let expected = |seq_len: u64, stride: u64| 1 + (520 - seq_len).div_ceil(stride);
    assert_eq!(windows(&[], &[]), expected(32, 8));
    assert_eq!(windows(&[("EVAL_STRIDE", "16"), ("SEED", "not a number")], &[]), expected(32, 16));
    assert_eq!(windows(&[("EVAL_STRIDE", "16")], &["--stride", "4"]), expected(32, 4));
    assert_eq!(windows(&[("EVAL_SEQ_LEN", "16")], &["--set", "eval.stride=2"]), expected(16, 2));
    let moved = workshop.path("moved");
    std::fs::rename(workshop.path("data"), &moved).unwrap();
    let flags = ["--tokenizer-path", "moved/tokenizer.model"];
    assert_eq!(windows(&[("DATA_PATH", "moved")], &flags), expected(32, 8));
}

#[test]
fn a_subset_says_that_it_is_one() {
    let workshop = Workshop::new();
    // The former name of `--non-overlapping` still works.
    let flags = ["run/manifest.yaml", "--plain", "--max-tokens", "100"];
    insta::assert_snapshot!(without_numbers(&stdout(&mut workshop.command(&flags))));
    let report = workshop.json(&["--max-tokens", "100"]);
    assert_eq!(report["subset"]["first_tokens"], 100);
    assert_eq!(report["subset"]["of"], 521);
    assert_eq!(report["scores"]["packed/sliding"]["tokens"], 99);
    // As many as there are is the whole split.
    assert_eq!(workshop.json(&["--max-tokens", "521"])["subset"], Value::Null);
}

#[test]
fn scores_are_recorded_on_request_and_only_where_they_belong() {
    let workshop = Workshop::new();
    let manifest = || manifest::load(&workshop.path("run/manifest.yaml")).unwrap();
    let before = manifest();
    let report = workshop.json(&["--record", "--threads", "1"]);
    let after = manifest();
    assert_eq!(manifest::identity(&after), manifest::identity(&before));
    let labels: Vec<&String> = after.results.scores.keys().collect();
    assert_eq!(labels, ["packed/non-overlapping", "packed/sliding"]);
    let recorded = &after.results.scores["packed/sliding"];
    let reported = &report["scores"]["packed/sliding"];
    assert_eq!(Some(recorded.val_bpb.0), reported["val_bpb"].as_f64());
    assert_eq!((Some(recorded.bytes), recorded.engine.as_str()), (reported["bytes"].as_u64(), "kernels"));

    let mut messages = String::new();
    for flags in [
        &["--stride", "4"][..],
        &["--max-tokens", "100"],
        &["--shard", "1/2"],
        &["--checkpoint", "weights.safetensors"],
        &["--artifact", "other.golf"],
    ] {
        if flags[0] == "--artifact" {
            let pack = ["recipe.yaml", "--checkpoint", "weights.safetensors", "--prune", "0.5", "-o", "other.golf"];
            golf("pack").current_dir(workshop.folder()).args(pack).assert().success();
        }
        messages += &workshop.fails(&[&["run/manifest.yaml", "--record"], flags].concat(), 2);
    }
    insta::assert_snapshot!(without_numbers(&messages));
    assert_eq!(manifest(), after);
}

#[test]
fn a_manifest_that_a_person_wrote_is_not_written_anew() {
    let workshop = Workshop::new();
    let path = workshop.path("run/manifest.yaml");
    let by_hand = format!("# mine\n{}", std::fs::read_to_string(&path).unwrap());
    std::fs::write(&path, &by_hand).unwrap();
    let message = workshop.fails(&["run/manifest.yaml", "--record"], 2);
    assert!(message.contains("without comments"), "{message}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), by_hand);
    workshop.json(&["--record", "--force", "--non-overlapping"]);
    assert!(manifest::load(&path).unwrap().results.scores.contains_key("packed/non-overlapping"));
    assert!(workshop.fails(&["run/manifest.yaml", "--probe", "--probe-windows", "0"], 2).contains("must be 1 or more"));
}

/// Something done to a workshop, and the arguments that run into it.
type BadInput = (fn(&Workshop), &'static [&'static str]);

#[test]
fn bad_input_is_named() {
    let bad_inputs: [BadInput; 26] = [
        (|_| (), &[]),
        (|_| (), &["run"]),
        (|_| (), &["absent.yaml"]),
        (|_| (), &["recipe.yaml"]),
        (|_| (), &["run/manifest.yaml", "--stride", "0"]),
        (|_| (), &["run/manifest.yaml", "--stride", "33"]),
        (|_| (), &["run/manifest.yaml", "--shard", "3/2"]),
        (|_| (), &["run/manifest.yaml", "--threads", "0"]),
        (|_| (), &["run/manifest.yaml", "--non-overlapping", "--sliding"]),
        (|_| (), &["run/manifest.yaml", "--set", "schedule.seed=1"]),
        (|_| (), &["run/manifest.yaml", "--nll-out", "weights.safetensors/nll.f32"]),
        (|_| (), &["run/manifest.yaml", "--nll-out", "data"]),
        (|_| (), &["run/manifest.yaml", "--shard", "1/2", "-o", "data"]),
        (|_| (), &["run/manifest.yaml", "--checkpoint", "absent.safetensors"]),
        (|_| (), &["run/manifest.yaml", "--non-overlapping", "--seq-len", "600"]),
        (|w| drop(std::fs::remove_file(w.path("run/model.golf"))), &["run/manifest.yaml"]),
        (|w| cut(&w.path("run/model.golf"), 1000), &["run/manifest.yaml"]),
        (|w| cut(&w.path("run/model.golf"), 1000), &["run/manifest.yaml", "--artifact", "run/model.golf"]),
        (|w| cut(&w.path("weights.safetensors"), 1000), &["recipe.yaml", "--checkpoint", "weights.safetensors"]),
        (|w| poison(w), &["recipe.yaml", "--checkpoint", "weights.safetensors"]),
        (|w| overflow(w), &["recipe.yaml", "--checkpoint", "weights.safetensors"]),
        (|_| (), &["run/manifest.yaml", "--set", "model.num_layers=3"]),
        (|_| (), &["run/manifest.yaml", "--set", "model.vocab_size=512"]),
        (|w| w.write("data/tokenizer.model", "no model"), &["run/manifest.yaml"]),
        (|w| drop(write_shard(&w.path("data/tiny_val_000001.bin"), &[1, 1024])), &["run/manifest.yaml"]),
        (|w| leave_one_token(w), &["run/manifest.yaml"]),
    ];
    let mut messages = String::new();
    for (damage, args) in bad_inputs {
        let workshop = Workshop::new();
        damage(&workshop);
        messages += &format!("$ score {}\n{}\n", args.join(" "), workshop.fails(args, 2));
    }
    insta::assert_snapshot!(without_numbers(&messages));
}

fn cut(path: &Path, bytes: usize) {
    let content = std::fs::read(path).unwrap();
    std::fs::write(path, &content[..bytes]).unwrap();
}

/// One NaN among the weights.
fn poison(workshop: &Workshop) {
    let mut params = weights();
    params.get_mut("blocks.1.mlp.fc.weight").unwrap().data_mut()[17] = f32::NAN;
    write_safetensors(&workshop.path("weights.safetensors"), &params).unwrap();
}

/// Finite weights whose products are not.
fn overflow(workshop: &Workshop) {
    let mut params = weights();
    let tensor = params.get_mut("blocks.0.mlp.fc.weight").unwrap();
    *tensor = HostTensor::full(tensor.shape(), 1e30);
    write_safetensors(&workshop.path("weights.safetensors"), &params).unwrap();
}

fn leave_one_token(workshop: &Workshop) {
    std::fs::remove_file(workshop.path("data/tiny_val_000001.bin")).unwrap();
    write_shard(&workshop.path("data/tiny_val_000000.bin"), &[1]).unwrap();
}

#[test]
fn an_interrupted_run_leaves_nothing_behind() {
    let workshop = Workshop::new();
    std::fs::copy(fixture("smoke/smoke_val_000000.bin"), workshop.path("data/tiny_val_000002.bin")).unwrap();
    workshop.write("nll.f32", "an older file");
    let before = workshop.files();
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("score"))
        .current_dir(workshop.folder())
        .args(["run/manifest.yaml", "--stride", "1", "--engine", "dfdx", "--force", "--nll-out", "nll.f32"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // The temporary file appears once all inputs are open; from there on it takes minutes.
    let deadline = Instant::now() + Duration::from_secs(120);
    while workshop.files() == before {
        assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(10));
    }
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("error: interrupted"));
    assert_eq!(workshop.files(), before);
    assert_eq!(workshop.bytes("nll.f32"), b"an older file");
}

/// Whoever writes a manifest writes its results: only a process that computed them may speak of more than `sealed`.
#[test]
fn recorded_results_are_claims_to_verify() {
    let workshop = Workshop::new();
    workshop.json(&["--record"]);
    let path = workshop.path("run/manifest.yaml");
    let mut manifest = manifest::load(&path).unwrap();
    std::fs::write(workshop.path("run/train_gpt.py"), "print()\n").unwrap();
    let digest = ContentDigest::of(b"print()\n");
    let code = CodeFile {
        path: "train_gpt.py".into(),
        bytes: digest.bytes,
        sha256: Some(digest.sha256),
        blake3: None,
        url: None,
    };
    manifest.code = vec![code];
    let claimed = format!("{:.4}", manifest.results.scores["packed/sliding"].val_bpb.0);
    manifest.claim.metrics.val_bpb = Some(ClaimedNumber::parse(&claimed).unwrap());
    manifest::save(&manifest, &path).unwrap();
    let mut verify = golf("verify");
    let report = json(verify.current_dir(workshop.folder()).args(["run/manifest.yaml", "--json"]));
    let assurance = &report["reports"][0]["assurance"];
    assert_eq!(assurance["level"], "sealed", "{report:#}");
    let next = assurance["next_needs"][0].as_str().unwrap();
    assert!(next.contains("recorded, not recomputed: val_bpb") && next.contains("by engine kernels"), "{next}");
}
