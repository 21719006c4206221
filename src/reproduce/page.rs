//! The page of a reproduction, to open in a browser.

use super::{Reproduction, RowVerdict, SeedsSummary};
use crate::digest::ContentDigest;
use crate::escape::visible;
use crate::manifest::ClaimedNumber;
use crate::report::Severity;
use crate::rules::runs_of_log;
use crate::site::{Compared, RunReport, Seeds};

/// One page of several seeds of one recipe, side by side; nothing of none.
pub fn page_of_seeds(runs: &[Box<Reproduction>]) -> Option<RunReport> {
    let mut pages = runs.iter().map(|run| {
        let seed = run.manifest.schedule.seed;
        let mut page = run.page();
        // What nobody claimed stands on the page of the seed.
        page.compared.retain(|row| row.is_against || row.claimed.as_deref() != Some("-"));
        page.compared.iter_mut().for_each(|row| row.name = format!("{} of seed {seed}", row.name));
        page.remarks.iter_mut().for_each(|(_, words)| *words = format!("seed {seed}: {words}"));
        page.files.iter_mut().for_each(|(name, _)| *name = format!("seed-{seed}/{name}"));
        page
    });
    let mut all = pages.next()?;
    for page in pages {
        if page.verdict > all.verdict {
            (all.verdict, all.verdict_words) = (page.verdict, page.verdict_words);
        }
        if page.level < all.level {
            (all.level, all.next_needs) = (page.level, page.next_needs);
        }
        all.compared.extend(page.compared);
        all.seeds.found.extend(page.seeds.found);
        all.runs.extend(page.runs);
        all.remarks.extend(page.remarks);
        all.files.extend(page.files);
    }
    let summary = SeedsSummary::of(runs);
    (all.seeds.p, all.seeds.test) =
        (summary.as_ref().and_then(|summary| summary.p), "One-sample test against the claim");
    if let Some(verdict) = summary.and_then(|summary| summary.board) {
        all.remarks.push((Severity::Note, format!("against the board: {verdict}")));
    }
    all.bpb = all.seeds.mean_found().filter(|_| all.seeds.found.len() == runs.len());
    Some(all)
}

impl Reproduction {
    /// What the page says.
    pub fn page(&self) -> RunReport {
        let manifest = &self.manifest;
        let (claim, seed) = (&manifest.claim, manifest.schedule.seed);
        let bpb = self.headline().map(|score| score.val_bpb.0);
        let assurance = &self.report.assurance;
        // A claim of one seed is that seed's; of several it is their mean, which is no seed's value.
        let claimed = match (claim.seeds.as_slice(), &claim.metrics.val_bpb) {
            ([only], Some(value)) => vec![(*only, value.value())],
            _ => Vec::new(),
        };
        RunReport {
            name: claim.title.as_deref().map_or_else(|| manifest.name.clone(), visible),
            kind: "Reproduction",
            found_word: "reproduced",
            verdict: self.conclusion().into(),
            verdict_words: format!("level {}: {}", assurance.level.number(), assurance.level),
            bpb,
            level: assurance.level.number(),
            next_needs: assurance.next_needs.clone(),
            compared: self.compared(),
            seeds: Seeds {
                claimed,
                claimed_mean: claim.metrics.val_bpb.as_ref().map(ClaimedNumber::value),
                found: bpb.map(|bpb| (seed, bpb)).into_iter().collect(),
                p: None,
                test: "",
            },
            claimed_runs: self.claimed_runs.clone(),
            runs: runs_of_log(&self.folder.train_log(), "train.log").unwrap_or_default(),
            remarks: self.remarks(),
            environment: self.environment_rows(),
            files: self.digests(),
            harness: format!("golf-harness {}", env!("CARGO_PKG_VERSION")),
        }
    }

    fn compared(&self) -> Vec<Compared> {
        let table = self.table();
        let cells = table.0.iter().map(|row| {
            let [name, claimed, found, difference, verdict] = row.cells();
            Compared {
                name,
                claimed: Some(claimed),
                found: Some(found),
                difference: Some(difference),
                verdict: if row.verdict == RowVerdict::Informative { String::new() } else { verdict },
                is_against: row.verdict.is_failure(),
            }
        });
        cells.collect()
    }

    fn remarks(&self) -> Vec<(Severity, String)> {
        [Severity::Fail, Severity::Warning, Severity::Review]
            .into_iter()
            .flat_map(|severity| self.report.at_severity(severity))
            .map(|finding| (finding.severity, format!("{}: {}", finding.rule, finding.message)))
            .collect()
    }

    fn environment_rows(&self) -> Vec<(String, String)> {
        let row = |name: &str, value: &str| (name.to_string(), visible(value));
        let mut rows = Vec::new();
        if let Some(environment) = &self.manifest.environment {
            rows.push(row("devices", &environment.devices.join(", ")));
            rows.push(row("processor", &environment.cpu));
            rows.push(row("platform", &environment.platform));
            rows.push(row("zstd", &environment.zstd));
        }
        rows.extend(self.headline().map(|score| row("scored by", &score.engine)));
        let stages = |list: &[super::Stage]| list.iter().map(|stage| stage.key()).collect::<Vec<_>>().join(", ");
        rows.push(row("stages run", &stages(&self.done)));
        rows.push(row("stages kept from an earlier call", &stages(&self.kept)));
        rows.retain(|(_, value)| !value.is_empty());
        rows
    }

    /// The files that the rules read.
    fn digests(&self) -> Vec<(String, ContentDigest)> {
        self.report.files.iter().map(|file| (file.path.clone(), file.digest)).collect()
    }
}
