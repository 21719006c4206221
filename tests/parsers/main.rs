//! Parsers of untrusted bytes: seeds of the fuzz targets replayed and damaged, and round trips.

#[path = "../../ci/fuzz/src/lib.rs"]
mod parsers;
mod replay;
mod round_trips;
