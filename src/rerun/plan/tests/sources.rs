//! Which source wins, and what weaker ones say.

use super::*;
use crate::manifest::{self, Launcher};
use crate::rerun::plan::{SourceKind, manifest_with_run};

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

#[test]
fn stronger_sources_win_and_weaker_ones_are_shown() {
    let readme = block("MATRIX_LR=0.02 SEED=1 torchrun --nproc_per_node=8 train_gpt.py");
    let json = "{\n\"env\": {\"MATRIX_LR\": 0.03, \"ITERATIONS\": 9}\n}";
    let log = "matrix_lr:0.04 max_wallclock_seconds:300.0\nstep:1/2 val_bpb:1.5\n";
    let files =
        [("README.md", readme.as_str()), ("train_gpt.py", SCRIPT), ("submission.json", json), ("train.log", log)];
    let plan = plan_with(&files, &Request::default(), &Fake::default());
    let rate = plan.set_variable("MATRIX_LR").unwrap();
    assert_eq!((rate.value.as_str(), rate.source.to_string()), ("0.02", "README.md:4".to_string()));
    let weaker: Vec<String> = rate.differs.iter().map(|other| format!("{} {}", other.source, other.value)).collect();
    assert_eq!(weaker, ["submission.json:2 0.03", "train.log:1 0.04"]);
    // Only submission.json, only the log (which differs from the script's default), only the script.
    let source = |name: &str| plan.set_variable(name).map(|variable| (variable.value.clone(), variable.source.kind));
    assert_eq!(source("ITERATIONS"), Some(("9".into(), SourceKind::SubmissionJson)));
    assert_eq!(source("MAX_WALLCLOCK_SECONDS"), Some(("300.0".into(), SourceKind::Log)));
    assert_eq!(source("DATA_PATH"), None);
    let request = Request { env: pairs(&[("MATRIX_LR", "0.05")]), ..Request::default() };
    let flagged = plan_with(&files, &request, &Fake::default());
    let rate = flagged.set_variable("MATRIX_LR").unwrap();
    assert_eq!((rate.value.as_str(), rate.source.to_string(), rate.differs.len()), ("0.05", "--env".into(), 3));
}

#[test]
fn a_logged_value_that_is_the_default_is_not_set() {
    let log = "matrix_lr:0.04 iterations:20000\nstep:1/2 val_bpb:1.5\n";
    let files = [("train_gpt.py", SCRIPT), ("train.log", log)];
    assert_eq!(environment(&plan_with(&files, &Request::default(), &Fake::default())), ["SEED={seed}"]);
    // Logs that do not agree are asked about.
    let other = "matrix_lr:0.05\nstep:1/2 val_bpb:1.5\n";
    let files = [("train_gpt.py", SCRIPT), ("a.log", "matrix_lr:0.06\nstep:1/2 val_bpb:1.5\n"), ("b.log", other)];
    let plan = plan_with(&files, &Request::default(), &Fake::default());
    let asked = messages(&plan, ProblemKind::Ambiguous).concat();
    assert!(asked.contains("MATRIX_LR: the logs do not agree (a.log:1 says 0.06, the default is 0.04)"), "{asked}");
}

#[test]
fn a_setting_reaches_the_script_by_the_way_it_has() {
    let script = format!("{SCRIPT}import argparse\np = argparse.ArgumentParser()\np.add_argument('--weight-decay')\n");
    let readme = block("torchrun --nproc_per_node=8 train_gpt.py --weight-decay 0.1 --x");
    let request = |key: &str| Request { set: pairs(&[(key, "0.5")]), ..Request::default() };
    let plan =
        |key: &str| plan_with(&[("README.md", &readme), ("train_gpt.py", &script)], &request(key), &Fake::default());
    assert_eq!(plan("MATRIX_LR").set_variable("MATRIX_LR").unwrap().value, "0.5");
    assert_eq!(plan("matrix_lr").set_variable("MATRIX_LR").unwrap().value, "0.5");
    assert_eq!(arguments(&plan("weight_decay")), "--x --weight-decay 0.5");
    let unknown = plan("MATRIX_RL");
    assert_eq!(messages(&unknown, ProblemKind::Missing).len(), 1);
    assert!(unknown.problems[0].remedy.starts_with("--set MATRIX_LR=..."), "{:?}", unknown.problems);
}

#[test]
fn variables_that_nothing_reads_are_named() {
    let plan = plan_of(&block("NCCL_NET=Socket MATRX_LR=1 torchrun --nproc_per_node=8 train_gpt.py"));
    assert_eq!(plan.notes, ["set, and never read by the script: MATRX_LR (README.md:4)"]);
    // Not where the script works names out.
    let script = format!("{SCRIPT}for k in ks:\n    v = os.environ.get(k)\n");
    let readme = block("MATRX_LR=1 torchrun --nproc_per_node=8 train_gpt.py");
    let plan = plan_with(&[("README.md", &readme), ("train_gpt.py", &script)], &Request::default(), &Fake::default());
    assert!(!plan.notes.concat().contains("never read"), "{:?}", plan.notes);
}

#[test]
fn seeds_come_from_who_names_all_of_them() {
    let of = |readme: &str, json: &str| {
        let readme = block(readme);
        let plan = plan_with(
            &[("README.md", &readme), ("train_gpt.py", SCRIPT), ("submission.json", json)],
            &Request::default(),
            &Fake::default(),
        );
        let seeds = plan.seeds.unwrap();
        format!("{:?} {}", seeds.value, seeds.source)
    };
    let start = "torchrun --nproc_per_node=8 train_gpt.py";
    assert_eq!(of(&format!("SEED=42 {start}"), "{\"seeds\": [42, 7]}"), "[7, 42] submission.json:1");
    assert_eq!(of(&format!("SEED=42 {start}"), "{}"), "[42] README.md:4");
    assert_eq!(of(&format!("SEED=1 {start}\nSEED=2 {start}"), "{\"seeds\": [42, 7]}"), "[1, 2] README.md:4");
    assert_eq!(
        of(&format!("{start}\nSEED=2 {start}\nSEED=3 {start}"), "{\"seeds\": [1, 2, 3]}"),
        "[1, 2, 3] submission.json:1"
    );
    assert_eq!(of(start, "{}"), "[1337] default of train_gpt.py:6");
    assert_eq!(of(&format!("{start}\nSEED=2 {start}"), "{}"), "[1337, 2] README.md:4");
}

#[test]
fn a_script_without_a_seed_is_not_run_three_times_in_silence() {
    let script = "import os\nprint(1)\n";
    let request = Request { seeds: vec![1, 2], ..Request::default() };
    let plan = plan_with(&[("train_gpt.py", script)], &request, &Fake::default());
    assert!(messages(&plan, ProblemKind::Ambiguous).concat().contains("reads no SEED"), "{:?}", plan.problems);
    let by_option = "import argparse\np = argparse.ArgumentParser()\np.add_argument('--seed', default=1)\n";
    let plan = plan_with(&[("train_gpt.py", by_option)], &request, &Fake::default());
    assert_eq!(arguments(&plan), "--seed {seed}");
    assert_eq!(plan.launcher.unwrap().value, Launcher::Python);
}

#[test]
fn smoke_runs_are_short_uncapped_and_marked() {
    let request = Request { smoke: true, processes: Some(1), ..Request::default() };
    let readme = block("ITERATIONS=9000 torchrun --nproc_per_node=8 train_gpt.py");
    let plan = plan_with(&[("README.md", &readme), ("train_gpt.py", SCRIPT)], &request, &Fake::default());
    assert_eq!(environment(&plan), ["ITERATIONS=20", "MAX_WALLCLOCK_SECONDS=0", "SEED={seed}"]);
    assert!(plan.smoke && plan.time.is_none() && plan.startable, "{:?}", plan.problems);
    let plan = plan_with(&[("train_gpt.py", "import os\nx = os.getenv('STEPS')\n")], &request, &Fake::default());
    assert!(messages(&plan, ProblemKind::Missing).concat().contains("reads no ITERATIONS"));
}

#[test]
fn the_script_is_asked_for_where_nothing_says_which() {
    let several = plan_with(&[("a.py", "x = 1\n"), ("b.py", "x = 1\n")], &Request::default(), &Fake::default());
    assert_eq!(messages(&several, ProblemKind::Ambiguous)[0], "script: 2 files could be it, and no command says which");
    assert_eq!(
        several.problems.iter().find(|p| p.message.starts_with("script")).unwrap().remedy,
        "--script a.py or --script b.py"
    );
    let none = plan_with(&[("README.md", "x")], &Request::default(), &Fake::default());
    assert!(messages(&none, ProblemKind::Missing)[0].starts_with("script: no Python file"));
    let readme = block("torchrun --nproc_per_node=8 train_v5.py");
    let renamed = plan_with(&[("README.md", &readme), ("train_gpt.py", SCRIPT)], &Request::default(), &Fake::default());
    assert_eq!(
        messages(&renamed, ProblemKind::Missing)[0],
        "script: README.md:4 starts `train_v5.py`, which is not in the folder"
    );
    assert_eq!(renamed.problems[0].remedy, "--script train_gpt.py");
    let request = Request { script: Some("../train_gpt.py".into()), ..Request::default() };
    let outside = plan_with(&[("train_gpt.py", SCRIPT)], &request, &Fake::default());
    assert!(outside.script.is_none() && !outside.startable);
}

#[test]
fn a_plan_becomes_a_manifest_and_a_manifest_the_same_plan() {
    let readme = block("MATRIX_LR=0.02 SEED=42 torchrun --nproc_per_node=8 train_gpt.py --x 1");
    let folder = folder(&[("sub/README.md", &readme), ("sub/train_gpt.py", SCRIPT)]);
    let subject = Subject::read(&folder.path().join("sub")).unwrap();
    let request = Request { seeds: vec![1, 2], ..Request::default() };
    let first = super::super::plan(&subject, &request, &Fake::default());
    let output = folder.path().join("out/run.yaml");
    let text = manifest_with_run(&subject, &first, &output).unwrap();
    std::fs::create_dir_all(folder.path().join("out")).unwrap();
    std::fs::write(&output, &text).unwrap();
    let manifest = manifest::load(&output).unwrap();
    let run = manifest.run.as_ref().unwrap();
    assert_eq!((run.folder.to_str(), run.processes, run.seeds.as_slice()), (Some("../sub"), 8, &[1, 2][..]));
    let again = Subject::read(&output).unwrap();
    let second = super::super::plan(&again, &Request::default(), &Fake::default());
    assert_eq!((environment(&second), arguments(&second)), (environment(&first), arguments(&first)));
    assert!(second.startable, "{:?}", second.problems);
    assert!(second.variables.iter().filter(|v| v.is_set).all(|v| v.source.kind == SourceKind::Manifest));
    // Flags win over the manifest.
    let request = Request { env: pairs(&[("MATRIX_LR", "9")]), processes: Some(2), ..Request::default() };
    let third = super::super::plan(&again, &request, &Fake::default());
    assert_eq!(
        (third.set_variable("MATRIX_LR").unwrap().value.as_str(), third.processes.as_ref().unwrap().value),
        ("9", 2)
    );
    std::fs::write(folder.path().join("bare.yaml"), "schema: golf-harness/manifest/v1\nname: x\n").unwrap();
    let bare = Subject::read(&folder.path().join("bare.yaml")).unwrap_err().to_string();
    assert!(bare.contains("has no `run:` section"), "{bare}");
}
