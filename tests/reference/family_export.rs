//! The exports of the leaderboard's later scripts: clip search, GPTQ, deviation clips.
//!
//! Against the numbers of PRs 549, 1019, 1218, 1394 and 1412 in the folder that `GOLF_FAMILY_DIR` names.

use std::collections::BTreeMap;
use std::path::PathBuf;

use golf_harness::artifact::ClassRule;
use golf_harness::artifact::foreign::{Origin, compress, parse, read, shuffle, torch_archive, torch_export, unwrap};
use golf_harness::digest::ContentDigest;
use golf_harness::quant::{
    ArtifactContainer, ExportCodec, Gptq, HessianSum, IntegerMatrix, Rounding, WeightMatrix, clip_search,
    curvature_scales, deviation_scales,
};
use safetensors::SafeTensors;
use serde_json::Value;

use crate::support::named_by;

mod needs_data {
    #[test]
    #[ignore = "needs GOLF_FAMILY_DIR"]
    fn the_clip_search_chooses_what_the_script_chooses() {
        super::the_clip_search_chooses_what_the_script_chooses();
    }

    #[test]
    #[ignore = "needs GOLF_FAMILY_DIR"]
    fn gptq_gives_the_symbols_of_every_script() {
        super::gptq_gives_the_symbols_of_every_script();
    }

    #[test]
    #[ignore = "needs GOLF_FAMILY_DIR"]
    fn hessians_are_those_of_the_scripts() {
        super::hessians_are_those_of_the_scripts();
    }

    #[test]
    #[ignore = "needs GOLF_FAMILY_DIR"]
    fn shuffled_bytes_are_read_and_written_as_by_the_script() {
        super::shuffled_bytes_are_read_and_written_as_by_the_script();
    }

    #[test]
    #[ignore = "needs GOLF_FAMILY_DIR"]
    fn artifacts_written_again_are_those_of_pytorch_byte_by_byte() {
        super::artifacts_written_again_are_those_of_pytorch_byte_by_byte();
    }

    #[test]
    #[ignore = "needs GOLF_FAMILY_DIR"]
    fn whole_artifacts_decode_to_identical_tensors() {
        super::whole_artifacts_decode_to_identical_tensors();
    }
}

fn folder() -> PathBuf {
    named_by("GOLF_FAMILY_DIR")
}

fn facts() -> Value {
    let manifest: Value = serde_json::from_slice(&std::fs::read(folder().join("MANIFEST.json")).unwrap()).unwrap();
    manifest["export"].clone()
}

/// A tensor in single precision, and its last side.
fn floats(file: &SafeTensors, name: &str) -> (Vec<f32>, usize) {
    let view = file.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(view.dtype(), safetensors::Dtype::F32, "{name}");
    let values = view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    (values, *view.shape().last().unwrap())
}

fn assert_same_integers(found: &IntegerMatrix, file: &SafeTensors, name: &str) {
    let symbols: Vec<u8> = found.symbols.iter().map(|&symbol| symbol as u8).collect();
    let expected = file.tensor(&format!("{name}.q")).unwrap();
    let differing = symbols.iter().zip(expected.data()).filter(|(a, b)| a != b).count();
    assert_eq!((symbols.len(), differing), (expected.data().len(), 0), "{name}: symbols");
    let scales: Vec<u8> = found.scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
    assert_eq!(scales, file.tensor(&format!("{name}.scale")).unwrap().data(), "{name}: scales");
}

fn the_clip_search_chooses_what_the_script_chooses() {
    let bytes = std::fs::read(folder().join("clip_search.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let facts = facts();
    let cases = facts["clip_search"].as_object().unwrap();
    assert!(cases.len() >= 6);
    for (case, facts) in cases {
        let (weights, columns) = floats(&file, &format!("{case}.w"));
        let found = clip_search(WeightMatrix::new(&weights, columns).unwrap(), 31).unwrap();
        assert_same_integers(&found.matrix, &file, case);
        let chosen = facts["chosen"].as_f64().unwrap();
        assert_eq!(found.quantile, chosen as f32, "{case}");
        let at = facts["percentiles_in_order"].as_array().unwrap().iter().position(|p| p.as_f64() == Some(chosen));
        let error = facts["mse_f32"][at.unwrap()].as_f64().unwrap();
        // The script adds in single precision, in an order of its own.
        assert!((f64::from(found.mean_squared_error) - error).abs() <= 1e-6 * error, "{case}");
    }
}

fn gptq_gives_the_symbols_of_every_script() {
    let bytes = std::fs::read(folder().join("gptq.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let facts = facts();
    let mut seen = 0;
    for (case, rules) in facts["gptq"].as_object().unwrap() {
        let (values, columns) = floats(&file, &format!("{case}.w"));
        let weights = WeightMatrix::new(&values, columns).unwrap();
        let gptq = Gptq::new(&floats(&file, &format!("{case}.H")).0, columns).unwrap();
        let deviations = |k, limit| gptq.round(weights, deviation_scales(weights, k, limit).unwrap(), limit).unwrap();
        for rule in rules.as_object().unwrap().keys() {
            let found = match rule.as_str() {
                "pct1218" | "pct1019" => gptq.clip_search(weights, 31).unwrap().matrix,
                "sd1394_k12.85_c31" => deviations(12.85, 31),
                "sd1394_k20_c127" => deviations(20.0, 127),
                "sd1412_k12.85_c31_lambda0.175" => {
                    let scales = curvature_scales(weights, gptq.curvature(), 12.85, 31, 0.175).unwrap();
                    gptq.round(weights, scales, 31).unwrap()
                }
                other => panic!("{other}"),
            };
            assert_same_integers(&found, &file, &format!("{case}.{rule}"));
            seen += 1;
        }
    }
    assert_eq!(seen, 20);
}

fn hessians_are_those_of_the_scripts() {
    /// Added to the mean square by the scripts' norm: the machine epsilon of single precision.
    const RMS_EPSILON: f64 = f32::EPSILON as f64;
    let bytes = std::fs::read(folder().join("hessian.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let facts = facts();
    let batches = usize::try_from(facts["hessian"]["batches"].as_u64().unwrap()).unwrap();
    let (inputs, channels) = floats(&file, "activations");
    let normalized: Vec<f32> = inputs
        .chunks(channels)
        .flat_map(|token| {
            let square = token.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / channels as f64;
            token.iter().map(move |&x| (f64::from(x) / (square + RMS_EPSILON).sqrt()) as f32)
        })
        .collect();
    let sum = |batches: &[&[f32]]| {
        let mut sum = HessianSum::new(channels);
        for batch in batches {
            sum.add(batch).unwrap();
            sum.end_batch();
        }
        sum
    };
    let assert_close = |found: &[f32], name: &str| {
        let (expected, _) = floats(&file, name);
        let largest = expected.iter().fold(0.0f32, |max, h| max.max(h.abs()));
        assert_eq!(found.len(), expected.len(), "{name}");
        // The scripts add in single precision: a few roundings of the largest sum.
        let error = found.iter().zip(&expected).fold(0.0f32, |max, (a, b)| max.max((a - b).abs()));
        assert!(error <= 1e-6 * largest, "{name}: {error} of {largest}");
    };
    let split = |values: &[f32]| -> Vec<Vec<f32>> { values.chunks(values.len() / batches).map(Vec::from).collect() };
    for (values, names) in [
        (&inputs, &["H1218.blocks.0.mlp.fc.weight", "H1394.blocks.0.mlp.fc.weight"][..]),
        (&normalized, &["H1394.tok_emb.weight"][..]),
    ] {
        let batches = split(values);
        let mean = sum(&batches.iter().map(Vec::as_slice).collect::<Vec<_>>()).mean().unwrap();
        names.iter().for_each(|name| assert_close(&mean, name));
    }
    // The sampled sequences, each a batch; the last token of each enters nothing.
    let (table, _) = floats(&file, "H1019.table");
    let sequence = |name: &str| -> Vec<f32> {
        let view = file.tensor(name).unwrap();
        let ids: Vec<usize> = view.data().as_chunks().0.iter().map(|&id| i64::from_le_bytes(id) as usize).collect();
        ids[..ids.len() - 1].iter().flat_map(|id| &table[id * channels..][..channels]).copied().collect()
    };
    let sequences = ["H1019.tokens0", "H1019.tokens1"].map(sequence);
    let found = sum(&[&sequences[0], &sequences[1]]).damped_mean().unwrap();
    assert_close(&found, "H1019.lin.weight");
}

fn shuffled_bytes_are_read_and_written_as_by_the_script() {
    let facts = facts();
    let mut seen = 0;
    for (case, facts) in facts["bshf"].as_object().unwrap() {
        let file = |ending: &str| folder().join(format!("bshf_{case}.{ending}"));
        let raw = std::fs::read(file("raw")).unwrap();
        let shuffled = shuffle(&raw);
        assert_eq!(shuffled.len() as u64, facts["shuffled_length"].as_u64().unwrap(), "{case}");
        let digest = ContentDigest::of(&shuffled).sha256.to_string();
        assert_eq!(digest, facts["shuffled_sha256"].as_str().unwrap(), "{case}");
        for (ending, length, codec) in [
            ("br", &facts["brotli_length"], ExportCodec::Brotli),
            ("xz", &facts["lzma_length"], ExportCodec::Xz { preset: 6 }),
        ] {
            let Some(length) = length.as_u64() else { continue };
            let compressed = std::fs::read(file(ending)).unwrap();
            assert_eq!(compressed.len() as u64, length);
            let (wrappers, content) = unwrap(&compressed, &file(ending)).unwrap();
            assert_eq!(content, raw, "{case}.{ending}: {wrappers:?}");
            let again = compress(&shuffled, codec).unwrap();
            assert_eq!(unwrap(&again, &file(ending)).unwrap().1, raw, "{case}.{ending}");
            // Other versions find other streams, but no much longer ones.
            assert!(again.len() <= compressed.len() + compressed.len() / 50 + 8, "{case}.{ending}: {}", again.len());
            seen += 1;
        }
    }
    assert_eq!(seen, 5);
}

fn artifacts_written_again_are_those_of_pytorch_byte_by_byte() {
    let gptq = Origin { rule: ClassRule::Small, rounding: Rounding::Gptq };
    for (pr, container) in [(549, "torch:xz:6"), (1218, "torch:brotli/methods"), (1394, "torch:brotli/labels")] {
        let path = folder().join(format!("artifact_{pr}.ptz"));
        let ArtifactContainer::Torch(export) = container.parse().unwrap() else { panic!("{container}") };
        let shipped = std::fs::read(&path).unwrap();
        let file = read(&path).unwrap();
        let origins = vec![gptq; file.packed.len()];
        let archive = torch_archive(&file.packed, &origins, export.meta);
        let (wrappers, expected) = unwrap(&shipped, &path).unwrap();
        // What torch.save wrote: pickle, zip file, and the id that PyTorch makes of names and checksums.
        let at = archive.iter().zip(&expected).position(|(a, b)| a != b);
        assert_eq!((at, archive.len()), (None, expected.len()), "{pr}");
        let written = torch_export(&file.packed, &origins, export).unwrap();
        assert_eq!(unwrap(&written, &path).unwrap(), (wrappers, expected), "{pr}");
        let again = parse(&written, &path).unwrap();
        assert_eq!(again.packed, file.packed, "{pr}");
        // Other versions of the compressors find other streams, but no much longer ones.
        let (ours, theirs) = (written.len() as f64, shipped.len() as f64);
        assert!((ours / theirs - 1.0).abs() < 5e-3, "{pr}: {ours} of {theirs} bytes");
    }
}

fn whole_artifacts_decode_to_identical_tensors() {
    let facts = facts();
    let artifacts = facts["artifacts"].as_array().unwrap();
    assert_eq!(artifacts.len(), 3);
    for facts in artifacts {
        let name = facts["file"].as_str().unwrap();
        let file = read(&folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(file.description().ends_with("torch zip > PR #286 export (w, m)"), "{}", file.description());
        let found: BTreeMap<String, String> = file
            .params()
            .iter()
            .map(|(name, tensor)| (name.to_string(), ContentDigest::of(&tensor.to_le_bytes()).sha256.to_string()))
            .collect();
        let expected = facts["tensors"].as_object().unwrap().iter();
        let expected: BTreeMap<String, String> =
            expected.map(|(name, tensor)| (name.clone(), tensor["sha256_f32"].as_str().unwrap().to_string())).collect();
        assert_eq!(found, expected, "{name}");
    }
}
