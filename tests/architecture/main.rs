//! The order of the library's modules: no circles, and no import of a module from a higher floor.

#![allow(clippy::unwrap_used, reason = "a failed test is a panic")]

mod graph;
mod picture;

use std::path::Path;

use graph::{Import, imports};

/// Top-level modules of `src/`, from the ground up: each imports only what stands before it. `docs/architecture.md`
/// says what they hold.
const FLOORS: [&str; 35] = [
    "units",
    "regular_file",
    "digest",
    "random",
    "interrupt",
    "progress",
    "escape",
    "glob",
    "is_default",
    "path_safety",
    "atomic_write",
    "confine",
    "quant",
    "run_folder",
    "model",
    "manifest",
    "stats",
    "coverage",
    "data",
    "optim",
    "collective",
    "engine",
    "artifact",
    "eval",
    "train",
    "fit",
    "report",
    "submission",
    "rules",
    "worker",
    "site",
    "record_folder",
    "reproduce",
    "rerun",
    "cli",
];

/// Picture and page that show the order.
const PICTURE: &str = "docs/architecture.svg";
const PAGE: &str = "docs/architecture.md";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|name| *name == module)
}

fn library() -> Vec<Import> {
    imports(&root().join("src")).unwrap()
}

#[test]
fn every_module_has_a_floor() {
    let lib = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let modules: Vec<&str> = lib
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'))
        .collect();
    assert!(modules.len() > 20, "{modules:?}");
    for module in &modules {
        assert!(floor(module).is_some(), "src/lib.rs declares `{module}`; give it a place in the order of FLOORS");
    }
    for module in &FLOORS {
        assert!(modules.contains(module), "FLOORS names `{module}`, which src/lib.rs does not declare");
    }
}

/// An order without exceptions has no circles.
#[test]
fn no_module_imports_one_above_it() {
    let imports = library();
    assert!(imports.len() > 500, "only {} imports found: is the parser blind?", imports.len());
    let against: Vec<String> = imports
        .iter()
        .filter(|import| floor(&import.to) >= floor(&import.from))
        .map(|Import { from, to, file, line }| format!("{file}:{line}: `{from}` imports `{to}`, which stands above it"))
        .collect();
    assert!(against.is_empty(), "{}", against.join("\n"));
}

#[test]
fn the_page_lists_the_modules_in_this_order() {
    let page = std::fs::read_to_string(root().join(PAGE)).unwrap();
    let table = page.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let first_cells = table.take_while(|line| line.starts_with('|')).filter_map(|line| line.split('|').nth(1));
    let listed: Vec<&str> = first_cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .map(|name| name.trim_end_matches('/'))
        .collect();
    assert_eq!(listed, FLOORS, "the table of {PAGE} against FLOORS");
}

/// `UPDATE_DOCS=1 cargo test --test architecture` draws the picture anew.
#[test]
fn the_picture_shows_the_imports_as_they_are() {
    let drawn = picture::svg(&FLOORS, &library());
    let path = root().join(PICTURE);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &drawn).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(published == drawn, "{PICTURE} is stale; run `UPDATE_DOCS=1 cargo test --test architecture`");
}
