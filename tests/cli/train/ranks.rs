//! `train` as several processes on one machine.

use std::net::TcpListener;
use std::process::{Child, Output, Stdio};

use super::{RECIPE, Workshop, wait_for};

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Workshop {
    /// Starts one rank the way torchrun does.
    fn start_rank(&self, rank: usize, world: usize, port: u16, arguments: &[&str]) -> Child {
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("train"));
        command.current_dir(self.folder.path()).env_clear().env("NO_COLOR", "1");
        command.envs([("RANK", rank.to_string()), ("WORLD_SIZE", world.to_string()), ("LOCAL_RANK", rank.to_string())]);
        command.envs([("MASTER_ADDR", "127.0.0.1".to_string()), ("MASTER_PORT", port.to_string())]);
        command.args(["tiny.yaml", "--threads", "1"]).args(arguments);
        if !arguments.contains(&"--rank-timeout") {
            command.args(["--rank-timeout", "60"]);
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

fn ended(child: Child) -> (Option<i32>, String, Output) {
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr.clone()).unwrap(), output)
}

#[test]
fn processes_train_the_bytes_of_one() {
    let workshop = Workshop::new();
    workshop.train(&["--out", "one", "--quiet"]).assert().success();
    workshop.train(&["--out", "threads", "--quiet", "--ranks", "4"]).assert().success();
    let port = free_port();
    // The last one first: the order of starting must not matter.
    let ranks: Vec<Child> = [1, 0].map(|rank| workshop.start_rank(rank, 2, port, &["--out", "two"])).into();
    for (rank, child) in [1, 0].into_iter().zip(ranks) {
        let (code, stderr, output) = ended(child);
        assert_eq!(code, Some(0), "rank {rank}: {stderr}");
        assert_eq!(output.stdout.is_empty(), rank != 0);
    }
    for folder in ["threads", "two"] {
        assert!(
            workshop.read(&format!("{folder}/checkpoint.safetensors")) == workshop.read("one/checkpoint.safetensors")
        );
    }
    let log = workshop.text("two/train.log");
    assert!(log.contains("world_size:2 grad_accum_steps:4") && log.contains("step:4/12 rank_losses:"), "{log}");
}

#[test]
fn ranks_that_do_not_belong_together_refuse_each_other() {
    let workshop = Workshop::new();
    let port = free_port();
    let lead = workshop.start_rank(0, 2, port, &["--out", "run"]);
    let other = workshop.start_rank(1, 2, port, &["--out", "run", "--seed", "9"]);
    for (code, message, _) in [ended(lead), ended(other)] {
        assert_eq!(code, Some(2), "{message}");
        assert!(message.contains("rank 1 differs from rank 0 in the recipe"), "{message}");
    }
    assert_eq!(workshop.names("run"), [] as [&str; 0]);

    let port = free_port();
    let lead = workshop.start_rank(0, 2, port, &["--out", "run"]);
    let other = workshop.start_rank(1, 4, port, &["--out", "run"]);
    for (code, message, _) in [ended(lead), ended(other)] {
        assert_eq!(code, Some(2), "{message}");
        assert!(message.contains("rank 1 is of a world of 4, rank 0 of 2"), "{message}");
    }
    // And what a process alone can tell.
    let refusal = |child| ended(child).1;
    assert!(refusal(workshop.start_rank(2, 2, port, &[])).contains("rank 2 is outside a world of 2"));
    assert!(refusal(workshop.start_rank(0, 3, port, &[])).contains("a world of 3 ranks cannot share"));
    assert!(refusal(workshop.start_rank(0, 2, port, &["--ranks", "2"])).contains("leave out one of them"));
    let late = refusal(workshop.start_rank(0, 4, port, &["--rank-timeout", "1"]));
    assert!(late.contains("after 1 s rank(s) 1, 2, 3 of 4 have not called rank 0"), "{late}");
}

#[test]
#[cfg(unix)]
fn a_rank_that_is_lost_or_interrupted_ends_all() {
    let workshop = Workshop::new();
    workshop.manifest(&RECIPE.replace("iterations: 12", "iterations: 100000"));
    for (signal, code, says) in
        [("-KILL", 2, "rank 1 is lost: its connection"), ("-INT", 130, "continue with --resume")]
    {
        let (port, out) = (free_port(), format!("run{signal}"));
        let lead = workshop.start_rank(0, 2, port, &["--out", &out]);
        let other = workshop.start_rank(1, 2, port, &["--out", &out]);
        wait_for(&workshop.path(&format!("{out}/train.log")), "step:4/100000 train_loss");
        let kill = std::process::Command::new("kill").args([signal, &other.id().to_string()]).status().unwrap();
        assert!(kill.success());
        let (found, message, _) = ended(lead);
        assert_eq!(found, Some(code), "{signal}: {message}");
        assert!(message.contains(says), "{signal}: {message}");
        let other = ended(other);
        assert!(signal == "-KILL" || other.0 == Some(130), "{other:?}");
        let names = workshop.names(&out);
        let expected: &[&str] = if code == 2 {
            &["trace.jsonl", "train.log"]
        } else {
            &["trace.jsonl", "train.log", "training-state.safetensors"]
        };
        assert_eq!(names, expected);
    }
}
