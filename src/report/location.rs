//! Where a piece of evidence lies in the repository, for formats that point at files.

use super::{Evidence, Report, SubjectKind};

/// Path of the evidence from where `verify` was started, with `/` between parts; empty if it is about a change as a
/// whole, which is no file.
///
/// A folder's evidence is relative to the folder, a manifest's to the folder the manifest lies in, a change's to the
/// repository.
pub(super) fn path(report: &Report, evidence: &Evidence) -> String {
    let subject = report.subject.replace('\\', "/");
    let subject = subject.trim_start_matches("./").trim_end_matches('/');
    let base = match report.kind {
        SubjectKind::RecordFolder => subject,
        SubjectKind::Manifest => subject.rsplit_once('/').map_or("", |(folder, _)| folder),
        SubjectKind::Change => "",
    };
    match (base, evidence.path.as_str()) {
        ("", "") if report.kind == SubjectKind::Change => String::new(),
        ("", "") => subject.to_string(),
        ("" | ".", path) => path.to_string(),
        (_, "") => subject.to_string(),
        (base, path) => format!("{base}/{path}"),
    }
}

/// Message with what was found and expected, for formats without a place for them.
pub(super) fn sentence(message: &str, evidence: Option<&Evidence>) -> String {
    let mut sentence = message.to_string();
    if let Some(found) = evidence.and_then(|e| e.found.as_deref()) {
        sentence.push_str(&format!(" (found: {found}"));
        if let Some(expected) = evidence.and_then(|e| e.expected.as_deref()) {
            sentence.push_str(&format!("; expected: {expected}"));
        }
        sentence.push(')');
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn evidence_is_placed_by_the_kind_of_its_subject() {
        let mut report = sample::audit().reports.remove(0);
        let evidence = Evidence::at("train.log", 3);
        for (kind, subject, expected) in [
            (SubjectKind::RecordFolder, "./records/a/", "records/a/train.log"),
            (SubjectKind::RecordFolder, ".", "train.log"),
            (SubjectKind::Manifest, "manifests/pr-286.yaml", "manifests/train.log"),
            (SubjectKind::Change, "main..head", "train.log"),
            (SubjectKind::Manifest, "pr-286.yaml", "train.log"),
        ] {
            (report.kind, report.subject) = (kind, subject.to_string());
            assert_eq!(path(&report, &evidence), expected, "{kind:?} {subject}");
        }
        assert_eq!((report.kind, path(&report, &Evidence::default())), (SubjectKind::Manifest, "pr-286.yaml".into()));
        (report.kind, report.subject) = (SubjectKind::Change, "0123456789ab..ba9876543210".into());
        assert_eq!(path(&report, &Evidence::default()), "");
        report.kind = SubjectKind::RecordFolder;
        report.subject = "records/a".into();
        assert_eq!(path(&report, &Evidence::default()), "records/a");
    }
}
