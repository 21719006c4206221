//! Moving a manifest into a run folder together with the code it counts.

use std::path::{Path, PathBuf};

use super::{Manifest, relocate};
use crate::atomic_write::{self, WriteError};
use crate::path_safety::{join_inside, real};
use crate::regular_file;
use crate::units::Bytes;

/// Folder below the run folder that holds copies of the code files.
const CODE_FOLDER: &str = "code";

/// [`relocate()`]s a manifest read in folder `from`, to be saved in folder `to`, and copies its code files along: what
/// is submitted must travel with the manifest, and `verify` refuses paths that leave its folder.
///
/// Copied byte for byte, whatever sizes and digests the manifest states: judging these is `verify`'s work. A file that
/// is not there, lies outside `from` (a manifest may come from anybody) or is larger than the whole budget is not
/// copied; its path then says where it was expected.
pub fn rebase_paths(manifest: &mut Manifest, from: &Path, to: &Path) -> Result<(), WriteError> {
    let moves = real(from) != real(to);
    let mut rebased = Vec::new();
    for (i, file) in manifest.code.iter().enumerate().filter(|_| moves) {
        if let Some(bytes) = read_inside(from, &file.path) {
            let path = Path::new(CODE_FOLDER).join(&file.path);
            let copy = to.join(&path);
            if !holds(&copy, &bytes) {
                atomic_write::write(&copy, &bytes)?;
            }
            rebased.push((i, path));
        }
    }
    relocate(manifest, from, to).map_err(|source| WriteError::new(to, source))?;
    for (i, path) in rebased {
        manifest.code[i].path = path;
    }
    Ok(())
}

/// The copies that [`rebase_paths`] makes: each code file, and where it goes.
pub fn code_copies(manifest: &Manifest, from: &Path, to: &Path) -> Vec<(PathBuf, PathBuf)> {
    let moves = real(from) != real(to);
    let copied = manifest.code.iter().filter(|file| moves && read_inside(from, &file.path).is_some());
    copied.map(|file| (from.join(&file.path), to.join(CODE_FOLDER).join(&file.path))).collect()
}

/// The content of a regular file at `path`, if that stays inside `folder`, links followed.
fn read_inside(folder: &Path, path: &Path) -> Option<Vec<u8>> {
    let full = join_inside(folder, path).ok()?;
    let metadata = std::fs::metadata(&full).ok()?;
    (metadata.is_file() && metadata.len() <= Bytes::BUDGET.0).then(|| regular_file::read(&full).ok()).flatten()
}

/// Whether a file, not a link to one, has this content already: stages that move a manifest again write nothing.
fn holds(path: &Path, bytes: &[u8]) -> bool {
    let is_alike = |found: std::fs::Metadata| found.is_file() && found.len() == bytes.len() as u64;
    std::fs::symlink_metadata(path).is_ok_and(is_alike) && regular_file::read(path).is_ok_and(|found| found == bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(code: &str) -> Manifest {
        let text = format!("schema: golf-harness/manifest/v1\nname: x\ncode: [{{ path: {code}, bytes: 3 }}]");
        super::super::parse(&text, Path::new("x.yaml")).unwrap()
    }

    #[test]
    fn code_travels_with_the_manifest_and_only_from_inside_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("claim"), folder.path().join("runs/x"));
        std::fs::create_dir_all(from.join("lib")).unwrap();
        std::fs::write(from.join("lib/train_gpt.py"), "abcd").unwrap();
        std::fs::write(folder.path().join("secret"), "key").unwrap();
        std::os::unix::fs::symlink("../secret", from.join("link.py")).unwrap();

        let mut inside = manifest("lib/train_gpt.py");
        rebase_paths(&mut inside, &from, &to).unwrap();
        assert_eq!(inside.code[0].path, Path::new("code/lib/train_gpt.py"));
        assert_eq!(std::fs::read(to.join("code/lib/train_gpt.py")).unwrap(), b"abcd");
        // A second time nothing is written, unless something else lies there.
        let copy = to.join("code/lib/train_gpt.py");
        let (inode, before) = (std::os::unix::fs::MetadataExt::ino, std::fs::metadata(&copy).unwrap());
        rebase_paths(&mut manifest("lib/train_gpt.py"), &from, &to).unwrap();
        assert_eq!(inode(&std::fs::metadata(&copy).unwrap()), inode(&before));
        std::fs::write(&copy, "abcx").unwrap();
        rebase_paths(&mut manifest("lib/train_gpt.py"), &from, &to).unwrap();
        assert_eq!(std::fs::read(&copy).unwrap(), b"abcd");
        // Doing it again changes nothing.
        rebase_paths(&mut inside, &to, &to).unwrap();
        assert_eq!(inside.code[0].path, Path::new("code/lib/train_gpt.py"));

        for (outside, expected) in
            [("../secret", "../../secret"), ("link.py", "../../claim/link.py"), ("absent.py", "../../claim/absent.py")]
        {
            let mut manifest = manifest(outside);
            rebase_paths(&mut manifest, &from, &to).unwrap();
            assert_eq!(manifest.code[0].path, Path::new(expected));
        }
        assert_eq!(std::fs::read_dir(to.join("code")).unwrap().count(), 1);
    }
}
