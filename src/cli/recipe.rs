//! Flags that change a recipe, shared by the binaries that run one.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use crate::manifest::{Effective, Override, assignment, from_environment};

/// Recipe flags; they win over environment variables, which win over the manifest.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Recipe")]
pub struct RecipeArgs {
    /// Set any field of the manifest; repeatable (`--set schedule.seed=7`)
    #[arg(long, value_name = "FIELD=VALUE")]
    pub set: Vec<String>,

    /// Seed of initialisation [env: SEED]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// Most optimiser steps [env: ITERATIONS]
    #[arg(long, value_name = "N")]
    pub iterations: Option<u64>,

    /// Wall-clock cap on training; 0 for none [env: MAX_WALLCLOCK_SECONDS]
    #[arg(long, value_name = "SECONDS")]
    pub max_wallclock_seconds: Option<f64>,

    /// Folder of the token shards [env: DATA_PATH]
    #[arg(long, value_name = "DIR")]
    pub data_path: Option<PathBuf>,

    /// SentencePiece model [env: TOKENIZER_PATH]
    #[arg(long, value_name = "FILE")]
    pub tokenizer_path: Option<PathBuf>,
}

impl RecipeArgs {
    /// Loads a manifest and applies the process environment, then these flags.
    pub fn load(&self, manifest: &Path) -> anyhow::Result<Effective> {
        let mut overrides = from_environment(|name| std::env::var(name).ok());
        overrides.extend(self.overrides()?);
        let current = std::env::current_dir().context("cannot tell the current folder")?;
        Ok(Effective::load(manifest, overrides, &current)?)
    }

    fn overrides(&self) -> anyhow::Result<Vec<Override>> {
        let mut overrides = Vec::new();
        for text in &self.set {
            overrides.push(assignment(text)?);
        }
        overrides.extend(self.seed.map(|value| Override::flag("--seed", "schedule.seed", value)));
        overrides.extend(self.iterations.map(|value| Override::flag("--iterations", "schedule.iterations", value)));
        overrides.extend(
            self.max_wallclock_seconds
                .map(|value| Override::flag("--max-wallclock-seconds", "schedule.max_wallclock_seconds", value)),
        );
        for (flag, field, path) in [
            ("--data-path", "data.path", &self.data_path),
            ("--tokenizer-path", "data.tokenizer.path", &self.tokenizer_path),
        ] {
            if let Some(path) = path {
                let text = path.to_str().with_context(|| format!("{flag}: {} is not UTF-8", path.display()))?;
                overrides.push(Override::flag(flag, field, text));
            }
        }
        Ok(overrides)
    }
}
