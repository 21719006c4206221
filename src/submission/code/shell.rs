//! Shell commands in a README's code blocks, as far as a reader needs them: who gets which variables.
//!
//! A deliberately small reading of POSIX shell (quotes, escapes, continuations, comments, lists). Nothing is expanded
//! and nothing is run.

use std::collections::BTreeSet;

/// How a command is joined to the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// First of its line.
    Start,
    /// After `&&`.
    And,
    /// After `||`, `;`, `|` or `&`.
    Other,
}

/// A simple command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// 1-based line in the README where it starts.
    pub line: u64,
    /// `NAME=value` words before the command; they reach this command alone.
    pub assignments: Vec<(String, u64)>,
    /// The command and its arguments, quotes removed.
    pub words: Vec<String>,
    /// How it follows the one before.
    pub joined: Joined,
}

/// Variables that were put before an installer, so that the training command after it does not see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostVariables {
    /// Line of the first variable.
    pub line: u64,
    /// Names in order.
    pub names: Vec<String>,
    /// What they reach, such as `pip`.
    pub installer: String,
    /// What they were meant for, such as `torchrun`.
    pub launcher: String,
    /// Line of that command.
    pub launcher_line: u64,
}

/// Commands of all fenced blocks that look like shell. A README's length is bounded by who reads it.
pub fn commands(readme: &str) -> Vec<Command> {
    let mut commands = Vec::new();
    let mut block: Option<(String, u64, String)> = None;
    for (index, line) in readme.lines().enumerate() {
        let trimmed = line.trim_start();
        let fence: String = trimmed.chars().take_while(|c| *c == '`' || *c == '~').collect();
        match &mut block {
            None if fence.len() >= 3 => {
                let language = trimmed.trim_start_matches(['`', '~']).trim().to_ascii_lowercase();
                let shell = matches!(
                    language.split_whitespace().next().unwrap_or(""),
                    "" | "bash" | "sh" | "shell" | "zsh" | "console" | "shellsession" | "shell-session" | "text"
                );
                block = Some((fence, if shell { index as u64 + 2 } else { 0 }, String::new()));
            }
            Some((open, first_line, text)) if trimmed.starts_with(open.as_str()) && trimmed.trim() == fence => {
                if *first_line > 0 {
                    commands.extend(parse(text, *first_line));
                }
                block = None;
            }
            Some((_, _, text)) => {
                // `$ command` as people paste it.
                text.push_str(line.trim_start().strip_prefix("$ ").unwrap_or(line));
                text.push('\n');
            }
            None => {}
        }
    }
    commands
}

/// Commands of a piece of shell text whose first line has this number.
pub fn parse(text: &str, first_line: u64) -> Vec<Command> {
    let mut parser = Parser { line: first_line, commands: Vec::new(), words: Vec::new(), joined: Joined::Start };
    let mut chars = text.chars().peekable();
    let mut word: Option<Word> = None;
    while let Some(c) = chars.next() {
        let line = parser.line;
        let here = |word: &mut Option<Word>, c: char| word.get_or_insert_with(|| Word::at(line)).text.push(c);
        match c {
            '\\' => match chars.next() {
                Some('\n') => parser.line += 1,
                Some('\r') if chars.peek() == Some(&'\n') => {
                    chars.next();
                    parser.line += 1;
                }
                Some(escaped) => here(&mut word, escaped),
                None => {}
            },
            '\'' | '"' => {
                let current = word.get_or_insert_with(|| Word::at(line));
                current.quoted |= current.text.is_empty();
                while let Some(inner) = chars.next() {
                    match inner {
                        _ if inner == c => break,
                        '\\' if c == '"' => current.text.extend(chars.next()),
                        '\n' => {
                            parser.line += 1;
                            current.text.push(' ');
                        }
                        _ => current.text.push(inner),
                    }
                }
            }
            '#' if word.is_none() => {
                while chars.peek().is_some_and(|next| *next != '\n') {
                    chars.next();
                }
            }
            '&' if chars.peek() == Some(&'&') => {
                chars.next();
                parser.end(word.take(), Joined::And);
            }
            // `2>&1` is a redirection.
            '&' if word.as_ref().is_some_and(|w| w.text.ends_with('>')) => here(&mut word, '&'),
            '|' | ';' | '&' => {
                while chars.peek().is_some_and(|next| matches!(next, '|' | ';' | '&')) {
                    chars.next();
                }
                parser.end(word.take(), Joined::Other);
            }
            '\n' => {
                // A line that ends in `&&` goes on.
                let goes_on = parser.joined == Joined::And && parser.words.is_empty() && word.is_none();
                parser.end(word.take(), if goes_on { Joined::And } else { Joined::Start });
                parser.line += 1;
            }
            c if c.is_whitespace() => parser.words.extend(word.take()),
            c => here(&mut word, c),
        }
    }
    parser.end(word.take(), Joined::Start);
    parser.commands
}

struct Word {
    text: String,
    quoted: bool,
    line: u64,
}

impl Word {
    fn at(line: u64) -> Self {
        Word { text: String::new(), quoted: false, line }
    }

    /// Name, if the word is `NAME=value`.
    fn assigned(&self) -> Option<&str> {
        let (name, _) = self.text.split_once('=')?;
        let valid = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        (valid && !self.quoted).then_some(name)
    }
}

struct Parser {
    line: u64,
    commands: Vec<Command>,
    words: Vec<Word>,
    joined: Joined,
}

impl Parser {
    fn end(&mut self, last: Option<Word>, next: Joined) {
        self.words.extend(last);
        let words = std::mem::take(&mut self.words);
        let joined = std::mem::replace(&mut self.joined, next);
        let Some(first) = words.first() else { return };
        let line = first.line;
        let count = words.iter().take_while(|word| word.assigned().is_some()).count();
        let assignments = words.iter().take(count).filter_map(|w| Some((w.assigned()?.to_string(), w.line))).collect();
        let words = words.into_iter().skip(count).map(|word| word.text).collect();
        self.commands.push(Command { line, assignments, words, joined });
    }
}

/// Installers' own settings, which belong before an installer.
const INSTALLER_VARIABLES: [&str; 9] =
    ["PIP_", "UV_", "CONDA_", "DEBIAN_", "FLASH_ATT", "TORCH_CUDA_ARCH", "MAX_JOBS", "CFLAGS", "CUDA_HOME"];

/// Most places reported.
const MAX_LOST: usize = 16;

/// Finds `VAR=... pip install x && torchrun ...`: the variables end with `pip`, the training runs without them.
///
/// The first [`MAX_LOST`] of them; time grows with the text and no faster.
pub fn lost_variables(commands: &[Command]) -> Vec<LostVariables> {
    let mut lost = Vec::new();
    let exported: BTreeSet<&str> = commands.iter().flat_map(exported_names).collect();
    let launchers = next_launchers(commands);
    // The variables of one launcher, which many installers may stand before.
    let mut given: (usize, BTreeSet<&str>) = (usize::MAX, BTreeSet::new());
    for (command, at) in commands.iter().zip(launchers) {
        let (Some(at), Some(installer)) = (at, installer(&command.words)) else { continue };
        let meant: Vec<&(String, u64)> = command
            .assignments
            .iter()
            .filter(|(name, _)| !INSTALLER_VARIABLES.iter().any(|prefix| name.starts_with(prefix)))
            .collect();
        let (Some((_, line)), Some(next)) = (meant.first(), commands.get(at)) else { continue };
        let Some(launcher) = launcher(&next.words) else { continue };
        if given.0 != at {
            given = (at, next.assignments.iter().map(|(name, _)| name.as_str()).collect());
        }
        let reaches = |name: &str| given.1.contains(name) || exported.contains(name);
        let names: Vec<String> = meant.iter().map(|(name, _)| name.clone()).filter(|name| !reaches(name)).collect();
        if !names.is_empty() {
            lost.push(LostVariables { line: *line, names, installer, launcher, launcher_line: next.line });
        }
        if lost.len() == MAX_LOST {
            break;
        }
    }
    lost
}

/// For each command the first launcher behind it that `&&` joins to it, through whatever stands between.
fn next_launchers(commands: &[Command]) -> Vec<Option<usize>> {
    let mut found = vec![None; commands.len()];
    for (at, command) in commands.iter().enumerate().skip(1).rev() {
        if command.joined == Joined::And {
            found[at - 1] = if launcher(&command.words).is_some() { Some(at) } else { found[at] };
        }
    }
    found
}

fn exported_names(command: &Command) -> Vec<&str> {
    match command.words.split_first() {
        Some((first, rest)) if first == "export" => rest.iter().filter_map(|word| word.split('=').next()).collect(),
        _ => Vec::new(),
    }
}

fn program(words: &[String]) -> Option<&str> {
    let first = words.iter().find(|word| !matches!(word.as_str(), "sudo" | "env" | "time" | "nohup"))?;
    first.rsplit('/').next()
}

fn installer(words: &[String]) -> Option<String> {
    let program = program(words)?;
    let by_python = program.starts_with("python") && words.windows(2).any(|pair| pair[0] == "-m" && pair[1] == "pip");
    let is_installer = matches!(program, "pip" | "pip3" | "uv" | "conda" | "mamba" | "apt" | "apt-get" | "brew");
    if by_python { Some("pip".into()) } else { is_installer.then(|| program.to_string()) }
}

fn launcher(words: &[String]) -> Option<String> {
    let program = program(words)?;
    let starts = matches!(program, "torchrun" | "accelerate" | "bash" | "sh" | "srun" | "mpirun");
    (starts || program.starts_with("python") && installer(words).is_none()).then(|| program.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reproduction block of PR #286's README.
    const PR_286: &str = "# X\n\n```bash\nRUN_ID=10l_seed1337 \\\nDATA_PATH=./data \\\nSEED=1337 \\\npip install \
                          zstandard && \\\ntorchrun --standalone --nproc_per_node=8 \\\n./train_gpt.py\n```\n";

    #[test]
    fn pr_286_gives_its_variables_to_pip() {
        let lost = lost_variables(&commands(PR_286));
        assert_eq!(
            lost,
            [LostVariables {
                line: 4,
                names: ["RUN_ID", "DATA_PATH", "SEED"].map(String::from).to_vec(),
                installer: "pip".into(),
                launcher: "torchrun".into(),
                launcher_line: 8,
            }]
        );
    }

    #[test]
    fn commands_that_work_are_left_alone() {
        for block in [
            "pip install zstandard && SEED=1337 torchrun train_gpt.py",
            "SEED=1337 torchrun train_gpt.py",
            "export SEED=1\nSEED=1 pip install x && torchrun t.py",
            "PIP_NO_CACHE_DIR=1 MAX_JOBS=4 pip install flash-attn && torchrun t.py",
            "SEED=1 pip install x\ntorchrun t.py",
            "SEED=1 \\\n  pip install x; torchrun t.py",
            "for SEED in 1 2; do\n  SEED=$SEED torchrun t.py\ndone",
        ] {
            assert_eq!(lost_variables(&commands(&format!("```\n{block}\n```\n"))), [], "{block}");
        }
    }

    #[test]
    fn readmes_of_nothing_but_commands_take_no_longer_than_their_length() {
        let chain = "A=1 pip install x && ".repeat(100_000) + "torchrun y";
        let lines = "A=1 pip install x && torchrun y\n".repeat(50_000);
        let many = (0..50_000).map(|i| format!("A{i}=1 ")).collect::<String>();
        let wide = format!("{many} pip install x && ").repeat(3) + &many.replace("A", "B") + " torchrun y";
        for block in [chain, lines, wide] {
            let start = std::time::Instant::now();
            assert!(!lost_variables(&commands(&format!("```\n{block}\n```\n"))).is_empty());
            // Seconds where it grew with the square.
            assert!(start.elapsed().as_secs() < 8, "{:?}", start.elapsed());
        }
    }

    #[test]
    fn words_are_split_as_a_shell_would() {
        let parsed = parse("A='x y' B=\"z \\\" w\" cmd 'a b'c \\\n  d # no\nnext 2>&1 | tee log\n", 10);
        let words: Vec<(u64, Vec<&str>)> =
            parsed.iter().map(|c| (c.line, c.words.iter().map(String::as_str).collect())).collect();
        assert_eq!(words, [(10, vec!["cmd", "a bc", "d"]), (12, vec!["next", "2>&1"]), (12, vec!["tee", "log"])]);
        assert_eq!(parsed[0].assignments, [("A".to_string(), 10), ("B".to_string(), 10)]);
    }

    #[test]
    fn other_languages_and_open_fences_are_harmless() {
        assert!(commands("```python\nSEED=1 pip install x && torchrun y\n```\n").is_empty());
        assert!(commands("```bash\nSEED=1 pip 'unclosed && torchrun y\n").is_empty());
        // A longer fence holds a shorter one.
        assert_eq!(commands("````\n```\n````\nSEED=1 pip install x\n").len(), 1);
    }
}
