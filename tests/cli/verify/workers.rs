//! What hostile folders do to `verify`: each ends within bounds as a finding, and the others are audited.
#![cfg(unix)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use golf_harness::interrupt::Interrupt;
use golf_harness::report::{Report, Severity, Status};
use golf_harness::rules::Auditor;
use golf_harness::rules::audit::{self, Options};
use golf_harness::units::Bytes;
use golf_harness::worker::{Limits, Workers};
use serde_json::Value;

use crate::support::{fixture, golf};

fn program() -> &'static str {
    env!("CARGO_BIN_EXE_verify")
}

fn verify(args: &[&str]) -> (i32, Value) {
    let output = golf("verify").arg("--json").args(args).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let audit = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}{:?}", output.stderr));
    (output.status.code().unwrap(), audit)
}

/// A folder of its own for each set of files, below one root.
fn folder(root: &Path, name: &str, files: &[(&str, &[u8])]) {
    let folder = root.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    files.iter().for_each(|(file, content)| std::fs::write(folder.join(file), content).unwrap());
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// Rules that found something not examined, as `rule file`.
fn not_examined(report: &Value) -> Vec<String> {
    let findings = report["findings"].as_array().unwrap().iter();
    findings
        .filter(|finding| finding["incomplete"] == true || finding["broken"] == true)
        .map(|finding| {
            format!("{} {}", finding["rule"].as_str().unwrap(), finding["evidence"][0]["path"].as_str().unwrap())
        })
        .collect()
}

#[test]
fn reports_of_workers_are_those_of_this_process_byte_for_byte() {
    let submissions = fixture("submissions");
    let manifests: Vec<String> = ["manifests/smoke.yaml", "manifests/pr-286.yaml"]
        .map(|path| Path::new(env!("CARGO_MANIFEST_DIR")).join(path).display().to_string())
        .to_vec();
    let run = |extra: &[&str], threads: &str| {
        let mut command = golf("verify");
        command.env("RAYON_NUM_THREADS", threads).arg(&submissions).args(&manifests).args(["--json"]).args(extra);
        let output = command.output().unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let here = run(&["--in-process"], "1");
    assert!(here.1.contains("over_budget"));
    for threads in ["1", "4"] {
        assert!(run(&[], threads) == here, "{threads} threads");
    }
}

#[test]
fn what_only_costs_time_or_memory_is_reported_and_the_rest_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let nested = "[".repeat(1 << 20);
    let memo = [&b"\x80\x04X\x80\x84\x1e\0"[..], &b"a".repeat(2_000_000), b"\x940", &b"h\0h\0\x930".repeat(150), b"N."]
        .concat();
    let cases: &[(&str, &str, &[u8], &str)] = &[
        ("question-marks", "train_gpt.py", &b"?".repeat(100_000), "code_not_parsed train_gpt.py"),
        ("nul", "train_gpt.py", &vec![0; 2_000_000], "code_not_parsed train_gpt.py"),
        ("noise", "train_gpt.py", &b"\x0a\x0e\xe2\x96\x81$?\x15".repeat(30_000), "code_not_parsed train_gpt.py"),
        ("tokens", "train_gpt.py", &b"x\n".repeat(1_000_000), "code_not_parsed train_gpt.py"),
        ("brackets", "helper.py", nested.as_bytes(), "code_not_parsed helper.py"),
        (
            "streams",
            "final_model.ptz",
            &b"BZh9\x17\x72\x45\x38\x50\x90\0\0\0\0".repeat(50_000),
            "artifact_not_opened final_model.ptz",
        ),
        (
            "header",
            "m.safetensors",
            &[&9_000_000u64.to_le_bytes()[..], &vec![b'{'; 9_000_000]].concat(),
            "artifact_not_opened m.safetensors",
        ),
        ("json", "submission.json", nested.as_bytes(), ""),
        ("memo", "final_model.pt", &memo, ""),
        ("readme", "README.md", &b"```\nA=1 pip install x && torchrun y\n```\n".repeat(20_000), ""),
    ];
    for (name, file, content, _) in cases {
        folder(root.path(), &format!("track_x/{name}"), &[(file, content)]);
    }
    copy(&fixture("submissions/good"), &root.path().join("track_x/good"));
    let start = Instant::now();
    let (code, audit) = verify(&[root.path().to_str().unwrap()]);
    assert!(start.elapsed() < Duration::from_secs(120), "{:?}", start.elapsed());
    assert_eq!((code, &audit["status"]), (1, &Value::from("incomplete")));
    let reports = audit["reports"].as_array().unwrap();
    assert_eq!(reports.len(), cases.len() + 1);
    for report in reports {
        let name = report["subject"].as_str().unwrap().rsplit('/').next().unwrap();
        let expected: Vec<String> =
            cases.iter().filter(|c| c.0 == name && !c.3.is_empty()).map(|c| c.3.into()).collect();
        assert_eq!(not_examined(report), expected, "{name}");
        assert_eq!(report["status"], if expected.is_empty() { "complete" } else { "incomplete" }, "{name}");
    }
}

/// A folder in which nothing fails, and something was not read: neither a pass nor a failure.
#[test]
fn incomplete_is_exit_code_2_unless_it_is_allowed() {
    let root = tempfile::tempdir().unwrap();
    let place = root.path().join("records/track_10min_16mb/good");
    copy(&fixture("submissions/good"), &place);
    let path = place.to_str().unwrap();
    assert_eq!(verify(&[path]).0, 0);
    std::fs::write(place.join("notes.py"), b"?".repeat(100_000)).unwrap();
    let (code, audit) = verify(&[path]);
    assert_eq!((code, not_examined(&audit["reports"][0])), (2, vec!["code_not_parsed notes.py".to_string()]));
    assert_eq!(audit["reports"][0]["assurance"]["level"], "unreadable");
    assert_eq!(verify(&[path, "--allow", "code_not_parsed"]).0, 0);
    assert_eq!(verify(&[path, "--fail-on", "unknown"]).0, 1);
    for format in ["text", "json", "jsonl", "markdown", "sarif", "github", "junit", "csv", "in-toto"] {
        let output = golf("verify").args([path, "--format", format]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{format}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("incomplete"), "{format}");
    }
}

fn stopped(limits: Limits, place: &Path) -> Report {
    let workers = Workers::of(program().into(), vec![place.to_path_buf()], limits);
    let audit = |name: &str| workers.folder(&place.join(name), name.into(), &Options::default(), &Interrupt::none());
    // One worker has a subject before: what stops the next must not depend on it.
    let small = audit("small").unwrap();
    assert_eq!(small.status, Status::Complete);
    let report = audit("large").unwrap();
    assert_eq!(audit("small").unwrap(), small);
    report
}

/// A file that takes seconds to read. It is no sparse one, whose holes are not read: its blocks are there, unwritten.
fn long_file(path: &Path) {
    const BYTES: u64 = 1_000_000_000;
    let allocated = std::process::Command::new("fallocate").args(["-l", &BYTES.to_string()]).arg(path).status();
    if !allocated.is_ok_and(|status| status.success()) {
        let mut file = std::fs::File::create(path).unwrap();
        std::io::copy(&mut std::io::Read::take(std::io::repeat(0), BYTES), &mut file).unwrap();
    }
}

#[test]
fn a_limit_ends_one_audit_and_names_limit_and_file() {
    let root = tempfile::tempdir().unwrap();
    folder(root.path(), "small", &[("README.md", b"# x")]);
    let pickle = [&b"\x80\x04"[..], &b"]".repeat(1_000_000), b"."].concat();
    folder(root.path(), "large", &[("a.txt", b"x"), ("final_model.pt", &pickle)]);
    let usual = Limits::default();
    let report = stopped(Limits { memory: Bytes(60_000_000), ..usual }, root.path());
    let [finding] = report.findings.as_slice() else { panic!("{report:?}") };
    assert_eq!((finding.rule.0, finding.severity, report.status), ("audit_stopped", Severity::Unknown, Status::Broken));
    assert!(finding.message.contains("60,000,000") && finding.message.contains("memory"), "{}", finding.message);
    assert_eq!(finding.evidence[0].path, "final_model.pt");

    long_file(&root.path().join("large/zeros.dat"));
    let report = stopped(Limits { cpu: Duration::from_secs(0), ..usual }, root.path());
    let finding = &report.findings[0];
    assert!(finding.message.contains("processor time, while zeros.dat was read"), "{}", finding.message);
    let report = stopped(Limits { wall: Duration::from_millis(300), ..usual }, root.path());
    assert_eq!(report.findings[0].rule.0, "audit_stopped");
}

/// Processes whose parent is this one.
#[cfg(target_os = "linux")]
fn children(parent: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let after = stat.rsplit(") ").next().unwrap_or_default();
        if after.split(' ').nth(1) == Some(parent.to_string().as_str()) && !after.starts_with('Z') {
            found.push(id);
        }
    }
    found
}

#[cfg(target_os = "linux")]
fn signal(signal: &str, process: u32) {
    assert!(Command::new("kill").args([signal, &process.to_string()]).status().unwrap().success());
}

/// `verify` on a folder that takes seconds to read, and one that does not.
#[cfg(target_os = "linux")]
fn busy(root: &Path) -> std::process::Child {
    folder(root, "small", &[("submission.json", b"{}")]);
    folder(root, "slow", &[("submission.json", b"{}")]);
    long_file(&root.join("slow/zeros.dat"));
    let mut command = Command::new(program());
    command.arg("--json").arg(root).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env("RAYON_NUM_THREADS", "1").spawn().unwrap()
}

/// The worker that reads the large file of [`busy`], once one does.
#[cfg(target_os = "linux")]
fn busy_worker(started: &std::process::Child, root: &Path) -> u32 {
    worker_reading(started.id(), &root.join("slow/zeros.dat"))
}

/// The child of a process that has this file open, once one has.
#[cfg(target_os = "linux")]
fn worker_reading(parent: u32, file: &Path) -> u32 {
    let file = file.canonicalize().unwrap();
    let reads = |worker: &u32| {
        let files = std::fs::read_dir(format!("/proc/{worker}/fd")).into_iter().flatten().flatten();
        files.filter_map(|file| std::fs::read_link(file.path()).ok()).any(|path| path == file)
    };
    let start = Instant::now();
    loop {
        if let Some(worker) = children(parent).into_iter().find(reads) {
            return worker;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "no worker reads the file");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_worker_that_is_killed_is_a_finding_and_nothing_more() {
    let root = tempfile::tempdir().unwrap();
    let started = busy(root.path());
    signal("-KILL", busy_worker(&started, root.path()));
    let output = started.wait_with_output().unwrap();
    let audit: Value = serde_json::from_slice(&output.stdout).unwrap();
    let reports = audit["reports"].as_array().unwrap();
    assert_eq!((reports.len(), &audit["status"]), (2, &Value::from("broken")));
    let slow = reports.iter().find(|report| report["subject"].as_str().unwrap().ends_with("slow")).unwrap();
    assert_eq!(not_examined(slow), ["audit_stopped zeros.dat"]);
    let message = slow["findings"][0]["message"].as_str().unwrap();
    assert!(message.contains("signal 9"), "{message}");
}

/// A worker that a signal stopped uses no processor time.
#[cfg(target_os = "linux")]
#[test]
fn a_worker_that_stands_still_is_ended_by_the_clock() {
    let root = tempfile::tempdir().unwrap();
    folder(root.path(), "slow", &[("submission.json", b"{}")]);
    long_file(&root.path().join("slow/zeros.dat"));
    let limits = Limits { wall: Duration::from_secs(3), ..Limits::default() };
    let workers = Workers::of(program().into(), vec![root.path().to_path_buf()], limits);
    let (slow, options) = (root.path().join("slow"), Options::default());
    let report = std::thread::scope(|threads| {
        let audit = threads.spawn(|| workers.folder(&slow, "slow".into(), &options, &Interrupt::none()));
        signal("-STOP", worker_reading(std::process::id(), &slow.join("zeros.dat")));
        audit.join().unwrap().unwrap()
    });
    let finding = &report.findings[0];
    assert_eq!((finding.rule.0, report.status), ("audit_stopped", Status::Broken));
    assert!(finding.message.contains("more than 3 s"), "{}", finding.message);
}

#[test]
fn a_worker_that_cannot_be_started_is_a_finding_where_others_could() {
    let root = tempfile::tempdir().unwrap();
    // A worker that opened a pickle gets no other subject.
    folder(root.path(), "a", &[("final_model.pt", b"\x80\x02}.")]);
    let own = root.path().join("verify");
    let workers = Workers::of(own.clone(), vec![root.path().to_path_buf()], Limits::default());
    let audit = || workers.folder(&root.path().join("a"), "a".into(), &Options::default(), &Interrupt::none());
    let error = audit().unwrap_err().to_string();
    assert!(error.contains("cannot start an audit worker"), "{error}");
    std::fs::copy(program(), &own).unwrap();
    let report = audit().unwrap();
    assert!(report.status == Status::Complete && !report.findings.is_empty(), "{report:?}");
    std::fs::remove_file(&own).unwrap();
    let report = audit().unwrap();
    assert_eq!((report.findings[0].rule.0, report.status), ("audit_stopped", Status::Broken));
    assert!(report.findings[0].message.contains("could be started"), "{}", report.findings[0].message);
}

/// Limits of the shell that started it end nothing but with an exit code of the table.
#[test]
fn tight_limits_change_no_exit_code_but_to_could_not_check() {
    let root = tempfile::tempdir().unwrap();
    let (out, folders) = (root.path().join("out"), fixture("submissions"));
    let usual = golf("verify").arg(&folders).output().unwrap();
    for (limit, expected) in [("-n 16", 1), ("-n 8", 2), ("-f 0", 2), ("-v 400000", 1), ("-t 60", 1)] {
        let script = format!("ulimit {limit} && exec \"$0\" \"$1\" > \"$2\"");
        let mut command = Command::new("bash");
        command.env_clear().args(["-c", &script, program()]).args([&folders, &out]);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(expected), "{limit}: {said}");
        if expected == 1 {
            assert_eq!(std::fs::read(&out).unwrap(), usual.stdout, "{limit}");
        } else {
            assert!(said.starts_with("error: "), "{limit}: {said}");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn workers_end_with_the_one_that_started_them() {
    for (how, code) in [("-TERM", Some(130)), ("-INT", Some(130)), ("-KILL", None)] {
        let root = tempfile::tempdir().unwrap();
        let mut started = busy(root.path());
        let worker = busy_worker(&started, root.path());
        signal(how, started.id());
        let start = Instant::now();
        assert_eq!(started.wait().unwrap().code(), code, "{how}");
        while Path::new(&format!("/proc/{worker}/fd")).read_dir().is_ok_and(|mut files| files.next().is_some()) {
            assert!(start.elapsed() < Duration::from_secs(2), "{how}: the worker goes on");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The names of facts are a list of their own, because a worker's report may use no other.
#[test]
fn every_fact_of_a_report_has_a_known_name() {
    let report = audit::folder(&fixture("submissions/good"), "good".into(), &Options::default()).unwrap();
    assert!(!report.facts.is_empty());
    assert!(report.facts.iter().all(|fact| audit::FACT_NAMES.contains(&fact.name)));
}
