//! Content digests: SHA-256 (what people publish) and BLAKE3 (fast) in one pass over the bytes.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

use crate::units::Bytes;

/// A 256-bit digest, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Wraps raw digest bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Digest(bytes)
    }

    /// The raw digest bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Parses exactly 64 hexadecimal digits, either case.
    pub fn parse(text: &str) -> Result<Self, ParseDigestError> {
        let error = || ParseDigestError(text.chars().take(80).collect());
        if text.len() != 64 || !text.is_ascii() {
            return Err(error());
        }
        let mut bytes = [0u8; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digits = std::str::from_utf8(pair).map_err(|_| error())?;
            if digits.starts_with('+') {
                return Err(error());
            }
            *byte = u8::from_str_radix(digits, 16).map_err(|_| error())?;
        }
        Ok(Digest(bytes))
    }
}

/// A text that is not a digest.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a digest: expected 64 hexadecimal digits")]
pub struct ParseDigestError(String);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Digest::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Digest {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Digest".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9a-fA-F]{64}$" })
    }
}

/// Size and both digests of one run of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContentDigest {
    /// Length in bytes.
    pub bytes: Bytes,
    /// SHA-256 of the content.
    pub sha256: Digest,
    /// BLAKE3 (256-bit, unkeyed) of the content.
    pub blake3: Digest,
}

impl ContentDigest {
    /// Digests bytes in memory.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = ContentHasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    /// Digests a reader to its end, in constant memory.
    pub fn of_reader(reader: &mut dyn Read) -> io::Result<Self> {
        let mut hasher = ContentHasher::new();
        let mut buffer = vec![0u8; READ_CHUNK];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(hasher.finish()),
                Ok(n) => hasher.update(&buffer[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Digests a file, in constant memory.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        Self::of_reader(&mut crate::regular_file::open(path)?)
    }
}

/// Bytes read at a time: large enough to hide system calls, small enough to stay in cache.
const READ_CHUNK: usize = 256 * 1024;

/// Both hashes fed together.
pub struct ContentHasher {
    bytes: u64,
    sha256: sha2::Sha256,
    blake3: blake3::Hasher,
}

impl ContentHasher {
    /// A hasher that has seen nothing.
    pub fn new() -> Self {
        ContentHasher { bytes: 0, sha256: sha2::Sha256::new(), blake3: blake3::Hasher::new() }
    }

    /// Feeds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.sha256.update(bytes);
        self.blake3.update(bytes);
    }

    /// The digests of everything fed so far.
    pub fn finish(self) -> ContentDigest {
        ContentDigest {
            bytes: Bytes(self.bytes),
            sha256: Digest(self.sha256.finalize().into()),
            blake3: Digest(*self.blake3.finalize().as_bytes()),
        }
    }
}

impl Default for ContentHasher {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4 example for "abc"; BLAKE3 of "abc" from the reference `b3sum`.
    const SHA256_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const BLAKE3_ABC: &str = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";

    #[test]
    fn abc_matches_published_vectors() {
        let digest = ContentDigest::of(b"abc");
        assert_eq!(digest.bytes, Bytes(3));
        assert_eq!(digest.sha256.to_string(), SHA256_ABC);
        assert_eq!(digest.blake3.to_string(), BLAKE3_ABC);
    }

    #[test]
    fn reader_and_slice_agree_across_the_chunk_boundary() {
        for len in [0, 1, READ_CHUNK - 1, READ_CHUNK, READ_CHUNK + 1] {
            let bytes: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let read = ContentDigest::of_reader(&mut bytes.as_slice()).unwrap();
            assert_eq!(read, ContentDigest::of(&bytes));
        }
    }

    #[test]
    fn only_64_hex_digits_parse() {
        assert_eq!(Digest::parse(SHA256_ABC).unwrap().to_string(), SHA256_ABC);
        for bad in ["", "abc", &SHA256_ABC[1..], &format!("+{}", &SHA256_ABC[1..]), &"é".repeat(32)] {
            assert!(Digest::parse(bad).is_err(), "{bad}");
        }
    }
}
