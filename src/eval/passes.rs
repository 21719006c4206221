//! The passes of a scoring job: every form of the weights with every kind of windows, one after another.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::inputs::WeightsFile;
use super::score_job::Opened;
use super::ttt::LearningPass;
use super::{Agreement, LossProfile, PartPass, Pass, Score, ScoreJob, ScoreJobError, WindowPlan};
use crate::atomic_write::{PendingFile, WriteError};
use crate::interrupt::Interrupt;
use crate::progress::Progress;

/// What passes came to, and the files they filled, which are not in their places yet.
pub(super) struct Passes {
    pub passes: Vec<Pass>,
    /// The same as parts.
    pub parts: Vec<PartPass>,
    pub elapsed: Vec<Duration>,
    pub agreement: Option<Agreement>,
    /// Where the loss of the first pass lies, if that is to be kept.
    pub profile: Option<LossProfile>,
    /// Likelihoods of the first pass.
    pub nll: Option<PendingFile>,
    /// The trace of those that learned.
    pub trace: Option<PendingFile>,
}

impl ScoreJob {
    /// Runs all passes over the windows of `plans`.
    pub(super) fn passes(
        &self,
        opened: &Opened,
        plans: &[(WindowPlan, Range<u64>)],
        progress: &Progress,
        interrupt: &Interrupt,
    ) -> Result<Passes, ScoreJobError> {
        let mut done = Passes {
            passes: Vec::new(),
            parts: Vec::new(),
            elapsed: Vec::new(),
            agreement: None,
            profile: None,
            nll: self.nll_out.as_deref().map(PendingFile::create).transpose()?,
            trace: self.ttt_trace.as_deref().map(PendingFile::create).transpose()?,
        };
        for file in &opened.files {
            let is_fixed = |(plan, _): &(WindowPlan, _)| self.learning(plan.windowing()).is_none();
            let prepared = if plans.iter().any(is_fixed) { Some(self.prepare(file)?) } else { None };
            for (plan, range) in plans {
                let started = Instant::now();
                let is_first = done.passes.is_empty();
                let mut profile = (self.profile && is_first).then(|| LossProfile::new(*plan, range.start));
                let mut nll_file = done.nll.as_mut().filter(|_| is_first);
                let mut buffer = Vec::new();
                let mut sink = |nll: &[f32]| -> Result<(), WriteError> {
                    if let Some(profile) = &mut profile {
                        profile.add(nll, opened.tokens(), opened.inputs.data.bytes());
                    }
                    let Some(file) = nll_file.as_deref_mut() else { return Ok(()) };
                    buffer.clear();
                    buffer.extend(nll.iter().flat_map(|value| value.to_le_bytes()));
                    file.append(&buffer)
                };
                let learning = self.learning(plan.windowing());
                let (score, agreement) = match (learning, &prepared) {
                    (Some(config), _) => {
                        let pass = LearningPass { opened, file, plan: *plan, config, progress, interrupt };
                        self.score_first(&pass, done.trace.as_mut(), &mut sink)?
                    }
                    (None, Some(prepared)) => {
                        let evaluation = opened.evaluation(prepared.scorer(), progress, interrupt);
                        (evaluation.score(plan, range.clone(), &mut sink)?, prepared.agreement())
                    }
                    (None, None) => continue,
                };
                done.elapsed.push(started.elapsed());
                done.profile = done.profile.take().or(profile);
                done.add(file, plan, range.start, learning.is_some(), score);
                if let Some(found) = agreement {
                    done.agreement = Some(found.or_worse(done.agreement.take()));
                }
            }
        }
        Ok(done)
    }
}

impl Passes {
    fn add(&mut self, file: &WeightsFile, plan: &WindowPlan, first_window: u64, learns: bool, score: Score) {
        let (weights, windowing) = (file.weights, plan.windowing());
        self.passes.push(Pass { weights, windowing, learns, score });
        let Score { total: total_nats, tokens, bytes, windows } = score;
        self.parts.push(PartPass { weights, windowing, first_window, windows, tokens, bytes, total_nats });
    }
}
