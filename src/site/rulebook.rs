//! The page that says what each rule means.

use std::collections::BTreeMap;

use askama::Template;

use super::{SiteError, SiteFile, render};
use crate::report::{Audit, Severity};
use crate::rules::{Rule, all};

const PAGE: &str = "rules.html";

#[derive(Template)]
#[template(path = "site/rules.html")]
struct Page {
    root: &'static str,
    title: String,
    rules: Vec<RuleView>,
}

struct RuleView {
    rule: &'static Rule,
    /// Subjects about which it found something, and those that fail it.
    found: usize,
    failing: usize,
}

/// The page.
pub fn page(audit: &Audit) -> Result<SiteFile, SiteError> {
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for report in &audit.reports {
        let mut worst: BTreeMap<&str, Severity> = BTreeMap::new();
        for finding in &report.findings {
            let known = worst.entry(finding.rule.0).or_insert(finding.severity);
            *known = finding.severity.max(*known);
        }
        for (rule, severity) in worst {
            let count = counts.entry(rule).or_default();
            count.0 += usize::from(severity >= Severity::Review);
            count.1 += usize::from(severity == Severity::Fail);
        }
    }
    let rules = all().map(|rule| {
        let (found, failing) = counts.get(rule.id.0).copied().unwrap_or_default();
        RuleView { rule, found, failing }
    });
    render(PAGE, &Page { root: "", title: "Rules".to_string(), rules: rules.collect() })
}
