//! The documents a submission consists of: are they there, and where they belong.

use super::{DEFAULT, FILE_LIST, cite};
use crate::manifest::Track;
use crate::report::{Evidence, RuleId, Severity};
use crate::rules::{Check, FolderCase, Outcome, Rule, Violation};
use crate::submission::FileKind;
use crate::units::{Bytes, group_digits};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: RuleId("no_submission_json"),
        statement: "There is no submission.json.",
        reference: FILE_LIST,
        severity: Severity::Fail,
        why: "Nothing states the claim in a form that can be compared.",
        example: "a folder with README.md and train_gpt.py only",
        check: Check::Folder(no_submission),
        ..DEFAULT
    },
    Rule {
        id: RuleId("no_readme"),
        statement: "There is no README.",
        reference: FILE_LIST,
        severity: Severity::Fail,
        why: "Nobody can tell what was done.",
        example: "submission.json, train.log and train_gpt.py only",
        check: Check::Folder(no_readme),
        ..DEFAULT
    },
    Rule {
        id: RuleId("readme_too_short"),
        statement: "The README is too short to explain a submission.",
        reference: FILE_LIST,
        why: "The README is to explain the approach in detail.",
        example: "a README of 268 bytes",
        check: Check::Folder(short_readme),
        ..DEFAULT
    },
    Rule {
        id: RuleId("readme_mentions_invalid"),
        statement: "The README calls something invalid, withdrawn or retracted.",
        reference: "custom: authors mark withdrawn claims in the README",
        severity: Severity::Note,
        why: "The author may have withdrawn the claim.",
        example: "> **Withdrawn**: byte counting was wrong",
        check: Check::Folder(invalid),
        ..DEFAULT
    },
    Rule {
        id: RuleId("readme_calls_numbers_placeholders"),
        statement: "The README says that numbers or logs are placeholders.",
        reference: "custom: a submission is final",
        why: "Either the README is out of date or the numbers are not real.",
        example: "`submission.json` and `train.log` are placeholders until we have three runs logged.",
        check: Check::Folder(placeholders),
        ..DEFAULT
    },
    Rule {
        id: RuleId("claimed_bpb_not_in_readme"),
        statement: "The README never mentions the claimed bits per byte.",
        reference: "custom",
        severity: Severity::Note,
        why: "README and submission.json may describe different runs.",
        example: "submission.json claims 1.1628, the README has no such number",
        check: Check::Folder(not_in_readme),
        ..DEFAULT
    },
    Rule {
        id: RuleId("folder_outside_tracks"),
        statement: "The folder does not stand directly below a track folder.",
        reference: "challenge README: one new folder under records/track_10min_16mb or records/track_non_record_16mb",
        severity: Severity::Fail,
        why: "It belongs to no track, so no rules apply to it.",
        example: "records/lzma6",
        check: Check::Folder(outside),
        ..DEFAULT
    },
    Rule {
        id: RuleId("track_mismatch"),
        statement: "submission.json names another track than the folder stands in.",
        reference: "challenge README: tracks are folders",
        why: "The two tracks have different rules.",
        example: "\"track\": \"10min_16mb\" below records/track_non_record_16mb",
        check: Check::Folder(mismatch),
        ..DEFAULT
    },
    Rule {
        id: RuleId("no_train_log"),
        statement: "There is no training log.",
        reference: FILE_LIST,
        severity: Severity::Fail,
        evidence: crate::rules::EvidenceKind::Logs,
        why: "Without a log nothing supports the claim.",
        example: "README.md, submission.json, train_gpt.py",
        check: Check::Folder(no_log),
        ..DEFAULT
    },
    Rule {
        id: RuleId("no_train_gpt"),
        statement: "There is no train_gpt.py.",
        reference: FILE_LIST,
        severity: Severity::Fail,
        why: "The challenge runs the file of that name, and counts its bytes.",
        example: "train_hybrid.py only",
        check: Check::Folder(no_main),
        ..DEFAULT
    },
    Rule {
        id: RuleId("extra_python_files"),
        statement: "There is Python besides train_gpt.py.",
        reference: "challenge README: counted code should live in train_gpt.py; custom (#1420, #1835): other files needed at run time count too",
        severity: Severity::Note,
        why: "Whatever runs must be counted; a helper module is easily left out of the total.",
        example: "ngram_tilt.py, 12,345 bytes",
        check: Check::Folder(extra_python),
        ..DEFAULT
    },
    Rule {
        id: RuleId("carries_tokenizer"),
        statement: "The folder carries a tokenizer.",
        reference: "open question (#43): whether tokenizer bytes count was never ruled; all records leave them out",
        severity: Severity::Note,
        why: "Another tokenizer changes val_bpb's accounting and has to be shown correct.",
        example: "fineweb_4096_bpe.model",
        check: Check::Folder(tokenizer),
        ..DEFAULT
    },
    Rule {
        id: RuleId("artifact_present"),
        statement: "The folder carries a model artifact.",
        reference: "custom: artifacts are not asked for",
        severity: Severity::Note,
        why: "With the artifact the score can be recomputed.",
        example: "final_model.int6.ptz, 15,425,120 bytes",
        check: Check::Folder(artifact),
        ..DEFAULT
    },
];

fn no_submission(case: &FolderCase) -> Outcome {
    if case.folder.of_kind(FileKind::Submission).next().is_some() {
        return Outcome::HOLDS;
    }
    missing(case, "submission.json", &["json"])
}

/// A file that is not there, or is there under a name that is nearly right.
fn missing(case: &FolderCase, name: &str, extensions: &[&str]) -> Outcome {
    match near_miss(case, name, extensions) {
        Some(path) => {
            let evidence = Evidence::file(path).expected(name);
            Outcome::violated(format!("{name} is missing; {path} is probably meant: rename it"), vec![evidence])
        }
        None => Outcome::violated(format!("{name} is missing"), vec![Evidence::file("").expected(name)]),
    }
}

/// Letters that a misspelled name may differ in.
const MISSPELLED_LETTERS: usize = 2;

/// The file whose name is most like `name`: misspelled, with another ending or a copy's number, or in a folder below.
fn near_miss<'a>(case: &FolderCase<'a>, name: &str, extensions: &[&str]) -> Option<&'a str> {
    let stem = |file: &str| -> String {
        let file = file.to_ascii_lowercase();
        let known = |end: &str| extensions.contains(&end) || matches!(end, "txt" | "md" | "jsonl" | "bak");
        let mut rest = file.as_str();
        while let Some((start, end)) = rest.rsplit_once('.')
            && known(end)
        {
            rest = start;
        }
        rest.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '(' | ')' | ' ' | '_' | '-')).to_string()
    };
    let wanted = stem(name);
    let has_kind = |file: &str| extensions.iter().any(|end| file.to_ascii_lowercase().contains(&format!(".{end}")));
    case.folder
        .files
        .iter()
        .map(|file| file.path.as_str())
        .filter_map(|path| {
            let file = path.rsplit('/').next().unwrap_or(path);
            let distance = strsim::damerau_levenshtein(&stem(file), &wanted);
            let fits = distance <= MISSPELLED_LETTERS && has_kind(file) && path != name;
            fits.then_some((distance, path.matches('/').count(), path))
        })
        .min()
        .map(|(_, _, path)| path)
}

fn no_readme(case: &FolderCase) -> Outcome {
    match &case.folder.readme {
        Some(_) => Outcome::HOLDS,
        None => missing(case, "README.md", &["md", "txt", "rst"]),
    }
}

/// Shorter READMEs explain nothing (the shortest of a merged record has 1,011 bytes).
const SHORT_README: u64 = 400;

fn short_readme(case: &FolderCase) -> Outcome {
    let Some(readme) = &case.folder.readme else { return Outcome::NotApplicable };
    if readme.bytes >= SHORT_README {
        return Outcome::HOLDS;
    }
    let message = format!("{} has {} bytes (at least {SHORT_README} expected)", readme.path, Bytes(readme.bytes));
    Outcome::violated(message, vec![Evidence::file(&readme.path)])
}

/// First line with one of the words (lower-case), as evidence.
fn lines_with(readme: &crate::submission::Readme, words: &[&str]) -> Vec<Evidence> {
    readme
        .text
        .lines()
        .enumerate()
        .filter(|(_, line)| {
            let lower = line.to_ascii_lowercase();
            words.iter().any(|word| lower.contains(word))
        })
        .map(|(i, line)| Evidence::at(&readme.path, i as u64 + 1).found(line))
        .collect()
}

fn invalid(case: &FolderCase) -> Outcome {
    let Some(readme) = &case.folder.readme else { return Outcome::NotApplicable };
    let evidence: Vec<Evidence> = lines_with(readme, &["withdrawn", "retracted", "invalid"])
        .into_iter()
        .filter(|evidence| {
            let line = evidence.found.as_deref().unwrap_or_default().to_ascii_lowercase();
            line.split(|c: char| !c.is_ascii_alphabetic())
                .any(|word| matches!(word, "invalid" | "withdrawn" | "retracted"))
        })
        .collect();
    if evidence.is_empty() {
        return Outcome::HOLDS;
    }
    Outcome::violated(format!("{} speaks of invalid or withdrawn results", readme.path), evidence)
}

fn placeholders(case: &FolderCase) -> Outcome {
    let Some(readme) = &case.folder.readme else { return Outcome::NotApplicable };
    let names = ["submission.json", "train.log", "log", "number", "result", "metric", "val_bpb", "score"];
    let words = ["placeholder", "tbd", "<fill", "fill after", "to be filled"];
    let evidence: Vec<Evidence> = lines_with(readme, &words)
        .into_iter()
        .filter(|evidence| {
            let line = evidence.found.as_deref().unwrap_or_default().to_ascii_lowercase();
            names.iter().any(|name| line.contains(name))
        })
        .collect();
    if evidence.is_empty() {
        return Outcome::HOLDS;
    }
    let logged = case.folder.logs.iter().any(|log| log.last_final().is_some());
    let but = if logged { ", but a log holds final numbers" } else { "" };
    Outcome::violated(format!("{} calls its numbers placeholders{but}", readme.path), evidence)
}

fn not_in_readme(case: &FolderCase) -> Outcome {
    let (Some(readme), Some(json)) = (&case.folder.readme, &case.folder.submission) else {
        return Outcome::NotApplicable;
    };
    let Some(claim) = json.bpb() else { return Outcome::unknown("no bits per byte are claimed") };
    // To four decimals, rounded or cut off: what READMEs print.
    let value = claim.number.value();
    if value <= 0.0 {
        return Outcome::NotApplicable;
    }
    let mut forms = vec![claim.number.text().to_string()];
    let digits = (claim.number.decimals() as usize).clamp(2, 4);
    let scale = 10f64.powi(digits as i32);
    forms.push(format!("{value:.digits$}"));
    forms.push(format!("{:.digits$}", (value * scale).floor() / scale));
    if forms.iter().any(|form| readme.text.contains(form.as_str())) {
        return Outcome::HOLDS;
    }
    Outcome::violated(format!("{} does not mention {}", readme.path, claim.number), vec![cite(json, &claim)])
}

fn outside(case: &FolderCase) -> Outcome {
    let Some(place) = &case.folder.repository_path else {
        return Outcome::unknown("the folder does not stand in a repository with a `records` folder");
    };
    let parts: Vec<&str> = place.split('/').collect();
    if case.folder.track_by_place().is_some() && parts.len() == 3 {
        return Outcome::HOLDS;
    }
    Outcome::violated(
        format!("it stands at {place}"),
        vec![
            Evidence::file("")
                .found(place)
                .expected("records/track_10min_16mb/NAME or records/track_non_record_16mb/NAME"),
        ],
    )
}

fn mismatch(case: &FolderCase) -> Outcome {
    let Some(json) = &case.folder.submission else { return Outcome::NotApplicable };
    let (Some(place), Some(stated)) = (case.folder.track_by_place(), json.track()) else {
        return Outcome::unknown("the folder's place or submission.json names no track");
    };
    if place == stated {
        return Outcome::HOLDS;
    }
    let name = |track| match track {
        Track::TenMinutes => "track_10min_16mb",
        Track::NonRecord => "track_non_record_16mb",
    };
    Outcome::violated(
        format!("submission.json says {}, the folder stands in {}", name(stated), name(place)),
        vec![
            Evidence::at(&json.path, json.line_of("track"))
                .found(json.text_field("track").unwrap_or_default())
                .expected(name(place)),
        ],
    )
}

fn no_log(case: &FolderCase) -> Outcome {
    // Whatever tells of a run, by content or by name.
    let of_a_run = |log: &&crate::submission::LogFile| {
        let file = log.path.rsplit('/').next().unwrap_or(&log.path).to_ascii_lowercase();
        let by_name = ["train", "seed", "run", "eval", "stdout"].iter().any(|word| file.contains(word));
        log.trains || !log.metrics.is_empty() || by_name
    };
    match case.folder.logs.iter().filter(of_a_run).count() {
        0 => Outcome::violated("no log of any run", vec![Evidence::file("").expected("train.log")]),
        1 => Outcome::HOLDS,
        n => Outcome::holds(format!("{n} logs")),
    }
}

fn no_main(case: &FolderCase) -> Outcome {
    if case.folder.main_code().is_some() {
        return Outcome::HOLDS;
    }
    let others: Vec<Evidence> = case
        .folder
        .code
        .iter()
        .filter(|code| code.path.ends_with(".py"))
        .map(|code| Evidence::file(&code.path))
        .collect();
    let near = near_miss(case, "train_gpt.py", &["py"]);
    let message = match others.len() {
        1 => format!("train_gpt.py is missing; {} is the only Python", others[0].path),
        _ if near.is_some() => format!("train_gpt.py is missing; {} is probably meant", near.unwrap_or_default()),
        0 => "train_gpt.py is missing, and there is no other Python".to_string(),
        n => format!("train_gpt.py is missing; there are {n} other Python files"),
    };
    // One script under another name is found by everybody.
    let severity = if others.len() == 1 { Severity::Warning } else { Severity::Fail };
    Outcome::Violated(vec![Violation::new(message, others).graded(severity)])
}

/// The script itself or another form of it (`train_gpt_source.py`, the unpacked text of a packed script).
fn is_script(path: &str) -> bool {
    path.starts_with("train_gpt") && !path.contains('/')
}

fn extra_python(case: &FolderCase) -> Outcome {
    let extra: Vec<&crate::submission::CodeText> =
        case.folder.code.iter().filter(|code| code.path.ends_with(".py") && !is_script(&code.path)).collect();
    if extra.is_empty() {
        return Outcome::HOLDS;
    }
    let bytes: u64 = extra.iter().map(|code| code.digest.bytes.0).sum();
    let evidence =
        extra.iter().map(|code| Evidence::file(&code.path).found(format!("{} bytes", code.digest.bytes))).collect();
    Outcome::violated(format!("{} more Python files, {} bytes", extra.len(), group_digits(bytes.into())), evidence)
}

fn listed(case: &FolderCase, kind: FileKind, what: &str) -> Outcome {
    let files: Vec<Evidence> = case
        .folder
        .of_kind(kind)
        .map(|file| Evidence::file(&file.path).found(format!("{} bytes", Bytes(file.bytes))))
        .collect();
    if files.is_empty() {
        return Outcome::NotApplicable;
    }
    Outcome::Violated(vec![Violation::new(format!("{} {what}", files.len()), files)])
}

fn tokenizer(case: &FolderCase) -> Outcome {
    listed(case, FileKind::Tokenizer, "tokenizer file(s)")
}

fn artifact(case: &FolderCase) -> Outcome {
    listed(case, FileKind::Artifact, "model file(s)")
}
