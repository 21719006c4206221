//! `reproduce` on good and bad input.

use crate::support::{fixture, golf};

fn manifest(name: &str) -> std::path::PathBuf {
    fixture("..").join("manifests").join(name)
}

#[test]
fn without_its_data_it_says_what_is_missing_and_checks_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let output = golf("reproduce")
        .current_dir(folder.path())
        .arg(manifest("pr-286.yaml"))
        .env("DATA_PATH", "no-shards-here")
        .env("TOKENIZER_PATH", "no-tokenizer-here.model")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    for expected in
        ["no-shards-here does not exist", "no-tokenizer-here.model does not exist", "518,159", "601.991", "verdict"]
    {
        assert!(text.contains(expected), "{expected} is not in:\n{text}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing may be left behind");
}

#[test]
fn a_second_run_keeps_every_stage_and_prints_the_same_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let reproduce = || {
        let mut command = golf("reproduce");
        command.arg(manifest("smoke.yaml")).arg("--out").arg(folder.path().join("run")).arg("--json");
        for setting in
            ["schedule.iterations=2", "schedule.warmup_steps=0", "schedule.train_batch_tokens=1024", "eval.stride=128"]
        {
            command.args(["--set", setting]);
        }
        let output = command.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap_or_else(|e| panic!("{e}: {error}"))
    };
    let (first, second) = (reproduce(), reproduce());
    assert_eq!(first["stages_done"], serde_json::json!(["train", "pack", "score"]));
    assert_eq!(second["stages_kept"], first["stages_done"]);
    assert_eq!(second["scores"], first["scores"]);
    // Stride = window length: the sliding windows are the non-overlapping ones plus a tail.
    let tokens = |label: &str| first["scores"][label]["tokens"].as_u64().unwrap();
    assert_eq!(tokens("packed/sliding"), 53_655);
    assert_eq!(tokens("packed/non-overlapping"), 53_655 / 128 * 128);

    // A damaged artifact is noticed, packed again and comes out the same.
    let artifact = folder.path().join("run/model.golf");
    let packed = std::fs::read(&artifact).unwrap();
    std::fs::write(&artifact, b"damage").unwrap();
    let third = reproduce();
    assert_eq!(third["stages_kept"], serde_json::json!(["train"]));
    assert_eq!(third["scores"], first["scores"]);
    assert_eq!(std::fs::read(&artifact).unwrap(), packed);
}
