//! Who checks single subjects: this process, or somebody it hands them to.

use std::path::Path;

use super::audit::{self, AuditError, Options};
use crate::interrupt::Interrupt;
use crate::report::Report;

/// Checks one subject at a time, from several threads.
pub trait Auditor: Sync {
    /// Checks the record folder at `path`; `subject` is how the report names it.
    ///
    /// A raised interrupt may end it early, with any outcome: the caller asks for the flag before it uses one.
    fn folder(
        &self,
        path: &Path,
        subject: String,
        options: &Options,
        interrupt: &Interrupt,
    ) -> Result<Report, AuditError>;

    /// Checks the manifest at `path` and every file it names.
    fn manifest(&self, path: &Path, options: &Options, interrupt: &Interrupt) -> Result<Report, AuditError>;
}

/// Checks in this process, bounded by what the readers bound themselves.
#[derive(Clone, Copy, Debug, Default)]
pub struct InProcess;

impl Auditor for InProcess {
    fn folder(
        &self,
        path: &Path,
        subject: String,
        options: &Options,
        _interrupt: &Interrupt,
    ) -> Result<Report, AuditError> {
        audit::folder(path, subject, options)
    }

    fn manifest(&self, path: &Path, options: &Options, _interrupt: &Interrupt) -> Result<Report, AuditError> {
        audit::manifest(path, options)
    }
}
