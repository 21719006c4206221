//! The environment and the arguments of the run, each value with its source.

use std::collections::BTreeMap;

use serde_json::Value;

use super::candidates::{Candidate, SEED, is_place};
use super::document::{Plan, Variable};
use super::request::Request;
use super::same_value::same_value;
use super::source::{Source, SourceKind, Sourced};
use super::subject::{ScriptFacts, Subject};
use super::walk::Given;
use crate::manifest::{SEED_PLACEHOLDER, is_launcher_variable, is_variable_name};

/// Objects of submission.json that hold an environment.
const ENVIRONMENT_KEYS: [&str; 6] =
    ["env", "env_vars", "env_overrides", "environment", "environment_variables", "launch_env"];
/// Beginnings of variables that libraries and systems read, not the script.
const FOREIGN: [&str; 22] = [
    "NCCL_",
    "TORCH",
    "PYTORCH_",
    "CUDA_",
    "CUBLAS_",
    "OMP_",
    "MKL_",
    "PYTHON",
    "HF_",
    "TRITON_",
    "WANDB_",
    "LD_",
    "PATH",
    "HOME",
    "TMPDIR",
    "NVIDIA_",
    "TOKENIZERS_",
    "OPENBLAS_",
    "XLA_",
    "MLX_",
    "GLOO_",
    "UCX_",
];
/// What a smoke run sets: a few iterations, no cap.
const SMOKE: [(&str, &str); 2] = [("ITERATIONS", "20"), ("MAX_WALLCLOCK_SECONDS", "0")];

struct Environment {
    variables: BTreeMap<String, Variable>,
}

impl Environment {
    /// Adds what a source says; a stronger source that spoke before keeps its word.
    fn add(&mut self, name: &str, value: &str, source: Source) {
        match self.variables.get_mut(name) {
            Some(known) if same_value(&known.value, value) => {}
            Some(known) => known.differs.push(Sourced::new(value.to_string(), source)),
            None => {
                let variable =
                    Variable { name: name.into(), value: value.into(), source, is_set: true, differs: Vec::new() };
                self.variables.insert(name.into(), variable);
            }
        }
    }

    fn holds(&self, name: &str) -> bool {
        self.variables.contains_key(name)
    }
}

/// Fills in variables and arguments. Data paths given by flags come later, over these.
pub(super) fn fill(
    subject: &Subject,
    request: &Request,
    candidate: Option<&Candidate>,
    facts: &ScriptFacts,
    plan: &mut Plan,
) {
    let mut environment = Environment { variables: BTreeMap::new() };
    arguments(subject, candidate, plan);
    for (name, value) in &request.env {
        environment.add(name, value, Source::flag("--env"));
    }
    settings(request, facts, &mut environment, plan);
    if request.smoke {
        smoke(facts, &mut environment, plan);
    }
    if let Some(manifest) = &subject.manifest {
        let path = manifest.path.display().to_string();
        for (name, value) in &manifest.run.env {
            environment.add(name, value, Source { kind: SourceKind::Manifest, name: path.clone(), line: None });
        }
    }
    if let Some(candidate) = candidate {
        let kind = match candidate.launch.file.as_str() {
            "submission.json" => SourceKind::SubmissionJson,
            _ => SourceKind::Readme,
        };
        for (name, given) in candidate.env.iter().filter(|(name, _)| !is_launcher_variable(name)) {
            environment.add(name, &given.value, Source::at(kind, &given.file, given.line));
        }
        unclear(candidate, request, plan);
    }
    from_json(subject, &mut environment);
    seed(facts, &mut environment, plan);
    from_logs(subject, facts, &mut environment, plan);
    never_read(&environment, facts, plan);
    defaults(facts, &mut environment);
    plan.variables = environment.variables.into_values().collect();
}

fn arguments(subject: &Subject, candidate: Option<&Candidate>, plan: &mut Plan) {
    if let Some(manifest) = &subject.manifest {
        let name = manifest.path.display().to_string();
        let source = Source { kind: SourceKind::Manifest, name, line: None };
        plan.arguments = manifest.run.args.iter().map(|arg| Sourced::new(arg.clone(), source.clone())).collect();
    } else if let Some(candidate) = candidate {
        let sourced =
            |given: &Given| Sourced::new(given.value.clone(), Source::at(SourceKind::Readme, &given.file, given.line));
        plan.arguments = candidate.args.iter().map(sourced).collect();
        let assigned = |given: &&Given| given.value.split_once('=').is_some_and(|(name, _)| is_upper_name(name));
        if let Some(given) = candidate.args.iter().find(assigned) {
            let count = candidate.args.iter().filter(assigned).count();
            plan.note(format!(
                "{}:{}: {count} assignments stand after the script, where they are arguments and no variables",
                given.file, given.line
            ));
        }
    }
}

/// `--set KEY=VALUE`, by the way the script takes it: a variable, or an option.
fn settings(request: &Request, facts: &ScriptFacts, environment: &mut Environment, plan: &mut Plan) {
    for (key, value) in &request.set {
        let upper = key.trim_start_matches('-').replace('-', "_").to_ascii_uppercase();
        let option = facts.main.as_ref().and_then(|interface| interface.option(key)).map(|option| option.flag.clone());
        if let Some(name) = [key, &upper].into_iter().find(|name| facts.variables.contains_key(*name)) {
            environment.add(name, value, Source::flag("--set"));
        } else if let Some(flag) = option {
            let source = Source::flag("--set");
            let at = plan.arguments.iter().position(|arg| arg.value.split('=').next() == Some(flag.as_str()));
            if let Some(at) = at {
                let separate = !plan.arguments[at].value.contains('=');
                let end = (at + 1 + usize::from(separate)).min(plan.arguments.len());
                plan.arguments.drain(at..end);
            }
            plan.arguments.extend([flag, value.clone()].map(|text| Sourced::new(text, source.clone())));
        } else if !facts.is_known() && is_variable_name(&upper) {
            environment.add(&upper, value, Source::flag("--set"));
        } else {
            let closest = facts.variables.keys().map(|name| (strsim::damerau_levenshtein(&upper, name), name)).min();
            let hint = closest.filter(|(distance, name)| *distance <= 1 + name.len() / 3);
            let remedy = match hint {
                Some((_, name)) => format!("--set {name}=..., or --env {upper}=... to set it all the same"),
                None => format!("--env {upper}=... to set it all the same"),
            };
            plan.missing(format!("--set {key}: the script reads no such variable and has no such option"), remedy);
        }
    }
}

fn smoke(facts: &ScriptFacts, environment: &mut Environment, plan: &mut Plan) {
    let mut any = false;
    for (name, value) in SMOKE {
        if !facts.is_known() || facts.variables.contains_key(name) {
            any |= name == "ITERATIONS";
            if !environment.holds(name) {
                environment.add(name, value, Source::flag("--smoke"));
            }
        }
    }
    if !any {
        plan.missing(
            "--smoke: the script reads no ITERATIONS",
            "--env or --set with what makes this script stop early, beside --smoke",
        );
    }
}

/// Values that only the author's machine knows, or that a reader is meant to fill in.
fn unclear(candidate: &Candidate, request: &Request, plan: &mut Plan) {
    let given_by_flag = |name: &str| request.env.iter().any(|(known, _)| known == name);
    for (name, given) in &candidate.env {
        let placeholder = given.value.starts_with('<') && given.value.ends_with('>');
        let known = name == SEED || is_place(name) || is_launcher_variable(name) || given_by_flag(name);
        if (given.unresolved || placeholder) && !known {
            plan.ambiguous(
                format!("{name}: {}:{} says `{}`", given.file, given.line, given.value),
                format!("--env {name}=VALUE"),
            );
        }
    }
}

fn from_json(subject: &Subject, environment: &mut Environment) {
    let Some(json) = &subject.folder.submission else { return };
    for key in ENVIRONMENT_KEYS {
        let Some(Value::Object(fields)) = json.fields.get(key) else { continue };
        for (name, value) in fields.iter().filter(|(name, _)| is_upper_name(name)) {
            let value = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(truth) => u8::from(*truth).to_string(),
                _ => continue,
            };
            let source = Source::at(SourceKind::SubmissionJson, &json.path, json.line_of(name));
            environment.add(name, &value, source);
        }
    }
}

/// Makes the seed reach the script.
fn seed(facts: &ScriptFacts, environment: &mut Environment, plan: &mut Plan) {
    let mut told = environment.holds(SEED)
        || environment.variables.values().any(|variable| variable.value.contains(SEED_PLACEHOLDER))
        || plan.arguments.iter().any(|arg| arg.value.contains(SEED_PLACEHOLDER));
    if let Some(known) = environment.variables.get_mut(SEED) {
        // The flag's own value stays: `--env SEED=7` is one seed for all.
        if known.source.kind != SourceKind::Flag {
            known.value = SEED_PLACEHOLDER.into();
        }
    } else if !told {
        if let Some(source) = facts.reads(SEED) {
            environment.add(SEED, SEED_PLACEHOLDER, source);
            told = true;
        } else if let Some(option) = facts.main.as_ref().and_then(|interface| interface.option("--seed")) {
            let script = plan.script.as_ref().map_or("", |script| script.value.as_str());
            let source = Source::at(SourceKind::Default, script, option.line);
            let words = [option.flag.clone(), SEED_PLACEHOLDER.into()];
            plan.arguments.extend(words.map(|text| Sourced::new(text, source.clone())));
            told = true;
        } else if !facts.is_known() {
            environment.add(SEED, SEED_PLACEHOLDER, Source::default_of("the challenge"));
            told = true;
        }
    }
    if !told {
        let several = plan.seeds.as_ref().is_some_and(|seeds| seeds.value.len() > 1);
        let message = "seed: the script reads no SEED and has no --seed";
        if several {
            plan.ambiguous(message, "--env NAME={seed} with the variable it reads, or --seeds with one seed");
        } else {
            plan.note(message);
        }
    }
}

/// What the logs say. A setting that differs from the script's default and that nothing else explains must have been
/// in the environment of the logged run.
fn from_logs(subject: &Subject, facts: &ScriptFacts, environment: &mut Environment, plan: &mut Plan) {
    let logged = |name: &str| {
        let key = name.to_ascii_lowercase();
        let mut values = subject.folder.logs.iter().filter_map(|log| {
            let noted = log.settings.get(&key)?;
            Some(Sourced::new(noted.value.clone(), Source::at(SourceKind::Log, &log.path, noted.line)))
        });
        let first = values.next()?;
        let all = values.all(|other| same_value(&other.value, &first.value));
        Some((first, all))
    };
    let skipped = |name: &str| name == SEED || is_place(name) || is_launcher_variable(name) || is_foreign(name);
    let known: Vec<String> = environment.variables.keys().filter(|name| !skipped(name)).cloned().collect();
    for name in &known {
        if let Some((first, _)) = logged(name)
            && !environment.variables[name].value.contains(SEED_PLACEHOLDER)
        {
            environment.add(name, &first.value, first.source);
        }
    }
    for (name, (_, variable)) in facts.variables.iter().filter(|(name, _)| !skipped(name)) {
        let Some((first, all_agree)) = logged(name).filter(|_| !environment.holds(name)) else { continue };
        let Some(default) = variable.default.as_ref().filter(|default| !same_value(default, &first.value)) else {
            continue;
        };
        if all_agree {
            environment.add(name, &first.value, first.source);
        } else {
            plan.ambiguous(
                format!(
                    "{name}: the logs do not agree ({} says {}, the default is {default})",
                    first.source, first.value
                ),
                format!("--env {name}=VALUE"),
            );
        }
    }
}

fn never_read(environment: &Environment, facts: &ScriptFacts, plan: &mut Plan) {
    if !facts.is_known() {
        return;
    }
    let unread = environment.variables.values().filter(|variable| {
        variable.source.kind != SourceKind::Flag
            && !facts.variables.contains_key(&variable.name)
            && !is_foreign(&variable.name)
    });
    let names: Vec<String> = unread.map(|variable| format!("{} ({})", variable.name, variable.source)).collect();
    if !names.is_empty() {
        plan.note(format!("set, and never read by the script: {}", names.join(", ")));
    }
}

fn defaults(facts: &ScriptFacts, environment: &mut Environment) {
    for (name, (file, variable)) in &facts.variables {
        let Some(default) = variable.default.as_ref().filter(|_| !is_launcher_variable(name)) else { continue };
        let source = Source::at(SourceKind::Default, file, variable.line);
        if !environment.holds(name) {
            let differs = Vec::new();
            let variable = Variable { name: name.clone(), value: default.clone(), source, is_set: false, differs };
            environment.variables.insert(name.clone(), variable);
        }
    }
}

fn is_foreign(name: &str) -> bool {
    FOREIGN.iter().any(|prefix| name.starts_with(prefix))
}

fn is_upper_name(name: &str) -> bool {
    is_variable_name(name) && !name.chars().any(|c| c.is_ascii_lowercase()) && name.len() > 1
}
