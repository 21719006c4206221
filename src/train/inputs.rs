//! What a training run reads.

use std::path::Path;

use super::validation::ValidationSplit;
use super::{TrainError, TrainRequest, Validation};
use crate::data::{Dataset, DigestCheck, Wanted};
use crate::digest::ContentDigest;
use crate::interrupt::Interrupt;
use crate::model::Params;

/// The files a run reads, held against themselves at the end.
pub(super) struct TrainInputs<'a> {
    manifest_path: &'a Path,
    manifest: ContentDigest,
    pub data: Dataset,
    pub split: ValidationSplit,
}

impl<'a> TrainInputs<'a> {
    /// Digests the manifest, opens the data set and reads the validation split.
    pub(super) fn open(request: &TrainRequest<'a>) -> Result<Self, TrainError> {
        let manifest = digest_manifest(request.manifest_path)?;
        let effective = request.effective;
        let data = Dataset::open(&effective.manifest.data, &effective.folder, Wanted::ALL, DigestCheck::All)?;
        let split = ValidationSplit::open(&data, &effective.manifest)?;
        Ok(TrainInputs { manifest_path: request.manifest_path, manifest, data, split })
    }

    /// Scores weights on the validation split, each rank its part.
    pub(super) fn validator(
        &self,
        request: &TrainRequest<'a>,
    ) -> impl FnMut(&Params, usize, &Interrupt) -> Result<Option<Validation>, TrainError> {
        let (engine, ranks) = (request.engine, request.ranks);
        move |weights, phase, interrupt| self.split.score(engine, weights, phase, interrupt, ranks)
    }

    /// An error if the manifest or a file of the data set is another one than at the start.
    pub(super) fn check_unchanged(&self) -> Result<(), TrainError> {
        if digest_manifest(self.manifest_path)? != self.manifest {
            return Err(TrainError::ManifestChanged { path: self.manifest_path.to_path_buf() });
        }
        self.data.check_unchanged().map_err(TrainError::InputChanged)
    }
}

fn digest_manifest(path: &Path) -> Result<ContentDigest, TrainError> {
    ContentDigest::of_file(path).map_err(|source| TrainError::Manifest { path: path.to_path_buf(), source })
}
