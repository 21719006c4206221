//! The plan as text for people.

use std::fmt::Write;

use super::document::{Plan, ProblemKind, Variable};
use super::source::Sourced;
use crate::escape::visible;
use crate::manifest::MountRole;

/// Width of the first column.
const LABEL: usize = 11;
/// Values longer than this are shown shortened.
const MAX_SHOWN: usize = 72;

/// The plan in aligned lines. `all` also lists what stays at the script's defaults.
pub fn text(plan: &Plan, all: bool) -> String {
    let mut out = String::new();
    let mut rows = Rows { out: &mut out };
    let smoke = if plan.smoke { " (smoke run: no reproduction)" } else { "" };
    rows.line("plan", &format!("{}{smoke}", plan.name));
    if let Some(command) = &plan.command {
        rows.sourced("command", &command.summary, &command.source.to_string());
    }
    match &plan.script {
        Some(script) => rows.sourced("script", &script.value, &script.source.to_string()),
        None => rows.line("script", "not known"),
    }
    let processes = plan.processes.as_ref().map(|processes| format!("x{} ({})", processes.value, processes.source));
    match &plan.launcher {
        Some(launcher) => {
            let processes = processes.as_deref().unwrap_or("x?");
            rows.sourced("launcher", &format!("{} {processes}", launcher.value.word()), &launcher.source.to_string());
        }
        None => rows.line("launcher", "not known"),
    }
    if let Some(seeds) = &plan.seeds {
        let list: Vec<String> = seeds.value.iter().map(u64::to_string).collect();
        rows.sourced("seeds", &list.join(", "), &seeds.source.to_string());
    }
    variables(plan, all, &mut rows);
    let arguments: Vec<&str> = plan.arguments.iter().map(|arg| arg.value.as_str()).collect();
    if let Some(first) = plan.arguments.first() {
        rows.sourced("arguments", &arguments.join(" "), &first.source.to_string());
    }
    list("setup", &plan.setup, &mut rows);
    machine(plan, &mut rows);
    for note in &plan.notes {
        rows.line("note", note);
    }
    for problem in &plan.problems {
        let label = match problem.kind {
            ProblemKind::Missing => "missing",
            ProblemKind::Ambiguous => "ambiguous",
        };
        rows.line(label, &problem.message);
        rows.line("", &format!("-> {}", problem.remedy));
    }
    let count = |kind| plan.problems.iter().filter(|problem| problem.kind == kind).count();
    let verdict = match (count(ProblemKind::Missing), count(ProblemKind::Ambiguous)) {
        (0, 0) => "can start".to_string(),
        (missing, ambiguous) => format!("cannot start: {missing} missing, {ambiguous} ambiguous"),
    };
    rows.line("verdict", &verdict);
    out
}

struct Rows<'a> {
    out: &'a mut String,
}

impl Rows<'_> {
    fn line(&mut self, label: &str, text: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.out, "{label:<LABEL$}{}", visible(text));
    }

    fn sourced(&mut self, label: &str, value: &str, source: &str) {
        self.line(label, &format!("{}  [{source}]", short(value)));
    }
}

fn short(text: &str) -> String {
    let text = visible(text);
    if text.chars().count() <= MAX_SHOWN {
        text
    } else {
        text.chars().take(MAX_SHOWN - 3).chain("...".chars()).collect()
    }
}

fn list(label: &str, items: &[Sourced<String>], rows: &mut Rows) {
    for (at, item) in items.iter().enumerate() {
        rows.sourced(if at == 0 { label } else { "" }, &item.value, &item.source.to_string());
    }
}

fn variables(plan: &Plan, all: bool, rows: &mut Rows) {
    let shown: Vec<&Variable> = plan.variables.iter().filter(|variable| all || variable.is_set).collect();
    let name = shown.iter().map(|variable| variable.name.len()).max().unwrap_or(0);
    let value = shown.iter().map(|variable| short(&variable.value).chars().count()).max().unwrap_or(0).min(40);
    for (at, variable) in shown.iter().enumerate() {
        let differs: Vec<String> =
            variable.differs.iter().map(|other| format!("; {} says {}", other.source, short(&other.value))).collect();
        let line = format!(
            "{:<name$}  {:<value$}  [{}]{}",
            variable.name,
            short(&variable.value),
            variable.source,
            differs.concat()
        );
        rows.line(if at == 0 { "variables" } else { "" }, &line);
    }
    let kept = plan.variables.iter().filter(|variable| !variable.is_set).count();
    if kept > 0 && !all {
        rows.line("", &format!("{kept} more at the script's defaults (-v lists them)"));
    }
}

fn machine(plan: &Plan, rows: &mut Rows) {
    for data in &plan.data {
        let label = if data.role == MountRole::Data { "data" } else { "tokenizer" };
        let found = data.found.as_deref().unwrap_or("not here");
        rows.sourced(label, &format!("{} -> {found}", data.stated), &data.source.to_string());
    }
    if let (Some(interpreter), Some(version)) = (&plan.packages.interpreter, &plan.packages.version) {
        let packages = plan.packages.imported.iter().map(|package| match (package.installed, package.required) {
            (Some(false), true) => format!("{} (missing)", package.name),
            (Some(false), false) => format!("{} (missing, optional)", package.name),
            _ => package.name.clone(),
        });
        let packages: Vec<String> = packages.collect();
        rows.line("python", &format!("{version} at {interpreter}"));
        if !packages.is_empty() {
            rows.line("packages", &packages.join(", "));
        }
    }
    let found = match plan.gpus.found.as_slice() {
        [] => "none found".to_string(),
        names => format!("{} found ({})", names.len(), names[0]),
    };
    rows.line("GPUs", &format!("{} wanted, {found}", plan.gpus.wanted));
    let free = plan.disk.free.map_or(String::new(), |free| format!(", {free} bytes free"));
    rows.line("disk", &format!("about {} bytes wanted{free}", plan.disk.needed));
    match &plan.time {
        Some(time) => rows.line(
            "time",
            &format!(
                "about {} in all: {:.0} s training [{}], {:.0} s evaluation [{}], {:.0} s start and export a seed; \
                 {:.1} GPU-hours",
                duration(time.total_seconds),
                time.train_seconds.value,
                time.train_seconds.source,
                time.eval_seconds.value,
                time.eval_seconds.source,
                time.overhead_seconds,
                time.gpu_hours
            ),
        ),
        None => rows.line("time", "not known"),
    }
}

fn duration(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round() as u64;
    if minutes < 60 { format!("{minutes} min") } else { format!("{} h {:02} min", minutes / 60, minutes % 60) }
}
