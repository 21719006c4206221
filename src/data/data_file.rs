//! A file that is there, and is what the manifest says it is.

use std::io;
use std::path::{Component, Path, PathBuf};

use super::data_gap::DataGap;
use super::data_role::DataRole;
use super::shard::Shard;
use crate::digest::{ContentDigest, Digest};
use crate::manifest::{FileRef, ShardRef};
use crate::regular_file;
use crate::units::Bytes;

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

/// A file to be found, with what is stated about it.
pub(super) struct Expected {
    pub role: DataRole,
    pub path: PathBuf,
    escapes: bool,
    tokens: Option<u64>,
    bytes: Option<Bytes>,
    sha256: Option<Digest>,
    blake3: Option<Digest>,
}

impl Expected {
    pub fn unstated(role: DataRole, path: PathBuf) -> Self {
        Expected { role, path, escapes: false, tokens: None, bytes: None, sha256: None, blake3: None }
    }

    pub fn of_shard(shard: &ShardRef, folder: &Path, role: DataRole) -> Self {
        // A manifest comes from strangers: it must not point the reader at files outside the data folder.
        let escapes = !shard.file.components().all(|part| matches!(part, Component::Normal(_)))
            || shard.file.as_os_str().is_empty();
        let path = if escapes { shard.file.clone() } else { folder.join(&shard.file) };
        let (tokens, bytes, sha256, blake3) = (shard.tokens, shard.bytes, shard.sha256, shard.blake3);
        Expected { role, path, escapes, tokens, bytes, sha256, blake3 }
    }

    pub fn of_tokenizer(file: &FileRef, base: &Path) -> Self {
        Expected {
            bytes: file.bytes,
            sha256: file.sha256,
            blake3: file.blake3,
            ..Self::unstated(DataRole::Tokenizer, base.join(&file.path))
        }
    }

    pub fn check(self, check: DigestCheck) -> Result<DataFile, DataGap> {
        let Expected { role, path, .. } = self;
        if self.escapes {
            return Err(DataGap::Escapes { role, file: path });
        }
        let unreadable = |source| DataGap::Unreadable { role, path: path.clone(), source };
        let tokens = if role == DataRole::Tokenizer {
            match regular_file::open(&path) {
                Ok(_) => None,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(DataGap::NoTokenizer { path }),
                Err(error) => return Err(unreadable(error)),
            }
        } else {
            let opened = match role {
                DataRole::Sidecar => Shard::open_sidecar(&path),
                _ => Shard::open(&path),
            };
            Some(opened.map_err(|error| DataGap::Shard { role, error })?.tokens())
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
