//! What an attack hands in, how it is judged, and what can tell it.

use std::fs::{self, File};
use std::path::Path;

use golf_harness::random::RandomStream;
use golf_harness::report::{Report, Severity};
use golf_harness::rules::audit::{self, Options};

use crate::story::{Files, Story};

/// A kind of forgery: one idea, several ways to carry it out.
pub struct Kind {
    pub name: &'static str,
    /// What is forged, in a sentence.
    pub what: &'static str,
    pub told_by: ToldBy,
    /// How many forgeries of the kind are made.
    pub variants: usize,
    /// Makes one; the number goes through the variants.
    pub forge: fn(&mut RandomStream, usize) -> Forgery,
}

/// What it takes to tell a forgery from an honest submission.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ToldBy {
    /// The files contradict themselves or a rule: `verify` must fail them.
    Files,
    /// Nothing is contradicted, but the report must not climb above *sealed*, the most that files can show.
    Level,
    /// A machine can point at the place, a person must decide: `verify` must show it.
    Reviewer,
    /// The files agree with one another; why only scoring the artifact or running the script again tells.
    Recomputing(&'static str),
}

/// Files to be written to a folder, some larger than they are worth keeping in memory.
#[derive(Default)]
pub struct Forgery {
    pub files: Files,
    /// Files without content, of this length.
    pub sparse: Vec<(String, u64)>,
    /// Symbolic links and where they point.
    pub links: Vec<(String, String)>,
    /// A manifest to check instead of the folder.
    pub manifest: Option<&'static str>,
}

impl From<Files> for Forgery {
    fn from(files: Files) -> Forgery {
        Forgery { files, ..Forgery::default() }
    }
}

impl From<Story> for Forgery {
    fn from(story: Story) -> Forgery {
        story.files().into()
    }
}

/// What `verify` said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A failure, exit code 1, or an audit that could not be completed, exit code 2.
    Refused,
    /// A warning, or something for a person to look at, that the honest submission does not get.
    Shown,
    /// Nothing that the honest submission does not get.
    Passed,
}

impl Forgery {
    /// Writes the folder `name` below `root` and audits it.
    pub fn audit(&self, root: &Path, name: &str) -> Report {
        let folder = root.join(name);
        fs::create_dir(&folder).expect("a new folder");
        for (path, content) in &self.files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().expect("below the folder")).expect("a folder");
            fs::write(path, content).expect("a file");
        }
        for (path, length) in &self.sparse {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().expect("below the folder")).expect("a folder");
            File::create(path).and_then(|file| file.set_len(*length)).expect("a sparse file");
        }
        #[cfg(unix)]
        for (path, target) in &self.links {
            std::os::unix::fs::symlink(target, folder.join(path)).expect("a link");
        }
        let options = Options::default();
        match self.manifest {
            Some(manifest) => audit::manifest(&folder.join(manifest), &options).expect("a manifest that loads"),
            None => audit::folder(&folder, name.into(), &options).expect("policies that load"),
        }
    }
}

/// The rules that say more of a forgery than of the honest submission.
pub fn said(report: &Report, honest: &Report) -> Vec<(&'static str, Severity)> {
    let usual =
        |rule, severity| honest.findings.iter().any(|finding| finding.rule == rule && finding.severity >= severity);
    report
        .findings
        .iter()
        .filter(|finding| finding.severity >= Severity::Unknown && !usual(finding.rule, finding.severity))
        .map(|finding| (finding.rule.0, finding.severity))
        .collect()
}

/// What became of a forgery about which these rules spoke.
pub fn outcome(said: &[(&str, Severity)]) -> Outcome {
    match said.iter().map(|(_, severity)| *severity).max() {
        Some(Severity::Fail) => Outcome::Refused,
        Some(_) => Outcome::Shown,
        None => Outcome::Passed,
    }
}
