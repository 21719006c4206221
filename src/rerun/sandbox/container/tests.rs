//! Command lines for three engines, of which tests may have none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::arguments::Inside;
use super::{Container, Engine, EngineBounds, Mapping, User};
use crate::rerun::launch::{Caps, Launch, Limits, Mount, Python, Start};
use crate::rerun::sandbox::{Place, SandboxError};
use crate::units::Bytes;

fn container(engine: Engine, mapping: Mapping) -> Container {
    Container {
        engine,
        program: engine.word().into(),
        version: "1.0".into(),
        image: "image:tag".into(),
        id: "ab".repeat(32),
        digest: format!("sha256:{}", "cd".repeat(32)),
        user: User { uid: 1234, gid: 1235, mapping },
        bounds: EngineBounds { memory: true, processes: true },
    }
}

fn launch(file: &str) -> Launch {
    Launch {
        name: "n".into(),
        folder: "/submission".into(),
        files: vec![file.into()],
        counted: vec![file.into()],
        start: Start::Python,
        script: file.into(),
        arguments: Vec::new(),
        variables: BTreeMap::new(),
        stated: BTreeMap::new(),
        data: vec![Mount { source: "/data/shards".into(), at: PathBuf::from("data") }],
        python: Python::default(),
        limits: Limits { memory: Bytes(1 << 30), disk: Bytes(1), output: Bytes(1), processes: 100 },
        caps: Caps::default(),
    }
}

fn words(container: &Container, file: &str, has_gpus: bool) -> Result<Vec<String>, SandboxError> {
    let (launch, place) = (launch(file), Place::below(Path::new("/out/seed-1")));
    let (program, lock) = (Path::new("/bin/rerun"), Path::new("/out/.lock"));
    container.arguments(&Inside { launch: &launch, place: &place, program, lock, has_gpus })
}

/// Whether these words stand beside one another.
fn has(words: &[String], wanted: &[&str]) -> bool {
    words.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn engines_are_told_everything_that_a_script_is_not_to_have() {
    for engine in [Engine::Podman, Engine::Docker] {
        let words = words(&container(engine, Mapping::Same), "train_gpt.py", false).unwrap();
        for wanted in [
            "--rm",
            "--pull=never",
            "--network=none",
            "--read-only",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
            "--log-driver=none",
        ] {
            assert!(has(&words, &[wanted]), "{wanted}: {words:?}");
        }
        assert_eq!(words[..2], [engine.word(), "run"]);
        assert!(has(&words, &["--user", "1234:1235"]));
        // What is looked at, a sixteenth and 64 MiB more: the kernel's bound comes after ours.
        let memory = ((1u64 << 30) + (1 << 26) + (64 << 20)).to_string();
        assert!(has(&words, &["--memory", &memory]) && has(&words, &["--memory-swap", &memory]));
        assert!(has(&words, &["--pids-limit", "32868"]));
        for wanted in [
            "type=bind,source=/out/seed-1/work,destination=/rerun/work",
            "type=bind,source=/data/shards,destination=/rerun/work/data,ro",
            "type=bind,source=/submission/train_gpt.py,destination=/rerun/work/train_gpt.py,ro",
            "type=bind,source=/bin/rerun,destination=/run/golf-harness/rerun,ro",
            "type=bind,source=/out/.lock,destination=/run/golf-harness/lock,ro",
        ] {
            assert!(has(&words, &["--mount", wanted]), "{wanted}: {words:?}");
        }
        // Nothing but its own three folders can be written.
        let mounts = words.iter().filter(|word| word.starts_with("type=bind"));
        assert_eq!(mounts.filter(|mount| !mount.ends_with(",ro")).count(), 3);
        assert!(!words.iter().any(|word| word.contains("nvidia") || word.starts_with("--gpus")));
        // The image is named by what it is, so that nobody can put another in its place.
        let image = words.iter().position(|word| *word == "ab".repeat(32)).unwrap();
        assert!(words[image..].iter().any(|word| word == "/run/golf-harness/rerun") || image + 1 == words.len());
    }
}

#[test]
fn apptainer_is_told_the_same_in_its_own_words() {
    let words = words(&container(Engine::Apptainer, Mapping::Same), "train_gpt.py", true).unwrap();
    for wanted in [
        &["exec", "--containall"][..],
        &["--cleanenv"],
        &["--no-home"],
        &["--no-privs"],
        &["--drop-caps", "ALL"],
        &["--net", "--network", "none"],
        &["--nv"],
        &["--pwd", "/rerun/work"],
        &["--mount", "type=bind,source=/submission/train_gpt.py,destination=/rerun/work/train_gpt.py,ro"],
    ] {
        assert!(has(&words, wanted), "{wanted:?}: {words:?}");
    }
}

#[test]
fn numbers_of_users_are_kept_where_they_would_be_others() {
    let kept = words(&container(Engine::Podman, Mapping::KeptId), "f", false).unwrap();
    assert!(has(&kept, &["--userns", "keep-id"]));
    assert!(!words(&container(Engine::Podman, Mapping::Nobody), "f", false).unwrap().contains(&"--userns".into()));
}

#[test]
fn gpus_are_those_asked_for() {
    let of = |engine, visible| super::gpus::arguments(engine, true, visible);
    assert_eq!(of(Engine::Podman, None), ["--device=nvidia.com/gpu=all"]);
    assert_eq!(of(Engine::Podman, Some("0, 2")), ["--device=nvidia.com/gpu=0", "--device=nvidia.com/gpu=2"]);
    assert_eq!(of(Engine::Docker, Some("")), ["--gpus=all"]);
    assert_eq!(of(Engine::Docker, Some("GPU-1a,3")), ["--gpus=\"device=GPU-1a,3\""]);
    assert_eq!(of(Engine::Apptainer, Some("0")), ["--nv"]);
    assert!(super::gpus::arguments(Engine::Docker, false, None).is_empty());
}

#[test]
fn a_path_that_would_be_read_as_more_fields_is_refused() {
    for odd in ["a,destination=/etc", "a\"b", "a\nb"] {
        let refused = words(&container(Engine::Docker, Mapping::Same), odd, false).unwrap_err();
        assert!(matches!(refused, SandboxError::OddPath(_)), "{odd}: {refused}");
    }
}

#[test]
fn a_run_folder_has_one_name_for_its_containers() {
    let name = Container::name(Path::new("/out/.lock"));
    assert_eq!(name, Container::name(Path::new("/out/.lock")));
    assert_ne!(name, Container::name(Path::new("/other/.lock")));
    let removal = |engine| container(engine, Mapping::Same).removal("name");
    assert_eq!(removal(Engine::Docker).unwrap(), ["docker", "rm", "--force", "name"]);
    assert_eq!(removal(Engine::Podman).unwrap(), ["podman", "rm", "--force", "--time", "0", "--ignore", "name"]);
    assert_eq!(removal(Engine::Apptainer), None);
}
