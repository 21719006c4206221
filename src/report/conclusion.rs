//! What an audit comes to.

use super::Severity;

/// The end of an audit; binaries turn it into an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// Everything was checked, and nothing failed.
    Passed,
    /// Something failed.
    Failed,
    /// Nothing failed, but something could not be checked.
    Unchecked,
}

impl From<Conclusion> for Severity {
    fn from(conclusion: Conclusion) -> Severity {
        match conclusion {
            Conclusion::Passed => Severity::Pass,
            Conclusion::Failed => Severity::Fail,
            Conclusion::Unchecked => Severity::Unknown,
        }
    }
}
