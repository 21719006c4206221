//! What a difference can come from, as far as this machine and the logs tell.

use super::Case;

/// One sentence each.
pub(super) fn reasons(case: &Case) -> Vec<String> {
    let mut reasons = Vec::new();
    let claim = &case.claim;
    if case.is_smoke {
        reasons.push("a few iterations only".to_string());
    }
    let steps = case.records.iter().filter_map(|record| record.log.steps).min();
    if let (Some(claimed), Some(rerun)) = (claim.steps, steps)
        && rerun < claimed
    {
        reasons
            .push(format!("fewer steps: {rerun} here, {claimed} in the logs; slower hardware reaches a cap earlier"));
    }
    let gpus = &case.machine.gpus;
    if !claim.hardware.is_empty() && !gpus.iter().any(|gpu| claim.hardware.iter().any(|known| alike(known, gpu))) {
        let here = match gpus.first() {
            Some(first) => format!("{} x {first}", gpus.len()),
            None => format!("{} processors and no GPU", case.machine.processors),
        };
        reasons.push(format!("other hardware: {here} here, {} in the claim", claim.hardware.join(", ")));
    }
    let other = |what: &str, claimed: Option<u64>, rerun: Option<u64>| {
        let (claimed, rerun) = claimed.zip(rerun).filter(|(claimed, rerun)| claimed != rerun)?;
        Some(format!("other {what}: {rerun} here, {claimed} in the logs"))
    };
    let log = case.records.first().map(|record| &record.log);
    reasons.extend(other("number of processes", claim.world_size, log.and_then(|log| log.world_size)));
    reasons.extend(other("number of training shards", claim.train_shards, log.and_then(|log| log.train_shards)));
    if !case.machine.absent_packages.is_empty() {
        let absent = case.machine.absent_packages.join(", ");
        reasons.push(format!("not installed: {absent}; the script goes another way without"));
    }
    if reasons.is_empty() {
        reasons.push(
            "nothing that is known here: other versions of packages, or another configuration than claimed".into(),
        );
    }
    reasons
}

/// Whether two names are of one kind of device: drivers and people spell it with more or fewer words.
fn alike(claimed: &str, found: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        let text = text.to_ascii_uppercase();
        let word = |word: &str| word.trim_start_matches(|c: char| c.is_ascii_digit() || c == 'X').to_string();
        let words = text.split(|c: char| !c.is_ascii_alphanumeric()).map(word);
        words.filter(|word| word.bytes().any(|byte| byte.is_ascii_digit()) && word.len() >= 3).collect()
    };
    let found = words(found);
    words(claimed).iter().any(|word| found.contains(word))
}
