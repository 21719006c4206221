//! The stages in order, each skipped where its record still stands.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::held::{self, Held};
use super::scores::Scoring;
use super::stage::{digest_files, digest_settings, makers, why_not};
use super::{Missing, Reproduction, ScoreStageError, Stage, UnreadableFile};
use crate::artifact::Budget;
use crate::artifact::pack_job::{PackJob, PackJobError};
use crate::atomic_write::WriteError;
use crate::data::{DataGap, Dataset, DigestCheck, Wanted};
use crate::engine::{Engine, devices};
use crate::eval::ScoreError;
use crate::eval::ttt::TttError;
use crate::interrupt::{Interrupt, Interrupted};
use crate::manifest::{self, Effective, FileRef, LoadError, LoaderOrder, Manifest, StageRecord, environment};
use crate::progress::ProgressFactory;
use crate::quant::ArtifactContainer;
use crate::report::RunProfile;
use crate::rules::audit::{self, AuditError, Computed, Options};
use crate::rules::{claimed_runs, runs_of_log};
use crate::run_folder::RunFolder;
use crate::submission::RecordFolder;
use crate::train::{self, Start, SystemClock, TrainError, TrainRequest};

/// What to reproduce, and where.
pub struct Request<'a> {
    /// The recipe, with overrides applied.
    pub effective: &'a Effective,
    /// The manifest file.
    pub manifest_path: &'a Path,
    /// Where the files of the run go.
    pub folder: RunFolder,
    /// What runs the model.
    pub engine: &'a dyn Engine,
    /// Do every stage again, in place of the run that is there.
    pub fresh: bool,
    /// Longest time between states of training that can be resumed from.
    pub checkpoint_period: Option<Duration>,
    /// Looked at between units of work.
    pub interrupt: Interrupt,
    /// Makes the progress bar of a stage.
    pub progress: &'a ProgressFactory<'a>,
}

/// How a reproduction ended.
pub enum Ended {
    /// Every stage is done.
    Complete(Box<Reproduction>),
    /// The folder holds this very run, finished: what it recorded, with nothing computed again.
    Recorded(Box<Reproduction>),
    /// The data is not here; what can be checked without it was.
    Incomplete(Box<Missing>),
}

/// Why a reproduction stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReproduceError {
    /// Training failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Packing failed.
    #[error(transparent)]
    Pack(#[from] PackJobError),
    /// Scoring failed.
    #[error(transparent)]
    Score(#[from] ScoreStageError),
    /// The result could not be checked.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The run folder's manifest is not acceptable.
    #[error(transparent)]
    Manifest(#[from] LoadError),
    /// A file of the run cannot be read.
    #[error(transparent)]
    Unreadable(#[from] UnreadableFile),
    /// A file of the run cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A data file changed while it was in use.
    #[error(transparent)]
    InputChanged(#[from] DataGap),
    /// Progress could not be told.
    #[error("cannot print progress: {0}")]
    Watcher(#[from] std::io::Error),
    /// The folder holds another run.
    #[error("{} holds another run: {differences}; --fresh starts over there, --out names another folder",
            folder.display())]
    OtherRun {
        /// The run folder.
        folder: PathBuf,
        /// What differs.
        differences: String,
    },
    /// The folder holds a finished run by another build, or with other files.
    #[error("{} holds a finished run, but {reason}; --fresh runs it again there, --out names another folder",
            folder.display())]
    OtherInputs {
        /// The run folder.
        folder: PathBuf,
        /// What is another one.
        reason: String,
    },
    /// Ctrl-C; run the same command again to continue.
    #[error("interrupted; the same command continues from here")]
    Interrupted(#[source] Interrupted),
}

/// Trains, packs, scores and verifies; `watcher` hears of each stage and gets the training log.
pub fn run(request: &Request<'_>, watcher: &mut dyn Write) -> Result<Ended, ReproduceError> {
    let effective = request.effective;
    let found = Dataset::inspect(&effective.manifest.data, &effective.folder, Wanted::ALL, DigestCheck::All);
    if !found.gaps.is_empty() {
        let report = audit::manifest(request.manifest_path, &Options::default())?;
        return Ok(Ended::Incomplete(Box::new(Missing { gaps: found.gaps, report })));
    }
    let data = found.dataset;
    let claimed_runs = claimed_course(request);
    let mut stages = Stages::new(request, &data);
    if let Held::Finished(manifest) =
        held::look(request, &data, &|stage, manifest| stages.inputs(stage, manifest).ok())?
    {
        return stages.recorded(*manifest, claimed_runs);
    }
    let manifest = stages.train(watcher)?;
    let manifest = stages.pack(manifest, watcher)?;
    let (mut manifest, bounds, eval_seconds) = stages.score(manifest, watcher)?;
    data.check_unchanged()?;

    let found_devices = devices().into_iter().map(|device| device.name).collect();
    manifest.environment = Some(environment::current(rayon::current_num_threads(), found_devices));
    let path = request.folder.manifest();
    manifest::save(&manifest, &path)?;
    writeln!(watcher, "{:<6} digests, budget, claims", Stage::Verify)?;
    let Stages { done, kept, .. } = stages;
    let computed = Computed { scored: done.contains(&Stage::Score), trained: done.contains(&Stage::Train) };
    let report = audit::manifest(&path, &Options { computed, ..Options::default() })?;
    let folder = request.folder.clone();
    let done = Reproduction { manifest, folder, report, bounds, eval_seconds, done, kept, claimed_runs };
    Ok(Ended::Complete(Box::new(done)))
}

/// The course of the runs behind a claim: of the record folder that the manifest lies in, or of the run that it is of.
/// None that this run writes itself.
fn claimed_course(request: &Request<'_>) -> Vec<RunProfile> {
    let Effective { manifest, folder, .. } = request.effective;
    if folder.join(SUBMISSION).is_file() {
        return claimed_runs(&RecordFolder::read(folder));
    }
    let log = manifest.results.training.as_ref().and_then(|training| training.log.as_ref());
    let Some(path) = log.map(|log| folder.join(&log.path)) else { return Vec::new() };
    let is_own = path.canonicalize().ok() == request.folder.train_log().canonicalize().ok();
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if is_own { Vec::new() } else { runs_of_log(&path, &name).unwrap_or_default() }
}

/// What makes a folder a record folder.
const SUBMISSION: &str = "submission.json";

pub(super) struct Stages<'a, 'r> {
    pub request: &'a Request<'r>,
    data: &'a Dataset,
    done: Vec<Stage>,
    kept: Vec<Stage>,
}

type Scored = (Manifest, Option<super::scores::UnigramBounds>, Option<f64>);

impl<'a, 'r> Stages<'a, 'r> {
    pub fn new(request: &'a Request<'r>, data: &'a Dataset) -> Self {
        Stages { request, data, done: Vec::new(), kept: Vec::new() }
    }
}

impl Stages<'_, '_> {
    fn train(&mut self, watcher: &mut dyn Write) -> Result<Manifest, ReproduceError> {
        let recipe = &self.request.effective.manifest;
        let inputs = self.inputs(Stage::Train, recipe)?;
        let folder = &self.request.folder;
        if let Some(mut earlier) = self.earlier(Stage::Train, &inputs, watcher)? {
            // Claims, notes and later settings may have changed since; the weights do not depend on them.
            let results = std::mem::take(&mut earlier.results);
            let artifact = earlier.artifact.take();
            let mut manifest = recipe.clone();
            manifest.artifact = None;
            manifest.program = manifest.program.map(|program| program.as_built_here());
            manifest::rebase_paths(&mut manifest, &self.request.effective.folder, folder.root())?;
            manifest.results = results;
            manifest.artifact = artifact;
            return self.keep(Stage::Train, manifest, watcher);
        }
        writeln!(watcher, "{:<6} {} steps at most", Stage::Train, recipe.schedule.iterations)?;
        let start = self.start(watcher)?;
        let request = TrainRequest {
            effective: self.request.effective,
            manifest_path: self.request.manifest_path,
            folder: folder.clone(),
            engine: self.request.engine,
            ranks: &crate::collective::Solo,
            start,
            replay: None,
            checkpoint_every: None,
            checkpoint_period: self.request.checkpoint_period,
            interrupt: self.request.interrupt.clone(),
            progress: (self.request.progress)("training", 0),
        };
        let mut manifest = train::run(&request, &mut SystemClock::start(), watcher)
            .map_err(|error| match error {
                TrainError::Interrupted { .. } => ReproduceError::Interrupted(Interrupted),
                other => other.into(),
            })?
            .manifest;
        // Whatever was packed or scored before belonged to other weights.
        manifest.results.scores.clear();
        manifest.results.samples.clear();
        manifest.results.stages.clear();
        manifest.artifact = None;
        self.finish(Stage::Train, manifest, inputs, &[&folder.checkpoint(), &folder.trace()])
    }

    fn pack(&mut self, manifest: Manifest, watcher: &mut dyn Write) -> Result<Manifest, ReproduceError> {
        let folder = &self.request.folder;
        let inputs = self.inputs(Stage::Pack, &manifest)?;
        if manifest.artifact.is_some() && self.earlier(Stage::Pack, &inputs, watcher)?.is_some() {
            return self.keep(Stage::Pack, manifest, watcher);
        }
        let quantization = &manifest.quantization;
        let artifact = folder.artifact(quantization.container);
        let compression = match quantization.container {
            ArtifactContainer::Golf => format!("zstd level {}", quantization.zstd_level),
            container => container.to_string(),
        };
        writeln!(watcher, "{:<6} int5, int6, int8, f16, then {compression}", Stage::Pack)?;
        manifest::save(&manifest, &folder.manifest())?;
        let job = PackJob {
            manifest,
            manifest_path: folder.manifest(),
            checkpoint: None,
            artifact: artifact.clone(),
            manifest_out: folder.manifest(),
            hessian_shard: None,
        };
        let progress = (self.request.progress)("packing", 0);
        let done = job.run(&progress, &self.request.interrupt);
        progress.finish();
        let done = done.map_err(|error| match error {
            PackJobError::Interrupted(interrupted) => ReproduceError::Interrupted(interrupted),
            other => other.into(),
        })?;
        self.finish(Stage::Pack, done.manifest, inputs, &[&artifact])
    }

    fn score(&mut self, manifest: Manifest, watcher: &mut dyn Write) -> Result<Scored, ReproduceError> {
        let folder = &self.request.folder;
        let inputs = self.inputs(Stage::Score, &manifest)?;
        let eval = &manifest.eval;
        if !manifest.results.scores.is_empty() && self.earlier(Stage::Score, &inputs, watcher)?.is_some() {
            let bounds = self.scoring(&manifest).bounds()?;
            return Ok((self.keep(Stage::Score, manifest, watcher)?, bounds, None));
        }
        let learning = if eval.ttt.is_some() { ", then with test-time training" } else { "" };
        writeln!(watcher, "{:<6} windows of {} every {}{learning}", Stage::Score, eval.seq_len, eval.stride)?;
        let trace = eval.ttt.as_ref().map(|_| folder.ttt_trace());
        let started = Instant::now();
        let (scores, bounds) = self.scoring(&manifest).run(folder).map_err(|error| match error {
            ScoreStageError::Score(ScoreError::Interrupted(interrupted))
            | ScoreStageError::Ttt(TttError::Interrupted(interrupted)) => ReproduceError::Interrupted(interrupted),
            other => other.into(),
        })?;
        let seconds = started.elapsed().as_secs_f64();
        let mut manifest = manifest;
        manifest.results.scores = scores;
        // What a sample estimated is known now.
        manifest.results.samples.clear();
        let outputs: Vec<&PathBuf> = trace.iter().collect();
        Ok((self.finish(Stage::Score, manifest, inputs, &outputs)?, bounds, Some(seconds)))
    }

    fn scoring<'s>(&'s self, manifest: &'s Manifest) -> Scoring<'s> {
        Scoring {
            manifest,
            recipe: manifest::identity(&self.request.effective.manifest),
            data: self.data,
            engine: self.request.engine,
            interrupt: &self.request.interrupt,
            progress: self.request.progress,
        }
    }

    /// Everything a stage depends on: files, settings, this build and its instructions.
    pub fn inputs(&self, stage: Stage, manifest: &Manifest) -> Result<Vec<FileRef>, UnreadableFile> {
        let (folder, engine) = (&self.request.folder, self.request.engine.label());
        let eval = &manifest.eval;
        let mut inputs = match stage {
            Stage::Train => {
                let recipe = &self.request.effective.manifest;
                let recipe = (&recipe.model, &recipe.optimizer, &recipe.schedule, engine);
                let mut inputs = vec![digest_settings("recipe", &recipe)];
                let data = &self.request.effective.manifest.data;
                if data.loader != LoaderOrder::Sequential {
                    inputs.push(digest_settings("loader", &(data.loader, data.loader_seed)));
                }
                inputs.extend(self.data.files().filter_map(data_input));
                inputs
            }
            Stage::Pack => {
                let mut inputs = digest_files([folder.checkpoint().as_path()])?;
                inputs.push(digest_settings("quantization", &manifest.quantization));
                if manifest.quantization.prune_to.is_some() {
                    inputs.push(digest_settings("code", &Budget::code_of(manifest)));
                }
                inputs
            }
            Stage::Score | Stage::Verify => {
                let mut inputs = digest_files([
                    folder.checkpoint().as_path(),
                    folder.artifact(manifest.quantization.container).as_path(),
                ])?;
                inputs.extend(
                    self.data.val.iter().chain(&self.data.sidecar).chain(&self.data.tokenizer).filter_map(data_input),
                );
                inputs.push(match eval.rests() {
                    true => digest_settings("eval", &(eval.seq_len, eval.stride, engine)),
                    false => digest_settings("eval", &(eval.deciding(), engine)),
                });
                inputs
            }
        };
        inputs.extend(makers());
        Ok(inputs)
    }

    /// What a finished run recorded.
    fn recorded(self, manifest: Manifest, claimed_runs: Vec<RunProfile>) -> Result<Ended, ReproduceError> {
        let bounds = self.scoring(&manifest).bounds()?;
        let report = audit::manifest(&self.request.folder.manifest(), &Options::default())?;
        let (folder, kept) = (self.request.folder.clone(), vec![Stage::Train, Stage::Pack, Stage::Score]);
        let (eval_seconds, done) = (None, Vec::new());
        let found = Reproduction { manifest, folder, report, bounds, eval_seconds, done, kept, claimed_runs };
        Ok(Ended::Recorded(Box::new(found)))
    }

    /// Whether training goes on from a saved state: one that this build computed on these instructions.
    fn start(&self, watcher: &mut dyn Write) -> Result<Start, ReproduceError> {
        let folder = &self.request.folder;
        if self.request.fresh || !folder.training_state().exists() {
            return Ok(Start::Overwrite);
        }
        match train::made_by(&folder.training_state()) {
            Ok(maker) if maker == train::maker() => Ok(Start::Resume),
            Ok(maker) => {
                let maker = if maker.is_empty() { "an earlier version" } else { &maker };
                writeln!(watcher, "{:<6} starts over: the saved state is of {maker}", Stage::Train)?;
                Ok(Start::Overwrite)
            }
            // Resuming says what is wrong with it.
            Err(_) => Ok(Start::Resume),
        }
    }

    /// The run folder's manifest, if this stage of it still stands.
    fn earlier(
        &self,
        stage: Stage,
        inputs: &[FileRef],
        watcher: &mut dyn Write,
    ) -> Result<Option<Manifest>, ReproduceError> {
        if self.request.fresh || self.done.iter().any(|done| *done < stage) {
            return Ok(None);
        }
        let Ok(manifest) = manifest::load(&self.request.folder.manifest()) else { return Ok(None) };
        let Some(record) = manifest.results.stages.get(stage.key()) else { return Ok(None) };
        match why_not(record, inputs, self.request.folder.root()) {
            None => Ok(Some(manifest)),
            Some(reason) => {
                writeln!(watcher, "{stage:<6} done again: {reason}")?;
                Ok(None)
            }
        }
    }

    fn keep(&mut self, stage: Stage, manifest: Manifest, watcher: &mut dyn Write) -> Result<Manifest, ReproduceError> {
        writeln!(watcher, "{stage:<6} kept from the earlier run: nothing it reads or wrote has changed")?;
        self.kept.push(stage);
        Ok(manifest)
    }

    fn finish(
        &mut self,
        stage: Stage,
        mut manifest: Manifest,
        inputs: Vec<FileRef>,
        outputs: &[&PathBuf],
    ) -> Result<Manifest, ReproduceError> {
        let outputs = digest_files(outputs.iter().map(|path| path.as_path()))?;
        manifest.results.stages.insert(stage.key().to_string(), StageRecord { inputs, outputs });
        manifest::save(&manifest, &self.request.folder.manifest())?;
        self.done.push(stage);
        Ok(manifest)
    }
}

fn data_input(file: &crate::data::DataFile) -> Option<FileRef> {
    Some(FileRef::new(file.path.file_name().unwrap_or_default(), file.digest?))
}
