//! A sample for people: on a terminal, and as Markdown.

use std::fmt::{self, Write};

use super::claim::{Claim, ClaimSource, Decision, Interval};
use super::report::{Look, Outlook, SampleReport, Test};
use crate::escape::markdown;
use crate::units::group_digits;

/// Decimals of numbers that are known to a few thousandths at best.
const DECIMALS: usize = 5;
/// Width of the column of names.
const NAMES: usize = 26;
/// Width of a column of numbers.
const NUMBERS: usize = 23;

/// One row: its name, loss and bits per byte.
type Row = [String; 3];

impl SampleReport {
    /// One line, for `--quiet`.
    pub fn summary(&self) -> String {
        let numbers = self.numbers(&self.estimates.regression);
        let (loss, bpb) = (numbers.val_loss, numbers.val_bpb);
        let rest = match (&self.test, self.admits_claim()) {
            (Some(test), _) => format!(" {}", test.decision()),
            (None, Some(true)) => " claim:inside".into(),
            (None, Some(false)) => " claim:outside".into(),
            (None, None) => String::new(),
        };
        format!(
            "{} sample:{}/{} val_loss:{:.8}+-{:.8} val_bpb:{:.8}+-{:.8}{rest}\n",
            self.label(),
            self.drawn,
            self.windows,
            loss.0,
            loss.1,
            bpb.0,
            bpb.1
        )
    }

    /// A table and a list, for job summaries and comments.
    pub fn markdown(&self) -> String {
        let mut text = format!("**{}**\n\n| | val_loss | val_bpb |\n|---|---|---|\n", markdown::text(&self.headline()));
        for [name, loss, bpb] in self.rows() {
            // Writing into a string cannot fail.
            let _ = writeln!(text, "| {} | {loss} | {bpb} |", name.trim_start());
        }
        text.push('\n');
        for line in self.remarks() {
            let _ = writeln!(text, "* {}", markdown::text(&line));
        }
        text
    }

    fn headline(&self) -> String {
        if self.is_complete() {
            let windows = group_digits(self.windows.into());
            return format!("All {windows} windows were scored: no sample, and no chance in the numbers");
        }
        let seed = self.sample.seed;
        format!("Sample of {}, seed {seed}: an estimate, not a score of the split", self.windows_of())
    }

    fn rows(&self) -> Vec<Row> {
        let row = |name: &str, numbers: &dyn Fn((f64, f64)) -> String, estimate| {
            let found = self.numbers(estimate);
            [name.to_string(), numbers(found.val_loss), numbers(found.val_bpb)]
        };
        let exact = |(value, _): (f64, f64)| format!("{value:.8}");
        let spread = |(value, half): (f64, f64)| format!("{value:.DECIMALS$} +- {half:.DECIMALS$}");
        let ends = |(value, half)| {
            let Interval { low, high } = Interval::around(value, half);
            format!("{low:.DECIMALS$} to {high:.DECIMALS$}")
        };
        let (regression, plain) = (&self.estimates.regression, &self.estimates.plain);
        if self.is_complete() {
            return vec![row(&self.label(), &exact, plain)];
        }
        let interval = if self.test.is_some() { "  95 % over all looks" } else { "  95 % interval" };
        vec![
            row(&self.label(), &spread, regression),
            row(interval, &ends, regression),
            row("  without control variates", &spread, plain),
        ]
    }

    /// A line each, the claim first.
    fn remarks(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.claim.iter().map(|claim| self.about(claim)).collect();
        if let Some(subset) = self.basis.subset {
            let (first, of) = (group_digits(subset.first_tokens.into()), group_digits(subset.of.into()));
            lines.push(format!("SUBSET: all of this is about the first {first} of {of} tokens"));
        }
        if !self.is_complete() {
            lines.push(format!(
                "level: rescored (sample of {}); recorded as such, it is no score: `score` without --sample makes one",
                group_digits(self.drawn.into())
            ));
            lines.push(format!(
                "control variates (n-gram models and bytes of each window): as good as {:.2} times the windows",
                self.estimates.gain()
            ));
        }
        let (tokens, bytes) = (group_digits(self.tokens.into()), group_digits(self.bytes.into()));
        lines.push(format!("of the whole split, counted: {tokens} tokens, {bytes} bytes"));
        lines.extend(self.basis.byte_sidecar.iter().map(ToString::to_string));
        if let Some(miscount) = &self.basis.miscount {
            let factor = miscount.factor();
            lines.push(format!(
                "BYTES: the table counts others than the decoded text has; over the text, val_bpb x {factor:.6}"
            ));
        }
        let (seq_len, stride) = (group_digits(self.basis.seq_len.into()), group_digits(self.basis.stride.into()));
        lines.push(format!("engine {}, windows of {seq_len} tokens, sliding by {stride}", self.basis.engine));
        lines.extend(self.basis.end_of_text());
        lines.extend(self.agreement.iter().map(ToString::to_string));
        lines.extend(self.about_speed());
        lines
    }

    fn about(&self, Claim { val_bpb, source }: &Claim) -> String {
        let source = match source {
            ClaimSource::Manifest => "manifest",
            ClaimSource::Flag => "--claim",
        };
        let Some(test) = &self.test else {
            let place = match (self.is_complete(), self.admits_claim()) {
                (true, Some(true)) => "prints as this number",
                (true, _) => "is another number",
                (false, Some(true)) => "lies inside the interval",
                (false, _) => "lies outside the interval",
            };
            return format!("claim {val_bpb} ({source}): {place}");
        };
        let Test { within, planned, looks } = test;
        let why = match test.decision() {
            Decision::Accepted => "the value is no further from it than that",
            Decision::Rejected => "the value is further from it than that",
            Decision::Undecided => "nothing was decided",
        };
        let sizes: Vec<String> = looks.iter().map(|Look { windows, .. }| group_digits((*windows).into())).collect();
        let count = looks.len();
        format!(
            "claim {val_bpb} within {within:.DECIMALS$}: {}, {why}; {count} of {planned} looks, at {} windows",
            test.decision(),
            sizes.join(", ")
        )
    }

    fn about_speed(&self) -> Vec<String> {
        let Some(speed) = self.speed else { return Vec::new() };
        let seconds = self.windows as f64 / speed.windows_per_second;
        let mut line = format!("here {:.2} windows/s", speed.windows_per_second);
        if !self.is_complete() && seconds.is_finite() {
            let _ = match seconds < 3600.0 {
                true => write!(line, ", all windows in {:.1} minutes", seconds / 60.0),
                false => write!(line, ", all windows in {:.1} hours", seconds / 3600.0),
            };
        }
        let is_less = |outlook: &Outlook| outlook.windows < self.windows;
        let told = |Outlook { minutes, windows, half_width, found }: Outlook| {
            let windows = group_digits(windows.into());
            format!(
                "{minutes} minutes ({windows} windows) tell val_bpb to +-{half_width:.DECIMALS$}, and find a claim that is \
                 off by {found:.DECIMALS$} four times of five"
            )
        };
        [line].into_iter().chain(self.outlook().into_iter().filter(is_less).map(told)).collect()
    }
}

impl fmt::Display for SampleReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.headline())?;
        for [name, loss, bpb] in [["".into(), "val_loss".into(), "val_bpb".into()]].into_iter().chain(self.rows()) {
            writeln!(f, "{name:<NAMES$}  {loss:<NUMBERS$}  {bpb}")?;
        }
        writeln!(f)?;
        self.remarks().iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Speed;
    use super::super::report::tests::example;
    use super::super::{AUXILIARIES, Estimate, Estimates};
    use super::*;
    use crate::eval::Subset;

    #[test]
    fn what_people_read() {
        let mut report = example();
        let mut text = format!("{report}\n{}\n{}", report.markdown(), report.summary());
        report.test = Some(Test {
            within: 0.004,
            planned: 5,
            looks: [(50, 1.1, 1.2, Decision::Undecided), (101, 1.17, 1.171, Decision::Accepted)]
                .map(|(windows, low, high, decision)| Look { windows, interval: Interval { low, high }, decision })
                .into(),
        });
        report.speed = Some(Speed { windows_per_second: 3.0, threads: 2 });
        text += &format!("\n{report}\n{}", report.summary());
        let exact = Estimate { variance: 0.0, ..report.estimates.plain };
        report.estimates = Estimates { plain: exact, regression: exact, slopes: [0.0; AUXILIARIES] };
        (report.test, report.drawn) = (None, report.windows);
        report.basis.subset = Some(Subset { first_tokens: 70_001, of: 80_000 });
        text += &format!("\n{report}\n{}", report.summary());
        insta::assert_snapshot!(text);
    }
}
