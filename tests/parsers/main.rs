//! Parsers of untrusted bytes: seeds of the fuzz targets replayed and damaged, and round trips.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failed test is a panic")]

#[path = "../../ci/fuzz/src/lib.rs"]
mod parsers;
mod replay;
mod round_trips;
