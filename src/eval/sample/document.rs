//! The document that `score --sample` writes for programs.

use schemars::JsonSchema;
use serde::Serialize;

use super::SampleReport;
use super::claim::{ClaimSource, Decision, Interval};
use super::estimate::Estimate;
use super::report::{Look, Outlook, SAMPLE_SCHEMA, Speed};
use super::settings::ALPHA;
use crate::digest::Digest;
use crate::eval::document::Settings;
use crate::eval::{Agreement, Input, Miscount, SidecarCount, Subset};
use crate::manifest::ClaimedNumber;

/// The document of `score --sample --json`. `run`, `outlook`, `cross_check` and `processors` aside it is the same for a
/// run in one piece and for merged parts.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SampleScoring<'a> {
    /// Always `golf-harness/score-sample/v1`.
    #[schemars(extend("const" = SAMPLE_SCHEMA))]
    schema: &'static str,
    /// Version of the program.
    harness: &'a str,
    /// Operating system and architecture.
    platform: &'a str,
    /// Engine that ran the windows.
    engine: &'a str,
    /// Identity of the manifest, as the file has it.
    manifest_identity: Digest,
    /// Weights and windows, such as `packed/sliding`.
    label: String,
    /// Whether every window was scored.
    complete: bool,
    /// What was drawn.
    sample: Draw,
    /// How often an interval such as these holds the value.
    confidence: f64,
    /// Nats per token.
    val_loss: Estimated,
    /// Bits per byte.
    val_bpb: Estimated,
    /// What the sample alone would give.
    without_control_variates: PlainEstimate,
    /// What was taken off for what cheap models say of all windows.
    control_variates: ControlVariates,
    /// Tokens that all windows score.
    tokens: u64,
    /// Bytes of text they stand for; counted, not estimated.
    bytes: u64,
    /// What the result is held against, if anything.
    claim: Option<HeldClaim<'a>>,
    /// The test, if it went on until a decision.
    test: Option<Decided<'a>>,
    /// Set where only the beginning of the split was scored.
    subset: Option<Subset>,
    /// Set where the byte table does not count the bytes of the text.
    miscount: Option<Miscount>,
    /// What byte sidecars count in place of the table, and what there is to hold it against; left out without them.
    #[serde(skip_serializing_if = "Option::is_none")]
    byte_sidecar: Option<SidecarCount>,
    /// What decides the numbers beside the files.
    settings: Settings<'a>,
    /// Every file read.
    inputs: &'a [Input],
    /// How well a second engine agreed, if there was one.
    cross_check: Option<&'a Agreement>,
    /// How fast it went; null for merged parts.
    run: Option<Speed>,
    /// What some times are worth at this speed.
    outlook: Vec<Outlook>,
    /// Kinds of processors, sorted.
    processors: &'a [String],
}

/// A sample.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
struct Draw {
    /// Windows scored.
    windows: u64,
    /// Windows of the whole evaluation.
    of: u64,
    /// Seed of the draw.
    seed: u64,
    /// Windows of the first batch, which decides on the strata.
    first_batch: u64,
    /// Strata they were drawn from.
    strata: u64,
}

/// A number with its interval.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
struct Estimated {
    /// The number.
    estimate: f64,
    /// Half the width of its interval.
    half_width: f64,
    /// Lower end.
    low: f64,
    /// Upper end.
    high: f64,
}

impl Estimated {
    fn new((estimate, half_width): (f64, f64)) -> Self {
        let Interval { low, high } = Interval::around(estimate, half_width);
        Estimated { estimate, half_width, low, high }
    }
}

/// Both numbers by the sample alone.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
struct PlainEstimate {
    /// Nats per token.
    val_loss: Estimated,
    /// Bits per byte.
    val_bpb: Estimated,
}

/// Variables known for all windows.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
struct ControlVariates {
    /// What a unit of each counts for.
    slopes: Slopes,
    /// Times as many windows that would be needed without them.
    gain: f64,
}

/// A factor a variable.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
struct Slopes {
    /// Nats by a model of single tokens.
    single_nats: f64,
    /// Nats by a model of pairs.
    pair_nats: f64,
    /// Nats by a model of four tokens in a row.
    four_nats: f64,
    /// Bytes of text.
    bytes: f64,
}

/// A claim beside the interval.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct HeldClaim<'a> {
    /// The claimed number.
    val_bpb: &'a ClaimedNumber,
    /// Where it was found.
    source: ClaimSource,
    /// Whether a number that prints as the claim lies in the interval.
    inside: bool,
}

/// A test with its looks.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Decided<'a> {
    /// What came out.
    decision: Decision,
    /// How far from the claim the value may lie, bits per byte.
    within_bpb: f64,
    /// Looks that were planned, the last at all windows.
    planned_looks: u64,
    /// Looks taken.
    looks: &'a [Look],
}

impl SampleReport {
    /// The report for programs.
    pub fn document(&self) -> SampleScoring<'_> {
        let basis = &self.basis;
        let estimated = |estimate: &Estimate| {
            let numbers = self.numbers(estimate);
            (Estimated::new(numbers.val_loss), Estimated::new(numbers.val_bpb))
        };
        let (val_loss, val_bpb) = estimated(&self.estimates.regression);
        let plain = estimated(&self.estimates.plain);
        let [single_nats, pair_nats, four_nats, bytes] = self.estimates.slopes;
        SampleScoring {
            schema: SAMPLE_SCHEMA,
            harness: &basis.harness,
            platform: &basis.platform,
            engine: &basis.engine,
            manifest_identity: basis.manifest,
            label: self.label(),
            complete: self.is_complete(),
            sample: Draw {
                windows: self.drawn,
                of: self.windows,
                seed: self.sample.seed,
                first_batch: self.sample.first_batch,
                strata: self.strata,
            },
            confidence: 1.0 - ALPHA,
            val_loss,
            val_bpb,
            without_control_variates: PlainEstimate { val_loss: plain.0, val_bpb: plain.1 },
            control_variates: ControlVariates {
                slopes: Slopes { single_nats, pair_nats, four_nats, bytes },
                gain: self.estimates.gain(),
            },
            tokens: self.tokens,
            bytes: self.bytes,
            claim: self.claim.as_ref().map(|claim| HeldClaim {
                val_bpb: &claim.val_bpb,
                source: claim.source,
                inside: self.interval().admits(&claim.val_bpb),
            }),
            test: self.test.as_ref().map(|test| Decided {
                decision: test.decision(),
                within_bpb: test.within,
                planned_looks: test.planned,
                looks: &test.looks,
            }),
            subset: basis.subset,
            miscount: basis.miscount,
            byte_sidecar: basis.byte_sidecar,
            settings: Settings::of(basis),
            inputs: &basis.inputs,
            cross_check: self.agreement.as_ref(),
            run: self.speed,
            outlook: self.outlook(),
            processors: &self.processors,
        }
    }
}
