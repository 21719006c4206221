//! From the manifest's `data` section to files that exist and are what they should be.

use std::path::{Path, PathBuf};

use super::data_file::{DataFile, DigestCheck, Expected};
use super::data_gap::{DataGap, IncompleteData};
use super::data_role::DataRole;
use super::sentencepiece::Tokenizer;
use super::shard::{Shard, ShardError, ShardFault, check_vocabulary};
use super::tokenizer_error::TokenizerError;
use crate::digest::ContentDigest;
use crate::glob;
use crate::manifest::{DataConfig, ShardRef, ShardRole};
use crate::units::Bytes;

/// Which of the data a task needs: `score` reads no training shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Training shards.
    pub train: bool,
    /// Validation shards.
    pub val: bool,
    /// The tokenizer.
    pub tokenizer: bool,
}

impl Wanted {
    /// Everything.
    pub const ALL: Wanted = Wanted { train: true, val: true, tokenizer: true };
    /// What scoring reads.
    pub const SCORING: Wanted = Wanted { train: false, val: true, tokenizer: true };
}

/// The files of a manifest's `data` section, checked. Shards are in name order, the order of reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dataset {
    /// Training shards.
    pub train: Vec<DataFile>,
    /// Validation shards.
    pub val: Vec<DataFile>,
    /// Counts of bytes, one file for each validation shard; empty where the tokenizer's table counts.
    pub sidecar: Vec<DataFile>,
    /// What all counts come to, where the manifest states it.
    pub text_bytes: Option<u64>,
    /// The SentencePiece model.
    pub tokenizer: Option<DataFile>,
}

/// What is there and what is not.
#[derive(Debug, Default)]
pub struct Inspection {
    /// The usable files.
    pub dataset: Dataset,
    /// What is missing or wrong, in the order training, validation, tokenizer.
    pub gaps: Vec<DataGap>,
}

impl Dataset {
    /// Finds and checks all wanted files; every problem is in the error, not only the first.
    ///
    /// `base` is the folder of the manifest, where relative paths start.
    pub fn open(config: &DataConfig, base: &Path, wanted: Wanted, check: DigestCheck) -> Result<Self, IncompleteData> {
        let inspection = Self::inspect(config, base, wanted, check);
        if inspection.gaps.is_empty() { Ok(inspection.dataset) } else { Err(IncompleteData(inspection.gaps)) }
    }

    /// Like [`Dataset::open`], but what is missing is part of the answer.
    pub fn inspect(config: &DataConfig, base: &Path, wanted: Wanted, check: DigestCheck) -> Inspection {
        let mut inspection = Inspection::default();
        let folder = base.join(&config.path);
        let sidecar = config.byte_sidecar.as_ref().map(|sidecar| sidecar.pattern.as_str());
        inspection.dataset.text_bytes = config.byte_sidecar.as_ref().and_then(|sidecar| sidecar.text_bytes);
        let splits = [
            (wanted.train, ShardRole::Train, config.train_pattern.as_str()),
            (wanted.val, ShardRole::Val, config.val_pattern.as_str()),
            (wanted.val && sidecar.is_some(), ShardRole::ValBytes, sidecar.unwrap_or_default()),
        ];
        for (_, role, pattern) in splits.into_iter().filter(|(wanted, ..)| *wanted) {
            let listed: Vec<&ShardRef> = config.shards.iter().filter(|shard| shard.role == role).collect();
            let (files, role) = match role {
                ShardRole::Train => (&mut inspection.dataset.train, DataRole::Train),
                ShardRole::Val => (&mut inspection.dataset.val, DataRole::Val),
                ShardRole::ValBytes => (&mut inspection.dataset.sidecar, DataRole::Sidecar),
            };
            let shards = if listed.is_empty() {
                matching_shards(&folder, pattern, role, sidecar)
            } else {
                Ok(listed.into_iter().map(|shard| Expected::of_shard(shard, &folder, role)).collect())
            };
            match shards {
                Err(gap) => inspection.gaps.push(gap),
                Ok(mut shards) => {
                    shards.sort_by(|a, b| a.path.cmp(&b.path));
                    for expected in shards {
                        match expected.check(check) {
                            Ok(file) => files.push(file),
                            Err(gap) => inspection.gaps.push(gap),
                        }
                    }
                }
            }
        }
        if sidecar.is_some() && wanted.val && inspection.gaps.is_empty() {
            inspection.gaps.extend(inspection.dataset.unpaired());
        }
        if wanted.tokenizer {
            match &config.tokenizer {
                None => inspection.gaps.push(DataGap::NoTokenizerNamed),
                Some(file) => match Expected::of_tokenizer(file, base).check(check) {
                    Ok(file) => inspection.dataset.tokenizer = Some(file),
                    Err(gap) => inspection.gaps.push(gap),
                },
            }
        }
        inspection
    }

    /// What does not go together of sidecars and validation shards.
    fn unpaired(&self) -> Option<DataGap> {
        let (sidecars, shards) = (self.sidecar.len(), self.val.len());
        if sidecars != shards {
            return Some(DataGap::Sidecars { sidecars, shards });
        }
        let (sidecar, shard) =
            self.sidecar.iter().zip(&self.val).find(|(sidecar, shard)| sidecar.tokens != shard.tokens)?;
        Some(DataGap::SidecarLength {
            path: sidecar.path.clone(),
            counts: sidecar.tokens.unwrap_or(0),
            shard: shard.path.clone(),
            tokens: shard.tokens.unwrap_or(0),
        })
    }

    /// Every file: training shards, validation shards, sidecars, tokenizer.
    pub fn files(&self) -> impl Iterator<Item = &DataFile> {
        self.train.iter().chain(&self.val).chain(&self.sidecar).chain(&self.tokenizer)
    }

    /// Paths of the training shards in reading order.
    pub fn train_paths(&self) -> Vec<PathBuf> {
        self.train.iter().map(|file| file.path.clone()).collect()
    }

    /// All validation tokens, concatenated in name order; ids are held against the vocabulary.
    pub fn val_tokens(&self, vocab_size: u32) -> Result<Vec<u16>, ShardError> {
        let mut tokens = Vec::new();
        for file in &self.val {
            let mut shard = Shard::open(&file.path)?;
            let start = tokens.len();
            shard.read_into(0, shard.tokens() as usize, &mut tokens)?;
            check_vocabulary(&tokens[start..], vocab_size, 0).map_err(|fault| shard.error(fault))?;
        }
        Ok(tokens)
    }

    /// The bytes of every validation token by the sidecars, in the order of [`Dataset::val_tokens`]; `None` without
    /// sidecars. Their sum is held against what the manifest states.
    pub fn val_bytes(&self) -> Result<Option<Vec<u16>>, ShardError> {
        let Some(last) = self.sidecar.last() else { return Ok(None) };
        let mut counts = Vec::new();
        for file in &self.sidecar {
            let mut sidecar = Shard::open_sidecar(&file.path)?;
            sidecar.read_into(0, sidecar.tokens() as usize, &mut counts)?;
        }
        let counted: u64 = counts.iter().copied().map(u64::from).sum();
        match self.text_bytes {
            Some(stated) if stated != counted => {
                Err(ShardError { path: last.path.clone(), fault: ShardFault::SidecarSum { counted, stated } })
            }
            _ => Ok(Some(counts)),
        }
    }

    /// The tokenizer, held against the vocabulary's size.
    pub fn read_tokenizer(&self, vocab_size: u32) -> Result<Tokenizer, TokenizerError> {
        let path = self.tokenizer.as_ref().map(|file| file.path.clone()).unwrap_or_default();
        let (tokenizer, _) = Tokenizer::read(&path)?;
        tokenizer.check_vocab_size(vocab_size).map_err(|fault| TokenizerError { path, fault })?;
        Ok(tokenizer)
    }

    /// The shards with all that is known about them, for a manifest; names only, relative to `data.path`.
    pub fn shard_refs(&self) -> Vec<ShardRef> {
        let refs = |files: &[DataFile], role| -> Vec<ShardRef> {
            let one = |file: &DataFile| ShardRef {
                role,
                file: file.path.file_name().map(PathBuf::from).unwrap_or_default(),
                tokens: file.tokens,
                bytes: Some(file.bytes),
                sha256: file.digest.map(|digest| digest.sha256),
                blake3: file.digest.map(|digest| digest.blake3),
            };
            files.iter().map(one).collect()
        };
        let (train, val) = (refs(&self.train, ShardRole::Train), refs(&self.val, ShardRole::Val));
        [train, val, refs(&self.sidecar, ShardRole::ValBytes)].concat()
    }

    /// Hashes the files once more: an input that changed while it was used spoils what was made from it.
    ///
    /// Files without a digest are held against their size only.
    pub fn check_unchanged(&self) -> Result<(), DataGap> {
        for file in self.files() {
            let unreadable = |source| DataGap::Unreadable { role: file.role, path: file.path.clone(), source };
            let bytes = Bytes(std::fs::metadata(&file.path).map_err(unreadable)?.len());
            if bytes != file.bytes {
                let (role, path) = (file.role, file.path.clone());
                return Err(DataGap::Size { role, path, stated: file.bytes, found: bytes });
            }
            if let Some(before) = file.digest {
                let after = ContentDigest::of_file(&file.path).map_err(unreadable)?;
                if after != before {
                    let (role, path) = (file.role, file.path.clone());
                    return Err(DataGap::Changed { role, path, before: before.sha256, after: after.sha256 });
                }
            }
        }
        Ok(())
    }
}

/// In the names of sidecars that lie beside validation shards (PR #1729 and later).
pub(super) const SIDECAR_MARK: &str = "_val_bytes_";

/// The files in `folder` whose names match; an error when there is none. Validation shards are not those that `sidecar`
/// names.
fn matching_shards(
    folder: &Path,
    pattern: &str,
    role: DataRole,
    sidecar: Option<&str>,
) -> Result<Vec<Expected>, DataGap> {
    let unreadable = |source| DataGap::Unreadable { role, path: folder.to_path_buf(), source };
    if !folder.is_dir() {
        return Err(DataGap::Folder { role, folder: folder.to_path_buf() });
    }
    let mut entries = 0;
    let mut shards = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        entries += 1;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| glob::matches(pattern, name)) else { continue };
        match sidecar {
            Some(sidecar) if role == DataRole::Val && glob::matches(sidecar, name) => {}
            None if role == DataRole::Val && name.contains(SIDECAR_MARK) => {
                return Err(DataGap::UnnamedSidecar { path: entry.path() });
            }
            _ => shards.push(Expected::unstated(role, entry.path())),
        }
    }
    if shards.is_empty() {
        return Err(DataGap::NoMatch { role, pattern: pattern.to_string(), folder: folder.to_path_buf(), entries });
    }
    Ok(shards)
}

#[cfg(test)]
mod tests {
    use super::super::write_shard;
    use super::*;
    use crate::manifest::{ByteSidecar, FileRef};

    /// A folder with two training shards, one validation shard and a tokenizer.
    fn folder() -> (tempfile::TempDir, DataConfig) {
        let folder = tempfile::tempdir().unwrap();
        for (name, tokens) in [("x_train_000001.bin", 3), ("x_train_000000.bin", 2), ("x_val_000000.bin", 4)] {
            write_shard(&folder.path().join("data").join(name), &vec![7; tokens]).unwrap();
        }
        std::fs::write(folder.path().join("tokenizer.model"), b"abc").unwrap();
        let config = DataConfig {
            path: "data".into(),
            train_pattern: "x_train_*.bin".into(),
            val_pattern: "x_val_*.bin".into(),
            tokenizer: Some(FileRef::new("tokenizer.model", ContentDigest::of(b"abc"))),
            ..DataConfig::default()
        };
        (folder, config)
    }

    fn open(folder: &tempfile::TempDir, config: &DataConfig) -> Result<Dataset, String> {
        Dataset::open(config, folder.path(), Wanted::ALL, DigestCheck::All)
            .map_err(|error| error.to_string().replace(&folder.path().display().to_string(), "BASE"))
    }

    #[test]
    fn patterns_find_shards_in_name_order() {
        let (folder, config) = folder();
        let dataset = open(&folder, &config).unwrap();
        assert_eq!(dataset.train.iter().map(|file| file.tokens).collect::<Vec<_>>(), [Some(2), Some(3)]);
        assert_eq!(dataset.val_tokens(8).unwrap(), [7; 4]);
        assert!(dataset.val_tokens(7).unwrap_err().to_string().contains("is id 7, outside the vocabulary of 7"));
        assert!(dataset.tokenizer.is_some());
    }

    #[test]
    fn recorded_shards_are_found_again_and_held_to_what_was_recorded() {
        let (folder, mut config) = folder();
        config.shards = open(&folder, &config).unwrap().shard_refs();
        let dataset = open(&folder, &config).unwrap();
        assert_eq!(dataset.shard_refs(), config.shards);
        dataset.check_unchanged().unwrap();

        write_shard(&folder.path().join("data/x_val_000000.bin"), &[7, 7, 7, 8]).unwrap();
        let message = open(&folder, &config).unwrap_err();
        assert!(message.starts_with("validation shard BASE/data/x_val_000000.bin: sha256 is "), "{message}");
        assert!(dataset.check_unchanged().unwrap_err().to_string().contains("content changed during the run"));

        write_shard(&folder.path().join("data/x_val_000000.bin"), &[7; 5]).unwrap();
        let message = open(&folder, &config).unwrap_err();
        assert_eq!(message, "validation shard BASE/data/x_val_000000.bin: holds 5 tokens, the manifest states 4");
    }

    #[test]
    fn sidecars_go_with_their_shards() {
        let (folder, mut config) = folder();
        let put = |name: &str, counts: &[u16]| write_shard(&folder.path().join("data").join(name), counts).unwrap();
        put("x_val_000001.bin", &[1, 7, 7]);
        put("x_val_bytes_000000.bin", &[0, 3, 300, 1]);
        // Its name fits the pattern of the shards.
        let message = open(&folder, &config).unwrap_err();
        assert!(message.contains("BASE/data/x_val_bytes_000000.bin holds counts of bytes, not tokens"), "{message}");
        let sidecar = |text_bytes| Some(ByteSidecar { pattern: "x_val_bytes_*.bin".into(), text_bytes });
        config.byte_sidecar = sidecar(None);
        let message = open(&folder, &config).unwrap_err();
        assert!(message.contains("byte sidecars: 1 for 2 validation shard(s)"), "{message}");
        put("x_val_bytes_000001.bin", &[0, 5]);
        let message = open(&folder, &config).unwrap_err();
        assert!(message.contains("holds 2 counts, but BASE/data/x_val_000001.bin has 3 tokens"), "{message}");

        // One byte a count, too.
        let mut small = std::fs::read(folder.path().join("data/x_val_000001.bin")).unwrap();
        small.truncate(1024);
        small.extend([0, 5, 255]);
        std::fs::write(folder.path().join("data/x_val_bytes_000001.bin"), small).unwrap();
        let dataset = open(&folder, &config).unwrap();
        assert_eq!(dataset.val_tokens(8).unwrap(), [7, 7, 7, 7, 1, 7, 7]);
        assert_eq!(dataset.val_bytes().unwrap(), Some(vec![0, 3, 300, 1, 0, 5, 255]));
        // Recorded shards name them, too.
        config.shards = dataset.shard_refs();
        config.byte_sidecar = sidecar(Some(564));
        assert_eq!(open(&folder, &config).unwrap().val_bytes().unwrap(), dataset.val_bytes().unwrap());
        config.byte_sidecar = sidecar(Some(565));
        let message = open(&folder, &config).unwrap().val_bytes().unwrap_err().to_string();
        assert!(message.contains("come to 564 bytes, data.byte_sidecar.text_bytes states 565"), "{message}");
        config.byte_sidecar = None;
        assert_eq!(open(&folder, &config).unwrap().val_bytes().unwrap(), None);
    }

    #[test]
    fn everything_missing_is_listed_with_the_place_it_was_looked_for() {
        let (folder, mut config) = folder();
        config.val_pattern = "y_val_*.bin".into();
        config.tokenizer = Some(FileRef { path: "t.model".into(), bytes: None, sha256: None, blake3: None });
        std::fs::write(folder.path().join("data/x_train_000001.bin"), b"").unwrap();
        assert_eq!(
            open(&folder, &config).unwrap_err(),
            "the data cannot be used, 3 problems:\n  \
             - training shard: shard BASE/data/x_train_000001.bin: 0 bytes long, expected a header of 1024 bytes at \
             offset 0; the file is empty or truncated: fetch or tokenize it again\n  \
             - validation shards: none of the 3 file(s) in BASE/data matches `y_val_*.bin`; put the shards there, name \
             another folder by --data-path or DATA_PATH, or other files by --set data.val_pattern=PATTERN\n  \
             - tokenizer: BASE/t.model does not exist; name it by --tokenizer-path, TOKENIZER_PATH, or \
             data.tokenizer.path in the manifest"
        );
        config.path = "elsewhere".into();
        let inspection = Dataset::inspect(&config, folder.path(), Wanted::SCORING, DigestCheck::Skip);
        assert!(matches!(inspection.gaps.as_slice(), [DataGap::Folder { .. }, DataGap::NoTokenizer { .. }]));
        assert_eq!(inspection.dataset, Dataset::default());
    }

    #[test]
    fn a_listed_shard_cannot_leave_the_data_folder() {
        let (folder, mut config) = folder();
        let shard = |file: &str| ShardRef {
            role: ShardRole::Val,
            file: file.into(),
            tokens: None,
            bytes: None,
            sha256: None,
            blake3: None,
        };
        for file in ["../tokenizer.model", "/etc/passwd", "a/../../b", ""] {
            config.shards = vec![shard(file)];
            let message = open(&folder, &config).unwrap_err();
            assert!(message.contains("is not a plain path inside data.path"), "{message}");
        }
        config.shards = vec![shard("absent.bin")];
        let message = open(&folder, &config).unwrap_err();
        assert!(message.contains("shard BASE/data/absent.bin: no such file"), "{message}");
    }
}
