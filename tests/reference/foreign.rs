//! Files that PyTorch wrote, read without Python; and what is written for PyTorch.

use std::collections::BTreeMap;

use golf_harness::artifact::foreign::Origin;
use golf_harness::artifact::inspect::{Kind, Rest, inspect};
use golf_harness::artifact::{ClassRule, PackedTensor, PackedValues, assign, foreign, scale_count};
use golf_harness::digest::ContentDigest;
use golf_harness::manifest::QuantizationConfig;
use golf_harness::quant::{MetaStyle, Rounding, TensorClass};
use half::f16;

use crate::shipped::shipped;
use crate::support::{ReferenceSet, on_both_sets};

on_both_sets! {
    the_scripts_own_blob_reads_to_identical_tensors,
    integers_in_safetensors_find_their_scales,
    the_scripts_own_blob_is_taken_apart_completely,
}

fn digests(file: &foreign::Foreign) -> BTreeMap<String, String> {
    let digest = |tensor: &golf_harness::model::HostTensor| ContentDigest::of(&tensor.to_le_bytes()).sha256.to_string();
    file.params().iter().map(|(name, tensor)| (name.to_string(), digest(tensor))).collect()
}

fn expected(folder: &std::path::Path, key: &str) -> BTreeMap<String, String> {
    let facts: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("export.json")).unwrap()).unwrap();
    serde_json::from_value(facts[key].clone()).unwrap()
}

fn the_scripts_own_blob_reads_to_identical_tensors(set: ReferenceSet) {
    let folder = set.folder();
    let file = foreign::read(&folder.join("export_model.ptz")).unwrap();
    assert_eq!(file.description(), "zstd > torch zip > PR #286 export (w, m)");
    assert_eq!(digests(&file), expected(&folder, "dequant_sha256_f32_le"));
    assert!(file.packed.iter().all(|tensor| tensor.class() != TensorClass::F32));
}

/// The larger set has no such blob.
#[test]
fn the_baselines_int8_zlib_blob_reads_to_identical_tensors() {
    let file = foreign::read(&shipped().join("export_baseline.ptz")).unwrap();
    assert_eq!(file.description(), "zlib > torch zip > baseline int8 export");
    assert_eq!(digests(&file), expected(&shipped(), "baseline_dequant_sha256_f32_le"));
}

fn integers_in_safetensors_find_their_scales(set: ReferenceSet) {
    let folder = set.folder();
    let file = foreign::read(&folder.join("export_quantised.safetensors")).unwrap();
    assert_eq!(digests(&file), expected(&folder, "dequant_sha256_f32_le"));
}

#[test]
fn the_written_ptz_is_the_shipped_one_that_pytorch_has_loaded() {
    // ci/reference/check_ptz.py loads fixtures/reference/torch_written.ptz with torch.load and compares every tensor.
    let folder = shipped();
    let file = foreign::read(&folder.join("export_model.ptz")).unwrap();
    let sizes: Vec<_> = file.packed.iter().map(|tensor| (tensor.name(), tensor.elements())).collect();
    let config = QuantizationConfig { passthrough_max_elements: 511, ..Default::default() };
    let bytes = foreign::torch_ptz(&file.packed, &assign(&sizes, &config).unwrap(), 22).unwrap();
    let path = folder.join("torch_written.ptz");
    if std::env::var_os("GOLF_WRITE_FIXTURES").is_some() {
        std::fs::write(&path, &bytes).unwrap();
    }
    // zstd's bytes may change with its version; the archive inside must not.
    let inner = |bytes: &[u8]| foreign::unwrap(bytes, &path).unwrap().1;
    assert_eq!(inner(&bytes), inner(&std::fs::read(&path).unwrap()));
    assert_eq!(foreign::parse(&bytes, &path).unwrap().packed, file.packed);
}

#[test]
fn the_scripts_own_blob_is_written_again_byte_by_byte() {
    let path = shipped().join("export_model.ptz");
    let file = foreign::read(&path).unwrap();
    let sizes: Vec<_> = file.packed.iter().map(|tensor| (tensor.name(), tensor.elements())).collect();
    let config = QuantizationConfig { passthrough_max_elements: 511, ..Default::default() };
    let origins: Vec<Origin> = assign(&sizes, &config).unwrap().into_iter().map(Origin::from).collect();
    let archive = foreign::torch_archive(&file.packed, &origins, MetaStyle::Types);
    // What torch.save wrote of the same tensors.
    let expected = foreign::unwrap(&std::fs::read(&path).unwrap(), &path).unwrap().1;
    let at = archive.iter().zip(&expected).position(|(a, b)| a != b);
    assert_eq!((at, archive.len()), (None, expected.len()));
}

/// Tensors of every class and rank, of one value and of none.
fn all_kinds(count: usize) -> Vec<PackedTensor> {
    let half = |i: usize| f16::from_f32(i as f32 / 7.0 - 3.0);
    let tensor = |i: usize| {
        let shapes = [&[3, 5][..], &[], &[7], &[0, 4], &[2, 2, 300], &[1, 2, 1, 2]];
        let shape = shapes[i % 6].to_vec();
        let elements = shape.iter().product();
        let class =
            [TensorClass::Int6, TensorClass::F16, TensorClass::Int5, TensorClass::F32, TensorClass::Int8][i % 5];
        let values = match class {
            TensorClass::F16 => PackedValues::F16((0..elements).map(half).collect()),
            TensorClass::F32 => PackedValues::F32((0..elements).map(|i| i as f32 * 0.3).collect()),
            class => PackedValues::Integers {
                class,
                symbols: (0..elements).map(|i| (i * 5 % 29) as i8 - 14).collect(),
                scales: (0..scale_count(&shape)).map(half).collect(),
            },
        };
        PackedTensor::new(format!("blocks.{i}.x.weight"), shape, values).unwrap()
    };
    (0..count).map(tensor).collect()
}

mod needs_torch {
    use std::process::Command;

    use golf_harness::quant::ArtifactContainer;
    use serde_json::Value;

    use super::*;

    #[test]
    #[ignore = "needs PyTorch, zstandard and brotli in python3, or in what GOLF_TORCH_PYTHON names"]
    fn pytorch_loads_what_is_written_and_writes_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let mut written = Vec::new();
        // Python's pickler ends an instruction after 1000 keys, and begins another even if nothing is left for it.
        for (count, container) in [
            (6, "torch:none"),
            (0, "torch:none/methods"),
            (1, "torch:none/labels"),
            (30, "torch:zlib"),
            (30, "torch:zstd:22/methods"),
            (30, "torch:xz:9"),
            (30, "torch:brotli/labels"),
            (1000, "torch:none/methods"),
        ] {
            let ArtifactContainer::Torch(export) = container.parse().unwrap() else { panic!("{container}") };
            let tensors = all_kinds(count);
            let gptq = Origin { rule: ClassRule::Small, rounding: Rounding::Gptq };
            let bytes = foreign::torch_export(&tensors, &vec![gptq; count], export).unwrap();
            let codec = container.split([':', '/']).nth(1).unwrap();
            let path = folder.path().join(format!("{}.{codec}", written.len()));
            std::fs::write(&path, &bytes).unwrap();
            written.push((path, tensors, container));
        }
        let python = std::env::var("GOLF_TORCH_PYTHON").unwrap_or_else(|_| "python3".into());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/ci/reference/torch_again.py");
        let ran = Command::new(python).arg(script).args(written.iter().map(|(path, ..)| path)).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let answers: Vec<Value> =
            ran.stdout.split(|&b| b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        assert_eq!(answers.len(), written.len());
        for (answer, (path, tensors, container)) in answers.iter().zip(written) {
            assert_eq!(answer["same_bytes"], true, "{container}");
            assert_eq!(answer["m"].as_object().unwrap().len(), tensors.len());
            for tensor in &tensors {
                let named = |suffix: &str| &answer["w"][format!("{}{suffix}", tensor.name())];
                let check = |found: &Value, dtype: &str, shape: &[usize], bytes: &[u8]| {
                    let digest = ContentDigest::of(bytes).sha256.to_string();
                    assert_eq!(*found, serde_json::json!([dtype, shape, digest]), "{container}: {}", tensor.name());
                };
                let halves = |values: &[f16]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
                match tensor.values() {
                    PackedValues::F16(values) => check(named(""), "torch.float16", tensor.shape(), &halves(values)),
                    PackedValues::F32(values) => {
                        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                        check(named(""), "torch.float32", tensor.shape(), &bytes);
                    }
                    PackedValues::Integers { symbols, scales, .. } => {
                        let bytes: Vec<u8> = symbols.iter().map(|&symbol| symbol as u8).collect();
                        check(named(".q"), "torch.int8", tensor.shape(), &bytes);
                        let per_row = [scales.len()];
                        let shape = if tensor.shape().len() == 2 { &per_row[..] } else { &[] };
                        check(named(".scale"), "torch.float16", shape, &halves(scales));
                    }
                }
            }
            let bytes = std::fs::read(&path).unwrap();
            if tensors.len() > 1 {
                let read = foreign::parse(&bytes, &path).unwrap_or_else(|error| panic!("{container}: {error}"));
                assert_eq!(read.packed, tensors, "{container}");
            }
        }
    }
}

fn the_scripts_own_blob_is_taken_apart_completely(set: ReferenceSet) {
    let folder = set.folder();
    let facts: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("export.json")).unwrap()).unwrap();
    let path = folder.join("export_model.ptz");
    let found = inspect(&path).unwrap();
    assert_eq!(found.unpacked.0, facts["raw_torch_save_bytes"].as_u64().unwrap());
    let bytes = std::fs::metadata(&path).unwrap().len();
    assert!(facts["ptz_bytes"].as_u64().is_none_or(|claimed| claimed == bytes));

    // Class and size of every tensor, from the script's own record and from the weights before export.
    let weights = golf_harness::model::read_safetensors(&folder.join("export_weights.safetensors")).unwrap();
    let mut expected: BTreeMap<Kind, (u64, u64)> = BTreeMap::new();
    let mut rows = 0;
    for (name, tensor) in weights.iter() {
        let class = match facts["classes"][name].as_str().unwrap() {
            "int5" => TensorClass::Int5,
            "int6" => TensorClass::Int6,
            "int8" => TensorClass::Int8,
            _ => TensorClass::F16,
        };
        let (tensors, values) = expected.entry(Kind::Class(class)).or_default();
        (*tensors, *values) = (*tensors + 1, *values + tensor.len() as u64);
        rows += if class == TensorClass::F16 { 0 } else { tensor.shape()[0] as u64 };
    }
    let totals = found.totals().into_iter().map(|total| (total.kind, (total.tensors, total.values)));
    assert_eq!(totals.collect::<BTreeMap<_, _>>(), expected);
    // Integers take a byte, halves two; every row has a half-precision scale.
    for total in found.totals() {
        let width = if total.kind == Kind::Class(TensorClass::F16) { 2 } else { 1 };
        assert_eq!(total.held.0, total.values * width, "{}", total.kind);
    }
    assert_eq!(found.rest.iter().find(|rest| rest.what == Rest::Scales).unwrap().held.0, 2 * rows);
    let all = found.tensors.iter().map(|t| t.in_file.0).chain(found.rest.iter().map(|r| r.in_file.0));
    assert_eq!(all.sum::<u64>(), bytes);
}
