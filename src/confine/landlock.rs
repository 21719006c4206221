//! Which files and ports a process may open: Landlock, through the crate of its authors.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use super::{Files, Network};

/// The newest version of Landlock asked for; an older kernel gives what it has.
const VERSION: ABI = ABI::V6;

/// Restricts the calling thread. `Ok` says what holds, `Err` what does not.
pub(super) fn restrict(files: Option<&Files>, network: &Network) -> Result<String, String> {
    let (words, status) = enforce(files, network).map_err(|error| error.to_string())?;
    match status {
        RulesetStatus::FullyEnforced => Ok(words),
        RulesetStatus::PartiallyEnforced => Err(format!("{words}, in part: the kernel has an older version of it")),
        RulesetStatus::NotEnforced => Err("the kernel does not have it".into()),
    }
}

fn enforce(files: Option<&Files>, network: &Network) -> Result<(String, RulesetStatus), RulesetError> {
    let mut words = Vec::new();
    let mut ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
    if files.is_some() {
        ruleset = ruleset.handle_access(AccessFs::from_all(VERSION))?;
    }
    if *network != Network::Unchanged {
        ruleset = ruleset.handle_access(AccessNet::from_all(VERSION))?;
    }
    if *network == Network::Nothing {
        ruleset = ruleset.scope(Scope::from_all(VERSION))?;
    }
    let mut ruleset = ruleset.create()?;
    if let Some(files) = files {
        let reading = AccessFs::from_read(VERSION) & !BitFlags::from(AccessFs::Execute);
        ruleset = allow(ruleset, &files.readable, reading)?;
        ruleset = allow(ruleset, &files.executable, AccessFs::from_read(VERSION))?;
        ruleset = allow(ruleset, &files.writable, AccessFs::from_all(VERSION) & !BitFlags::from(AccessFs::Execute))?;
        words.push(match files.writable.is_empty() {
            true => "files are read only, below what was named",
            false => "files are read and written below what was named",
        });
    }
    match network {
        Network::Unchanged => {}
        Network::Nothing => words.push("no TCP"),
        Network::Tcp(ports) => {
            for port in ports {
                ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::ConnectTcp | AccessNet::BindTcp))?;
            }
            words.push("TCP to the ports named");
        }
    }
    Ok((words.join(", "), ruleset.restrict_self()?.ruleset))
}

/// A path that cannot be opened grants nothing.
fn allow(
    ruleset: RulesetCreated,
    paths: &[std::path::PathBuf],
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    ruleset.add_rules(path_beneath_rules(paths, access))
}
