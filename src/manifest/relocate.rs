//! Moving a manifest to another folder without changing what its relative paths mean.

use std::path::{Component, Path, PathBuf};

use super::Manifest;

/// Rewrites every relative path of a manifest read in folder `from`, for a manifest to be saved in folder `to`.
///
/// Purely textual apart from the current folder: nothing needs to exist. Absolute paths stay as they are.
pub fn relocate(manifest: &mut Manifest, from: &Path, to: &Path) -> std::io::Result<()> {
    let (from, to) = (normal(&std::path::absolute(from)?), normal(&std::path::absolute(to)?));
    if from == to {
        return Ok(());
    }
    let mut paths: Vec<&mut PathBuf> = vec![&mut manifest.data.path];
    paths.extend(manifest.data.tokenizer.as_mut().map(|file| &mut file.path));
    paths.extend(manifest.code.iter_mut().map(|file| &mut file.path));
    if let Some(run) = manifest.run.as_mut() {
        paths.push(&mut run.folder);
        paths.extend(run.data.iter_mut().map(|mount| &mut mount.path));
    }
    paths.extend(manifest.artifact.as_mut().map(|artifact| &mut artifact.path));
    if let Some(training) = manifest.results.training.as_mut() {
        paths.extend([&mut training.checkpoint.path, &mut training.trace.path]);
        paths.extend(training.log.as_mut().map(|file| &mut file.path));
    }
    for stage in manifest.results.stages.values_mut() {
        paths.extend(stage.inputs.iter_mut().chain(&mut stage.outputs).map(|file| &mut file.path));
    }
    for path in paths {
        if path.is_relative() {
            *path = relative(&from.join(&*path), &to);
        }
    }
    Ok(())
}

/// `target` as seen from `folder`; both absolute.
pub fn relative(target: &Path, folder: &Path) -> PathBuf {
    let (target, folder) = (normal(target), normal(folder));
    let shared = target.components().zip(folder.components()).take_while(|(a, b)| a == b).count();
    let up = folder.components().skip(shared).map(|_| Component::ParentDir);
    let path: PathBuf = up.chain(target.components().skip(shared)).collect();
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path }
}

/// Without `.` and, where a name precedes it, without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut parts: Vec<Component<'_>> = Vec::new();
    for part in path.components() {
        match (part, parts.last()) {
            (Component::CurDir, _) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => drop(parts.pop()),
            (Component::ParentDir, Some(Component::RootDir)) => {}
            _ => parts.push(part),
        }
    }
    parts.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_keep_their_meaning() {
        for (target, folder, expected) in [
            ("/a/b/c.bin", "/a/b", "c.bin"),
            ("/a/b/c.bin", "/a/x/y", "../../b/c.bin"),
            ("/a", "/a", "."),
            ("/c", "/", "c"),
        ] {
            assert_eq!(relative(Path::new(target), Path::new(folder)), Path::new(expected));
        }
        let mut manifest = super::super::parse(
            "schema: golf-harness/manifest/v1\nname: x\ndata: { path: ../data, tokenizer: { path: /t.model } }",
            Path::new("x.yaml"),
        )
        .unwrap();
        relocate(&mut manifest, Path::new("/repo/manifests"), Path::new("/repo/runs/x")).unwrap();
        assert_eq!(manifest.data.path, Path::new("../../data"));
        assert_eq!(manifest.data.tokenizer.unwrap().path, Path::new("/t.model"));
    }
}
