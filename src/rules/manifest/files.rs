//! Files named by the manifest: there, of the stated size, with the stated content, and nothing beside them.

use crate::report::{Evidence, RuleId, Severity};
use crate::rules::{Check, ManifestCase, Outcome, Rule, Violation};
use crate::submission::{Found, NamedFile, Part};
use crate::units::Bytes;

const DEFAULT: Rule =
    Rule { reference: "manifest schema golf-harness/manifest/v1", severity: Severity::Fail, ..Rule::BLANK };

pub(super) const MISSING: Rule = Rule {
    id: RuleId("file_missing"),
    statement: "A file the manifest names is not there.",
    why: "What is not there cannot be checked. Data that everybody downloads may be elsewhere; code and artifact may not.",
    example: "artifact.path: model.golf, and the folder holds no model.golf",
    check: Check::Manifest(missing),
    ..DEFAULT
};

pub(super) const ELSEWHERE: Rule = Rule {
    id: RuleId("code_elsewhere"),
    statement: "A claim is told without its code, which the manifest says where to get.",
    severity: Severity::Note,
    why: "A recipe and a claim can be audited without the script; no level above `documented` is reached without it. \
          What is handed in must bring its code: beside an artifact, results of a run or a submission.json, or in a \
          manifest.yaml, a missing file is a failure, whatever `url` says.",
    example: "code: [{path: pr-286/train_gpt.py, bytes: 56721, sha256: ..., url: https://...}], and no such file",
    check: Check::Manifest(elsewhere),
    ..DEFAULT
};

pub(super) const UNREADABLE: Rule = Rule {
    id: RuleId("file_unreadable"),
    statement: "A file the manifest names is there but cannot be read.",
    why: "A check that could not be made must not look like one that passed.",
    example: "code[0].path names a folder",
    check: Check::Manifest(unreadable),
    ..DEFAULT
};

pub(super) const OUTSIDE: Rule = Rule {
    id: RuleId("path_outside_folder"),
    statement: "Code or artifact lies outside the manifest's folder.",
    why: "What counts must travel with the manifest; a path through `..` or a link also reads files of whoever checks.",
    example: "code[0].path: ../../etc/passwd",
    check: Check::Manifest(outside),
    ..DEFAULT
};

pub(super) const SIZE: Rule = Rule {
    id: RuleId("size_mismatch"),
    statement: "A file's size differs from the manifest.",
    why: "Sizes are recomputed, never believed: the budget is judged on what is on disk.",
    example: "artifact.bytes: 15425120, and the file has 15425121",
    check: Check::Manifest(size),
    ..DEFAULT
};

pub(super) const DIGEST: Rule = Rule {
    id: RuleId("digest_mismatch"),
    statement: "A file's SHA-256 or BLAKE3 differs from the manifest.",
    why: "The claim was made about other bytes than the ones here.",
    example: "one weight edited after packing",
    check: Check::Manifest(digest),
    ..DEFAULT
};

pub(super) const UNSEALED: Rule = Rule {
    id: RuleId("file_without_digest"),
    statement: "A named code file has no digest in the manifest.",
    severity: Severity::Warning,
    why: "Without a digest any file of that name passes.",
    example: "code: [{path: train_gpt.py, bytes: 56721}]",
    check: Check::Manifest(unsealed),
    ..DEFAULT
};

pub(super) const EXTRA: Rule = Rule {
    id: RuleId("file_unaccounted"),
    statement: "A file in the folder is named by no manifest.",
    severity: Severity::Warning,
    why: "A helper that is imported at run time but not counted makes the total too small.",
    example: "model.golf, train_gpt.py and, unnamed, tables.bin",
    check: Check::Manifest(extra),
    ..DEFAULT
};

pub(super) const DECODE: Rule = Rule {
    id: RuleId("artifact_undecodable"),
    statement: "The artifact does not decode.",
    why: "Bytes that nothing can read back are not a model.",
    example: "a truncated download",
    check: Check::Manifest(decode),
    ..DEFAULT
};

pub(super) const TENSORS: Rule = Rule {
    id: RuleId("artifact_tensors_differ"),
    statement: "The decoded artifact differs from the manifest's payload digest or tensor table.",
    why: "The same tensors compressed by another zstd differ as files and agree here; other tensors do not.",
    example: "blocks.0.attn.c_q.weight listed as int6, decoded as int8",
    check: Check::Manifest(tensors),
    ..DEFAULT
};

/// Code and artifact must be here; shards, tokenizer and training outputs usually lie elsewhere.
fn must_be_here(file: &NamedFile) -> bool {
    matches!(file.part, Part::Code | Part::Artifact)
}

fn path(file: &NamedFile) -> String {
    file.stated.path.display().to_string()
}

fn missing(case: &ManifestCase) -> Outcome {
    let gone: Vec<&NamedFile> = case.files.named.iter().filter(|file| matches!(file.found, Found::Missing)).collect();
    let violations: Vec<Violation> = gone
        .iter()
        .filter(|file| must_be_here(file) && !is_elsewhere(case, file))
        .map(|file| {
            let message = format!("{} names {}, which is not there", file.field, path(file));
            Violation::new(message, vec![Evidence::file(path(file)).expected("a file")])
        })
        .collect();
    if !violations.is_empty() {
        return Outcome::Violated(violations);
    }
    match gone.as_slice() {
        [] if case.files.named.is_empty() => Outcome::NotApplicable,
        [] => Outcome::HOLDS,
        [first, rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            Outcome::unknown(format!("not here, so not checked: {} ({}){more}", path(first), first.field))
        }
    }
}

fn is_elsewhere(case: &ManifestCase, file: &NamedFile) -> bool {
    case.files.code_elsewhere(case.manifest).any(|(other, _)| other.field == file.field)
}

fn elsewhere(case: &ManifestCase) -> Outcome {
    let told = |(file, url): (&NamedFile, &str)| {
        let (path, bytes) = (path(file), file.stated.bytes.unwrap_or_default());
        let message = format!(
            "{path} is not in this folder: its {bytes} bytes count as claimed and its digest was not checked; get it \
             from {url}"
        );
        Violation::new(message, vec![super::field(case, &file.field).found(&path)])
    };
    let told: Vec<Violation> = case.files.code_elsewhere(case.manifest).map(told).collect();
    if told.is_empty() { Outcome::NotApplicable } else { Outcome::Violated(told) }
}

fn unreadable(case: &ManifestCase) -> Outcome {
    let violation = |file: &NamedFile| match &file.found {
        Found::Unreadable(words) => Some(Violation::new(
            format!("{} cannot be read: {words}", path(file)),
            vec![Evidence::file(path(file)).found(words)],
        )),
        _ => None,
    };
    Outcome::from_violations(case.files.named.iter().filter_map(violation).collect())
}

fn outside(case: &ManifestCase) -> Outcome {
    let violation = |file: &NamedFile| match &file.found {
        Found::Outside(words) => Some(Violation::new(
            format!("{} was not opened: {words}", file.field),
            vec![super::field(case, &format!("{}.path", file.field)).found(path(file))],
        )),
        _ => None,
    };
    Outcome::from_violations(case.files.named.iter().filter_map(violation).collect())
}

/// Every file that was read, with what was stated about it.
fn read<'a>(case: &'a ManifestCase) -> impl Iterator<Item = (&'a NamedFile, crate::digest::ContentDigest)> {
    case.files.named.iter().filter_map(|file| match file.found {
        Found::Digest(digest) => Some((file, digest)),
        _ => None,
    })
}

fn size(case: &ManifestCase) -> Outcome {
    let stated: Vec<_> = read(case).filter_map(|(file, found)| Some((file, file.stated.bytes?, found.bytes))).collect();
    if stated.is_empty() {
        return Outcome::unknown("no file with a stated size is here");
    }
    let violations = stated
        .iter()
        .filter(|(_, stated, found)| stated != found)
        .map(|(file, stated, found)| {
            let message = format!("{} has {found} bytes, the manifest says {stated}", path(file));
            Violation::new(message, vec![Evidence::file(path(file)).found(found).expected(stated)])
        })
        .collect();
    Outcome::from_violations(violations)
}

fn digest(case: &ManifestCase) -> Outcome {
    let mut compared = 0;
    let mut violations = Vec::new();
    for (file, found) in read(case) {
        for (algorithm, stated, found) in
            [("SHA-256", file.stated.sha256, found.sha256), ("BLAKE3", file.stated.blake3, found.blake3)]
        {
            let Some(stated) = stated else { continue };
            compared += 1;
            if stated != found {
                let evidence = Evidence::file(path(file)).found(found).expected(stated);
                violations.push(Violation::new(
                    format!("{algorithm} of {} differs from the manifest", path(file)),
                    vec![evidence],
                ));
            }
        }
    }
    match (compared, violations.is_empty()) {
        (0, _) => Outcome::unknown("no file with a stated digest is here"),
        (_, true) => Outcome::holds(format!("{compared} digests agree")),
        (_, false) => Outcome::Violated(violations),
    }
}

fn unsealed(case: &ManifestCase) -> Outcome {
    if case.manifest.code.is_empty() {
        return Outcome::NotApplicable;
    }
    let open = |file: &&NamedFile| file.stated.sha256.is_none() && file.stated.blake3.is_none();
    let violations = case
        .files
        .of_part(Part::Code)
        .filter(open)
        .map(|file| {
            let message = format!("{} ({}) has no digest", file.field, path(file));
            Violation::new(message, vec![super::field(case, &file.field).expected("sha256 or blake3")])
        })
        .collect();
    Outcome::from_violations(violations)
}

fn extra(case: &ManifestCase) -> Outcome {
    if case.files.extra.is_empty() {
        return Outcome::HOLDS;
    }
    let evidence = case.files.extra.iter().map(Evidence::file).collect();
    let count = case.files.extra.len();
    Outcome::violated(
        format!("{count} file{} here that the manifest does not name", if count == 1 { "" } else { "s" }),
        evidence,
    )
}

fn decode(case: &ManifestCase) -> Outcome {
    match &case.files.decoded {
        None => Outcome::unknown("there is no artifact here to decode"),
        Some(Ok(decoded)) => Outcome::holds(format!("{} tensors decoded", decoded.tensors.len())),
        Some(Err(words)) => {
            let artifact = case.files.of_part(Part::Artifact).next().map(path).unwrap_or_default();
            Outcome::violated(format!("the artifact does not decode: {words}"), vec![Evidence::file(artifact)])
        }
    }
}

fn tensors(case: &ManifestCase) -> Outcome {
    let (Some(record), Some(Ok(decoded))) = (&case.manifest.artifact, &case.files.decoded) else {
        return Outcome::unknown("there is no decoded artifact to compare");
    };
    let mut violations = Vec::new();
    if record.payload != decoded.payload {
        let evidence = super::field(case, "artifact.payload.sha256");
        violations.push(Violation::new(
            format!("the payload has {} bytes, the manifest says {}", decoded.payload.bytes, record.payload.bytes),
            vec![evidence.found(decoded.payload.sha256).expected(record.payload.sha256)],
        ));
    }
    let stated: std::collections::BTreeMap<&str, _> = record.tensors.iter().map(|t| (t.name.as_str(), t)).collect();
    let found: std::collections::BTreeMap<&str, _> = decoded.tensors.iter().map(|t| (t.name.as_str(), t)).collect();
    for name in stated.keys().chain(found.keys()).collect::<std::collections::BTreeSet<_>>() {
        let message = match (stated.get(name), found.get(name)) {
            (Some(_), None) => format!("{name} is in the manifest and not in the artifact"),
            (None, Some(_)) => format!("{name} is in the artifact and not in the manifest"),
            (Some(a), Some(b)) if a.shape != b.shape => {
                format!("{name} has shape {:?}, the manifest says {:?}", b.shape, a.shape)
            }
            (Some(a), Some(b)) if a.class != b.class => {
                format!("{name} is held as {}, the manifest says {}", b.class, a.class)
            }
            (Some(a), Some(b)) if a.sha256 != b.sha256 => format!("{name} has other values than the manifest says"),
            _ => continue,
        };
        violations.push(Violation::new(message, vec![super::field(case, "artifact.tensors").found(name)]));
    }
    if violations.is_empty() {
        let bytes: u64 = decoded.tensors.iter().map(|t| t.shape.iter().product::<u64>()).sum();
        return Outcome::holds(format!("{} tensors, {} values agree", decoded.tensors.len(), Bytes(bytes)));
    }
    Outcome::Violated(violations)
}
