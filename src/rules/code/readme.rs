//! The commands a README gives for repeating the run.

use crate::report::{Evidence, RuleId, Severity};
use crate::rules::{Check, EvidenceKind, FolderCase, Outcome, Rule, Tracks, Violation};
use crate::submission::code::shell::{self, Assignment, Word};

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

pub(super) const UNREAD_VARIABLE: Rule = Rule {
    id: RuleId("readme_sets_unread_variable"),
    statement: "The README's command sets a variable that no shipped code reads.",
    reference: "challenge README, file list 1 and 4 (2026-03-18): the README explains the submitted script; its settings are environment variables",
    severity: Severity::Warning,
    tracks: Tracks::Both,
    evidence: EvidenceKind::Files,
    why: "Who follows the command does not get the run it promises: the name is misspelled, or belongs to another version of the script. False alarms: variables that a library reads.",
    example: "TTT_ENABLE=1 torchrun train_gpt.py, where the script reads TTT_ENABLED",
    check: Check::Folder(unread_variables),
};

/// Starts of names that launchers, drivers and libraries read.
const FOREIGN_PREFIXES: &[&str] = &[
    "CUDA",
    "NCCL",
    "OMP_",
    "MKL_",
    "PYTORCH",
    "TORCH",
    "HF_",
    "PYTHON",
    "WANDB",
    "TRITON",
    "TOKENIZERS_",
    "MASTER_",
    "GLOO",
    "LD_",
    "NVIDIA",
    "XLA",
    "JAX",
    "TF_",
    "UV_",
    "PIP_",
    "KMP_",
    "CUBLAS",
    "INDUCTOR",
    "AMD_",
    "HIP_",
    "FLASH",
    "TRANSFORMERS_",
    "DATASETS_",
    "MLX",
    "METAL",
    "MAX_JOBS",
    "SLURM",
    "RAYON_",
    "OPENBLAS",
];
/// Names that the shell and launchers read.
const FOREIGN_NAMES: &[&str] =
    &["PATH", "HOME", "USER", "TMPDIR", "RANK", "WORLD_SIZE", "LOCAL_RANK", "NPROC", "LC_ALL", "LANG", "TERM", "GPUS"];

fn unread_variables(case: &FolderCase) -> Outcome {
    let Some(readme) = &case.folder.readme else { return Outcome::NotApplicable };
    let commands = shell::commands(&readme.text);
    let runs_script = |words: &[Word]| words.iter().any(|word| word.text().ends_with(".py"));
    let set: Vec<&Assignment> =
        commands.iter().filter(|command| runs_script(&command.words)).flat_map(|c| &c.assignments).collect();
    if set.is_empty() {
        return Outcome::NotApplicable;
    }
    let Some(code) = readable_code(case) else {
        return Outcome::unknown("not all of the code could be read, or it reads no variables by name");
    };
    let is_foreign =
        |name: &str| FOREIGN_NAMES.contains(&name) || FOREIGN_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    let mut seen = std::collections::BTreeSet::new();
    let unread: Vec<&&Assignment> = set
        .iter()
        .filter(|given| !is_foreign(&given.name) && !code.iter().any(|text| mentions(text, &given.name)))
        .filter(|given| seen.insert(given.name.as_str()))
        .collect();
    if unread.is_empty() {
        return Outcome::HOLDS;
    }
    let names: Vec<&str> = unread.iter().map(|given| given.name.as_str()).collect();
    let text = |line: u64| readme.text.lines().nth((line.max(1) - 1) as usize).unwrap_or_default();
    let evidence = unread
        .iter()
        .map(|given| given.value.line)
        .map(|line| Evidence::at(&readme.path, line).found(text(line)))
        .collect();
    let verb = if names.len() == 1 { "is" } else { "are" };
    Outcome::violated(format!("{} {verb} read by no shipped code", names.join(", ")), evidence)
}

/// All code as text, packed scripts unpacked; `None` where some is missing or variables are not read by name.
fn readable_code(case: &FolderCase) -> Option<Vec<String>> {
    let mut texts: Vec<String> = Vec::new();
    for code in &case.folder.code {
        texts.push(code.text.clone()?);
    }
    for facts in &case.folder.survey.files {
        match &facts.packed {
            Some(Ok(packed)) => texts.push(packed.source.clone()),
            Some(Err(_)) => return None,
            None => {}
        }
    }
    let reads = texts.iter().any(|text| text.contains("environ") || text.contains("getenv"));
    let takes_all = |text: &String| {
        ["environ.items", "dict(os.environ", "**os.environ", "in os.environ:"].iter().any(|word| text.contains(word))
    };
    (reads && !texts.iter().any(takes_all)).then_some(texts)
}

/// The name as a word of its own; in small letters too, where the code makes names of fields (`name.upper()`).
fn mentions(text: &str, name: &str) -> bool {
    let has_word = |word: &str| {
        text.match_indices(word).any(|(at, _)| {
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
            !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part)
        })
    };
    has_word(name) || text.contains(".upper()") && has_word(&name.to_ascii_lowercase())
}

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
