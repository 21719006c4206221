//! Scores the artifacts that a rerun produced, as `score --artifact` does.

use std::path::{Path, PathBuf};

use super::judge::{Scored, Scoring, SeedScore};
use super::record::SeedRecord;
use crate::engine::{EngineDevice, Precision};
use crate::escape::visible;
use crate::eval::{EngineChoice, InputRole, ScoreInputs, ScoreJob, ScoreJobError, Windowing};
use crate::interrupt::{Interrupt, Interrupted};
use crate::manifest::{self, Effective, LoadError};
use crate::progress::Progress;

/// Why nothing can be scored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RescoreError {
    /// The manifest.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// What it names.
    #[error(transparent)]
    Inputs(#[from] ScoreJobError),
}

/// A network with its data, ready for artifacts.
pub struct Rescorer {
    job: ScoreJob,
    identity: crate::digest::Digest,
}

impl Rescorer {
    /// Reads the data once, so that what is missing is known before a script has run for hours.
    pub fn open(manifest_path: PathBuf, effective: Effective, device: EngineDevice) -> Result<Self, RescoreError> {
        let identity = manifest::identity(&manifest::load(&manifest_path)?);
        ScoreInputs::open(&effective.manifest, &effective.folder, &[])?;
        let job = ScoreJob {
            manifest_path,
            effective,
            packed: true,
            artifact: None,
            checkpoint: None,
            windowings: vec![Windowing::Sliding],
            max_tokens: None,
            engine: EngineChoice::default(),
            device,
            precision: Precision::default(),
            shard: None,
            nll_out: None,
            ttt_trace: None,
            profile: false,
            record: false,
        };
        Ok(Rescorer { job, identity })
    }

    /// The artifact of every seed, in the run folder `out`.
    pub fn score(
        &self,
        records: &[SeedRecord],
        out: &Path,
        progress: &Progress,
        interrupt: &Interrupt,
    ) -> Result<Scoring, Interrupted> {
        let tolerance = self.job.effective.manifest.tolerance.rescored_bpb;
        let mut scoring = Scoring { manifest: self.identity, engine: None, tolerance, seeds: Vec::new() };
        for record in records {
            let scored = self.seed(record, out, progress, interrupt);
            interrupt.check()?;
            let scored = scored.map(|(scored, engine)| {
                scoring.engine = Some(engine);
                scored
            });
            let own = record.result().map(|result| result.val_bpb);
            scoring.seeds.push(SeedScore::of(record.seed, own, scored, tolerance));
        }
        Ok(scoring)
    }

    /// Numbers, and the engine; `Err` in words.
    fn seed(
        &self,
        record: &SeedRecord,
        out: &Path,
        progress: &Progress,
        interrupt: &Interrupt,
    ) -> Result<(Scored, String), String> {
        let artifact = record.artifact.as_ref().ok_or("the run left none")?;
        let path = out.join(format!("seed-{}/work", record.seed)).join(&artifact.file.path);
        let job = ScoreJob { artifact: Some(path), ..self.job.clone() };
        let outcome = job.run(progress, interrupt).map_err(|error| visible(&error.to_string()))?;
        let basis = &outcome.report.basis;
        let read = basis.inputs.iter().find(|input| input.role == InputRole::Artifact);
        if read.is_none_or(|read| read.digest != artifact.file.digest) {
            return Err("the file is not the one that the run left".into());
        }
        let pass = outcome.report.headline().and_then(|pass| Some((pass.score, pass.numbers()?)));
        let (score, (val_loss, val_bpb)) = pass.ok_or("no token was scored")?;
        let scored = Scored { val_bpb: val_bpb.0, val_loss: val_loss.0, tokens: score.tokens, bytes: score.bytes };
        Ok((scored, basis.engine.clone()))
    }
}
