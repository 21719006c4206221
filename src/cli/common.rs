//! Flags that mean the same in every binary.

use clap::{Args, ValueEnum};

use super::progress::{progress_bar, progress_events};
use crate::progress::Progress;

/// When to color the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// Color on a terminal unless `NO_COLOR` is set.
    Auto,
    /// Always color.
    Always,
    /// Never color.
    Never,
}

/// How to tell progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProgressChoice {
    /// A bar on a terminal, elsewhere a line every 30 s; nothing with --quiet or --json
    Auto,
    /// Nothing
    Never,
    /// A JSON document a line (docs/json.md)
    Json,
}

/// Output flags shared by all binaries; flatten into a clap parser.
#[derive(Clone, Debug, Args)]
pub struct CommonArgs {
    /// Print one JSON document on stdout instead of text
    #[arg(long, global = true)]
    pub json: bool,

    /// Print errors and the result only
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Print more detail; repeat for more
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// How to tell progress on stderr
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "HOW")]
    pub progress: ProgressChoice,

    /// When to use color
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN")]
    pub color: ColorChoice,
}

impl CommonArgs {
    /// Applies `--color` to everything printed through `anstream`. Call once, first.
    pub fn apply_color(&self) {
        match self.color {
            ColorChoice::Auto => {}
            ColorChoice::Always => anstream::ColorChoice::Always.write_global(),
            ColorChoice::Never => anstream::ColorChoice::Never.write_global(),
        }
    }

    /// Progress on stderr, as `--progress` says.
    pub fn progress(&self, what: &'static str, len: u64) -> Progress {
        match self.progress {
            ProgressChoice::Auto => progress_bar(!self.quiet && !self.json, what, len),
            ProgressChoice::Never => Progress::hidden(),
            ProgressChoice::Json => progress_events(what, len),
        }
    }
}
