//! What the machine has and lacks.

use super::*;
use crate::manifest::MountRole;

fn start() -> String {
    block("SEED=42 torchrun --nproc_per_node=8 train_gpt.py")
}

#[test]
fn everything_missing_is_said_at_once() {
    let script = format!(
        "{SCRIPT}import flash_attn_interface\ntry:\n    import zstandard\nexcept ImportError:\n    pass\ncuda = 1\n"
    );
    let readme =
        block("DATA_PATH=/nowhere/sp1024 TOKENIZER_PATH=/nowhere/t.model torchrun --nproc_per_node=8 train_gpt.py");
    let machine = Fake { gpus: 1, free: 10, packages: vec!["numpy"], programs: Vec::new() };
    let plan = plan_with(&[("README.md", &readme), ("train_gpt.py", &script)], &Request::default(), &machine);
    let missing = messages(&plan, ProblemKind::Missing);
    assert_eq!(
        missing,
        [
            "data: `/nowhere/sp1024` (DATA_PATH, README.md:4) is not here",
            "tokenizer: `/nowhere/t.model` (TOKENIZER_PATH, README.md:4) is not here",
            "packages: /usr/bin/python3 finds no torch (train_gpt.py:2), flash_attn_interface (train_gpt.py:10)",
            "GPUs: 8 wanted, 1 found",
            "disk: about 268,435,456 bytes wanted, 10 bytes free here",
        ]
    );
    let optional = plan.packages.imported.iter().find(|package| package.name == "zstandard").unwrap();
    assert!(!optional.required && optional.installed == Some(false));
    let shown = super::super::text(&plan, false);
    assert!(
        shown.contains("zstandard (missing, optional)") && shown.contains("cannot start: 5 missing, 0 ambiguous"),
        "{shown}"
    );
}

#[test]
fn packages_of_local_modules_count_and_local_modules_do_not() {
    let files = [
        ("train_gpt.py", "import kernels\nx = 1\n"),
        ("kernels.py", "import triton\n"),
        ("plot.py", "import seaborn\n"),
    ];
    let plan =
        plan_with(&files, &Request { script: Some("train_gpt.py".into()), ..Request::default() }, &Fake::default());
    let names: Vec<&str> = plan.packages.imported.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(names, ["triton"]);
}

#[test]
fn data_paths_of_flags_go_where_the_script_looks() {
    let here = tempfile::tempdir().unwrap();
    let request =
        Request { data_path: Some(here.path().into()), tokenizer_path: Some(here.path().into()), ..Request::default() };
    let path = here.path().to_str().unwrap();
    let told = |readme: &str, script: &str| {
        let plan = plan_with(&[("README.md", &block(readme)), ("train_gpt.py", script)], &request, &Fake::default());
        let data: Vec<(MountRole, Option<String>)> =
            plan.data.iter().map(|data| (data.role, data.told_by.clone())).collect();
        assert!(plan.data.iter().all(|data| data.found.is_some()), "{:?}", plan.data);
        (data, environment(&plan), arguments(&plan))
    };
    let (data, variables, _) = told("DATA_PATH=/x TOKENIZER_PATH=/y torchrun --nproc_per_node=8 train_gpt.py", SCRIPT);
    assert_eq!(
        data,
        [(MountRole::Data, Some("DATA_PATH".into())), (MountRole::Tokenizer, Some("TOKENIZER_PATH".into()))]
    );
    assert!(variables.contains(&format!("DATA_PATH={path}")) && variables.contains(&format!("TOKENIZER_PATH={path}")));
    let folder_only = "import os\nD = os.environ.get('DATA_DIR', './data')\n";
    let (data, variables, _) = told("DATA_DIR=./data torchrun --nproc_per_node=8 train_gpt.py", folder_only);
    assert_eq!(data[0], (MountRole::Data, Some("DATA_DIR".into())));
    assert!(variables.contains(&format!("DATA_DIR={path}")), "{variables:?}");
    let (_, _, arguments) = told(
        "torchrun --nproc_per_node=8 train_gpt.py --data-path /x --tokenizer_path=/y",
        "import sys\nx = sys.argv\n",
    );
    assert_eq!(arguments, format!("--data-path {path} --tokenizer_path={path}"));
}

#[test]
fn data_beside_the_script_is_found() {
    let readme = block("DATA_PATH=./tokens torchrun --nproc_per_node=8 train_gpt.py");
    let plan = plan_with(
        &[("README.md", &readme), ("train_gpt.py", SCRIPT), ("tokens/a.bin", "x")],
        &Request::default(),
        &Fake::default(),
    );
    assert!(plan.startable, "{:?}", plan.problems);
}

#[cfg(unix)]
#[test]
fn a_submission_gets_no_file_of_this_machine_by_naming_it() {
    let elsewhere = tempfile::tempdir().unwrap();
    let secret = elsewhere.path().join("key");
    std::fs::write(&secret, "x").unwrap();
    let path = secret.canonicalize().unwrap().display().to_string();
    let plan_for = |stated: &str, request: &Request| {
        let readme = block(&format!("TOKENIZER_PATH={stated} torchrun --nproc_per_node=8 train_gpt.py"));
        let folder = folder(&[("README.md", &readme), ("train_gpt.py", SCRIPT), (".git/key", "x")]);
        std::os::unix::fs::symlink(&secret, folder.path().join("link")).unwrap();
        super::super::plan(&Subject::of_folder(RecordFolder::read(folder.path())), request, &Fake::default())
    };
    for stated in [path.as_str(), "./link", "./.git/key"] {
        let plan = plan_for(stated, &Request::default());
        let missing = messages(&plan, ProblemKind::Missing);
        assert!(missing.len() == 1 && missing[0].contains("lies outside of this folder"), "{stated}: {missing:?}");
        assert!(plan.data.iter().all(|data| data.role == MountRole::Data || data.found.is_none()));
    }
    let allowed = Request { tokenizer_path: Some(secret.clone()), ..Request::default() };
    assert!(plan_for("/nowhere", &allowed).startable);
}

#[test]
fn time_and_room_come_from_the_logs() {
    let log = "seed:42\nworld_size:8 grad_accum_steps:1\nstep:9/9 val_loss:2.0 val_bpb:1.2 train_time:500000ms step_avg:5ms\n\
               Serialized model: 100000000 bytes\nfinal_int8_zlib_roundtrip val_loss:2.0 val_bpb:1.2 eval_time:120000ms\n";
    let request = Request { seeds: vec![1, 2, 3], ..Request::default() };
    let plan =
        plan_with(&[("README.md", &start()), ("train_gpt.py", SCRIPT), ("train.log", log)], &request, &Fake::default());
    let time = plan.time.as_ref().unwrap();
    assert_eq!((time.train_seconds.value, time.eval_seconds.value), (500.0, 120.0));
    assert_eq!(time.total_seconds, 3.0 * (500.0 + 120.0 + 180.0));
    assert_eq!(time.train_seconds.source.to_string(), "train.log:3");
    // Without logs: the script's cap, which here is the track's.
    let plan = plan_with(&[("README.md", &start()), ("train_gpt.py", SCRIPT)], &Request::default(), &Fake::default());
    assert_eq!(plan.time.unwrap().train_seconds.value, 600.0);
}

#[test]
fn one_process_uses_no_gpu_that_nothing_asks_for() {
    let machine = Fake { gpus: 0, programs: Vec::new(), ..Fake::default() };
    let plan =
        plan_with(&[("train_gpt.py", "import os\nS = os.environ.get('SEED', '1')\n")], &Request::default(), &machine);
    assert!(plan.startable && plan.gpus.wanted == 0, "{:?}", plan.problems);
}

#[test]
fn launchers_that_are_not_there_are_missing() {
    let machine = Fake { programs: Vec::new(), ..Fake::default() };
    let readme = block("srun -n 8 python train_gpt.py");
    let plan = plan_with(&[("README.md", &readme), ("train_gpt.py", SCRIPT)], &Request::default(), &machine);
    assert_eq!(messages(&plan, ProblemKind::Missing), ["launcher: srun is not on the path"]);
}
