//! Which records of the leaderboard can be scored, trained again and packed here, and what each lacks.
//!
//! [`markdown`] makes `docs/coverage.md` from the manifests in `manifests/records/` and the board. What a manifest can say
//! is found in its fields ([`FEATURES`]); what it cannot say, and this program cannot do, stands in its notes, each of
//! which begins with the name of a [`Gap`]. Rows of the board without a manifest have nothing but their titles.

mod feature;
mod gap;
mod page;
mod row;

pub use feature::{FEATURES, Feature, Part};
pub use gap::{GAPS, Gap, Task};
pub use page::markdown;
pub use row::{Answer, Row, rows};

#[cfg(test)]
mod tests;
