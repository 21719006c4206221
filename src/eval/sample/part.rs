//! Parts of a sample: what one machine found out about its windows of it, and how parts become the whole.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::claim::Claim;
use super::estimate::{AUXILIARIES, Observed, estimate};
use super::report::SampleReport;
use super::settings::{self, ALPHA, SampleSettings};
use crate::eval::division::{check_complete, check_division};
use crate::eval::part::most_bytes;
use crate::eval::{ExactSum, MergeError, ScoreSettings, Shard, Weights, WindowPlan, Windowing};

/// First field of every part record of a sample.
pub const SAMPLE_PART_SCHEMA: &str = "golf-harness/score-sample-part/v1";

/// The windows of one shard of a sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SamplePart {
    /// Always `golf-harness/score-sample-part/v1`.
    #[schemars(extend("const" = SAMPLE_PART_SCHEMA))]
    pub schema: String,
    /// Which part of the sample this is.
    pub shard: Shard,
    /// Processor it was made on.
    pub processor: String,
    /// What the scores depend on.
    pub basis: ScoreSettings,
    /// Weights scored.
    pub weights: Weights,
    /// Kind of windows.
    pub windowing: Windowing,
    /// How the whole sample is drawn.
    pub sample: SampleSettings,
    /// What the whole is held against.
    pub claim: Option<Claim>,
    /// Bytes of text that all windows of the split score.
    pub bytes: u64,
    /// Auxiliary variables, summed over all windows of the split.
    pub auxiliary_totals: [f64; AUXILIARIES],
    /// Exact sum of the negative log-likelihoods of this part.
    pub total_nats: ExactSum,
    /// Its windows, ascending.
    pub windows: Vec<WindowRecord>,
}

/// A scored window: its index, its nats, and its auxiliary variables. An array in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WindowRecord(pub u64, pub f64, pub [f64; AUXILIARIES]);

impl From<&Observed> for WindowRecord {
    fn from(observed: &Observed) -> Self {
        WindowRecord(observed.window, observed.nats, observed.auxiliary)
    }
}

impl From<&WindowRecord> for Observed {
    fn from(&WindowRecord(window, nats, auxiliary): &WindowRecord) -> Self {
        Observed { window, nats, auxiliary }
    }
}

impl SamplePart {
    /// The first respect in which two parts are not of the same sample, with both values.
    fn difference(&self, other: &SamplePart) -> Option<(&'static str, String, String)> {
        if let Some(difference) = self.basis.difference(&other.basis) {
            return Some(difference);
        }
        let kind = |part: &SamplePart| format!("{}/{}", part.weights, part.windowing);
        let claim = |part: &SamplePart| {
            part.claim.as_ref().map_or_else(|| "none".into(), |claim| claim.val_bpb.text().to_string())
        };
        let totals = |part: &SamplePart| format!("{:?} and {} bytes", part.auxiliary_totals, part.bytes);
        [
            ("passes", kind(self), kind(other)),
            ("seed", self.sample.seed.to_string(), other.sample.seed.to_string()),
            ("size of the sample", self.sample.size.to_string(), other.sample.size.to_string()),
            ("first batch", self.sample.first_batch.to_string(), other.sample.first_batch.to_string()),
            ("claim", claim(self), claim(other)),
            ("control variates", totals(self), totals(other)),
        ]
        .into_iter()
        .find(|(_, a, b)| a != b)
    }

    fn inconsistent(&self, path: &Path, what: impl Into<String>) -> MergeError {
        let pass = format!("{}/{}", self.weights, self.windowing);
        MergeError::Inconsistent { path: path.to_path_buf(), pass, what: what.into() }
    }
}

/// Puts all parts of a sample together. The numbers are those of a run in one piece, to the bit.
///
/// Every part must be there exactly once, of the same sample and made from the same inputs. The windows are drawn again
/// and compared with those that the records list.
pub fn merge(mut parts: Vec<(PathBuf, SamplePart)>) -> Result<SampleReport, MergeError> {
    parts.sort_by_key(|(_, part)| part.shard);
    let Some((first_path, first)) = parts.first() else { return Err(MergeError::Empty) };
    let shard = |part: &SamplePart| part.shard;
    check_division(&parts, shard)?;
    for (path, part) in &parts {
        if let Some((what, a, b)) = first.difference(part) {
            return Err(MergeError::Different { first: first_path.clone(), second: path.clone(), what, a, b });
        }
    }
    check_complete(&parts, shard)?;
    let plan = check_basis(first_path, first)?;

    let (mut sample, mut total) = (Vec::new(), ExactSum::ZERO);
    let drawn = first.sample.windows(&plan);
    for (path, part) in &parts {
        let expected = settings::part(&drawn, part.shard);
        if !part.windows.iter().map(|window| window.0).eq(expected.iter().copied()) {
            let what = format!("its {} windows are not those that seed and part give", part.windows.len());
            return Err(part.inconsistent(path, what));
        }
        let nats: f64 = part.windows.iter().map(|window| window.1).sum();
        let exact = part.total_nats.to_f64();
        // Each window's nats were rounded once.
        if (nats - exact).abs() > 1e-9 * (1.0 + exact.abs()) {
            return Err(part.inconsistent(path, format!("windows of {nats} nats where their sum is {exact}")));
        }
        total.merge(&part.total_nats);
        sample.extend(part.windows.iter().map(Observed::from));
    }
    let strata = first.sample.strata(&plan);
    let estimates = estimate(&strata, &sample, &first.auxiliary_totals)
        .ok_or_else(|| first.inconsistent(first_path, format!("a sample of {} windows", sample.len())))?
        .with_exact(total);
    let mut processors: Vec<String> = parts.iter().map(|(_, part)| part.processor.clone()).collect();
    processors.sort();
    processors.dedup();
    Ok(SampleReport {
        basis: first.basis.clone(),
        weights: first.weights,
        windowing: first.windowing,
        sample: first.sample,
        drawn: sample.len() as u64,
        windows: plan.windows(),
        strata: strata.count(),
        tokens: plan.scored(),
        bytes: first.bytes,
        estimates,
        alpha: ALPHA,
        claim: first.claim.clone(),
        test: None,
        speed: None,
        agreement: None,
        processors,
    })
}

/// The plan of a record, once nothing in it can make the draw larger than what was read: a sample has as many windows
/// as all parts list, so memory is bounded by the files.
fn check_basis(path: &Path, part: &SamplePart) -> Result<WindowPlan, MergeError> {
    let plan = part
        .basis
        .checked_plan(part.windowing)
        .map_err(|wrong| wrong.in_file(path, &format!("{}/{}", part.weights, part.windowing)))?;
    let (listed, parts) = (part.windows.len() as u64, part.shard.of);
    // Parts differ by at most one window.
    if part.sample.len(&plan).div_euclid(parts.max(1)) > listed {
        return Err(part.inconsistent(path, format!("{listed} windows in one of {parts} parts of this sample")));
    }
    if part.sample.first_batch > part.sample.size {
        return Err(part.inconsistent(path, "a first batch larger than the sample"));
    }
    if part.bytes == 0 || part.bytes > most_bytes(plan.scored()) {
        return Err(part.inconsistent(path, format!("{} bytes for {} tokens", part.bytes, plan.scored())));
    }
    Ok(plan)
}
