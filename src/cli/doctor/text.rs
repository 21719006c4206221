//! What was found, as people read it.

use std::fmt::Write;

use super::diagnosis::{Diagnosis, Found, Machine, Present, Readiness};
use crate::escape::visible;
use crate::units::Bytes;

/// Every fact on a line, and the commands with what they lack; the commands alone if it is to be brief.
pub(super) fn text(diagnosis: &Diagnosis, is_brief: bool) -> String {
    let mut text = String::new();
    if !is_brief {
        for (name, value) in facts(diagnosis) {
            let _ = writeln!(text, "{name:12} {value}");
        }
        text.push('\n');
    }
    for Readiness { command, state, missing } in &diagnosis.commands {
        let _ = writeln!(text, "{command:12} {}", state.word());
        for missing in missing {
            let _ = writeln!(text, "{:12} no {}: {}", "", missing.what, missing.effect);
            let _ = writeln!(text, "{:12}   get it: {}", "", missing.remedy);
        }
    }
    text
}

fn facts(diagnosis: &Diagnosis) -> Vec<(&'static str, String)> {
    let (build, machine) = (&diagnosis.build, &diagnosis.machine);
    let mut facts = vec![
        ("program", format!("golf-harness {}, commit {}, {}", build.version, build.commit, build.build)),
        ("rulebook", build.rulebook.join(", ")),
        (
            "system",
            [Some(machine.platform.clone()), machine.kernel.clone()]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" "),
        ),
        ("processor", processor(machine)),
    ];
    if let Some(memory) = machine.memory {
        facts.push(("memory", format!("{}, {} available", size(Some(memory)), size(machine.memory_available))));
    }
    for disk in &machine.disks {
        facts.push(("disk", format!("{} free for the {}, {}", size(disk.free), disk.what, disk.path.display())));
    }
    facts.push(("gpu", if machine.gpus.is_empty() { "none".into() } else { visible(&machine.gpus.join(", ")) }));
    facts.extend(machine.driver.as_ref().map(|driver| ("driver", visible(driver))));
    facts.push(("libraries", found(&machine.libraries)));
    facts.push(("confinement", present(&machine.confinement)));
    facts.push(match &machine.python {
        Some(python) => {
            ("python", format!("{} {}; {}", python.version, visible(&python.executable), present(&python.packages)))
        }
        None => ("python", format!("none: {}", visible(machine.python_error.as_deref().unwrap_or("not asked")))),
    });
    facts.push(("programs", found(&machine.programs)));
    facts
}

fn processor(machine: &Machine) -> String {
    let instructions = present(&machine.instructions);
    let separator = if instructions.is_empty() { "" } else { "; " };
    format!("{}, {} threads{separator}{instructions}", visible(&machine.processor), machine.threads)
}

fn present(parts: &[Present]) -> String {
    let word = |is_there| match is_there {
        Some(true) => "yes",
        Some(false) => "no",
        None => "unknown",
    };
    parts.iter().map(|part| format!("{} {}", part.name, word(part.is_there))).collect::<Vec<_>>().join(", ")
}

fn found(parts: &[Found]) -> String {
    let word = |part: &Found| format!("{} {}", part.name, if part.path.is_some() { "yes" } else { "no" });
    parts.iter().map(word).collect::<Vec<_>>().join(", ")
}

/// In gigabytes, which is close enough for what it is asked for.
fn size(bytes: Option<Bytes>) -> String {
    bytes.map_or("unknown".into(), |Bytes(bytes)| format!("{:.1} GB", bytes as f64 / 1e9))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::cli::doctor::diagnosis::{Disk, Python};

    /// A machine of this build, without the lines that name the build.
    fn told(machine: Machine, is_brief: bool) -> String {
        let text = text(&Diagnosis::of(machine), is_brief);
        let names_build = |line: &&str| line.starts_with("program  ") || line.starts_with("rulebook ");
        text.lines().filter(|line| !names_build(line)).map(|line| format!("{line}\n")).collect()
    }

    fn present(name: &'static str, is_there: bool) -> Present {
        Present { name, is_there: Some(is_there) }
    }

    fn equipped() -> Machine {
        let found = |name, path: Option<&str>| Found { name, path: path.map(PathBuf::from) };
        Machine {
            platform: "linux x86_64".into(),
            kernel: Some("6.8.0".into()),
            processor: "Example CPU".into(),
            threads: 8,
            instructions: vec![present("avx2", true), present("avx512", false)],
            memory: Some(Bytes(64_000_000_000)),
            memory_available: Some(Bytes(60_500_000_000)),
            disks: vec![Disk { what: "current folder", path: "/home/a".into(), free: Some(Bytes(1_500_000_000)) }],
            gpus: vec!["NVIDIA H100 80GB HBM3".into()],
            driver: Some("580.95.05".into()),
            libraries: vec![found("libcuda.so.1", Some("/usr/lib/libcuda.so.1"))],
            confinement: vec![present("landlock", true), present("seccomp", true), present("user namespaces", true)],
            python: Some(Python {
                executable: "/usr/bin/python3".into(),
                version: "3.12.3".into(),
                packages: vec![present("torch", true), present("numpy", false)],
            }),
            python_error: None,
            programs: vec![found("bwrap", Some("/usr/bin/bwrap")), found("git", Some("/usr/bin/git"))],
        }
    }

    #[cfg(all(feature = "engine", target_os = "linux"))]
    #[test]
    fn a_machine_with_everything_and_one_with_nothing() {
        insta::assert_snapshot!("equipped", told(equipped(), false));
        let bare = Machine { platform: "linux x86_64".into(), threads: 1, ..Machine::default() };
        insta::assert_snapshot!("bare", told(bare, false));
    }

    #[test]
    fn a_brief_answer_is_of_the_commands_alone() {
        let text = told(equipped(), true);
        assert!(text.starts_with("verify       ready\n") && !text.contains("Example CPU"), "{text}");
    }
}
