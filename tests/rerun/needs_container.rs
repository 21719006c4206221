//! The same scripts in a container, and what ends one.

use std::process::{Command, Stdio};
use std::time::Duration;

use golf_harness::rerun::sandbox::container::Container;
use golf_harness::rerun::session::lock_of;

use crate::command::Submission;
use crate::hostile::each_in;
use crate::processes::is_empty_soon;
use crate::support::{Workshop, image};

each_in!(Workshop::in_container, "needs podman or docker, and the image of ci/rerun/container.sh");

/// Containers of a run folder that the engine knows, running or not. Other tests may use the same engine.
fn containers(submission: &Submission) -> Vec<String> {
    // Before there is a lock, nothing is started.
    let Ok(lock) = lock_of(&submission.out()) else { return Vec::new() };
    let name = Container::name(&lock);
    let filter = format!("name=^{name}$");
    let output = Command::new(engine()).args(["ps", "--all", "--quiet", "--filter", &filter]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_string).collect()
}

fn engine() -> String {
    std::env::var("GOLF_RERUN_ENGINE").unwrap_or_else(|_| "podman".into())
}

#[test]
#[ignore = "needs podman or docker, and the image of ci/rerun/container.sh"]
fn an_honest_claim_is_level_4_and_the_image_is_in_the_evidence() {
    let submission = Submission::claiming(0.0);
    let image = image();
    let arguments = ["--seeds", "1,2,3", "-q", "--container", &image, "--container-engine", &engine()];
    let (code, out, err) = submission.rerun(&arguments);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("verdict     level 4: rerun"), "{out}");
    let inspected = Command::new(engine()).args(["image", "inspect", "--format", "{{.Id}}", &image]).output().unwrap();
    let id = String::from_utf8(inspected.stdout).unwrap();
    let id = id.trim().trim_start_matches("sha256:");
    let read = |name: &str| std::fs::read(submission.out().join(name)).unwrap();
    let statement: serde_json::Value = serde_json::from_slice(&read("statement.intoto.json")).unwrap();
    for run in statement["predicate"]["runs"].as_array().unwrap() {
        assert_eq!(run["isolation"]["container"]["id"], id);
        assert!(run["isolation"]["tried"].as_array().unwrap().iter().all(|tried| tried[1] == true));
    }
    let digest = statement["predicate"]["runs"][0]["isolation"]["container"]["digest"].as_str().unwrap();
    assert!(String::from_utf8(read("report.md")).unwrap().contains(digest));
    // The same image keeps what is finished.
    assert_eq!(submission.rerun(&arguments).0, Some(0));
    assert_eq!(submission.report()["kept"], serde_json::json!([1, 2, 3]));
    assert_eq!(containers(&submission), Vec::<String>::new());
}

#[test]
#[ignore = "needs podman or docker, and the image of ci/rerun/container.sh"]
fn an_image_that_is_not_here_is_not_fetched() {
    let submission = Submission::claiming(0.0);
    let absent = ["--seeds", "1", "--container", "localhost/no-such-image:1", "--container-engine", &engine()];
    let (code, _, err) = submission.rerun(&absent);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains(&format!("{} pull localhost/no-such-image:1", engine())), "{err}");
    let image = image();
    let (code, out, _) = submission.rerun(&["--seeds", "1", "--container", &image, "--python", "python9"]);
    assert_eq!(code, Some(2), "{out}");
    assert!(out.contains("interpreter: python9") && out.contains("not found"), "{out}");
}

#[test]
#[ignore = "needs podman or docker, and the image of ci/rerun/container.sh"]
fn killed_at_any_moment_it_leaves_no_container_and_goes_on() {
    let rounds: u64 = std::env::var("RERUN_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let submission = Submission::claiming(0.0);
    let image = image();
    let arguments = ["--seeds", "1,2,3", "-q", "--env", "PAUSE=0.1", "--container", &image];
    for round in 0..rounds {
        // Finished seeds would be kept, and soon there was nothing left to kill.
        (1..=3).for_each(|seed| {
            let _ = std::fs::remove_file(submission.out().join(format!("seed-{seed}/record.json")));
        });
        let mut child = submission.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Spread over a run, whatever the machine's pace; a fixed stride that no period of the run divides.
        std::thread::sleep(Duration::from_millis(300 + round * 137 % 4000));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_empty_soon(submission.root.path()), "round {round}");
        assert!(is_soon(|| containers(&submission).is_empty()), "round {round}: {:?}", containers(&submission));
    }
    let (code, out, err) = submission.rerun(&arguments);
    assert_eq!(code, Some(0), "{out}{err}");
}

/// Whatever ends the supervisor and its keeper together: the lock inside of the container is all that is left.
#[test]
#[ignore = "needs podman or docker, and the image of ci/rerun/container.sh"]
fn with_supervisor_and_keeper_gone_the_container_ends_by_itself() {
    let submission = Submission::claiming(0.0);
    let image = image();
    let arguments = ["--seeds", "1", "-q", "--env", "PAUSE=60", "--container", &image];
    let mut child = submission.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let log = submission.out().join("seed-1/output.log");
    assert!(is_soon(|| std::fs::metadata(&log).is_ok_and(|data| data.len() > 0)), "it does not start");
    assert_eq!(containers(&submission).len(), 1);
    let keepers = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
    let keepers: Vec<&str> = keepers.split_whitespace().collect();
    assert_eq!(keepers.len(), 1, "{keepers:?}");
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-KILL", &pid]).args(keepers).status().unwrap().success());
    child.wait().unwrap();
    assert!(is_empty_soon(submission.root.path()));
    assert!(is_soon(|| containers(&submission).is_empty()), "{:?}", containers(&submission));
}

#[test]
#[ignore = "needs podman or docker, and the image of ci/rerun/container.sh"]
fn memory_that_is_taken_at_once_is_described() {
    let mut workshop = Workshop::in_container(
        "import mmap\nx = mmap.mmap(-1, 1 << 30)\nwhile True:\n    for i in range(0, 1 << 30, 4096): x[i] = 1\n",
    );
    workshop.launch.limits.memory = golf_harness::units::Bytes(200 << 20);
    let record = workshop.run();
    let golf_harness::rerun::record::Ended::Bound(words) = &record.ended else { panic!("{:?}", record.ended) };
    assert!(words.contains("bytes of memory"), "{words}");
}

/// Waits for something that other programs do.
fn is_soon(check: impl Fn() -> bool) -> bool {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while std::time::Instant::now() < deadline {
        if check() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

/// A submission whose file an engine would read as more than one field.
#[test]
#[ignore = "needs podman or docker, and the image of ci/rerun/container.sh"]
fn a_name_that_is_a_mount_is_refused() {
    let mut workshop = Workshop::in_container("print('final val_bpb:1.0')");
    let file = "a,destination=/etc,source=/x.txt";
    std::fs::create_dir_all(workshop.launch.folder.join(file).parent().unwrap()).unwrap();
    std::fs::write(workshop.launch.folder.join(file), "x").unwrap();
    workshop.launch.files.push(file.into());
    let refused = workshop.session(&[1], &golf_harness::interrupt::Interrupt::none()).unwrap_err().to_string();
    assert!(refused.contains("a container engine cannot be told"), "{refused}");
}
