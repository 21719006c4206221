//! The page that says what passes.

use std::fmt::Write;

use golf_harness::report::Severity;

use crate::forgery::{Kind, Outcome, ToldBy};

/// One kind and what became of its forgeries.
pub struct Row {
    pub kind: &'static Kind,
    pub outcomes: Vec<(Outcome, Vec<(&'static str, Severity)>)>,
}

impl Row {
    fn count(&self, outcome: Outcome) -> usize {
        self.outcomes.iter().filter(|(known, _)| *known == outcome).count()
    }

    /// Whether none got further than what tells the kind allows.
    pub fn as_promised(&self) -> bool {
        match self.kind.told_by {
            ToldBy::Files | ToldBy::Level => self.count(Outcome::Refused) == self.outcomes.len(),
            ToldBy::Reviewer => self.count(Outcome::Passed) == 0,
            ToldBy::Recomputing(_) => true,
        }
    }

    /// Rules that spoke, most often first.
    fn rules(&self) -> Vec<&'static str> {
        let mut counted: Vec<(usize, &'static str)> = Vec::new();
        for (rule, _) in self.outcomes.iter().flat_map(|(_, said)| said) {
            match counted.iter_mut().find(|(_, known)| known == rule) {
                Some((count, _)) => *count += 1,
                None => counted.push((1, rule)),
            }
        }
        counted.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
        counted.into_iter().map(|(_, rule)| rule).take(RULES_SHOWN).collect()
    }
}

/// Rules named for a kind.
const RULES_SHOWN: usize = 3;

/// The page.
pub fn markdown(rows: &[Row]) -> String {
    let mut page = String::from(HEAD);
    for title in ["What files alone can decide", "What a person must look at", "What only scoring or a rerun can tell"]
    {
        let rows: Vec<&Row> = rows.iter().filter(|row| section(row.kind.told_by) == title).collect();
        let made: usize = rows.iter().map(|row| row.outcomes.len()).sum();
        let passed: usize = rows.iter().map(|row| row.count(Outcome::Passed)).sum();
        let _ = writeln!(page, "\n## {title}\n\n{passed} of {made} pass.\n");
        page += "| kind | what is forged | made | refused | shown | pass | what `verify` says |\n|---|---|---|---|---|---|---|\n";
        for row in rows {
            let says = match row.kind.told_by {
                ToldBy::Level => "stops at *sealed*".to_string(),
                ToldBy::Recomputing(why) => why.to_string(),
                _ => row.rules().iter().map(|rule| format!("`{rule}`")).collect::<Vec<_>>().join(", "),
            };
            let [refused, shown, passed] = [Outcome::Refused, Outcome::Shown, Outcome::Passed].map(|o| row.count(o));
            let (name, what, made) = (row.kind.name, row.kind.what, row.outcomes.len());
            let _ = writeln!(page, "| {name} | {what} | {made} | {refused} | {shown} | {passed} | {says} |");
        }
    }
    page
}

/// The part of the page where kinds stand that are told by this.
fn section(told_by: ToldBy) -> &'static str {
    match told_by {
        ToldBy::Files | ToldBy::Level => "What files alone can decide",
        ToldBy::Reviewer => "What a person must look at",
        ToldBy::Recomputing(_) => "What only scoring or a rerun can tell",
    }
}

const HEAD: &str = "\
# Attacks

`tests/attacks/` forges submissions from an honest one, always the same, and has `verify` audit them.

```
cargo test --release --test attacks -- --nocapture
```

prints these tables and what was said of each forgery; with `UPDATE_DOCS=1` it writes this page. *Refused*: a rule
fails, exit code 1, or the audit could not be completed, exit code 2. *Shown*: a warning, a place for a reviewer, or a
check that was not possible, which the honest submission does not get. *Pass*: nothing of the kind. A folder that
passes is *documented* or *sealed*, never more:
see [what a pass does not mean](what-verify-checks.md#what-a-pass-does-not-mean).
";
