//! Text to paste where a finding is disputed: what was found, by what, and how to see it again.

use std::fmt::Write;

use crate::report::{Audit, Report, Severity};

/// Most findings named.
const MAX_FINDINGS: usize = 20;

/// The text.
pub(super) fn text(audit: &Audit, report: &Report) -> String {
    let mut text = String::new();
    let mut line = |words: String| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{words}");
    };
    line(format!("Submission: {}", report.subject));
    line(format!("Audited by: golf-harness {}", audit.harness));
    line(format!("Rules:      {} of {}", report.policy.name, report.policy.effective));
    line(format!("Result:     {}", report.level_words()));
    line(String::new());
    let disputed = [Severity::Fail, Severity::Warning, Severity::Review];
    let findings: Vec<_> = disputed.iter().flat_map(|severity| report.at_severity(*severity)).collect();
    for finding in findings.iter().take(MAX_FINDINGS) {
        line(format!("[ ] {} ({}): {}", finding.rule, finding.severity, finding.message));
        for evidence in finding.evidence.iter().take(2) {
            let place = evidence.line.map_or(evidence.path.clone(), |number| format!("{}:{number}", evidence.path));
            let found = evidence.found.as_deref().map_or(String::new(), |found| format!(": {found}"));
            line(format!("      {place}{found}"));
        }
    }
    if findings.is_empty() {
        line("Nothing was found that could be disputed.".to_string());
    }
    line(String::new());
    line("Mark the finding with an x, and say what the files show instead (file and line):".to_string());
    line(String::new());
    line("Seen again with: verify FOLDER -v, and what a rule means with: verify --explain RULE".to_string());
    text
}
