//! Does the script parse, is it what it seems, does it find what it imports?

use super::review::of_kind;
use super::{MAX_PLACES, survey};
use crate::report::{Evidence, RuleId, Severity};
use crate::rules::{Check, EvidenceKind, FolderCase, Outcome, Rule, Tracks, Violation};
use crate::submission::code::{CodeSurvey, NoteKind, Origin, SourceFacts, SyntaxProblem};
use crate::submission::log::SizeKind;

pub(super) const RULES: &[Rule] = &[SYNTAX, NOT_PARSED, NEEDS_3_12, PACKED, NOT_OPENED, MISSING_MODULE, ZSTD_FALLBACK];

const SYNTAX: Rule = Rule {
    id: RuleId("train_gpt_syntax_error"),
    statement: "The training script, or a module it needs, is not Python of any version.",
    reference: "challenge README, submission files: train_gpt.py must compile and run inside the folder",
    severity: Severity::Fail,
    tracks: Tracks::Both,
    evidence: EvidenceKind::Files,
    why: "A script that does not parse cannot have produced the logs beside it.",
    example: "def forward(self, x:  # a bracket is missing",
    check: Check::Folder(syntax),
};

const NOT_PARSED: Rule = Rule {
    id: RuleId("code_not_parsed"),
    statement: "A Python file is larger, deeper or less like Python than any script, and was not parsed.",
    reference: "bounds of this tool: 4 MiB, 400,000 tokens, 1,000 levels, 100 places that are no Python, no NUL bytes",
    severity: Severity::Unknown,
    tracks: Tracks::Both,
    evidence: EvidenceKind::Files,
    why: "Memory and time are bounded; what the file does was not examined.",
    example: "a tokenizer model called train_gpt.py",
    check: Check::Folder(not_parsed),
};

const NEEDS_3_12: Rule = Rule {
    id: RuleId("needs_python_3_12_fstring"),
    statement: "The script uses syntax that Python before 3.12 rejects.",
    reference: "custom: reviewers on Python 3.10 and 3.11 took such scripts for broken (PR 1036's thread)",
    severity: Severity::Note,
    tracks: Tracks::Both,
    evidence: EvidenceKind::Files,
    why: "It runs on the author's Python and fails on an older one; say which version is needed.",
    example: "print(f\"{d[\"loss\"]}\")",
    check: Check::Folder(needs_3_12),
};

const PACKED: Rule = Rule {
    id: RuleId("code_packed"),
    statement: "The script is a self-extractor; the shipped bytes count, and the code inside was read here.",
    reference: "practice: PR 1394 and PR 1412 were merged so; the shipped file counts, not the log's `Code size`",
    severity: Severity::Note,
    tracks: Tracks::Both,
    evidence: EvidenceKind::Files,
    why: "Readers of the pull request do not see the code that runs.",
    example: "exec(lzma.decompress(base64.b85decode(\"...\")))",
    check: Check::Folder(packed),
};

const NOT_OPENED: Rule = Rule {
    id: RuleId("code_packed_unreadable"),
    statement: "The script executes code that it does not show, or that could not be opened without running it.",
    reference: "challenge README: the code is part of the submission; nobody can review what cannot be read",
    severity: Severity::Review,
    tracks: Tracks::Both,
    evidence: EvidenceKind::Person,
    why: "What it does cannot be told from the folder.",
    example: "exec(marshal.loads(open(\"model.ptz\", \"rb\").read()))",
    check: Check::Folder(not_opened),
};

const MISSING_MODULE: Rule = Rule {
    id: RuleId("code_local_module_missing"),
    statement: "The script imports a module that is neither in the folder, nor Python's, nor a package known here.",
    reference: "challenge README: the script must run inside the folder (PR 466, 842, 1036 lacked modules)",
    severity: Severity::Review,
    tracks: Tracks::Both,
    evidence: EvidenceKind::Person,
    why: "Either a file was forgotten, or a package must be installed that requirements.txt should name.",
    example: "from my_kernels import fused_mlp  # my_kernels.py is not in the folder",
    check: Check::Folder(missing_module),
};

const ZSTD_FALLBACK: Rule = Rule {
    id: RuleId("code_zstd_fallback_silent"),
    statement: "Without the zstandard package the script packs with another compressor and says nothing.",
    reference: "PR 338: one seed was packed with zlib, 17,026,054 bytes instead of 15,554,874",
    severity: Severity::Warning,
    tracks: Tracks::Both,
    evidence: EvidenceKind::Files,
    why: "On a machine without the package the artifact passes the budget by another 1.5 MB, unnoticed.",
    example: "try: import zstandard\nexcept ImportError: COMPRESSOR = \"zlib\"",
    check: Check::Folder(zstd_fallback),
};

/// Packages that the challenge's image or its participants install under these import names.
const KNOWN_PACKAGES: &str = include_str!("packages.txt");

fn is_known_package(module: &str) -> bool {
    KNOWN_PACKAGES.lines().any(|known| known == module)
}

/// Whether the folder has the module in another form than Python source: compiled, or source of an extension.
fn is_compiled_here(case: &FolderCase, module: &str) -> bool {
    const FORMS: [&str; 10] = ["so", "pyd", "c", "cc", "cpp", "cu", "cxx", "pyx", "rs", "pyi"];
    case.folder.files.iter().any(|file| {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        let mut parts = name.split('.');
        let stem = parts.next().unwrap_or_default();
        let extension = parts.next_back().unwrap_or_default();
        (stem == module || stem.strip_suffix("_ext") == Some(module) || stem.strip_prefix('_') == Some(module))
            && FORMS.contains(&extension)
            || file.path.split('/').any(|part| part == module)
    })
}

fn for_each_counted(survey: &CodeSurvey) -> impl Iterator<Item = &SourceFacts> {
    survey.files.iter().filter(|file| survey.counted.contains(&file.path))
}

fn problem(path: &str, problem: &SyntaxProblem) -> Evidence {
    Evidence::at(path, problem.line).found(&problem.text)
}

fn syntax(case: &FolderCase) -> Outcome {
    let survey = survey(case);
    if survey.counted.is_empty() {
        return Outcome::NotApplicable;
    }
    let refused = for_each_counted(survey).find_map(|file| Some((&file.path, file.refused?)));
    let violations: Vec<Violation> = for_each_counted(survey)
        .filter_map(|file| {
            let first = file.syntax.first()?;
            let inside = if matches!(file.packed, Some(Ok(_))) { " of the code inside" } else { "" };
            let message = format!("{}: line {}{inside}: {}", file.path, first.line, first.message);
            Some(Violation::new(message, vec![problem(&file.path, first)]))
        })
        .collect();
    match refused {
        Some((path, refusal)) if violations.is_empty() => Outcome::unknown(format!("{path}: {refusal}")),
        _ => Outcome::from_violations(violations),
    }
}

fn not_parsed(case: &FolderCase) -> Outcome {
    let survey = survey(case);
    let violations = survey.files.iter().filter_map(|file| {
        let refusal = file.refused?;
        let inside = if matches!(file.packed, Some(Ok(_))) { "the code inside, " } else { "" };
        let message = format!("{}: {inside}{refusal}", file.path);
        Some(Violation::not_examined(message, vec![Evidence::file(&file.path)]))
    });
    if survey.files.is_empty() { Outcome::NotApplicable } else { Outcome::from_violations(violations.collect()) }
}

fn needs_3_12(case: &FolderCase) -> Outcome {
    let survey = survey(case);
    if survey.counted.is_empty() {
        return Outcome::NotApplicable;
    }
    let violations = for_each_counted(survey).filter_map(|file| {
        let first = file.needs_3_12.first()?;
        let message = format!("{}: line {}: {}", file.path, first.line, first.message);
        Some(Violation::new(message, file.needs_3_12.iter().take(MAX_PLACES).map(|p| problem(&file.path, p)).collect()))
    });
    Outcome::from_violations(violations.collect())
}

fn packed(case: &FolderCase) -> Outcome {
    let survey = survey(case);
    let mut violations = Vec::new();
    for file in &survey.files {
        if let Some(Ok(packed)) = &file.packed {
            let layers: Vec<&str> = packed.layers.iter().map(|layer| layer.word()).collect();
            let shipped =
                case.folder.code.iter().find(|code| code.path == file.path).map_or(0, |code| code.digest.bytes.0);
            let inside = packed.source.len();
            let message =
                format!("{}: {shipped} bytes shipped, {inside} bytes inside ({})", file.path, layers.join(", "));
            violations.push(Violation::new(message, vec![Evidence::at(&file.path, packed.line)]));
        }
    }
    if survey.files.is_empty() { Outcome::NotApplicable } else { Outcome::from_violations(violations) }
}

fn not_opened(case: &FolderCase) -> Outcome {
    let survey = survey(case);
    let violations = survey.files.iter().filter_map(|file| match &file.packed {
        Some(Err(error)) => Some(Violation::new(format!("{}: {error}", file.path), vec![Evidence::file(&file.path)])),
        _ => None,
    });
    let mut violations: Vec<Violation> = violations.collect();
    if violations.is_empty()
        && let Outcome::Violated(hidden) = of_kind(case, NoteKind::HiddenCode, "executes what it does not show")
    {
        violations.extend(hidden);
    }
    if survey.files.is_empty() { Outcome::NotApplicable } else { Outcome::from_violations(violations) }
}

fn missing_module(case: &FolderCase) -> Outcome {
    let survey = survey(case);
    if survey.counted.is_empty() {
        return Outcome::NotApplicable;
    }
    let lists = ["requirements.txt", "pyproject.toml", "environment.yml", "setup.py", "Dockerfile"];
    let requirements = case.folder.files.iter().any(|file| lists.iter().any(|list| file.path.ends_with(list)));
    let readme = case.folder.readme.as_ref().map_or("", |readme| readme.text.as_str());
    let installed =
        |module: &str| readme.lines().any(|line| line.contains("install") && line.replace('-', "_").contains(module));
    let mut violations = Vec::new();
    for file in for_each_counted(survey) {
        for import in &file.imports {
            let known = import.origin != Origin::Package || is_known_package(&import.module);
            if known || import.guarded || requirements {
                continue;
            }
            if is_compiled_here(case, &import.module) || installed(&import.module) {
                continue;
            }
            let message =
                format!("{}: line {} imports `{}`, which is not in the folder", file.path, import.line, import.module);
            violations.push(Violation::new(message, vec![Evidence::at(&file.path, import.line)]));
        }
    }
    Outcome::from_violations(violations)
}

fn zstd_fallback(case: &FolderCase) -> Outcome {
    let survey = survey(case);
    if survey.counted.is_empty() {
        return Outcome::NotApplicable;
    }
    let models = case.folder.logs.iter().flat_map(|log| {
        let sizes = log.sizes.iter().filter(|size| matches!(size.kind, SizeKind::Model | SizeKind::Total));
        sizes.filter_map(move |size| Some((log, size, size.codec?)))
    });
    let (zstd, other): (Vec<_>, Vec<_>) = models.partition(|(_, _, codec)| *codec == "zstd");
    let mut violations = Vec::new();
    for file in for_each_counted(survey) {
        let Some(note) = file.notes.iter().find(|note| note.kind == NoteKind::SilentCompressorFallback) else {
            continue;
        };
        let place = Evidence::at(&file.path, note.line).found(&note.text);
        if let Some((log, size, codec)) = other.first() {
            let message = format!("{}: zstandard is optional, and {} was packed with {codec}", file.path, log.path);
            let logged = Evidence::at(&log.path, size.line).found(format!("{codec}, {} bytes", size.bytes));
            violations.push(Violation::new(message, vec![place, logged]));
        } else if zstd.is_empty() {
            let message = format!("{}: zstandard is optional, and no log says which compressor ran", file.path);
            violations.push(Violation::new(message, vec![place]).graded(Severity::Review));
        }
    }
    Outcome::from_violations(violations)
}
