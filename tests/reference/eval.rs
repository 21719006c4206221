//! Reference numbers: windows and bits per byte.
//!
//! `eval_windows.json` lists every window of some evaluations. `eval_results.json` holds losses in single and double
//! precision on beginnings of a validation shard.

use std::path::Path;

use golf_harness::data::Shard;
use golf_harness::eval::{Coverage, WindowPlan};
use serde_json::Value;

use crate::support::{ReferenceSet, on_both_sets};

on_both_sets! { every_window_is_where_the_script_puts_it, whole_shards_stand_for_the_reference_number_of_bytes }

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).unwrap()
}

/// The numbers in a name such as `total=65,seq=64,stride=16` or `first 65 val tokens, seq 64, stride 16`.
fn numbers(name: &str) -> Option<[u64; 3]> {
    let numbers: Vec<u64> =
        name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect();
    numbers.try_into().ok()
}

fn every_window_is_where_the_script_puts_it(set: ReferenceSet) {
    let mut compared = 0;
    for (name, case) in json(&set.folder().join("eval_windows.json")).as_object().unwrap() {
        let [predictions, seq_len, stride] = numbers(name).unwrap();
        let plan = WindowPlan::sliding(predictions + 1, seq_len, stride).unwrap();
        let found: Vec<[u64; 4]> = plan
            .iter(0..plan.windows())
            .map(|w| [w.start, w.end - w.start, w.first_scored, w.end - w.first_scored])
            .collect();
        let expected: Vec<[u64; 4]> =
            serde_json::from_value(case["windows_start_len_firstscored_nscored"].clone()).unwrap();
        assert_eq!(found, expected, "{name}");
        assert_eq!(plan.windows(), case["n_windows"].as_u64().unwrap(), "{name}");
        assert_eq!(plan.scored(), case["scored"].as_u64().unwrap(), "{name}");
        let full = found.iter().filter(|window| window[1] == seq_len).count() as u64;
        assert_eq!(full, case["full_length_windows"].as_u64().unwrap(), "{name}");
        let coverage = Coverage::of(plan.iter(0..plan.windows()), predictions);
        assert_eq!(coverage, Coverage { once: predictions, ..Coverage::default() }, "{name}");
        compared += 1;
    }
    assert!(compared >= 17);
}

fn whole_shards_stand_for_the_reference_number_of_bytes(set: ReferenceSet) {
    let (tokenizer, _) = golf_harness::data::Tokenizer::read(&set.tokenizer()).unwrap();
    let mut compared = 0;
    for (name, counts) in json(&set.folder().join("eval_results.json"))["results"].as_object().unwrap() {
        let Some(split) = name.strip_prefix("whole_sample_").and_then(|name| name.strip_suffix("_counts")) else {
            continue;
        };
        let path = set.val_shard().to_str().unwrap().replace("_val_", &format!("_{split}_"));
        let tokens = Shard::open(Path::new(&path)).unwrap().read_all().unwrap();
        assert_eq!(tokens.len() as u64 - 1, counts["tokens_scored"].as_u64().unwrap());
        assert_eq!(tokenizer.byte_table().bytes_of_targets(&tokens), counts["bytes"].as_u64().unwrap());
        compared += 1;
    }
    assert!(compared >= 1);
}

#[cfg(feature = "engine")]
mod scores {
    use golf_harness::data::Tokenizer;
    use golf_harness::engine::{EngineKind, create};
    use golf_harness::eval::{self, Evaluation, Score};
    use golf_harness::interrupt::Interrupt;
    use golf_harness::model::ModelConfig;
    use golf_harness::progress::Progress;

    use super::*;
    use crate::tensors;

    on_both_sets! { losses_and_bits_per_byte_are_those_of_double_precision }

    /// Single precision against double precision, relative.
    const TOLERANCE: f64 = 2e-5;

    fn config(folder: &Path, weights: &str) -> ModelConfig {
        let entry = json(&folder.join("MANIFEST.json"))["files"][weights]["config"].clone();
        let size = |key: &str| usize::try_from(entry[key].as_u64().unwrap()).unwrap();
        ModelConfig {
            vocab_size: size("vocab"),
            num_layers: size("layers"),
            model_dim: size("dim"),
            num_heads: size("heads"),
            num_kv_heads: size("kv"),
            mlp_mult: entry["mlp_mult"].as_f64().unwrap(),
            rope_base: entry["rope_base"].as_f64().unwrap(),
            logit_softcap: entry["softcap"].as_f64().unwrap(),
            bigram_vocab_size: size("bg_vocab"),
            bigram_dim: size("bg_dim"),
            ..ModelConfig::default()
        }
    }

    fn compare(what: &str, score: &Score, case: &Value, prefix: &str) {
        let count = |name: &str| case[format!("{prefix}_{name}")].as_u64().unwrap();
        assert_eq!((score.tokens, score.bytes), (count("tokens"), count("bytes")), "{what}");
        let loss = score.val_loss().map(|loss| loss.0);
        let bpb = score.val_bpb().map(|bpb| bpb.0);
        for (name, found) in [("val_loss", loss), ("val_bpb", bpb)] {
            let expected = case["f64"][format!("{prefix}_{name}")].as_f64();
            let distance = found.zip(expected).map_or(0.0, |(found, expected)| (found / expected - 1.0).abs());
            assert_eq!(found.is_some(), expected.is_some(), "{what}: {name}");
            assert!(distance < TOLERANCE, "{what}: {name} {found:?}, expected {expected:?}");
        }
    }

    fn losses_and_bits_per_byte_are_those_of_double_precision(set: ReferenceSet) {
        let folder = set.folder();
        let mut compared = 0;
        let results = json(&folder.join("eval_results.json"));
        let weights = results["weights"].as_str().unwrap();
        let config = config(&folder, weights);
        let weights = tensors::params(&folder.join(weights)).arrange(&config).unwrap();
        let table = Tokenizer::read(&set.tokenizer()).unwrap().0.byte_table();
        let split = Shard::open(&set.val_shard()).unwrap().read_all().unwrap();
        let scorer = |kind| create(kind).scorer(&config, &weights).unwrap();
        let engines = [scorer(EngineKind::Kernels), scorer(EngineKind::Dfdx)];
        for (name, case) in results["results"].as_object().unwrap() {
            let Some([count, seq_len, stride]) = numbers(name) else { continue };
            // The readable engine takes long on the longest case.
            let engines = if count < 10_000 { &engines[..] } else { &engines[..1] };
            for scorer in engines {
                let evaluation = Evaluation {
                    scorer: scorer.as_ref(),
                    tokens: &split[..count as usize],
                    bytes: (&table).into(),
                    batch_windows: 32,
                    progress: &Progress::hidden(),
                    interrupt: &Interrupt::none(),
                };
                let plan = WindowPlan::sliding(count, seq_len, stride).unwrap();
                let sliding = evaluation.score(&plan, 0..plan.windows(), &mut |_| Ok(())).unwrap();
                compare(&format!("{name}, sliding"), &sliding, case, "sliding");
                let plain = eval::non_overlapping(&evaluation, seq_len).unwrap();
                compare(&format!("{name}, plain"), &plain, case, "plain");
                compared += 1;
            }
        }
        assert!(compared >= 13, "{compared}");
    }
}
