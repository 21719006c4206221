//! What `score` tells as one JSON document.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Agreement, ExactSum, Input, Pass, Report, RunSettings, ScoreSettings, SidecarCount, Subset};
use crate::digest::Digest;
use crate::is_default::is_default;
use crate::manifest::{Tail, TttConfig};
use crate::model::ModelConfig;
use crate::units::{BitsPerByte, Nats};

/// Name and version of the document of `score --json` and `score merge --json`.
const SCORE_SCHEMA: &str = "golf-harness/score/v1";

/// The document of `score --json`. `run`, `cross_check` and `processors` aside it is the same for a run in one piece and
/// for merged parts.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Scoring<'a> {
    /// Always `golf-harness/score/v1`.
    #[schemars(extend("const" = SCORE_SCHEMA))]
    schema: &'static str,
    /// Version of the program.
    harness: &'a str,
    /// Operating system and architecture.
    platform: &'a str,
    /// Engine that ran the windows.
    engine: &'a str,
    /// Identity of the manifest, as the file has it.
    manifest_identity: Digest,
    /// The pass that counts, a key of `scores`.
    headline: Option<String>,
    /// A pass by weights and windows, such as `packed/sliding`; `packed/sliding-ttt` where the weights learned on the way.
    scores: BTreeMap<String, PassScore>,
    /// Packed minus checkpoint by kind of windows, where both were scored.
    quantization_gap: BTreeMap<String, GapScore>,
    /// Set where only the beginning of the split was scored.
    subset: Option<Subset>,
    /// What decides the numbers beside the files.
    settings: Settings<'a>,
    /// Every file read.
    inputs: &'a [Input],
    /// How well a second engine agreed, if there was one.
    cross_check: Option<&'a Agreement>,
    /// How it was run; null for merged parts.
    run: Option<RunSettings>,
    /// Kinds of processors the parts were made on, sorted.
    processors: &'a [String],
    /// Set where the byte table does not count the bytes of the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    miscount: Option<TextScores>,
    /// What byte sidecars count in place of the table, and what there is to hold it against; left out without them.
    #[serde(skip_serializing_if = "Option::is_none")]
    byte_sidecar: Option<SidecarCount>,
}

/// One form of the weights with one kind of windows.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
struct PassScore {
    /// Nats per token; null where nothing was scored.
    val_loss: Option<Nats>,
    /// Bits per byte; null where nothing was scored.
    val_bpb: Option<BitsPerByte>,
    /// Tokens scored.
    tokens: u64,
    /// Bytes of text they stand for.
    bytes: u64,
    /// Windows run.
    windows: u64,
    /// Sum of negative log-likelihoods, nats.
    total_nats: f64,
    /// The same without rounding.
    total_nats_exact: ExactSum,
}

/// Packed minus checkpoint.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
struct GapScore {
    /// Nats per token.
    val_loss: f64,
    /// Bits per byte.
    val_bpb: f64,
}

/// What decides the numbers beside the files.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub(in crate::eval) struct Settings<'a> {
    /// Predictions in a full window.
    seq_len: u64,
    /// Distance between sliding windows.
    stride: u64,
    /// What sliding windows score that the end of the text cuts short; left out where each target counts once.
    #[serde(skip_serializing_if = "is_default")]
    tail: Tail,
    /// Whether the split was read as far as it fills whole windows; left out where all of it was.
    #[serde(skip_serializing_if = "is_default")]
    whole_windows: bool,
    /// How the weights learned from what was scored; left out where they stayed as they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    ttt: Option<&'a TttConfig>,
    /// Tokens used.
    tokens: u64,
    /// The network, after flags and environment.
    model: &'a ModelConfig,
}

impl<'a> Settings<'a> {
    pub(in crate::eval) fn of(basis: &'a ScoreSettings) -> Self {
        Settings {
            seq_len: basis.seq_len,
            stride: basis.stride,
            tail: basis.tail,
            whole_windows: basis.whole_windows,
            ttt: basis.ttt.as_ref(),
            tokens: basis.tokens,
            model: &basis.model,
        }
    }
}

/// Scores over the bytes of the text, in place of those the byte table counts.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct TextScores {
    /// By the table, which is the challenge's.
    table_bytes: u64,
    /// Of the text, every U+2581 one space.
    text_bytes: u64,
    /// Bits per byte of the text, by pass.
    val_bpb_of_text: BTreeMap<String, f64>,
}

impl Report {
    /// The report for programs.
    pub fn document(&self) -> Scoring<'_> {
        let basis = &self.basis;
        let gaps = self.gaps();
        let text_bpb = |factor: f64| {
            let of_text = |pass: &Pass| Some((pass.label(), pass.numbers()?.1.0 * factor));
            self.passes.iter().filter_map(of_text).collect()
        };
        Scoring {
            schema: SCORE_SCHEMA,
            harness: &basis.harness,
            platform: &basis.platform,
            engine: &basis.engine,
            manifest_identity: basis.manifest,
            headline: self.headline().map(Pass::label),
            scores: self.passes.iter().map(|pass| (pass.label(), pass_score(pass))).collect(),
            quantization_gap: gaps
                .iter()
                .map(|gap| (gap.windows.clone(), GapScore { val_loss: gap.val_loss, val_bpb: gap.val_bpb }))
                .collect(),
            subset: basis.subset,
            settings: Settings::of(basis),
            inputs: &basis.inputs,
            cross_check: self.agreement.as_ref(),
            run: self.run,
            processors: &self.processors,
            byte_sidecar: basis.byte_sidecar,
            miscount: basis.miscount.map(|miscount| TextScores {
                table_bytes: miscount.table_bytes,
                text_bytes: miscount.text_bytes,
                val_bpb_of_text: text_bpb(miscount.factor()),
            }),
        }
    }
}

fn pass_score(pass: &Pass) -> PassScore {
    let (val_loss, val_bpb) = pass.numbers().unzip();
    PassScore {
        val_loss,
        val_bpb,
        tokens: pass.score.tokens,
        bytes: pass.score.bytes,
        windows: pass.score.windows,
        total_nats: pass.score.total.to_f64(),
        total_nats_exact: pass.score.total,
    }
}
