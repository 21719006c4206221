//! Which of a submission's commands is the run that is claimed.

use serde_json::Value;

use super::candidates::{Candidate, Purpose, SEED, candidates, is_place};
use super::command_line::{Processes, Program};
use super::document::{CommandPlan, Plan};
use super::request::Request;
use super::same_value::same_value;
use super::source::{Source, SourceKind};
use super::subject::Subject;
use super::walk::{Launch, Walked, walk};
use super::words::{find_file, is_setting};
use crate::manifest::SEED_PLACEHOLDER;
use crate::submission::RecordFolder;
use crate::submission::code::shell::{self, Command};

/// Fields of submission.json that hold a command.
const COMMAND_KEYS: [&str; 7] =
    ["run_command", "command", "train_command", "launch_command", "reproduce_command", "cmd", "launch"];

/// Most commands listed in a message.
const MAX_TOLD: usize = 6;

/// What a submission says about starting it.
#[derive(Default)]
pub(super) struct Commands {
    /// Runs, in order.
    pub candidates: Vec<Candidate>,
    /// Preparation: file, line, text.
    pub setup: Vec<(String, u64, String)>,
    launches: Vec<Launch>,
    /// Variables that are set and not exported are taken as meant for the script.
    allexport: bool,
    /// Lines of commands whose variables reach only an installer.
    lost: Vec<u64>,
    /// Variables set beside the commands that reach none, with the first one's line.
    pub unexported: Option<(usize, u64)>,
}

/// Commands of the README's blocks, else of its text, else of submission.json.
pub(super) fn commands(folder: &RecordFolder, allexport: Option<bool>) -> Commands {
    let mut found = Commands { allexport: allexport != Some(false), ..Commands::default() };
    if let Some(readme) = &folder.readme {
        let blocks = shell::blocks(&readme.text);
        let commands = parsed(&blocks);
        found.lost = shell::lost_variables(&commands.concat()).iter().map(|lost| lost.launcher_line).collect();
        found.take(&readme.path, walk(folder, &readme.path, &commands));
        found.merge(folder, &readme.path);
        if found.candidates.is_empty() {
            let blocks = parsed(&shell::indented_blocks(&readme.text));
            found.take(&readme.path, walk(folder, &readme.path, &blocks));
            found.merge(folder, &readme.path);
        }
        if found.candidates.is_empty() {
            for span in shell::inline_commands(&readme.text) {
                found.take(&readme.path, walk(folder, &readme.path, &parsed(&[span])));
            }
            found.merge(folder, &readme.path);
            // Running text mentions many a tool.
            found.candidates.retain(|candidate| candidate.purpose == Purpose::Training);
        }
    }
    if let Some(json) = folder.submission.as_ref().filter(|_| found.candidates.is_empty()) {
        for key in COMMAND_KEYS {
            if let Some(text) = json.fields.get(key).and_then(Value::as_str) {
                let mut walked = walk(folder, &json.path, &[shell::parse(text, json.line_of(key))]);
                walked.unexported.clear();
                found.take(&json.path, walked);
                found.merge(folder, &json.path);
            }
        }
    }
    found
}

fn parsed(blocks: &[shell::Block]) -> Vec<Vec<Command>> {
    blocks.iter().map(|block| shell::parse(&block.text, block.line)).collect()
}

impl Commands {
    fn take(&mut self, file: &str, walked: Walked) {
        let of_upper_case = walked.unexported.iter().filter(|(name, given)| is_setting(name) && !given.unresolved);
        let lines: Vec<u64> = of_upper_case.map(|(_, given)| given.line).collect();
        if let Some(first) = lines.iter().min().filter(|_| self.unexported.is_none()) {
            self.unexported = Some((lines.len(), *first));
        }
        self.setup.extend(walked.setup.into_iter().map(|(line, text)| (file.to_string(), line, text)));
        self.launches.extend(walked.launches);
    }

    /// Takes the launches collected so far together.
    fn merge(&mut self, folder: &RecordFolder, file: &str) {
        self.candidates.clear();
        for candidate in candidates(&self.launches, self.allexport) {
            let name = candidate.launch.script.rsplit('/').next().unwrap_or_default();
            let is_elsewhere = candidate.launch.program == Program::Python
                && !name.contains("train")
                && script_file(folder, &candidate.launch.script).is_none();
            if candidate.purpose == Purpose::Preparation || is_elsewhere {
                let args = candidate.launch.args.iter().map(|arg| format!(" {}", arg.value)).collect::<String>();
                let text = format!("{} {}{args}", candidate.launch.program.word(), candidate.launch.script);
                self.setup.push((file.to_string(), candidate.launch.top_line, text));
            } else {
                self.candidates.push(candidate);
            }
        }
        self.setup.sort();
        self.setup.dedup();
    }
}

/// The command to follow. Evidence narrows the choice, and is said; what it leaves open is asked for.
pub(super) fn choose(found: &Commands, subject: &Subject, request: &Request, plan: &mut Plan) -> Option<Candidate> {
    let all = &found.candidates;
    let mut left: Vec<&Candidate> = all.iter().collect();
    if let Some(line) = request.command {
        left.retain(|candidate| candidate.lines.contains(&line) || candidate.launch.line == line);
        if left.is_empty() {
            plan.missing(format!("--command {line}: no command that starts a script stands there"), lines(all));
            left = all.iter().collect();
        }
    }
    let mut reasons = Vec::new();
    let mut narrow = |left: &mut Vec<&Candidate>, reason: &str, keep: &dyn Fn(&Candidate) -> bool| {
        let kept: Vec<&Candidate> = left.iter().copied().filter(|candidate| keep(candidate)).collect();
        if !kept.is_empty() && kept.len() < left.len() {
            *left = kept;
            reasons.push(reason.to_string());
        }
    };
    let best = left.iter().map(|candidate| candidate.purpose).min();
    narrow(&mut left, "the others are trials or evaluations", &|candidate| Some(candidate.purpose) == best);
    narrow(&mut left, "the variables of the others reach only an installer", &|candidate| {
        !candidate.lines.iter().all(|line| found.lost.contains(line))
    });
    narrow(&mut left, "the others start files that are not there", &|candidate| {
        script_file(&subject.folder, &candidate.launch.script).is_some()
    });
    if let Some(world) = logged_processes(subject) {
        narrow(
            &mut left,
            &format!("the logs ran on {world} processes"),
            &|candidate| match candidate.launch.processes {
                Processes::Stated(count) => u64::from(count) == world,
                Processes::Default => world == 1,
                Processes::Unclear(_) => true,
            },
        );
    }
    narrow(&mut left, "a log is called as it is", &|candidate| {
        let id = candidate.launch.env.get("RUN_ID").map(|given| given.value.as_str()).filter(|id| id.len() > 3);
        id.is_some_and(|id| subject.folder.logs.iter().any(|log| log.path.contains(id)))
    });
    narrow(&mut left, "the logs state other values than the others", &|candidate| {
        contradictions(candidate, subject) == 0
    });
    let chosen = left.iter().copied().rev().max_by_key(|candidate| candidate.likelihood())?;
    if left.len() > 1 {
        ask(&left, chosen, plan);
    } else if !reasons.is_empty() && request.command.is_none() {
        plan.note(format!("{} of {} commands taken: {}", place(chosen), all.len(), reasons.join("; ")));
    }
    unexported(chosen, request, plan);
    plan.command = Some(command_plan(chosen));
    plan.other_commands = all.iter().filter(|other| other.lines != chosen.lines).map(command_plan).collect();
    Some(chosen.clone())
}

/// Asks whether variables that a shell would keep to itself are meant for the script.
fn unexported(chosen: &Candidate, request: &Request, plan: &mut Plan) {
    let kept = &chosen.launch.unexported;
    if let (None, Some(first)) = (request.allexport, kept.values().min_by_key(|given| given.line)) {
        let names: Vec<&str> = kept.keys().map(String::as_str).collect();
        plan.ambiguous(
            format!(
                "variables: from {}:{} on, {} are set and not exported, so a shell starts the script without them",
                first.file,
                first.line,
                names.join(", ")
            ),
            "--allexport yes if they are meant for it, --allexport no if not; this plan shows yes",
        );
    }
}

/// Asks which of several commands it is.
fn ask(left: &[&Candidate], chosen: &Candidate, plan: &mut Plan) {
    let mut told: Vec<String> = Vec::new();
    for candidate in left {
        let line = format!("{} ({})", place(candidate), candidate.summary());
        if !told.contains(&line) {
            told.push(line);
        }
    }
    let more = told.len().saturating_sub(MAX_TOLD);
    told.truncate(MAX_TOLD);
    if more > 0 {
        told.push(format!("{more} more"));
    }
    let one_place = left.iter().all(|candidate| candidate.launch.top_line == chosen.launch.top_line);
    let remedy = if one_place {
        "--plan -o FILE, then edit its `run:` section: one loop starts them all".to_string()
    } else {
        lines_of(left)
    };
    let remedy = format!("{remedy}; this plan shows {}", place(chosen));
    plan.ambiguous(format!("{} commands differ: {}", left.len(), told.join("; ")), remedy);
}

fn place(candidate: &Candidate) -> String {
    command_plan(candidate).source.to_string()
}

fn command_plan(candidate: &Candidate) -> CommandPlan {
    let launch = &candidate.launch;
    let kind = if launch.file == "submission.json" { SourceKind::SubmissionJson } else { SourceKind::Readme };
    CommandPlan {
        source: Source::at(kind, &launch.file, launch.line),
        lines: candidate.lines.clone(),
        summary: candidate.summary(),
    }
}

fn lines(all: &[Candidate]) -> String {
    match all {
        [] => "leave it out: there is no command".into(),
        all => lines_of(&all.iter().collect::<Vec<_>>()),
    }
}

fn lines_of(candidates: &[&Candidate]) -> String {
    let mut flags: Vec<String> =
        candidates.iter().map(|candidate| format!("--command {}", candidate.launch.top_line)).collect();
    flags.dedup();
    flags.truncate(MAX_TOLD);
    flags.join(" or ")
}

/// The Python file of the folder that a command starts.
pub(super) fn script_file(folder: &RecordFolder, typed: &str) -> Option<String> {
    let python = folder.code.iter().map(|code| code.path.as_str()).filter(|path| path.ends_with(".py"));
    find_file(python, typed).map(str::to_string)
}

/// Processes of the training runs, where all logs say the same.
pub(super) fn logged_processes(subject: &Subject) -> Option<u64> {
    let mut counts = subject.folder.logs.iter().filter_map(|log| log.world_size.as_ref()).map(|noted| noted.value);
    let first = counts.next()?;
    counts.all(|count| count == first).then_some(first)
}

/// Variables of a command for which every log that states them states another value.
fn contradictions(candidate: &Candidate, subject: &Subject) -> usize {
    let contradicted = |name: &str, value: &str| {
        let key = name.to_ascii_lowercase();
        let mut stated = subject.folder.logs.iter().filter_map(|log| log.settings.get(&key)).peekable();
        stated.peek().is_some() && stated.all(|logged| !same_value(value, &logged.value))
    };
    let settings = candidate
        .env
        .iter()
        .filter(|(name, given)| *name != SEED && !is_place(name) && !given.value.contains(SEED_PLACEHOLDER));
    settings.filter(|(name, given)| contradicted(name, &given.value)).count()
}
