//! `pack` with rules that round by Hessians.

use golf_harness::data::Shard;
use golf_harness::engine::LayerInputs;
use golf_harness::manifest::{self, Manifest};
use golf_harness::model::{LinearInput, Params, read_safetensors};
use golf_harness::{artifact, digest::ContentDigest};

use crate::fit::Workshop;

/// What rounds everything that activations are multiplied with.
const RULES: [&str; 4] = ["--rule", "bigram.embed.weight=row_maximum", "--rule", "*=row_maximum/gptq"];
const CALIBRATION: [&str; 2] = ["--set", "quantization.calibration.sequences=6"];

fn workshop() -> Workshop {
    let workshop = Workshop::new();
    workshop.recipe("schedule: { train_seq_len: 64, train_batch_tokens: 512 }\n");
    workshop
}

fn recorded(workshop: &Workshop) -> Manifest {
    manifest::load(&workshop.path("a.golf.manifest.yaml")).unwrap()
}

#[test]
fn the_bytes_do_not_depend_on_threads_and_the_record_says_what_was_done() {
    let workshop = workshop();
    let packed = |flags: &[&str]| {
        let flags = [&RULES[..], &CALIBRATION, &["-o", "a.golf", "--force", "--quiet"], flags].concat();
        workshop.pack(&flags).assert().success();
        std::fs::read(workshop.path("a.golf")).unwrap()
    };
    let one = packed(&["--threads", "1"]);
    assert_eq!(packed(&["--threads", "3"]), one);

    let record = recorded(&workshop).artifact.unwrap().hessians.unwrap();
    assert_eq!((record.shard.as_str(), record.sequences, record.seq_len), ("tiny_train_0.bin", 6, 64));
    assert_eq!(record.damping, 0.01);
    assert_eq!(record.content, ContentDigest::of_file(&workshop.path("data/tiny_train_0.bin")).unwrap());
    // Other text gives other symbols; so do fewer sequences.
    std::fs::copy(workshop.path("data/tiny_train_0.bin"), workshop.path("data/tiny_train_1.bin")).unwrap();
    assert_eq!(packed(&["--hessians", "data/tiny_train_1.bin"]), one);
    assert_ne!(packed(&["--set", "quantization.calibration.sequences=1"]), one);

    packed(&[]);
    let mut again = crate::support::golf("pack");
    again.current_dir(workshop.0.path()).args(["a.golf.manifest.yaml", "--checkpoint", "weights.safetensors"]);
    again.args(["-o", "b.golf"]).assert().success();
    assert_eq!(std::fs::read(workshop.path("b.golf")).unwrap(), one);
}

/// The square of what the layers' outputs miss on the calibration text, by input.
fn missed(manifest: &Manifest, weights: &Params, packed: &Params, tokens: &[u16]) -> Vec<(LinearInput, f64)> {
    let model = &manifest.model;
    let inputs = LayerInputs::new(model, weights, LinearInput::all(model)).unwrap();
    let mut sums: Vec<(LinearInput, f64)> = LinearInput::all(model).into_iter().map(|input| (input, 0.0)).collect();
    for sequence in tokens.chunks_exact(64) {
        for (input, x) in inputs.of(sequence).unwrap() {
            let sum = &mut sums.iter_mut().find(|(of, _)| *of == input).unwrap().1;
            for name in input.readers(model) {
                let channels = input.channels(model);
                let (exact, rounded) = (weights.get(&name).unwrap().data(), packed.get(&name).unwrap().data());
                for (exact, rounded) in exact.chunks(channels).zip(rounded.chunks(channels)) {
                    for token in x.chunks(channels) {
                        let error = exact.iter().zip(rounded).zip(token);
                        *sum += error.map(|((w, q), x)| f64::from(w - q) * f64::from(*x)).sum::<f64>().powi(2);
                    }
                }
            }
        }
    }
    sums
}

#[test]
fn every_layer_misses_less_than_with_the_nearest_symbols() {
    let workshop = workshop();
    let weights = |flags: &[&str]| {
        workshop.pack(&[flags, &["-o", "a.golf", "--force", "--quiet"]].concat()).assert().success();
        artifact::read(&workshop.path("a.golf")).unwrap().params
    };
    let nearest = weights(&["--rule", "*=row_maximum", "--class", "tok_emb.weight=int6"]);
    let gptq = weights(&[&RULES[..], &CALIBRATION, &["--class", "tok_emb.weight=int6"]].concat());
    let manifest = recorded(&workshop);
    let exact = read_safetensors(&workshop.path("weights.safetensors")).unwrap().arrange(&manifest.model).unwrap();
    let mut tokens = Vec::new();
    Shard::open(&workshop.path("data/tiny_train_0.bin")).unwrap().read_into(0, 6 * 64, &mut tokens).unwrap();
    let (before, after) = (missed(&manifest, &exact, &nearest, &tokens), missed(&manifest, &exact, &gptq, &tokens));
    let mut better = 0;
    for ((input, before), (_, after)) in before.iter().zip(&after) {
        assert!(*after <= before * 1.02, "{input:?}: {before} {after}");
        better += usize::from(*after < 0.9 * before);
    }
    assert!(better >= 5, "{before:?}\n{after:?}");
}

#[test]
fn the_model_writes_the_text_itself_if_it_is_told_to() {
    let workshop = workshop();
    let own = ["--set", "quantization.calibration.text=model"];
    let packed = |flags: &[&str]| {
        let flags = [&RULES[..], &CALIBRATION, &own, &["-o", "a.golf", "--force", "--quiet"], flags].concat();
        workshop.pack(&flags).assert().success();
        std::fs::read(workshop.path("a.golf")).unwrap()
    };
    // No training text is needed.
    std::fs::remove_file(workshop.path("data/tiny_train_0.bin")).unwrap();
    let one = packed(&["--threads", "1"]);
    assert_eq!(packed(&["--threads", "3"]), one);
    let record = recorded(&workshop).artifact.unwrap().hessians.unwrap();
    assert_eq!((record.shard.as_str(), record.sequences, record.seq_len), ("", 6, 64));
    assert_eq!(record.content.bytes.0, 6 * 64 * 2);
    let written = record.written.unwrap();
    assert_eq!((written.temperature, written.seed), (0.8, 1337));
    // Another temperature writes another text.
    packed(&["--set", "quantization.calibration.temperature=1.5"]);
    let other = recorded(&workshop).artifact.unwrap().hessians.unwrap();
    assert_ne!(other.content, record.content);
    let flags = [&RULES[..], &own, &["--hessians", "weights.safetensors"]].concat();
    let error = workshop.error(&flags);
    assert!(error.contains("the network writes its text itself"), "{error}");
}

#[test]
fn what_has_no_hessian_is_rounded_to_the_nearest_where_its_rule_does_without() {
    let workshop = workshop();
    let flags = [&CALIBRATION[..], &["--rule", "*=row_maximum/gptq_or_nearest", "-o", "a.golf", "--force"]].concat();
    let said = workshop.pack(&flags).assert().success().get_output().stdout.clone();
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("bigram.embed.weight without a Hessian that can be used"), "{said}");
    let record = recorded(&workshop).artifact.unwrap().hessians.unwrap();
    assert_eq!(record.without, ["bigram.embed.weight"]);
    let mixed = std::fs::read(workshop.path("a.golf")).unwrap();
    let flags = [&RULES[..], &CALIBRATION, &["-o", "a.golf", "--force", "--quiet"]].concat();
    workshop.pack(&flags).assert().success();
    assert_eq!(std::fs::read(workshop.path("a.golf")).unwrap(), mixed);
}

#[test]
fn what_cannot_be_calibrated_is_said_and_nothing_is_written() {
    let workshop = workshop();
    let error = |flags: &[&str]| workshop.error(flags);
    let all = error(&["--rule", "*=clip_search/gptq"]);
    insta::assert_snapshot!(all, @"error: quantization.rules: `bigram.embed.weight` is read row by row and multiplied with nothing, so it has no Hessian for rounding gptq; name it in an earlier rule without, or round by gptq_or_nearest");
    let error_on = error(&[&RULES[..], &["--hessians", "data/tiny_val_0.bin"]].concat());
    assert!(error_on.contains("data/tiny_val_0.bin is validation data"), "{error_on}");
    std::fs::remove_file(workshop.path("data/tiny_train_0.bin")).unwrap();
    let missing = error(&RULES);
    assert!(missing.starts_with("error: rounding gptq: no training shard of the manifest is here"), "{missing}");
    assert!(missing.contains("name one with --hessians SHARD"), "{missing}");
    assert!(!workshop.path("a.golf").exists());
}
