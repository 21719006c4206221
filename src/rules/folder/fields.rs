//! submission.json as a document: readable, complete, of the right types.

use super::{DEFAULT, FILE_LIST};
use crate::report::{Evidence, RuleId, Severity};
use crate::rules::policy::is_iso_date;
use crate::rules::{Check, FolderCase, Outcome, Rule, Violation};
use crate::submission::text::Encoding;
use crate::submission::{DuplicateKey, SubmissionJson, json_kind};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: RuleId("json_unparseable"),
        statement: "submission.json is not JSON.",
        reference: "RFC 8259",
        severity: Severity::Fail,
        why: "No tool can read the claim.",
        example: "a comma missing at the end of line 13",
        check: Check::Folder(unparseable),
        ..DEFAULT
    },
    Rule {
        id: RuleId("json_has_bom"),
        statement: "submission.json starts with a byte-order mark.",
        reference: "RFC 8259, section 8.1",
        why: "Strict readers, Python's among them, refuse it.",
        example: "EF BB BF 7B",
        check: Check::Folder(bom),
        ..DEFAULT
    },
    Rule {
        id: RuleId("json_has_nan"),
        statement: "submission.json holds NaN or Infinity.",
        reference: "RFC 8259, section 6",
        why: "JSON has no such numbers; most readers refuse the file.",
        example: "\"val_loss\": NaN",
        check: Check::Folder(nan),
        ..DEFAULT
    },
    Rule {
        id: RuleId("json_missing_required"),
        statement: "submission.json lacks val_bpb, name, or both author and github_id; it fails where no score is found at all.",
        reference: FILE_LIST,
        severity: Severity::Fail,
        why: "The leaderboard is made from these fields.",
        example: "\"mean_val_bpb\" instead of \"val_bpb\"",
        check: Check::Folder(required),
        ..DEFAULT
    },
    Rule {
        id: RuleId("json_missing_recommended"),
        statement: "submission.json lacks author or github_id.",
        reference: FILE_LIST,
        severity: Severity::Note,
        why: "Who made it should be findable.",
        example: "no \"github_id\"",
        check: Check::Folder(recommended),
        ..DEFAULT
    },
    Rule {
        id: RuleId("val_bpb_not_number"),
        statement: "val_bpb is not a number.",
        reference: FILE_LIST,
        severity: Severity::Fail,
        why: "There is no claim to check.",
        example: "\"val_bpb\": \"TBD\"",
        check: Check::Folder(bpb_type),
        ..DEFAULT
    },
    Rule {
        id: RuleId("numeric_field_is_string"),
        statement: "A number in submission.json is written as text.",
        reference: "custom",
        why: "Readers that compare numbers pass over it.",
        example: "\"bytes_total\": \"15330834\"",
        check: Check::Folder(strings),
        ..DEFAULT
    },
    Rule {
        id: RuleId("json_placeholder_text"),
        statement: "submission.json holds placeholder text.",
        reference: "custom: a submission is final",
        why: "The claim was not filled in.",
        example: "\"status\": \"pending-compute\"",
        check: Check::Folder(placeholder),
        ..DEFAULT
    },
    Rule {
        id: RuleId("json_duplicate_key"),
        statement: "A field stands twice in submission.json.",
        reference: "RFC 8259 (2017-12), section 4: names within an object should be unique",
        why: "Readers keep one of the two, and not all the same one: with two different numbers under one claim two readers read two claims, which fails.",
        example: "\"val_bpb\": 1.1692 and, further down, \"val_bpb\": 1.1628",
        check: Check::Folder(duplicates),
        ..DEFAULT
    },
    Rule {
        id: RuleId("date_not_iso"),
        statement: "The date is not a calendar date YYYY-MM-DD.",
        reference: "custom; order of acceptance is chronological",
        severity: Severity::Note,
        why: "Dates decide which record was standing.",
        example: "\"date\": \"2026-03-XX\"",
        check: Check::Folder(date),
        ..DEFAULT
    },
];

/// submission.json, if it could be read as JSON of some kind.
fn json<'a>(case: &FolderCase<'a>) -> Option<&'a SubmissionJson> {
    case.folder.submission.as_ref().filter(|json| json.defect.is_none())
}

fn unparseable(case: &FolderCase) -> Outcome {
    let Some(json) = &case.folder.submission else { return Outcome::NotApplicable };
    if let Some(defect) = &json.defect {
        let evidence = Evidence::at(&json.path, defect.line).found(&defect.message);
        return Outcome::violated(format!("{} line {}: {}", json.path, defect.line, defect.message), vec![evidence]);
    }
    if json.encoding != Encoding::Utf8 {
        let message =
            format!("{} is {}; strict readers refuse it (read here all the same)", json.path, json.encoding.word());
        return Outcome::violated(
            message,
            vec![Evidence::at(&json.path, 1).found(json.encoding.word()).expected("utf-8")],
        );
    }
    Outcome::HOLDS
}

fn bom(case: &FolderCase) -> Outcome {
    match &case.folder.submission {
        None => Outcome::NotApplicable,
        Some(json) if json.encoding == Encoding::Utf8 || json.encoding == Encoding::Lossy => Outcome::HOLDS,
        Some(json) => {
            let evidence = Evidence::at(&json.path, 1).found(json.encoding.word()).expected("utf-8");
            Outcome::violated("it starts with a byte-order mark", vec![evidence])
        }
    }
}

fn nan(case: &FolderCase) -> Outcome {
    match &case.folder.submission {
        None => Outcome::NotApplicable,
        Some(json) if json.has_nan => {
            Outcome::violated("NaN or Infinity was read as null", vec![Evidence::file(&json.path)])
        }
        Some(_) => Outcome::HOLDS,
    }
}

/// Fields that are absent or empty text. `val_bpb: null` is another rule's business.
fn absent(json: &SubmissionJson) -> Vec<&'static str> {
    ["val_bpb", "name", "author", "github_id"]
        .into_iter()
        .filter(|key| match json.fields.get(*key) {
            None => true,
            Some(serde_json::Value::Null) => *key != "val_bpb",
            Some(serde_json::Value::String(text)) => *key != "val_bpb" && text.trim().is_empty(),
            Some(_) => false,
        })
        .collect()
}

fn is_essential(absent: &[&str]) -> bool {
    absent.contains(&"val_bpb")
        || absent.contains(&"name")
        || (absent.contains(&"author") && absent.contains(&"github_id"))
}

fn required(case: &FolderCase) -> Outcome {
    let Some(json) = json(case) else { return Outcome::NotApplicable };
    let absent = absent(json);
    if !is_essential(&absent) {
        return Outcome::HOLDS;
    }
    let evidence = vec![Evidence::file(&json.path).expected(absent.join(", "))];
    let scored = json.bpb().map(|claim| claim.key).or_else(|| json.any_bpb());
    // `val_bpb: null` is no score either; that it is null is another rule's failure.
    let says_nothing = absent.contains(&"val_bpb") && scored.is_none();
    let severity = if says_nothing { Severity::Fail } else { Severity::Warning };
    let elsewhere = match scored {
        Some(key) if absent.contains(&"val_bpb") => format!("; the number stands under {key}"),
        _ => String::new(),
    };
    let violation = Violation::new(format!("missing: {}{elsewhere}", absent.join(", ")), evidence);
    Outcome::Violated(vec![violation.graded(severity)])
}

fn recommended(case: &FolderCase) -> Outcome {
    let Some(json) = json(case) else { return Outcome::NotApplicable };
    let absent = absent(json);
    if absent.is_empty() || is_essential(&absent) {
        return Outcome::HOLDS;
    }
    Outcome::violated(
        format!("missing: {}", absent.join(", ")),
        vec![Evidence::file(&json.path).expected(absent.join(", "))],
    )
}

fn bpb_type(case: &FolderCase) -> Outcome {
    let Some(json) = json(case) else { return Outcome::NotApplicable };
    match json.fields.get("val_bpb") {
        None => Outcome::NotApplicable,
        Some(serde_json::Value::Number(_)) => Outcome::HOLDS,
        Some(other) => Outcome::violated(
            format!("val_bpb is {}", json_kind(other)),
            vec![Evidence::at(&json.path, json.line_of("val_bpb")).found(other).expected("a number")],
        ),
    }
}

fn strings(case: &FolderCase) -> Outcome {
    let Some(json) = json(case) else { return Outcome::NotApplicable };
    let evidence: Vec<Evidence> = ["bytes_total", "bytes_code", "bytes_model", "val_loss"]
        .into_iter()
        .filter_map(|key| {
            json.text_field(key)
                .filter(|text| !is_template(text))
                .map(|text| Evidence::at(&json.path, json.line_of(key)).found(format!("{key}: \"{text}\"")))
        })
        .collect();
    if evidence.is_empty() {
        return Outcome::HOLDS;
    }
    Outcome::violated(format!("{} number(s) written as text", evidence.len()), evidence)
}

/// `<fill after runs>`, `{{val_bpb}}`: a form that was not filled in.
fn is_template(text: &str) -> bool {
    let text = text.trim();
    let framed = text.starts_with('<') && text.ends_with('>') || text.starts_with("{{") && text.ends_with("}}");
    framed || text.starts_with("__") && text.ends_with("__") && text.len() > 4
}

/// Text that stands where something is still to come.
fn is_placeholder(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let words = ["placeholder", "pending", "tbd", "tba", "todo", "fixme", "xxx", "changeme", "unfilled"];
    let phrases = [
        "to be filled",
        "fill in",
        "fill after",
        "to be determined",
        "replace me",
        "your name",
        "yourname",
        "your_github",
    ];
    is_template(text)
        || lower.split(|c: char| !(c.is_ascii_alphanumeric())).any(|word| words.contains(&word))
        || phrases.iter().any(|phrase| lower.contains(phrase))
}

fn duplicates(case: &FolderCase) -> Outcome {
    let Some(json) = &case.folder.submission else { return Outcome::NotApplicable };
    let (claims, others): (Vec<&DuplicateKey>, Vec<_>) =
        json.duplicates.iter().partition(|duplicate| is_claim(&duplicate.key) && duplicate.numbers.is_some());
    let named = |duplicates: &[&DuplicateKey], what: fn(&DuplicateKey) -> String| {
        let names: Vec<String> = duplicates.iter().copied().map(what).collect();
        let at = |duplicate: &&DuplicateKey| Evidence::at(&json.path, json.line_of(&duplicate.key));
        let evidence = duplicates.iter().map(|duplicate| at(duplicate).found(&duplicate.key)).collect();
        Violation::new(
            format!("twice in one object: {}; readers differ in which they take", names.join(", ")),
            evidence,
        )
    };
    let mut violations = Vec::new();
    if !claims.is_empty() {
        let both = |duplicate: &DuplicateKey| match &duplicate.numbers {
            Some([first, next]) => format!("{} ({first} and {next})", spellings(duplicate)),
            None => spellings(duplicate),
        };
        violations.push(named(&claims, both).graded(Severity::Fail));
    }
    if !others.is_empty() {
        violations.push(named(&others, spellings));
    }
    Outcome::from_violations(violations)
}

/// The name, or both where they differ in letters.
fn spellings(duplicate: &DuplicateKey) -> String {
    match &duplicate.other_spelling {
        Some(other) => format!("{other} and {}", duplicate.key),
        None => duplicate.key.clone(),
    }
}

/// Whether a field holds a score, a size or seeds.
fn is_claim(key: &str) -> bool {
    let lower = key.to_ascii_lowercase();
    ["bpb", "val_loss", "bytes", "size", "seed"].iter().any(|word| lower.contains(word))
}

fn placeholder(case: &FolderCase) -> Outcome {
    let Some(json) = json(case) else { return Outcome::NotApplicable };
    let evidence: Vec<Evidence> = json
        .texts()
        .into_iter()
        .filter(|(_, text)| is_placeholder(text))
        .map(|(key, text)| Evidence::at(&json.path, json.line_of(key)).found(format!("{key}: {text}")))
        .collect();
    if evidence.is_empty() {
        return Outcome::HOLDS;
    }
    Outcome::violated("it holds placeholder text", evidence)
}

fn date(case: &FolderCase) -> Outcome {
    let Some(json) = json(case) else { return Outcome::NotApplicable };
    match json.fields.get("date") {
        None => Outcome::unknown("no date is given"),
        Some(value) => {
            let text = value.as_str().unwrap_or_default();
            // A time of day may follow.
            if text.get(..10).is_some_and(is_iso_date) {
                return Outcome::HOLDS;
            }
            Outcome::violated(
                format!("date is {value}"),
                vec![Evidence::at(&json.path, json.line_of("date")).found(value).expected("YYYY-MM-DD")],
            )
        }
    }
}
