//! The numbers themselves: against the likelihoods, over engines, precisions, threads, batches and parts.

use golf_harness::data::{Shard, Tokenizer};
use golf_harness::digest::ContentDigest;
use golf_harness::manifest;
use serde_json::Value;

use super::workshop::{SHARD_TOKENS, Workshop, essence, json};
use crate::support::fixture;

#[test]
fn a_cross_check_reports_how_far_the_engines_are_apart() {
    let workshop = Workshop::new();
    let nll = |engine: &str| -> Vec<f32> {
        workshop.json(&["--sliding", "--engine", engine, "--nll-out", engine]);
        workshop.bytes(engine).as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    };
    let (kernels, dfdx) = (nll("kernels"), nll("dfdx"));
    let apart = |(a, b): (&f32, &f32)| f64::from((a - b).abs()) / f64::from(b.abs()).max(1.0);
    let largest = kernels.iter().zip(&dfdx).map(apart).fold(0.0, f64::max);
    assert!(largest > 0.0, "two engines that round alike everywhere are one engine");

    let both = workshop.json(&["--sliding", "--engine", "both", "--nll-out", "both"]);
    let reported = both["cross_check"]["largest_difference"].as_f64().unwrap();
    assert!((reported / largest - 1.0).abs() < 1e-6, "{reported:e} where {largest:e} was found");
    assert_eq!(both["cross_check"]["engine"], "dfdx");
    assert_eq!(workshop.bytes("both"), workshop.bytes("kernels"));
    assert!(workshop.json(&["--sliding"])["cross_check"].is_null());
}

#[test]
fn vector_width_and_precision_are_chosen_and_reported() {
    let workshop = Workshop::new();
    let nll = |name: &str, flags: &[&str]| -> (Vec<f32>, Value) {
        let report = workshop.json(&[&["--sliding", "--force", "--nll-out", name][..], flags].concat());
        (workshop.bytes(name).as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(), report)
    };
    let (widest, report) = nll("widest", &[]);
    assert_eq!(report["engine"], "kernels");
    let apart = |values: &[f32]| {
        let one = |(a, b): (&f32, &f32)| (a - b).abs() / a.abs().max(1.0);
        widest.iter().zip(values).map(one).fold(0.0, f32::max)
    };
    // The bound docs/engine.md states between processor families, on the narrower of two.
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        let (narrow, report) = nll("narrow", &["--isa", "avx2"]);
        assert!(apart(&narrow) < 1e-5, "{:e}", apart(&narrow));
        assert!(report["processors"][0].as_str().unwrap().ends_with("(held to AVX2)"));
    }
    let (rounded, report) = nll("rounded", &["--precision", "bf16"]);
    assert_eq!(report["engine"], "kernels (bf16)");
    assert!((1e-5..0.1).contains(&apart(&rounded)), "{:e}", apart(&rounded));
    // In bfloat16 products have one definition: with AMX or wide vectors or without, the likelihoods are the same bits.
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        let (narrow, _) = nll("narrow", &["--precision", "bf16", "--isa", "avx2"]);
        assert!(narrow.iter().map(|nll| nll.to_bits()).eq(rounded.iter().map(|nll| nll.to_bits())));
    }
    let both = ["run/manifest.yaml", "--engine", "both", "--precision", "bf16"];
    let refused = workshop.command(&both).assert().code(2);
    assert!(String::from_utf8_lossy(&refused.get_output().stderr).contains("needs --engine kernels"));
}

#[test]
fn json_agrees_with_the_likelihoods_and_with_the_inputs() {
    let workshop = Workshop::new();
    let report = workshop.json(&["--nll-out", "nll.f32"]);
    let nll: Vec<f32> =
        workshop.bytes("nll.f32").as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    let score = &report["scores"]["packed/sliding"];
    assert_eq!(nll.len(), SHARD_TOKENS.iter().sum::<usize>() - 1);
    assert_eq!(score["tokens"].as_u64(), Some(nll.len() as u64));
    assert_eq!(score["windows"].as_u64(), Some(1 + (nll.len() as u64 - 32).div_ceil(8)));
    // So few numbers of one size that double precision sums them without rounding.
    let total: f64 = nll.iter().map(|&value| f64::from(value)).sum();
    assert_eq!(score["total_nats"].as_f64(), Some(total));
    assert_eq!(score["val_loss"].as_f64(), Some(total / nll.len() as f64));

    let (tokenizer, _) = Tokenizer::read(&fixture("smoke/tokenizer.model")).unwrap();
    let tokens = Shard::open(&fixture("smoke/smoke_val_000000.bin")).unwrap().read_all().unwrap();
    let bytes = tokenizer.byte_table().bytes_of_targets(&tokens[..nll.len() + 1]);
    assert_eq!(score["bytes"].as_u64(), Some(bytes));
    let bpb = total / std::f64::consts::LN_2 / bytes as f64;
    assert!((score["val_bpb"].as_f64().unwrap() / bpb - 1.0).abs() < 1e-15);
    assert_eq!(report["scores"]["packed/non-overlapping"]["tokens"].as_u64(), Some(nll.len() as u64 / 32 * 32));

    let inputs = report["inputs"].as_array().unwrap();
    let files = ["run/model.golf", "data/tiny_val_000000.bin", "data/tiny_val_000001.bin", "data/tokenizer.model"];
    assert_eq!(inputs.len(), files.len());
    for (input, file) in inputs.iter().zip(files) {
        let digest = serde_json::to_value(ContentDigest::of(&workshop.bytes(file))).unwrap();
        assert_eq!(input["content"], digest, "{file}");
    }
    let identity = manifest::identity(&manifest::load(&workshop.path("run/manifest.yaml")).unwrap());
    assert_eq!(report["manifest_identity"], identity.to_string());
    assert_eq!(report["subset"], Value::Null);
}

#[test]
fn threads_batches_and_repetition_change_no_bit() {
    let workshop = Workshop::new();
    for engine in ["kernels", "dfdx"] {
        let run = |flags: &[&str]| {
            let report = workshop.json(&[&["--engine", engine, "--force", "--nll-out", "nll.f32"], flags].concat());
            (essence(report), workshop.bytes("nll.f32"))
        };
        let first = run(&[]);
        for flags in [
            &[][..],
            &["--threads", "1"],
            &["--threads", "2", "--batch-windows", "1"],
            &["--threads", "4", "--batch-windows", "7"],
            &["--threads", "3", "--batch-windows", "65536"],
        ] {
            assert_eq!(run(flags), first, "{engine} {flags:?}");
        }
    }
}

#[test]
fn parts_merge_to_the_bits_of_the_whole() {
    let workshop = Workshop::new();
    let models = ["--checkpoint", "weights.safetensors"];
    let whole = workshop.json(&[&models[..], &["--nll-out", "whole.f32"]].concat());
    for parts in [1, 2, 3, 8, 90] {
        let mut nll = Vec::new();
        let mut merge = vec!["merge".to_string(), "--json".to_string()];
        // Backwards: the order of the records does not matter.
        for index in (1..=parts).rev() {
            let (shard, part) = (format!("{index}/{parts}"), format!("part-{index}.json"));
            let threads = (1 + index % 3).to_string();
            let flags = ["--shard", &shard, "-o", &part, "--force", "--nll-out", "part.f32", "--threads", &threads];
            workshop.json(&[&models[..], &flags].concat());
            nll = [workshop.bytes("part.f32"), nll].concat();
            merge.push(part);
        }
        let args: Vec<&str> = merge.iter().map(String::as_str).collect();
        let merged = json(&mut workshop.command(&args));
        assert_eq!(essence(merged), essence(whole.clone()), "{parts} parts");
        assert_eq!(nll, workshop.bytes("whole.f32"), "{parts} parts");
    }
}
