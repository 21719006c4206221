//! One trait for all report formats.

use std::io::{self, Write};

use super::Audit;

/// How much to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// Failures and the result only.
    Brief,
    /// Everything but passes and open questions.
    #[default]
    Usual,
    /// Everything.
    Full,
}

/// A report format. Writes the whole audit; the same audit always gives the same bytes.
///
/// Color, where a format has it, is written as ANSI sequences; `anstream` strips them where they are not wanted.
pub trait Reporter {
    /// Writes the audit in this format.
    fn write(&self, audit: &Audit, out: &mut dyn Write) -> io::Result<()>;
}
