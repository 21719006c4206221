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
