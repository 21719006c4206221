//! Files of a run: what the script gets to see, and what must be the same afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::digest::ContentDigest;
use crate::escape::visible;
use crate::rerun::launch::Launch;
use crate::rerun::sandbox::container::Mapping;
use crate::rerun::sandbox::{Isolation, Place};
use crate::submission::walk;

/// More files of a submission are not shown to its script: bubblewrap takes so many arguments.
pub(super) const MAX_FILES: usize = 1000;

/// Digests of the submission's files that the script sees, by relative path.
pub(super) fn code(launch: &Launch) -> io::Result<BTreeMap<String, ContentDigest>> {
    launch.files.iter().map(|file| Ok((file.clone(), digest(&launch.folder.join(file))?))).collect()
}

/// Digests of all data, by the path at which the script finds it.
pub(super) fn data(launch: &Launch) -> io::Result<BTreeMap<String, ContentDigest>> {
    let mut files: Vec<(String, PathBuf)> = Vec::new();
    for mount in &launch.data {
        let at = visible(&mount.at.to_string_lossy());
        if mount.source.is_dir() {
            let (listed, _) = walk::list(&mount.source);
            files.extend(listed.into_iter().map(|file| (format!("{at}/{}", visible(&file.name)), file.path)));
        } else {
            files.push((at, mount.source.clone()));
        }
    }
    files.par_iter().map(|(name, path)| Ok((name.clone(), digest(path)?))).collect()
}

fn digest(path: &Path) -> io::Result<ContentDigest> {
    ContentDigest::of_file(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// Paths whose content is not what it was.
pub(super) fn changes(
    before: &BTreeMap<String, ContentDigest>,
    after: &BTreeMap<String, ContentDigest>,
) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names.into_iter().filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

/// Makes the folders of a run, with a copy of the submission's files and the way to data in them.
pub(super) fn prepare(launch: &Launch, isolation: &Isolation, place: &Place) -> io::Result<()> {
    place.folders().into_iter().chain([place.names.as_path()]).try_for_each(fs::create_dir_all)?;
    isolation.names().iter().try_for_each(|(name, text)| fs::write(place.names.join(name), text))?;
    for file in &launch.files {
        let copy = place.work.join(file);
        copy.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::copy(launch.folder.join(file), &copy)?;
        let mut permissions = fs::metadata(&copy)?.permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&copy, permissions)?;
    }
    for mount in launch.data.iter().filter(|mount| mount.at.is_relative()) {
        let at = place.work.join(&mount.at);
        at.parent().map_or(Ok(()), fs::create_dir_all)?;
        match isolation {
            // It makes what it mounts on.
            Isolation::Bubblewrap => {}
            Isolation::Container(_) if mount.source.is_dir() => fs::create_dir_all(&at)?,
            Isolation::Container(_) => fs::write(&at, b"")?,
            Isolation::Landlock | Isolation::Nothing => std::os::unix::fs::symlink(&mount.source, &at)?,
        }
    }
    match isolation.container() {
        Some(container) if container.user.mapping == Mapping::Nobody => {
            let (uid, gid) = (container.user.uid, container.user.gid);
            place.folders().into_iter().try_for_each(|folder| give(folder, uid, gid))
        }
        _ => Ok(()),
    }
}

/// Makes a folder and all folders in it somebody's.
fn give(folder: &Path, uid: u32, gid: u32) -> io::Result<()> {
    std::os::unix::fs::lchown(folder, Some(uid), Some(gid))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            give(&entry.path(), uid, gid)?;
        }
    }
    Ok(())
}

/// Files of the working folder's copy that are not what was put there.
pub(super) fn changed_copies(launch: &Launch, place: &Place, code: &BTreeMap<String, ContentDigest>) -> Vec<String> {
    let same = |file: &&String| {
        let (copy, digest) = (place.work.join(file), code.get(*file));
        // A link or a pipe in its place may have no end.
        let is_file = |digest: &ContentDigest| {
            fs::symlink_metadata(&copy).is_ok_and(|data| data.is_file() && data.len() == digest.bytes.0)
        };
        digest.is_some_and(|digest| is_file(digest) && ContentDigest::of_file(&copy).is_ok_and(|now| now == *digest))
    };
    launch.files.iter().filter(|file| !same(file)).map(|file| visible(file)).collect()
}

/// A file in the folder of a seed that says whose it is.
const MARK: &str = ".golf-harness-rerun";

/// Whether a folder is that of a seed.
fn is_marked(folder: &Path) -> bool {
    fs::symlink_metadata(folder.join(MARK)).is_ok_and(|mark| mark.is_file())
}

/// Whether a folder holds those of seeds: reports are written there once all have run.
pub fn has_seeds(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_seed = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("seed-");
    entries.filter(is_seed).any(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()) && is_marked(&entry.path()))
}

/// A new folder for a seed, in place of one that an earlier run made there.
///
/// # Errors
/// If something else lies there, or the system refuses.
pub(super) fn renew(folder: &Path) -> io::Result<()> {
    let is_empty = |folder: &Path| fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    let there = fs::symlink_metadata(folder).ok();
    // What a link leads to is somebody's, marked or not.
    let is_ours = there.as_ref().is_none_or(|there| there.is_dir() && (is_marked(folder) || is_empty(folder)));
    if !is_ours {
        return Err(io::Error::other("it is there and no folder of a rerun; name another --out"));
    }
    remove(folder)?;
    fs::create_dir_all(folder)?;
    fs::write(folder.join(MARK), b"")
}

/// Removes a folder with everything in it, whatever permissions its owner took away.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    for part in fs::read_dir(folder).into_iter().flatten().flatten().filter(|part| part.file_name() != MARK) {
        // As long as something is left, the mark is; what fails here is said below.
        let _ = if part.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_folder(&part.path())
        } else {
            fs::remove_file(part.path())
        };
    }
    remove_folder(folder)
}

/// However deep it is: folders in folders are moved up before they are looked into, so that no path gets too long and no
/// folder is held open for those in it.
fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::symlink_metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(data) if !data.is_dir() => return Err(io::Error::other("it is no folder")),
        Ok(_) => {}
    }
    let mut inside = empty(folder)?;
    let mut moved = 0u64;
    while let Some(next) = inside.pop() {
        for deeper in empty(&next)? {
            let free = loop {
                let candidate = folder.join(format!("removed-{moved}"));
                moved += 1;
                if fs::symlink_metadata(&candidate).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
                    break candidate;
                }
            };
            open_up(&deeper);
            fs::rename(&deeper, &free)?;
            inside.push(free);
        }
        fs::remove_dir(&next)?;
    }
    fs::remove_dir(folder)
}

/// Removes what is no folder from a folder, and gives the folders in it.
fn empty(folder: &Path) -> io::Result<Vec<PathBuf>> {
    open_up(folder);
    let mut folders = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => folders.push(entry.path()),
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(folders)
}

/// Gives its owner back what permissions were taken from a folder.
fn open_up(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    // What cannot be opened up is named by what fails next.
    let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_s_folder_takes_the_place_of_nothing_but_another() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        renew(&at("seed-1")).unwrap();
        fs::write(at("seed-1/old"), "x").unwrap();
        renew(&at("seed-1")).unwrap();
        assert!(!at("seed-1/old").exists() && has_seeds(root.path()));
        // A link to a folder of another run is not followed, a file and a folder of somebody stay.
        std::os::unix::fs::symlink(at("seed-1"), at("seed-2")).unwrap();
        fs::write(at("seed-1/record.json"), "x").unwrap();
        fs::write(at("seed-3"), "x").unwrap();
        fs::create_dir(at("seed-4")).unwrap();
        fs::write(at("seed-4/thesis.txt"), "x").unwrap();
        for name in ["seed-2", "seed-3", "seed-4"] {
            assert!(renew(&at(name)).is_err(), "{name}");
        }
        assert!(at("seed-1/record.json").exists() && at("seed-4/thesis.txt").exists());
    }
}
