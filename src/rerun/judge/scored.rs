//! The artifacts that a rerun produced, scored by this program: numbers that are not the script's own.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Agreement, Remark, Row};
use crate::digest::Digest;
use crate::report::Severity;

/// Every seed's artifact, scored.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Scoring {
    /// Identity of the manifest that describes the network, the data and the windows.
    pub manifest: Digest,
    /// What ran the network; none if nothing was scored.
    pub engine: Option<String>,
    /// How far the script's number may be from this one, bits per byte.
    pub tolerance: f64,
    /// By seed.
    pub seeds: Vec<SeedScore>,
}

/// What this program made of an artifact.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct SeedScore {
    /// The seed.
    pub seed: u64,
    /// By the script, bits per byte.
    pub script_bpb: Option<f64>,
    /// Sliding windows as the manifest lays them, bits per byte.
    pub val_bpb: Option<f64>,
    /// The same, nats per token.
    pub val_loss: Option<f64>,
    /// Tokens scored.
    pub tokens: Option<u64>,
    /// Bytes of text that they stand for.
    pub bytes: Option<u64>,
    /// `val_bpb` minus `script_bpb`.
    pub difference: Option<f64>,
    /// What it comes to.
    pub agreement: Agreement,
    /// Why it was not scored.
    pub reason: Option<String>,
}

/// Numbers of one score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// Bits per byte.
    pub val_bpb: f64,
    /// Nats per token.
    pub val_loss: f64,
    /// Tokens scored.
    pub tokens: u64,
    /// Bytes of text that they stand for.
    pub bytes: u64,
}

impl SeedScore {
    /// Sets a score, or the reason why there is none, beside the script's own number.
    pub fn of(seed: u64, script_bpb: Option<f64>, scored: Result<Scored, String>, tolerance: f64) -> Self {
        let (scored, reason) = match scored {
            Ok(scored) => (Some(scored), None),
            Err(reason) => (None, Some(reason)),
        };
        let val_bpb = scored.map(|scored| scored.val_bpb);
        let row = Row::of(Some(seed), script_bpb.map(|value| (value, 0.0)), val_bpb, tolerance);
        SeedScore {
            seed,
            script_bpb,
            val_bpb,
            val_loss: scored.map(|scored| scored.val_loss),
            tokens: scored.map(|scored| scored.tokens),
            bytes: scored.map(|scored| scored.bytes),
            difference: row.difference,
            agreement: row.agreement,
            reason,
        }
    }

    /// The agreement in words.
    pub fn words(&self) -> &'static str {
        match self.agreement {
            Agreement::NotClaimed => "no number of the script's",
            Agreement::NoResult => "NOT SCORED",
            agreement => agreement.words(),
        }
    }
}

impl Scoring {
    /// Whether every artifact was scored.
    pub fn is_whole(&self) -> bool {
        self.seeds.iter().all(|seed| seed.val_bpb.is_some())
    }

    /// What a reader must know of it.
    pub(super) fn remarks(&self) -> Vec<Remark> {
        let remark = |seed: &SeedScore| {
            let (severity, kind, message) = match (seed.agreement, seed.val_bpb, seed.script_bpb) {
                (Agreement::Differs, Some(ours), Some(script)) => {
                    let allowed = self.tolerance;
                    let message = format!(
                        "its artifact scores {ours:.8} here, and the script says {script:.8}; {allowed} is allowed"
                    );
                    (Severity::Fail, "score_differs", message)
                }
                (Agreement::NoResult, ..) => {
                    let reason = seed.reason.as_deref().unwrap_or("no reason is known");
                    (Severity::Warning, "not_scored", format!("its artifact was not scored: {reason}"))
                }
                _ => return None,
            };
            Some(Remark { seed: Some(seed.seed), severity, kind, message })
        };
        self.seeds.iter().filter_map(remark).collect()
    }
}
