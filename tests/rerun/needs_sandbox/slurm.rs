//! Seeds through Slurm, with stand-ins for its programs: what is told to them, what tasks leave, what is made of it.
//! With a real Slurm: ci/rerun/slurm.sh.

use std::path::PathBuf;
use std::process::Command;

use crate::command::{Submission, bpb, words};

/// Starts the program behind the options, here.
const SRUN: &str = "#!/bin/sh
echo \"srun $*\" >> \"$SLURM_STUB/calls\"
while [ \"${1#--}\" != \"$1\" ]; do shift; done
exec \"$@\"
";
/// Runs all tasks of the array at a time, then says the number of the job.
const SBATCH: &str = "#!/bin/sh
for at in $(sed -n 's/^#SBATCH --array=//p' \"$2\" | tr , ' '); do
  SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=$at sh \"$2\" > \"$(dirname \"$2\")/task-$at.txt\" 2>&1 &
done
wait
echo 7
";
/// Of a job that has ended, the queue knows nothing.
const SQUEUE: &str = "#!/bin/sh
if [ -f \"$SLURM_STUB/queue\" ]; then cat \"$SLURM_STUB/queue\"; else exit 1; fi
";

struct Cluster {
    submission: Submission,
    stub: PathBuf,
}

impl Cluster {
    fn claiming(moved: f64) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let submission = Submission::claiming(moved);
        let stub = submission.root.path().join("slurm-stub");
        std::fs::create_dir(&stub).unwrap();
        for (name, text) in [("srun", SRUN), ("sbatch", SBATCH), ("squeue", SQUEUE)] {
            std::fs::write(stub.join(name), text).unwrap();
            std::fs::set_permissions(stub.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        Cluster { submission, stub }
    }

    fn with_programs(&self, command: &mut Command) -> (Option<i32>, String, String) {
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.stub.display())).env("SLURM_STUB", &self.stub);
        words(&command.env("NO_COLOR", "1").output().unwrap())
    }

    fn rerun(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        self.with_programs(&mut self.submission.command(arguments))
    }

    fn collect(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(crate::support::program());
        self.with_programs(command.arg("collect").arg(self.submission.out()).args(arguments))
    }

    fn mean(&self) -> f64 {
        self.submission.report()["comparison"]["mean"]["rerun"].as_f64().unwrap()
    }
}

#[test]
#[ignore = "needs bubblewrap and python3"]
fn srun_places_the_supervisor_and_the_verdict_is_the_same() {
    let cluster = Cluster::claiming(0.0);
    let arguments = ["--seeds", "1,2,3", "--launcher", "srun", "--launcher-arg=--partition=gpu", "-q"];
    let (code, out, err) = cluster.rerun(&arguments);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("verdict     level 4: rerun"), "{out}");
    assert!((cluster.mean() - bpb(2)).abs() < 1e-9);
    let calls = std::fs::read_to_string(cluster.stub.join("calls")).unwrap();
    assert_eq!(calls.lines().count(), 3);
    assert!(calls.lines().all(|call| call.starts_with("srun --nodes=1 --ntasks=1 --job-name=rerun --partition=gpu")));
    // The script has no way out there either.
    let record = std::fs::read_to_string(cluster.submission.out().join("seed-2/record.json")).unwrap();
    assert!(record.contains("bubblewrap with seccomp") && !record.contains("SLURM"), "{record}");
    // Again, and nothing is left to do.
    let (code, ..) = cluster.rerun(&arguments);
    let again = std::fs::read_to_string(cluster.stub.join("calls")).unwrap();
    assert_eq!((code, again), (Some(0), calls));
}

#[test]
#[ignore = "needs bubblewrap and python3"]
fn tasks_of_an_array_share_a_run_folder_and_are_collected() {
    let cluster = Cluster::claiming(0.0);
    let arguments = ["--seeds", "1,2,3", "--launcher", "sbatch", "-q"];
    let (code, out, err) = cluster.rerun(&arguments);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("submitted   job 7: seeds 1, 2, 3"), "{out}");
    let (code, out, err) = cluster.collect(&[]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("verdict     level 4: rerun") && out.matches("agrees").count() == 4, "{out}");
    for name in ["report.json", "report.md", "statement.intoto.json", "manifest.yaml"] {
        assert!(cluster.submission.out().join(name).is_file(), "{name}");
    }
    // What is not finished is named, and makes no verdict.
    std::fs::remove_file(cluster.submission.out().join("seed-2/record.json")).unwrap();
    let (code, out, _) = cluster.collect(&[]);
    assert_eq!(code, Some(2), "{out}");
    assert!(out.contains("seed 2      FAILED: task 7_1: it left nothing"), "{out}");
    assert!(out.contains("level 4 needs every seed that was asked for; not finished: 2"), "{out}");
    assert_eq!(cluster.submission.report()["missing"][0]["seed"], 2);
    std::fs::write(cluster.stub.join("queue"), "1|PENDING|(Priority)\n").unwrap();
    let (code, out, _) = cluster.collect(&[]);
    assert_eq!(code, Some(2), "{out}");
    assert!(out.contains("seed 2      PENDING: task 7_1: PENDING (Priority)"), "{out}");
    let (code, _, err) = cluster.rerun(&arguments);
    assert!(code == Some(2) && err.contains("`scancel 7`"), "{err}");
    std::fs::remove_file(cluster.stub.join("queue")).unwrap();
    // Only that seed is submitted again.
    let (_, out, _) = cluster.rerun(&arguments);
    assert!(out.contains("submitted   job 7: seeds 2\n"), "{out}");
    let (code, ..) = cluster.collect(&[]);
    assert_eq!(code, Some(0));
    // A script that has changed since is another script.
    let script = cluster.submission.folder().join("train_gpt.py");
    let text = std::fs::read_to_string(&script).unwrap();
    std::fs::write(&script, text + "# more\n").unwrap();
    let (code, out, _) = cluster.collect(&[]);
    assert!(code == Some(2) && out.matches("STALE").count() == 3, "{out}");
}

#[test]
#[ignore = "needs bubblewrap and python3"]
fn a_claim_that_differs_differs_by_collect_too() {
    let cluster = Cluster::claiming(-0.01);
    cluster.rerun(&["--seeds", "1,2,3", "--launcher", "sbatch", "-q"]);
    let (code, out, err) = cluster.collect(&[]);
    assert_eq!(code, Some(1), "{out}{err}");
    let (code, ..) = cluster.collect(&["--tolerance", "0.02"]);
    assert_eq!(code, Some(0), "a stated tolerance decides");
}

#[test]
#[ignore = "needs bubblewrap and python3"]
fn what_fails_on_a_machine_is_said_by_collect() {
    let cluster = Cluster::claiming(0.0);
    cluster.rerun(&["--seeds", "1", "--launcher", "sbatch", "-q"]);
    let out = cluster.submission.out();
    let job = out.join("slurm/job.json");
    let text = std::fs::read_to_string(&job).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value["launch"]["python"]["executable"] = "/nowhere/python3".into();
    std::fs::write(&job, value.to_string()).unwrap();
    let mut command = Command::new(crate::support::program());
    let (code, _, err) = cluster.with_programs(command.arg("seed").arg(&out).args(["--index", "0"]));
    assert!(code == Some(2) && err.contains("/nowhere/python3"), "{err}");
    let (code, said, _) = cluster.collect(&[]);
    assert!(code == Some(2) && said.contains("seed 1      FAILED") && said.contains("/nowhere/python3"), "{said}");
    let mut command = Command::new(crate::support::program());
    let (code, _, err) = cluster.with_programs(command.arg("seed").arg(&out).args(["--index", "1"]));
    assert!(code == Some(2) && err.contains("none at place 1"), "{err}");
    std::fs::write(&job, "{").unwrap();
    let (code, _, err) = cluster.collect(&[]);
    assert!(code == Some(2) && err.contains("job.json") && err.contains("submit the seeds again"), "{err}");
}

#[test]
#[ignore = "needs bubblewrap and python3"]
fn what_a_job_cannot_do_is_said_before_it_is_one() {
    let cluster = Cluster::claiming(0.0);
    for (arguments, words) in [
        (&["--launcher", "srun", "--launcher-arg=--nodes=2"][..], "pass --no-sandbox"),
        (&["--launcher", "sbatch", "--launcher-arg=--array=1-9"], "--seeds"),
        (&["--launcher", "sbatch", "--launcher-arg=--comment=$(touch x)"], "plain option"),
        (&["--launcher", "sbatch", "--against", "board.yaml"], "rerun collect"),
        (&["--launcher-arg=--partition=gpu"], "--launcher srun"),
    ] {
        let mut all = vec!["--seeds", "1"];
        all.extend(arguments);
        let (code, _, err) = cluster.rerun(&all);
        assert!(code == Some(2) && err.contains(words), "{arguments:?}: {err}");
    }
    assert!(!cluster.submission.out().exists());
    let (code, _, err) = cluster.collect(&[]);
    assert!(code == Some(2) && err.contains("--launcher sbatch"), "{err}");
    assert!(!cluster.submission.out().exists());
    // Without a sandbox, srun starts the script's own processes and says which each is.
    let script = cluster.submission.folder().join("train_gpt.py");
    let text = std::fs::read_to_string(&script).unwrap();
    std::fs::write(&script, format!("import os\nprint('rank', os.environ['RANK'], os.environ.get('HOME'))\n{text}"))
        .unwrap();
    let (code, _, err) = cluster.rerun(&["--seeds", "1", "--launcher", "srun", "--no-sandbox", "--env", "X=1"]);
    assert_eq!(code, Some(1), "the stand-in tells no rank: {err}");
    let calls = std::fs::read_to_string(cluster.stub.join("calls")).unwrap();
    assert!(calls.contains("--ntasks=1 --kill-on-bad-exit=1") && calls.contains("--rerun-rank"), "{calls}");
}
