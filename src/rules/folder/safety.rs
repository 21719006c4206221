//! Things in a folder that are no honest part of a submission, or cannot be read.

use super::DEFAULT;
use crate::report::{Evidence, RuleId, Severity};
use crate::rules::{Check, FolderCase, Outcome, Rule, Violation};
use crate::submission::log::MAX_RUNS;
use crate::submission::walk::AnomalyKind;
use crate::submission::{FileKind, Opened, OpenedArtifact};

const SOURCE: &str = "safety of whoever checks: nothing from a submission is trusted or run";

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: RuleId("link_in_folder"),
        statement: "The folder holds a symbolic link.",
        reference: SOURCE,
        severity: Severity::Fail,
        why: "A link makes a reader open files of its own machine. Links are never followed here.",
        example: "train.log -> /etc/passwd",
        check: Check::Folder(|case| anomalies(case, AnomalyKind::Link, "is a link to")),
        ..DEFAULT
    },
    Rule {
        id: RuleId("special_file"),
        statement: "The folder holds a device, socket or pipe.",
        reference: SOURCE,
        severity: Severity::Fail,
        why: "Reading it may never end.",
        example: "a named pipe called train.log",
        check: Check::Folder(|case| anomalies(case, AnomalyKind::Special, "is")),
        ..DEFAULT
    },
    Rule {
        id: RuleId("odd_file_name"),
        statement: "A file name is not plain UTF-8 text, or differs from another in case only.",
        reference: SOURCE,
        why: "It cannot be named in a manifest, and may hide what it is; of two that differ in case, some disks keep one.",
        example: "train\\x1b[2K.log",
        check: Check::Folder(|case| anomalies(case, AnomalyKind::Name, "has an odd name:")),
        ..DEFAULT
    },
    Rule {
        id: RuleId("unreadable_file"),
        statement: "A file could not be read.",
        reference: SOURCE,
        severity: Severity::Fail,
        why: "A check that could not be made must not look like one that passed.",
        example: "no permission to read train.log",
        check: Check::Folder(|case| anomalies(case, AnomalyKind::Unreadable, "cannot be read:")),
        ..DEFAULT
    },
    Rule {
        id: RuleId("too_much_to_read"),
        statement: "A file or folder is larger than any submission needs, and was not read whole.",
        reference: "bounds of this tool: 20,000 files, 256 MiB a log, 4 MiB a script, 1 GiB any other file",
        severity: Severity::Unknown,
        why: "Memory and time are bounded; what lies beyond was not examined.",
        example: "a log of 10 GB",
        check: Check::Folder(too_much),
        ..DEFAULT
    },
    Rule {
        id: RuleId("pickle_present"),
        statement: "An artifact is a pickle, which runs code when it is loaded.",
        reference: "Python documentation, `pickle`: never unpickle untrusted data",
        severity: Severity::Warning,
        why: "torch.save writes pickles; loading one runs whatever it says. Safetensors and arrays of numbers do not.",
        example: "final_model.pt",
        check: Check::Folder(pickle),
        ..DEFAULT
    },
    Rule {
        id: RuleId("artifact_imports_code"),
        statement: "An artifact's pickle imports something that tensors do not need.",
        reference: "allow-list of imports: torch tensors and storages, OrderedDict, NumPy scalars; deny-lists are bypassed (modelscan #338, picklescan #14)",
        severity: Severity::Fail,
        why: "Loading it would run that code. It was read here without executing anything.",
        example: "a pickle that imports os.system",
        check: Check::Folder(imports_code),
        ..DEFAULT
    },
    Rule {
        id: RuleId("artifact_ambiguous"),
        statement: "Programs differ in which bytes of an artifact they load.",
        reference: "PyTorch looks data.pkl up ignoring case, Python's zipfile does not; of equal names one takes the first, one the last (CVE-2025-10156, GHSA-7q5r-7gvp-wc82, GHSA-w8jq-xcqf-f792)",
        severity: Severity::Fail,
        why: "What one program checks is not what another loads. Names must differ even without case, there is one directory, headers repeat it, and checksums are right.",
        example: "a zip file with two members called archive/data.pkl",
        check: Check::Folder(ambiguous),
        ..DEFAULT
    },
    Rule {
        id: RuleId("artifact_bytes_unclaimed"),
        statement: "An artifact has bytes that belong to no tensor and to no part of its format.",
        reference: "custom: PR #1910 pads behind the end of its zlib stream",
        severity: Severity::Warning,
        why: "They count towards the budget and could hold anything: another artifact, code, the validation data.",
        example: "final_model.ptz with 3,000 zeros behind the end of the zlib stream",
        check: Check::Folder(unclaimed),
        ..DEFAULT
    },
    Rule {
        id: RuleId("artifact_not_opened"),
        statement: "A file that looks like a model is damaged, too large or in a format this tool does not read.",
        reference: "formats read: this crate's, torch.save old and new, pickles of arrays, safetensors, npz, npy, plain or in zlib, gzip, bzip2, xz, lzma, zstd, lz4 or brotli, up to six layers",
        severity: Severity::Unknown,
        why: "What is inside was not examined, so nothing can be said about it.",
        example: "model.rans with a coder of its own",
        check: Check::Folder(not_opened),
        ..DEFAULT
    },
];

/// A violation for each model file of which there are words; nothing to say without model files.
fn each_model(case: &FolderCase, words: impl Fn(&OpenedArtifact) -> Option<String>) -> Outcome {
    if case.folder.artifacts.is_empty() {
        return Outcome::NotApplicable;
    }
    let violation = |artifact: &OpenedArtifact| {
        let words = words(artifact)?;
        let evidence = Evidence::file(&artifact.path).found(&words);
        Some(Violation::new(words, vec![evidence]))
    };
    Outcome::from_violations(case.folder.artifacts.iter().filter_map(violation).collect())
}

fn imports_code(case: &FolderCase) -> Outcome {
    each_model(case, |artifact| match &artifact.content {
        Opened::Refused(words) | Opened::Ambiguous(_, Some(words)) => Some(words.clone()),
        _ => None,
    })
}

fn ambiguous(case: &FolderCase) -> Outcome {
    each_model(case, |artifact| match &artifact.content {
        Opened::Ambiguous(words, _) => Some(words.clone()),
        _ => None,
    })
}

fn unclaimed(case: &FolderCase) -> Outcome {
    each_model(case, |artifact| {
        (!artifact.unclaimed.is_empty()).then(|| format!("{}: {}", artifact.path, artifact.unclaimed.join(", ")))
    })
}

fn not_opened(case: &FolderCase) -> Outcome {
    let mut opened = Vec::new();
    let mut violations = Vec::new();
    for artifact in &case.folder.artifacts {
        let words = match &artifact.content {
            Opened::Model { description, tensors, .. } => {
                opened.push(format!("{}: {description}, {tensors} tensors", artifact.path));
                continue;
            }
            Opened::Several(words) => {
                opened.push(words.clone());
                continue;
            }
            Opened::Refused(_) | Opened::Ambiguous(..) => continue,
            Opened::Unknown | Opened::Other => format!("{} is in no format this tool reads", artifact.path),
            Opened::NoModel(words) | Opened::Damaged(words) | Opened::Pointer(words) => words.clone(),
        };
        let evidence = vec![Evidence::file(&artifact.path)];
        // A format of its author's own was weighed and hashed, and nothing of it could be read by anybody else. What
        // looks like a known one and does not open is there, and was not examined.
        violations.push(match &artifact.content {
            Opened::Damaged(_) => Violation::not_examined(words, evidence),
            _ => Violation::new(words, evidence),
        });
    }
    match (violations.is_empty(), opened.is_empty()) {
        (false, _) => Outcome::Violated(violations),
        (true, false) => Outcome::holds(opened.join("; ")),
        (true, true) => Outcome::NotApplicable,
    }
}

fn anomalies(case: &FolderCase, kind: AnomalyKind, words: &str) -> Outcome {
    let violations = case
        .folder
        .anomalies
        .iter()
        .filter(|anomaly| anomaly.kind == kind)
        .map(|anomaly| {
            let evidence = vec![Evidence::file(anomaly.path.clone()).found(&anomaly.detail)];
            let message = format!("{} {words} {}", anomaly.path, anomaly.detail);
            match kind {
                AnomalyKind::TooMuch | AnomalyKind::Unreadable => Violation::not_examined(message, evidence),
                AnomalyKind::Link | AnomalyKind::Special | AnomalyKind::Name => Violation::new(message, evidence),
            }
        })
        .collect();
    Outcome::from_violations(violations)
}

fn too_much(case: &FolderCase) -> Outcome {
    let mut violations = match anomalies(case, AnomalyKind::TooMuch, "was not read whole:") {
        Outcome::Violated(violations) => violations,
        _ => Vec::new(),
    };
    for log in &case.folder.logs {
        if log.cut_short {
            let message = format!("{} was read up to {} bytes only", log.path, log.digest.bytes);
            violations.push(Violation::not_examined(message, vec![Evidence::file(&log.path)]));
        }
        if log.run_starts.len() >= MAX_RUNS {
            let message = format!("{} tells of more than {MAX_RUNS} runs; later ones were not told apart", log.path);
            violations.push(Violation::not_examined(message, vec![Evidence::file(&log.path)]));
        }
        if log.overlong > 0 {
            let message = format!("{} lines of {} are longer than a line of a log can be", log.overlong, log.path);
            violations.push(Violation::new(message, vec![Evidence::file(&log.path)]).graded(Severity::Note));
        }
    }
    Outcome::from_violations(violations)
}

/// zip (torch.save since 1.6) and pickle protocol 2 to 5.
fn is_pickle(head: &[u8]) -> bool {
    matches!(head, [b'P', b'K', 3, 4, ..] | [0x80, 2..=5, ..])
}

fn pickle(case: &FolderCase) -> Outcome {
    let by_name = |path: &str| [".pt", ".pth", ".pkl", ".pickle", ".ckpt"].iter().any(|end| path.ends_with(end));
    // What was opened is known; of anything else, the name and the first bytes have to do.
    let opened = |path: &str| case.folder.artifacts.iter().find(|artifact| artifact.path == path);
    let files: Vec<Evidence> = case
        .folder
        .of_kind(FileKind::Artifact)
        .filter(|file| match opened(&file.path) {
            Some(OpenedArtifact { content: Opened::Model { .. }, pickles, .. }) => *pickles > 0,
            _ => is_pickle(&file.head) || by_name(&file.path),
        })
        .map(|file| Evidence::file(&file.path).found(format!("{} bytes", file.bytes)))
        .collect();
    if files.is_empty() {
        return Outcome::HOLDS;
    }
    Outcome::violated(format!("{} pickled file(s); never load them", files.len()), files)
}
