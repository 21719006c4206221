//! An evaluation of which every likelihood is known, to draw samples from: how often are intervals and tests right?

use super::claim::{Decision, Interval};
use super::estimate::{Estimate, Estimates, Observed, estimate};
use super::schedule::Schedule;
use super::settings::SampleSettings;
use super::{Auxiliary, draw};
use crate::data::TargetBytes;
use crate::eval::WindowPlan;
use crate::manifest::ClaimedNumber;
use crate::units::{BitsPerByte, Nats};

/// All windows of one evaluation.
#[derive(Clone, Debug)]
pub struct Population {
    plan: WindowPlan,
    nats: Vec<f64>,
    auxiliary: Auxiliary,
}

/// A test simulated to its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Simulated {
    /// What was decided.
    pub decision: Decision,
    /// Windows scored by then.
    pub windows: u64,
    /// Whether the intervals of all looks held the true value.
    pub covered: bool,
}

impl Population {
    /// From the tokens and from one likelihood for each scored prediction in corpus order, as `score --nll-out` writes
    /// them. `None` if their number is not that of the plan.
    pub fn new<'a>(plan: WindowPlan, tokens: &[u16], bytes: impl Into<TargetBytes<'a>>, nll: &[f32]) -> Option<Self> {
        if nll.len() as u64 != plan.scored() {
            return None;
        }
        let mut rest = nll;
        let mut window = |scored: u64| {
            let (here, behind) = rest.split_at(scored as usize);
            rest = behind;
            here.iter().copied().map(f64::from).sum()
        };
        let nats = plan.iter(0..plan.windows()).map(|span| window(span.end - span.first_scored)).collect();
        Some(Population { plan, nats, auxiliary: Auxiliary::of(tokens, bytes, &plan) })
    }

    /// Number of windows.
    pub fn windows(&self) -> u64 {
        self.plan.windows()
    }

    /// The number that samples estimate, nats.
    pub fn total(&self) -> f64 {
        self.nats.iter().sum()
    }

    /// Nats of the whole text as bits per byte.
    pub fn bpb(&self, nats: f64) -> f64 {
        let loss = Nats(nats / self.plan.scored() as f64);
        BitsPerByte::from_loss(loss, self.plan.scored(), self.auxiliary.bytes).map_or(f64::NAN, |bpb| bpb.0)
    }

    /// What one sample says; `None` where it is too small to say anything.
    pub fn estimate(&self, sample: &SampleSettings) -> Option<Estimates> {
        let strata = sample.strata(&self.plan);
        let observed = |&window: &u64| Observed {
            window,
            nats: self.nats[window as usize],
            auxiliary: self.auxiliary.window(window),
        };
        let observed: Vec<Observed> = draw(&strata, sample.seed, sample.size).iter().map(observed).collect();
        estimate(&strata, &observed, &self.auxiliary.totals)
    }

    /// The test of a claim, as `score --until-decided` does it. `None` where a sample is too small to say anything.
    pub fn test(&self, seed: u64, schedule: &Schedule, claim: &ClaimedNumber, within: f64) -> Option<Simulated> {
        let truth = self.bpb(self.total());
        let first_batch = schedule.looks.first()?.0;
        let mut covered = true;
        let mut outcome = None;
        for &(size, alpha) in &schedule.looks {
            let Estimate { total, variance, df } =
                self.estimate(&SampleSettings { seed, first_batch, size })?.regression;
            let half_width = self.bpb(Estimate { total, variance, df }.half_width(alpha));
            let interval = Interval::around(self.bpb(total), half_width);
            // All windows have no interval, but sums in another order.
            covered &= size >= self.windows() || (interval.low <= truth && truth <= interval.high);
            let decision = Decision::of(interval, claim, within);
            if outcome.is_none() && decision != Decision::Undecided {
                outcome = Some((decision, size));
            }
        }
        let (decision, windows) = outcome.unwrap_or((Decision::Undecided, self.windows()));
        Some(Simulated { decision, windows, covered })
    }
}
