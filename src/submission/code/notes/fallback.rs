//! Another compressor in the place of a missing one.

use ruff_python_ast::{ExceptHandler, Stmt, StmtTry};
use ruff_text_size::Ranged;

use super::super::names::is_zstd;
use super::{NoteKind, Reader};

impl Reader<'_> {
    /// `try: import zstandard ... except ImportError:` with a handler that does not raise, in a file that never raises
    /// for want of it either.
    pub(super) fn compressor_fallback(&mut self, attempt: &StmtTry) {
        let imported = attempt.body.iter().find(|stmt| match stmt {
            Stmt::Import(import) => import.names.iter().any(|alias| is_zstd(alias.name.as_str())),
            Stmt::ImportFrom(import) => import.module.as_ref().is_some_and(|module| is_zstd(module.as_str())),
            _ => false,
        });
        let Some(imported) = imported else { return };
        let raises = attempt.handlers.iter().any(|ExceptHandler::ExceptHandler(handler)| {
            handler.body.iter().any(|stmt| matches!(stmt, Stmt::Raise(_)))
        });
        let checked_later = self.python.text().lines().any(|line| {
            let line = line.to_ascii_lowercase();
            (line.contains("raise ") || line.contains("assert ")) && line.contains("zstd")
                || line.contains("require_zstd")
        });
        let falls_back = self.python.text().contains("zlib") || self.python.text().contains("lzma");
        if !raises && !checked_later && falls_back {
            self.note(NoteKind::SilentCompressorFallback, imported.start());
        }
    }
}
