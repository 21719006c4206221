//! Seed sweeps and the significance of a record claim.
//!
//! The challenge asks for 0.005 nats at p < 0.01 (README, rule 1). What that means in bits per byte depends on the
//! tokenizer, and what p means depends on the test; both are spelled out here:
//!
//! * [`Summary`] holds what a test needs from a set of runs, and cannot be made from one run;
//! * [`t_test`] has Welch's two-sample test and the one-sample test, one-sided, with a margin;
//! * [`Margin`] turns 0.005 into bits per byte under each reading of the rule;
//! * [`seeds`] finds repeated and selected seeds, [`seeds_needed`] says how many more would settle it;
//! * [`Board`] holds the standing records, [`compare`] sets a claim against one of them, [`against_board`] against the one that stood.

mod board;
mod gate;
mod margin;
mod needed;
pub mod seeds;
mod summary;
pub mod t_test;

pub use board::{Board, BoardEntry, BoardError, MAX_BOARD_BYTES};
pub use gate::{Comparison, GateReport, GateVerdict, MarginTest, Reference, RefusalReason, against_board, compare};
pub use margin::{BytesPerToken, Margin, MarginReading, RECORD_ALPHA, RECORD_MARGIN, RecordTerms};
pub use needed::{MAX_SEEDS_CONSIDERED, TYPICAL_SEED_SD, seeds_needed};
pub use seeds::{SeedRun, SeedWarning};
pub use summary::{SampleError, Summary};
pub use t_test::{PValue, TTest};
