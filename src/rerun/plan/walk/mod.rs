//! Walks through shell commands as a shell would, running nothing: which variables reach which script.

mod expand;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::command_line::{Arg, Processes, Program, Started, started};
use super::words::{braces, find_file, is_setup, leading_words, loop_length, prefix_length, without_redirections};
use crate::submission::RecordFolder;
use crate::submission::code::shell::{self, Command, Word, is_name};

/// Most commands looked at, repetitions of loops included.
const MAX_STEPS: usize = 20_000;
/// Most launches kept.
const MAX_LAUNCHES: usize = 256;
/// Loops inside of loops: deeper ones are gone through once.
const MAX_LOOPS: usize = 8;
/// Shell scripts that start shell scripts: deeper ones are not read.
const MAX_DEPTH: usize = 3;

/// A value with the place where it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The value, variables expanded.
    pub value: String,
    /// File of the submission.
    pub file: String,
    /// 1-based line in it.
    pub line: u64,
    /// Something in it is known only by running a command, or on the author's machine.
    pub unresolved: bool,
}

/// One start of a script.
#[derive(Clone, Debug)]
pub struct Launch {
    /// File that holds the command: the README, submission.json, or a shell script.
    pub file: String,
    /// 1-based line where the command starts.
    pub line: u64,
    /// Line of the README command that led here.
    pub top_line: u64,
    /// The program that starts it.
    pub program: Program,
    /// How many processes.
    pub processes: Processes,
    /// The script as typed; for an unread shell script, that script.
    pub script: String,
    /// Arguments after the script.
    pub args: Vec<Given>,
    /// Variables that reach the script.
    pub env: BTreeMap<String, Given>,
    /// Variables that the shell holds and does not export: set in the same block, and never expanded.
    pub unexported: BTreeMap<String, Given>,
    /// What the README says above the command.
    pub comment: Option<String>,
}

/// What walking through commands found.
#[derive(Clone, Debug, Default)]
pub struct Walked {
    /// Starts of scripts, in order.
    pub launches: Vec<Launch>,
    /// Other commands, such as installations: line and text.
    pub setup: Vec<(u64, String)>,
    /// Variables set in the shell that no command exports: name and place.
    pub unexported: BTreeMap<String, Given>,
}

/// Walks through the commands of one file of the submission, block by block, in one shell.
pub fn walk(folder: &RecordFolder, file: &str, blocks: &[Vec<Command>]) -> Walked {
    let mut walker = Walker::new(folder, file);
    for commands in blocks {
        walker.block = commands.first().map_or(0, |command| command.line);
        walker.run(commands);
    }
    walker.walked.unexported = walker.variables;
    walker.walked
}

#[derive(Clone)]
struct Context {
    file: String,
    depth: usize,
    top: Option<(u64, Option<String>)>,
    program: Option<(Program, Processes)>,
}

struct Walker<'a> {
    folder: &'a RecordFolder,
    context: Context,
    exported: BTreeMap<String, Given>,
    variables: BTreeMap<String, Given>,
    /// Assignments in front of the command that is read: later ones see earlier ones.
    own: BTreeMap<String, Given>,
    /// Exports every assignment (`set -a`).
    export_all: bool,
    /// Line where the block begins.
    block: u64,
    /// Names of variables that were expanded.
    used: RefCell<BTreeSet<String>>,
    /// Loops around.
    loops: usize,
    steps: usize,
    walked: Walked,
}

impl<'a> Walker<'a> {
    fn new(folder: &'a RecordFolder, file: &str) -> Self {
        Walker {
            folder,
            context: Context { file: file.into(), depth: 0, top: None, program: None },
            exported: BTreeMap::new(),
            variables: BTreeMap::new(),
            own: BTreeMap::new(),
            export_all: false,
            block: 0,
            used: RefCell::default(),
            loops: 0,
            steps: 0,
            walked: Walked::default(),
        }
    }

    fn run(&mut self, commands: &[Command]) {
        let mut at = 0;
        while let Some(command) = commands.get(at) {
            self.steps += 1;
            if self.steps > MAX_STEPS {
                return;
            }
            at += 1;
            let words = leading_words(command);
            if self.loops < MAX_LOOPS && words.first().is_some_and(|word| word.literal() == Some("for")) {
                let length = loop_length(&commands[at..]);
                self.loops += 1;
                self.repeat(&words, &commands[at..at + length]);
                self.loops -= 1;
                at += length;
            } else {
                self.command(command, words);
            }
        }
    }

    /// `for NAME in values; do body; done`.
    fn repeat(&mut self, words: &[Word], body: &[Command]) {
        let Some(name) = words.get(1).and_then(Word::literal).filter(|name| is_name(name)) else {
            return self.run(body);
        };
        let values: Vec<Arg> = words.iter().skip(3).flat_map(|word| self.split(word)).collect();
        let values = if values.is_empty() { vec![unknown(name, words[0].line)] } else { values };
        for value in values.iter().take(64).flat_map(braces) {
            let given = self.given(&value);
            self.variables.insert(name.to_string(), given);
            self.run(body);
        }
    }

    fn command(&mut self, command: &Command, words: Vec<Word>) {
        let mut words = words.into_iter().peekable();
        self.own.clear();
        let mut any_prefix = false;
        // Assignments and prefixes, in any order: `A=1 env B=2 nohup C=3 torchrun`.
        while let Some(word) = words.peek() {
            if let Some(assignment) = word.assignment() {
                let list = assignment.value.literal().is_some_and(|text| text.starts_with('('));
                let mut value = self.value(&assignment.value);
                words.next();
                if list {
                    let more = std::iter::from_fn(|| words.next()).flat_map(|word| self.split(&word));
                    let items: Vec<String> = more.map(|arg| arg.text).collect();
                    let joined = format!("{} {}", value.value, items.join(" "));
                    value.value = joined.trim_matches(|c: char| matches!(c, '(' | ')' | ' ')).to_string();
                }
                self.own.insert(assignment.name, value);
                continue;
            }
            let Some(skip) = prefix_length(word) else { break };
            any_prefix = true;
            for _ in 0..skip {
                words.next();
            }
        }
        // Words are expanded before the assignments in front of them take effect.
        let own = std::mem::take(&mut self.own);
        let mut expanded: Vec<Arg> = Vec::new();
        for word in words {
            expanded.extend(self.split(&word));
        }
        without_redirections(&mut expanded);
        if expanded.is_empty() {
            if !any_prefix {
                for (name, given) in own {
                    let is_exported = self.export_all || self.exported.contains_key(&name);
                    let target = if is_exported { &mut self.exported } else { &mut self.variables };
                    target.insert(name, given);
                }
            }
            return;
        }
        self.simple(command, own, expanded);
    }

    fn simple(&mut self, command: &Command, own: BTreeMap<String, Given>, words: Vec<Arg>) {
        let (first, rest) = (words[0].text.as_str(), &words[1..]);
        match first {
            "export" | "declare" | "typeset" | "setenv" | "%env" => self.export(rest),
            "unset" => rest.iter().for_each(|word| {
                self.exported.remove(&word.text);
                self.variables.remove(&word.text);
            }),
            "set" => match rest.first().map(|word| word.text.as_str()) {
                Some("-a" | "-o") if words.iter().all(|word| word.text != "+a") => {
                    self.export_all = words.iter().any(|word| matches!(word.text.as_str(), "-a" | "allexport"));
                }
                Some("+a") => self.export_all = false,
                _ => {}
            },
            "read" => self.read(rest),
            "cd" => {
                let target = rest.first().map_or("", |word| word.text.trim_end_matches('/'));
                if target.rsplit('/').next() == Some(self.folder.name.as_str()) {
                    let pwd = Given { value: ".".into(), unresolved: false, ..self.given(&words[0]) };
                    self.variables.insert("PWD".into(), pwd);
                } else if rest.first().is_some_and(|word| word.text.starts_with('/')) {
                    let pwd = self.given(&rest[0]);
                    self.variables.insert("PWD".into(), pwd);
                }
            }
            "salloc" => {
                // Its number of tasks is that of the `srun` below.
                let mut words = words.clone();
                words[0].text = "srun".into();
                words.push(Arg { text: "x.py".into(), ..words[0].clone() });
                if let Some(Started::Script { processes, .. }) = started(&words) {
                    self.context.program = Some((Program::Srun, processes));
                }
            }
            _ => self.start(command, own, &words),
        }
    }

    fn start(&mut self, command: &Command, own: BTreeMap<String, Given>, words: &[Arg]) {
        let Some(found) = started(words) else {
            if self.context.depth == 0 && self.walked.setup.len() < MAX_LAUNCHES && is_setup(&words[0].text) {
                let text: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
                self.walked.setup.push((command.line, text.join(" ")));
            }
            return;
        };
        if self.walked.launches.len() >= MAX_LAUNCHES {
            return;
        }
        let mut env = self.exported.clone();
        env.extend(own);
        let top = self.context.top.clone().unwrap_or((command.line, command.comment.clone()));
        match found {
            Started::Script { program, processes, script, args } => {
                let (program, processes) = self.under_launcher(program, processes);
                self.keep(command, top, env, (program, processes, script, args));
            }
            Started::ShellText { program, processes, text } => {
                let inner = shell::parse(&text.text, text.line);
                let context = Context {
                    depth: self.context.depth + 1,
                    top: Some(top),
                    program: program
                        .map(|program| self.under_launcher(program, processes))
                        .or(self.context.program.clone()),
                    ..self.context.clone()
                };
                self.nested(context, env, &inner);
            }
            Started::ShellFile { program, processes, file, args } => {
                let inner = self.shell_file(&file);
                let before = self.walked.launches.len();
                if let Some((path, commands)) = inner.filter(|_| self.context.depth < MAX_DEPTH) {
                    let through = matches!(program, Program::Srun | Program::Sbatch);
                    let context = Context {
                        file: path,
                        depth: self.context.depth + 1,
                        top: Some(top.clone()),
                        program: if through { Some((program.clone(), processes.clone())) } else { None },
                    };
                    let mut inner = env.clone();
                    for (at, arg) in args.iter().enumerate() {
                        inner.insert((at + 1).to_string(), self.given(arg));
                    }
                    self.nested(context, inner, &commands);
                }
                if self.walked.launches.len() == before {
                    self.keep(command, top, env, (program, processes, file, args));
                }
            }
        }
    }

    /// What `srun` or `sbatch` around a command makes of its launcher.
    fn under_launcher(&self, program: Program, processes: Processes) -> (Program, Processes) {
        match (&self.context.program, &program) {
            (Some((outer, counts)), Program::Python | Program::Srun) => {
                let counts = if processes == Processes::Default { counts.clone() } else { processes };
                (outer.clone(), counts)
            }
            _ => (program, processes),
        }
    }

    fn nested(&mut self, context: Context, env: BTreeMap<String, Given>, commands: &[Command]) {
        let outer = (self.context.clone(), self.exported.clone(), self.variables.clone());
        self.context = context;
        let (positional, named) = env.into_iter().partition(|(name, _)| !is_name(name));
        self.exported = named;
        self.variables = positional;
        if self.context.depth <= MAX_DEPTH {
            self.run(commands);
        }
        (self.context, self.exported, self.variables) = outer;
    }

    /// The commands of a shell script of the submission.
    fn shell_file(&self, typed: &str) -> Option<(String, Vec<Command>)> {
        let path = find_file(self.folder.code.iter().map(|code| code.path.as_str()), typed)?.to_string();
        let code = self.folder.code.iter().find(|code| code.path == path)?;
        Some((path, shell::parse(code.text.as_deref()?, 1)))
    }

    fn keep(
        &mut self,
        command: &Command,
        (top_line, comment): (u64, Option<String>),
        env: BTreeMap<String, Given>,
        (program, processes, script, args): (Program, Processes, String, Vec<Arg>),
    ) {
        let args = args.iter().map(|arg| self.given(arg)).collect();
        let unexported = self.unexported(&env);
        let (file, line) = (self.context.file.clone(), command.line);
        self.walked.launches.push(Launch {
            file,
            line,
            top_line,
            program,
            processes,
            script,
            args,
            env,
            unexported,
            comment,
        });
    }
}

fn unknown(name: &str, line: u64) -> Arg {
    Arg { text: format!("${name}"), line, unresolved: true }
}
