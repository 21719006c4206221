//! What READMEs say, in the shapes people write it.

use super::*;

/// Launcher, processes, script, seeds, environment and arguments in one line.
fn told(plan: &Plan) -> String {
    let seeds = plan
        .seeds
        .as_ref()
        .map_or(String::new(), |seeds| seeds.value.iter().map(u64::to_string).collect::<Vec<_>>().join(","));
    let arguments = arguments(plan);
    format!(
        "{} x{} {} [{seeds}] {}{}{arguments}",
        plan.launcher.as_ref().map_or("?", |launcher| launcher.value.word()),
        plan.processes.as_ref().map_or("?".into(), |processes| processes.value.to_string()),
        plan.script.as_ref().map_or("?", |script| script.value.as_str()),
        environment(plan).join(" "),
        if arguments.is_empty() { "" } else { " | " }
    )
}

#[test]
fn variables_of_one_command_in_every_shape() {
    let start = "torchrun --standalone --nproc_per_node=8 train_gpt.py";
    for (text, expected) in [
        // Variables in front, on lines of their own, quoted, exported, by `env`.
        (format!("SEED=42 MATRIX_LR=0.02 {start}"), "torchrun x8 train_gpt.py [42] MATRIX_LR=0.02 SEED={seed}"),
        (format!("SEED=42 \\\nMATRIX_LR=0.02 \\\n{start}"), "torchrun x8 train_gpt.py [42] MATRIX_LR=0.02 SEED={seed}"),
        (
            format!("SEED=42 \\  \n  MATRIX_LR='0.02' \\\n  {start} 2>&1 | tee log"),
            "torchrun x8 train_gpt.py [42] MATRIX_LR=0.02 SEED={seed}",
        ),
        (format!("export SEED=42 MATRIX_LR=0.02\n{start}"), "torchrun x8 train_gpt.py [42] MATRIX_LR=0.02 SEED={seed}"),
        (
            format!("export SEED=42 \\\n  MATRIX_LR=0.02\n\n{start}"),
            "torchrun x8 train_gpt.py [42] MATRIX_LR=0.02 SEED={seed}",
        ),
        (
            format!("env SEED=42 MATRIX_LR=0.02 nohup {start} > log 2>&1 &"),
            "torchrun x8 train_gpt.py [42] MATRIX_LR=0.02 SEED={seed}",
        ),
        (
            format!("set -a\nSEED=42\nset +a\nMATRIX_LR=0.02 {start}"),
            "torchrun x8 train_gpt.py [42] MATRIX_LR=0.02 SEED={seed}",
        ),
        (format!("$ SEED=42 {start}"), "torchrun x8 train_gpt.py [42] SEED={seed}"),
        (format!("!SEED=42 {start}"), "torchrun x8 train_gpt.py [42] SEED={seed}"),
        (format!("cd records/x && SEED=42 {start}"), "torchrun x8 train_gpt.py [42] SEED={seed}"),
        (format!("pip install zstandard\nSEED=42 uv run {start}"), "torchrun x8 train_gpt.py [42] SEED={seed}"),
        (format!("SEED=42 timeout 1800 {start}"), "torchrun x8 train_gpt.py [42] SEED={seed}"),
        (
            format!("export MATRIX_LR=0.02\nunset MATRIX_LR\nSEED=42 {start}"),
            "torchrun x8 train_gpt.py [42] SEED={seed}",
        ),
        (
            format!("MATRIX_LR=0.02\nexport MATRIX_LR\nSEED=42 {start}"),
            "torchrun x8 train_gpt.py [42] MATRIX_LR=0.02 SEED={seed}",
        ),
        // Set before, and not exported: only what is expanded reaches the script.
        (format!("lr=0.02\nSEED=42 {start}"), "torchrun x8 train_gpt.py [42] SEED={seed}"),
        // Variables of variables.
        (format!("LR=0.02\nSEED=42 MATRIX_LR=$LR {start}"), "torchrun x8 train_gpt.py [42] MATRIX_LR=0.02 SEED={seed}"),
        (
            format!("SEED=${{SEED:-42}} MATRIX_LR=\"${{LR:-0.02}}\" {start}"),
            "torchrun x8 train_gpt.py [42] MATRIX_LR=0.02 SEED={seed}",
        ),
        (format!("RUN=\"{start}\"\nSEED=42 $RUN"), "torchrun x8 train_gpt.py [42] SEED={seed}"),
        (
            "NGPU=8\nSEED=42 torchrun --nproc_per_node=$NGPU train_gpt.py".into(),
            "torchrun x8 train_gpt.py [42] SEED={seed}",
        ),
    ] {
        let plan = plan_of(&block(&text));
        assert_eq!(told(&plan).trim_end(), expected, "{text}\n{:?}", plan.problems);
    }
}

#[test]
fn launchers_arguments_and_loops() {
    let start = "torchrun --standalone --nproc_per_node=8 train_gpt.py";
    for (text, expected) in [
        // Other ways to start.
        ("SEED=42 python3 -u train_gpt.py".into(), "python x1 train_gpt.py [42] SEED={seed}"),
        (
            "SEED=42 python -m torch.distributed.run --nproc_per_node 2 train_gpt.py".into(),
            "torchrun x2 train_gpt.py [42] SEED={seed}",
        ),
        ("SEED=42 srun --ntasks=8 python train_gpt.py".into(), "srun x8 train_gpt.py [42] SEED={seed}"),
        ("SEED=42 torchrun train_gpt.py".into(), "torchrun x1 train_gpt.py [42] SEED={seed}"),
        (
            "SEED=42 torchrun --nproc_per_node=8 /root/code/records/x/train_gpt.py".into(),
            "torchrun x8 train_gpt.py [42] SEED={seed}",
        ),
        (
            "srun -n 8 bash -c '\nexport RANK=$SLURM_PROCID\nSEED=42 python train_gpt.py\n'".into(),
            "srun x8 train_gpt.py [42] SEED={seed}",
        ),
        ("salloc --ntasks=4\nSEED=42 srun python train_gpt.py".into(), "srun x4 train_gpt.py [42] SEED={seed}"),
        (
            "docker run --gpus all image torchrun --nproc_per_node=8 train_gpt.py".into(),
            "torchrun x8 train_gpt.py [1337] SEED={seed}",
        ),
        // Arguments.
        (format!("{start} --seed 42 --lr 0.1"), "torchrun x8 train_gpt.py [42]  | --seed {seed} --lr 0.1"),
        (format!("{start} --seed=42"), "torchrun x8 train_gpt.py [42]  | --seed={seed}"),
        // Loops.
        (
            format!("for SEED in 1 2 3; do\n  SEED=$SEED RUN_ID=a_seed${{SEED}} {start}\ndone"),
            "torchrun x8 train_gpt.py [1,2,3] RUN_ID=a_seed{seed} SEED={seed}",
        ),
        (
            format!("for s in {{1..3}}; do SEED=$s {start} > log_$s.txt; done"),
            "torchrun x8 train_gpt.py [1,2,3] SEED={seed}",
        ),
        (
            format!("SEEDS=(42 1337)\nfor s in \"${{SEEDS[@]}}\"\ndo\n  SEED=$s {start}\ndone"),
            "torchrun x8 train_gpt.py [42,1337] SEED={seed}",
        ),
        (format!("for SEED in 1 2; do {start} --seed $SEED; done"), "torchrun x8 train_gpt.py [1,2]  | --seed {seed}"),
        (
            format!("for LR in 0.02; do\n for S in 7 8; do\n MATRIX_LR=$LR SEED=$S {start}\n done\ndone"),
            "torchrun x8 train_gpt.py [7,8] MATRIX_LR=0.02 SEED={seed}",
        ),
        (format!("while read S; do SEED=$S {start}; done"), "torchrun x8 train_gpt.py [1337] SEED={seed}"),
        // One command for each seed.
        (
            format!("# Seed 1\nSEED=1 RUN_ID=r_1 {start}\n# Seed 2\nSEED=2 RUN_ID=r_2 {start}"),
            "torchrun x8 train_gpt.py [1,2] RUN_ID=r_{seed} SEED={seed}",
        ),
    ] {
        let plan = plan_of(&block(&text));
        assert_eq!(told(&plan).trim_end(), expected, "{text}\n{:?}", plan.problems);
    }
}

#[test]
fn a_plan_whose_command_is_clear_can_start() {
    let plan = plan_of(&block("SEED=42 torchrun --nproc_per_node=8 train_gpt.py"));
    assert!(plan.startable && plan.problems.is_empty(), "{:?}", plan.problems);
    assert_eq!(plan.command.unwrap().source.to_string(), "README.md:4");
}

#[test]
fn commands_outside_of_shell_blocks() {
    for (readme, expected) in [
        ("Run `SEED=42 torchrun --nproc_per_node=8 train_gpt.py`.\n", "torchrun x8 train_gpt.py [42] SEED={seed}"),
        ("Run:\n\n    torchrun --nproc_per_node=8 train_gpt.py\n", "torchrun x8 train_gpt.py [1337] SEED={seed}"),
        (
            "> ```sh\n> SEED=1 torchrun --nproc_per_node=8 train_gpt.py\n> ```\n",
            "torchrun x8 train_gpt.py [1] SEED={seed}",
        ),
        ("```powershell\n$env:SEED=\"5\"; python train_gpt.py\n```\n", "python x1 train_gpt.py [5] SEED={seed}"),
        // Other languages are not read; the script itself says how it is started.
        ("```python\nSEED=1\ntorchrun --nproc_per_node=8 x.py\n```\n", "torchrun x? train_gpt.py [1337] SEED={seed}"),
        ("```bash\ntorchrun --nproc_per_node=8 train_gpt.py", "torchrun x? train_gpt.py [1337] SEED={seed}"),
        ("", "torchrun x? train_gpt.py [1337] SEED={seed}"),
    ] {
        assert_eq!(told(&plan_of(readme)).trim_end(), expected, "{readme}");
    }
}

#[test]
fn commands_of_shell_scripts_in_the_folder_are_followed() {
    let run = "#!/bin/bash\nexport MATRIX_LR=0.02\nSEED=${SEED:-7} torchrun --nproc_per_node=${1:-8} train_gpt.py\n";
    let files = |readme: &str, run: &str| {
        let files = [("README.md", block(readme)), ("run.sh", run.to_string()), ("train_gpt.py", SCRIPT.to_string())];
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        plan_with(&files, &Request::default(), &Fake::default())
    };
    let plan = files("SEED=42 bash run.sh 4", run);
    assert_eq!(told(&plan), "torchrun x4 train_gpt.py [42] MATRIX_LR=0.02 SEED={seed}");
    assert_eq!(plan.set_variable("MATRIX_LR").unwrap().source.to_string(), "run.sh:2");
    assert_eq!(
        told(&files("sbatch -n 8 run.sh", "SEED=1 python train_gpt.py")),
        "sbatch x8 train_gpt.py [1] SEED={seed}"
    );
    // One that starts nothing, one that is not there, one that starts itself.
    let silent = files("SEED=42 ./run.sh", "echo\n");
    assert!(messages(&silent, ProblemKind::Missing)[0].contains("in which no start of a Python script was found"));
    assert_eq!(environment(&silent), ["SEED={seed}"]);
    assert!(messages(&files("bash other.sh", run), ProblemKind::Missing)[0].contains("which is not in the folder"));
    assert!(!files("bash run.sh", "bash run.sh\nbash run.sh\n").startable);
}

#[test]
fn what_differs_is_asked_for_with_the_lines_to_choose_from() {
    let two = block(
        "MATRIX_LR=0.02 torchrun --nproc_per_node=8 train_gpt.py\n\n# Ablation\nMATRIX_LR=0.03 torchrun \
                     --nproc_per_node=8 train_gpt.py",
    );
    let plan = plan_of(&two);
    assert_eq!(messages(&plan, ProblemKind::Ambiguous).len(), 1);
    assert_eq!(plan.problems[0].remedy, "--command 4 or --command 7; this plan shows README.md:4");
    assert!(
        plan.problems[0].message.starts_with("2 commands differ: README.md:4 (torchrun x8 train_gpt.py, 1 variable)")
    );
    let chosen = Request { command: Some(7), ..Request::default() };
    let plan = plan_with(&[("README.md", &two), ("train_gpt.py", SCRIPT)], &chosen, &Fake::default());
    assert!(plan.startable, "{:?}", plan.problems);
    assert_eq!(environment(&plan), ["MATRIX_LR=0.03", "SEED={seed}"]);
    let wrong = Request { command: Some(5), ..Request::default() };
    let plan = plan_with(&[("README.md", &two), ("train_gpt.py", SCRIPT)], &wrong, &Fake::default());
    assert!(messages(&plan, ProblemKind::Missing)[0].starts_with("--command 5: no command"));
}

#[test]
fn evidence_chooses_among_commands_and_is_named() {
    let files = |readme: &str, log: &str| {
        let readme = block(readme);
        let files = [("README.md", readme.as_str()), ("train_gpt.py", SCRIPT), ("train.log", log)];
        let plan = plan_with(&files, &Request::default(), &Fake::default());
        (plan.command.clone().map(|command| command.source.line.unwrap_or(0)), plan.notes.concat(), plan)
    };
    let sizes = "torchrun --nproc_per_node=1 train_gpt.py\ntorchrun --nproc_per_node=8 train_gpt.py";
    let (line, note, _) = files(sizes, "world_size:8 grad_accum_steps:1\nstep:1/2 val_bpb:1.5\n");
    assert!(line == Some(5) && note.contains("the logs ran on 8 processes"), "{note}");
    let rates = "MATRIX_LR=0.02 torchrun --nproc_per_node=8 train_gpt.py\nMATRIX_LR=0.03 torchrun --nproc_per_node=8 train_gpt.py";
    let (line, note, _) = files(rates, "matrix_lr:0.030 seed:1\nstep:1/2 val_bpb:1.5\n");
    assert!(line == Some(5) && note.contains("the logs state other values"), "{note}");
    let lost = "MATRIX_LR=0.02 pip install x && torchrun --nproc_per_node=8 train_gpt.py\n\nMATRIX_LR=0.02 torchrun \
                --nproc_per_node=8 train_gpt.py";
    let (line, note, _) = files(lost, "");
    assert!(line == Some(6) && note.contains("reach only an installer"), "{note}");
    let trial = "python train_gpt.py --smoke\ntorchrun --nproc_per_node=8 train_gpt.py\npython eval_it.py";
    let (line, note, _) = files(trial, "");
    assert!(line == Some(5) && note.contains("trials or evaluations"), "{note}");
    // Where data lie, and what the run is called, make no other run.
    let places = "DATA_PATH=a SEED=1 torchrun --nproc_per_node=8 train_gpt.py\nRUN_ID=b SEED=2 torchrun --nproc_per_node=8 train_gpt.py";
    let (_, _, plan) = files(places, "");
    assert!(messages(&plan, ProblemKind::Ambiguous).is_empty(), "{:?}", plan.problems);
}

#[test]
fn variables_that_are_set_and_not_exported_are_asked_about() {
    let readme = block("MATRIX_LR=0.02\nfor SEED in 1 2; do\n  torchrun --nproc_per_node=8 train_gpt.py\ndone");
    let plan = |allexport| {
        let request = Request { allexport, ..Request::default() };
        plan_with(&[("README.md", &readme), ("train_gpt.py", SCRIPT)], &request, &Fake::default())
    };
    let asked = plan(None);
    assert!(asked.problems[0].message.contains("README.md:4 on, MATRIX_LR, SEED are set and not exported"));
    assert!(asked.problems[0].remedy.starts_with("--allexport yes"));
    assert_eq!(told(&plan(Some(true))), "torchrun x8 train_gpt.py [1,2] MATRIX_LR=0.02 SEED={seed}");
    assert_eq!(told(&plan(Some(false))), "torchrun x8 train_gpt.py [1337] SEED={seed}");
    assert!(plan(Some(true)).startable && plan(Some(false)).startable);
    // Not those of another block.
    let plan =
        plan_of(&format!("{}{}", block("MATRIX_LR=0.02"), block("SEED=1 torchrun --nproc_per_node=8 train_gpt.py")));
    assert!(plan.startable && environment(&plan) == ["SEED={seed}"], "{:?}", plan.problems);
}

#[test]
fn placeholders_and_unknown_values_are_asked_for() {
    let plan = plan_of(&block(
        "MATRIX_LR=<rate> ITERATIONS=$STEPS MAX_WALLCLOCK_SECONDS=$(cat cap) torchrun --nproc_per_node=8 train_gpt.py",
    ));
    let asked = messages(&plan, ProblemKind::Ambiguous);
    assert_eq!(
        asked,
        [
            "ITERATIONS: README.md:4 says `$STEPS`",
            "MATRIX_LR: README.md:4 says `<rate>`",
            "MAX_WALLCLOCK_SECONDS: README.md:4 says `$(cat cap)`"
        ]
    );
    let processes = plan_of(&block("torchrun --nproc_per_node=$NGPU train_gpt.py"));
    assert_eq!(messages(&processes, ProblemKind::Ambiguous), ["processes: README.md:4 says `$NGPU`"]);
    let other = plan_of(&block("accelerate launch --num_processes 8 train_gpt.py"));
    assert!(messages(&other, ProblemKind::Ambiguous)[0].contains("starts the script by `accelerate`"));
}

#[test]
fn assignments_behind_the_script_are_no_variables() {
    let plan = plan_of(&block("torchrun --nproc_per_node=8 train_gpt.py VOCAB_SIZE=288 SEED=3"));
    assert_eq!(environment(&plan), ["SEED={seed}"]);
    assert_eq!(arguments(&plan), "VOCAB_SIZE=288 SEED=3");
    assert!(plan.notes.concat().contains("2 assignments stand after the script"), "{:?}", plan.notes);
}

#[test]
fn preparation_is_listed_and_never_a_run() {
    let plan = plan_of(&block(
        "git clone https://example.com/x\npip install -r requirements.txt\nMATCHED=1 python3 data/cached_challenge_fineweb.py \
         --variant sp1024\npython prepare_data.py\npython -c 'import x'\nhf download y\ntorchrun --nproc_per_node=8 train_gpt.py",
    ));
    assert!(plan.startable, "{:?}", plan.problems);
    let setup: Vec<&str> = plan.setup.iter().map(|step| step.value.as_str()).collect();
    assert_eq!(setup.len(), 6, "{setup:?}");
    assert!(setup.contains(&"python data/cached_challenge_fineweb.py --variant sp1024"), "{setup:?}");
}

#[test]
fn hostile_readmes_end() {
    let deep = format!(
        "{}torchrun --nproc_per_node=8 train_gpt.py\n{}",
        "for i in 1 2 3; do\n".repeat(40),
        "done\n".repeat(40)
    );
    let grows = format!("A=xxxxxxxxxx\n{}B=$A torchrun --nproc_per_node=8 train_gpt.py", "A=$A$A$A$A\n".repeat(40));
    let many = "SEED=1 torchrun --nproc_per_node=8 train_gpt.py --x $RANDOM\n".repeat(5_000);
    let odd = "\u{202e}A=\u{1b}[31m torchrun --nproc_per_node=99999999999999999999 'train_gpt.py\n".to_string();
    let loops = "for x\n".repeat(100_000);
    let shells = format!("{}x", "bash -c 'bash -c ".repeat(5_000));
    let spans = format!("```\n{}```", "`SEED=1 torchrun t1.py --x`\n".repeat(5_000));
    let seeds: String = (0..300).map(|at| format!("SEED=1 V{at}={}a torchrun t.py --x\n", "1".repeat(4000))).collect();
    for text in [
        loops,
        shells,
        spans,
        seeds,
        deep,
        grows,
        many,
        odd,
        "for\nfor x\ndone\ndone\n}{)(\n<<\n<<<\n$(\n`\n${\n".to_string(),
        "(".repeat(100_000),
    ] {
        let plan = plan_of(&block(&text));
        assert!(super::super::text(&plan, true).len() < 1 << 20);
    }
}

/// A real shell, with a `torchrun` that only prints what it was given, is the judge of who gets which variables.
#[cfg(unix)]
#[test]
fn a_real_shell_gives_the_script_the_same_environment() {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    let bin = tempfile::tempdir().unwrap();
    let torchrun = bin.path().join("torchrun");
    std::fs::write(&torchrun, "#!/bin/sh\nexec /usr/bin/env\n").unwrap();
    std::fs::set_permissions(&torchrun, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("/usr/bin/env", bin.path().join("env")).unwrap();
    if !Path::new("/bin/bash").exists() || !Path::new("/usr/bin/env").exists() {
        println!("skipped: no bash or env here");
        return;
    }
    let start = "torchrun --nproc_per_node=8 train_gpt.py";
    for text in [
        format!("A=1 B='x y' {start}"),
        format!("A=1 \\\nB=\"2\" \\\n{start} # C=3"),
        format!("export A=1 B=2\nunset B\nC=3 {start}"),
        format!("A=1\nexport A\nB=$A$A {start}"),
        format!("A=1\nA=2 B=$A {start}"),
        format!("export A=1\nA=2\n{start}"),
        format!("env A=1 B=${{C:-7}} {start}"),
        format!("C=\nA=${{C:-7}} B=${{C-8}} {start}"),
        format!("A='$HOMELESS' B=\"\\$X\" C=a\\ b {start}"),
        format!("A=\"a\\\\b\" B='a\\b' {start}"),
        format!("set -a; A=1; set +a; B=2; C=$B {start}"),
        format!("for A in 5; do A=$A {start}; done"),
        format!("L=(6 7)\nfor x in \"${{L[@]}}\"; do :; done\nA=$x {start}"),
        format!("read A B <<< \"1 2\"\nC=$A$B {start}"),
        format!("R=\"{start}\"\nA=1 $R"),
        format!("cat <<EOF >/dev/null\nexport A=9\nEOF\nB=1 {start}"),
        format!("A=1 true && B=2 {start}"),
        format!("true; A=1 {start} > /dev/stdout 2>&1"),
        format!("A= B=\"\" {start}"),
        format!("A=a=b=c B=--x {start}"),
    ] {
        let output = Command::new("/bin/bash")
            .args(["-c", &text])
            .env_clear()
            .env("PATH", bin.path())
            .current_dir(bin.path())
            .output()
            .unwrap();
        let ignored = ["PATH=", "PWD=", "OLDPWD=", "SHLVL=", "_="];
        let lines = String::from_utf8(output.stdout).unwrap();
        let mut expected: Vec<&str> =
            lines.lines().filter(|line| !ignored.iter().any(|name| line.starts_with(name))).collect();
        expected.sort_unstable();
        assert!(!expected.is_empty(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
        let request = Request { allexport: Some(false), ..Request::default() };
        let plan =
            plan_with(&[("README.md", &block(&text)), ("train_gpt.py", "print(1)\n")], &request, &Fake::default());
        assert_eq!(environment(&plan), expected, "{text}");
    }
}
