//! The environment of a script: an allow-list, and what the recipe sets.

use std::collections::BTreeMap;

use super::Place;
use crate::rerun::launch::Launch;

/// Variables by which `srun` finds Slurm and the job it is in. They decide nothing of what comes out.
pub(super) fn of_slurm() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("SLURM"))
}

/// All variables of a seed.
pub(super) fn variables(launch: &Launch, inside: &Place, seed: u64) -> BTreeMap<String, String> {
    let mut variables = launch.python.variables.clone();
    let folder = launch.python.executable.parent().map(|folder| folder.to_string_lossy().into_owned());
    // An image says where its programs are.
    let others = variables.get("PATH").map_or("/usr/local/bin:/usr/bin:/bin", String::as_str);
    let path = format!("{}:{others}", folder.unwrap_or_default());
    let own = [
        ("HOME", inside.home.to_string_lossy().into_owned()),
        ("LANG", "C.UTF-8".into()),
        ("LOGNAME", "rerun".into()),
        ("PATH", path),
        // Every line reaches the supervisor when it is printed, and its time is right.
        ("PYTHONUNBUFFERED", "1".into()),
        ("PYTHONDONTWRITEBYTECODE", "1".into()),
        ("TMPDIR", inside.tmp.to_string_lossy().into_owned()),
        ("USER", "rerun".into()),
    ];
    variables.extend(own.map(|(name, value)| (name.to_string(), value)));
    if let Some(base) = &launch.python.user_base {
        variables.insert("PYTHONUSERBASE".into(), base.to_string_lossy().into_owned());
    }
    if launch.processes() > 1 && !launch.is_by_steps() {
        // The only interface there is, or may be used.
        variables.insert("GLOO_SOCKET_IFNAME".into(), "lo".into());
        variables.insert("NCCL_SOCKET_IFNAME".into(), "lo".into());
    }
    variables.extend(launch.variables(seed));
    variables
}
