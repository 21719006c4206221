//! The end of the text, and weights that learn from what was scored.

use golf_harness::manifest::{self, EvalConfig, FrozenParts, TttConfig};
use serde_json::Value;

use super::workshop::{Workshop, essence};

/// A folder whose manifest has test-time training: 520 predictions in 6 chunks, two steps an epoch.
fn learning(change: impl FnOnce(&mut TttConfig)) -> Workshop {
    let workshop = Workshop::new();
    let mut ttt =
        TttConfig { chunk_tokens: 100, learning_rate: 0.05, epochs: 2, sequences_per_step: 2, ..TttConfig::default() };
    change(&mut ttt);
    set_eval(&workshop, |eval| eval.ttt = Some(ttt));
    workshop
}

fn set_eval(workshop: &Workshop, change: impl FnOnce(&mut EvalConfig)) {
    let path = workshop.path("run/manifest.yaml");
    let mut manifest = manifest::load(&path).unwrap();
    change(&mut manifest.eval);
    manifest::save(&manifest, &path).unwrap();
}

fn exact<'a>(report: &'a Value, label: &str) -> &'a Value {
    &report["scores"][label]["total_nats_exact"]
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

fn lines(workshop: &Workshop, name: &str) -> Vec<Value> {
    let text = String::from_utf8(workshop.bytes(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn without_a_rate_the_score_is_the_plain_one_to_the_bit() {
    let workshop = learning(|ttt| ttt.learning_rate = 0.0);
    let report = workshop.json(&["--nll-out", "a.f32"]);
    let plain = workshop.json(&["--no-ttt", "--nll-out", "b.f32"]);
    assert_eq!(report["headline"], "packed/sliding-ttt");
    assert_eq!(exact(&report, "packed/sliding-ttt"), exact(&plain, "packed/sliding"));
    assert_eq!(exact(&report, "packed/non-overlapping"), exact(&plain, "packed/non-overlapping"));
    assert_eq!(workshop.bytes("a.f32"), workshop.bytes("b.f32"));
    assert_eq!(report["settings"]["ttt"]["epochs"], 2);
}

#[test]
fn threads_and_batches_change_no_bit_and_the_trace_tells_what_happened() {
    let workshop = learning(|_| ());
    let report = workshop.json(&["--sliding", "--threads", "1", "--nll-out", "nll.f32"]);
    let other = ["--sliding", "--threads", "2", "--batch-windows", "3", "--ttt-trace", "other.jsonl"];
    assert_eq!(essence(workshop.json(&other)), essence(report.clone()));
    assert_eq!(workshop.bytes("run/score-ttt-trace.jsonl"), workshop.bytes("other.jsonl"));

    let plain = workshop.json(&["--sliding", "--no-ttt", "--nll-out", "plain.f32"]);
    assert_ne!(exact(&report, "packed/sliding-ttt"), exact(&plain, "packed/sliding"));
    let (learned, plain) = (floats(&workshop.bytes("nll.f32")), floats(&workshop.bytes("plain.f32")));
    // The window that begins to score at prediction 96 is the last of the first chunk.
    assert_eq!(learned[..104], plain[..104]);
    assert!(learned[104..].iter().zip(&plain[104..]).all(|(a, b)| a != b));

    let trace = lines(&workshop, "run/score-ttt-trace.jsonl");
    let event = |line: &Value| line.as_object().unwrap().keys().find(|key| *key != "schema").unwrap().clone();
    let events: Vec<String> = trace.iter().map(event).collect();
    let chunk = ["scored", "learned"];
    assert_eq!(events, [&["start"][..], &chunk.repeat(5), &["scored", "total"]].concat());
    let (first, then) = (&trace[1]["scored"], &trace[2]["learned"]);
    assert_eq!((&first["targets"]["first"], &first["targets"]["last"]), (&1.into(), &104.into()));
    // Three sequences of 32 fit into 100 predictions: two steps in each of two epochs.
    assert_eq!(
        (&then["targets"]["first"], &then["targets"]["last"], &then["steps"]),
        (&1.into(), &96.into(), &4.into())
    );
    assert_eq!((&then["learning_rate"], &first["tokens"]), (&0.05.into(), &104.into()));
    let sum = |nll: &[f32]| nll.iter().map(|&nats| f64::from(nats)).sum::<f64>();
    assert!((first["total_nats"].as_f64().unwrap() - sum(&learned[..104])).abs() < 1e-9);
    let total = &trace.last().unwrap()["total"];
    assert_eq!((&total["tokens"], &total["total_nats_exact"]), (&520.into(), exact(&report, "packed/sliding-ttt")));
    let checked =
        workshop.command(&["check-trace", "run/score-ttt-trace.jsonl"]).assert().success().get_output().stdout.clone();
    let checked = String::from_utf8(checked).unwrap();
    assert!(checked.contains("6 chunks scored and 5 learned from in 1 pass"), "{checked}");
}

#[test]
fn a_trace_in_another_order_or_with_other_numbers_is_refused() {
    let workshop = learning(|_| ());
    workshop.json(&["--sliding"]);
    let text = String::from_utf8(workshop.bytes("run/score-ttt-trace.jsonl")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let swapped = |a: usize, b: usize| {
        let mut lines = lines.clone();
        lines.swap(a, b);
        lines.join("\n") + "\n"
    };
    let edited = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    };
    for (forged, code, expected) in [
        // A chunk learned from before it is scored, at once and later.
        (swapped(1, 2), 1, ":2: tokens 1 to 96 would be learned from, and only those up to 0 are scored"),
        (swapped(3, 4), 1, ":4: tokens 101 to 196 would be learned from, and only those up to 104 are scored"),
        (
            edited("\"targets\":{\"first\":1,\"last\":96}", "\"targets\":{\"first\":1,\"last\":105}"),
            1,
            "no token may be",
        ),
        (swapped(3, 5), 1, "are scored where token 105 comes next"),
        (
            edited("\"targets\":{\"first\":1,\"last\":96}", "\"targets\":{\"first\":1,\"last\":64}"),
            1,
            ":3: chunk 0: learned",
        ),
        (
            edited("\"learning_rate\":0.05,\"epochs\":2,\"steps\"", "\"learning_rate\":0.06,\"epochs\":2,\"steps\""),
            1,
            "0.06",
        ),
        (edited("\"tokens\":104", "\"tokens\":103"), 1, ":2: chunk 0"),
        (lines[..lines.len() - 1].join("\n"), 1, "ends before its pass is over"),
        (lines[1..].join("\n"), 1, ":1: no pass has begun"),
        (edited("ttt-trace/v1", "ttt-trace/v9"), 2, "schema `golf-harness/ttt-trace/v9`"),
        (edited("\"learned\":", "\"forgot\":"), 2, ":3: not a line of a trace"),
        (String::new(), 1, "ends before its pass is over"),
    ] {
        workshop.write("forged.jsonl", &forged);
        let output = workshop.command(&["check-trace", "forged.jsonl"]).assert().code(code).get_output().clone();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let message = workshop.fails(&["check-trace", "absent.jsonl"], 2);
    assert!(message.contains("absent.jsonl"), "{message}");
}

#[test]
fn what_needs_weights_that_stay_is_refused() {
    let workshop = learning(|_| ());
    for (flags, what) in [
        (&["--shard", "1/2", "-o", "part.json"][..], "a part of the windows"),
        (&["--sample", "30"], "a sample of the windows"),
        (&["--until-decided", "3.0"], "a sample of the windows"),
        (&["--probe"], "a probe"),
    ] {
        let message = workshop.fails(&[&["run/manifest.yaml"], flags].concat(), 2);
        assert!(message.contains(what) && message.contains("--no-ttt"), "{flags:?}: {message}");
        workshop.command(&[&["run/manifest.yaml", "--no-ttt", "-q"], flags].concat()).assert().code(
            // The claim is far off.
            if flags[0] == "--until-decided" { 1 } else { 0 },
        );
    }
    let message = workshop.fails(&["run/manifest.yaml", "--precision", "bf16", "--sliding"], 2);
    assert!(message.contains("trains in single precision on the processor"), "{message}");
    let message = workshop.fails(&["run/manifest.yaml", "--non-overlapping", "--ttt-trace", "t.jsonl"], 2);
    assert!(message.contains("--ttt-trace is for sliding windows"), "{message}");
    workshop.write("mine.jsonl", "{\"scored\":1}\n");
    let message = workshop.fails(&["run/manifest.yaml", "--ttt-trace", "mine.jsonl"], 2);
    assert!(message.contains("not made by this command"), "{message}");
    let message = workshop.fails(&["run/manifest.yaml", "--set", "eval.ttt.chunk_tokens=31"], 2);
    assert!(message.contains("eval.ttt.chunk_tokens: 31 is outside eval.seq_len (32)"), "{message}");
}

#[test]
fn both_engines_learn_alike_and_frozen_blocks_learn_otherwise() {
    let workshop = learning(|_| ());
    let bpb = |flags: &[&str]| {
        let report = workshop.json(&[&["--sliding"], flags].concat());
        report["scores"]["packed/sliding-ttt"]["val_bpb"].as_f64().unwrap()
    };
    let (kernels, dfdx) = (bpb(&["--engine", "both"]), bpb(&["--engine", "dfdx"]));
    assert!((kernels - dfdx).abs() < 1e-5, "{kernels} {dfdx}");
    let mut found = vec![kernels];
    for (freeze_blocks, frozen) in [(1, FrozenParts::All), (1, FrozenParts::Vectors), (2, FrozenParts::All)] {
        set_eval(&workshop, |eval| {
            let ttt = eval.ttt.as_mut().unwrap();
            (ttt.freeze_blocks, ttt.frozen) = (freeze_blocks, frozen);
        });
        found.push(bpb(&[]));
    }
    assert!((0..4).all(|a| (0..a).all(|b| found[a] != found[b])), "{found:?}");
}

#[test]
fn learning_from_it_lowers_the_loss_of_a_text_that_repeats_itself() {
    let workshop = learning(|ttt| ttt.epochs = 4);
    let shard = workshop.path("data/tiny_val_000000.bin");
    let tokens: Vec<u16> = (0..331).map(|i| 40 + i % 7).collect();
    golf_harness::data::write_shard(&shard, &tokens).unwrap();
    golf_harness::data::write_shard(&workshop.path("data/tiny_val_000001.bin"), &tokens[..190]).unwrap();
    let loss = |flags: &[&str], label: &str| {
        workshop.json(&[&["--sliding"], flags].concat())["scores"][label]["val_loss"].as_f64().unwrap()
    };
    let (plain, learned) = (loss(&["--no-ttt"], "packed/sliding"), loss(&[], "packed/sliding-ttt"));
    assert!(learned < plain - 0.5, "{learned} after {plain}");
}

#[test]
fn a_trace_without_a_place_goes_to_a_run_folder_and_not_to_the_current_one() {
    let workshop = learning(|_| ());
    let here = workshop.files();
    workshop.json(&["--sliding"]);
    let mut expected = [here, vec!["score-ttt-trace.jsonl".into()]].concat();
    expected.sort();
    assert_eq!(workshop.files(), expected);
    assert!(workshop.path("run/score-ttt-trace.jsonl").exists());
    // A recipe that no run wrote; what is switched on from outside has the settings given.
    let flags = ["recipe.yaml", "--artifact", "run/model.golf", "--sliding", "--json", "--set", "eval.ttt=1"];
    let more = ["--set", "eval.ttt.chunk_tokens=100", "--set", "eval.ttt.epochs=1"];
    let report = super::workshop::json(&mut workshop.command(&[&flags[..], &more].concat()));
    assert_eq!(report["settings"]["ttt"]["chunk_tokens"], 100);
    assert_eq!(lines(&workshop, "runs/tiny/score-ttt-trace.jsonl")[2]["learned"]["epochs"], 1);
    let off = workshop.json(&["--sliding", "--set", "eval.ttt=0"]);
    assert_eq!(off["headline"], "packed/sliding");
}

#[test]
fn the_scripts_variables_switch_and_set_it() {
    let workshop = Workshop::new();
    let run = |variables: &[(&str, &str)]| {
        let mut command = workshop.command(&["run/manifest.yaml", "--sliding", "--json"]);
        super::workshop::json(command.envs(variables.iter().copied()))
    };
    assert_eq!(run(&[("TTT_LR", "0.05")])["headline"], "packed/sliding");
    let all = [("TTT_ENABLED", "1"), ("TTT_LR", "0.05"), ("TTT_CHUNK_TOKENS", "100"), ("TTT_GRAD_CLIP", "0.5")];
    let learned = run(&all);
    assert_eq!(learned["headline"], "packed/sliding-ttt");
    let ttt = &learned["settings"]["ttt"];
    assert_eq!((&ttt["learning_rate"], &ttt["chunk_tokens"], &ttt["clip"]), (&0.05.into(), &100.into(), &0.5.into()));
}

#[test]
fn a_learned_score_is_recorded_under_its_own_name() {
    let workshop = learning(|_| ());
    workshop.command(&["run/manifest.yaml", "--record", "-q"]).assert().success();
    let manifest = manifest::load(&workshop.path("run/manifest.yaml")).unwrap();
    let labels: Vec<&str> = manifest.results.scores.keys().map(String::as_str).collect();
    assert_eq!(labels, ["packed/non-overlapping", "packed/sliding-ttt"]);
    let message = workshop.fails(&["run/manifest.yaml", "--record", "--no-ttt"], 2);
    assert!(message.contains("eval was changed from outside"), "{message}");
}

#[test]
fn the_end_of_the_text_counts_as_the_scripts_count_it() {
    let workshop = Workshop::new();
    let tail = ["--sliding", "--set", "eval.tail=as-script"];
    let once = workshop.json(&["--sliding", "--nll-out", "once.f32"]);
    let again = workshop.json(&[&tail[..], &["--nll-out", "again.f32"]].concat());
    let [once_nll, again_nll] = ["once.f32", "again.f32"].map(|name| floats(&workshop.bytes(name)));
    // Of 520 predictions in windows of 32 every 8 those from 496, 504 and 512 on are cut, and score the last 8 again.
    assert_eq!((once_nll.len(), again_nll.len()), (520, 544));
    assert_eq!(again_nll[..520], once_nll[..]);
    let (score, plain) = (&again["scores"]["packed/sliding"], &once["scores"]["packed/sliding"]);
    assert_eq!((&score["tokens"], &score["windows"]), (&544.into(), &65.into()));
    let total: f64 = again_nll.iter().map(|&nats| f64::from(nats)).sum();
    assert!((score["total_nats"].as_f64().unwrap() - total).abs() < 1e-9);
    assert_eq!(again["settings"]["tail"], "as-script");
    assert!(once["settings"].get("tail").is_none());
    // Bytes count as often as tokens: the last window's three times more.
    let last = workshop.json(&["--sliding", "--max-tokens", "513"]);
    let bytes = |score: &Value| score["bytes"].as_u64().unwrap();
    let of_last = bytes(plain) - bytes(&last["scores"]["packed/sliding"]);
    assert_eq!(bytes(score), bytes(plain) + 3 * of_last);

    let text = super::workshop::stdout(&mut workshop.command(&[&["run/manifest.yaml"], &tail[..]].concat()));
    assert!(text.contains("score their last 8 targets again, as the script does: 544 are summed"), "{text}");
    for index in 1..=3 {
        let (shard, name) = (format!("{index}/3"), format!("{index}.json"));
        workshop.json(&[&tail[..], &["--shard", &shard, "-o", &name]].concat());
    }
    let merged = super::workshop::json(&mut workshop.command(&["merge", "1.json", "2.json", "3.json", "--json"]));
    assert_eq!(exact(&merged, "packed/sliding"), &score["total_nats_exact"]);
    let all = workshop.json(&[&tail[..], &["--sample", "100"]].concat());
    assert_eq!(all["val_bpb"]["estimate"].as_f64(), score["val_bpb"].as_f64());

    for flags in [&["--probe"][..], &["--plot", "a.svg"]] {
        let message = workshop.fails(&[&["run/manifest.yaml"], &tail[..], flags].concat(), 2);
        assert!(message.contains("use --set eval.tail=once"), "{message}");
    }
}

#[test]
fn whole_windows_are_all_that_is_read() {
    let workshop = Workshop::new();
    let report = workshop.json(&["--set", "eval.whole_windows=true"]);
    // 520 predictions fill 16 windows of 32.
    assert_eq!(report["settings"]["tokens"], 513);
    assert_eq!(report["scores"]["packed/sliding"]["tokens"], 512);
    assert_eq!(report["subset"], Value::Null);
    let subset = workshop.json(&["--max-tokens", "513"]);
    assert_eq!(exact(&report, "packed/sliding"), exact(&subset, "packed/sliding"));
}
