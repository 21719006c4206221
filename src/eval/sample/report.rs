//! What a sample tells: an estimate with its interval, a claim beside it, and what more windows would tell.

use schemars::JsonSchema;
use serde::Serialize;

use super::claim::{Claim, Decision, Interval};
use super::estimate::{Estimate, Estimates};
use super::settings::{ALPHA, SampleSettings};
use crate::eval::{Agreement, ScoreSettings, Weights, Windowing};
use crate::manifest::SampleRecord;
use crate::units::{BitsPerByte, Nats, group_digits};

/// Schema identifier of the JSON form.
pub const SAMPLE_SCHEMA: &str = "golf-harness/score-sample/v1";
/// Times whose worth in precision is told.
const MINUTES_TOLD: [u64; 2] = [10, 60];
/// Standard errors beyond the interval's end at which a wrong claim is found four times of five: the normal quantile.
const FOUR_OF_FIVE: f64 = 0.841_621;

/// A sample, scored.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleReport {
    /// What the numbers depend on beside the draw.
    pub basis: ScoreSettings,
    /// Weights scored.
    pub weights: Weights,
    /// Kind of windows.
    pub windowing: Windowing,
    /// How the sample was drawn.
    pub sample: SampleSettings,
    /// Windows scored.
    pub drawn: u64,
    /// Windows of the whole evaluation.
    pub windows: u64,
    /// Strata they were drawn from.
    pub strata: u64,
    /// Tokens that all windows score.
    pub tokens: u64,
    /// Bytes of text they stand for; counted, not estimated.
    pub bytes: u64,
    /// Nats of all windows.
    pub estimates: Estimates,
    /// How often an interval such as this one misses.
    pub alpha: f64,
    /// What the result is held against.
    pub claim: Option<Claim>,
    /// The test, if it went on until a decision.
    pub test: Option<Test>,
    /// How fast it went; `None` for merged parts.
    pub speed: Option<Speed>,
    /// How well a second engine agreed, if there was one.
    pub agreement: Option<Agreement>,
    /// Kinds of processors, sorted.
    pub processors: Vec<String>,
}

/// A test that goes on until it is decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    /// How far from the claim the value may lie, bits per byte; what rounding of the claim explains comes on top.
    pub within: f64,
    /// Looks that were planned, the last at all windows.
    pub planned: u64,
    /// Looks taken.
    pub looks: Vec<Look>,
}

/// One look of a test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Look {
    /// Windows scored by then.
    pub windows: u64,
    /// Bits per byte by then.
    #[serde(rename = "val_bpb")]
    pub interval: Interval,
    /// What it said.
    pub decision: Decision,
}

impl Test {
    /// What came out.
    pub fn decision(&self) -> Decision {
        self.looks.last().map_or(Decision::Undecided, |look| look.decision)
    }
}

/// How fast windows were scored here.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Speed {
    /// Windows a second.
    pub windows_per_second: f64,
    /// Threads used.
    pub threads: usize,
}

/// What a time is worth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Outlook {
    /// Minutes of scoring.
    pub minutes: u64,
    /// Windows scored in them.
    pub windows: u64,
    /// Half the width of the 95 % interval, bits per byte.
    #[serde(rename = "half_width_bpb")]
    pub half_width: f64,
    /// An error of a claim, bits per byte, that is found four times of five.
    #[serde(rename = "found_four_of_five_bpb")]
    pub found: f64,
}

/// Loss and bits per byte of one estimate, with half the widths of their intervals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numbers {
    /// Nats per token.
    pub val_loss: (f64, f64),
    /// Bits per byte.
    pub val_bpb: (f64, f64),
}

impl SampleReport {
    /// Whether every window was scored.
    pub fn is_complete(&self) -> bool {
        self.drawn == self.windows
    }

    /// `packed/sliding` and the like.
    pub fn label(&self) -> String {
        format!("{}/{}", self.weights, self.windowing)
    }

    /// Nats of the split as loss and bits per byte. The denominators are known numbers, so that both are the total
    /// times a constant and have intervals of the same coverage.
    pub fn numbers(&self, estimate: &Estimate) -> Numbers {
        let half_width = estimate.half_width(self.alpha);
        Numbers {
            val_loss: (self.loss(estimate.total), self.loss(half_width)),
            val_bpb: (self.bpb(estimate.total), self.bpb(half_width)),
        }
    }

    /// The interval of bits per byte that counts: with the control variates.
    pub fn interval(&self) -> Interval {
        let (middle, half_width) = self.numbers(&self.estimates.regression).val_bpb;
        Interval::around(middle, half_width)
    }

    /// Whether the claim lies in the interval; `None` without one.
    pub fn admits_claim(&self) -> Option<bool> {
        self.claim.as_ref().map(|claim| self.interval().admits(&claim.val_bpb))
    }

    /// The form a manifest keeps.
    pub fn record(&self) -> SampleRecord {
        let numbers = self.numbers(&self.estimates.regression);
        let Interval { low, high } = self.interval();
        SampleRecord {
            val_loss: Nats(numbers.val_loss.0),
            val_bpb: BitsPerByte(numbers.val_bpb.0),
            val_bpb_low: BitsPerByte(low.max(0.0)),
            val_bpb_high: BitsPerByte(high),
            windows: self.drawn,
            of: self.windows,
            seed: self.sample.seed,
            engine: self.basis.engine.clone(),
        }
    }

    /// What 10 and 60 minutes are worth at this speed and with this spread.
    pub fn outlook(&self) -> Vec<Outlook> {
        let Some(speed) = self.speed else { return Vec::new() };
        let information = |windows: u64| 1.0 / windows as f64 - 1.0 / self.windows as f64;
        let per_information = self.estimates.regression.variance / information(self.drawn);
        let told = |minutes: u64| {
            // Saturates: no machine scores 2^64 windows.
            let windows = ((speed.windows_per_second * 60.0 * minutes as f64) as u64).min(self.windows);
            if windows == 0 || self.is_complete() {
                return None;
            }
            let estimate = Estimate { variance: per_information * information(windows), ..self.estimates.regression };
            let half_width = self.bpb(Estimate { df: windows as f64, ..estimate }.half_width(ALPHA));
            let found = half_width + FOUR_OF_FIVE * self.bpb(estimate.variance.sqrt());
            Some(Outlook { minutes, windows, half_width, found })
        };
        MINUTES_TOLD.into_iter().filter_map(told).collect()
    }

    fn loss(&self, nats: f64) -> f64 {
        nats / self.tokens as f64
    }

    fn bpb(&self, nats: f64) -> f64 {
        // Without bytes there is no report.
        BitsPerByte::from_loss(Nats(self.loss(nats)), self.tokens, self.bytes).map_or(f64::NAN, |bpb| bpb.0)
    }

    /// How many of how many windows.
    pub(super) fn windows_of(&self) -> String {
        let (drawn, of) = (group_digits(self.drawn.into()), group_digits(self.windows.into()));
        format!("{drawn} of {of} windows")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::manifest::ClaimedNumber;
    use crate::manifest::Tail;
    use crate::model::ModelConfig;

    use super::super::claim::ClaimSource;

    /// 101 of 1001 windows of a split of 70,000 tokens.
    pub fn example() -> SampleReport {
        let plain = Estimate { total: 140_000.0, variance: 4e6, df: 76.0 };
        let regression = Estimate { total: 139_000.0, variance: 1e6, df: 74.0 };
        SampleReport {
            basis: ScoreSettings {
                harness: "0.1.0".into(),
                platform: "linux x86_64".into(),
                engine: "kernels".into(),
                manifest: Digest::from_bytes([0; 32]),
                model: ModelConfig::default(),
                seq_len: 6000,
                stride: 64,
                tail: Tail::Once,
                whole_windows: false,
                ttt: None,
                tokens: 70_001,
                subset: None,
                inputs: Vec::new(),
                miscount: None,
                byte_sidecar: None,
            },
            weights: Weights::Packed,
            windowing: Windowing::Sliding,
            sample: SampleSettings::new(7, 101),
            drawn: 101,
            windows: 1001,
            strata: 25,
            tokens: 70_000,
            bytes: 170_000,
            estimates: Estimates { plain, regression, slopes: [0.1, 0.8, 0.1, 0.01] },
            alpha: ALPHA,
            claim: Some(Claim { val_bpb: ClaimedNumber::parse("1.1700").unwrap(), source: ClaimSource::Manifest }),
            test: None,
            speed: Some(Speed { windows_per_second: 0.5, threads: 2 }),
            agreement: None,
            processors: vec!["a processor".into()],
        }
    }

    #[test]
    fn loss_and_bits_are_the_total_over_known_numbers() {
        let report = example();
        let numbers = report.numbers(&report.estimates.regression);
        // 139,000 / 70,000 and 139,000 / (170,000 ln 2); t(0.975, 74) = 1.992543.
        assert!((numbers.val_loss.0 - 1.985_714_29).abs() < 1e-8);
        assert!((numbers.val_bpb.0 - 1.179_615_36).abs() < 1e-7, "{numbers:?}");
        assert!((numbers.val_loss.1 - 1.992_543 * 1000.0 / 70_000.0).abs() < 1e-6);
        assert!((numbers.val_bpb.1 / numbers.val_loss.1 - numbers.val_bpb.0 / numbers.val_loss.0).abs() < 1e-12);
        assert_eq!(report.estimates.gain(), 4.0);
        assert_eq!(report.admits_claim(), Some(true));
        let record = report.record();
        assert_eq!((record.windows, record.of, record.seed, record.val_bpb.0), (101, 1001, 7, numbers.val_bpb.0));
        assert_eq!(record.val_bpb_high.0, numbers.val_bpb.0 + numbers.val_bpb.1);
    }

    #[test]
    fn more_minutes_tell_more() {
        let report = example();
        let [ten, sixty] = report.outlook()[..] else { panic!("two times are told") };
        // Half a window a second: 300 windows in ten minutes, all 1001 in sixty.
        assert_eq!((ten.windows, sixty.windows), (300, 1001));
        assert_eq!((sixty.half_width, sixty.found), (0.0, 0.0));
        // The variance goes with 1 / n - 1 / N: from 1/101 - 1/1001 to 1/300 - 1/1001. t(0.975, 300) = 1.967903.
        let share = (1.0 / 300.0 - 1.0 / 1001.0) / (1.0 / 101.0 - 1.0 / 1001.0);
        let error = (1e6f64 * share).sqrt() / (170_000.0 * std::f64::consts::LN_2);
        assert!((ten.half_width / error - 1.967_903).abs() < 1e-4, "{ten:?}");
        assert!((ten.found / error - 1.967_903 - 0.841_621).abs() < 1e-4);
        assert!(SampleReport { speed: None, ..report.clone() }.outlook().is_empty());
        let stuck = Speed { windows_per_second: 0.0, threads: 1 };
        assert!(SampleReport { speed: Some(stuck), ..report.clone() }.outlook().is_empty());
        assert!(SampleReport { drawn: 1001, ..report }.outlook().is_empty());
    }
}
