//! The commands a README gives for repeating the run.

use crate::report::{Evidence, RuleId, Severity};
use crate::rules::{Check, EvidenceKind, FolderCase, Outcome, Rule, Tracks, Violation};
use crate::submission::code::shell;

pub(super) const LOST_VARIABLES: Rule = Rule {
    id: RuleId("readme_variables_reach_only_installer"),
    statement: "The README's command sets variables for `pip`, and the training after `&&` runs without them.",
    reference: "POSIX shell, simple commands: an assignment before a command is in that command's environment only",
    severity: Severity::Warning,
    tracks: Tracks::Both,
    evidence: EvidenceKind::Files,
    why: "Who copies the command runs the script's defaults: another seed, other data, another run.",
    example: "SEED=1337 pip install zstandard && torchrun train_gpt.py",
    check: Check::Folder(lost_variables),
};

fn lost_variables(case: &FolderCase) -> Outcome {
    let Some(readme) = &case.folder.readme else { return Outcome::NotApplicable };
    let commands = shell::commands(&readme.text);
    if commands.is_empty() {
        return Outcome::NotApplicable;
    }
    let violations = shell::lost_variables(&commands).into_iter().map(|lost| {
        let message = format!(
            "{} reach only `{}`; `{}` on line {} runs without them",
            lost.names.join(", "),
            lost.installer,
            lost.launcher,
            lost.launcher_line
        );
        let text = |line: u64| readme.text.lines().nth((line - 1) as usize).unwrap_or_default();
        let evidence = [lost.line, lost.launcher_line].map(|line| Evidence::at(&readme.path, line).found(text(line)));
        Violation::new(message, evidence.to_vec())
    });
    Outcome::from_violations(violations.collect())
}
