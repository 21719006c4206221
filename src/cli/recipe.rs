//! Flags and environment variables that change a recipe.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args;

use super::config::Config;
use super::values::{at_least, number};
use super::{CommonArgs, ConfigArgs};
use crate::manifest::{self, Effective, Override, assignment, from_environment};
use crate::path_safety::folder_of;

/// Seconds between states of training that can be resumed from: what a killed run loses at most.
#[cfg(feature = "engine")]
pub const DEFAULT_CHECKPOINT_SECONDS: &str = "60";

/// The time that a flag gives; none for 0.
#[cfg(feature = "engine")]
pub fn checkpoint_period(seconds: Seconds) -> Option<std::time::Duration> {
    (!seconds.0.is_zero()).then_some(seconds.0)
}

/// A time on the command line.
#[cfg(feature = "engine")]
#[derive(Clone, Copy, Debug)]
pub struct Seconds(std::time::Duration);

#[cfg(feature = "engine")]
impl std::str::FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let duration = std::time::Duration::try_from_secs_f64(number(text)?);
        duration.map(Seconds).map_err(|_| "too long".to_string())
    }
}

/// Says on stderr what of a recipe cannot be meant, though it can be run.
#[cfg(feature = "engine")]
pub fn warn_of_recipe(manifest: &crate::manifest::Manifest, common: &super::CommonArgs) {
    use std::io::Write;

    if let Some(reason) = manifest.model.idle_bigram().filter(|_| !common.quiet) {
        let style = anstyle::AnsiColor::Yellow.on_default().bold();
        let _ = writeln!(anstream::stderr().lock(), "{style}warning{style:#}: model.bigram_dim: {reason}");
    }
}

/// The part of a recipe that a command depends on; it leaves variables for other parts alone.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    /// What the fields in it start with, such as `eval.`.
    pub sections: &'static [&'static str],
    /// What a `--set` of another field is told, such as `pack sets quantization.* only`.
    pub refusal: &'static str,
}

impl Scope {
    fn holds(&self, change: &Override) -> bool {
        self.sections.iter().any(|section| change.field.starts_with(section))
    }
}

/// Changes of a recipe in the order in which they apply, so that the last one of a field wins.
#[derive(Clone, Debug)]
pub struct Changes {
    scope: Option<Scope>,
    list: Vec<Override>,
}

impl Changes {
    /// Starts with the process environment, which every flag wins over. Without a scope every variable counts.
    pub fn from_environment(scope: Option<Scope>) -> Changes {
        let mut list = from_environment(|name| std::env::var(name).ok());
        list.retain(|change| scope.is_none_or(|scope| scope.holds(change)));
        Changes { scope, list }
    }

    /// Starts with nothing: flags alone count.
    #[cfg(feature = "engine")]
    pub fn from_flags() -> Changes {
        Changes { scope: None, list: Vec::new() }
    }

    /// The texts of `--set`; an error for one that is no assignment, or of a field out of scope.
    pub fn set(mut self, texts: &[String]) -> anyhow::Result<Changes> {
        for text in texts {
            let change = assignment(text)?;
            if let Some(scope) = self.scope {
                ensure!(scope.holds(&change), "--set {text}: {}", scope.refusal);
            }
            self.list.push(change);
        }
        Ok(self)
    }

    /// A flag that sets one field, if it was given.
    pub fn flag(mut self, flag: &str, field: &str, value: Option<impl ToString>) -> Changes {
        self.list.extend(value.map(|value| Override::flag(flag, field, value)));
        self
    }

    /// [`Self::flag`] for a path; manifests are UTF-8, so it must be, too.
    pub fn path(self, flag: &str, field: &str, path: Option<&Path>) -> anyhow::Result<Changes> {
        let text = |path: &Path| {
            path.to_str().map(str::to_string).with_context(|| format!("{flag}: {} is not UTF-8", path.display()))
        };
        Ok(self.flag(flag, field, path.map(text).transpose()?))
    }

    /// Defaults of where data lies: each is taken where no other change names a place and the manifest's own is empty.
    pub fn or_data_of(mut self, config: &Config, manifest_path: &Path) -> anyhow::Result<Changes> {
        let defaults: Vec<Override> =
            config.data().into_iter().filter(|default| !self.touches(&default.field)).collect();
        if defaults.is_empty() {
            return Ok(self);
        }
        let manifest = manifest::load(manifest_path)?;
        let tokenizer = manifest.data.tokenizer.as_ref().map(|tokenizer| tokenizer.path.as_path());
        let is_there = |path: &Path| folder_of(manifest_path).join(path).exists();
        let missing = defaults.into_iter().filter(|default| match default.field.as_str() {
            "data.tokenizer.path" => tokenizer.is_some_and(|path| !is_there(path)),
            _ => !is_there(&manifest.data.path),
        });
        self.list.extend(missing);
        Ok(self)
    }

    /// Does any of them change this field?
    pub fn touches(&self, field: &str) -> bool {
        self.list.iter().any(|change| change.field == field)
    }

    /// Loads a manifest and applies them.
    pub fn load(self, manifest: &Path) -> anyhow::Result<Effective> {
        let current = std::env::current_dir().context("cannot tell the current folder")?;
        Ok(Effective::load(manifest, self.list, &current)?)
    }
}

/// Where the data lies.
#[derive(Clone, Debug, Default, Args)]
pub struct DataArgs {
    /// Folder of the token shards [env: DATA_PATH]
    #[arg(long, value_name = "DIR")]
    pub data_path: Option<PathBuf>,

    /// SentencePiece model [env: TOKENIZER_PATH]
    #[arg(long, value_name = "FILE")]
    pub tokenizer_path: Option<PathBuf>,
}

impl DataArgs {
    /// Adds what these flags change.
    pub fn apply(&self, changes: Changes) -> anyhow::Result<Changes> {
        changes.path("--data-path", "data.path", self.data_path.as_deref())?.path(
            "--tokenizer-path",
            "data.tokenizer.path",
            self.tokenizer_path.as_deref(),
        )
    }
}

/// Recipe flags of the commands that train; they win over environment variables, which win over the manifest.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Recipe")]
pub struct RecipeArgs {
    /// Set any field of the manifest; repeatable (`--set schedule.seed=7`)
    #[arg(long, value_name = "FIELD=VALUE")]
    pub set: Vec<String>,

    /// Seed of initialization [env: SEED]
    #[arg(long, value_name = "N", value_parser = at_least::<0>)]
    pub seed: Option<u64>,

    /// Most optimizer steps [env: ITERATIONS]
    #[arg(long, value_name = "N", value_parser = at_least::<0>)]
    pub iterations: Option<u64>,

    /// Wall-clock cap on training; 0 for none [env: MAX_WALLCLOCK_SECONDS]
    #[arg(long, value_name = "SECONDS", value_parser = number)]
    pub max_wallclock_seconds: Option<f64>,

    #[command(flatten)]
    data: DataArgs,

    #[command(flatten)]
    config: ConfigArgs,
}

impl RecipeArgs {
    /// The same with another seed.
    #[cfg(feature = "engine")]
    pub fn with_seed(&self, seed: u64) -> RecipeArgs {
        RecipeArgs { seed: Some(seed), ..self.clone() }
    }

    /// Loads a manifest and applies the process environment, then these flags, then defaults where data is missing.
    pub fn load(&self, manifest: &Path, common: &CommonArgs) -> anyhow::Result<Effective> {
        let changes = Changes::from_environment(None)
            .set(&self.set)?
            .flag("--seed", "schedule.seed", self.seed)
            .flag("--iterations", "schedule.iterations", self.iterations)
            .flag("--max-wallclock-seconds", "schedule.max_wallclock_seconds", self.max_wallclock_seconds);
        let config = self.config.load(&[], common)?;
        self.data.apply(changes)?.or_data_of(&config, manifest)?.load(manifest)
    }
}
