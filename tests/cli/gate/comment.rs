//! The comment on a pull request: on the right one, one only, and inert whatever the report holds.

use std::path::PathBuf;
use std::process::Output;

use super::{script, shell_program};

const HEAD: &str = "0123456789abcdef0123456789abcdef01234567";

/// GitHub, as far as the script asks it: canned documents, filtered by jq as `gh` would, and a log of what was written.
const GH: &str = r#"
set -eu
printf '%s\n' "$*" >> "$GITHUB_FAKE/calls"
jq= method=GET url=
while (($#)); do
  case "$1" in
    --jq) jq=$2; shift 2 ;;
    --method) method=$2; shift 2 ;;
    --raw-field) printf '%s\n' "$2" >> "$GITHUB_FAKE/fields"; shift 2 ;;
    --field) cat -- "${2#body=@}" > "$GITHUB_FAKE/body"; shift 2 ;;
    repos/*) url=$1; shift ;;
    *) shift ;;
  esac
done
case "$method $url" in
  "GET repos/o/r/pulls") jq -r "$jq" "$GITHUB_FAKE/pulls.json" ;;
  "GET repos/o/r/issues/"*"/comments") jq -r "$jq" "$GITHUB_FAKE/comments.json" ;;
  *) printf '%s %s\n' "$method" "$url" >> "$GITHUB_FAKE/written" ;;
esac
"#;

/// A pretended GitHub and a report folder.
struct GitHub(tempfile::TempDir);

impl GitHub {
    /// None where there is no jq to filter with.
    fn new() -> Option<GitHub> {
        if std::process::Command::new("jq").arg("--version").output().is_err() {
            eprintln!("skipped: needs jq");
            return None;
        }
        let github = GitHub(tempfile::tempdir().unwrap());
        std::fs::create_dir(github.path("bin")).unwrap();
        std::fs::create_dir(github.path("report")).unwrap();
        shell_program(&github.path("bin/gh"), GH);
        let pulls = format!(
            r#"[{{"number": 12, "head": {{"sha": "{}"}}}}, {{"number": 7, "head": {{"sha": "{HEAD}"}}}}]"#,
            HEAD.replace('0', "f")
        );
        github.write("pulls.json", &pulls);
        github.write("comments.json", "[]");
        github.write("report/report.txt", "audit complete\n");
        Some(github)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Runs the script as the action does, with some variables set otherwise.
    fn comment(&self, others: &[(&str, &str)]) -> Output {
        for name in ["calls", "fields", "body", "written"] {
            let _ = std::fs::remove_file(self.path(name));
        }
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        script("comment/comment.sh")
            .env("PATH", path)
            .env("GITHUB_FAKE", self.0.path())
            .env("REPORT_FOLDER", self.path("report"))
            .envs([("GH_TOKEN", "t"), ("GITHUB_REPOSITORY", "o/r"), ("CONCLUSION", "failure")])
            .envs([("RUN_URL", "https://example.org/run/1"), ("HEAD_SHA", HEAD)])
            .envs([("HEAD_OWNER", "stranger"), ("HEAD_BRANCH", "a&b=c#d")])
            .envs(others.iter().copied())
            .output()
            .unwrap()
    }
}

#[test]
fn the_pull_request_is_the_one_whose_head_was_checked() {
    let Some(github) = GitHub::new() else { return };
    // What the report claims about itself does not matter.
    github.write("report/number", "99");
    github.write("report/report.txt", "pull request 99\n");
    let output = github.comment(&[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(github.read("written"), "POST repos/o/r/issues/7/comments\n");
    assert_eq!(github.read("fields"), "state=open\nhead=stranger:a&b=c#d\n");
    let body = github.read("body");
    assert!(body.starts_with("<!-- golf-harness: gate -->\n"), "{body}");
    assert!(body.contains(&format!("commit {} does not pass", &HEAD[..12])) && body.contains("run/1"), "{body}");
}

#[test]
fn nothing_is_written_where_the_head_has_moved_or_the_event_is_odd() {
    let Some(github) = GitHub::new() else { return };
    let moved = HEAD.replace('7', "8");
    assert!(github.comment(&[("HEAD_SHA", &moved)]).status.success());
    for (name, value) in [
        ("HEAD_SHA", "\") | .number, (\""),
        ("HEAD_SHA", "abc"),
        ("HEAD_OWNER", ""),
        ("PULL_REQUEST", "7/../8"),
        ("TITLE", "x --> <img>"),
        ("GH_TOKEN", ""),
    ] {
        assert_eq!(github.comment(&[(name, value)]).status.code(), Some(2), "{name}={value}");
        assert_eq!(github.read("written"), "", "{name}={value}");
    }
}

#[test]
fn the_comment_of_before_is_updated_and_nobody_elses() {
    let Some(github) = GitHub::new() else { return };
    let comment = |id: u32, login: &str, title: &str| {
        format!(r#"{{"id": {id}, "user": {{"login": "{login}"}}, "body": "<!-- golf-harness: {title} -->\nold"}}"#)
    };
    let forged = comment(1, "stranger", "gate");
    let (other, own) = (comment(2, "github-actions[bot]", "rerun"), comment(3, "github-actions[bot]", "gate"));
    github.write("comments.json", format!("[{forged}, {other}]"));
    github.comment(&[]);
    assert_eq!(github.read("written"), "POST repos/o/r/issues/7/comments\n");
    github.write("comments.json", format!("[{forged}, {other}, {own}]"));
    github.comment(&[]);
    assert_eq!(github.read("written"), "PATCH repos/o/r/issues/comments/3\n");
    github.comment(&[("TITLE", "rerun"), ("PULL_REQUEST", "12"), ("CONCLUSION", "success")]);
    assert_eq!(github.read("written"), "PATCH repos/o/r/issues/comments/2\n");
    assert!(github.read("body").contains(" passes.**"));
}

#[test]
fn a_hostile_report_is_text_and_stays_small() {
    let Some(github) = GitHub::new() else { return };
    let hostile = [
        b"````\n</details>\n# Approved by @openai ![x](https://example.org/x.png)\n<!-- golf-harness: gate -->\n"
            .as_slice(),
        b"\x1b[2J\x00\r\x07 \xe2\x80\xaereversed \xc2\x9b31m \xff\xfe half \xe2\x82\n`````` six\n",
    ]
    .concat();
    github.write("report/report.txt", &hostile);
    assert!(github.comment(&[]).status.success());
    let body = github.read("body");
    let fence = "`".repeat(7);
    let inside: Vec<&str> = body.split(&fence).collect();
    assert_eq!(inside.len(), 3, "one block, opened and closed: {body}");
    assert!(
        inside[1].contains("@openai") && !inside[0].contains("@openai") && !inside[2].contains("@openai"),
        "{body}"
    );
    let odd = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(!body.contains(odd), "{body:?}");

    for report in ["x".repeat(2_000_000), "\u{20ac}\n".repeat(500_000), "`".repeat(1_000_000)] {
        github.write("report/report.txt", &report);
        let output = github.comment(&[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let body = github.read("body");
        assert!(body.len() < 65_536, "{}", body.len());
        assert!(body.contains("The rest is in the artifact") || body.contains("made of fences"), "{}", &body[..300]);
    }
}

#[test]
fn without_a_report_the_comment_says_so_and_links_are_not_followed() {
    let Some(github) = GitHub::new() else { return };
    let report = github.path("report/report.txt");
    std::fs::remove_file(&report).unwrap();
    github.comment(&[]);
    assert!(github.read("body").contains("There is no report"));
    github.write("secret", "the runner's own\n");
    std::os::unix::fs::symlink(github.path("secret"), &report).unwrap();
    github.comment(&[]);
    assert!(!github.read("body").contains("the runner's own"), "{}", github.read("body"));
}

#[test]
fn the_comment_reads_well() {
    let Some(github) = GitHub::new() else { return };
    let audit = crate::support::golf("verify")
        .current_dir(crate::support::fixture("submissions"))
        .args(["wrong-denominator", "--no-config"])
        .output()
        .unwrap();
    github.write("report/report.txt", audit.stdout);
    github.comment(&[]);
    insta::assert_snapshot!(github.read("body"));
}
