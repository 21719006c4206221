//! What a run needs of the machine: packages, GPUs, room, time.

use std::path::Path;

use super::document::{Disk, Gpus, Package, Plan, Time};
use super::machine::Machine;
use super::source::{Source, SourceKind, Sourced};
use super::subject::{ScriptFacts, Subject};
use crate::manifest::{Launcher, Track};
use crate::submission::code::Origin;
use crate::submission::log::SizeKind;
use crate::units::Bytes;

/// Start, compilation and export of one seed: what runs of the challenge take beside training and evaluation.
const OVERHEAD_SECONDS: f64 = 180.0;
/// Caps of the ten-minute track: what a run may take where nothing says what it took.
const CAP_SECONDS: f64 = 600.0;
/// Room for one seed where no log states the size of a checkpoint: twice the usual 100 MB, and its log.
const USUAL_SEED_BYTES: u64 = 256 << 20;

/// Packages that the script and its modules import, and whether the interpreter finds them.
pub(super) fn packages(subject: &Subject, machine: &dyn Machine, plan: &mut Plan) {
    let Some(script) = plan.script.as_ref().map(|script| script.value.clone()) else { return };
    let files = subject.files_of(&script);
    for facts in &files {
        for import in facts.imports.iter().filter(|import| import.origin == Origin::Package) {
            let source = Source::at(SourceKind::Default, &facts.path, import.line);
            match plan.packages.imported.iter_mut().find(|known| known.name == import.module) {
                Some(known) => known.required |= !import.guarded,
                None => plan.packages.imported.push(Package {
                    name: import.module.clone(),
                    source,
                    required: !import.guarded,
                    installed: None,
                }),
            }
        }
    }
    let names: Vec<String> = plan.packages.imported.iter().map(|package| package.name.clone()).collect();
    let answer = match machine.packages(&names) {
        Ok(answer) => answer,
        Err(error) => return plan.missing(format!("interpreter: {error}"), "--python PATH"),
    };
    for package in &mut plan.packages.imported {
        package.installed = Some(answer.found.contains(&package.name));
    }
    let absent = plan.packages.imported.iter().filter(|package| package.required && package.installed == Some(false));
    let absent: Vec<String> = absent
        .map(|package| format!("{} ({}:{})", package.name, package.source.name, package.source.line.unwrap_or(0)))
        .collect();
    if !absent.is_empty() {
        plan.missing(
            format!("packages: {} finds no {}", answer.executable, absent.join(", ")),
            "install them for that interpreter, or pass --python with one that has them",
        );
    }
    if let Some(newer) = files.iter().find_map(|facts| Some((facts.path.clone(), facts.needs_3_12.first()?.line)))
        && is_older(&answer.version, (3, 12))
    {
        plan.missing(
            format!("Python: {}:{} needs 3.12 or newer; {} is {}", newer.0, newer.1, answer.executable, answer.version),
            "--python with a newer interpreter",
        );
    }
    plan.packages.interpreter = Some(answer.executable);
    plan.packages.version = Some(answer.version);
}

fn is_older(version: &str, than: (u32, u32)) -> bool {
    let mut parts = version.split('.').map_while(|part| part.parse::<u32>().ok());
    match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) => (major, minor) < than,
        _ => false,
    }
}

/// The launcher's own program.
pub(super) fn programs(machine: &dyn Machine, plan: &mut Plan) {
    let launcher = plan.launcher.as_ref().map(|launcher| launcher.value);
    match launcher {
        Some(Launcher::Torchrun) => {
            // `python -m torch.distributed.run` is torchrun; where torch is missing, that is said already.
            let has_torch = plan.packages.imported.iter().any(|package| package.name == "torch");
            if !has_torch && !machine.has_program("torchrun") {
                plan.missing("launcher: torchrun is not on the path", "install PyTorch");
            }
        }
        Some(launcher @ (Launcher::Srun | Launcher::Sbatch)) if !machine.has_program(launcher.word()) => {
            plan.missing(
                format!("launcher: {} is not on the path", launcher.word()),
                "run where Slurm is, or --launcher torchrun --nproc N",
            );
        }
        _ => {}
    }
}

/// GPUs wanted, claimed and found.
pub(super) fn gpus(subject: &Subject, facts: &ScriptFacts, machine: &dyn Machine, plan: &mut Plan) {
    let mut claimed: Vec<String> = Vec::new();
    for device in subject.folder.logs.iter().flat_map(|log| &log.devices) {
        let name = crate::escape::visible(&device.value);
        if !claimed.contains(&name) && claimed.len() < 8 {
            claimed.push(name);
        }
    }
    let imports_torch = plan.packages.imported.iter().any(|package| package.name == "torch");
    // Where the script is not known, it is taken for one of the challenge.
    let uses = !claimed.is_empty() || imports_torch && mentions_cuda(subject, plan) || facts.main.is_none();
    let wanted = if uses { plan.processes.as_ref().map_or(0, |processes| processes.value) } else { 0 };
    let found = machine.gpus();
    let is_elsewhere =
        plan.launcher.as_ref().is_some_and(|launcher| matches!(launcher.value, Launcher::Srun | Launcher::Sbatch));
    if is_elsewhere && wanted > 0 {
        plan.note(format!("{wanted} GPUs: ask Slurm for them, such as by --launcher-arg=--gpus-per-node={wanted}"));
    } else if (found.len() as u64) < u64::from(wanted) {
        let claimed = claimed.first().map_or(String::new(), |name| format!(" ({name} in the logs)"));
        plan.missing(
            format!("GPUs: {wanted} wanted{claimed}, {} found", found.len()),
            "run on such a machine; --smoke --nproc N tries it on fewer",
        );
    }
    plan.gpus = Gpus { wanted, claimed, found };
}

fn mentions_cuda(subject: &Subject, plan: &Plan) -> bool {
    let script = plan.script.as_ref().map(|script| script.value.as_str());
    let code = subject.folder.code.iter().find(|code| Some(code.path.as_str()) == script);
    let survey = subject.folder.survey.files.iter().find(|facts| Some(facts.path.as_str()) == script);
    let inside = survey.and_then(|facts| facts.packed.as_ref()?.as_ref().ok()).map(|packed| packed.source.as_str());
    inside.or(code.and_then(|code| code.text.as_deref())).is_some_and(|text| text.contains("cuda"))
}

/// Room for checkpoints, artifacts and logs.
pub(super) fn disk(subject: &Subject, machine: &dyn Machine, plan: &mut Plan) {
    let seeds = plan.seeds.as_ref().map_or(1, |seeds| seeds.value.len().max(1)) as u64;
    let of = |log: &crate::submission::LogFile| {
        let models = log.sizes_of(SizeKind::Model).map(|size| size.bytes).max().unwrap_or(0);
        // A checkpoint, a copy while it is written, the artifact and the log.
        models.saturating_mul(2).saturating_add(log.digest.bytes.0).saturating_add(Bytes::BUDGET.0)
    };
    let stated = subject.folder.logs.iter().map(of).max().unwrap_or(0);
    let needed = Bytes(stated.max(USUAL_SEED_BYTES).saturating_mul(seeds));
    let free = machine.free_bytes(Path::new(".")).map(Bytes);
    if free.is_some_and(|free| free < needed) {
        let free = free.unwrap_or_default();
        plan.missing(
            format!("disk: about {needed} bytes wanted, {free} bytes free here"),
            "free some, or run elsewhere",
        );
    }
    plan.disk = Disk { needed, free };
}

/// Time, from the logs, else from the caps. Not told for smoke runs.
pub(super) fn time(subject: &Subject, plan: &mut Plan) {
    if plan.smoke {
        return;
    }
    let logs = &subject.folder.logs;
    let trained = logs
        .iter()
        .filter_map(|log| Some((log.train_seconds.as_ref()?, log)))
        .max_by(|a, b| a.0.value.total_cmp(&b.0.value));
    let capped = plan.set_variable("MAX_WALLCLOCK_SECONDS").and_then(|variable| {
        let seconds = variable.value.parse::<f64>().ok().filter(|seconds| seconds.is_finite() && *seconds > 0.0)?;
        Some(Sourced::new(seconds, variable.source.clone()))
    });
    let cap = || {
        let is_capped = subject.folder.track() == Track::TenMinutes;
        is_capped.then(|| Sourced::new(CAP_SECONDS, Source::default_of("the track's cap")))
    };
    let logged =
        trained.map(|(noted, log)| Sourced::new(noted.value, Source::at(SourceKind::Log, &log.path, noted.line)));
    let Some(train) = logged.or(capped).or_else(cap) else { return };
    let evaluated = logs.iter().flat_map(|log| log.eval_times.iter().map(move |time| (time, log)));
    let longest = evaluated.max_by(|a, b| {
        (a.0.is_total, a.0.seconds).partial_cmp(&(b.0.is_total, b.0.seconds)).unwrap_or(std::cmp::Ordering::Equal)
    });
    let eval = match longest {
        Some((time, log)) => Sourced::new(time.seconds, Source::at(SourceKind::Log, &log.path, time.line)),
        None => Sourced::new(CAP_SECONDS, Source::default_of("the track's cap")),
    };
    let seeds = plan.seeds.as_ref().map_or(1, |seeds| seeds.value.len().max(1)) as f64;
    let total = (train.value + eval.value + OVERHEAD_SECONDS) * seeds;
    plan.time = Some(Time {
        gpu_hours: total / 3600.0 * f64::from(plan.gpus.wanted),
        train_seconds: train,
        eval_seconds: eval,
        overhead_seconds: OVERHEAD_SECONDS,
        total_seconds: total,
    });
}
