//! What is made of the commands' own definitions: completions of shells, and manual pages.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

use super::ExitCode;
use super::output::stdout;
use super::outputs::Outputs;
use super::places::check_folder;
use super::previous::Kind;
use crate::atomic_write;

/// The foot of every page.
const SOURCE: &str = concat!("golf-harness ", env!("CARGO_PKG_VERSION"));

/// Where each shell looks.
pub(super) const COMPLETIONS_HELP: &str = "\
Examples:
  golf-harness completions bash
  golf-harness completions zsh > _golf-harness
  golf-harness completions fish > golf-harness.fish
  golf-harness completions powershell > golf-harness.ps1

Shells look for them in ~/.local/share/bash-completion/completions/golf-harness, in a folder of zsh's fpath, in
~/.config/fish/completions, and in what $PROFILE of PowerShell runs.";

/// How to read them.
pub(super) const MAN_HELP: &str = "\
Examples:
  golf-harness man man/man1

Then: man -M man golf-harness-verify";

/// Prints what a shell reads.
pub(super) fn completions(shell: Shell, mut command: Command) -> anyhow::Result<ExitCode> {
    let name = command.get_name().to_string();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, &name, &mut script);
    let mut script = String::from_utf8(script).context("completions are text")?;
    if shell == Shell::Bash {
        // clap_complete 4.6 spells a hyphen in the program's name in two ways, and completes no command's flags then:
        // https://github.com/clap-rs/clap/issues/6421
        script = script.replace(&name.replace('-', "__subcmd__"), &name.replace('-', "__"));
    }
    write!(stdout(), "{script}")?;
    Ok(ExitCode::Ok)
}

/// Writes a page for the program, and for every command of it.
pub(super) fn man(folder: &Path, mut command: Command) -> anyhow::Result<ExitCode> {
    check_folder("DIR", folder)?;
    command.build();
    let mut pages = Vec::new();
    collect(&command, folder, &mut pages)?;
    let mut outputs = Outputs::default();
    outputs.writes_each("DIR", pages.iter().map(|(path, _)| path), Kind::ManualPage);
    outputs.check(false)?;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let files: Vec<(&Path, Vec<u8>)> = pages.iter().map(|(path, page)| (path.as_path(), page.clone())).collect();
    atomic_write::write_all(&files)?;
    let names = pages.iter().map(|(path, _)| format!("{}\n", path.display()));
    write!(stdout(), "{}", names.collect::<String>())?;
    Ok(ExitCode::Ok)
}

/// The page of a command, and those of its subcommands.
fn collect(command: &Command, folder: &Path, pages: &mut Vec<(PathBuf, Vec<u8>)>) -> std::io::Result<()> {
    let man = Man::new(command.clone().after_help("").after_long_help("")).source(SOURCE);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(help) = command.get_after_help() {
        page.extend(after_help(&help.to_string()).into_bytes());
    }
    pages.push((folder.join(man.get_filename()), page));
    let mut visible = command.get_subcommands().filter(|below| !below.is_hide_set());
    visible.try_for_each(|below| collect(below, folder, pages))
}

/// What stands after the options, as a page has it: paragraphs, of which those with indented lines keep their lines.
fn after_help(help: &str) -> String {
    let escaped = |line: &str| line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    let mut page = ".SH NOTES\n".to_string();
    for paragraph in help.split("\n\n") {
        let lines: Vec<&str> = paragraph.lines().collect();
        let keeps_lines = lines.iter().any(|line| line.starts_with(' '));
        let lines = lines.iter().map(|line| escaped(line) + "\n").collect::<String>();
        page += &if keeps_lines { format!(".PP\n.nf\n{lines}.fi\n") } else { format!(".PP\n{lines}") };
    }
    page
}
