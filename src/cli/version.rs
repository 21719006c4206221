//! `--version`: which code this is.

use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::Serialize;

use crate::manifest::Track;
use crate::rules::PolicyFile;

/// Which code a program was built from, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Build {
    /// Version of this program.
    pub version: &'static str,
    /// Commit of its source; `unknown` where it was built from an archive that does not say.
    pub commit: &'static str,
    /// Digest of source and settings: builds with the same one compute the same bits.
    pub source: &'static str,
    /// Profile of cargo, and features.
    pub build: &'static str,
    /// Platform it was built for.
    pub target: &'static str,
    /// Version of the zstd library inside.
    pub zstd: String,
    /// Latest revision of the rules of each track.
    pub rulebook: Vec<String>,
}

impl Build {
    /// This program.
    pub fn this() -> Self {
        let latest = |track| PolicyFile::builtin(track).ok().map(|file| file.on(None).reference());
        let rulebook = [Track::TenMinutes, Track::NonRecord].into_iter().filter_map(latest);
        Build {
            version: env!("CARGO_PKG_VERSION"),
            commit: env!("GOLF_HARNESS_COMMIT"),
            source: env!("GOLF_HARNESS_SOURCE"),
            build: env!("GOLF_HARNESS_BUILD"),
            target: env!("GOLF_HARNESS_TARGET"),
            zstd: zstd::zstd_safe::version_string().to_string(),
            rulebook: rulebook.map(|policy| format!("{} of {}", policy.name, policy.effective)).collect(),
        }
    }
}

/// What `--version` prints after the program's name; `-V` prints the first word of it.
pub fn long() -> &'static str {
    static LONG: LazyLock<String> = LazyLock::new(|| {
        let Build { version, commit, source, build, target, zstd, rulebook } = Build::this();
        let rulebook = rulebook.join(", ");
        format!(
            "{version}\ncommit    {commit}\nsource    {source}\nbuild     {build} {target}\nzstd      {zstd}\nrulebook  \
             {rulebook}"
        )
    });
    &LONG
}
