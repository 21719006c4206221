//! Writing scores into the manifest they belong to, and only there.

use super::sample::SampleReport;
use super::{InputRole, NotRecordable, Report, ScoreInputs, ScoreJob, ScoreJobError, Weights};
use crate::manifest::{self, Manifest, Results};

impl ScoreJob {
    /// Refuses early what must not be recorded. `on_disk` is the manifest without overrides.
    pub(super) fn check_recordable(&self, on_disk: &Manifest, inputs: &ScoreInputs) -> Result<(), NotRecordable> {
        if self.max_tokens.is_some() || self.shard.is_some() {
            return Err(NotRecordable::Incomplete);
        }
        let effective = &self.effective.manifest;
        // How many windows run at a time changes no number.
        let mut eval = effective.eval.clone();
        eval.batch_windows = on_disk.eval.batch_windows;
        for (field, changed) in [("eval", eval != on_disk.eval), ("model", effective.model != on_disk.model)] {
            if changed {
                return Err(NotRecordable::Overridden { field: field.into() });
            }
        }
        let trained = on_disk.results.training.as_ref();
        for (weights, role, stated) in [
            (Weights::Packed, InputRole::Artifact, on_disk.artifact.as_ref().map(|artifact| artifact.sha256)),
            (Weights::Checkpoint, InputRole::Checkpoint, trained.and_then(|training| training.checkpoint.sha256)),
        ] {
            if let Some(found) = inputs.digest_of(role).map(|digest| digest.sha256)
                && stated != Some(found)
            {
                return Err(NotRecordable::OtherWeights { weights, found });
            }
        }
        Ok(())
    }

    /// Adds the scores to the manifest's results. Everything else in the file stays as it is.
    pub(super) fn record(&self, on_disk: &Manifest, report: &Report) -> Result<(), ScoreJobError> {
        self.record_by(on_disk, |results| {
            for pass in &report.passes {
                if let Some(record) = pass.record(&report.basis.engine) {
                    results.scores.insert(pass.label(), record);
                }
            }
        })
    }

    /// Adds what a sample told, beside the scores and never among them.
    pub(super) fn record_sample(&self, on_disk: &Manifest, report: &SampleReport) -> Result<(), ScoreJobError> {
        self.record_by(on_disk, |results| {
            results.samples.insert(report.label(), report.record());
        })
    }

    fn record_by(&self, on_disk: &Manifest, add: impl FnOnce(&mut Results)) -> Result<(), ScoreJobError> {
        let mut manifest = manifest::load(&self.manifest_path)?;
        if manifest != *on_disk {
            return Err(NotRecordable::ManifestChanged.into());
        }
        add(&mut manifest.results);
        Ok(manifest::save(&manifest, &self.manifest_path)?)
    }
}
