//! Bytes that count towards the budget, by the best evidence there is.

use super::super::bytes::{claim, worst};
use super::super::disk::Disk;
use crate::rules::FolderCase;

/// A total, and what it rests on.
pub(super) struct Weighed {
    pub total: u64,
    /// The code in it, where it is known apart.
    pub code: Option<u64>,
    pub basis: &'static str,
}

/// What counts by the evidence that the rule `over_budget` goes by: files, else logs, else the claim; where some are over
/// the cap, the largest.
pub(super) fn weighed(case: &FolderCase) -> Option<Weighed> {
    let script = case.folder.main_code().map(|code| code.digest.bytes.0);
    let claimed = claim(case).map(|claim| {
        let total = claim.number.value() as u64;
        Weighed { total, code: script.filter(|code| *code <= total), basis: "claimed" }
    });
    best(case, [evidence(case), claimed])
}

/// What files or logs say of the total.
pub(super) fn evidence(case: &FolderCase) -> Option<Weighed> {
    let disk = Disk::of(case).largest_parts();
    let disk = disk.map(|(total, code)| Weighed { total, code: Some(code), basis: "on disk" });
    let logged = worst(case).map(|worst| {
        let code = worst.model.map(|model| worst.shipped.saturating_sub(model));
        Weighed { total: worst.shipped, code, basis: "logged" }
    });
    best(case, [disk, logged])
}

fn best(case: &FolderCase, evidence: [Option<Weighed>; 2]) -> Option<Weighed> {
    let cap = case.policy.limits.budget_bytes.0;
    let (over, within): (Vec<_>, Vec<_>) = evidence.into_iter().flatten().partition(|weighed| weighed.total > cap);
    // Of equal totals the better evidence, which comes first.
    over.into_iter().rev().max_by_key(|weighed| weighed.total).or(within.into_iter().next())
}
