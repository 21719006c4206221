//! Everything an evaluation reads: opened, checked, hashed, and hashed again at the end.

use std::path::{Path, PathBuf};

use super::{Input, InputRole, ScoreJobError, ScoringData, Weights};
use crate::artifact::foreign;
use crate::data::{DataFile, Dataset, DigestCheck, Wanted};
use crate::digest::ContentDigest;
use crate::manifest::Manifest;
use crate::model::{ModelConfig, Params, read_safetensors};

/// Weights by file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightsFile {
    /// Packed or not.
    pub weights: Weights,
    /// The file.
    pub path: PathBuf,
}

impl WeightsFile {
    fn role(&self) -> InputRole {
        match self.weights {
            Weights::Packed => InputRole::Artifact,
            Weights::Checkpoint => InputRole::Checkpoint,
        }
    }

    /// Reads the weights and puts them into the model's order. Artifacts may be of any format this crate reads.
    pub fn read(&self, model: &ModelConfig) -> Result<Params, ScoreJobError> {
        let params = match self.weights {
            Weights::Packed => foreign::read(&self.path)?.params(),
            Weights::Checkpoint => read_safetensors(&self.path)?,
        };
        params.arrange(model).map_err(|source| ScoreJobError::Layout { path: self.path.clone(), source })
    }
}

/// The data of an evaluation and the digests of everything it reads.
#[derive(Clone, Debug)]
pub struct ScoreInputs {
    /// The validation split.
    pub data: ScoringData,
    /// Every file, hashed before its first use.
    pub files: Vec<Input>,
    dataset: Dataset,
}

impl ScoreInputs {
    /// Hashes weights, shards and tokenizer, and reads the data. Whatever the manifest states is held against the files.
    pub fn open(manifest: &Manifest, folder: &Path, weights: &[WeightsFile]) -> Result<Self, ScoreJobError> {
        let mut files = Vec::new();
        for file in weights {
            files.push(Input { role: file.role(), path: file.path.clone(), digest: digest(file.role(), &file.path)? });
        }
        let dataset = Dataset::open(&manifest.data, folder, Wanted::SCORING, DigestCheck::All)?;
        files.extend(data_inputs(&dataset, digest)?);

        let data = ScoringData::open_tokenizer_first::<ScoreJobError>(&dataset, manifest)?;
        if data.tokens.len() < 2 {
            return Err(ScoreJobError::TooShort { tokens: data.tokens.len() as u64 });
        }
        Ok(ScoreInputs { data, files, dataset })
    }

    /// The digest of the file of one role, where there is exactly one.
    pub fn digest_of(&self, role: InputRole) -> Option<ContentDigest> {
        self.files.iter().find(|input| input.role == role).map(|input| input.digest)
    }

    /// Hashes every file once more: one that changed while it was used spoils the score.
    pub fn check_unchanged(&self) -> Result<(), ScoreJobError> {
        self.dataset.check_unchanged()?;
        for Input { role, path, digest: before } in &self.files {
            if matches!(role, InputRole::Artifact | InputRole::Checkpoint) {
                let after = digest(*role, path)?;
                if after != *before {
                    let (before, after) = (before.sha256, after.sha256);
                    return Err(ScoreJobError::Changed { role: *role, path: path.clone(), before, after });
                }
            }
        }
        Ok(())
    }
}

/// The files of the data that a score depends on, in order; `digest` hashes those that have not been hashed.
pub(crate) fn data_inputs<E>(
    dataset: &Dataset,
    digest: impl Fn(InputRole, &Path) -> Result<ContentDigest, E>,
) -> Result<Vec<Input>, E> {
    let shards = dataset.val.iter().map(|file| (InputRole::Shard, file));
    let sidecars = dataset.sidecar.iter().map(|file| (InputRole::Sidecar, file));
    let tokenizer = dataset.tokenizer.iter().map(|file| (InputRole::Tokenizer, file));
    let input = |(role, file): (InputRole, &DataFile)| {
        let digest = file.digest.map_or_else(|| digest(role, &file.path), Ok)?;
        Ok(Input { role, path: file.path.clone(), digest })
    };
    shards.chain(sidecars).chain(tokenizer).map(input).collect()
}

fn digest(role: InputRole, path: &Path) -> Result<ContentDigest, ScoreJobError> {
    ContentDigest::of_file(path).map_err(|source| ScoreJobError::Read { role, path: path.to_path_buf(), source })
}
