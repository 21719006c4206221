//! `score --sample` between files: a manifest and weights in, an estimate out.

use std::time::{Duration, Instant};

use super::claim::{Claim, Decision};
use super::part::{SAMPLE_PART_SCHEMA, SamplePart, WindowRecord};
use super::report::{Look, SampleReport, Speed, Test};
use super::schedule::Schedule;
use super::settings::{self, ALPHA, SampleSettings};
use super::{Auxiliary, Estimates, Observed, Strata, draw, estimate};
use crate::atomic_write;
use crate::eval::score_job::Opened;
use crate::eval::{Evaluation, ExactSum, ScoreJob, ScoreJobError, Weights, WindowPlan};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::stats::RECORD_MARGIN;
use crate::units::{BitsPerByte, Nats};

/// A sample of a job's windows.
#[derive(Clone, Debug)]
pub struct SampleRequest {
    /// How it is drawn.
    pub sample: SampleSettings,
    /// What the estimate is held against.
    pub claim: Option<Claim>,
    /// Go on until the claim is accepted or rejected; `sample` is the first batch then.
    pub test: Option<TestTerms>,
}

/// What is to be decided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TestTerms {
    /// How far from the claim the value may lie, bits per byte; `None` for what a record must be better by.
    pub within: Option<f64>,
}

/// What a sample gave.
#[derive(Clone, Debug)]
pub enum SampleOutcome {
    /// An estimate.
    Report(Box<SampleReport>),
    /// One part of a sample; nothing can be estimated from it.
    Part(Box<SamplePart>),
}

/// Windows scored so far.
struct Scored<'a> {
    evaluation: Evaluation<'a>,
    plan: WindowPlan,
    auxiliary: Auxiliary,
    sample: Vec<Observed>,
    total: ExactSum,
    elapsed: Duration,
}

impl ScoreJob {
    /// Scores a sample of the windows of the job's only pass.
    pub fn sample(
        &self,
        request: &SampleRequest,
        progress: &Progress,
        interrupt: &Interrupt,
    ) -> Result<SampleOutcome, ScoreJobError> {
        if self.record {
            atomic_write::check_writable(&self.manifest_path)?;
        }
        self.refuse_learning("a sample of the windows")?;
        let opened = self.open()?;
        if self.record {
            self.check_recordable(&opened.on_disk, &opened.inputs)?;
        }
        let ([file], [windowing]) = (&opened.files[..], &self.windowings[..]) else {
            return Err(ScoreJobError::ManyPasses { passes: opened.files.len() * self.windowings.len() });
        };
        let plan = opened.basis.plan(*windowing).map_err(crate::eval::ScoreError::from)?;
        if plan.windows() == 0 {
            let (predictions, seq_len) = (plan.predictions(), plan.seq_len());
            return Err(ScoreJobError::NothingScored { predictions, seq_len });
        }
        let auxiliary = Auxiliary::of(opened.tokens(), opened.inputs.data.bytes(), &plan);
        if auxiliary.bytes == 0 {
            let label = format!("{}/{windowing}", file.weights);
            return Err(ScoreJobError::NoText { label, tokens: plan.scored() });
        }
        let prepared = self.prepare(file)?;
        let evaluation = opened.evaluation(prepared.scorer(), progress, interrupt);
        let (sample, total, elapsed) = (Vec::new(), ExactSum::ZERO, Duration::ZERO);
        let mut scored = Scored { evaluation, plan, auxiliary, sample, total, elapsed };

        let outcome = match (self.shard, request.test) {
            (Some(_), _) => SampleOutcome::Part(Box::new(self.part(&opened, file.weights, &mut scored, request)?)),
            (None, None) => {
                progress.set_len(request.sample.len(&plan));
                scored.go_on_to(&request.sample.windows(&plan))?;
                let estimates = scored.estimates(&request.sample.strata(&plan))?;
                SampleOutcome::Report(Box::new(self.report(&opened, file.weights, &scored, request, estimates)))
            }
            (None, Some(terms)) => {
                SampleOutcome::Report(Box::new(self.test(&opened, file.weights, &mut scored, request, terms)?))
            }
        };
        opened.inputs.check_unchanged()?;
        match outcome {
            SampleOutcome::Report(mut report) => {
                report.agreement = prepared.agreement();
                if self.record {
                    self.record_sample(&opened.on_disk, &report)?;
                }
                Ok(SampleOutcome::Report(report))
            }
            part => Ok(part),
        }
    }

    /// Scores growing samples until the interval decides.
    fn test(
        &self,
        opened: &Opened,
        weights: Weights,
        scored: &mut Scored<'_>,
        request: &SampleRequest,
        terms: TestTerms,
    ) -> Result<SampleReport, ScoreJobError> {
        let Some(claim) = &request.claim else { return Err(ScoreJobError::NoClaim) };
        let plan = scored.plan;
        let strata = request.sample.strata(&plan);
        let schedule = Schedule::new(request.sample.first_batch, plan.windows());
        let within = terms.within.unwrap_or_else(|| {
            let margin = BitsPerByte::from_loss(Nats(RECORD_MARGIN), plan.scored(), scored.auxiliary.bytes);
            margin.map_or(0.0, |margin| margin.0)
        });
        let mut request = request.clone();
        let mut test = Test { within, planned: schedule.looks.len() as u64, looks: Vec::new() };
        for (size, alpha) in schedule.looks {
            scored.evaluation.progress.set_len(size);
            scored.go_on_to(&draw(&strata, request.sample.seed, size))?;
            request.sample.size = size;
            let estimates = scored.estimates(&strata)?;
            let mut report = self.report(opened, weights, scored, &request, estimates);
            report.alpha = alpha;
            let interval = report.interval();
            let decision = Decision::of(interval, &claim.val_bpb, within);
            test.looks.push(Look { windows: size, interval, decision });
            if decision != Decision::Undecided || report.is_complete() {
                report.test = Some(test);
                return Ok(report);
            }
        }
        // Every schedule ends at all windows, which decide.
        Err(ScoreJobError::SampleTooSmall { windows: scored.sample.len() as u64, of: plan.windows() })
    }

    fn part(
        &self,
        opened: &Opened,
        weights: Weights,
        scored: &mut Scored<'_>,
        request: &SampleRequest,
    ) -> Result<SamplePart, ScoreJobError> {
        let plan = scored.plan;
        let shard = self.shard.unwrap_or(crate::eval::Shard { index: 1, of: 1 });
        let windows = request.sample.windows(&plan);
        let windows = settings::part(&windows, shard);
        scored.evaluation.progress.set_len(windows.len() as u64);
        scored.go_on_to(windows)?;
        Ok(SamplePart {
            schema: SAMPLE_PART_SCHEMA.into(),
            shard,
            processor: self.processor(),
            basis: opened.basis.clone(),
            weights,
            windowing: plan.windowing(),
            sample: request.sample,
            claim: request.claim.clone(),
            bytes: scored.auxiliary.bytes,
            auxiliary_totals: scored.auxiliary.totals,
            total_nats: scored.total,
            windows: scored.sample.iter().map(WindowRecord::from).collect(),
        })
    }

    fn report(
        &self,
        opened: &Opened,
        weights: Weights,
        scored: &Scored<'_>,
        request: &SampleRequest,
        estimates: Estimates,
    ) -> SampleReport {
        let (plan, drawn) = (scored.plan, scored.sample.len() as u64);
        let seconds = scored.elapsed.as_secs_f64();
        let threads = rayon::current_num_threads();
        SampleReport {
            basis: opened.basis.clone(),
            weights,
            windowing: plan.windowing(),
            sample: request.sample,
            drawn,
            windows: plan.windows(),
            strata: request.sample.strata(&plan).count(),
            tokens: plan.scored(),
            bytes: scored.auxiliary.bytes,
            estimates,
            alpha: ALPHA,
            claim: request.claim.clone(),
            test: None,
            speed: (seconds > 0.0).then(|| Speed { windows_per_second: drawn as f64 / seconds, threads }),
            agreement: None,
            processors: vec![self.processor()],
        }
    }
}

impl Scored<'_> {
    /// Scores those of `windows` that are not scored yet.
    fn go_on_to(&mut self, windows: &[u64]) -> Result<(), ScoreJobError> {
        let is_scored = |window: &u64| self.sample.binary_search_by_key(window, |observed| observed.window).is_ok();
        let new: Vec<u64> = windows.iter().copied().filter(|window| !is_scored(window)).collect();
        let started = Instant::now();
        let (auxiliary, sample) = (&self.auxiliary, &mut self.sample);
        let score = self.evaluation.score_some(&self.plan, &new, &mut |window, nats| {
            sample.push(Observed { window, nats, auxiliary: auxiliary.window(window) });
        })?;
        self.elapsed += started.elapsed();
        self.total.merge(&score.total);
        self.sample.sort_unstable_by_key(|observed| observed.window);
        Ok(())
    }

    fn estimates(&self, strata: &Strata) -> Result<Estimates, ScoreJobError> {
        let (windows, of) = (self.sample.len() as u64, self.plan.windows());
        let estimates = estimate(strata, &self.sample, &self.auxiliary.totals);
        Ok(estimates.ok_or(ScoreJobError::SampleTooSmall { windows, of })?.with_exact(self.total))
    }
}
