//! What a stranger's names and texts do to reports: nothing, in any format, as other people's readers read them.
#![cfg(unix)]

use std::path::Path;

use serde_json::Value;

use crate::support::golf;

/// Texts that mean something to a terminal, a spreadsheet, a renderer, a parser or a CI service.
const HOSTILE: [&str; 12] = [
    "\u{1b}[2J\u{1b}]0;t\u{7}\u{9b}31m\u{8}",
    "\u{202e}\u{2066}x\u{2069}\u{200f}\u{200b}\u{feff}\u{2028}\u{85}\u{e0041}\u{3164}",
    "a\rb\r\nc\t=1",
    "=HYPERLINK(\"http:x?\"&A1)",
    "@SUM(1)|cmd;=1",
    "|a\\|`b` ```x``` <img src=x> ![i](j) **b**",
    "@octocat #1 www.x.example https:\u{2f}\u{2f}x.example :tada:",
    "```\n# H\n\n<script>",
    "]]>&<x a=\"b\"/>\u{1}\u{b}\u{ffff}",
    "::error file=a::b\n::stop-commands::t\n##[group]x %0A::error::z%0D,line=1::c",
    "a b%2e%2e?q#f\\c:d [click](javascript:x) {0}",
    "##vso[task.complete result=Succeeded;]",
];

/// A folder each, with the text as its name and everywhere in it.
fn submissions(root: &Path) {
    for (at, hostile) in HOSTILE.iter().enumerate() {
        let name = hostile.replace('/', "_");
        let folder = root.join(format!("records/track_10min_16mb/{name}{at}"));
        std::fs::create_dir_all(&folder).unwrap();
        let write = |file: &str, content: String| std::fs::write(folder.join(file), content).unwrap();
        let fields: serde_json::Map<String, Value> =
            ["name", "author", "github_id", "date", "val_bpb", "val_loss", "bytes_total", hostile]
                .map(|key| (key.to_string(), Value::from(*hostile)))
                .into_iter()
                .collect();
        write("submission.json", Value::Object(fields).to_string());
        write("README.md", format!("# {hostile}\n\n| seed {hostile} | val_bpb |\n|---|---|\n| 42 {hostile} | 1.1 |\n"));
        write("train_gpt.py", format!("import os\nos.system({hostile:?})\nx = os.environ[{hostile:?}]\n"));
        write("train_seed42.log", format!("seed:42\n{hostile}\nstep:1/2 val_loss:1 {hostile} val_bpb:{hostile}\n"));
        write(&format!("{name}.py"), format!("\"{hostile}\nx = = 1\n"));
        let pickle = format!("(S'x'\nios\nsystem {}\n.", hostile.replace('\n', " "));
        write(&format!("{name}.pt"), pickle);
        write("final_model.pt", "\u{2}cos\nsystem\n(tR.".into());
        std::os::unix::fs::symlink(&name, folder.join(format!("{name}.link"))).unwrap();
    }
}

fn report(root: &Path, arguments: &[&str]) -> String {
    let output = golf("verify").current_dir(root).arg("records").args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn shows_no_controls(text: &str, allowed: &[char]) {
    let is_bad = |c: &char| {
        (c.is_control() && !allowed.contains(c))
            || matches!(c, '\u{200b}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{3164}')
            || *c >= '\u{e0000}'
    };
    if let Some((at, c)) = text.char_indices().find(|(_, c)| is_bad(c)) {
        panic!(
            "{c:?} in {:?}",
            text.get(at.saturating_sub(40)..).map(|rest| rest.chars().take(80).collect::<String>())
        );
    }
    for line in text.lines() {
        assert!(!line.contains("##[") && !line.contains("##vso["), "{line}");
    }
}

#[test]
fn no_text_leaves_its_place_in_any_report() {
    let root = tempfile::tempdir().unwrap();
    submissions(root.path());
    for detail in ["--quiet", "--color=never", "-v"] {
        let text = |format: &str| report(root.path(), &[detail, "--format", format]);

        let plain = text("text");
        shows_no_controls(&plain, &['\n']);
        assert!(plain.lines().all(|line| !line.trim_start().starts_with("::")), "{plain}");

        let cells = text("csv");
        shows_no_controls(&cells, &['\r', '\n']);
        let mut rows = csv::ReaderBuilder::new().from_reader(cells.as_bytes());
        for cell in rows.records().flat_map(|row| row.unwrap().iter().map(str::to_string).collect::<Vec<_>>()) {
            let is_formula = cell.starts_with(['=', '+', '-', '@']) || cell.contains(";=");
            assert!(!is_formula || cell.parse::<f64>().is_ok() || cell == "-", "{cell}");
        }

        let junit = text("junit");
        shows_no_controls(&junit, &['\n']);
        let document = roxmltree::Document::parse(&junit).unwrap();
        assert_eq!(document.descendants().filter(|node| node.has_tag_name("testsuite")).count(), HOSTILE.len());
        assert!(document.descendants().all(|node| !node.has_tag_name("x")));

        let annotations = text("github");
        shows_no_controls(&annotations, &['\n']);
        let is_command = |line: &str| ["::error ", "::warning ", "::notice "].iter().any(|tag| line.starts_with(tag));
        assert!(annotations.lines().all(is_command), "{annotations}");

        let sarif: Value = serde_json::from_str(&text("sarif")).unwrap();
        for result in sarif["runs"][0]["results"].as_array().unwrap() {
            let message = result["message"]["text"].as_str().unwrap();
            shows_no_controls(message, &[]);
            assert!(!message.contains("[click](") && !message.replace("{{0}}", "").contains("{0}"), "{message}");
            let uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].as_str().unwrap();
            assert!(uri.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~/%".contains(&b)), "{uri}");
        }

        for format in ["json", "jsonl", "in-toto"] {
            let lines = text(format);
            shows_no_controls(&lines, &['\n']);
            let documents = serde_json::Deserializer::from_str(&lines).into_iter::<Value>();
            assert!(documents.map(Result::unwrap).count() > 0, "{format}");
        }

        let markdown = text("markdown");
        shows_no_controls(&markdown, &['\n']);
        for row in markdown.lines().filter(|line| line.starts_with("| ") && !line.starts_with("|--")) {
            let cells = row.replace("\\\\", "").replace("\\|", "").matches('|').count() - 1;
            assert!([2, 4, 7].contains(&cells), "{cells}: {row}");
            // What is left without code and escapes.
            let outside: String = row.split('`').step_by(2).collect();
            for word in ["@octocat", "<img", "<script", "https://x", "www.x", ":tada:", "**b", " #1"] {
                assert!(!outside.contains(word), "{word}: {row}");
            }
        }
    }
}

/// Errors quote names, too.
#[test]
fn an_error_is_no_command_either() {
    let root = tempfile::tempdir().unwrap();
    for hostile in ["x\n::error::y\u{1b}[31m", "##[group]x"] {
        let output = golf("verify").current_dir(root.path()).arg(hostile).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).unwrap();
        shows_no_controls(&said, &['\n']);
        assert!(said.lines().all(|line| !line.trim_start().starts_with("::")), "{said}");
    }
}
