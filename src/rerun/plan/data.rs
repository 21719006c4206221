//! Data and tokenizer: what tells the script, and whether it is there.

use std::path::{Path, PathBuf};

use super::document::{DataWanted, Plan, Variable};
use super::request::Request;
use super::source::{Source, SourceKind, Sourced};
use super::subject::{ScriptFacts, Subject};
use crate::escape::visible;
use crate::manifest::MountRole;

/// Variables that name data, the usual one first.
const DATA_VARIABLES: [&str; 3] = ["DATA_PATH", "DATASETS_DIR", "DATA_DIR"];
/// Variables that name a tokenizer.
const TOKENIZER_VARIABLES: [&str; 1] = ["TOKENIZER_PATH"];
/// Options that name data; `-` and `_` are alike.
const DATA_OPTIONS: [&str; 4] = ["--data_path", "--data_dir", "--data_root", "--data"];
/// Options that name a tokenizer.
const TOKENIZER_OPTIONS: [&str; 2] = ["--tokenizer_path", "--tokenizer"];

/// Lists data and tokenizer, with the flags' paths in place of stated ones.
pub(super) fn fill(subject: &Subject, request: &Request, facts: &ScriptFacts, plan: &mut Plan) {
    let roles = [
        (MountRole::Data, "--data-path", &request.data_path, &DATA_VARIABLES[..], &DATA_OPTIONS[..]),
        (
            MountRole::Tokenizer,
            "--tokenizer-path",
            &request.tokenizer_path,
            &TOKENIZER_VARIABLES[..],
            &TOKENIZER_OPTIONS[..],
        ),
    ];
    for (role, flag, given, variables, options) in roles {
        if let Some(path) = given {
            tell(path, flag, (variables, options), facts, plan);
        }
        let mut wanted = stated(role, (variables, options), plan);
        if wanted.is_empty()
            && facts.main.is_none()
            && (role == MountRole::Data || plan.set_variable("DATA_DIR").is_none())
        {
            let what = if role == MountRole::Data { "data" } else { "tokenizer" };
            plan.missing(format!("{what}: nothing says where"), format!("{flag} PATH"));
        }
        for data in &mut wanted {
            let what = if role == MountRole::Data { "data" } else { "tokenizer" };
            let told = data.told_by.as_deref().map_or(String::new(), |name| format!("{name}, "));
            let named = format!("{what}: `{}` ({told}{})", data.stated, data.source);
            match look(subject, &data.stated, data.source.kind) {
                Some(Place::Within(path)) => data.found = Some(path),
                Some(Place::Outside(path)) => plan.missing(
                    format!("{named} lies outside of this folder and the submission's, and is not shown to it unasked"),
                    format!("{flag} {}", visible(&path)),
                ),
                None => plan.missing(format!("{named} is not here"), format!("{flag} PATH")),
            }
        }
        plan.data.extend(wanted);
    }
}

/// Puts a flag's path where the script looks for it.
fn tell(path: &Path, flag: &str, (variables, options): (&[&str], &[&str]), facts: &ScriptFacts, plan: &mut Plan) {
    let value = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()).to_string_lossy().into_owned();
    let argument = plan.arguments.iter().position(|arg| names(&arg.value, options));
    if let Some(at) = argument {
        let name = plan.arguments[at].value.split('=').next().unwrap_or_default().to_string();
        let source = Source::flag(flag);
        if plan.arguments[at].value.contains('=') {
            plan.arguments[at] = Sourced::new(format!("{name}={value}"), source);
        } else if at + 1 < plan.arguments.len() {
            plan.arguments[at + 1] = Sourced::new(value, source);
        }
        return;
    }
    let is_used = |name: &&&str| plan.set_variable(name).is_some() || facts.variables.contains_key(**name);
    let name = variables.iter().find(is_used).or(variables.first()).copied().unwrap_or_default();
    plan.variables.retain(|variable| variable.name != name);
    let variable = Variable { name: name.into(), value, source: Source::flag(flag), is_set: true, differs: Vec::new() };
    plan.variables.push(variable);
    plan.variables.sort_by(|a, b| a.name.cmp(&b.name));
}

/// What variables and arguments of the plan name. A variable that is set wins over the script's default of another.
fn stated(role: MountRole, (variables, options): (&[&str], &[&str]), plan: &Plan) -> Vec<DataWanted> {
    let mut found = Vec::new();
    for (at, arg) in plan.arguments.iter().enumerate().filter(|(_, arg)| names(&arg.value, options)) {
        let (stated, source) = match (arg.value.split_once('='), plan.arguments.get(at + 1)) {
            (Some((_, value)), _) => (value.to_string(), arg.source.clone()),
            (None, Some(next)) => (next.value.clone(), next.source.clone()),
            (None, None) => continue,
        };
        let told_by = arg.value.split('=').next().map(str::to_string);
        found.push(DataWanted { role, stated, source, told_by, found: None });
    }
    let of = |is_set: bool| {
        let variables = variables
            .iter()
            .filter_map(move |name| plan.variables.iter().find(|v| v.name == *name && v.is_set == is_set));
        variables.map(|variable| DataWanted {
            role,
            stated: variable.value.clone(),
            source: variable.source.clone(),
            told_by: Some(variable.name.clone()),
            found: None,
        })
    };
    found.extend(of(true));
    if found.is_empty() {
        found.extend(of(false).take(1));
    }
    found
}

fn names(argument: &str, options: &[&str]) -> bool {
    let name = argument.split('=').next().unwrap_or_default().replace('-', "_");
    options.iter().any(|option| option.replace('-', "_") == name)
}

/// Where a path leads.
enum Place {
    /// Into a folder that the submission may see, or where a flag says.
    Within(String),
    /// Somewhere else on this machine.
    Outside(String),
}

/// Where a stated path lies: from the current folder, the submission's, or the clone it stands in. What a flag names
/// is taken as it is. A submission or its manifest may name any file of this machine, and the script will see what is
/// named here: links are resolved, and only what lies in those folders, and is not hidden, counts as found.
fn look(subject: &Subject, stated: &str, source: SourceKind) -> Option<Place> {
    let mut bases = vec![PathBuf::from(".")];
    if source != SourceKind::Flag {
        bases.push(subject.folder.root.clone());
        let clone = subject.folder.repository_path.as_deref().map_or(0, |path| path.split('/').count());
        let absolute = subject.folder.root.canonicalize().ok();
        bases.extend(absolute.and_then(|root| root.ancestors().nth(clone).map(Path::to_path_buf)));
    }
    let full = bases.iter().map(|base| base.join(stated)).find(|full| !stated.is_empty() && full.exists())?;
    let full = full.canonicalize().ok()?;
    let is_plain = |path: &Path| path.components().all(|part| !part.as_os_str().to_string_lossy().starts_with('.'));
    let within = source == SourceKind::Flag
        || bases.iter().filter_map(|base| full.strip_prefix(base.canonicalize().ok()?).ok()).any(is_plain);
    let path = full.to_string_lossy().into_owned();
    Some(if within { Place::Within(path) } else { Place::Outside(path) })
}
