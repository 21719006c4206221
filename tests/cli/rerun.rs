//! `rerun`: plans of folders, as people ask for them.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::support::{fixture, golf};

const SCRIPT: &str = "import os\nimport not_a_package_of_anybody\nLR = os.environ.get('MATRIX_LR', '0.04')\nSEED = \
                      os.environ['SEED']\n";
const README: &str = "# Run\n\n```bash\nMATRIX_LR=0.02 SEED=42 python train_gpt.py\n```\n";

fn submission() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("train_gpt.py"), SCRIPT).unwrap();
    std::fs::write(folder.path().join("README.md"), README).unwrap();
    folder
}

/// The plan as JSON, and the exit code.
fn plan(folder: &Path, flags: &[&str]) -> (Value, i32) {
    let output = golf("rerun").arg(folder).args(["--plan", "--json"]).args(flags).output().unwrap();
    let plan = serde_json::from_slice(&output.stdout);
    (plan.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr))), output.status.code().unwrap())
}

fn variables(plan: &Value, kept: impl Fn(&Value) -> bool) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap().to_string();
    let all = plan["variables"].as_array().unwrap().iter().filter(|variable| kept(variable));
    all.map(|variable| (text(&variable["name"]), text(&variable["value"]))).collect()
}

#[test]
fn a_plan_says_what_would_run_and_what_is_missing() {
    let folder = submission();
    let (found, code) = plan(folder.path(), &[]);
    assert_eq!(
        (found["schema"].as_str(), found["startable"].as_bool(), code),
        (Some("golf-harness/rerun-plan/v1"), Some(false), 2)
    );
    let set = variables(&found, |variable| variable["is_set"] == true);
    assert_eq!(set, BTreeMap::from([("MATRIX_LR".into(), "0.02".into()), ("SEED".into(), "{seed}".into())]));
    let problems = found["problems"].as_array().unwrap();
    let missing = problems[0]["message"].as_str().unwrap();
    // Without an interpreter on this machine, that is what is missing.
    assert!(missing.contains("not_a_package_of_anybody") || missing.starts_with("interpreter:"), "{missing}");
}

#[test]
fn the_text_is_aligned_and_names_sources() {
    let folder = submission();
    let output = golf("rerun").arg(folder.path()).args(["--plan", "--python", "/nowhere/python"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "script     train_gpt.py  [README.md:4]",
        "launcher   python x1 (default of python)  [README.md:4]",
        "seeds      42  [README.md:4]",
        "variables  MATRIX_LR  0.02    [README.md:4]",
        "           SEED       {seed}  [README.md:4]",
        "GPUs       0 wanted",
        "missing    interpreter: /nowhere/python: No such file or directory (os error 2)",
        "           -> --python PATH",
        "verdict    cannot start: 1 missing, 0 ambiguous",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn a_written_manifest_gives_the_same_run() {
    let folder = submission();
    let manifest = folder.path().join("run.yaml");
    let (first, _) = plan(folder.path(), &["--seeds", "1,2", "-o", manifest.to_str().unwrap()]);
    let (second, _) = plan(&manifest, &[]);
    for field in ["script", "launcher", "seeds"] {
        assert_eq!(first[field]["value"], second[field]["value"], "{field}");
    }
    let set = |plan: &Value| variables(plan, |variable| variable["is_set"] == true);
    assert_eq!(set(&first), set(&second));
    golf("verify").arg(&manifest).assert().success();
}

#[test]
fn what_cannot_start_is_planned_and_not_started() {
    let folder = submission();
    let output = golf("rerun").arg(folder.path()).args(["--python", "/nowhere/python"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("missing    interpreter: /nowhere/python") && text.contains("cannot start"), "{text}");
    for (flags, words) in [
        (&["--cap-train", "x"][..], "must be a number, 0 or more"),
        (&["--cap-eval=-1"], "must be 0 or more"),
        (&["--memory", "0"], "out of range"),
        (&["--disk", "20X"], "K, M, G or T"),
        (&["--sandbox", "docker"], "landlock"),
        (&["--no-sandbox", "--sandbox", "landlock"], "cannot be used with"),
        (&["--plan", "--out", "x"], "cannot be used with"),
    ] {
        let output = golf("rerun").arg(folder.path()).args(flags).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(words), "{flags:?}: {said}");
    }
}

#[test]
fn mistakes_in_flags_are_refused_before_anything_is_read() {
    for (flags, words) in [
        (&["--env", "A B=1"][..], "no name of a variable"),
        (&["--env", "RANK=1"], "set by the launcher"),
        (&["--set", "X"], "expected KEY=VALUE"),
        (&["--seeds", "1,1"], "1 stands there twice"),
        (&["--seeds", "x"], "invalid"),
        (&["--nproc", "0"], "1..=1024"),
        (&["--launcher", "mpirun"], "torchrun"),
        (&["--allexport", "maybe"], "yes or no"),
    ] {
        let output = golf("rerun").arg("/nowhere").arg("--plan").args(flags).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(words), "{flags:?}: {said}");
    }
    golf("rerun").args(["/nowhere", "--plan"]).assert().code(2);
    golf("rerun").args(["/nowhere", "-o", "x.yaml"]).assert().code(2);
}

#[test]
fn shipped_folders_are_planned_whatever_their_state() {
    for entry in std::fs::read_dir(fixture("submissions")).unwrap() {
        let (found, code) = plan(&entry.unwrap().path(), &["--python", "/nowhere/python"]);
        assert!(code == 2 && !found["problems"].as_array().unwrap().is_empty());
    }
}

#[cfg(unix)]
#[test]
fn nothing_of_a_folder_is_executed_or_followed() {
    let folder = submission();
    let marker = folder.path().join("ran");
    let hostile = format!("open({:?}, 'w')\n", marker.display().to_string());
    std::fs::write(folder.path().join("torch.py"), &hostile).unwrap();
    std::fs::write(folder.path().join("json.py"), &hostile).unwrap();
    std::fs::write(folder.path().join("train_gpt.py"), format!("import torch\n{hostile}")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("train.log")).unwrap();
    let output = golf("rerun").current_dir(folder.path()).args([".", "--plan"]).output().unwrap();
    assert_eq!(output.status.code(), Some(if output.stderr.is_empty() { output.status.code().unwrap() } else { 0 }));
    assert!(!marker.exists());
}

mod needs_data {
    use super::*;

    fn corpus() -> std::path::PathBuf {
        std::env::var_os("GOLF_CORPUS_DIR").expect("GOLF_CORPUS_DIR is not set").into()
    }

    struct Launch {
        folder: String,
        launcher: String,
        processes: Option<u64>,
        variables: BTreeMap<String, String>,
    }

    fn launches() -> Vec<Launch> {
        let mut found: Vec<Launch> = Vec::new();
        for line in include_str!("rerun/launches.txt").lines().filter(|line| !line.starts_with('#')) {
            if line.starts_with(' ') {
                let pairs = line.split_whitespace().map(|pair| pair.split_once('=').unwrap());
                let pairs = pairs.map(|(name, value)| (name.to_string(), value.to_string()));
                found.last_mut().unwrap().variables.extend(pairs);
            } else {
                let words: Vec<&str> = line.split_whitespace().collect();
                let [folder, launcher, processes] = words.as_slice() else { panic!("{line}") };
                found.push(Launch {
                    folder: folder.to_string(),
                    launcher: launcher.to_string(),
                    processes: processes.parse().ok(),
                    variables: BTreeMap::new(),
                });
            }
        }
        found
    }

    /// The table was read by hand from the READMEs: at least 95 % of the commands are understood in full.
    #[test]
    #[ignore = "needs GOLF_CORPUS_DIR"]
    fn launch_commands_of_real_readmes_are_named_right() {
        let corpus = corpus();
        let launches = launches();
        assert!(launches.len() >= 60);
        let mut wrong = Vec::new();
        for launch in &launches {
            let (found, _) = plan(&corpus.join(&launch.folder), &["--python", "/nowhere/python"]);
            let of_readme = variables(&found, |variable| variable["source"]["kind"] == "readme");
            let launcher = found["launcher"]["value"].as_str().unwrap_or("bash");
            let processes = found["processes"]["value"].as_u64();
            if of_readme != launch.variables
                || launcher != launch.launcher
                || launch.processes.is_some() && processes != launch.processes
            {
                wrong.push(format!("{}: {launcher} x{processes:?} {of_readme:?}", launch.folder));
            }
        }
        let right = launches.len() - wrong.len();
        println!("{right} of {} launch commands named right\n{}", launches.len(), wrong.join("\n"));
        assert!(right * 100 >= launches.len() * 95, "{right} of {}:\n{}", launches.len(), wrong.join("\n"));
    }

    /// Every folder of the corpus gets a plan, and the same one twice.
    #[test]
    #[ignore = "needs GOLF_CORPUS_DIR"]
    fn every_folder_gets_a_plan() {
        let mut count = 0;
        for pull_request in std::fs::read_dir(corpus()).unwrap().map(|entry| entry.unwrap().path()) {
            for folder in std::fs::read_dir(pull_request).into_iter().flatten().map(|entry| entry.unwrap().path()) {
                let (first, code) = plan(&folder, &["--python", "/nowhere/python"]);
                assert_eq!(code, 2, "{}", folder.display());
                assert_eq!(first["variables"], plan(&folder, &["--python", "/nowhere/python"]).0["variables"]);
                count += 1;
            }
        }
        assert!(count > 100, "{count} folders");
    }
}

/// What lies in a run folder and is no earlier run's stays, whoever asks.
#[test]
#[cfg(target_os = "linux")]
fn a_run_writes_over_nothing_that_no_run_wrote() {
    let folder = submission();
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    for (name, mine) in [("manifest.yaml", "mine: true\n"), ("report.json", "{}\n"), ("statement.intoto.json", "x")] {
        std::fs::create_dir_all(&out).unwrap();
        std::fs::write(out.join(name), mine).unwrap();
        let output = golf("rerun").arg(folder.path()).arg("--out").arg(&out).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(name) && said.contains("--out"), "{said}");
        assert_eq!(std::fs::read_to_string(out.join(name)).unwrap(), mine);
        std::fs::remove_dir_all(&out).unwrap();
    }
    std::fs::create_dir_all(&out).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", out.join("report.md")).unwrap();
    let output = golf("rerun").arg(folder.path()).arg("--out").arg(&out).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(out.join("report.md").is_symlink());
}
