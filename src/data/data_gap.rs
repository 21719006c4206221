//! What keeps data files from being used.

use std::fmt;
use std::path::PathBuf;

use super::data_role::DataRole;
use super::shard::ShardError;
use crate::digest::Digest;
use crate::units::Bytes;

/// One thing missing or wrong; the message says where it was looked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataGap {
    /// The folder of the shards is not there.
    #[error("{role}s: folder {} does not exist; name it by --data-path, DATA_PATH, or data.path in the manifest", folder.display())]
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
         put the shards there, name another folder by --data-path or DATA_PATH, or other files by --set {}=PATTERN",
        folder.display(), role.pattern_field()
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
    #[error("tokenizer: none named; name it by --tokenizer-path, TOKENIZER_PATH, or data.tokenizer in the manifest")]
    NoTokenizerNamed,
    /// The tokenizer is not there.
    #[error("tokenizer: {} does not exist; name it by --tokenizer-path, TOKENIZER_PATH, or data.tokenizer.path in the manifest", path.display())]
    NoTokenizer {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Another number of sidecars than of validation shards.
    #[error(
        "byte sidecars: {sidecars} for {shards} validation shard(s); data.byte_sidecar needs one for each, in the same \
         order of names"
    )]
    Sidecars {
        /// Sidecars found.
        sidecars: usize,
        /// Validation shards found.
        shards: usize,
    },
    /// A sidecar of another length than its shard.
    #[error("byte sidecar {}: holds {counts} counts, but {} has {tokens} tokens; it is of another shard", path.display(), shard.display())]
    SidecarLength {
        /// The sidecar.
        path: PathBuf,
        /// Counts in it.
        counts: u64,
        /// The validation shard in its place.
        shard: PathBuf,
        /// Tokens in that.
        tokens: u64,
    },
    /// Counts that a pattern would take for tokens.
    #[error(
        "validation shards: by its name {} holds counts of bytes, not tokens; name such files by --set \
         data.byte_sidecar.pattern=PATTERN, or narrow data.val_pattern",
        path.display()
    )]
    UnnamedSidecar {
        /// The file.
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

impl DataGap {
    /// What was looked for.
    pub fn role(&self) -> DataRole {
        match self {
            DataGap::Folder { role, .. }
            | DataGap::Unreadable { role, .. }
            | DataGap::NoMatch { role, .. }
            | DataGap::Escapes { role, .. }
            | DataGap::Shard { role, .. }
            | DataGap::Tokens { role, .. }
            | DataGap::Size { role, .. }
            | DataGap::Digest { role, .. }
            | DataGap::Changed { role, .. } => *role,
            DataGap::NoTokenizerNamed | DataGap::NoTokenizer { .. } => DataRole::Tokenizer,
            DataGap::Sidecars { .. } | DataGap::SidecarLength { .. } => DataRole::Sidecar,
            DataGap::UnnamedSidecar { .. } => DataRole::Val,
        }
    }
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
