//! Progress on stderr: bars for people, lines for logs and for programs.

mod course;
mod events;
mod lines;
mod spark;

use std::borrow::Cow;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use self::course::Course;
use self::events::Events;
pub use self::events::Line;
use self::lines::Lines;
use crate::progress::{Progress, ProgressSink};

/// How often a bar is drawn when nothing happens: its clock goes on.
const TICK: Duration = Duration::from_millis(250);
/// While the number of units is not known, and after.
const READYING: &str = "{prefix:>9} {msg} ({clock})";
const WORKING: &str = "{prefix:>9} [{bar:24}] {count} {msg} {course} ({clock})";

/// A bar of `len` units on a terminal, a line every 30 s elsewhere, labeled with what is being done; hidden unless
/// `visible`.
pub fn progress_bar(visible: bool, what: &'static str, len: u64) -> Progress {
    match visible {
        false => Progress::hidden(),
        true if std::io::stderr().is_terminal() => Progress::to(Bar::begin(what, len)),
        true => Progress::to(Lines::begin(what, len)),
    }
}

/// A line on stderr for each event, as JSON.
pub(super) fn progress_events(what: impl Into<Cow<'static, str>>, len: u64) -> Progress {
    Progress::to(Events::begin(std::io::stderr(), what.into(), len))
}

#[derive(Debug)]
struct Bar {
    bar: ProgressBar,
    course: Arc<Mutex<Course>>,
}

impl Bar {
    fn begin(what: &'static str, len: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(len), ProgressDrawTarget::stderr());
        let made = Bar { bar, course: Arc::new(Mutex::new(Course::new(len, Instant::now()))) };
        made.dress(len);
        made.bar.set_prefix(what);
        made.bar.enable_steady_tick(TICK);
        made
    }

    /// Without a number of units a bar would be full before anything is done.
    fn dress(&self, len: u64) {
        let Ok(style) = ProgressStyle::with_template(if len == 0 { READYING } else { WORKING }) else { return };
        let key = |text: fn(&Course) -> String| {
            let course = Arc::clone(&self.course);
            move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = out.write_str(&text(&course.lock().unwrap_or_else(PoisonError::into_inner)));
            }
        };
        let style = style
            .with_key("count", key(Course::count))
            .with_key("course", key(|course| course.spark.text()))
            .with_key("clock", key(|course| course.clock(Instant::now())));
        self.bar.set_style(style.progress_chars("=> "));
    }

    fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// The course changes, and its lock is free again, before the bar is drawn from it.
impl ProgressSink for Bar {
    fn set_len(&self, len: u64) {
        self.course().set_total(len, Instant::now());
        self.dress(len);
        self.bar.set_length(len);
    }

    fn advance(&self, n: u64) {
        self.course().advance(n);
        self.bar.inc(n);
    }

    fn set_position(&self, n: u64) {
        self.course().place(n, Instant::now());
        self.bar.set_position(n);
    }

    fn note(&self, text: String) {
        self.bar.set_message(text);
    }

    fn value(&self, value: f64) {
        self.course().spark.push(value);
    }

    fn limit(&self, left: Duration) {
        self.course().limit(left, Instant::now());
    }

    fn suspend(&self, print: &mut dyn FnMut()) {
        self.bar.suspend(print);
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
