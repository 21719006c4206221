//! Options of `srun` and `sbatch` that somebody passes on, and the job's script.

use std::path::Path;

/// Options that a rerun sets itself: long and short name, and what there is in their place.
const OWN: [(&str, &str, &str); 10] = [
    ("array", "a", "--seeds"),
    ("chdir", "D", "the current folder"),
    ("error", "e", "--out"),
    ("export", "", "--env"),
    ("input", "i", "nothing: the script reads no input"),
    ("ntasks", "n", "--nproc"),
    ("output", "o", "--out"),
    ("parsable", "", "nothing: the number of the job is printed"),
    ("wait", "W", "rerun collect"),
    ("wrap", "", "nothing: the script is the submission's"),
];

/// Why an option is not passed on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// Not one option in one word.
    #[error("--launcher-arg {0}: write it as one word that begins with `-`, such as --launcher-arg=--partition=gpu")]
    NotOne(String),
    /// A rerun sets it.
    #[error("--launcher-arg {option} is what rerun sets itself; in its place there is {instead}")]
    Own {
        /// The option.
        option: String,
        /// What does it.
        instead: &'static str,
    },
    /// Several machines in a sandbox.
    #[error(
        "--launcher-arg {0}: processes on several machines need a network, and the sandbox has none; ask for one \
         machine, or pass --no-sandbox"
    )]
    Network(String),
    /// A character that a job's script cannot hold.
    #[error(
        "--launcher-arg {0}: blanks, quotes, backslashes and `#` are no part of a plain option; set it by Slurm's \
         variables, such as SBATCH_COMMENT"
    )]
    Character(String),
    /// A path that a job's script cannot hold.
    #[error("{0}: a job's script holds paths of letters, digits, blanks and -_./+=,@: only; name another --out")]
    Path(String),
}

/// Checks options before they are passed on. In a sandbox there is one machine.
pub fn check(options: &[String], is_sandboxed: bool) -> Result<(), OptionError> {
    for option in options {
        if !option.starts_with('-') || option.trim_start_matches('-').is_empty() {
            return Err(OptionError::NotOne(option.clone()));
        }
        if !option.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'\\#".contains(&byte)) {
            return Err(OptionError::Character(option.clone()));
        }
        let (name, value) = parts(option);
        if let Some((.., instead)) = OWN.iter().find(|(long, short, _)| name == *long || name == *short) {
            return Err(OptionError::Own { option: option.clone(), instead });
        }
        if is_sandboxed && matches!(name, "nodes" | "N") && !matches!(value, "1" | "1-1") {
            return Err(OptionError::Network(option.clone()));
        }
    }
    Ok(())
}

/// Name and value: `--nodes=2`, `-N2`.
fn parts(option: &str) -> (&str, &str) {
    match option.strip_prefix("--") {
        Some(long) => long.split_once('=').unwrap_or((long, "")),
        None => option[1..].split_at(1),
    }
}

/// What a job's script is made of.
pub struct Script<'a> {
    /// This program.
    pub program: &'a Path,
    /// The run folder.
    pub out: &'a Path,
    /// Places of the seeds in the job's list.
    pub tasks: &'a [usize],
    /// Processes that Slurm is asked for, in each task of the array.
    pub processes: u32,
    /// All on one machine.
    pub is_sandboxed: bool,
    /// Options passed on.
    pub options: &'a [String],
}

impl Script<'_> {
    /// The text of it. Nothing of a submission is in it: what is run stands in the run folder, as data.
    ///
    /// # Errors
    /// If a path holds what `sbatch` or a shell would read in another way than it is meant.
    pub fn text(&self) -> Result<String, OptionError> {
        let (program, out) = (plain(self.program)?, plain(self.out)?);
        let tasks: Vec<String> = self.tasks.iter().map(usize::to_string).collect();
        let mut lines = vec![
            "#!/bin/sh".to_string(),
            "# An array job, a seed a task: `rerun seed` runs it, supervised, on the machine that Slurm chooses."
                .into(),
            format!("# What it runs is in job.json beside this file. Afterwards: rerun collect '{out}'"),
            "#SBATCH --job-name=rerun".into(),
            format!("#SBATCH --array={}", tasks.join(",")),
            format!("#SBATCH --ntasks={}", self.processes),
            format!("#SBATCH --output=\"{out}/slurm/task-%a.txt\""),
        ];
        if self.is_sandboxed {
            lines.push("#SBATCH --nodes=1".into());
        }
        lines.extend(self.options.iter().map(|option| format!("#SBATCH {option}")));
        lines.push(format!("exec '{program}' seed '{out}' --index \"$SLURM_ARRAY_TASK_ID\""));
        Ok(lines.join("\n") + "\n")
    }
}

/// A path as it stands between quotes in a script.
fn plain(path: &Path) -> Result<&str, OptionError> {
    let is_plain = |c: char| c.is_alphanumeric() || " -_./+=,@:".contains(c);
    let text = path.to_str().filter(|text| text.chars().all(is_plain));
    text.ok_or_else(|| OptionError::Path(crate::escape::visible(&path.to_string_lossy())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_passed_on_that_leave_a_rerun_its_own() {
        let checked = |option: &str, is_sandboxed| check(&[option.to_string()], is_sandboxed);
        for option in ["--partition=gpu", "-pgpu", "--gres=gpu:h100:8", "--constraint=a&b|[c*2]", "--nodes=1", "-N1"] {
            assert!(checked(option, true).is_ok(), "{option}");
        }
        for option in ["--nodes=2", "-N2", "--nodes=1-4", "--nodes"] {
            assert!(matches!(checked(option, true), Err(OptionError::Network(_))), "{option}");
            assert!(checked(option, false).is_ok(), "{option}");
        }
        for option in ["--array=1-9", "-a1", "--output=x", "-n4", "--wrap=id", "--export=NONE"] {
            assert!(matches!(checked(option, true), Err(OptionError::Own { .. })), "{option}");
        }
        for option in ["--comment=a b", "--comment='x'", "--comment=x\nid", "--comment=#", "--comment=\u{e9}"] {
            assert!(matches!(checked(option, false), Err(OptionError::Character(_))), "{option}");
        }
        for option in ["gpu", "", "-", "--"] {
            assert!(matches!(checked(option, false), Err(OptionError::NotOne(_))), "{option}");
        }
    }

    #[test]
    fn a_script_holds_paths_and_options_and_nothing_a_shell_would_act_on() {
        let options = ["--partition=gpu".to_string()];
        let script = |program: &'static str, out: &'static str| Script {
            program: Path::new(program),
            out: Path::new(out),
            tasks: &[0, 2],
            processes: 1,
            is_sandboxed: true,
            options: &options,
        };
        let text = script("/opt/bin/rerun", "/home/a b/runs/x").text().unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "#!/bin/sh");
        assert!(lines[1..lines.len() - 1].iter().all(|line| line.starts_with('#')), "{text}");
        assert!(lines.contains(&"#SBATCH --array=0,2") && lines.contains(&"#SBATCH --partition=gpu"), "{text}");
        assert!(lines.contains(&"#SBATCH --output=\"/home/a b/runs/x/slurm/task-%a.txt\""), "{text}");
        assert_eq!(
            lines.last(),
            Some(&"exec '/opt/bin/rerun' seed '/home/a b/runs/x' --index \"$SLURM_ARRAY_TASK_ID\"")
        );
        for odd in ["/a'b", "/a\"b", "/a$(id)", "/a`id`", "/a\nid", "/a%j", "/a\\b", "/a;id", "/a#"] {
            assert!(script("/rerun", odd).text().is_err() && script(odd, "/x").text().is_err(), "{odd}");
        }
    }
}
