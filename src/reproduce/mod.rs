//! Reproducing a claim: train, pack, verify, score, and say how far the claim holds.

mod stage;
mod table;

pub use stage::{Stage, UnreadableFile, digest_files, is_current};
pub use table::{Row, RowVerdict, Table, Unit, Yardstick};
