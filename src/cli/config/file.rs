//! What the file says.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Deserialize;
use toml::Spanned;

use super::find::Distrust;
use crate::cli::values::TrackName;
use crate::manifest::{Track, closest_of_expected};
use crate::path_safety::folder_of;
use crate::regular_file;
use crate::rules::{PolicyError, find};

/// Far more than all keys take.
const MAX_BYTES: u64 = 64 << 10;

/// Defaults; paths start at the file's folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `--policy`.
    pub policy: Option<PathBuf>,
    /// `--allow`.
    pub allow: Vec<String>,
    /// `--track`.
    pub track: Option<Track>,
    /// `--data-path`, where a manifest's own folder is not there.
    pub data_path: Option<PathBuf>,
    /// `--tokenizer-path`, where a manifest's own file is not there.
    pub tokenizer_path: Option<PathBuf>,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It could not be read.
    #[error("cannot read config {}: {source}; --no-config does without", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It says what cannot be meant.
    #[error("{}:{line}: {message}; --no-config does without the file", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong, and what may have been meant.
        message: String,
    },
    /// It lies where it must not.
    #[error("--config {}: {distrust}", path.display())]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// Why it is not used.
        distrust: Distrust,
    },
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    verify: Verify,
    #[serde(default)]
    data: Data,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Verify {
    policy: Option<PathBuf>,
    #[serde(default)]
    allow: Vec<Spanned<String>>,
    track: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    path: Option<PathBuf>,
    tokenizer: Option<PathBuf>,
}

/// Reads and checks a file.
pub(super) fn read(path: &Path) -> Result<Settings, ConfigError> {
    let read = |source| ConfigError::Read { path: path.to_path_buf(), source };
    let bytes = regular_file::read_head(path, MAX_BYTES + 1).map_err(read)?;
    let too_long = || std::io::Error::other(format!("longer than {MAX_BYTES} bytes"));
    if bytes.len() as u64 > MAX_BYTES {
        return Err(read(too_long()));
    }
    let text = String::from_utf8(bytes).map_err(|error| read(std::io::Error::other(error)))?;
    parse(&text, path)
}

fn parse(text: &str, path: &Path) -> Result<Settings, ConfigError> {
    let invalid = |at: usize, message: String| {
        let line = 1 + text.get(..at).map_or(0, |before| before.matches('\n').count());
        ConfigError::Invalid { path: path.to_path_buf(), line, message }
    };
    let file: File = toml::from_str(text).map_err(|error| {
        let message = error.message().to_string();
        let hint = closest_of_expected(&message).map(|known| format!("; did you mean `{known}`?"));
        invalid(error.span().map_or(0, |span| span.start), message + &hint.unwrap_or_default())
    })?;
    for rule in &file.verify.allow {
        if find(rule.as_ref()).is_none() {
            let message = PolicyError::unknown_rule(rule.as_ref()).to_string();
            return Err(invalid(rule.span().start, format!("verify.allow: {message}")));
        }
    }
    let track = file.verify.track.map(|track| {
        TrackName::from_str(track.as_ref(), false).map(Track::from).map_err(|_| {
            let known: Vec<String> = TrackName::value_variants().iter().filter_map(name).collect();
            let message = format!("verify.track: `{}` is not one of {}", track.as_ref(), known.join(", "));
            invalid(track.span().start, message)
        })
    });
    let folder = std::path::absolute(folder_of(path)).unwrap_or_else(|_| folder_of(path).to_path_buf());
    let below = |path: Option<PathBuf>| path.map(|path| folder.join(path));
    Ok(Settings {
        policy: below(file.verify.policy),
        allow: file.verify.allow.into_iter().map(Spanned::into_inner).collect(),
        track: track.transpose()?,
        data_path: below(file.data.path),
        tokenizer_path: below(file.data.tokenizer),
    })
}

fn name(track: &TrackName) -> Option<String> {
    Some(track.to_possible_value()?.get_name().to_string())
}

impl fmt::Display for Settings {
    /// What is set, by the names in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |name: &str, path: &Option<PathBuf>| path.as_ref().map(|path| format!("{name} {}", path.display()));
        let track = self.track.and_then(|track| name(&TrackName::from(track)));
        let all = [
            path("verify.policy", &self.policy),
            (!self.allow.is_empty()).then(|| format!("verify.allow {}", self.allow.join(" "))),
            track.map(|track| format!("verify.track {track}")),
            path("data.path", &self.data_path),
            path("data.tokenizer", &self.tokenizer_path),
        ];
        let all: Vec<String> = all.into_iter().flatten().collect();
        f.write_str(if all.is_empty() { "sets nothing" } else { "" })?;
        f.write_str(&all.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Settings, String> {
        parse(text, Path::new("/home/me/golf-harness.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn paths_start_at_the_files_folder() {
        let settings = parsed("[verify]\npolicy = 'rules/ours.yaml'\n[data]\npath = '/data'\n").unwrap();
        assert_eq!(settings.policy, Some("/home/me/rules/ours.yaml".into()));
        assert_eq!(settings.data_path, Some("/data".into()));
        assert_eq!(parsed(""), Ok(Settings::default()));
    }

    #[test]
    fn what_nobody_knows_is_refused_by_line_with_the_nearest_name() {
        for (text, expected) in [
            (
                "[verify]\n\nalow = []\n",
                "toml:3: unknown field `alow`, expected one of `policy`, `allow`, `track`; did you mean `allow`?",
            ),
            ("[verfy]\n", "toml:1: unknown field `verfy`, expected `verify` or `data`; did you mean `verify`?"),
            (
                "[verify]\nallow = [\n'over_budge']\n",
                "toml:3: verify.allow: no rule is called `over_budge`; did you mean `over_budget`?",
            ),
            ("[verify]\ntrack = '10min'\n", "toml:2: verify.track: `10min` is not one of 10min_16mb, non_record_16mb"),
        ] {
            let message = parsed(text).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}
