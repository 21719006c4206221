//! What a script imports, and from where.

use std::collections::BTreeSet;

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{ExceptHandler, Stmt};
use ruff_text_size::Ranged;

use super::Python;

/// Where a module comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Comes with Python.
    StandardLibrary,
    /// A file of the folder.
    Local,
    /// Neither: a package to install.
    Package,
}

/// One imported top-level module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Top-level name: `torch` for `torch.nn.functional`.
    pub module: String,
    /// Where it comes from.
    pub origin: Origin,
    /// 1-based line.
    pub line: u64,
    /// Inside `try` with a handler: its absence is provided for.
    pub guarded: bool,
}

/// Modules of Python's standard library, 3.11 to 3.14 (`sys.stdlib_module_names`).
const STANDARD_LIBRARY: &str = include_str!("stdlib.txt");

/// All imports of a file, anywhere in it, in order of lines, each module once.
pub fn of(python: &Python, local: &BTreeSet<String>) -> Vec<Import> {
    let standard: BTreeSet<&str> = STANDARD_LIBRARY.lines().collect();
    let mut collector = Collector { python, found: Vec::new(), guards: 0 };
    visitor::walk_body(&mut collector, &python.module().body);
    let mut seen = BTreeSet::new();
    let mut imports: Vec<Import> = collector
        .found
        .into_iter()
        .map(|(module, line, guarded)| {
            let origin = if local.contains(&module) {
                Origin::Local
            } else if standard.contains(module.as_str()) {
                Origin::StandardLibrary
            } else {
                Origin::Package
            };
            Import { module, origin, line, guarded }
        })
        .collect();
    imports.sort_by_key(|import| import.line);
    imports.retain(|import| seen.insert(import.module.clone()));
    imports
}

struct Collector<'a> {
    python: &'a Python,
    found: Vec<(String, u64, bool)>,
    guards: usize,
}

impl Collector<'_> {
    fn add(&mut self, dotted: &str, at: &impl Ranged) {
        let top = dotted.split('.').next().unwrap_or_default();
        if !top.is_empty() {
            self.found.push((top.to_string(), self.python.line(at.start()), self.guards > 0));
        }
    }
}

impl<'a> Visitor<'a> for Collector<'_> {
    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        match stmt {
            Stmt::Import(import) => import.names.iter().for_each(|alias| self.add(alias.name.as_str(), import)),
            Stmt::ImportFrom(import) => match (&import.module, import.level) {
                (Some(module), _) => self.add(module.as_str(), import),
                // `from . import a`
                (None, _) => import.names.iter().for_each(|alias| self.add(alias.name.as_str(), import)),
            },
            Stmt::Try(attempt) => {
                let guarded = usize::from(!attempt.handlers.is_empty());
                self.guards += guarded;
                visitor::walk_body(self, &attempt.body);
                self.guards -= guarded;
                for ExceptHandler::ExceptHandler(handler) in &attempt.handlers {
                    visitor::walk_body(self, &handler.body);
                }
                visitor::walk_body(self, &attempt.orelse);
                visitor::walk_body(self, &attempt.finalbody);
            }
            other => visitor::walk_stmt(self, other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_and_guards() {
        let python = Python::parse(
            "import os, torch.nn as nn\nfrom . import tables\ntry:\n    import zstandard\nexcept ImportError:\n    \
             import zlib\ndef f():\n    from kernels.fused import mlp\n",
        )
        .unwrap();
        let local = BTreeSet::from(["kernels".to_string(), "tables".to_string()]);
        let imports: Vec<_> =
            of(&python, &local).into_iter().map(|i| (i.module, i.origin, i.line, i.guarded)).collect();
        assert_eq!(
            imports,
            [
                ("os".to_string(), Origin::StandardLibrary, 1, false),
                ("torch".to_string(), Origin::Package, 1, false),
                ("tables".to_string(), Origin::Local, 2, false),
                ("zstandard".to_string(), Origin::Package, 4, true),
                ("zlib".to_string(), Origin::StandardLibrary, 6, false),
                ("kernels".to_string(), Origin::Local, 8, false),
            ]
        );
    }
}
