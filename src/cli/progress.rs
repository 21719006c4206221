//! Progress on stderr: bars for people, lines for programs.

mod events;

use std::borrow::Cow;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use self::events::Events;
pub use self::events::Line;
use crate::progress::{Progress, ProgressSink};

/// A bar of `len` units, labeled with what is being done; hidden unless `visible`.
pub fn progress_bar(visible: bool, what: &'static str, len: u64) -> Progress {
    if !visible {
        return Progress::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(len), ProgressDrawTarget::stderr());
    let template = "{prefix:>9} [{bar:32}] {pos}/{len} {msg} ({elapsed}, {eta} left)";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(what);
    Progress::to(Bar(bar))
}

/// A line on stderr for each event, as JSON.
pub(super) fn progress_events(what: impl Into<Cow<'static, str>>, len: u64) -> Progress {
    Progress::to(Events::begin(std::io::stderr(), what.into(), len))
}

#[derive(Debug)]
struct Bar(ProgressBar);

impl ProgressSink for Bar {
    fn set_len(&self, len: u64) {
        self.0.set_length(len);
    }

    fn advance(&self, n: u64) {
        self.0.inc(n);
    }

    fn set_position(&self, n: u64) {
        self.0.set_position(n);
    }

    fn note(&self, text: String) {
        self.0.set_message(text);
    }

    fn suspend(&self, print: &mut dyn FnMut()) {
        self.0.suspend(print);
    }

    fn finish(&self) {
        self.0.finish_and_clear();
    }
}
