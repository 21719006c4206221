//! Results on stdout, in the form the flags ask for.

use std::io::{self, Write};

use serde_json::Value;

use super::CommonArgs;
use crate::escape::json;

/// Names and versions of the documents that `--json` prints (docs/json.md).
pub mod schema {
    /// `pack`.
    pub const PACK: &str = "golf-harness/pack/v1";
    /// `pack --fit`.
    #[cfg(feature = "engine")]
    pub const FIT: &str = "golf-harness/fit/v1";
    /// `pack --inspect`.
    pub const INSPECTION: &str = "golf-harness/inspection/v1";
    /// `train`.
    #[cfg(feature = "engine")]
    pub const TRAINING: &str = "golf-harness/training/v1";
    /// `score --from-nll`.
    #[cfg(feature = "engine")]
    pub const LOSS_PLOT: &str = "golf-harness/loss-plot/v1";
    /// `reproduce --dry-run --seeds`, and `--estimate` beside it.
    #[cfg(feature = "engine")]
    pub const REPRODUCTION_PLANS: &str = "golf-harness/reproduction-plans/v1";
    /// `reproduce --seeds`.
    #[cfg(feature = "engine")]
    pub const REPRODUCTIONS: &str = "golf-harness/reproductions/v1";
}

/// A document that begins with the name of its shape.
pub fn document(schema: &str, fields: Value) -> Value {
    let mut document = serde_json::Map::from_iter([("schema".to_string(), schema.into())]);
    if let Value::Object(fields) = fields {
        document.extend(fields);
    }
    Value::Object(document)
}

/// Prints a result: one document with `--json`, otherwise the text, which brings its own line ends.
pub fn print(common: &CommonArgs, value: impl FnOnce() -> Value, text: impl FnOnce() -> String) -> anyhow::Result<()> {
    let mut stdout = stdout();
    if common.json {
        writeln!(stdout, "{}", json::shown(&serde_json::to_string_pretty(&value())?))?;
    } else {
        write!(stdout, "{}", text())?;
    }
    Ok(stdout.flush()?)
}

/// Standard output, with colors where they are wanted. Once its reader has left (`| head -1`), what is written is
/// dropped: the work goes on, and the exit code is that of the work.
pub fn stdout() -> Listened<impl Write> {
    Listened { out: anstream::stdout().lock(), has_left: false }
}

/// Where a command that works for long tells how far it is. `--quiet` and `--json` leave stdout to the result.
#[cfg(feature = "engine")]
pub fn watcher(common: &CommonArgs) -> Box<dyn Write> {
    if common.quiet || common.json {
        Box::new(io::sink())
    } else {
        Box::new(Watched(Listened { out: io::stdout(), has_left: false }))
    }
}

/// A writer whose reader may leave.
pub struct Listened<W> {
    out: W,
    has_left: bool,
}

impl<W: Write> Listened<W> {
    fn unless_left<T>(&mut self, otherwise: T, write: impl FnOnce(&mut W) -> io::Result<T>) -> io::Result<T> {
        if self.has_left {
            return Ok(otherwise);
        }
        match write(&mut self.out) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.has_left = true;
                Ok(otherwise)
            }
            Err(error) => Err(io::Error::new(error.kind(), format!("cannot write to standard output: {error}"))),
            result => result,
        }
    }
}

impl<W: Write> Write for Listened<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unless_left(bytes.len(), |out| out.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unless_left((), W::flush)
    }
}

/// A writer of running text, which is no reason to stop whatever becomes of it.
#[cfg(feature = "engine")]
struct Watched<W>(W);

#[cfg(feature = "engine")]
impl<W: Write> Write for Watched<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.0.write(bytes).unwrap_or(bytes.len()))
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}
