//! An unsigned in-toto Statement about a rerun; signing is left to tools made for it.
//!
//! Subjects are the submission's files and the artifacts that came out. The predicate is described in `docs/rerun.md`.

use serde_json::{Value, json};

use crate::digest::ContentDigest;
use crate::report::Conclusion;
use crate::report::in_toto::STATEMENT_TYPE;
use crate::rerun::judge::Judgement;
use crate::rerun::record::Inputs;

/// `predicateType` of a rerun.
pub const PREDICATE_TYPE: &str = "golf-harness:predicate/rerun/v1";

/// The statement.
pub fn statement(judgement: &Judgement, inputs: &Inputs) -> Value {
    let digests = |digest: &ContentDigest| json!({ "sha256": digest.sha256, "blake3": digest.blake3 });
    let resource = |name: &str, digest: &ContentDigest| json!({ "name": name, "digest": digests(digest) });
    let mut subjects: Vec<Value> = inputs.code.iter().map(|(name, digest)| resource(name, digest)).collect();
    for record in &judgement.records {
        subjects.extend(
            record.artifact.iter().map(|artifact| {
                resource(&format!("seed-{}/{}", record.seed, artifact.file.path), &artifact.file.digest)
            }),
        );
    }
    let runs: Vec<Value> = judgement
        .records
        .iter()
        .map(|record| {
            json!({
                "seed": record.seed,
                "started": record.started,
                "command": record.command,
                "environment": record.variables,
                "isolation": record.surroundings,
                "ended": record.ended,
                "clock": record.times,
                "gpus": record.gpus,
                "output": digests(&record.output),
                "val_bpb": record.result().map(|result| result.val_bpb),
                "val_loss": record.result().and_then(|result| result.val_loss),
                "artifact_bytes": record.artifact.as_ref().map(|artifact| artifact.file.digest.bytes),
                "code_bytes": record.code_bytes,
            })
        })
        .collect();
    let result = match judgement.conclusion() {
        Conclusion::Passed => "PASSED",
        Conclusion::Failed => "FAILED",
        Conclusion::Unchecked => "WARNED",
    };
    json!({
        "_type": STATEMENT_TYPE,
        "subject": subjects,
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "result": result,
            "level": judgement.level,
            "levelWord": judgement.level_word,
            "smoke": judgement.is_smoke,
            "harness": judgement.harness,
            "machine": judgement.machine,
            "data": inputs.data.iter().map(|(name, digest)| resource(name, digest)).collect::<Vec<_>>(),
            "claim": judgement.claim,
            "comparison": judgement.comparison,
            "standing": judgement.standing,
            "scoring": judgement.scoring,
            "remarks": judgement.remarks,
            "runs": runs,
        },
    })
}
