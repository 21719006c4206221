//! The page of a run that was done again: claimed beside found, its course beside the claim's, seeds, machine, digests.
//!
//! One file that loads nothing and runs nothing: its style is inside, admitted by its digest.

use std::io;
use std::path::Path;

use askama::Template;

use super::line_chart::{Across, Line, Mark, Picture, color_class};
use super::seed_strip::{self, Row};
use super::svg::Svg;
use super::whole::{self, STYLE};
use super::{LEVELS, SiteError};
use crate::atomic_write::{self, WriteError};
use crate::digest::ContentDigest;
use crate::report::{RunProfile, Severity};
use crate::stats::Summary;

/// A number beside its claim.
#[derive(Clone, Debug, Default)]
pub struct Compared {
    /// What it is.
    pub name: String,
    /// As claimed.
    pub claimed: Option<String>,
    /// As found.
    pub found: Option<String>,
    /// Found minus claimed.
    pub difference: Option<String>,
    /// What it comes to, in words.
    pub verdict: String,
    /// Whether it speaks against the claim.
    pub is_against: bool,
}

/// Values of seeds, claimed and found.
#[derive(Clone, Debug, Default)]
pub struct Seeds {
    /// Claimed, bits per byte by seed.
    pub claimed: Vec<(u64, f64)>,
    /// The claimed mean, where seeds are not told one by one.
    pub claimed_mean: Option<f64>,
    /// Found, bits per byte by seed.
    pub found: Vec<(u64, f64)>,
    /// Two-sided p of a test between them, where it can be made.
    pub p: Option<f64>,
    /// Its name.
    pub test: &'static str,
}

/// What is to be known of a run.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// Name of the submission or recipe.
    pub name: String,
    /// What was done, such as `Rerun`.
    pub kind: &'static str,
    /// Its word in columns and legends, such as `rerun`.
    pub found_word: &'static str,
    /// The worst of everything.
    pub verdict: Severity,
    /// That in words.
    pub verdict_words: String,
    /// The headline: bits per byte found.
    pub bpb: Option<f64>,
    /// The level reached, 0 to 5.
    pub level: u8,
    /// What the next level needs.
    pub next_needs: Vec<String>,
    /// Numbers.
    pub compared: Vec<Compared>,
    /// Seeds side by side.
    pub seeds: Seeds,
    /// The claim's runs, by its logs.
    pub claimed_runs: Vec<RunProfile>,
    /// The runs done, by their logs.
    pub runs: Vec<RunProfile>,
    /// What was noticed, the worst first.
    pub remarks: Vec<(Severity, String)>,
    /// Machine, programs, settings: name and value.
    pub environment: Vec<(String, String)>,
    /// Files by name.
    pub files: Vec<(String, ContentDigest)>,
    /// This program.
    pub harness: String,
}

#[derive(Template)]
#[template(path = "site/run.html")]
struct Page<'a> {
    title: String,
    mark: &'static str,
    policy: String,
    style: &'static str,
    report: &'a RunReport,
    bpb: Option<String>,
    levels: Vec<(u8, &'static str)>,
    validation: Option<Svg>,
    loss: Option<Svg>,
    legend: Vec<(String, String)>,
    strip: Option<Svg>,
    samples: Vec<Sample>,
}

/// A row of the table of seeds.
struct Sample {
    name: &'static str,
    seeds: String,
    count: usize,
    mean: String,
    spread: String,
}

impl Seeds {
    /// Mean of what was found; none of nothing.
    pub fn mean_found(&self) -> Option<f64> {
        mean(&self.found)
    }
}

impl RunReport {
    /// The page; the same report gives the same bytes.
    ///
    /// # Errors
    ///
    /// If a template does not come to its end.
    pub fn page(&self) -> Result<String, SiteError> {
        let names: Vec<String> = self
            .runs
            .iter()
            .map(|run| format!("{}, {}", self.found_word, run_name(run)))
            .chain(self.claimed_runs.iter().map(|run| format!("claimed, {}", run_name(run))))
            .collect();
        let lines = |points: fn(&RunProfile) -> &Vec<_>| -> Vec<Line> {
            let runs = self.runs.iter().map(|run| (run, false)).chain(self.claimed_runs.iter().map(|run| (run, true)));
            let line = |(index, (run, is_behind))| {
                let name = names.get(index).map_or("", String::as_str);
                Line { name, color: index, is_behind, points: points(run) }
            };
            runs.enumerate().map(line).collect()
        };
        let marks = self.marks();
        let draw = |what: &str, lines: &[Line]| Picture { what, across: Across::Steps, lines, marks: &marks }.draw();
        let page = Page {
            title: format!("{}: {}", self.kind, self.name),
            mark: whole::MARK,
            policy: whole::policy(),
            style: STYLE,
            report: self,
            bpb: self.bpb.map(|bpb| format!("{bpb:.5}")),
            levels: LEVELS.iter().map(|level| (level.number(), level.word())).collect(),
            validation: draw("Validation bits per byte", &lines(|run| &run.validation)),
            loss: draw("Training loss", &lines(|run| &run.train_loss)),
            legend: names.iter().enumerate().map(|(at, name)| (color_class(at), name.clone())).collect(),
            strip: self.strip(),
            samples: vec![
                sample("claimed", &self.seeds.claimed, self.seeds.claimed_mean),
                sample(self.found_word, &self.seeds.found, None),
            ],
        };
        page.render().map_err(|source| SiteError::Template { page: "report.html".to_string(), source })
    }

    /// Writes the page.
    ///
    /// # Errors
    ///
    /// If it cannot be made or written.
    pub fn write(&self, path: &Path) -> Result<(), WriteError> {
        let page = self.page().map_err(|error| WriteError::new(path, io::Error::other(error)))?;
        atomic_write::write(path, page.as_bytes())
    }

    /// What happens in the course of a run that stands alone: those of several would lie over each other.
    fn marks(&self) -> Vec<Mark> {
        let [run] = self.runs.as_slice() else { return Vec::new() };
        run.events.iter().map(|(event, step)| Mark { name: event.words().to_string(), at: *step as f64 }).collect()
    }

    fn strip(&self) -> Option<Svg> {
        let Seeds { claimed, claimed_mean, found, .. } = &self.seeds;
        // One dot beside one dot says less than the table.
        if claimed.len() + found.len() < 2 || found.is_empty() {
            return None;
        }
        seed_strip::picture(&[
            Row { name: "claimed", color: "s0", seeds: claimed, mean: mean(claimed).or(*claimed_mean) },
            Row { name: self.found_word, color: "s1", seeds: found, mean: mean(found) },
        ])
    }
}

fn run_name(run: &RunProfile) -> String {
    match run.seed {
        Some(seed) => format!("seed {seed}"),
        None => run.log.clone(),
    }
}

fn mean(seeds: &[(u64, f64)]) -> Option<f64> {
    (!seeds.is_empty()).then(|| seeds.iter().map(|seed| seed.1).sum::<f64>() / seeds.len() as f64)
}

fn sample(name: &'static str, seeds: &[(u64, f64)], known_mean: Option<f64>) -> Sample {
    let values: Vec<f64> = seeds.iter().map(|seed| seed.1).collect();
    let dash = || "-".to_string();
    Sample {
        name,
        seeds: seeds.iter().map(|seed| seed.0.to_string()).collect::<Vec<_>>().join(", "),
        count: seeds.len(),
        mean: mean(seeds).or(known_mean).map_or_else(dash, |mean| format!("{mean:.6}")),
        spread: Summary::of(&values).map_or_else(|_| dash(), |summary| format!("{:.6}", summary.sd())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Finite, Point};

    /// A rerun whose every word is markup.
    fn report() -> RunReport {
        let attack = "<img src=x onerror=alert(1)>";
        let point = |step: u64, value: f64| Point(step, None, Finite::new(value).unwrap());
        let run = |seed| RunProfile {
            log: attack.into(),
            seed,
            validation: vec![point(0, 4.0), point(100, 1.3), point(200, 1.2)],
            ..RunProfile::default()
        };
        RunReport {
            name: attack.into(),
            kind: "Rerun",
            found_word: "rerun",
            verdict: Severity::Fail,
            verdict_words: attack.into(),
            bpb: Some(1.2),
            level: 2,
            next_needs: vec![attack.into()],
            compared: vec![Compared { name: attack.into(), claimed: Some(attack.into()), ..Compared::default() }],
            seeds: Seeds {
                claimed: vec![(1, 1.1), (2, 1.3)],
                found: vec![(1, 1.15)],
                p: Some(0.25),
                ..Seeds::default()
            },
            claimed_runs: vec![run(None)],
            runs: vec![run(Some(7))],
            remarks: vec![(Severity::Fail, attack.into())],
            environment: vec![(attack.into(), attack.into())],
            files: vec![(attack.into(), ContentDigest::of(b"abc"))],
            harness: attack.into(),
        }
    }

    #[test]
    fn words_of_strangers_are_no_markup_and_nothing_is_loaded_or_run() {
        let page = report().page().unwrap();
        assert!(!page.contains("<img"), "{page}");
        for tag in ["<script", "<link", "<iframe", " style=", " src=", " href=\"http"] {
            assert!(!page.replace("&lt;img src=x", "").replace("&#60;img src=x", "").contains(tag), "{tag}\n{page}");
        }
    }

    #[test]
    fn seeds_have_mean_spread_and_p() {
        let page = report().page().unwrap();
        // (1.1 + 1.3) / 2, and the root of 0.02.
        assert!(page.contains("1.200000") && page.contains("0.141421") && page.contains("0.2500"), "{page}");
        assert_eq!(page.matches("<path class=\"line").count(), 2);
    }
}
