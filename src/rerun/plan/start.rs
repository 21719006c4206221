//! Script, launcher, processes and seeds.

use super::candidates::{Candidate, SEED};
use super::choose::{logged_processes, script_file};
use super::command_line::{Processes, Program};
use super::document::Plan;
use super::request::Request;
use super::source::{Source, SourceKind, Sourced};
use super::subject::{ScriptFacts, Subject};
use super::words::find_file;
use crate::manifest::{Launcher, MAX_PROCESSES};

/// The name the challenge gives to a submission's script.
const USUAL_SCRIPT: &str = "train_gpt.py";
/// Variables of a process among several.
pub(super) const RANK_VARIABLES: [&str; 3] = ["RANK", "WORLD_SIZE", "LOCAL_RANK"];

/// Where a candidate's command stands.
pub(super) fn source_of(candidate: &Candidate) -> Source {
    let launch = &candidate.launch;
    let kind = if launch.file == "submission.json" { SourceKind::SubmissionJson } else { SourceKind::Readme };
    Source::at(kind, &launch.file, launch.line)
}

fn manifest_source(subject: &Subject) -> Option<Source> {
    let manifest = subject.manifest.as_ref()?;
    Some(Source { kind: SourceKind::Manifest, name: manifest.path.display().to_string(), line: None })
}

/// The script to start.
pub(super) fn script(subject: &Subject, request: &Request, candidate: Option<&Candidate>, plan: &mut Plan) {
    let folder = &subject.folder;
    let python: Vec<&str> =
        folder.code.iter().map(|code| code.path.as_str()).filter(|path| path.ends_with(".py")).collect();
    let at_top: Vec<&str> = python.iter().copied().filter(|path| !path.contains('/')).collect();
    let stated = match (&request.script, &subject.manifest, candidate) {
        (Some(script), _, _) => Some(Sourced::new(script.clone(), Source::flag("--script"))),
        (None, Some(manifest), _) => manifest_source(subject)
            .map(|source| Sourced::new(manifest.run.script.to_string_lossy().into_owned(), source)),
        (None, None, Some(candidate)) => Some(Sourced::new(candidate.launch.script.clone(), source_of(candidate))),
        (None, None, None) => None,
    };
    if let Some(stated) = stated {
        let exact = stated.source.kind != SourceKind::Readme;
        let found = match python.iter().find(|path| **path == stated.value.trim_start_matches("./")) {
            Some(path) => Some((*path).to_string()),
            None if exact => None,
            None => script_file(folder, &stated.value),
        };
        match found {
            Some(path) => plan.script = Some(Sourced::new(path, stated.source)),
            None => {
                let choices: Vec<String> = at_top.iter().take(6).map(|path| format!("--script {path}")).collect();
                let remedy = match choices.as_slice() {
                    [] => "the folder holds no Python file; check it out in full".to_string(),
                    choices => choices.join(" or "),
                };
                let is_there = find_file(folder.code.iter().map(|code| code.path.as_str()), &stated.value).is_some();
                let what = if is_there {
                    "in which no start of a Python script was found"
                } else {
                    "which is not in the folder"
                };
                plan.missing(format!("script: {} starts `{}`, {what}", stated.source, stated.value), remedy);
            }
        }
        return;
    }
    match at_top.as_slice() {
        [] => plan.missing("script: no Python file at the top of the folder", "--script PATH"),
        [only] => plan.script = Some(Sourced::new((*only).to_string(), Source::default_of("the folder's only script"))),
        names if names.contains(&USUAL_SCRIPT) => {
            plan.script = Some(Sourced::new(USUAL_SCRIPT.into(), Source::default_of("the challenge")));
        }
        names => {
            let choices: Vec<String> = names.iter().take(8).map(|path| format!("--script {path}")).collect();
            plan.ambiguous(
                format!("script: {} files could be it, and no command says which", names.len()),
                choices.join(" or "),
            );
        }
    }
}

/// The program that starts the script.
pub(super) fn launcher(
    subject: &Subject,
    request: &Request,
    candidate: Option<&Candidate>,
    facts: &ScriptFacts,
    plan: &mut Plan,
) {
    if let Some(launcher) = request.launcher {
        plan.launcher = Some(Sourced::new(launcher, Source::flag("--launcher")));
        return;
    }
    if let (Some(manifest), Some(source)) = (&subject.manifest, manifest_source(subject)) {
        plan.launcher = Some(Sourced::new(manifest.run.launcher, source));
        return;
    }
    if let Some(candidate) = candidate {
        let known = match &candidate.launch.program {
            Program::Torchrun => Some(Launcher::Torchrun),
            Program::Python => Some(Launcher::Python),
            Program::Srun => Some(Launcher::Srun),
            Program::Sbatch => Some(Launcher::Sbatch),
            Program::Other(_) => None,
        };
        match known {
            Some(launcher) => plan.launcher = Some(Sourced::new(launcher, source_of(candidate))),
            None => plan.ambiguous(
                format!(
                    "launcher: {} starts the script by `{}`",
                    source_of(candidate),
                    candidate.launch.program.word()
                ),
                "--launcher torchrun --nproc N, or another that starts the script directly",
            ),
        }
        return;
    }
    let reads_rank = RANK_VARIABLES.iter().find_map(|name| facts.reads(name));
    let logged = || {
        let log = subject.folder.logs.iter().find(|log| log.world_size.as_ref().is_some_and(|size| size.value > 1))?;
        Some(Source::at(SourceKind::Log, &log.path, log.world_size.as_ref()?.line))
    };
    if let Some(source) = reads_rank.or_else(|| facts.main.is_none().then(logged).flatten()) {
        plan.launcher = Some(Sourced::new(Launcher::Torchrun, source));
    } else if facts.is_known()
        && let Some(script) = &plan.script
    {
        let source = Source { kind: SourceKind::Default, name: script.value.clone(), line: None };
        plan.launcher = Some(Sourced::new(Launcher::Python, source));
    } else {
        plan.ambiguous("launcher: nothing says how the script is started", "--launcher torchrun or --launcher python");
    }
}

/// The number of processes.
pub(super) fn processes(subject: &Subject, request: &Request, candidate: Option<&Candidate>, plan: &mut Plan) {
    let launcher = plan.launcher.as_ref().map(|launcher| launcher.value);
    let log = subject.folder.logs.iter().find(|log| log.world_size.is_some());
    let logged = logged_processes(subject).and_then(|count| {
        let source = Source::at(SourceKind::Log, &log?.path, log?.world_size.as_ref()?.line);
        let count = u32::try_from(count).ok().filter(|count| (1..=MAX_PROCESSES).contains(count))?;
        Some(Sourced::new(count, source))
    });
    if let Some(count) = request.processes {
        plan.processes = Some(Sourced::new(count, Source::flag("--nproc")));
    } else if launcher == Some(Launcher::Python) {
        plan.processes = Some(Sourced::new(1, Source::default_of("python")));
    } else if let (Some(manifest), Some(source)) = (&subject.manifest, manifest_source(subject)) {
        plan.processes = Some(Sourced::new(manifest.run.processes, source));
    } else {
        let is_known = |candidate: &&Candidate| !matches!(candidate.launch.program, Program::Other(_));
        let stated = candidate.filter(is_known).map(|candidate| (&candidate.launch.processes, source_of(candidate)));
        match (stated, &logged) {
            (Some((Processes::Stated(count), source)), _) => plan.processes = Some(Sourced::new(*count, source)),
            (Some((Processes::Default, source)), Some(logged)) if logged.value != 1 => plan.ambiguous(
                format!("processes: {source} states none, so one starts; {} ran on {}", logged.source, logged.value),
                format!("--nproc {} or --nproc 1", logged.value),
            ),
            (Some((Processes::Default, source)), _) => plan.processes = Some(Sourced::new(1, source)),
            (Some((Processes::Unclear(_), _)) | None, Some(logged)) => plan.processes = Some(logged.clone()),
            (Some((Processes::Unclear(text), source)), None) => {
                plan.ambiguous(format!("processes: {source} says `{text}`"), "--nproc N");
            }
            (None, None) => plan.ambiguous("processes: nothing says how many", "--nproc N"),
        }
    }
    if let (Some(planned), Some(logged)) = (&plan.processes, &logged)
        && planned.value != logged.value
    {
        let note =
            format!("{} processes ({}); {} ran on {}", planned.value, planned.source, logged.source, logged.value);
        plan.note(note);
    }
    if launcher == Some(Launcher::Python) && plan.processes.as_ref().is_some_and(|count| count.value > 1) {
        plan.ambiguous("processes: python starts one process", "--launcher torchrun, or --nproc 1");
    }
}

/// The seeds. A command that gives one of the claimed seeds stands for all of them.
pub(super) fn seeds(
    subject: &Subject,
    request: &Request,
    candidate: Option<&Candidate>,
    facts: &ScriptFacts,
    plan: &mut Plan,
) {
    let folder = &subject.folder;
    let of_command = candidate.map(|candidate| Sourced::new(candidate.seeds.clone(), source_of(candidate)));
    let manifest = subject.manifest.as_ref().zip(manifest_source(subject));
    let of_manifest = manifest.map(|(manifest, source)| Sourced::new(manifest.run.seeds.clone(), source));
    let of_json = folder.submission.as_ref().map(|json| {
        let field = ["seeds", "seed_results", "per_seed_results", "seed"]
            .into_iter()
            .find(|key| json.fields.contains_key(*key));
        Sourced::new(
            json.seeds(),
            Source::at(SourceKind::SubmissionJson, &json.path, field.map_or(1, |key| json.line_of(key))),
        )
    });
    let first_log = folder.logs.iter().find(|log| log.seed().is_some());
    let of_logs = first_log.map(|first| {
        let mut seeds: Vec<u64> = Vec::new();
        for seed in folder.logs.iter().filter_map(|log| log.seed()) {
            if !seeds.contains(&seed) {
                seeds.push(seed);
            }
        }
        Sourced::new(seeds, Source::at(SourceKind::Log, &first.path, first.seeds.first().map_or(1, |seed| seed.line)))
    });
    let of_script = facts.variables.get(SEED).and_then(|(file, variable)| {
        let seed = variable.default.as_ref()?.parse().ok()?;
        Some(Sourced::new(vec![seed], Source::at(SourceKind::Default, file, variable.line)))
    });
    // `torchrun t.py`, then `SEED=42 torchrun t.py`: the first seed is the script's own.
    let is_part = |claimed: &Sourced<Vec<u64>>| {
        let named = candidate.map_or(&[][..], |candidate| &candidate.seeds);
        claimed.value.len() > named.len() && named.iter().all(|seed| claimed.value.contains(seed))
    };
    let unseeded = candidate.is_some_and(|candidate| candidate.has_unseeded);
    let whole = |claimed: &Option<Sourced<Vec<u64>>>| claimed.clone().filter(|claimed| unseeded && is_part(claimed));
    let several = |seeds: &Option<Sourced<Vec<u64>>>| seeds.clone().filter(|seeds| seeds.value.len() > 1);
    let any = |seeds: Option<Sourced<Vec<u64>>>| seeds.filter(|seeds| !seeds.value.is_empty());
    let of_command = of_command.map(|mut seeds| {
        match of_script.as_ref().map(|default| default.value[0]).filter(|_| unseeded) {
            Some(default) if !seeds.value.is_empty() && !seeds.value.contains(&default) => {
                seeds.value.insert(0, default)
            }
            _ => {}
        }
        seeds
    });
    plan.seeds = if request.seeds.is_empty() {
        any(of_manifest)
            .or_else(|| whole(&of_json))
            .or_else(|| whole(&of_logs))
            .or_else(|| several(&of_command))
            .or_else(|| several(&of_json))
            .or_else(|| several(&of_logs))
            .or_else(|| any(of_command))
            .or_else(|| any(of_json))
            .or_else(|| any(of_logs))
            .or_else(|| any(of_script))
    } else {
        Some(Sourced::new(request.seeds.clone(), Source::flag("--seeds")))
    };
    if plan.seeds.is_none() {
        plan.ambiguous("seeds: nothing names one", "--seeds 42,1337,2025");
    }
}
