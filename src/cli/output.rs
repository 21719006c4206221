//! Results on stdout, in the form the flags ask for.

use std::io::Write;

use serde_json::Value;

use super::CommonArgs;

/// Prints a result: one document with `--json`, otherwise the text, which brings its own line ends.
pub fn print(common: &CommonArgs, json: impl FnOnce() -> Value, text: impl FnOnce() -> String) -> anyhow::Result<()> {
    let mut stdout = anstream::stdout().lock();
    if common.json {
        writeln!(stdout, "{}", serde_json::to_string_pretty(&json())?)?;
    } else {
        write!(stdout, "{}", text())?;
    }
    Ok(())
}

/// Where a command that works for long tells how far it is. `--quiet` and `--json` leave stdout to the result.
#[cfg(feature = "engine")]
pub fn watcher(common: &CommonArgs) -> Box<dyn Write> {
    if common.quiet || common.json { Box::new(std::io::sink()) } else { Box::new(std::io::stdout()) }
}
