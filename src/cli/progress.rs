//! Progress on stderr for work of known length.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A progress bar that may be invisible; the library reports to it without knowing which.
#[derive(Clone, Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Draws nothing.
    pub fn hidden() -> Self {
        Progress(ProgressBar::hidden())
    }

    /// A bar of `len` units, labelled with what is being done; hidden unless `visible`.
    pub fn new(visible: bool, what: &'static str, len: u64) -> Self {
        if !visible {
            return Self::hidden();
        }
        let bar = ProgressBar::with_draw_target(Some(len), ProgressDrawTarget::stderr());
        let template = "{prefix:>9} [{bar:32}] {pos}/{len} {msg} ({elapsed}, {eta} left)";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(what);
        Progress(bar)
    }

    /// Sets the length once it is known.
    pub fn set_len(&self, len: u64) {
        self.0.set_length(len);
    }

    /// `n` more units are done.
    pub fn advance(&self, n: u64) {
        self.0.inc(n);
    }

    /// Moves to an absolute position, for resumed work.
    pub fn set_position(&self, n: u64) {
        self.0.set_position(n);
    }

    /// A short note beside the bar, such as the current loss.
    pub fn note(&self, text: impl Into<String>) {
        self.0.set_message(text.into());
    }

    /// Prints a line above the bar without tearing it, or nothing when hidden.
    pub fn suspend<R>(&self, print: impl FnOnce() -> R) -> R {
        self.0.suspend(print)
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}
