//! Audits a record folder and prints what its evidence lacks:
//! `cargo run --example audit_folder -- fixtures/submissions/over-budget`.
//!
//! The folder is read only: nothing in it is executed.

use std::path::Path;

use golf_harness::escape::visible;
use golf_harness::report::Severity;
use golf_harness::rules::audit::{self, Options};

fn main() -> anyhow::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "fixtures/submissions/over-budget".into());

    // The latest rules of the track that the folder names; `Options` can ask for another track, day or policy.
    let report = audit::folder(Path::new(&folder), folder.clone(), &Options::default())?;

    // Rules that hold are findings, too: they pass.
    for finding in report.findings.iter().filter(|finding| finding.severity > Severity::Pass) {
        println!("{:<8} {:<24} {}", finding.severity, finding.rule, finding.message);
        for evidence in &finding.evidence {
            let line = evidence.line.map_or(String::new(), |line| format!(":{line}"));
            println!("{:<8} {}{line}", "", visible(&evidence.path));
        }
    }
    let (passed, failed) = (report.count(Severity::Pass), report.count(Severity::Fail));
    println!("{}: {passed} rules hold, {failed} findings fail", report.subject);
    Ok(())
}
