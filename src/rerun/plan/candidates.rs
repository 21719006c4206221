//! The commands of a README that start the same run with different seeds, taken together.

use std::collections::{BTreeMap, BTreeSet};

use super::command_line::Processes;
use super::walk::{Given, Launch};
use crate::manifest::SEED_PLACEHOLDER;

/// The variable that seeds scripts of the challenge.
pub const SEED: &str = "SEED";
/// Variables that say where data lie on somebody's machine, or what the run is called: they do not make another run.
const PLACES: [&str; 8] =
    ["DATA_PATH", "DATA_DIR", "DATASETS_DIR", "TOKENIZER_PATH", "RUN_ID", "OUT_DIR", "OUTPUT_DIR", "PYTHONPATH"];

/// Longest value in which the seed is looked for.
const MAX_TEMPLATE_BYTES: usize = 256;

/// What a command is for, as far as its words tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// The run that is submitted, or one like it.
    Training,
    /// A short trial.
    Trial,
    /// It scores, plots or checks something that is there already.
    Evaluation,
    /// It prepares data.
    Preparation,
}

/// One run: a command, and its repetitions with other seeds.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The first of the commands.
    pub launch: Launch,
    /// Lines where the commands start.
    pub lines: Vec<u64>,
    /// Variables; [`SEED_PLACEHOLDER`] stands for the seed.
    pub env: BTreeMap<String, Given>,
    /// Arguments; [`SEED_PLACEHOLDER`] stands for the seed.
    pub args: Vec<Given>,
    /// Seeds named, in order.
    pub seeds: Vec<u64>,
    /// One of the commands gives no seed: the script's own default.
    pub has_unseeded: bool,
    /// What it is for.
    pub purpose: Purpose,
}

/// Whether a variable says where something lies or what it is called.
pub fn is_place(name: &str) -> bool {
    PLACES.contains(&name)
}

/// Takes launches that differ in nothing but the seed together, in order. `allexport`: what the shell holds and does
/// not export is taken as meant for the script.
pub fn candidates(launches: &[Launch], allexport: bool) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    for launch in launches {
        let mut launch = launch.clone();
        if allexport {
            launch.env.extend(launch.unexported.clone());
        }
        let launch = &launch;
        let seed = seed_of(launch);
        match found.iter_mut().find(|candidate| same_run(candidate, launch)) {
            Some(candidate) => {
                candidate.lines.extend(Some(launch.top_line).filter(|line| !candidate.lines.contains(line)));
                candidate.seeds.extend(seed.filter(|seed| !candidate.seeds.contains(seed)));
                candidate.has_unseeded |= seed.is_none();
                for (name, given) in &launch.env {
                    if !candidate.launch.env.contains_key(name) {
                        candidate.env.insert(name.clone(), templated(given, seed, false));
                        candidate.launch.env.insert(name.clone(), given.clone());
                    } else if candidate.launch.env[name].value != given.value
                        && let Some(kept) = candidate.env.get_mut(name)
                    {
                        kept.value = template(&kept.value, seed_of(&candidate.launch), true);
                    }
                }
            }
            None => found.push(Candidate {
                env: launch.env.iter().map(|(name, given)| (name.clone(), seeded(name, given, seed))).collect(),
                args: seeded_args(&launch.args, seed),
                seeds: seed.into_iter().collect(),
                lines: vec![launch.top_line],
                has_unseeded: seed.is_none(),
                purpose: purpose(launch),
                launch: launch.clone(),
            }),
        }
    }
    found
}

fn same_run(candidate: &Candidate, launch: &Launch) -> bool {
    let first = &candidate.launch;
    let base = |launch: &Launch| launch.script.rsplit('/').next().unwrap_or_default().to_string();
    if first.program != launch.program || first.processes != launch.processes || base(first) != base(launch) {
        return false;
    }
    let (a, b) = (seed_of(first), seed_of(launch));
    let args = |launch: &Launch, seed| -> Vec<String> {
        seeded_args(&launch.args, seed).into_iter().map(|given| given.value).collect()
    };
    if args(first, a) != args(launch, b) {
        return false;
    }
    let names: BTreeSet<&String> =
        first.env.keys().chain(launch.env.keys()).filter(|name| *name != SEED && !is_place(name)).collect();
    names.into_iter().all(|name| match (first.env.get(name), launch.env.get(name)) {
        (Some(left), Some(right)) => {
            left.value == right.value || template(&left.value, a, true) == template(&right.value, b, true)
        }
        _ => false,
    })
}

/// The seed a command gives, by variable or option.
fn seed_of(launch: &Launch) -> Option<u64> {
    let variable = launch.env.get(SEED).and_then(|given| given.value.parse().ok());
    variable.or_else(|| seed_argument(&launch.args).and_then(|(_, value)| value.parse().ok()))
}

/// Index and value of `--seed N` or `--seed=N`.
fn seed_argument(args: &[Given]) -> Option<(usize, String)> {
    args.iter().enumerate().find_map(|(at, arg)| match arg.value.split_once('=') {
        Some(("--seed", value)) => Some((at, value.to_string())),
        None if arg.value == "--seed" => Some((at + 1, args.get(at + 1)?.value.clone())),
        _ => None,
    })
}

fn seeded_args(args: &[Given], seed: Option<u64>) -> Vec<Given> {
    let mut args = args.to_vec();
    if let (Some((at, _)), Some(_)) = (seed_argument(&args), seed) {
        args[at].value = match args[at].value.split_once('=') {
            Some((flag, _)) => format!("{flag}={SEED_PLACEHOLDER}"),
            None => SEED_PLACEHOLDER.to_string(),
        };
    }
    args
}

fn seeded(name: &str, given: &Given, seed: Option<u64>) -> Given {
    match (name, seed) {
        (SEED, Some(_)) => Given { value: SEED_PLACEHOLDER.into(), ..given.clone() },
        _ => templated(given, seed, false),
    }
}

fn templated(given: &Given, seed: Option<u64>, anywhere: bool) -> Given {
    Given { value: template(&given.value, seed, anywhere), ..given.clone() }
}

/// Puts the placeholder where a value names the seed: after the word `seed`, or `anywhere` between letters, which is
/// meant for values that are known to change with the seed. A value that is only a number stays.
fn template(value: &str, seed: Option<u64>, anywhere: bool) -> String {
    let Some(digits) = seed.map(|seed| seed.to_string()) else { return value.to_string() };
    if value.len() > MAX_TEMPLATE_BYTES || !value.contains(|c: char| c.is_ascii_alphabetic()) {
        return value.to_string();
    }
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find(&digits) {
        let (before, after) = (&rest[..at], &rest[at + digits.len()..]);
        out.push_str(before);
        let stem = out.trim_end_matches(['_', '-', '=']).to_ascii_lowercase();
        let alone = !out.ends_with(|c: char| c.is_ascii_digit() || c == '.')
            && !after.starts_with(|c: char| c.is_ascii_digit());
        let named = stem.ends_with("seed") || (out.ends_with("_s") || out.ends_with("-s"));
        out.push_str(if alone && (anywhere || named) { SEED_PLACEHOLDER } else { &digits });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// What a command is for: from the script's name first, then from what switches it to something else.
fn purpose(launch: &Launch) -> Purpose {
    let name = launch.script.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    let is_on =
        |name: &str| launch.env.get(name).is_some_and(|given| !matches!(given.value.as_str(), "0" | "" | "false"));
    let argument = |wanted: &[&str]| launch.args.iter().any(|arg| wanted.contains(&arg.value.as_str()));
    if !name.contains("train")
        && has(&[
            "download",
            "prepare",
            "tokeniz",
            "convert",
            "cached",
            "build_",
            "make_",
            "export_",
            "dataset",
            "setup",
            "install",
            "bootstrap",
            "fetch",
        ])
    {
        return Purpose::Preparation;
    }
    if !name.contains("train")
        && name.split(['_', '-', '.']).any(|word| {
            matches!(
                word,
                "eval"
                    | "evaluate"
                    | "test"
                    | "check"
                    | "checks"
                    | "verify"
                    | "score"
                    | "sim"
                    | "plot"
                    | "bench"
                    | "analyze"
                    | "analysis"
                    | "inspect"
                    | "probe"
                    | "audit"
                    | "trace"
                    | "hint"
                    | "validate"
                    | "compare"
            )
        })
        || is_on("EVAL_ONLY")
        || is_on("EVAL_ONLY_PATH")
        || argument(&["--eval", "--eval-only", "--eval_only", "eval"])
    {
        return Purpose::Evaluation;
    }
    if name.contains("smoke") || is_on("SMOKE") || is_on("SMOKE_TEST") || argument(&["--smoke", "--dry-run", "smoke"]) {
        return Purpose::Trial;
    }
    Purpose::Training
}

/// What people call runs that are not the one they submit.
const ASIDE: [&str; 10] =
    ["ablation", "baseline", "control", "disable", "without", "smoke", "debug", "quick", "single gpu", "negative"];

impl Candidate {
    /// How likely it is the run that is submitted, for a suggestion where the choice is open: not set aside by its
    /// comment or name, repeated with several seeds, on many processes, with many settings.
    pub fn likelihood(&self) -> (bool, usize, u32, usize) {
        let called = self.launch.env.get("RUN_ID").map_or("", |given| given.value.as_str());
        let words = format!("{} {called}", self.launch.comment.as_deref().unwrap_or("")).to_ascii_lowercase();
        let processes = match self.launch.processes {
            Processes::Stated(count) => count,
            Processes::Default | Processes::Unclear(_) => 1,
        };
        let settings = self.env.keys().filter(|name| *name != SEED && !is_place(name)).count();
        let is_aside = ASIDE.iter().any(|word| words.contains(word));
        (!is_aside, self.lines.len().max(self.seeds.len()), processes, settings)
    }

    /// In a line, for somebody who chooses.
    pub fn summary(&self) -> String {
        let processes = match &self.launch.processes {
            Processes::Stated(count) => format!(" x{count}"),
            Processes::Default => String::new(),
            Processes::Unclear(text) => format!(" x{text}"),
        };
        let variables = match self.env.len() {
            1 => "1 variable".to_string(),
            count => format!("{count} variables"),
        };
        let program = self.launch.program.word();
        let comment = self.launch.comment.as_deref().filter(|comment| !comment.is_empty());
        let comment = comment.map_or(String::new(), |comment| format!(" ({})", crate::escape::visible(comment)));
        format!("{program}{processes} {}, {variables}{comment}", crate::escape::visible(&self.launch.script))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_found_in_names_and_not_in_numbers() {
        for (value, seed, anywhere, expected) in [
            ("run_seed1337", 1337, false, "run_seed{seed}"),
            ("xsa_1337", 1337, false, "xsa_1337"),
            ("xsa_1337", 1337, true, "xsa_{seed}"),
            ("models/seed42.pt", 42, false, "models/seed{seed}.pt"),
            ("final_8x_s1337", 1337, false, "final_8x_s{seed}"),
            ("0.42", 42, true, "0.42"),
            ("a0.42", 42, true, "a0.42"),
            ("seed421", 42, true, "seed421"),
            ("42", 42, true, "42"),
            ("sp1024", 4, true, "sp1024"),
        ] {
            assert_eq!(template(value, Some(seed), anywhere), expected, "{value}");
        }
    }
}
