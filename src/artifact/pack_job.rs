//! `pack` between files: checkpoint and manifest in, artifact and updated manifest out.

use std::path::{Path, PathBuf};

use super::{Budget, Hessians, PackContext, PackError, Packed, pack};
#[cfg(feature = "engine")]
use super::{CalibrateError, CalibrationSource, calibrate, needed_hessians};
use crate::atomic_write::{self, WriteError};
use crate::digest::ContentDigest;
use crate::interrupt::Interrupt;
use crate::manifest::{self, ArtifactRecord, FileRef, HessianRecord, Manifest, Results};
#[cfg(feature = "engine")]
use crate::model::LinearInput;
use crate::model::{self, LayoutMismatch, Params, WeightsError};
use crate::path_safety::folder_of;
use crate::progress::Progress;
use crate::run_folder::RunFolder;

/// What to pack, and where to.
#[derive(Clone, Debug)]
pub struct PackJob {
    /// The manifest as it will be used, overrides applied.
    pub manifest: Manifest,
    /// The file it was read from.
    pub manifest_path: PathBuf,
    /// Weights; `None` takes the checkpoint named in the manifest's results.
    pub checkpoint: Option<PathBuf>,
    /// The artifact to write.
    pub artifact: PathBuf,
    /// The updated manifest to write.
    pub manifest_out: PathBuf,
    /// Shard that GPTQ's Hessians are summed over; `None` for the manifest's first training shard.
    pub hessian_shard: Option<PathBuf>,
}

/// The files a job read, as they were at its start.
pub(crate) struct PackInputs {
    checkpoint: PathBuf,
    checkpoint_digest: ContentDigest,
    manifest_digest: ContentDigest,
}

/// What a finished job did.
#[derive(Clone, Debug)]
pub struct Done {
    /// The manifest as written.
    pub manifest: Manifest,
    /// Its `artifact` section.
    pub record: ArtifactRecord,
    /// Where the artifact was written.
    pub artifact_path: PathBuf,
    /// Where the manifest was written.
    pub manifest_path: PathBuf,
    /// The weights file read.
    pub checkpoint: FileRef,
    /// Classes, sizes, pruning. The file's bytes have been moved out to disk.
    pub packed: Packed,
    /// Code plus model against the cap. Over the cap the files are written all the same.
    pub budget: Budget,
}

/// Why a job failed. Nothing was overwritten, unless the artifact was written and its manifest then failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackJobError {
    /// Neither a flag nor the manifest names the weights.
    #[error("{} names no trained checkpoint; train it first, or give one with --checkpoint FILE", path.display())]
    NoCheckpoint {
        /// The manifest.
        path: PathBuf,
    },
    /// An input could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The input.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The checkpoint is not the one the manifest was trained to.
    #[error("{}: sha256 is {found}, the manifest's training results give {expected}; \
             retrain, or pack another file with --checkpoint", path.display())]
    OtherCheckpoint {
        /// The checkpoint.
        path: PathBuf,
        /// Digest of the file.
        found: crate::digest::Digest,
        /// Digest in the manifest.
        expected: crate::digest::Digest,
    },
    /// An input is no longer what it was at the start.
    #[error("{} changed while it was being packed; nothing was written", path.display())]
    Changed {
        /// The input.
        path: PathBuf,
    },
    /// The checkpoint is not readable as weights.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The weights are not those of the manifest's model.
    #[error("{}: {source}", path.display())]
    Layout {
        /// The checkpoint.
        path: PathBuf,
        /// What does not fit.
        source: LayoutMismatch,
    },
    /// There are no Hessians to round by.
    #[cfg(feature = "engine")]
    #[error(transparent)]
    Calibrate(#[from] Box<CalibrateError>),
    /// A rule has rounding gptq, and nothing here runs a network.
    #[cfg(not(feature = "engine"))]
    #[error(
        "rounding gptq runs the network, and this `pack` was built without the numeric engines; build it with \
         `cargo build --release --bin pack`, without --no-default-features"
    )]
    NoEngine,
    /// Quantizing or compressing failed.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// An output could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The user stopped it.
    #[error(transparent)]
    Interrupted(#[from] crate::interrupt::Interrupted),
}

impl PackJob {
    /// Outputs for a manifest at `path`: its own folder when it is a run folder's, else `runs/NAME`.
    pub fn default_folder(manifest: &Manifest, path: &Path) -> RunFolder {
        let folder = RunFolder::new(folder_of(path));
        let is_run_folder = manifest.results.training.is_some() && folder.manifest().file_name() == path.file_name();
        if is_run_folder { folder } else { RunFolder::for_run(&manifest.name) }
    }

    /// Reads, packs, checks that no input changed meanwhile, and writes artifact and manifest, each atomically.
    pub fn run(self, progress: &Progress, interrupt: &Interrupt) -> Result<Done, PackJobError> {
        let (params, inputs) = self.open()?;
        let hessians = self.hessians(&params, progress, interrupt)?;
        let context = PackContext { hessians: hessians.as_ref(), code: Budget::code_of(&self.manifest) };
        let packed = pack(params, &self.manifest.quantization, context, progress, interrupt)?;
        let record = hessians.map(|hessians| hessians.record().clone());
        self.finish(packed, record, inputs, interrupt)
    }

    /// The Hessians that the manifest's rules need for the tensors that are integers by its classes.
    #[cfg(feature = "engine")]
    fn hessians(
        &self,
        params: &Params,
        progress: &Progress,
        interrupt: &Interrupt,
    ) -> Result<Option<Hessians>, PackJobError> {
        let config = &self.manifest.quantization;
        if !config.uses_hessians() {
            return Ok(None);
        }
        let rules = super::rules_of(params, config).map_err(PackError::from)?;
        let classes = params.iter().zip(rules).map(|((name, _), rule)| (name, rule.class()));
        let integers = classes.filter(|(_, class)| class.symbols().is_some()).map(|(name, _)| name);
        let needed = needed_hessians(integers, config, &self.manifest.model).map_err(PackError::from)?;
        self.calibrate(params, needed, progress, interrupt)
    }

    /// The Hessians of some inputs.
    #[cfg(feature = "engine")]
    pub(crate) fn calibrate(
        &self,
        params: &Params,
        needed: Vec<LinearInput>,
        progress: &Progress,
        interrupt: &Interrupt,
    ) -> Result<Option<Hessians>, PackJobError> {
        let folder = folder_of(&self.manifest_path).to_path_buf();
        let source = CalibrationSource { folder, shard: self.hessian_shard.clone() };
        let found = calibrate(&self.manifest, &source, params, needed, progress, interrupt);
        found.map_err(|error| match error {
            CalibrateError::Interrupted(interrupted) => interrupted.into(),
            other => Box::new(other).into(),
        })
    }

    #[cfg(not(feature = "engine"))]
    fn hessians(&self, _: &Params, _: &Progress, _: &Interrupt) -> Result<Option<Hessians>, PackJobError> {
        if self.manifest.quantization.uses_hessians() { Err(PackJobError::NoEngine) } else { Ok(None) }
    }

    /// Checks that the outputs can be written, and reads the weights.
    pub(crate) fn open(&self) -> Result<(Params, PackInputs), PackJobError> {
        atomic_write::check_writable(&self.artifact)?;
        atomic_write::check_writable(&self.manifest_out)?;
        let folder = folder_of(&self.manifest_path);
        let trained = self.manifest.results.training.as_ref().map(|training| training.checkpoint.clone());
        let checkpoint = match (&self.checkpoint, &trained) {
            (Some(path), _) => path.clone(),
            (None, Some(file)) => folder.join(&file.path),
            (None, None) => return Err(PackJobError::NoCheckpoint { path: self.manifest_path.clone() }),
        };
        let manifest_before = digest(&self.manifest_path)?;
        let before = digest(&checkpoint)?;
        if let (None, Some(expected)) = (&self.checkpoint, trained.and_then(|file| file.sha256))
            && before.sha256 != expected
        {
            return Err(PackJobError::OtherCheckpoint { path: checkpoint, found: before.sha256, expected });
        }

        let params = model::read_safetensors(&checkpoint)?
            .arrange(&self.manifest.model)
            .map_err(|source| PackJobError::Layout { path: checkpoint.clone(), source })?;
        Ok((params, PackInputs { checkpoint, checkpoint_digest: before, manifest_digest: manifest_before }))
    }

    /// Writes what was packed, if the inputs are still what they were.
    pub(crate) fn finish(
        self,
        packed: Packed,
        hessians: Option<HessianRecord>,
        inputs: PackInputs,
        interrupt: &Interrupt,
    ) -> Result<Done, PackJobError> {
        let PackInputs { checkpoint, checkpoint_digest, manifest_digest } = inputs;
        for (path, expected) in [(&checkpoint, checkpoint_digest), (&self.manifest_path, manifest_digest)] {
            if digest(path)? != expected {
                return Err(PackJobError::Changed { path: path.clone() });
            }
        }
        interrupt.check()?;
        self.write(packed, hessians, FileRef::new(checkpoint, checkpoint_digest))
    }

    fn write(
        self,
        mut packed: Packed,
        hessians: Option<HessianRecord>,
        checkpoint: FileRef,
    ) -> Result<Done, PackJobError> {
        let output_folder = folder_of(&self.manifest_out);
        let absolute = |path: &Path| {
            std::path::absolute(path).map_err(|source| PackJobError::Read { path: path.to_path_buf(), source })
        };
        let encoded = &mut packed.encoded;
        let record = ArtifactRecord {
            path: manifest::relative(&absolute(&self.artifact)?, &absolute(output_folder)?),
            bytes: encoded.file.bytes,
            sha256: encoded.file.sha256,
            blake3: encoded.file.blake3,
            payload: encoded.payload,
            zstd: encoded.zstd.clone(),
            hessians: hessians.map(|record| HessianRecord { without: packed.without_hessian.clone(), ..record }),
            tensors: encoded.tensors.clone(),
        };
        let mut manifest = self.manifest;
        if manifest.artifact.take().is_some_and(|earlier| earlier.sha256 != record.sha256) {
            forget_scores(&mut manifest.results);
        }
        manifest::rebase_paths(&mut manifest, folder_of(&self.manifest_path), output_folder)?;
        manifest.artifact = Some(record.clone());
        let bytes = std::mem::take(&mut encoded.bytes);
        let together = atomic_write::together();
        atomic_write::write(&self.artifact, &bytes)?;
        manifest::save(&manifest, &self.manifest_out)?;
        drop(together);
        let budget = Budget::of(record.bytes, &manifest);
        let (artifact_path, manifest_path) = (self.artifact, self.manifest_out);
        Ok(Done { manifest, record, artifact_path, manifest_path, checkpoint, packed, budget })
    }
}

/// Leaves out what was found about another artifact.
fn forget_scores(results: &mut Results) {
    let is_kept = |label: &String| !label.starts_with("packed/");
    results.scores.retain(|label, _| is_kept(label));
    results.samples.retain(|label, _| is_kept(label));
    results.stages.retain(|stage, _| !["pack", "score"].contains(&stage.as_str()));
}

fn digest(path: &Path) -> Result<ContentDigest, PackJobError> {
    ContentDigest::of_file(path).map_err(|source| PackJobError::Read { path: path.to_path_buf(), source })
}
