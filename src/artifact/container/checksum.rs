//! The short digests of a file and of its tensors.

/// Bytes of the checksum and of each tensor's digest: BLAKE3 cut to 128 bits.
pub(super) const CHECKSUM_BYTES: usize = 16;

/// The first 128 bits of a BLAKE3 hash.
pub(super) fn cut(hash: blake3::Hash) -> [u8; CHECKSUM_BYTES] {
    let mut bytes = [0; CHECKSUM_BYTES];
    bytes.copy_from_slice(&hash.as_bytes()[..CHECKSUM_BYTES]);
    bytes
}
