//! Gives the library a name for this very build: whoever records a number can say which code computed it.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What decides the bits that a build computes, besides its source.
const SETTINGS: [&str; 5] = ["PROFILE", "OPT_LEVEL", "TARGET", "CARGO_ENCODED_RUSTFLAGS", "DEBUG"];

fn main() {
    let mut files: Vec<PathBuf> = ["Cargo.toml", "Cargo.lock", "build.rs"].map(PathBuf::from).into();
    ["src", "bins"].iter().for_each(|folder| collect(Path::new(folder), &mut files));
    files.sort();
    let mut hasher = DefaultHasher::new();
    let mut bytes = 0;
    for file in &files {
        let content = std::fs::read(file).unwrap_or_default();
        bytes += content.len();
        file.hash(&mut hasher);
        content.hash(&mut hasher);
    }
    let mut settings: Vec<String> =
        SETTINGS.iter().map(|name| format!("{name}={}", std::env::var(name).unwrap_or_default())).collect();
    let features = std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("CARGO_FEATURE_"));
    let mut features: Vec<String> =
        features.map(|name| name.trim_start_matches("CARGO_FEATURE_").to_lowercase()).collect();
    features.sort();
    settings.push(features.join(","));
    settings.hash(&mut hasher);

    let profile = std::env::var("PROFILE").unwrap_or_default();
    println!("cargo::rustc-env=GOLF_HARNESS_SOURCE={:016x}", hasher.finish());
    println!("cargo::rustc-env=GOLF_HARNESS_SOURCE_BYTES={bytes}");
    println!("cargo::rustc-env=GOLF_HARNESS_BUILD={profile} [{}]", features.join(","));
    println!("cargo::rustc-env=GOLF_HARNESS_COMMIT={}", commit().unwrap_or_else(|| "unknown".into()));
    println!("cargo::rustc-env=GOLF_HARNESS_TARGET={}", std::env::var("TARGET").unwrap_or_default());
    println!("cargo::rerun-if-env-changed=GOLF_HARNESS_COMMIT");
    for path in ["src", "bins", "Cargo.toml", "Cargo.lock", "build.rs"] {
        println!("cargo::rerun-if-changed={path}");
    }
    // A release names the commit it was built from. Other builds are not made anew for a commit that changes no source.
    if profile == "release"
        && let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"])
        && Path::new(&log).exists()
    {
        println!("cargo::rerun-if-changed={log}");
    }
}

/// The commit of the source: told by whoever packages it, by git, or by the file that `cargo package` leaves.
fn commit() -> Option<String> {
    if let Some(told) = std::env::var("GOLF_HARNESS_COMMIT").ok().filter(|told| !told.is_empty()) {
        return Some(told);
    }
    // An archive unpacked inside of another repository is none of its commits.
    let top = git(&["rev-parse", "--show-toplevel"]).and_then(|top| std::fs::canonicalize(top).ok());
    if top.is_some() && top == std::fs::canonicalize(".").ok() {
        let hash = git(&["rev-parse", "--short=12", "HEAD"])?;
        let changed = git(&["status", "--porcelain", "--", "src", "bins", "Cargo.toml", "Cargo.lock", "build.rs"]);
        return Some(if changed.is_some_and(|files| files.is_empty()) { hash } else { hash + " with changes" });
    }
    let packaged = std::fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let hash = packaged.split("\"sha1\":").nth(1)?.split('"').nth(1)?;
    Some(hash.chars().take(12).collect())
}

/// What git prints; nothing where there is no git, or no repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
}

/// Every file below a folder.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}
