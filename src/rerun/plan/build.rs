//! Makes the plan of a subject.

use super::choose::{self, Commands};
use super::document::{Disk, Gpus, PLAN_SCHEMA, Packages, Plan};
use super::machine::Machine;
use super::request::Request;
use super::source::{Source, SourceKind, Sourced};
use super::subject::{ScriptFacts, Subject};
use super::{data, resources, start, variables};
use crate::escape::visible;

/// What would be run, with everything that stands in the way. Nothing of the submission is executed.
pub fn plan(subject: &Subject, request: &Request, machine: &dyn Machine) -> Plan {
    let mut plan = Plan {
        schema: PLAN_SCHEMA.into(),
        name: visible(&subject.folder.name),
        startable: false,
        smoke: request.smoke,
        command: None,
        other_commands: Vec::new(),
        script: None,
        launcher: None,
        processes: None,
        seeds: None,
        variables: Vec::new(),
        arguments: Vec::new(),
        setup: Vec::new(),
        data: Vec::new(),
        packages: Packages::default(),
        gpus: Gpus::default(),
        disk: Disk::default(),
        time: None,
        problems: Vec::new(),
        notes: Vec::new(),
    };
    let plan = &mut plan;
    // A manifest with a `run:` section has made the choice.
    let found = if subject.manifest.is_some() {
        Commands::default()
    } else {
        choose::commands(&subject.folder, request.allexport)
    };
    let candidate = choose::choose(&found, subject, request, plan);
    let candidate = candidate.as_ref();
    start::script(subject, request, candidate, plan);
    let facts = plan.script.as_ref().map_or_else(ScriptFacts::default, |script| subject.script(&script.value));
    start::launcher(subject, request, candidate, &facts, plan);
    start::processes(subject, request, candidate, plan);
    start::seeds(subject, request, candidate, &facts, plan);
    variables::fill(subject, request, candidate, &facts, plan);
    setup(subject, &found, plan);
    data::fill(subject, request, &facts, plan);
    resources::packages(subject, machine, plan);
    resources::programs(machine, plan);
    resources::gpus(subject, &facts, machine, plan);
    resources::disk(subject, machine, plan);
    resources::time(subject, plan);
    if plan.script.is_some() && facts.main.is_none() {
        plan.note("the script could not be read as Python: what it reads and imports is not known");
    } else if facts.reads_computed_names {
        plan.note("the script also reads variables whose names it works out at run time");
    }
    if let (None, Some((count, line)), Some(readme)) = (&plan.command, found.unexported, &subject.folder.readme) {
        let path = readme.path.clone();
        plan.note(format!(
            "{path}:{line}: {count} variables are listed there, and no command gets them; --env passes them"
        ));
    }
    plan.problems.sort_by_key(|problem| problem.kind);
    plan.startable = plan.problems.is_empty();
    plan.clone()
}

fn setup(subject: &Subject, found: &Commands, plan: &mut Plan) {
    if let Some(manifest) = &subject.manifest {
        let name = manifest.path.display().to_string();
        let source = Source { kind: SourceKind::Manifest, name, line: None };
        plan.setup = manifest.run.setup.iter().map(|text| Sourced::new(visible(text), source.clone())).collect();
        return;
    }
    let sourced = |(file, line, text): &(String, u64, String)| {
        Sourced::new(visible(text), Source::at(SourceKind::Readme, file, *line))
    };
    plan.setup = found.setup.iter().map(sourced).collect();
    let requirements = subject.folder.files.iter().find(|file| file.path == "requirements.txt");
    let is_named = plan.setup.iter().any(|step| step.value.contains("requirements.txt"));
    if let Some(file) = requirements.filter(|_| !is_named) {
        let source = Source::at(SourceKind::Readme, &file.path, 1);
        plan.setup.push(Sourced::new("pip install -r requirements.txt".into(), source));
    }
}
