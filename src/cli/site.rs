//! Writes the pages of a site into a folder, and takes away pages of an earlier one that it has no more.

use std::collections::BTreeSet;
use std::io;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::previous::{Kind, is_previous};
use crate::atomic_write;
use crate::site::{ASSETS, PAGES, Site, SiteFile};

/// Files written at a time.
const WRITERS: usize = 16;

/// Files at the top of a site.
const TOP: [&str; 2] = ["index.html", "rules.html"];

/// Where a site has, or will have, files of its own: those at the top, and what lies in its two folders.
///
/// # Errors
///
/// Names a folder that cannot be listed, or a link in the place of one.
pub fn own_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = TOP.iter().map(|name| folder.join(name)).collect();
    for inner in [PAGES, ASSETS].map(|name| folder.join(name)) {
        let Ok(data) = inner.symlink_metadata() else { continue };
        if !data.is_dir() {
            bail!("{} is there and is no folder; name another folder for the site", inner.display());
        }
        let listed =
            || -> io::Result<Vec<PathBuf>> { std::fs::read_dir(&inner)?.map(|entry| Ok(entry?.path())).collect() };
        files.extend(listed().with_context(|| format!("cannot list {}", inner.display()))?);
    }
    files.sort();
    Ok(files)
}

/// Writes the site, the overview last; then removes pages in the same folder that an earlier audit left behind.
pub fn write(folder: &Path, site: &Site) -> anyhow::Result<()> {
    let files = site.files()?;
    let before: BTreeSet<PathBuf> = own_files(folder)?.into_iter().collect();
    let Some((overview, pages)) = files.split_last() else { return Ok(()) };
    let write = |file: &SiteFile| atomic_write::write(&folder.join(&file.path), file.content.as_bytes());
    // Every file is made durable, and disks do several at once in the time of one.
    std::thread::scope(|scope| {
        let parts = pages.chunks(pages.len().div_ceil(WRITERS).max(1));
        let writers: Vec<_> = parts.map(|part| scope.spawn(move || part.iter().try_for_each(write))).collect();
        writers.into_iter().try_for_each(|writer| writer.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })?;
    write(overview)?;
    let written: BTreeSet<PathBuf> = files.iter().map(|file| folder.join(&file.path)).collect();
    for stale in before.difference(&written).filter(|path| is_previous(path, &Kind::Page)) {
        std::fs::remove_file(stale).with_context(|| format!("cannot remove {}", stale.display()))?;
    }
    Ok(())
}
