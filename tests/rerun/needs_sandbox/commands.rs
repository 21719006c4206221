//! The binary on small submissions: agreement, what stays, what is refused, and its end at any moment.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::command::{Submission, bpb, verify, words};
use crate::processes::{is_empty_soon, processes_of};

#[test]
#[ignore = "needs bubblewrap and python3"]
fn an_honest_claim_is_level_4_and_stays_it() {
    let submission = Submission::claiming(0.0);
    let handed_on = submission.root.path().join("new");
    let (code, out, err) = submission.rerun(&["--seeds", "1,2,3", "--submission", handed_on.to_str().unwrap(), "-q"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("verdict     level 4: rerun"), "{out}");
    let report = submission.report();
    assert_eq!(report["comparison"]["mean"]["rerun"].as_f64().map(|v| (v * 1e6).round()), Some((bpb(2) * 1e6).round()));
    assert_eq!(report["kept"], serde_json::json!([]));
    // A new folder that passes.
    let (code, audit) = verify(&handed_on);
    assert_eq!(code, Some(0), "{audit}");
    assert!(audit.contains("0 warnings, 0 failures"), "{audit}");
    // The same command keeps all of it; another recipe keeps nothing.
    let (code, ..) = submission.rerun(&["--seeds", "1,2,3", "-q"]);
    assert_eq!((code, &submission.report()["kept"]), (Some(0), &serde_json::json!([1, 2, 3])));
    let (code, ..) = submission.rerun(&["--seeds", "1,2,3", "-q", "--env", "PAUSE=0.01"]);
    assert_eq!((code, &submission.report()["kept"]), (Some(0), &serde_json::json!([])));
    // Changed code is other code.
    let script = submission.folder().join("train_gpt.py");
    let text = std::fs::read_to_string(&script).unwrap();
    std::fs::write(&script, text + "# more\n").unwrap();
    let (code, ..) = submission.rerun(&["--seeds", "1,2,3", "-q", "--env", "PAUSE=0.01"]);
    assert_eq!((code, &submission.report()["kept"]), (Some(0), &serde_json::json!([])));
    let statement = std::fs::read(submission.out().join("statement.intoto.json")).unwrap();
    let statement: serde_json::Value = serde_json::from_slice(&statement).unwrap();
    assert_eq!(statement["subject"].as_array().unwrap().len(), 4);
}

#[test]
#[ignore = "needs bubblewrap and python3"]
fn the_program_of_all_commands_starts_itself_around_a_script_too() {
    let submission = Submission::claiming(0.0);
    let mut command = Command::new(env!("CARGO_BIN_EXE_golf-harness"));
    command.arg("rerun").arg(submission.folder()).arg("--out").arg(submission.out());
    let (code, out, err) = words(&command.args(["--seeds", "1,2,3", "-q"]).env("NO_COLOR", "1").output().unwrap());
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("verdict     level 4: rerun"), "{out}");
}

#[test]
#[ignore = "needs bubblewrap and python3"]
fn a_claim_moved_by_a_hundredth_differs() {
    let submission = Submission::claiming(-0.01);
    let (code, out, _) = submission.rerun(&["--seeds", "1,2,3", "-q"]);
    assert_eq!(code, Some(1), "{out}");
    assert_eq!(out.matches("DIFFERS").count(), 4, "{out}");
    assert!(!out.contains("verdict     level 4"), "{out}");
}

#[test]
#[ignore = "needs bubblewrap and python3"]
fn what_is_missing_is_said_with_what_to_do() {
    let submission = Submission::claiming(0.0);
    let empty = submission.root.path().join("bin");
    std::fs::create_dir(&empty).unwrap();
    let python = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
    let python = String::from_utf8(python.stdout).unwrap();
    let mut command = submission.command(&["--seeds", "1", "--python", python.trim()]);
    let (code, _, err) = words(&command.env("PATH", &empty).output().unwrap());
    assert_eq!(code, Some(2));
    for advice in ["apt install bubblewrap", "--sandbox landlock", "--no-sandbox"] {
        assert!(err.contains(advice), "{err}");
    }
    let (code, _, err) = submission.rerun(&["--seeds", "1", "--no-sandbox"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("NO SANDBOX"), "{err}");
    assert!(submission.report()["remarks"].to_string().contains("without a sandbox"));
}

#[test]
#[ignore = "needs bubblewrap and python3"]
fn what_is_not_its_own_is_not_removed() {
    let submission = Submission::claiming(0.0);
    let precious = submission.out().join("seed-1");
    std::fs::create_dir_all(&precious).unwrap();
    std::fs::write(precious.join("thesis.txt"), "x").unwrap();
    let (code, _, err) = submission.rerun(&["--seeds", "1"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("no folder of a rerun") && precious.join("thesis.txt").exists(), "{err}");
    // Nor is data that only the submission calls so.
    let readme = submission.folder().join("README.md");
    let home = std::env::home_dir().unwrap();
    let text = std::fs::read_to_string(&readme).unwrap();
    let named = text.replace("SEED=1", &format!("SEED=1 DATA_PATH={}", home.display()));
    std::fs::write(&readme, named).unwrap();
    let (code, out, err) = submission.rerun(&["--seeds", "2"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(out.contains("lies outside of") && out.contains("--data-path"), "{out}");
    // Nor the folder that a person happens to stand in.
    let here = submission.root.path().join("documents");
    std::fs::create_dir(&here).unwrap();
    std::fs::write(&readme, text.replace("SEED=1", "SEED=1 DATA_PATH=.")).unwrap();
    let (code, _, err) = words(&submission.command(&["--seeds", "2"]).current_dir(&here).output().unwrap());
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("not plainly so") && err.contains("--data-path"), "{err}");
}

#[test]
#[ignore = "needs bubblewrap and python3"]
fn landlock_keeps_its_promises_too() {
    let submission = Submission::claiming(0.0);
    let (code, out, err) = submission.rerun(&["--seeds", "1,2,3", "--sandbox", "landlock", "-q"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(
        out.contains("sandbox     Landlock with seccomp; tried from inside: network refused, home unreadable"),
        "{out}"
    );
    assert!(out.contains("verdict     level 4"), "{out}");
}

#[test]
#[ignore = "needs bubblewrap and python3"]
fn killed_at_any_moment_it_leaves_no_process_and_goes_on() {
    let rounds: u64 = std::env::var("RERUN_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let submission = Submission::claiming(0.0);
    for sandbox in ["bubblewrap", "landlock"] {
        let arguments = ["--seeds", "1,2,3", "-q", "--env", "PAUSE=0.1", "--sandbox", sandbox];
        for round in 0..rounds {
            if round % 2 == 0 {
                // Finished seeds would be kept, and soon there was nothing left to kill.
                (1..=3).for_each(|seed| {
                    let _ = std::fs::remove_file(submission.out().join(format!("seed-{seed}/record.json")));
                });
            }
            let mut child = submission.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            // Spread over a run, whatever the machine's pace; a fixed stride that no period of the run divides.
            std::thread::sleep(Duration::from_millis(20 + round * 137 % 1500));
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(is_empty_soon(submission.root.path()), "{:?}", processes_of(submission.root.path()));
            for seed in 1..=3 {
                if let Ok(text) = std::fs::read(submission.out().join(format!("seed-{seed}/record.json"))) {
                    serde_json::from_slice::<serde_json::Value>(&text).unwrap();
                }
            }
        }
        let (code, out, err) = submission.rerun(&arguments);
        assert_eq!(code, Some(0), "{out}{err}");
    }
}

#[test]
#[ignore = "needs bubblewrap and python3"]
fn interrupted_it_ends_with_130_and_goes_on() {
    let submission = Submission::claiming(0.0);
    let arguments = ["--seeds", "1,2,3", "--env", "PAUSE=1.5"];
    for (signal, finished) in [("-INT", "seed-1/record.json"), ("-TERM", "seed-2/record.json")] {
        let mut command = submission.command(&arguments);
        let child = command.process_group(0).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !submission.out().join(finished).exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let pid = child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        let (code, _, err) = words(&child.wait_with_output().unwrap());
        assert_eq!(code, Some(130), "{err}");
        assert!(is_empty_soon(submission.root.path()));
    }
    assert!(submission.out().join("seed-1/record.json").exists());
    let (code, ..) = submission.rerun(&arguments);
    assert_eq!(code, Some(0));
    assert_eq!(submission.report()["kept"][0], 1);
}
