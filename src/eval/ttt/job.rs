//! `score` with weights that learn on the way.

use super::{ScoreFirst, TraceStart};
use crate::atomic_write::PendingFile;
use crate::eval::score_job::Opened;
use crate::eval::{Agreement, NllSink, Score, ScoreJob, ScoreJobError, WeightsFile, WindowPlan, Windowing};
use crate::interrupt::Interrupt;
use crate::manifest::TttConfig;
use crate::progress::Progress;

/// How a pass is run and what it writes on the way.
pub(in crate::eval) struct LearningPass<'a> {
    pub opened: &'a Opened,
    pub file: &'a WeightsFile,
    pub plan: WindowPlan,
    pub config: &'a TttConfig,
    pub progress: &'a Progress,
    pub interrupt: &'a Interrupt,
}

impl ScoreJob {
    /// How the weights learn while windows of that kind are scored, if they do.
    pub(in crate::eval) fn learning(&self, windowing: Windowing) -> Option<&TttConfig> {
        let ttt = self.effective.manifest.eval.ttt.as_ref();
        ttt.filter(|_| windowing == Windowing::Sliding)
    }

    /// Refuses what needs weights that stay as they are.
    pub(in crate::eval) fn refuse_learning(&self, what: &'static str) -> Result<(), ScoreJobError> {
        match self.windowings.iter().any(|&windowing| self.learning(windowing).is_some()) {
            true => Err(ScoreJobError::Learning { what }),
            false => Ok(()),
        }
    }

    /// Scores all windows, chunk by chunk, and how well a second engine agreed, if there is one. The trace is written on
    /// the way.
    pub(in crate::eval) fn score_first(
        &self,
        pass: &LearningPass<'_>,
        mut trace: Option<&mut PendingFile>,
        sink: &mut NllSink<'_>,
    ) -> Result<(Score, Option<Agreement>), ScoreJobError> {
        let LearningPass { opened, file, plan, config, progress, interrupt } = *pass;
        let model = &self.effective.manifest.scored_model();
        // One whose gradients have the same bits every time, or a refusal.
        let engine = self.device.training_engine(self.engine.reported(), self.precision)?;
        let start = TraceStart { weights: file.weights, basis: opened.basis.clone() };
        let mut agreement: Option<Agreement> = None;
        let score_first = ScoreFirst { engine: &*engine, model, config, plan, tokens: opened.tokens(), interrupt };
        let score = score_first.run_traced::<ScoreJobError>(
            start,
            file.read(model)?,
            &mut |weights, windows| {
                let prepared = self.engine.prepare(&self.device, self.precision, model, weights)?;
                let score = opened.evaluation(prepared.scorer(), progress, interrupt).score(&plan, windows, sink)?;
                agreement = prepared.agreement().map(|found| found.or_worse(agreement.take()));
                Ok(score)
            },
            &mut |line| trace.as_deref_mut().map_or(Ok(()), |file| file.append(line)),
        )?;
        Ok((score, agreement))
    }
}
