//! `--score`: the artifacts that came out, scored by this program.

use std::path::{Path, PathBuf};

use crate::cli::{CommonArgs, DataArgs};
use crate::interrupt::Interrupt;
use crate::rerun::judge::Scoring;
use crate::rerun::plan::Subject;
use crate::rerun::record::SeedRecord;

/// The flag: absent, without a manifest, or with one.
pub(super) type Named = Option<Option<PathBuf>>;

/// What scores, if that is asked for.
pub(super) struct Scorer {
    #[cfg(feature = "engine")]
    inner: crate::rerun::rescore::Rescorer,
}

/// Refuses what this build cannot do.
#[cfg(not(feature = "engine"))]
pub(super) fn check(score: &Named) -> anyhow::Result<()> {
    anyhow::ensure!(
        score.is_none(),
        "--score needs the engine, which this build of rerun leaves out; a build with default features has it: `cargo \
         install golf-harness`, then `golf-harness rerun --score`"
    );
    Ok(())
}

/// Refuses what this build cannot do.
#[cfg(feature = "engine")]
pub(super) fn check(_: &Named) -> anyhow::Result<()> {
    Ok(())
}

#[cfg(not(feature = "engine"))]
impl Scorer {
    /// There is none in this build.
    pub fn open(score: &Named, _: &Subject, _: &DataArgs, _: &CommonArgs) -> anyhow::Result<Option<Self>> {
        check(score).map(|()| None)
    }

    /// Nothing to score with.
    pub fn score(&self, _: &[SeedRecord], _: &Path, _: &CommonArgs, _: &Interrupt) -> anyhow::Result<Option<Scoring>> {
        Ok(None)
    }
}

#[cfg(feature = "engine")]
impl Scorer {
    /// Opens what `--score` names; without a value, the subject's own manifest.
    pub fn open(
        score: &Named,
        subject: &Subject,
        data: &DataArgs,
        common: &CommonArgs,
    ) -> anyhow::Result<Option<Self>> {
        use crate::cli::{Changes, use_threads};
        use crate::engine::{DeviceChoice, EngineDevice};
        use anyhow::Context;

        let manifest = match score {
            None => return Ok(None),
            Some(None) => own_manifest(subject)?,
            Some(Some(named)) => named.clone(),
        };
        use_threads(None)?;
        let effective = data.apply(Changes::from_flags())?.load(&manifest)?;
        // A machine that reruns a script has the script's GPUs.
        let device = EngineDevice::open(DeviceChoice::Auto).map_err(|reason| anyhow::anyhow!("{reason}"))?;
        if common.verbose > 0 {
            use std::io::Write;
            let _ = writeln!(anstream::stderr().lock(), "--score: device {device}");
        }
        let inner = crate::rerun::rescore::Rescorer::open(manifest, effective, device)
            .context("--score: what it needs is not all here")?;
        Ok(Some(Scorer { inner }))
    }

    /// Scores the artifacts in a run folder.
    pub fn score(
        &self,
        records: &[SeedRecord],
        out: &Path,
        common: &CommonArgs,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Option<Scoring>> {
        let progress = common.progress("scoring", 0);
        let scored = self.inner.score(records, out, &progress, interrupt);
        progress.finish();
        Ok(Some(scored?))
    }
}

/// The manifest that the subject is, or that lies in its folder, if it describes a network.
#[cfg(feature = "engine")]
fn own_manifest(subject: &Subject) -> anyhow::Result<PathBuf> {
    let in_folder = || Some(subject.folder.root.join("manifest.yaml")).filter(|path| path.is_file());
    let path = subject.manifest.as_ref().map(|known| known.path.clone()).or_else(in_folder);
    let Some(path) = path else {
        anyhow::bail!("--score: the folder has no manifest.yaml; name the manifest of its network: --score=MANIFEST")
    };
    crate::manifest::load(&path)?;
    // What the sections leave out has defaults, so only the text says whether the network is meant.
    let text: serde_yaml::Value = serde_yaml::from_slice(&crate::regular_file::read(&path)?)?;
    anyhow::ensure!(
        text.get("model").is_some(),
        "--score: {} has no `model:` section, so its network is not known; name a manifest that has one: \
         --score=MANIFEST",
        path.display()
    );
    Ok(path)
}
