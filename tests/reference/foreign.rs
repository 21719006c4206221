//! Files that PyTorch wrote, read without Python; and what is written for PyTorch.

use std::collections::BTreeMap;

use golf_harness::artifact::inspect::{Kind, Rest, inspect};
use golf_harness::artifact::{assign, foreign};
use golf_harness::digest::ContentDigest;
use golf_harness::manifest::QuantizationConfig;
use golf_harness::quant::TensorClass;

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
