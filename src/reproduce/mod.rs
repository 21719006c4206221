//! Reproducing a claim: train, pack, score, verify, and say how far the claim holds.
//!
//! Each stage records what it read and wrote in the run folder's manifest and is done again only when that changed,
//! so an interrupted reproduction continues where it stopped.

mod document;
mod dry_run;
mod estimate;
mod handed_on;
mod held;
mod outcome;
mod page;
mod run;
mod scores;
mod seeds;
mod stage;
mod table;

pub use document::ReproductionDocument;
pub use dry_run::{Action, DryRun, PLAN_SCHEMA, PlannedInput, PlannedStage, dry_run};
pub use estimate::{ESTIMATE_SCHEMA, Estimate, TimeRange, estimate};
pub use handed_on::write_record_folder;
pub use outcome::{Missing, Reproduction};
pub use page::page_of_seeds;
pub use run::{Ended, ReproduceError, Request, run};
pub use scores::ScoreStageError;
pub use seeds::{SEEDS_SCHEMA, SeedLine, SeedsSummary};
pub use stage::{Outdated, Stage, UnreadableFile, digest_files, digest_settings, makers, why_not};
pub use table::{Row, RowVerdict, Table, Unit, Yardstick};
