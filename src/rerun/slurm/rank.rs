//! A process that `srun` started, in the words of `torchrun`: scripts read `RANK` and its relatives, Slurm sets its own.

use std::collections::BTreeMap;

/// First argument of such a process; the command follows.
pub(crate) const ARGUMENT: &str = "--rerun-rank";
/// Ports at which the first process is met: below those that systems hand out.
const PORTS: std::ops::Range<u32> = 20_000..30_000;

/// The variables that `torchrun` would set, from those that Slurm does.
fn variables(of: impl Fn(&str) -> Option<String>) -> BTreeMap<&'static str, String> {
    let mut variables = BTreeMap::new();
    let names = [
        ("RANK", "SLURM_PROCID"),
        ("WORLD_SIZE", "SLURM_NTASKS"),
        ("LOCAL_RANK", "SLURM_LOCALID"),
        ("GROUP_RANK", "SLURM_NODEID"),
    ];
    for (ours, theirs) in names {
        variables.extend(of(theirs).map(|value| (ours, value)));
    }
    let node = of("SLURM_NODEID").and_then(|text| text.parse().ok()).unwrap_or(0);
    let counts = of("SLURM_STEP_TASKS_PER_NODE").or_else(|| of("SLURM_TASKS_PER_NODE"));
    variables.extend(counts.and_then(|counts| count_at(&counts, node)).map(|count| ("LOCAL_WORLD_SIZE", count)));
    let nodes = of("SLURM_STEP_NODELIST").or_else(|| of("SLURM_JOB_NODELIST"));
    variables.extend(nodes.and_then(|nodes| first_host(&nodes)).map(|host| ("MASTER_ADDR", host)));
    let number = |name: &str| of(name).and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
    // Steps that run at a time on one machine meet at different ports.
    let turn = number("SLURM_JOB_ID").wrapping_mul(7).wrapping_add(number("SLURM_STEP_ID"));
    variables.insert("MASTER_PORT", (PORTS.start + turn % (PORTS.end - PORTS.start)).to_string());
    variables
}

/// The count of a machine in a list such as `8(x2),4`.
fn count_at(counts: &str, node: usize) -> Option<String> {
    let mut before = 0;
    for part in counts.split(',') {
        let (count, machines) = match part.split_once("(x") {
            Some((count, machines)) => (count, machines.strip_suffix(')')?.parse::<usize>().ok()?),
            None => (part, 1),
        };
        before += machines;
        if node < before {
            return Some(count.to_string());
        }
    }
    None
}

/// The first machine of a list such as `gpu[003-005,9],login`.
fn first_host(nodes: &str) -> Option<String> {
    let end = nodes.find([',', '[']).unwrap_or(nodes.len());
    let (head, rest) = nodes.split_at(end);
    let Some(inside) = rest.strip_prefix('[') else { return (!head.is_empty()).then(|| head.to_string()) };
    let (range, after) = inside.split_once(']')?;
    let first = range.split([',', '-']).next()?;
    // A suffix behind the brackets ends at the next machine.
    let suffix = after.split(',').next().unwrap_or_default();
    (!suffix.contains('[')).then(|| format!("{head}{first}{suffix}"))
}

/// Runs the command under its names. Ends with it, or ends it when its input does: the input is a pipe that the
/// supervisor holds, and `srun` carries its end to every machine.
#[cfg(target_os = "linux")]
pub(crate) fn serve(mut arguments: impl Iterator<Item = std::ffi::OsString>) -> std::process::ExitCode {
    let Some(program) = arguments.next() else { return std::process::ExitCode::from(2) };
    match run(&program, arguments) {
        Ok(code) => std::process::ExitCode::from(code),
        Err(error) => {
            eprintln!("{}: {error}", program.to_string_lossy());
            std::process::ExitCode::from(2)
        }
    }
}

#[cfg(target_os = "linux")]
fn run(program: &std::ffi::OsStr, arguments: impl Iterator<Item = std::ffi::OsString>) -> std::io::Result<u8> {
    use std::process::{Command, Stdio};

    use crate::rerun::supervise::{PATIENCE, keeper, processes};

    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let own = variables(|name| std::env::var(name).ok());
    let mut child = Command::new(program).args(arguments).envs(own).stdin(Stdio::null()).spawn()?;
    let code = loop {
        if let Some(status) = child.try_wait()? {
            use std::os::unix::process::ExitStatusExt;
            // As shells do it: 128 and the number of the signal.
            let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1);
            break u8::try_from(code).unwrap_or(1);
        }
        if keeper::is_over(&std::io::stdin())? {
            break 143;
        }
    };
    // What does not end is Slurm's to end, with the job.
    let _ = processes::end_all(PATIENCE);
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slurms_words_become_torchruns() {
        let slurm = [
            ("SLURM_PROCID", "9"),
            ("SLURM_NTASKS", "12"),
            ("SLURM_LOCALID", "1"),
            ("SLURM_NODEID", "1"),
            ("SLURM_STEP_TASKS_PER_NODE", "8,4"),
            ("SLURM_STEP_NODELIST", "gpu[07-08]"),
            ("SLURM_JOB_ID", "1000"),
            ("SLURM_STEP_ID", "3"),
        ];
        let of = |name: &str| slurm.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string());
        let expected = [
            ("GROUP_RANK", "1"),
            ("LOCAL_RANK", "1"),
            ("LOCAL_WORLD_SIZE", "4"),
            ("MASTER_ADDR", "gpu07"),
            ("MASTER_PORT", "27003"),
            ("RANK", "9"),
            ("WORLD_SIZE", "12"),
        ];
        assert_eq!(variables(of), expected.map(|(name, value)| (name, value.to_string())).into());
    }

    #[test]
    fn lists_of_machines_are_read() {
        for (nodes, first) in [
            ("vm", Some("vm")),
            ("a,b", Some("a")),
            ("gpu[003-005,9],login", Some("gpu003")),
            ("n[1,3]-ib,m", Some("n1-ib")),
            ("r[1-2]n[1-4]", None),
            ("n[1", None),
            ("", None),
        ] {
            assert_eq!(first_host(nodes).as_deref(), first, "{nodes}");
        }
        for (counts, node, count) in
            [("2", 0, Some("2")), ("8(x2),4", 1, Some("8")), ("8(x2),4", 2, Some("4")), ("8(x2)", 2, None)]
        {
            assert_eq!(count_at(counts, node).as_deref(), count, "{counts} {node}");
        }
    }
}
