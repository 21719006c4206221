//! What a submission claims, seed by seed, as far as a rerun can be held against it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::escape::visible;
use crate::report::RunProfile;
use crate::rules::claimed_runs;
use crate::submission::RecordFolder;

/// A claim.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Claim {
    /// The headline, with the field of submission.json that holds it.
    pub mean: Option<ClaimedValue>,
    /// Values by seed.
    pub seeds: Vec<ClaimedSeed>,
    /// GPUs that the logs name, else the hardware that submission.json does.
    pub hardware: Vec<String>,
    /// Number of the last step, the smallest of all logs.
    pub steps: Option<u64>,
    /// Training shards.
    pub train_shards: Option<u64>,
    /// Processes.
    pub world_size: Option<u64>,
    /// The course of its runs by its logs: for pages, in no other report.
    #[serde(skip)]
    #[schemars(skip)]
    pub runs: Vec<RunProfile>,
}

/// A claimed number.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ClaimedValue {
    /// Bits per byte.
    pub val_bpb: f64,
    /// Half a unit of its last digit.
    pub rounding: f64,
    /// Where it stands.
    pub place: String,
}

/// A seed's claimed result.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ClaimedSeed {
    /// The seed.
    pub seed: u64,
    /// Its value.
    pub value: ClaimedValue,
}

impl Claim {
    /// What the folder claims: submission.json first, then the last final value of each seed's log.
    pub fn of(folder: &RecordFolder) -> Self {
        let json = folder.submission.as_ref();
        let mean = json.and_then(|json| Some((json, json.bpb()?))).map(|(json, field)| ClaimedValue {
            val_bpb: field.number.value(),
            rounding: field.number.rounding(),
            place: format!("{}:{}", json.path, json.line_of(&field.key)),
        });
        let mut seeds: Vec<ClaimedSeed> = Vec::new();
        if let Some(json) = json {
            seeds.extend(json.seed_results().into_iter().filter_map(|claim| {
                let number = claim.bpb?;
                let place = format!("{}, seed {}", json.path, claim.seed);
                let value = ClaimedValue { val_bpb: number.value(), rounding: number.rounding(), place };
                Some(ClaimedSeed { seed: claim.seed, value })
            }));
        }
        for log in &folder.logs {
            let (Some(seed), Some(last)) = (log.seed(), log.last_final()) else { continue };
            if !seeds.iter().any(|known| known.seed == seed) {
                let rounding = 0.5 * 10f64.powi(-(last.decimals.min(30) as i32));
                let place = format!("{}:{}", visible(&log.path), last.line);
                seeds.push(ClaimedSeed { seed, value: ClaimedValue { val_bpb: last.bpb, rounding, place } });
            }
        }
        seeds.sort_by_key(|claimed| claimed.seed);
        let mut hardware: Vec<String> = Vec::new();
        for device in folder.logs.iter().flat_map(|log| &log.devices) {
            let name = visible(&device.value);
            if !hardware.contains(&name) && hardware.len() < 8 {
                hardware.push(name);
            }
        }
        if hardware.is_empty() {
            hardware.extend(json.and_then(|json| json.text_field("hardware")).map(crate::report::quote));
        }
        let logs = || folder.logs.iter();
        Claim {
            mean,
            seeds,
            hardware,
            steps: logs().filter_map(|log| log.last_step.as_ref()?.value).min(),
            train_shards: logs().filter_map(|log| Some(log.train_shards.as_ref()?.value)).next(),
            world_size: logs().filter_map(|log| Some(log.world_size.as_ref()?.value)).next(),
            runs: claimed_runs(folder),
        }
    }

    /// A seed's claimed value.
    pub fn of_seed(&self, seed: u64) -> Option<&ClaimedValue> {
        self.seeds.iter().find(|claimed| claimed.seed == seed).map(|claimed| &claimed.value)
    }

    /// Whether there is anything to hold a rerun against.
    pub fn is_empty(&self) -> bool {
        self.mean.is_none() && self.seeds.is_empty()
    }
}
