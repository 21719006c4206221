//! Text for people: grouped by level, aligned, evidence quoted, failures last with a count.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::{Audit, Detail, Evidence, Finding, Level, Report, Reporter};

/// One subject in full; a tree as one line a subject, then counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Text(pub Detail);

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// Evidence lines printed for one finding before "and n more".
const MAX_EVIDENCE_LINES: usize = 6;

fn style(level: Level) -> Style {
    match level {
        Level::Pass => AnsiColor::Green.on_default(),
        Level::Note => AnsiColor::Blue.on_default(),
        Level::Unknown => AnsiColor::Magenta.on_default(),
        Level::Review => AnsiColor::Cyan.on_default(),
        Level::Warning => AnsiColor::Yellow.on_default(),
        Level::Fail => AnsiColor::Red.on_default().bold(),
    }
}

impl Reporter for Text {
    fn write(&self, audit: &Audit, out: &mut dyn Write) -> io::Result<()> {
        match audit.reports.as_slice() {
            [only] => self.write_one(only, out)?,
            all => self.write_tree(all, out)?,
        }
        if !audit.skipped.is_empty() && self.0 > Detail::Brief {
            writeln!(out, "\n{BOLD}not examined{BOLD:#}")?;
            for skipped in &audit.skipped {
                writeln!(out, "  {}  {DIM}{}{DIM:#}", skipped.path, skipped.reason)?;
            }
        }
        Ok(())
    }
}

impl Text {
    fn shows(&self, level: Level) -> bool {
        match self.0 {
            Detail::Brief => level == Level::Fail,
            Detail::Usual => !matches!(level, Level::Pass | Level::Unknown),
            Detail::Full => true,
        }
    }

    fn write_one(&self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        let policy = &report.policy;
        writeln!(out, "{BOLD}{}{BOLD:#}  {DIM}rules {} of {}{DIM:#}", report.subject, policy.name, policy.effective)?;
        if self.0 > Detail::Brief {
            let width = report.facts.iter().map(|fact| fact.name.len()).max().unwrap_or(0);
            for fact in &report.facts {
                writeln!(out, "  {:width$}  {}", fact.name, fact.value)?;
            }
        }
        // An open question about a file is shown; one about missing evidence is only counted.
        let points_at_file = |finding: &Finding| finding.level == Level::Unknown && !finding.evidence.is_empty();
        let shown = |finding: &&Finding| {
            self.shows(finding.level) || finding.broken || (self.0 == Detail::Usual && points_at_file(finding))
        };
        let width = report.findings.iter().filter(shown).map(|finding| finding.rule.0.len()).max().unwrap_or(0);
        let mut level = None;
        for finding in report.findings.iter().filter(shown) {
            if level != Some(finding.level) {
                writeln!(out)?;
                level = Some(finding.level);
            }
            write_finding(finding, width, out)?;
        }
        writeln!(out)?;
        write_counts(&Counts::of(std::slice::from_ref(report)), out)?;
        let standing = &report.standing;
        writeln!(out, "rung {} of 5: {BOLD}{}{BOLD:#}", standing.rung.number(), standing.rung)?;
        if self.0 > Detail::Brief {
            for need in &standing.next_needs {
                writeln!(out, "  next rung needs: {need}")?;
            }
        }
        Ok(())
    }

    fn write_tree(&self, reports: &[Report], out: &mut dyn Write) -> io::Result<()> {
        let width = reports.iter().map(|report| report.subject.chars().count()).max().unwrap_or(0).min(100);
        for report in reports {
            // An open question is no reason for alarm; a check that broke is.
            let worst = match report.worst() {
                Level::Note | Level::Unknown if !report.findings.iter().any(|finding| finding.broken) => Level::Pass,
                worst => worst,
            };
            if self.0 == Detail::Brief && worst < Level::Fail {
                continue;
            }
            let style = style(worst);
            let bpb = report.facts.iter().find(|fact| fact.name == "val_bpb").map_or("-", |fact| fact.value.as_str());
            let mut rules: Vec<&str> = report.at_level(Level::Fail).map(|finding| finding.rule.0).collect();
            rules.dedup();
            writeln!(
                out,
                "{style}{:7}{style:#}  {:width$}  {bpb:>10}  {:10}  {:>2} fail {:>2} warn {:>2} review  {}",
                worst.word(),
                report.subject,
                report.standing.rung,
                report.count(Level::Fail),
                report.count(Level::Warning),
                report.count(Level::Review),
                rules.join(" ")
            )?;
            if self.0 == Detail::Full {
                for finding in report.findings.iter().filter(|finding| finding.level > Level::Pass) {
                    write_finding(finding, 0, out)?;
                }
            }
        }
        writeln!(out)?;
        let worst = |level| reports.iter().filter(|report| report.worst() == level).count();
        writeln!(
            out,
            "{} subjects: {} failing, {} with warnings, {} to review, {} clean",
            reports.len(),
            worst(Level::Fail),
            worst(Level::Warning),
            worst(Level::Review),
            worst(Level::Pass) + worst(Level::Note) + worst(Level::Unknown),
        )?;
        write_counts(&Counts::of(reports), out)
    }
}

fn write_finding(finding: &Finding, width: usize, out: &mut dyn Write) -> io::Result<()> {
    let style = style(finding.level);
    let aside = if finding.allowed { " (allowed)" } else { "" };
    writeln!(out, "{style}{:7}{style:#}  {:width$}  {}{aside}", finding.level.word(), finding.rule, finding.message)?;
    for evidence in finding.evidence.iter().take(MAX_EVIDENCE_LINES) {
        writeln!(out, "         {DIM}{}{DIM:#}", evidence_line(evidence))?;
    }
    let more = finding.evidence.len().saturating_sub(MAX_EVIDENCE_LINES);
    if more > 0 {
        writeln!(out, "         {DIM}and {more} more{DIM:#}")?;
    }
    Ok(())
}

/// `train.log:41: found ..., expected ...`
pub(super) fn evidence_line(evidence: &Evidence) -> String {
    let mut line = match (evidence.path.as_str(), evidence.line) {
        ("", _) => String::new(),
        (path, None) => format!("{path}: "),
        (path, Some(number)) => format!("{path}:{number}: "),
    };
    match (&evidence.found, &evidence.expected) {
        (Some(found), Some(expected)) => line.push_str(&format!("{found}  (expected {expected})")),
        (Some(found), None) => line.push_str(found),
        (None, Some(expected)) => line.push_str(&format!("expected {expected}")),
        (None, None) => line.truncate(line.trim_end_matches(": ").len()),
    }
    line
}

/// Findings by level over some reports.
struct Counts([usize; Level::ALL.len()]);

impl Counts {
    fn of(reports: &[Report]) -> Self {
        Counts(Level::ALL.map(|level| reports.iter().map(|report| report.count(level)).sum()))
    }
}

/// `61 pass, 3 notes, 9 unknown, 1 warning, 2 failures`
fn write_counts(counts: &Counts, out: &mut dyn Write) -> io::Result<()> {
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let mut parts = Vec::new();
    for (level, &count) in Level::ALL.iter().zip(&counts.0) {
        let style = if count == 0 { Style::new() } else { style(*level) };
        let word = match level {
            Level::Pass => "pass".to_string(),
            Level::Unknown => "unknown".to_string(),
            Level::Review => "to review".to_string(),
            Level::Fail => format!("failure{}", plural(count)),
            Level::Note | Level::Warning => format!("{level}{}", plural(count)),
        };
        parts.push(format!("{style}{count} {word}{style:#}"));
    }
    writeln!(out, "{}", parts.join(", "))
}
