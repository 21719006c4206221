//! The trade-off between bytes and loss as one JSON document.

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::search::{CLASSES, Setting, Step};
use super::{Curve, CurvePoint, Fitted, Prediction};
use crate::artifact::report::{self, Packing};
use crate::digest::ContentDigest;
use crate::quant::TensorClass;
use crate::units::Bytes;

/// Name and version of the document of `pack --fit --json`.
const FIT_SCHEMA: &str = "golf-harness/fit/v1";

/// The document of `pack --fit --json`: curve, costs and path beside the report of the packed choice.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Fitting<'a> {
    /// Always `golf-harness/fit/v1`.
    #[schemars(extend("const" = FIT_SCHEMA))]
    schema: &'static str,
    /// What the choice was made from.
    fit: Search<'a>,
    /// The choice, packed.
    pack: Packing<'a>,
}

/// What the choice was made from.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Search<'a> {
    /// Code plus model, as asked for.
    budget: Bytes,
    /// Code listed in the manifest.
    code_bytes: Bytes,
    /// What losses were measured on.
    calibration: Sample<'a>,
    /// Loss of the unpacked weights, nats per token.
    loss_f32: f64,
    /// How scales are chosen: `max`, `percentiles`, `mse`, or a rule such as `clip_search/gptq`.
    scale_search: String,
    /// What each way to choose them would have come to.
    ways: Vec<WayResult>,
    /// Packed and measured, from large to small.
    curve: Vec<Point>,
    /// Steps from the largest setting to the smallest, by rising damage per byte.
    path: Vec<Lowered<'a>>,
    /// What every class costs each group, by way to choose scales.
    costs: Vec<CostOfClass<'a>>,
}

/// What losses were measured on.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Sample<'a> {
    /// The shard.
    shard: &'a Path,
    /// Its size and digests.
    content: ContentDigest,
    /// Predictions made.
    tokens: u64,
    /// Predictions in a window.
    seq_len: u64,
    /// Whether the validation split was there to be told apart from.
    compared_with_validation: bool,
}

/// A setting that was packed and measured.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Point {
    /// Steps of the path taken.
    steps: usize,
    /// One of them that was taken back.
    step_taken_back: Option<usize>,
    /// Whether this is the choice.
    chosen: bool,
    /// Size of the model.
    model_bytes: Bytes,
    /// Code plus model.
    total_bytes: Bytes,
    /// Measured loss, nats per token.
    loss: f64,
    /// Measured loss above that of the unpacked weights.
    to_f32: f64,
    /// Sum of the steps' damages, nats per token.
    predicted: f64,
    /// Class of every group.
    #[schemars(with = "BTreeMap<String, TensorClass>")]
    classes: Map<String, Value>,
}

/// One group lowered from one class to another.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
struct Lowered<'a> {
    /// The group.
    group: Option<&'a str>,
    /// Its class before.
    from: TensorClass,
    /// Its class after.
    to: TensorClass,
    /// Bytes saved.
    bytes_saved: u64,
    /// Predicted damage, nats per token.
    damage: f64,
}

/// How near a way to choose scales comes to the choice.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct WayResult {
    /// The way.
    scale_search: String,
    /// Predicted damage of its best fit, nats per token; null where nothing fits.
    damage: Option<f64>,
    /// Bytes of its smallest model whose predicted damage is not above that of the choice.
    model_bytes_at_equal_damage: Option<Bytes>,
}

/// What holding one group in one class costs, everything else at the highest precision.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct CostOfClass<'a> {
    /// How scales are chosen, as above.
    scale_search: String,
    /// The group.
    group: Option<&'a str>,
    /// The class.
    class: TensorClass,
    /// Compressed bytes of values and scales.
    bytes: u64,
    /// Increase of the calibration loss, nats per token.
    damage: f64,
}

/// The search and its choice as one document.
pub fn document(fitted: &Fitted) -> Fitting<'_> {
    let curve = &fitted.curve;
    let calibration = &curve.calibration;
    let lowered = |step: &Step| Lowered {
        group: name(curve, step.group),
        from: CLASSES[step.from],
        to: CLASSES[step.to],
        bytes_saved: step.saved,
        damage: step.damage,
    };
    let fit = Search {
        budget: curve.budget,
        code_bytes: curve.code,
        calibration: Sample {
            shard: &calibration.path,
            content: calibration.digest,
            tokens: calibration.predictions(),
            seq_len: calibration.seq_len,
            compared_with_validation: calibration.compared,
        },
        loss_f32: curve.loss_f32,
        scale_search: curve.way.to_string(),
        ways: curve.predictions.iter().map(way_result).collect(),
        curve: curve.points.iter().map(|point| measured(curve, point)).collect(),
        path: curve.steps.iter().map(lowered).collect(),
        costs: costs(curve),
    };
    Fitting { schema: FIT_SCHEMA, fit, pack: report::document(&fitted.done) }
}

fn way_result(&Prediction { way, damage, bytes }: &Prediction) -> WayResult {
    WayResult { scale_search: way.to_string(), damage, model_bytes_at_equal_damage: bytes }
}

fn name(curve: &Curve, group: usize) -> Option<&str> {
    curve.groups.get(group).map(|group| group.name.as_str())
}

fn classes(curve: &Curve, setting: &Setting) -> Map<String, Value> {
    let pairs = curve.groups.iter().zip(setting);
    pairs.map(|(group, &class)| (group.name.clone(), CLASSES[class].to_string().into())).collect()
}

fn measured(curve: &Curve, point: &CurvePoint) -> Point {
    Point {
        steps: point.taken,
        step_taken_back: point.undone,
        chosen: point.is_choice,
        model_bytes: point.bytes,
        total_bytes: curve.total(point),
        loss: point.loss,
        to_f32: point.loss - curve.loss_f32,
        predicted: point.predicted,
        classes: classes(curve, &point.setting),
    }
}

fn costs(curve: &Curve) -> Vec<CostOfClass<'_>> {
    let mut lines = Vec::new();
    for (way, costs) in &curve.costs {
        for (group, costs) in costs.iter().enumerate() {
            for (class, cost) in CLASSES.into_iter().zip(costs) {
                let group = name(curve, group);
                lines.push(CostOfClass {
                    scale_search: way.to_string(),
                    group,
                    class,
                    bytes: cost.bytes,
                    damage: cost.damage,
                });
            }
        }
    }
    lines
}
