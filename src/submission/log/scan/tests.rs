//! Lines of real logs, and lines written to try one fact each.

use super::*;
use crate::submission::log::SizeKind;

fn scan(text: &str) -> LogFile {
    let mut scanner = LogScanner::new("train.log".into());
    scanner.feed(text.as_bytes());
    scanner.finish(false)
}

/// The last lines of PR #286's log.
const TAIL: &str = "seed:1337\nworld_size:8 grad_accum_steps:1\n\
    val_loader:shards pattern=./data/fineweb_val_*.bin tokens:62021845\n\
    step:4354/20000 val_loss:2.0105 val_bpb:1.1907 train_time:601991ms step_avg:138.26ms\n\
    stopping_early: wallclock_cap train_time:601991ms step:4354/20000\n\
    Serialized model: 96864555 bytes\nCode size: 56721 bytes\nTotal submission size: 96921276 bytes\n\
    Serialized model mixed-int5int6+zstd: 15425120 bytes\nTotal submission size mixed-int5int6: 15481841 bytes\n\
    final_mixed_int5int6_roundtrip val_loss:1.9634 val_bpb:1.1628 eval_time:170665ms\n\
    final_mixed_int5int6_roundtrip_exact val_loss:1.96338430 val_bpb:1.16282670\n";

#[test]
fn pr_286_is_read_as_a_person_reads_it() {
    let log = scan(TAIL);
    assert_eq!(log.seed(), Some(1337));
    assert_eq!(log.world_size.as_ref().unwrap().value, 8);
    assert_eq!(log.val_tokens[0].value, 62_021_845);
    assert_eq!(log.train_seconds.as_ref().unwrap().value, 601.991);
    assert_eq!(log.sizes_of(SizeKind::Total).map(|s| s.bytes).collect::<Vec<_>>(), [15_481_841]);
    assert_eq!(log.sizes_of(SizeKind::Model).map(|s| s.bytes).collect::<Vec<_>>(), [15_425_120]);
    assert_eq!(log.sizes_of(SizeKind::Code).map(|s| s.bytes).collect::<Vec<_>>(), [56_721]);
    let last = log.last_final().unwrap();
    assert_eq!((last.bpb, last.loss, last.line), (1.162_826_70, Some(1.963_384_30), 12));
    assert_eq!(log.finals().count(), 2);
    assert_eq!(log.eval_times[0].seconds, 170.665);
}

#[test]
fn running_and_pre_quantization_values_are_no_results() {
    let log = scan(
        "ttt_chunk [1/1893] bpb=1.731706 time=0.5s\npre-quantization post-ema val_loss:1.97 val_bpb:1.17158907\n\
         quant_gap: 0.012894 BPB (pre:1.16)\nstep:0/20000 val_loss:6.93 val_bpb:4.1077 train_time:0ms\n",
    );
    assert_eq!(log.finals().count(), 0);
    assert_eq!(log.metrics.len(), 3);
}

#[test]
fn every_fact_has_its_line() {
    let log = scan(
        "world_size:8\nworld_size:4\nSEED=7\nspinquant seed:1\nrank_sweep seed:2\nval_tokens:100\nval tokens: 5\n\
         tokens:9\ntrain_shards:80 x\ntokenizer_path=./a.model\nsp=b.model\nartifact_production_wallclock: 5s\n\
         artifact_production_wallclock: 6 minutes\ntl:2.0\ntt:3.5s\ntrain_time:2500ms\n\
         Stopping: cap\ngptq:using validation data for calibration\n",
    );
    let noted = |noted: &Option<Noted<u64>>| noted.as_ref().map(|noted| (noted.line, noted.value));
    assert_eq!((noted(&log.world_size), noted(&log.train_shards)), (Some((1, 8)), Some((9, 80))));
    assert_eq!(log.seeds, [Noted { line: 3, value: 7 }]);
    assert_eq!(log.val_tokens, [Noted { line: 6, value: 100 }, Noted { line: 7, value: 5 }]);
    assert_eq!(log.tokenizer, Some(Noted { line: 10, value: "./a.model".into() }));
    assert_eq!(log.production_seconds, Some(Noted { line: 13, value: 360.0 }));
    // A name of a file has a dot, and is no number.
    for nothing in ["tokenizer_path=bytes", "sp=1.5", "sp: 7"] {
        assert_eq!(scan(nothing).tokenizer, None, "{nothing}");
    }
    // The longest training time; the later of equals.
    assert_eq!(log.train_seconds, Some(Noted { line: 15, value: 3.5 }));
    assert_eq!(scan("tt:3s\ntt:3s\ntt:2s\n").train_seconds, Some(Noted { line: 2, value: 3.0 }));
    assert!(log.trains && !scan("val_loss:2\n").trains);
    assert_eq!(log.stop, Some(Noted { line: 17, value: "Stopping: cap".into() }));
    assert_eq!(scan("x\nstop tt: 5\n").stop, Some(Noted { line: 2, value: "stop tt: 5".into() }));
    assert_eq!(log.calibration.len(), 1);
    assert_eq!((log.lines, log.digest.bytes.0), (18, 325));
}

#[test]
fn evaluation_times_are_those_of_evaluations() {
    let times = |text: &str| -> Vec<(f64, String, bool)> {
        scan(text).eval_times.into_iter().map(|time| (time.seconds, time.label, time.is_total)).collect()
    };
    let one = |seconds: f64, label: &str, total| vec![(seconds, label.to_string(), total)];
    assert_eq!(times("final val_bpb:1.1 eval_time:1500ms\n"), one(1.5, "final val_bpb", false));
    assert_eq!(times("total_eval_time:20s\n"), one(20.0, "total_eval_time", true));
    assert_eq!(times("ttt:done elapsed=20.5s\n"), one(20.5, "ttt", false));
    assert_eq!(times("sliding bpb=1.1 time=7s\n"), one(7.0, "sliding bpb", false));
    for nothing in [
        "x time=7s",
        "bpb=1.1 chunk time=7s",
        "[3] bpb=1.1 time=7s",
        "step bpb=1.1 t=7s",
        "eval_time:7",
        "eval_time:-7s",
    ] {
        assert_eq!(times(nothing), [], "{nothing}");
    }
}

#[test]
fn devices_are_named_by_four_words_with_a_number() {
    let devices = |text: &str| -> Vec<String> { scan(text).devices.into_iter().map(|noted| noted.value).collect() };
    assert_eq!(
        devices("0: NVIDIA H100 80GB HBM3 rev 2 more\n1: NVIDIA H100 80GB HBM3 rev 2\n"),
        ["H100 80GB HBM3 rev"]
    );
    assert_eq!(devices("| 0 NVIDIA A100-SXM | x\nNVIDIA L4 Off 1\n"), ["A100-SXM", "L4"]);
    assert!(devices("NVIDIA Corporation 7\nNVIDIA-SMI 5 NVIDIA 6\nNVIDIA driver\n").is_empty());
    let many: String = (0..70).map(|i| format!("NVIDIA H{i}\n")).collect();
    assert_eq!(devices(&many).len(), 64);
}

#[test]
fn values_know_their_kind_label_and_digits() {
    let log = scan(
        "step:5/20 val_loss:2.5 val_bpb:1.5\n5/20 val_loss: 2.5 val_bpb: 1.25\nfinal step:3 val_bpb:1.125\n\
         eval_roundtrip val_loss:2 val_bpb:1.0625\nbpb:nan\ntwo bpb:1.1 other_bpb:1.2\nval_loss:3\nno bpb here\n",
    );
    let found: Vec<_> = log.metrics.iter().map(|m| (m.line, m.kind, m.label.as_str(), m.decimals, m.loss)).collect();
    use MetricKind::{Final, Step};
    assert_eq!(
        found,
        [
            (1, Step, "", 1, Some(2.5)),
            (2, Step, "", 2, Some(2.5)),
            (3, Final, "final", 3, None),
            (4, Final, "eval_roundtrip", 4, Some(2.0)),
            (5, Final, "bpb", 0, None),
            (6, Final, "two", 1, None),
            (6, Final, "two", 1, None),
        ]
    );
    assert_eq!(log.nans, [Noted { line: 5, value: "bpb:nan".into() }]);
    assert_eq!(log.finals().count(), 4);
    // What is no number in a loss alone is trouble as well; what is no number is no final value.
    assert_eq!(scan("val_loss:nan\n").nans.len(), 1);
    assert_eq!(scan("x\nbpb:nan\n").last_final(), None);
    assert_eq!(scan("bpb:inf\nbpb:1.5\n").last_final().map(|metric| metric.line), Some(2));
}

#[test]
fn long_texts_and_long_lists_are_cut() {
    // A hundred bytes; a letter of two bytes across the end goes altogether.
    let trace = "Traceback (most recent call last)";
    let text = format!("{trace}{}", "ü".repeat(60));
    let found = &scan(&text).errors[0].value;
    assert_eq!((found.len(), found.chars().count()), (99, 33 + 33));
    // The last of many is kept.
    let log = scan(&(0..5000).map(|seed| format!("seed:{seed}\n")).collect::<String>());
    assert_eq!((log.seeds.len(), log.seeds[0].value, log.seeds[4095].value), (4096, 0, 4999));
    for words in ["x CUDA out of memory", "torch.OutOfMemoryError", "y Traceback (most recent call last)"] {
        assert_eq!(scan(words).errors.len(), 1, "{words}");
    }
}

#[test]
fn trouble_is_noted() {
    let log = scan("Traceback (most recent call last):\nstep:4/4 val_loss:nan val_bpb:nan\n");
    assert_eq!((log.errors.len(), log.nans.len()), (1, 1));
    let log = scan("|   0  NVIDIA GeForce RTX 2060 ...    Off |   0 |\n");
    assert_eq!(log.devices[0].value, "GeForce RTX 2060 ...");
}

#[test]
fn scores_are_spelled_in_many_ways() {
    for (line, bpb, loss) in [
        ("Quantized BPB (sliding, stride 64): 1.1692", 1.1692, None),
        ("final val_bpb≈1.1692", 1.1692, None),
        ("final val_bpb: ~1.1692", 1.1692, None),
        ("final | val_loss=1.974 | val_bpb = 1.1692", 1.1692, Some(1.974)),
        ("{\"final/val_bpb\": 1.1692, \"final/val_loss\": 1.974, \"step\": 9}", 1.1692, Some(1.974)),
        ("ema val_loss:1.9 val_bpb:1.1 final val_loss:1.974 val_bpb:1.1692", 1.1692, Some(1.974)),
    ] {
        let log = scan(line);
        let last = log.last_final().unwrap_or_else(|| panic!("{line}"));
        assert_eq!((last.bpb, last.loss), (bpb, loss), "{line}");
    }
    for nothing in ["val_bpb:{bpb:.8f}", "target val_bpb: 1.1692", "val_bpb:.8f}", "{\"step\": 5, \"val_bpb\": 1.2}"] {
        assert_eq!(scan(nothing).finals().count(), 0, "{nothing}");
    }
}

#[test]
fn a_total_with_its_parts_on_one_line() {
    let log = scan("artifact: 15301551 bytes (model: 15301204 code: 347)\nSerialized model (raw): 98004211 bytes\n");
    let sizes: Vec<_> = log.sizes.iter().map(|size| (size.kind, size.bytes)).collect();
    assert!(sizes.contains(&(SizeKind::Total, 15_301_551)) && sizes.contains(&(SizeKind::RawModel, 98_004_211)));
    assert!(sizes.contains(&(SizeKind::Model, 15_301_204)) && sizes.contains(&(SizeKind::Code, 347)));
    assert_eq!(sizes.len(), 4);
}

#[test]
fn settings_are_on_where_any_line_says_so() {
    let log =
        scan("ttt_enabled: False\nSLOT_STEPS=8 ngram_mix=0\nNamespace(ppm_order=5, use_swa=True)\nttt_enabled:1\n");
    let switch = |name: &str| log.switches.get(name).copied();
    assert_eq!(
        ["ttt_enabled", "slot_steps", "ngram_mix", "ppm_order", "use_swa", "qat_enabled"].map(switch),
        [Some(true), Some(true), Some(false), Some(true), Some(true), None]
    );
}
