//! `golf-harness.toml`: defaults of a person or a project, which flags and environment variables win over.
//!
//! What is audited must not configure its own audit. The file is looked for where the user stands, in the current folder
//! and upwards to a repository's root, and never where the audited files lie: a file inside of an audited path, inside
//! of a repository whose range is audited, or of another user is left out, and refused if it is named.

mod file;
mod find;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

pub use self::file::{ConfigError, Settings};
pub use self::find::repository;
use super::CommonArgs;
use crate::manifest::Override;
use crate::report::Defaults;

/// Which file gives defaults.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Configuration")]
pub struct ConfigArgs {
    /// Take defaults from this file [default: golf-harness.toml in the current folder or above it]
    #[arg(long, value_name = "FILE", conflicts_with = "no_config")]
    config: Option<PathBuf>,

    /// Take defaults from no file
    #[arg(long)]
    no_config: bool,
}

/// The defaults, and the file they are from.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The file, if there is one.
    pub path: Option<PathBuf>,
    /// What it says.
    pub settings: Settings,
}

impl ConfigArgs {
    /// Reads the file that is named or found. `audited` is what must not decide.
    pub fn load(&self, audited: &[PathBuf], common: &CommonArgs) -> anyhow::Result<Config> {
        if self.no_config {
            return Ok(Config::default());
        }
        let config = match &self.config {
            Some(path) => {
                if let Some(distrust) = find::distrust_of_place(path, audited) {
                    return Err(ConfigError::Untrusted { path: path.clone(), distrust }.into());
                }
                Config::read(path)?
            }
            None => {
                let Some(path) = find::upwards(&std::env::current_dir()?) else { return Ok(Config::default()) };
                let distrust = find::distrust_of_place(&path, audited).or_else(|| find::distrust_of_owner(&path));
                if let Some(distrust) = distrust {
                    say(common, &format!("{} is not used: {distrust}", path.display()));
                    return Ok(Config::default());
                }
                Config::read(&path)?
            }
        };
        if let Some(path) = config.path.as_ref().filter(|_| common.verbose > 0) {
            say(common, &format!("config {}: {}", path.display(), config.settings));
        }
        Ok(config)
    }
}

/// A line on stderr, unless there shall be none.
fn say(common: &CommonArgs, words: &str) {
    if !common.quiet {
        let _ = writeln!(anstream::stderr().lock(), "{words}");
    }
}

impl Config {
    fn read(path: &Path) -> Result<Self, ConfigError> {
        Ok(Config { settings: file::read(path)?, path: Some(path.to_path_buf()) })
    }

    /// What a report says of the defaults that decide an audit; nothing if none does.
    pub fn of_audit(&self) -> Option<Defaults> {
        let Settings { policy, allow, track, .. } = &self.settings;
        if policy.is_none() && allow.is_empty() && track.is_none() {
            return None;
        }
        Some(Defaults {
            path: self.path.as_ref()?.display().to_string(),
            policy: policy.as_ref().map(|path| path.display().to_string()),
            allow: allow.clone(),
            track: *track,
        })
    }

    /// The place of data by default: a field of a recipe, and what it is set to.
    #[cfg_attr(not(feature = "engine"), allow(dead_code, reason = "commands with an engine read data"))]
    pub fn data(&self) -> Vec<Override> {
        let Some(file) = &self.path else { return Vec::new() };
        let Settings { data_path, tokenizer_path, .. } = &self.settings;
        let fields = [("data.path", data_path), ("data.tokenizer.path", tokenizer_path)];
        let set = fields.into_iter().filter_map(|(field, path)| Some((field, path.as_ref()?.to_str()?)));
        set.map(|(field, path)| Override::config(file, field, path)).collect()
    }
}
