//! Whether a file that is there already is an earlier output of these commands, by its content.

use std::path::{Path, PathBuf};

use crate::artifact;
use crate::eval::PART_SCHEMA;
use crate::eval::sample::SAMPLE_PART_SCHEMA;
use crate::eval::ttt::TRACE_SCHEMA;
use crate::manifest;
use crate::path_safety::folder_of;
use crate::quant::ArtifactContainer;
use crate::regular_file;
use crate::report::{CSV_SUMMARY_HEADER, FINDING_SCHEMA, TREE_COLUMNS};
#[cfg(target_os = "linux")]
use crate::rerun::session::has_seeds;
use crate::run_folder::RunFolder;
use crate::site::{MARK, PAGE_MARK};

/// What an output holds.
#[cfg_attr(not(feature = "engine"), allow(dead_code, reason = "commands with an engine write them"))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A report of `verify`, in any format.
    Report,
    /// A file of a site, or a page by itself.
    Page,
    /// A picture of `pack`, `train` or `score`.
    Svg,
    /// A packed model.
    Artifact,
    /// A manifest with results.
    Manifest,
    /// A page of the manual.
    ManualPage,
    /// A part record of `score`.
    Part,
    /// A trace of test-time training.
    TttTrace,
    /// Numbers without a mark of their own, or a recipe that a person may have worked on: never recognized.
    Raw,
    /// State, checkpoint, trace or log of a run.
    OfTraining,
    /// What `rerun` writes beside the folders of its seeds.
    #[cfg(target_os = "linux")]
    OfRerun,
    /// What several seeds came to.
    Seeds,
    /// A copy of this file.
    CopyOf(PathBuf),
}

/// How much of a file is looked at.
const HEAD_BYTES: u64 = 64 << 10;
/// In-toto statements name every file before they say who made them.
const REPORT_BYTES: u64 = 16 << 20;
/// Manifests are read whole up to this size.
const MANIFEST_BYTES: u64 = 16 << 20;

/// Whether replacing the file loses nothing that is not an earlier output of this kind. An empty file loses nothing.
pub fn is_previous(path: &Path, kind: &Kind) -> bool {
    let limit = match kind {
        Kind::Manifest => MANIFEST_BYTES,
        Kind::Report => REPORT_BYTES,
        _ => HEAD_BYTES,
    };
    let Ok(head) = regular_file::read_head(path, limit) else { return false };
    if head.is_empty() {
        return true;
    }
    let text = String::from_utf8_lossy(&head);
    match kind {
        Kind::Report => is_report(&text),
        Kind::Page => is_page(&text),
        Kind::Svg => text.starts_with("<svg ") && is_picture(&text),
        // One of another kind is known by the manifest that names it, or before that is written, by its run.
        Kind::Artifact => artifact::is_golf(&head) || is_recorded(path) || is_of_run(path),
        Kind::Manifest => manifest::is_written(&text, path),
        Kind::ManualPage => text.lines().take(4).any(|line| line.starts_with(".TH golf-harness")),
        Kind::Part => {
            text.trim_start().starts_with('{')
                && [PART_SCHEMA, SAMPLE_PART_SCHEMA].iter().any(|schema| text.contains(schema))
        }
        Kind::TttTrace => text.starts_with(&format!("{{\"schema\":\"{TRACE_SCHEMA}\"")),
        Kind::Seeds => text.starts_with("{\n  \"schema\": \"golf-harness/seed-summary/"),
        Kind::Raw => false,
        Kind::OfTraining => has_trace(folder_of(path)),
        #[cfg(target_os = "linux")]
        Kind::OfRerun => has_seeds(folder_of(path)),
        Kind::CopyOf(source) => is_copy(path, source),
    }
}

/// Every file of a site, and every page that is one file, says so in a comment at its beginning.
fn is_page(text: &str) -> bool {
    let is_html = |mark| text.starts_with(&format!("<!doctype html>\n<!-- {mark} -->\n"));
    is_html(MARK) || is_html(PAGE_MARK) || text.starts_with(&format!("/* {MARK} */\n"))
}

/// Every report format begins as no other file does. What stands further down may be a quotation.
fn is_report(text: &str) -> bool {
    let start = text.trim_start();
    let first = start.lines().next().unwrap_or_default();
    let has_all = |text: &str, parts: &[&str]| parts.iter().all(|part| text.contains(part));
    let near = start.get(..start.floor_char_boundary(1024)).unwrap_or_default();
    match first.chars().next() {
        Some('{') => {
            near.split_whitespace().collect::<String>().starts_with("{\"schema\":\"golf-harness/audit/")
                || has_all(near, &["sarif", "\"runs\": [", "\"name\": \"golf-harness\""])
                || first.starts_with(&format!("{{\"schema\":\"{FINDING_SCHEMA}\""))
                || (first.starts_with("{\"_type\":\"https://in-toto.io/") && first.contains("\"golf-harness:policy/"))
        }
        Some('<') => has_all(near, &["<?xml", "<testsuites name=\"golf-harness verify\""]),
        Some(':') => ["::error ", "::warning ", "::notice "].iter().any(|tag| first.starts_with(tag)),
        Some('#') => first.starts_with("### `") && has_all(near, &["\nAudit ", "**. Rules: "]),
        Some('*') => first == "**Not examined**",
        Some('A') => first.starts_with("Audit ") && near.contains("| subject | audit | worst | level |"),
        _ => {
            first.starts_with("subject,policy,effective,level,") || first == CSV_SUMMARY_HEADER || is_text_report(first)
        }
    }
}

/// The first line of a report for people: of one subject, of a tree, or of a tree in which nothing is worth a line.
fn is_text_report(first: &str) -> bool {
    let is_subject = first.rsplit_once("  rules ").and_then(|(_, rules)| rules.split_once(" of ")).is_some();
    let is_of_tree = first.split_whitespace().eq(TREE_COLUMNS.split_whitespace());
    let is_total = first.split_once(" subjects: ").is_some_and(|(count, rest)| {
        count.parse::<usize>().is_ok() && rest.contains(" failing, ") && rest.ends_with(" clean")
    });
    // Of one severity that no subject has.
    let is_none = first.starts_with("showing 0 of ") && first.contains(" subjects, those with a finding of severity ");
    is_subject || is_of_tree || is_total || is_none
}

/// The pictures of `--plot`, of `pack --fit` and of `pack --inspect`.
fn is_picture(text: &str) -> bool {
    let is_plot = text.lines().nth(1) == Some(&format!("<!-- {PAGE_MARK} -->"));
    is_plot || text.contains("<title>Loss against bytes</title>") || is_map(text)
}

/// The picture of where the bytes of an artifact go.
fn is_map(text: &str) -> bool {
    text.contains("<title>Where the ") && text.contains(" go</title>")
}

/// Where the manifest of an artifact goes that has no run folder.
pub fn beside(artifact: &Path) -> PathBuf {
    let mut name = artifact.as_os_str().to_owned();
    name.push(".manifest.yaml");
    PathBuf::from(name)
}

/// Whether a written manifest beside it names it as its artifact.
fn is_recorded(path: &Path) -> bool {
    let name = |path: &Path| path.file_name().map(ToOwned::to_owned);
    let is_named_in = |manifest: &Path| {
        is_previous(manifest, &Kind::Manifest)
            && manifest::load(manifest)
                .is_ok_and(|manifest| manifest.artifact.is_some_and(|artifact| name(&artifact.path) == name(path)))
    };
    is_named_in(&RunFolder::new(folder_of(path)).manifest()) || is_named_in(&beside(path))
}

/// Whether it has the name of a packed model in the folder of a run.
fn is_of_run(path: &Path) -> bool {
    let name = path.file_name();
    ArtifactContainer::FILE_NAMES.iter().any(|own| name == Some(own.as_ref())) && has_trace(folder_of(path))
}

/// Whether a run of `train` keeps its files in this folder: its trace is begun before anything else.
fn has_trace(folder: &Path) -> bool {
    let trace = RunFolder::new(folder).trace();
    regular_file::read_head(&trace, 256).is_ok_and(|head| head.starts_with(b"{\"schema\":\"golf-harness/trace/"))
}

/// The same content, or the copy of a run folder whose manifest says that it made it.
fn is_copy(path: &Path, source: &Path) -> bool {
    let same = || Some(regular_file::read(path).ok()? == regular_file::read(source).ok()?);
    let mut folders = path.ancestors().skip(1).take(8);
    same() == Some(true)
        || folders.any(|folder| {
            let manifest_path = RunFolder::new(folder).manifest();
            is_previous(&manifest_path, &Kind::Manifest)
                && manifest::load(&manifest_path)
                    .is_ok_and(|manifest| manifest.code.iter().any(|code| folder.join(&code.path) == path))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_recognized_and_notes_are_not() {
        for ours in [
            "{\n  \"schema\": \"golf-harness/audit/v1\"}",
            "{\"schema\":\"golf-harness/finding/v1\",\"path\":\"rec\"}",
            "subject,policy,effective,level,val_bpb,rule\r\n",
            "subject,author,date,policy,val_bpb,total_bytes,level,status,worst,failures,warnings,review,rules\r\n",
            "::error file=a::b\n::notice file=a::b\n",
            "rec  rules 10min_16mb of 2026-03-18\n\nlevel 1 of 5: documented\n",
            "rec  rules 10min_16mb of 2026-03-18, folder of 2026-03-20\n",
            "verdict  subject      val_bpb        bytes  date        level       fail  warn  review  rules\n",
            "showing 0 of 3 subjects, those with a finding of severity review\n",
            "\n3 subjects: 0 failing, 0 with warnings, 0 to review, 3 clean\n",
            "Audit complete.\n\n| subject | audit | worst | level | fail |\n",
            "### `rec` fails\n\nAudit complete. **No level while 1 rule fails: over\\_budget**. Rules: 10min of 2026-03-20.\n",
        ] {
            assert!(is_report(ours), "{ours}");
        }
        for other in [
            "my notes",
            "{\"schema\": \"other\"}",
            "{\"val_bpb\": 1.1, \"blurb\": \"checked with golf-harness, schema golf-harness/audit/v1\"}",
            "import torch\n",
            "# README\n\n| a | b |\n\nVerified:\nrec  rules 10min of 2026-03-18\nlevel 1 of 5: documented\n",
            "<svg ></svg>",
            "Audit of my run\n",
        ] {
            assert!(!is_report(other), "{other}");
        }
    }
}
