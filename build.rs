//! Gives the library a name for this very build: whoever records a number can say which code computed it.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

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
    for path in ["src", "bins", "Cargo.toml", "Cargo.lock", "build.rs"] {
        println!("cargo::rerun-if-changed={path}");
    }
}

/// Every file below a folder.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}
