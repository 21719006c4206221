//! Reference numbers: integers, scales and decoded values.

use std::collections::BTreeMap;
use std::path::Path;

use golf_harness::artifact::{PackContext, PackedTensor, PackedValues, assign, encode, pack, parse, prune, quantize};
use golf_harness::digest::ContentDigest;
use golf_harness::interrupt::Interrupt;
use golf_harness::manifest::QuantizationConfig;
use golf_harness::model::{HostTensor, ModelConfig, Params, layout, read_safetensors};
use golf_harness::progress::Progress;
use golf_harness::quant::{Codec, TensorClass};
use safetensors::SafeTensors;
use serde_json::Value;

use crate::shipped::shipped;
use crate::support::{ReferenceSet, on_both_sets};

on_both_sets! {
    every_tensor_gets_the_class_the_script_gives_it,
    integers_scales_and_halves_are_identical,
    decoded_values_are_identical,
    tables_held_in_bf16_decode_as_in_the_script,
    an_artifact_carries_the_same_values,
}

struct Export {
    weights: Params,
    stored: Vec<u8>,
    facts: Value,
    config: QuantizationConfig,
}

fn load(folder: &Path) -> Export {
    let facts: Value = serde_json::from_slice(&std::fs::read(folder.join("export.json")).unwrap()).unwrap();
    let mut config = QuantizationConfig::default();
    if let Some(max) = facts["keep_float_max_numel"].as_u64() {
        config.passthrough_max_elements = max;
    }
    Export {
        weights: read_safetensors(&folder.join("export_weights.safetensors")).unwrap(),
        stored: std::fs::read(folder.join("export_quantised.safetensors")).unwrap(),
        facts,
        config,
    }
}

fn strings(value: &Value) -> BTreeMap<String, String> {
    serde_json::from_value(value.clone()).unwrap()
}

fn labels(tensors: &[(&str, usize)], config: &QuantizationConfig) -> BTreeMap<String, String> {
    let rules = assign(tensors, config).unwrap();
    tensors.iter().zip(rules).map(|((name, _), rule)| (name.to_string(), rule.export_label().to_string())).collect()
}

fn sizes(params: &Params) -> Vec<(&str, usize)> {
    params.iter().map(|(name, tensor)| (name, tensor.len())).collect()
}

fn quantize_all(params: &Params, config: &QuantizationConfig) -> Vec<PackedTensor> {
    let rules = assign(&sizes(params), config).unwrap();
    let tensors = params.iter().zip(rules);
    tensors.map(|((name, tensor), rule)| quantize(name, tensor, rule.class(), config).unwrap()).collect()
}

fn sha256(tensor: &HostTensor) -> String {
    ContentDigest::of(&tensor.to_le_bytes()).sha256.to_string()
}

fn every_tensor_gets_the_class_the_script_gives_it(set: ReferenceSet) {
    let export = load(&set.folder());
    assert_eq!(labels(&sizes(&export.weights), &export.config), strings(&export.facts["classes"]));
    for (k, expected) in export.facts["classes_by_keep_last_k"].as_object().unwrap() {
        let config = QuantizationConfig { keep_last_k_fp16: k.parse().unwrap(), ..export.config.clone() };
        let mut found = labels(&sizes(&export.weights), &config);
        found.retain(|name, _| expected.get(name).is_some());
        assert_eq!(found, strings(expected), "keep last {k}");
    }
    let specs = layout(&ModelConfig::default());
    let full: Vec<_> = specs.iter().map(|spec| (spec.name.as_str(), spec.shape.iter().product())).collect();
    let expected = strings(&export.facts["full_config_classes"]);
    assert_eq!(labels(&full, &QuantizationConfig::default()), expected);
}

fn integers_scales_and_halves_are_identical(set: ReferenceSet) {
    let export = load(&set.folder());
    let expected = SafeTensors::deserialize(&export.stored).unwrap();
    let mut seen = 0;
    for tensor in quantize_all(&export.weights, &export.config) {
        let name = tensor.name();
        match tensor.values() {
            PackedValues::Integers { symbols, scales, .. } => {
                let integers = expected.tensor(&format!("{name}.q")).unwrap();
                assert_eq!(integers.shape(), tensor.shape(), "{name}");
                let found: Vec<u8> = symbols.iter().map(|&symbol| symbol as u8).collect();
                if let Some(at) = found.iter().zip(integers.data()).position(|(a, b)| a != b) {
                    panic!("{name}: element {at}: {} instead of {}", found[at] as i8, integers.data()[at] as i8);
                }
                let scale = expected.tensor(&format!("{name}.scale")).unwrap();
                let found: Vec<u8> = scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
                assert_eq!(found, scale.data(), "{name}");
                seen += 2;
            }
            PackedValues::F16(values) => {
                let halves: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                assert_eq!(halves, expected.tensor(name).unwrap().data(), "{name}");
                seen += 1;
            }
            PackedValues::F32(_) => panic!("{name}: the script's exports hold no f32"),
        }
    }
    assert_eq!(seen, expected.len());
}

fn decoded_values_are_identical(set: ReferenceSet) {
    let folder = set.folder();
    let export = load(&folder);
    let packed = quantize_all(&export.weights, &export.config);
    let found: BTreeMap<_, _> =
        packed.iter().map(|tensor| (tensor.name().to_string(), sha256(&tensor.dequantize()))).collect();
    assert_eq!(found, strings(&export.facts["dequant_sha256_f32_le"]));

    let sample = read_safetensors(&folder.join("export_dequant_sample.safetensors")).unwrap();
    for (name, expected) in sample.iter() {
        let tensor = packed.iter().find(|tensor| tensor.name() == name).unwrap().dequantize();
        assert_eq!(&tensor.data()[..expected.len()], expected.data(), "{name}");
    }
}

fn tables_held_in_bf16_decode_as_in_the_script(set: ReferenceSet) {
    let export = load(&set.folder());
    let to_bf16 = |tensor: &HostTensor| {
        let data = tensor.data().iter().map(|&value| half::bf16::from_f32(value).to_f32()).collect();
        HostTensor::new(tensor.shape().to_vec(), data).unwrap()
    };
    for (name, expected) in strings(&export.facts["script_dtype_variant"]["dequant_sha256_after_cast_to_f32"]) {
        let class = if name.starts_with("tok_emb") { TensorClass::F16 } else { TensorClass::Int8 };
        let rounded = to_bf16(export.weights.get(&name).unwrap());
        let packed = quantize(&name, &rounded, class, &export.config).unwrap();
        assert_eq!(sha256(&to_bf16(&packed.dequantize())), expected, "{name}");
    }
}

/// The larger set has no pruned weights.
#[test]
fn pruned_weights_decode_as_pytorch_prunes_them() {
    let export = load(&shipped());
    let fraction = export.facts["prune_fraction"].as_f64().unwrap();
    let config = QuantizationConfig { prune_fraction: fraction, ..export.config.clone() };
    let mut weights = export.weights.clone();
    let zeroed: usize = weights.iter_mut().map(|(_, tensor)| prune(tensor, &config)).sum();
    assert!(zeroed > 0);
    let found: BTreeMap<_, _> = quantize_all(&weights, &config)
        .iter()
        .map(|tensor| (tensor.name().to_string(), sha256(&tensor.dequantize())))
        .collect();
    assert_eq!(found, strings(&export.facts["pruned_dequant_sha256_f32_le"]));
}

fn an_artifact_carries_the_same_values(set: ReferenceSet) {
    let export = load(&set.folder());
    let (progress, interrupt) = (Progress::hidden(), Interrupt::none());
    let packed = pack(export.weights.clone(), &export.config, PackContext::default(), &progress, &interrupt).unwrap();
    let artifact = parse(&packed.encoded.bytes).unwrap();
    let found: BTreeMap<_, _> =
        artifact.params.iter().map(|(name, tensor)| (name.to_string(), sha256(tensor))).collect();
    assert_eq!(found, strings(&export.facts["dequant_sha256_f32_le"]));
    assert_eq!(artifact.tensors, packed.encoded.tensors);
    assert_eq!(artifact.packed, quantize_all(&export.weights, &export.config));
    assert_eq!((artifact.file, artifact.payload), (packed.encoded.file, packed.encoded.payload));
    // Without any pool of threads: the same bytes.
    let single = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let level = export.config.zstd_level;
    let again = single.install(|| encode(&artifact.packed, Codec::Zstd, level, &progress, &interrupt)).unwrap();
    assert_eq!(again.bytes, packed.encoded.bytes);
}

/// The fixture's folder has no counterpart among the larger sets.
#[test]
fn scales_are_those_of_trying_every_candidate() {
    let folder = shipped();
    let weights = read_safetensors(&folder.join("export_weights.safetensors")).unwrap();
    let facts: Value = serde_json::from_slice(&std::fs::read(folder.join("scale_search.json")).unwrap()).unwrap();
    let cases = facts["cases"].as_array().unwrap();
    assert!(cases.len() > 50);
    let mut unsearched = BTreeMap::new();
    for case in cases {
        let field = |name: &str| case[name].as_str().unwrap();
        let class: TensorClass = serde_json::from_value(case["class"].clone()).unwrap();
        let config = QuantizationConfig {
            scale_search: serde_json::from_value(case["scale_search"].clone()).unwrap(),
            low_bit_clip_quantile: case["low_bit_clip_quantile"].as_f64().unwrap(),
            ..Default::default()
        };
        let tensor = weights.get(field("tensor")).unwrap();
        let packed = quantize(field("tensor"), tensor, class, &config).unwrap();
        let PackedValues::Integers { symbols, scales, .. } = packed.values() else { panic!("{case}") };
        let digest = |bytes: Vec<u8>| ContentDigest::of(&bytes).sha256.to_string();
        let scales = scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
        let symbols = symbols.iter().map(|&symbol| symbol as u8).collect();
        assert_eq!(digest(scales), field("scales_sha256"), "{case}");
        assert_eq!(digest(symbols), field("symbols_sha256"), "{case}");

        let decoded = packed.dequantize();
        let pairs = tensor.data().iter().zip(decoded.data());
        let error: f64 = pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
        let expected = case["squared_error"].as_f64().unwrap();
        assert!((error - expected).abs() <= 1e-9 * expected, "{case}: {error}");
        // Searching never does worse than the plain rule.
        let key = (field("tensor").to_string(), class);
        match field("scale_search") {
            "max" if config.low_bit_clip_quantile == 1.0 => drop(unsearched.insert(key, expected)),
            "max" => {}
            _ => assert!(error <= unsearched[&key] * (1.0 + 1e-12), "{case}"),
        }
    }
}
