//! The end of the text and score-first test-time training as the leaderboard's scripts do them.
//!
//! Against the numbers of PRs 549 and 1493 in the folder that `GOLF_FAMILY_DIR` names; bytes with the tokenizer that
//! `GOLF_TOKENIZER` names.

use std::path::PathBuf;

use golf_harness::data::Tokenizer;
use golf_harness::engine::{Engine, EngineKind, create};
use golf_harness::eval::ttt::{ScoreFirst, TraceLine};
use golf_harness::eval::{Evaluation, ScoreJobError, TailRule, WindowPlan};
use golf_harness::interrupt::Interrupt;
use golf_harness::manifest::{Tail, TttConfig};
use golf_harness::model::{ModelConfig, Params};
use golf_harness::progress::Progress;
use serde_json::Value;

use crate::family_training::{count, model, number};
use crate::support::named_by;
use crate::tensors::{self, Reference};

/// How much more than PyTorch's own single precision these numbers may be away from double precision.
const SPREAD_FACTOR: f64 = 4.0;

mod needs_data {
    #[test]
    #[ignore = "needs GOLF_FAMILY_DIR"]
    fn windows_at_the_end_of_the_text_are_where_the_scripts_put_them() {
        super::windows_at_the_end_of_the_text_are_where_the_scripts_put_them();
    }

    #[test]
    #[ignore = "needs GOLF_FAMILY_DIR and GOLF_TOKENIZER"]
    fn chunks_scored_and_learned_from_follow_the_scripts() {
        super::chunks_scored_and_learned_from_follow_the_scripts();
    }
}

fn folder() -> PathBuf {
    named_by("GOLF_FAMILY_DIR")
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder().join(name)).unwrap()).unwrap()
}

fn windows_at_the_end_of_the_text_are_where_the_scripts_put_them() {
    let file = json("eval_windows.json");
    let cases = file["cases"].as_array().unwrap();
    assert!(cases.len() >= 15, "{}", cases.len());
    for case in cases {
        let [predictions, seq_len, stride] = ["predictions", "T", "stride"].map(|key| count(case, key) as u64);
        let rule = match case["rule"].as_str().unwrap() {
            "tail" => TailRule::Rescored,
            "ttt549" => TailRule::RescoredByStride,
            "each_once" => TailRule::Once,
            other => panic!("rule {other}"),
        };
        let plan = WindowPlan::sliding(predictions + 1, seq_len, stride).unwrap().with_tail(rule);
        let found: Vec<[u64; 4]> = plan
            .iter(0..plan.windows())
            .map(|w| [w.start, w.end - w.start, w.first_scored - w.start, w.end - w.first_scored])
            .collect();
        let expected: Vec<[u64; 4]> = serde_json::from_value(case["windows"].clone()).unwrap();
        if rule == TailRule::Once && predictions + stride <= seq_len {
            // The scripts score nothing of so short a text; here it is one window.
            assert_eq!((expected.len(), found), (0, vec![[0, predictions, 0, predictions]]), "{case}");
            continue;
        }
        assert_eq!(found, expected, "{case}");
        assert_eq!(plan.scored(), case["total_scored"].as_u64().unwrap(), "{case}");
    }
}

fn chunks_scored_and_learned_from_follow_the_scripts() {
    let file = json("ttt.json");
    let runs = file.as_array().unwrap();
    assert_eq!(runs.len(), 2);
    for run in runs {
        for kind in [EngineKind::Dfdx, EngineKind::Kernels] {
            follow(run, &*create(kind));
        }
    }
}

/// The chunks of a run one by one: sums, tokens, bytes, and every tensor after each.
fn follow(run: &Value, engine: &dyn Engine) {
    let name = run["name"].as_str().unwrap();
    let at = format!("{name} {}", engine.kind());
    let reference = tensors::read(&folder().join(format!("{name}_ttt.safetensors")));
    let seq_len = count(run, "T");
    let config: ModelConfig = model(run).in_rows_of(seq_len);
    config.check().unwrap();
    let weights = tensors::params(&folder().join(format!("{name}_weights.safetensors"))).arrange(&config).unwrap();
    let ttt = TttConfig {
        chunk_tokens: count(run, "chunk_tokens") as u64,
        learning_rate: number(run, "lr"),
        epochs: count(run, "epochs") as u64,
        momentum: number(run, "momentum"),
        sequences_per_step: count(run, "sequences_per_step") as u64,
        clip: number(run, "clip"),
        freeze_blocks: count(run, "freeze_blocks") as u64,
        ..TttConfig::default()
    };
    let tokens = reference["val_tokens"].ids();
    let tail = if run["pr"] == 549 { Tail::AsScript } else { Tail::Once };
    let plan = WindowPlan::sliding(tokens.len() as u64, seq_len as u64, count(run, "stride") as u64).unwrap();
    let plan = plan.with_tail(TailRule::of(tail, true));
    let (tokenizer, _) = Tokenizer::read(&named_by("GOLF_TOKENIZER")).unwrap();
    let table = tokenizer.byte_table();
    let (progress, interrupt) = (Progress::hidden(), Interrupt::none());

    let score_first = ScoreFirst { engine, model: &config, config: &ttt, plan, tokens: &tokens, interrupt: &interrupt };
    let (mut scored, mut last) = (0, None);
    let total = score_first
        .run::<ScoreJobError>(
            weights,
            &mut |weights, windows| {
                let scorer = engine.scorer(&config, weights).unwrap();
                let (scorer, progress, interrupt) = (&*scorer, &progress, &interrupt);
                let evaluation = Evaluation {
                    scorer,
                    tokens: &tokens,
                    bytes: (&table).into(),
                    batch_windows: 8,
                    progress,
                    interrupt,
                };
                Ok(evaluation.score(&plan, windows, &mut |_| Ok(()))?)
            },
            &mut |line, weights| {
                match line {
                    TraceLine::Scored(line) => {
                        let chunk = line.chunk as usize;
                        let allowed = SPREAD_FACTOR * number(run, "max_abs_gap_chunk_nll");
                        let error = (line.total_nats - reference["chunk_nll_sum_f64"].data[chunk]).abs();
                        assert!(error <= allowed, "{at} chunk {chunk}: off by {error:e} of {allowed:e}");
                        let counts = (line.tokens as f64, line.bytes as f64);
                        let expected = ["chunk_tokens", "chunk_bytes"].map(|what| reference[what].data[chunk]);
                        assert_eq!([counts.0, counts.1], expected, "{at} chunk {chunk}");
                        scored += 1;
                        println!("{at} chunk {chunk}: sum off by {error:.1e} of {allowed:.1e}");
                    }
                    TraceLine::Learned(line) => same_sums(run, &at, line.chunk as usize, weights, &reference),
                    other => panic!("{at}: {other:?}"),
                }
                last = Some(weights.clone());
                Ok(())
            },
        )
        .unwrap();
    assert_eq!(scored, reference["chunk_tokens"].data.len(), "{at}");
    let expected = &run["f64"];
    assert_eq!((total.tokens as f64, total.bytes as f64), (number(expected, "tokens"), number(expected, "bytes")));
    for (found, key) in [(total.val_loss().unwrap().0, "val_loss"), (total.val_bpb().unwrap().0, "val_bpb")] {
        assert!((found - number(expected, key)).abs() < 1e-7, "{at} {key}: {found}");
    }
    let allowed = SPREAD_FACTOR * number(run, "max_abs_gap_final_weights");
    for (tensor, values) in last.unwrap().iter() {
        let expected = &reference[&format!("final_f64.{tensor}")];
        let pairs = values.data().iter().zip(&expected.data);
        let worst = pairs.map(|(&found, &want)| (f64::from(found) - want).abs()).fold(0.0, f64::max);
        assert!(worst <= allowed, "{at} {tensor}: {worst:e} of {allowed:e}");
    }
}

/// Sum and sum of squares of every tensor after a chunk, as near to double precision as PyTorch's single precision is.
fn same_sums(
    run: &Value,
    at: &str,
    chunk: usize,
    weights: &Params,
    reference: &std::collections::BTreeMap<String, Reference>,
) {
    let [single, double] =
        ["f32", "f64"].map(|precision| &reference[&format!("weights_sum_and_sumsq_after_chunk_{precision}")]);
    let order = run["tensor_order"].as_array().unwrap();
    for (index, tensor) in order.iter().enumerate() {
        let name = tensor.as_str().unwrap();
        let values = weights.get(name).unwrap_or_else(|| panic!("{at}: no {name}")).data();
        let sum: f64 = values.iter().map(|&value| f64::from(value)).sum();
        let squares: f64 = values.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
        for (which, found) in [sum, squares].into_iter().enumerate() {
            let place = (chunk * order.len() + index) * 2 + which;
            let (want, gap) = (double.data[place], (double.data[place] - single.data[place]).abs());
            // What the weights may be off by, added up as if all were off one way in a hundredth of them.
            let floor = number(run, "max_abs_gap_final_weights") * (1.0 + values.len() as f64 / 100.0);
            let (error, allowed) = ((found - want).abs(), SPREAD_FACTOR * gap.max(floor));
            assert!(error <= allowed, "{at} chunk {chunk} {name} {which}: off by {error:e} of {allowed:e}");
        }
    }
}
