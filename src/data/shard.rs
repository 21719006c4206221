//! Token shards: the challenge's file format for tokenized text.
//!
//! A header of 256 little-endian i32 (magic, version, token count, zeros), then the tokens as
//! little-endian u16. The file is exactly `1024 + 2 x count` bytes (specification, section 8).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::atomic_write;
use crate::units::group_digits;

/// First header word of every shard.
pub const SHARD_MAGIC: i32 = 20_240_520;
/// Second header word; the only version there is.
pub const SHARD_VERSION: i32 = 1;
/// 256 words of four bytes.
pub const SHARD_HEADER_BYTES: u64 = 1024;
/// The count is a signed 32-bit word, so no shard holds more tokens than this.
pub const MAX_SHARD_TOKENS: u64 = i32::MAX as u64;
/// Bytes of one token.
const TOKEN_BYTES: u64 = 2;
/// Tokens converted at a time while reading and writing.
const CHUNK_TOKENS: usize = 64 * 1024;

/// A file that is not a usable shard.
#[derive(Debug, thiserror::Error)]
#[error("shard {}: {fault}", path.display())]
pub struct ShardError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: ShardFault,
}

/// What can be wrong with a shard; each message says where, what was found and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShardFault {
    /// There is no such file.
    #[error("no such file; check data.path and the shard's name, or download the shard")]
    Missing,
    /// The system refused.
    #[error("cannot be read: {0}")]
    Io(io::Error),
    /// A folder, a pipe, a device.
    #[error("is not a regular file")]
    NotAFile,
    /// Shorter than a header.
    #[error(
        "{found} bytes long, expected a header of {SHARD_HEADER_BYTES} bytes at offset 0; \
         the file is empty or truncated: fetch or tokenize it again"
    )]
    NoHeader {
        /// Bytes in the file.
        found: u64,
    },
    /// Another kind of file.
    #[error("magic at offset 0 is {found}, expected {SHARD_MAGIC}; this is not a token shard")]
    Magic {
        /// First header word.
        found: i32,
    },
    /// A format this program does not know.
    #[error("version at offset 4 is {found}, expected {SHARD_VERSION}; tokenize the text again in version 1")]
    Version {
        /// Second header word.
        found: i32,
    },
    /// A negative count.
    #[error("token count at offset 8 is {found}, expected 0..={MAX_SHARD_TOKENS}; the header is damaged")]
    Count {
        /// Third header word.
        found: i32,
    },
    /// The header and the file disagree.
    #[error(
        "{found} bytes long, but the {tokens} tokens counted at offset 8 need {expected}; \
         the file is truncated or its header damaged: fetch or tokenize it again"
    )]
    Size {
        /// Tokens according to the header.
        tokens: u64,
        /// Size that follows from them.
        expected: u64,
        /// Size of the file.
        found: u64,
    },
    /// The file was replaced or rewritten while it was in use.
    #[error("held {before} tokens when it was opened and holds {after} now; it must not change during a run")]
    Changed {
        /// Tokens at first.
        before: u64,
        /// Tokens now.
        after: u64,
    },
    /// Counts that come to another sum than stated.
    #[error(
        "with it the byte sidecars come to {} bytes, data.byte_sidecar.text_bytes states {}: these are not the counts of \
         that text",
        group_digits(i128::from(*counted)), group_digits(i128::from(*stated))
    )]
    SidecarSum {
        /// Sum of all counts.
        counted: u64,
        /// In the manifest.
        stated: u64,
    },
    /// A read past the end was asked for.
    #[error("tokens {start}..{end} were asked for, but it holds {tokens}")]
    Range {
        /// First token asked for.
        start: u64,
        /// One past the last.
        end: u64,
        /// Tokens in the shard.
        tokens: u64,
    },
    /// A token id that the model has no embedding for.
    #[error(
        "token {index} (offset {offset}) is id {id}, outside the vocabulary of {vocab_size}; \
         the shard was made with another tokenizer"
    )]
    OutsideVocabulary {
        /// Position in the shard.
        index: u64,
        /// Byte offset in the file.
        offset: u64,
        /// The id.
        id: u16,
        /// Ids must be below this.
        vocab_size: u32,
    },
}

/// A shard whose header and size agree. The tokens stay on disk until asked for.
#[derive(Debug)]
pub struct Shard {
    path: PathBuf,
    file: File,
    tokens: u64,
    /// Bytes of an entry: 2, or 1 of a sidecar of small counts.
    entry_bytes: u64,
}

impl Shard {
    /// Opens a shard and checks magic, version, count and exact size.
    pub fn open(path: &Path) -> Result<Self, ShardError> {
        Self::open_as(path, false)
    }

    /// The same of a byte sidecar: a file like a shard that holds a count in the place of each token, in two bytes or in
    /// one.
    pub fn open_sidecar(path: &Path) -> Result<Self, ShardError> {
        Self::open_as(path, true)
    }

    fn open_as(path: &Path, is_sidecar: bool) -> Result<Self, ShardError> {
        let attempt = || -> Result<Shard, ShardFault> {
            let mut file = crate::regular_file::open(path).map_err(|e| match e.kind() {
                io::ErrorKind::NotFound => ShardFault::Missing,
                io::ErrorKind::InvalidInput | io::ErrorKind::IsADirectory => ShardFault::NotAFile,
                _ => ShardFault::Io(e),
            })?;
            let metadata = file.metadata().map_err(ShardFault::Io)?;
            let mut header = Vec::with_capacity(SHARD_HEADER_BYTES as usize);
            (&mut file).take(SHARD_HEADER_BYTES).read_to_end(&mut header).map_err(ShardFault::Io)?;
            let (tokens, entry_bytes) = match token_count(&header, metadata.len()) {
                Err(ShardFault::Size { tokens, found, .. }) if is_sidecar && found == SHARD_HEADER_BYTES + tokens => {
                    (tokens, 1)
                }
                tokens => (tokens?, TOKEN_BYTES),
            };
            Ok(Shard { path: path.to_path_buf(), file, tokens, entry_bytes })
        };
        attempt().map_err(|fault| ShardError { path: path.to_path_buf(), fault })
    }

    /// Tokens in the shard.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends tokens `start..start + count` to `out`.
    pub fn read_into(&mut self, start: u64, count: usize, out: &mut Vec<u16>) -> Result<(), ShardError> {
        self.read_range(start, count, out).map_err(|fault| self.error(fault))
    }

    /// All tokens: at most twice the file's checked size in memory.
    pub fn read_all(&mut self) -> Result<Vec<u16>, ShardError> {
        let mut tokens = Vec::new();
        self.read_into(0, self.tokens as usize, &mut tokens)?;
        Ok(tokens)
    }

    /// Wraps a fault found later, such as in the tokens, with this shard's path.
    pub fn error(&self, fault: ShardFault) -> ShardError {
        ShardError { path: self.path.clone(), fault }
    }

    fn read_range(&mut self, start: u64, count: usize, out: &mut Vec<u16>) -> Result<(), ShardFault> {
        let end = start.saturating_add(count as u64);
        if end > self.tokens {
            return Err(ShardFault::Range { start, end, tokens: self.tokens });
        }
        self.file.seek(SeekFrom::Start(SHARD_HEADER_BYTES + start * self.entry_bytes)).map_err(ShardFault::Io)?;
        out.reserve(count);
        let entry_bytes = self.entry_bytes as usize;
        let mut buffer = vec![0u8; count.min(CHUNK_TOKENS) * entry_bytes];
        let mut left = count;
        while left > 0 {
            let chunk = left.min(CHUNK_TOKENS);
            let bytes = &mut buffer[..chunk * entry_bytes];
            self.file.read_exact(bytes).map_err(ShardFault::Io)?;
            out.extend(bytes.chunks_exact(entry_bytes).map(|entry| match entry {
                [low, high] => u16::from_le_bytes([*low, *high]),
                entry => entry.first().copied().map_or(0, u16::from),
            }));
            left -= chunk;
        }
        Ok(())
    }
}

/// Reads the token count out of a header and holds it against the size of the file.
fn token_count(header: &[u8], file_bytes: u64) -> Result<u64, ShardFault> {
    if (header.len() as u64) < SHARD_HEADER_BYTES {
        return Err(ShardFault::NoHeader { found: file_bytes.min(header.len() as u64) });
    }
    let word = |index: usize| {
        let bytes = header.get(index * 4..index * 4 + 4).and_then(|bytes| bytes.try_into().ok());
        i32::from_le_bytes(bytes.unwrap_or_default())
    };
    if word(0) != SHARD_MAGIC {
        return Err(ShardFault::Magic { found: word(0) });
    }
    if word(1) != SHARD_VERSION {
        return Err(ShardFault::Version { found: word(1) });
    }
    let tokens = u64::try_from(word(2)).map_err(|_| ShardFault::Count { found: word(2) })?;
    let expected = SHARD_HEADER_BYTES + tokens * TOKEN_BYTES;
    if file_bytes != expected {
        return Err(ShardFault::Size { tokens, expected, found: file_bytes });
    }
    Ok(tokens)
}

/// Decodes a whole shard that is already in memory.
pub fn decode_shard(bytes: &[u8]) -> Result<Vec<u16>, ShardFault> {
    let header = bytes.get(..SHARD_HEADER_BYTES as usize).unwrap_or(bytes);
    token_count(header, bytes.len() as u64)?;
    let body = bytes.get(SHARD_HEADER_BYTES as usize..).unwrap_or_default();
    Ok(body.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect())
}

/// Finds the first id at or above `vocab_size`; `first_index` is the position of `tokens[0]` in its shard.
pub fn check_vocabulary(tokens: &[u16], vocab_size: u32, first_index: u64) -> Result<(), ShardFault> {
    match tokens.iter().position(|&id| u32::from(id) >= vocab_size) {
        None => Ok(()),
        Some(position) => {
            let index = first_index + position as u64;
            let offset = SHARD_HEADER_BYTES + index * TOKEN_BYTES;
            Err(ShardFault::OutsideVocabulary { index, offset, id: tokens[position], vocab_size })
        }
    }
}

/// A shard that could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteShardError {
    /// More tokens than the header's count can say.
    #[error(
        "{} tokens do not fit one shard of at most {}; write several",
        group_digits(i128::from(*tokens)), group_digits(i128::from(MAX_SHARD_TOKENS))
    )]
    TooLong {
        /// Tokens to be written.
        tokens: u64,
    },
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] atomic_write::WriteError),
}

/// Writes a shard atomically.
pub fn write_shard(path: &Path, tokens: &[u16]) -> Result<(), WriteShardError> {
    let count = i32::try_from(tokens.len()).map_err(|_| WriteShardError::TooLong { tokens: tokens.len() as u64 })?;
    let mut header = [0u8; SHARD_HEADER_BYTES as usize];
    for (field, word) in header.chunks_exact_mut(4).zip([SHARD_MAGIC, SHARD_VERSION, count]) {
        field.copy_from_slice(&word.to_le_bytes());
    }
    atomic_write::write_with(path, |out: &mut dyn Write| {
        out.write_all(&header)?;
        let mut buffer = Vec::with_capacity(CHUNK_TOKENS * TOKEN_BYTES as usize);
        for chunk in tokens.chunks(CHUNK_TOKENS) {
            buffer.clear();
            buffer.extend(chunk.iter().flat_map(|id| id.to_le_bytes()));
            out.write_all(&buffer)?;
        }
        Ok(())
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A well-formed shard of three tokens, written out word by word.
    fn three_tokens() -> Vec<u8> {
        let mut bytes = vec![0u8; 1024];
        bytes[..4].copy_from_slice(&[0x88, 0xd8, 0x34, 0x01]); // 20240520
        bytes[4] = 1;
        bytes[8] = 3;
        bytes.extend([1, 0, 0xff, 0x03, 0x00, 0x01]);
        bytes
    }

    fn open_bytes(bytes: &[u8]) -> Result<Vec<u16>, ShardError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x_train_000000.bin");
        std::fs::write(&path, bytes).unwrap();
        Shard::open(&path)?.read_all()
    }

    fn damaged(damage: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut bytes = three_tokens();
        damage(&mut bytes);
        let error = open_bytes(&bytes).unwrap_err();
        assert_eq!(decode_shard(&bytes).unwrap_err().to_string(), error.fault.to_string());
        error.fault.to_string()
    }

    #[test]
    fn the_format_is_the_challenges() {
        assert_eq!(open_bytes(&three_tokens()).unwrap(), [1, 1023, 256]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.bin");
        write_shard(&path, &[1, 1023, 256]).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), three_tokens());
    }

    #[test]
    fn each_damage_has_its_own_message() {
        let cases = [
            (damaged(|b| b.clear()), "0 bytes long, expected a header of 1024 bytes"),
            (damaged(|b| b.truncate(1023)), "1023 bytes long, expected a header"),
            (damaged(|b| b[0] = 0), "magic at offset 0 is 20240384, expected 20240520"),
            (damaged(|b| b[4] = 2), "version at offset 4 is 2, expected 1"),
            (damaged(|b| b[8] = 4), "1030 bytes long, but the 4 tokens counted at offset 8 need 1032"),
            (damaged(|b| b[8] = 2), "1030 bytes long, but the 2 tokens counted at offset 8 need 1028"),
            (damaged(|b| b.push(0)), "1031 bytes long, but the 3 tokens"),
            (damaged(|b| b[8..12].fill(0xff)), "token count at offset 8 is -1"),
            (
                damaged(|b| b[8..12].copy_from_slice(&i32::MAX.to_le_bytes())),
                "but the 2147483647 tokens counted at offset 8 need 4294968318",
            ),
        ];
        for (message, expected) in cases {
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn missing_files_and_folders_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("absent.bin");
        let error = Shard::open(&path).unwrap_err();
        assert!(matches!(error.fault, ShardFault::Missing));
        assert!(error.to_string().contains("absent.bin"), "{error}");
        assert!(matches!(Shard::open(folder.path()).unwrap_err().fault, ShardFault::NotAFile | ShardFault::Io(_)));
    }

    #[test]
    fn foreign_ids_are_found_by_offset() {
        assert!(check_vocabulary(&[0, 1023], 1024, 0).is_ok());
        let fault = check_vocabulary(&[0, 1024], 1024, 5).unwrap_err();
        assert!(fault.to_string().starts_with("token 6 (offset 1036) is id 1024"), "{fault}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(tokens: Vec<u16>, start: prop::sample::Index, len: prop::sample::Index) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("x.bin");
            write_shard(&path, &tokens).unwrap();
            let mut shard = Shard::open(&path).unwrap();
            prop_assert_eq!(shard.tokens(), tokens.len() as u64);
            prop_assert_eq!(&shard.read_all().unwrap(), &tokens);
            let start = start.index(tokens.len() + 1);
            let len = len.index(tokens.len() - start + 1);
            let mut part = Vec::new();
            shard.read_into(start as u64, len, &mut part).unwrap();
            prop_assert_eq!(&part, &tokens[start..start + len]);
            prop_assert!(shard.read_into(start as u64, tokens.len() - start + 1, &mut part).is_err());
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            prop_assert!(decode_shard(&bytes).is_err());
        }
    }
}
