//! A stand-in for a container engine whose containers are no processes of ours, as docker's are: what it is asked.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::command::Submission;

/// Answers as docker does, and writes down what it is asked. A container is a word that stays until it is removed.
const ENGINE: &str = "#!/bin/sh
echo \"$*\" >> \"$(dirname \"$0\")/asked\"
case \"$1 $2\" in
  '--version ') echo 'Docker version 99.1, build 0' ;;
  'image inspect') test \"$3\" = here || { echo 'No such image' >&2; exit 1; }
    printf '[{\"Id\":\"sha256:%064d\",\"RepoDigests\":[\"r/here@sha256:d1\"]}]' 7 ;;
  'info --format') echo 'true true [\"name=seccomp,profile=default\"]' ;;
  'container inspect') echo 0 ;;
  'rm --force') ;;
  'run --rm') case \"$*\" in
    *rerun-entry*probe*) echo '[{\"promise\":\"network_refused\",\"held\":HELD,\"found\":\"x\"}]' ;;
    *rerun-entry*) exec sleep 1000 ;;
    *) echo '{\"version\":\"3.12.0\",\"executable\":\"/opt/python\",\"found\":[],\"user\":null,\"roots\":[],\"variables\":{\"PATH\":\"/opt/bin\"}}' ;;
    esac ;;
esac
";

struct StandIn {
    submission: Submission,
    program: PathBuf,
}

impl StandIn {
    fn new(held: &str) -> Self {
        let submission = Submission::claiming(0.0);
        let folder = submission.root.path().join("engine");
        std::fs::create_dir(&folder).unwrap();
        let program = folder.join("docker");
        std::fs::write(&program, ENGINE.replace("HELD", held)).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        StandIn { submission, program }
    }

    fn arguments<'a>(&'a self, image: &'a str) -> [&'a str; 7] {
        ["--seeds", "1", "-q", "--container", image, "--container-engine", self.program.to_str().unwrap()]
    }

    fn asked(&self) -> String {
        std::fs::read_to_string(self.program.with_file_name("asked")).unwrap_or_default()
    }

    fn waits_for(&self, words: &str) -> bool {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if self.asked().contains(words) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

#[test]
fn whoever_kills_the_supervisor_has_the_container_removed() {
    let stand_in = StandIn::new("true");
    let mut command = stand_in.submission.command(&stand_in.arguments("here"));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert!(stand_in.waits_for("\"run\":{"), "{}", stand_in.asked());
    let asked = stand_in.asked();
    let mut names = asked
        .lines()
        .filter(|line| line.contains("--rerun-entry"))
        .map(|line| line.split_once("--name ").unwrap().1.split_whitespace().next().unwrap().to_string());
    let name = names.next_back().unwrap();
    // An earlier start's is removed before, whatever became of it.
    let removal = format!("rm --force {name}");
    let before = asked.matches(&removal).count();
    assert!(before >= 1, "{asked}");
    child.kill().unwrap();
    child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while stand_in.asked().matches(&removal).count() == before {
        assert!(Instant::now() < deadline, "{}", stand_in.asked());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_container_that_breaks_a_promise_starts_nothing() {
    let stand_in = StandIn::new("false");
    let (code, _, err) = stand_in.submission.rerun(&stand_in.arguments("here"));
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("does not keep its promises") && err.contains("network refused"), "{err}");
    assert!(!stand_in.asked().contains("\"run\":{"), "{}", stand_in.asked());
}

#[test]
fn what_is_missing_of_a_container_is_said() {
    let stand_in = StandIn::new("true");
    let (code, _, err) = stand_in.submission.rerun(&stand_in.arguments("elsewhere"));
    assert_eq!(code, Some(2), "{err}");
    for words in ["No such image", "nothing is fetched", &format!("{} pull elsewhere", stand_in.program.display())] {
        assert!(err.contains(words), "{err}");
    }
    assert!(!stand_in.asked().contains("pull"), "{}", stand_in.asked());
    let (code, _, err) = stand_in.submission.rerun(&["--container", "x", "--container-engine", "/nowhere/engine"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("/nowhere/engine: there is no such program"), "{err}");
    let mut nothing = stand_in.submission.command(&["--container", "x"]);
    let output = nothing.env("PATH", Path::new("/nowhere")).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("apt install podman"));
}
