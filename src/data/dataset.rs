//! From the manifest's `data` section to files that exist and are what they should be.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use super::file_pattern;
use super::shard::{Shard, ShardError, check_vocabulary};
use crate::digest::{ContentDigest, Digest};
use crate::manifest::{DataConfig, FileRef, ShardRef, ShardRole};
use crate::units::Bytes;

/// What a data file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DataRole {
    /// A training shard.
    Train,
    /// A validation shard.
    Val,
    /// The SentencePiece model.
    Tokenizer,
}

impl fmt::Display for DataRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            DataRole::Train => "training shard",
            DataRole::Val => "validation shard",
            DataRole::Tokenizer => "tokenizer",
        })
    }
}

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

/// How much to hash: the challenge's training split is 20 GB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestCheck {
    /// Nothing.
    Skip,
    /// Files whose digest the manifest states.
    Stated,
    /// Every file, so that all digests can be recorded.
    All,
}

/// A file that is there and agrees with all the manifest says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFile {
    /// What it is for.
    pub role: DataRole,
    /// Where it is.
    pub path: PathBuf,
    /// Size.
    pub bytes: Bytes,
    /// Tokens, for shards.
    pub tokens: Option<u64>,
    /// Digests, where they were computed.
    pub digest: Option<ContentDigest>,
}

/// One thing missing or wrong; the message says where it was looked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataGap {
    /// The folder of the shards is not there.
    #[error("{role}s: folder {} does not exist; set data.path in the manifest or DATA_PATH", folder.display())]
    Folder {
        /// What was looked for.
        role: DataRole,
        /// Where.
        folder: PathBuf,
    },
    /// The folder or a file in it could not be read.
    #[error("{role}: cannot read {}: {source}", path.display())]
    Unreadable {
        /// What was looked for.
        role: DataRole,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No file name matches.
    #[error(
        "{role}s: none of the {entries} file(s) in {} matches `{pattern}`; \
         put the shards there, or set data.path or DATA_PATH", folder.display()
    )]
    NoMatch {
        /// What was looked for.
        role: DataRole,
        /// By which pattern.
        pattern: String,
        /// Where.
        folder: PathBuf,
        /// Files that are there.
        entries: usize,
    },
    /// A listed file name that leaves the data folder.
    #[error("{role}: `{}` is not a plain path inside data.path; `..` and absolute paths are not allowed", file.display())]
    Escapes {
        /// Its role.
        role: DataRole,
        /// As listed.
        file: PathBuf,
    },
    /// The manifest names no tokenizer.
    #[error("tokenizer: none named; set data.tokenizer in the manifest or TOKENIZER_PATH")]
    NoTokenizerNamed,
    /// The tokenizer is not there.
    #[error("tokenizer: {} does not exist; set data.tokenizer.path in the manifest or TOKENIZER_PATH", path.display())]
    NoTokenizer {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A shard is missing or damaged.
    #[error("{role}: {error}")]
    Shard {
        /// Its role.
        role: DataRole,
        /// What is wrong.
        error: ShardError,
    },
    /// Another number of tokens than stated.
    #[error("{role} {}: holds {found} tokens, the manifest states {stated}", path.display())]
    Tokens {
        /// Its role.
        role: DataRole,
        /// The file.
        path: PathBuf,
        /// In the manifest.
        stated: u64,
        /// In the file.
        found: u64,
    },
    /// Another size than stated.
    #[error("{role} {}: {found} bytes long, the manifest states {stated}", path.display())]
    Size {
        /// Its role.
        role: DataRole,
        /// The file.
        path: PathBuf,
        /// In the manifest.
        stated: Bytes,
        /// On disk.
        found: Bytes,
    },
    /// Another content than stated.
    #[error("{role} {}: {algorithm} is {found}, the manifest states {stated}; this is another file", path.display())]
    Digest {
        /// Its role.
        role: DataRole,
        /// The file.
        path: PathBuf,
        /// `sha256` or `blake3`.
        algorithm: &'static str,
        /// In the manifest.
        stated: Digest,
        /// Of the file.
        found: Digest,
    },
    /// The file changed while a run used it.
    #[error("{role} {}: content changed during the run (sha256 was {before}, is {after})", path.display())]
    Changed {
        /// Its role.
        role: DataRole,
        /// The file.
        path: PathBuf,
        /// At the start.
        before: Digest,
        /// At the end.
        after: Digest,
    },
}

/// Everything that keeps a dataset from being used.
#[derive(Debug)]
pub struct IncompleteData(pub Vec<DataGap>);

impl fmt::Display for IncompleteData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [gap] => gap.fmt(f),
            gaps => {
                write!(f, "the data cannot be used, {} problems:", gaps.len())?;
                gaps.iter().try_for_each(|gap| write!(f, "\n  - {gap}"))
            }
        }
    }
}

impl std::error::Error for IncompleteData {}

/// The files of a manifest's `data` section, checked. Shards are in name order, the order of reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dataset {
    /// Training shards.
    pub train: Vec<DataFile>,
    /// Validation shards.
    pub val: Vec<DataFile>,
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
        let splits = [
            (wanted.train, ShardRole::Train, &config.train_pattern),
            (wanted.val, ShardRole::Val, &config.val_pattern),
        ];
        for (_, role, pattern) in splits.into_iter().filter(|(wanted, ..)| *wanted) {
            let listed: Vec<&ShardRef> = config.shards.iter().filter(|shard| shard.role == role).collect();
            let (files, role) = match role {
                ShardRole::Train => (&mut inspection.dataset.train, DataRole::Train),
                ShardRole::Val => (&mut inspection.dataset.val, DataRole::Val),
            };
            let shards = if listed.is_empty() {
                matching_shards(&folder, pattern, role)
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

    /// Every file: training shards, validation shards, tokenizer.
    pub fn files(&self) -> impl Iterator<Item = &DataFile> {
        self.train.iter().chain(&self.val).chain(&self.tokenizer)
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
        [refs(&self.train, ShardRole::Train), refs(&self.val, ShardRole::Val)].concat()
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

/// A file to be found, with what is stated about it.
struct Expected {
    role: DataRole,
    path: PathBuf,
    escapes: bool,
    tokens: Option<u64>,
    bytes: Option<Bytes>,
    sha256: Option<Digest>,
    blake3: Option<Digest>,
}

impl Expected {
    fn unstated(role: DataRole, path: PathBuf) -> Self {
        Expected { role, path, escapes: false, tokens: None, bytes: None, sha256: None, blake3: None }
    }

    fn of_shard(shard: &ShardRef, folder: &Path, role: DataRole) -> Self {
        // A manifest comes from strangers: it must not point the reader at files outside the data folder.
        let escapes = !shard.file.components().all(|part| matches!(part, Component::Normal(_)))
            || shard.file.as_os_str().is_empty();
        let path = if escapes { shard.file.clone() } else { folder.join(&shard.file) };
        let (tokens, bytes, sha256, blake3) = (shard.tokens, shard.bytes, shard.sha256, shard.blake3);
        Expected { role, path, escapes, tokens, bytes, sha256, blake3 }
    }

    fn of_tokenizer(file: &FileRef, base: &Path) -> Self {
        Expected {
            bytes: file.bytes,
            sha256: file.sha256,
            blake3: file.blake3,
            ..Self::unstated(DataRole::Tokenizer, base.join(&file.path))
        }
    }

    fn check(self, check: DigestCheck) -> Result<DataFile, DataGap> {
        let Expected { role, path, .. } = self;
        if self.escapes {
            return Err(DataGap::Escapes { role, file: path });
        }
        let unreadable = |source| DataGap::Unreadable { role, path: path.clone(), source };
        let tokens = if role == DataRole::Tokenizer {
            if !path.is_file() {
                return Err(DataGap::NoTokenizer { path });
            }
            None
        } else {
            Some(Shard::open(&path).map_err(|error| DataGap::Shard { role, error })?.tokens())
        };
        let bytes = Bytes(std::fs::metadata(&path).map_err(unreadable)?.len());
        if let (Some(stated), Some(found)) = (self.tokens, tokens)
            && stated != found
        {
            return Err(DataGap::Tokens { role, path, stated, found });
        }
        if let Some(stated) = self.bytes
            && stated != bytes
        {
            return Err(DataGap::Size { role, path, stated, found: bytes });
        }
        let stated = self.sha256.is_some() || self.blake3.is_some();
        let digest = match check {
            DigestCheck::All => Some(ContentDigest::of_file(&path).map_err(unreadable)?),
            DigestCheck::Stated if stated => Some(ContentDigest::of_file(&path).map_err(unreadable)?),
            _ => None,
        };
        if let Some(digest) = digest {
            for (algorithm, stated, found) in
                [("sha256", self.sha256, digest.sha256), ("blake3", self.blake3, digest.blake3)]
            {
                if let Some(stated) = stated
                    && stated != found
                {
                    return Err(DataGap::Digest { role, path, algorithm, stated, found });
                }
            }
        }
        Ok(DataFile { role, path, bytes, tokens, digest })
    }
}

/// The files in `folder` whose names match; an error when there is none.
fn matching_shards(folder: &Path, pattern: &str, role: DataRole) -> Result<Vec<Expected>, DataGap> {
    let unreadable = |source| DataGap::Unreadable { role, path: folder.to_path_buf(), source };
    if !folder.is_dir() {
        return Err(DataGap::Folder { role, folder: folder.to_path_buf() });
    }
    let mut entries = 0;
    let mut shards = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        entries += 1;
        if entry.file_name().to_str().is_some_and(|name| file_pattern::matches(pattern, name)) {
            shards.push(Expected::unstated(role, entry.path()));
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
            shards: Vec::new(),
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
    fn everything_missing_is_listed_with_the_place_it_was_looked_for() {
        let (folder, mut config) = folder();
        config.val_pattern = "y_val_*.bin".into();
        config.tokenizer = Some(FileRef { path: "t.model".into(), bytes: None, sha256: None, blake3: None });
        std::fs::write(folder.path().join("data/x_train_000001.bin"), b"").unwrap();
        assert_eq!(
            open(&folder, &config).unwrap_err(),
            "the data cannot be used, 3 problems:\n  \
             - training shard: shard BASE/data/x_train_000001.bin: 0 bytes long, expected a header of 1024 bytes at \
             offset 0; the file is empty or truncated: fetch or tokenise it again\n  \
             - validation shards: none of the 3 file(s) in BASE/data matches `y_val_*.bin`; put the shards there, or \
             set data.path or DATA_PATH\n  \
             - tokenizer: BASE/t.model does not exist; set data.tokenizer.path in the manifest or TOKENIZER_PATH"
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
