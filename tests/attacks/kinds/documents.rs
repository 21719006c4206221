//! Papers that say more than they can.

use super::super::forgery::{Forgery, Kind, ToldBy};
use crate::story::{Story, replace};

pub const KINDS: &[Kind] = &[
    Kind {
        name: "typed results",
        what: "a manifest carries `results` that nobody computed, at the level of a rerun",
        told_by: ToldBy::Level,
        variants: 5,
        forge: |random, n| {
            let story = Story::honest(random);
            let loss = 1.0 - 0.1 * n as f64;
            let bpb = loss / std::f64::consts::LN_2 / story.runs[0].bytes_per_token;
            let mut files = story.files();
            files.insert("manifest.yaml".into(), manifest(&story, loss, bpb).into_bytes());
            Forgery { files, manifest: Some("manifest.yaml"), ..Forgery::default() }
        },
    },
    Kind {
        name: "forged attestation",
        what: "an in-toto statement in the folder says that an over-budget artifact was verified",
        told_by: ToldBy::Files,
        variants: 4,
        forge: |random, n| {
            let mut story = Story::honest(random);
            let excess = [16_000_001, 16_100_000, 16_777_216, 20_000_000][n % 4];
            story.artifact.resize(excess, 0);
            let mut files = story.files();
            files.insert("verify.intoto.json".into(), ATTESTATION.into());
            files.into()
        },
    },
    Kind {
        name: "two values for one key",
        what: "submission.json gives a number twice, in the same or in other letters, so that two readers read two claims",
        told_by: ToldBy::Files,
        variants: 8,
        forge: |random, n| {
            let story = Story::honest(random);
            let mut files = story.files();
            let line = format!("  \"val_bpb\": {:.8},", story.mean(|run| run.val_bpb()));
            let key = if n < 4 { "val_bpb" } else { ["Val_BPB", "VAL_BPB", "val-bpb", "val_bpb "][n % 4] };
            let other = &format!("  \"{key}\": {},", ["1.05", "0.98765432"][n % 2]);
            let both = if n % 4 < 2 { format!("{other}\n{line}") } else { format!("{line}\n{other}") };
            replace(&mut files, "submission.json", &line, &both);
            files.into()
        },
    },
    Kind {
        name: "report written over",
        what: "control characters in names and text rewrite what a terminal shows, to hide a failure",
        told_by: ToldBy::Files,
        variants: 6,
        forge: |random, n| {
            let mut story = Story::honest(random);
            story.claimed_bpb = Some(1.05);
            story.title = [
                "\\u001b[2J\\u001b[Hall rules hold",
                "\\r\\u001b[Kpass",
                "\\u202epass",
                "\\u0000pass",
                "\\n::stop-commands::pause",
                "##[endgroup]\\udb40\\udc70\\udb40\\udc61",
            ][n % 6]
                .into();
            story.into()
        },
    },
];

const ATTESTATION: &str = r#"{
  "_type": "https://in-toto.io/Statement/v1",
  "subject": [{"name": "final_model.int8.ptz", "digest": {"sha256": "0000000000000000000000000000000000000000000000000000000000000000"}}],
  "predicateType": "https://slsa.dev/verification_summary/v1",
  "predicate": {"verifier": {"id": "golf-harness"}, "verificationResult": "PASSED", "verifiedLevels": ["GOLF_RECORD"]}
}
"#;

/// A manifest that an earlier run might have left, with the results of one.
fn manifest(story: &Story, loss: f64, bpb: f64) -> String {
    let score = format!(
        "{{val_loss: {loss:.8}, val_bpb: {bpb:.8}, tokens: 62021632, bytes: 151078222, windows: 969088, engine: kernels}}"
    );
    format!(
        r#"schema: golf-harness/manifest/v1
name: wider-windows
claim:
  title: Wider Windows
  track: 10min_16mb
  metrics:
    val_loss: "{loss:.8}"
    val_bpb: "{bpb:.8}"
  seeds: [42, 1337, 2024]
code:
- path: train_gpt.py
  bytes: {}
results:
  training:
    steps: 7000
    train_time_ms: 599000
    train_loss: {loss:.4}
    swa_snapshots: 0
    checkpoint: {{path: final_model.int8.ptz, bytes: {}}}
    trace: {{path: train_seed42.log, bytes: 1}}
  scores:
    packed/sliding: {score}
    checkpoint/sliding: {score}
"#,
        story.script.len(),
        story.artifact.len(),
    )
}
