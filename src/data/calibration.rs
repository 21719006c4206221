//! The tokens that settings are chosen on, and Hessians summed over: training text, never validation text.
//!
//! Settings chosen on validation data would make the model depend on what it is scored on; the challenge's maintainers
//! ruled that out (PR #728), and what reads training data counts as training time (ruling on PR #677).

use std::path::{Path, PathBuf};

use super::dataset::SIDECAR_MARK;
use super::{DataRole, Dataset, DigestCheck, Shard, ShardError, Wanted, check_vocabulary};
use crate::digest::ContentDigest;
use crate::glob::matches;
use crate::manifest::{ByteSidecar, CalibrationConfig, Manifest, ShardRole};

/// Runs of tokens looked for in the validation split.
const PROBES: usize = 64;
/// Length of such a run. The shipped training and validation stories, made from few words, share no run of 64.
const PROBE_TOKENS: usize = 128;
/// Web text repeats licenses and notices; more than this part of the probes found is no accident.
const ACCIDENT: usize = PROBES / 8;

/// Why there is nothing to measure on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrationError {
    /// No training shard was found and none was named.
    #[error("no training shard of the manifest is here ({reason}); name one with {flag} SHARD")]
    NoShard {
        /// What was missing.
        reason: String,
        /// The flag that names one.
        flag: &'static str,
    },
    /// The file belongs to the split that is scored.
    #[error(
        "{} is validation data ({reason}): settings chosen on what is scored invalidate a submission; \
         calibrate on a training shard", path.display()
    )]
    Validation {
        /// The file.
        path: PathBuf,
        /// How that is known.
        reason: String,
    },
    /// The shard cannot be read.
    #[error("calibration {0}")]
    Shard(#[from] ShardError),
    /// A file could not be hashed.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Nothing to predict.
    #[error("calibration shard {} holds {tokens} tokens; at least 2 are needed", path.display())]
    TooShort {
        /// The shard.
        path: PathBuf,
        /// Tokens in it.
        tokens: u64,
    },
    /// The shard changed while it was in use.
    #[error("{} changed while it was in use; nothing was written", path.display())]
    Changed {
        /// The shard.
        path: PathBuf,
    },
}

/// The sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// The shard.
    pub path: PathBuf,
    /// Its content.
    pub digest: ContentDigest,
    /// The first tokens of it.
    pub tokens: Vec<u16>,
    /// Predictions in a window; windows lie side by side and a tail that fills none is dropped.
    pub seq_len: u64,
    /// Whether the validation split was here to compare with; without it only names and recorded digests were.
    pub compared: bool,
}

impl Calibration {
    /// What damage is measured on: the first `predictions` predictions of `shard`, or of the manifest's last training
    /// shard, the one a short run is least likely to have read: weights forgive rounding on text they know by heart.
    ///
    /// `folder` is where the manifest's relative paths start.
    pub fn open(
        manifest: &Manifest,
        folder: &Path,
        shard: Option<&Path>,
        predictions: u64,
    ) -> Result<Self, CalibrationError> {
        let path = match shard {
            Some(path) => path.to_path_buf(),
            None => training_shards(manifest, folder, "--calibration")?.1,
        };
        Self::of(manifest, folder, path, predictions, manifest.eval.seq_len)
    }

    /// What Hessians are summed over: the first sequences of `shard`, or of the manifest's first training shard, where
    /// the scripts start as well.
    pub fn for_hessians(manifest: &Manifest, folder: &Path, shard: Option<&Path>) -> Result<Self, CalibrationError> {
        let path = match shard {
            Some(path) => path.to_path_buf(),
            None => training_shards(manifest, folder, "--hessians")?.0,
        };
        let CalibrationConfig { sequences, seq_len, .. } =
            manifest.quantization.calibration.clone().unwrap_or_default();
        let seq_len = seq_len.unwrap_or(manifest.schedule.train_seq_len);
        Self::of(manifest, folder, path, sequences.saturating_mul(seq_len), seq_len)
    }

    fn of(
        manifest: &Manifest,
        folder: &Path,
        path: PathBuf,
        predictions: u64,
        seq_len: u64,
    ) -> Result<Self, CalibrationError> {
        let mut shard = Shard::open(&path)?;
        let count = shard.tokens().min(predictions.saturating_add(1));
        if count < 2 {
            return Err(CalibrationError::TooShort { path, tokens: count });
        }
        let digest = digest(&path)?;
        let mut tokens = Vec::new();
        shard.read_into(0, count as usize, &mut tokens)?;
        let compared = refuse_validation(manifest, folder, &path, &digest, &tokens)?;
        check_vocabulary(&tokens, manifest.model.vocab_size as u32, 0).map_err(|fault| shard.error(fault))?;
        let seq_len = seq_len.min(count - 1);
        Ok(Calibration { path, digest, tokens, seq_len, compared })
    }

    /// The inputs of each window, side by side.
    pub fn sequences(&self) -> impl ExactSizeIterator<Item = &[u16]> {
        let inputs = self.tokens.get(..self.predictions() as usize).unwrap_or_default();
        inputs.chunks_exact(self.seq_len as usize)
    }

    /// Predictions that are measured: those that fill windows.
    pub fn predictions(&self) -> u64 {
        (self.tokens.len() as u64 - 1) / self.seq_len * self.seq_len
    }

    /// Hashes the shard again.
    pub fn check_unchanged(&self) -> Result<(), CalibrationError> {
        if digest(&self.path)? == self.digest {
            Ok(())
        } else {
            Err(CalibrationError::Changed { path: self.path.clone() })
        }
    }
}

fn digest(path: &Path) -> Result<ContentDigest, CalibrationError> {
    ContentDigest::of_file(path).map_err(|source| CalibrationError::Read { path: path.to_path_buf(), source })
}

/// The first and the last in reading order.
fn training_shards(
    manifest: &Manifest,
    folder: &Path,
    flag: &'static str,
) -> Result<(PathBuf, PathBuf), CalibrationError> {
    let wanted = Wanted { train: true, val: false, tokenizer: false };
    let found = Dataset::inspect(&manifest.data, folder, wanted, DigestCheck::Skip);
    let reason = || found.gaps.first().map_or_else(|| "none is listed".to_string(), ToString::to_string);
    let paths = found.dataset.train_paths();
    match (paths.first(), paths.last()) {
        (Some(first), Some(last)) => Ok((first.clone(), last.clone())),
        _ => Err(CalibrationError::NoShard { reason: reason(), flag }),
    }
}

/// An error if the file is validation data by name, place, digest or text; else whether the split was here to compare.
fn refuse_validation(
    manifest: &Manifest,
    folder: &Path,
    path: &Path,
    digest: &ContentDigest,
    tokens: &[u16],
) -> Result<bool, CalibrationError> {
    let refuse = |reason: String| Err(CalibrationError::Validation { path: path.to_path_buf(), reason });
    let data = &manifest.data;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if matches(&data.val_pattern, name) {
        return refuse(format!("its name matches data.val_pattern `{}`", data.val_pattern));
    }
    let listed = data.shards.iter().filter(|shard| shard.role == ShardRole::Val);
    for shard in listed {
        if shard.file.file_name().and_then(|name| name.to_str()) == Some(name) {
            return refuse("the manifest lists a validation shard of that name".into());
        }
        if shard.sha256 == Some(digest.sha256) || shard.blake3 == Some(digest.blake3) {
            return refuse(format!("it has the digest of validation shard {}", shard.file.display()));
        }
    }
    let wanted = Wanted { train: false, val: true, tokenizer: false };
    // Sidecars that lie beside the split, named or not, are none of its shards.
    let mut named = data.clone();
    named.byte_sidecar.get_or_insert_with(|| ByteSidecar { pattern: format!("*{SIDECAR_MARK}*"), text_bytes: None });
    let split = Dataset::inspect(&named, folder, wanted, DigestCheck::Skip);
    let probes = Probes::of(tokens);
    let mut found = vec![false; probes.runs.len()];
    for file in &split.dataset.val {
        if file.path.canonicalize().ok() == path.canonicalize().ok() {
            return refuse("it is a validation shard of the manifest".into());
        }
        probes.mark(&Shard::open(&file.path)?.read_all()?, &mut found);
    }
    let shared = found.iter().filter(|found| **found).count();
    if shared > ACCIDENT.min(found.len() / 2) {
        return refuse(format!("{shared} of {} runs of its tokens occur in the validation split", found.len()));
    }
    let is_whole = !split.gaps.iter().any(|gap| gap.role() == DataRole::Val);
    Ok(is_whole && !split.dataset.val.is_empty())
}

/// Runs of tokens, spread evenly over a sample, and where to look them up.
struct Probes<'a> {
    runs: Vec<&'a [u16]>,
    /// First two tokens and place of every run, sorted.
    starts: Vec<([u16; 2], usize)>,
}

impl<'a> Probes<'a> {
    fn of(tokens: &'a [u16]) -> Self {
        let length = tokens.len().min(PROBE_TOKENS);
        let room = tokens.len() - length;
        let at = |i: usize| &tokens[room * i / PROBES..][..length];
        let mut runs: Vec<&[u16]> = (0..PROBES).map(at).collect();
        runs.dedup();
        let start = |(i, run): (usize, &&[u16])| ([run[0], run[1]], i);
        let mut starts: Vec<_> = runs.iter().enumerate().map(start).collect();
        starts.sort_unstable();
        Probes { runs, starts }
    }

    /// Marks the runs that occur in a text.
    fn mark(&self, text: &[u16], found: &mut [bool]) {
        for (at, pair) in text.array_windows().enumerate() {
            let first = self.starts.partition_point(|(start, _)| start < pair);
            for (_, run) in self.starts[first..].iter().take_while(|(start, _)| start == pair) {
                found[*run] = found[*run] || text[at..].starts_with(self.runs[*run]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::write_shard;
    use crate::random::RandomStream;

    fn text(name: &str, count: usize) -> Vec<u16> {
        let mut random = RandomStream::new(7, name);
        (0..count).map(|_| random.below(1000) as u16).collect()
    }

    /// A folder with one shard of either split and a manifest beside them.
    fn workshop() -> (tempfile::TempDir, Manifest) {
        let folder = tempfile::tempdir().unwrap();
        write_shard(&folder.path().join("x_train_0.bin"), &text("train", 3000)).unwrap();
        write_shard(&folder.path().join("x_val_0.bin"), &text("val", 5000)).unwrap();
        let yaml = "schema: golf-harness/manifest/v1\nname: x\neval: { seq_len: 64, stride: 64 }\n\
                    data: { path: ., train_pattern: 'x_train_*.bin', val_pattern: 'x_val_*.bin' }";
        let manifest = crate::manifest::parse(yaml, Path::new("x.yaml")).unwrap();
        (folder, manifest)
    }

    fn refusal(manifest: &Manifest, folder: &tempfile::TempDir, shard: &str) -> String {
        let error = Calibration::open(manifest, folder.path(), Some(&folder.path().join(shard)), 2000).unwrap_err();
        assert!(matches!(error, CalibrationError::Validation { .. }), "{error}");
        error.to_string().replace(&folder.path().display().to_string(), "BASE")
    }

    #[test]
    fn the_last_training_shard_is_the_default() {
        let (folder, manifest) = workshop();
        write_shard(&folder.path().join("x_train_.bin"), &text("first", 3000)).unwrap();
        let calibration = Calibration::open(&manifest, folder.path(), None, 1000).unwrap();
        assert_eq!(calibration.tokens, text("train", 3000)[..1001]);
        assert_eq!((calibration.seq_len, calibration.predictions(), calibration.compared), (64, 960, true));
        calibration.check_unchanged().unwrap();
        write_shard(&calibration.path, &text("other", 3000)).unwrap();
        assert!(calibration.check_unchanged().is_err());
        let short = Calibration::open(&manifest, folder.path(), None, 10).unwrap();
        assert_eq!((short.seq_len, short.predictions()), (10, 10));
        std::fs::remove_file(&short.path).unwrap();
        std::fs::remove_file(folder.path().join("x_train_.bin")).unwrap();
        let error = Calibration::open(&manifest, folder.path(), None, 10).unwrap_err().to_string();
        assert!(error.contains("name one with --calibration SHARD"), "{error}");
    }

    #[test]
    fn hessians_are_of_the_first_sequences_of_the_first_shard() {
        let (folder, mut manifest) = workshop();
        write_shard(&folder.path().join("x_train_.bin"), &text("first", 300)).unwrap();
        manifest.quantization.calibration =
            Some(CalibrationConfig { sequences: 5, seq_len: Some(32), ..Default::default() });
        let of = |manifest: &Manifest| Calibration::for_hessians(manifest, folder.path(), None).unwrap();
        let first = text("first", 300);
        let expected: Vec<&[u16]> = (0..5).map(|i| &first[32 * i..32 * (i + 1)]).collect();
        assert_eq!(of(&manifest).sequences().collect::<Vec<_>>(), expected);
        // 299 predictions hold nine sequences of 32.
        manifest.quantization.calibration =
            Some(CalibrationConfig { sequences: 100, seq_len: Some(32), ..Default::default() });
        assert_eq!(of(&manifest).sequences().len(), 9);
        manifest.quantization.calibration = None;
        manifest.schedule.train_seq_len = 100;
        assert_eq!(of(&manifest).sequences().map(<[u16]>::len).collect::<Vec<_>>(), [100, 100]);
        for shard in ["x_train_.bin", "x_train_0.bin"] {
            std::fs::remove_file(folder.path().join(shard)).unwrap();
        }
        let error = Calibration::for_hessians(&manifest, folder.path(), None).unwrap_err().to_string();
        assert!(error.contains("name one with --hessians SHARD"), "{error}");
    }

    #[test]
    fn validation_data_is_refused_under_any_name() {
        let (folder, mut manifest) = workshop();
        let message = refusal(&manifest, &folder, "x_val_0.bin");
        assert_eq!(
            message,
            "BASE/x_val_0.bin is validation data (its name matches data.val_pattern `x_val_*.bin`): settings chosen on \
             what is scored invalidate a submission; calibrate on a training shard"
        );
        std::fs::copy(folder.path().join("x_val_0.bin"), folder.path().join("renamed.bin")).unwrap();
        assert!(refusal(&manifest, &folder, "renamed.bin").contains("64 of 64 runs"));
        // Cut out of the middle, and with training text around it.
        write_shard(&folder.path().join("part.bin"), &text("val", 5000)[701..1500]).unwrap();
        assert!(refusal(&manifest, &folder, "part.bin").contains("64 of 64 runs"));
        let mixed = [&text("train", 1400)[..], &text("val", 600)[..]].concat();
        write_shard(&folder.path().join("mixed.bin"), &mixed).unwrap();
        assert!(refusal(&manifest, &folder, "mixed.bin").contains("of 64 runs"));
        write_shard(&folder.path().join("tiny.bin"), &text("val", 5000)[40..60]).unwrap();
        assert!(refusal(&manifest, &folder, "tiny.bin").contains("1 of 1 runs"));
        // Counts of bytes beside it, which the pattern fits as well.
        std::fs::write(folder.path().join("x_val_bytes_0.bin"), b"counts").unwrap();
        assert!(refusal(&manifest, &folder, "renamed.bin").contains("64 of 64 runs"));
        assert!(Calibration::open(&manifest, folder.path(), None, 1000).unwrap().compared);
        std::fs::remove_file(folder.path().join("x_val_bytes_0.bin")).unwrap();

        // Without the split, by recorded digest and name.
        let digest = ContentDigest::of_file(&folder.path().join("renamed.bin")).unwrap();
        std::fs::remove_file(folder.path().join("x_val_0.bin")).unwrap();
        let calibration = Calibration::open(&manifest, folder.path(), None, 1000).unwrap();
        assert!(!calibration.compared);
        manifest.data.shards = vec![crate::manifest::ShardRef {
            role: ShardRole::Val,
            file: "listed.bin".into(),
            tokens: None,
            bytes: None,
            sha256: Some(digest.sha256),
            blake3: None,
        }];
        assert!(refusal(&manifest, &folder, "renamed.bin").contains("digest of validation shard listed.bin"));
        write_shard(&folder.path().join("listed.bin"), &text("another", 300)).unwrap();
        assert!(refusal(&manifest, &folder, "listed.bin").contains("lists a validation shard of that name"));
    }
}
