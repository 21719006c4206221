//! What an audit comes to.

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
