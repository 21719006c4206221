//! Absolute bounds on what an artifact may claim. All are far above anything the 16,000,000-byte budget can hold.

/// Largest artifact file read: 16 times the budget.
pub const MAX_FILE_BYTES: u64 = 1 << 28;
/// Largest table of tensors, decompressed: 64 Ki tensors of 256 bytes.
pub const MAX_TABLE_BYTES: u32 = 1 << 24;
/// Most tensors.
pub const MAX_TENSORS: u64 = 1 << 16;
/// Longest tensor name, bytes of UTF-8.
pub const MAX_NAME_BYTES: u64 = 1 << 10;
/// Most sides of a tensor.
pub const MAX_RANK: u64 = 8;
/// Most weights in all tensors together: 1 GiB in single precision, about ten times what fits the budget at 5 bits.
pub const MAX_ELEMENTS: u64 = 1 << 28;
/// Most frames.
pub const MAX_FRAMES: u64 = 1 << 16;
/// Most a compressed frame can expand: zstd's cheapest block is 3 + 1 bytes for 128 KiB.
pub const MAX_EXPANSION: u64 = 1 << 15;
/// Highest rank of a correction beside a matrix: what it costs to add to all weights stays far below one forward pass.
pub const MAX_LOW_RANK: u32 = 64;
/// Most rows of integer tensors, each of which has a scale.
pub const MAX_ROWS: u64 = 1 << 22;
