//! Progress where no terminal is: a line from time to time.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::course::Course;
use crate::progress::ProgressSink;

/// Time between two lines.
const PERIOD: Duration = Duration::from_secs(30);

/// Tells how far a piece of work is, until it is finished or dropped.
#[derive(Debug)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug)]
struct State {
    course: Course,
    is_over: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    /// Tells of a piece of work on standard error.
    pub fn begin(what: &'static str, total: u64) -> Self {
        let state = State { course: Course::new(total, Instant::now()), is_over: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), ended: Condvar::new() });
        let told = Arc::clone(&shared);
        // Without a thread there are no lines, and the work is done all the same.
        let _ = thread::Builder::new().name("progress".into()).spawn(move || tell(&told, what));
        Lines(shared)
    }

    fn change(&self, change: impl FnOnce(&mut Course)) {
        change(&mut self.0.lock().course);
    }
}

/// Prints a line each [`PERIOD`] until the work is over.
fn tell(shared: &Shared, what: &str) {
    let mut state = shared.lock();
    let mut due = Instant::now() + PERIOD;
    while !state.is_over {
        let now = Instant::now();
        if now < due {
            state = shared.ended.wait_timeout(state, due - now).unwrap_or_else(PoisonError::into_inner).0;
            continue;
        }
        // Whoever stopped listening misses nothing that matters. Under the lock: no line comes after the end.
        let _ = writeln!(std::io::stderr(), "{}", state.course.line(what, now));
        due = now + PERIOD;
    }
}

impl ProgressSink for Lines {
    fn set_len(&self, len: u64) {
        self.change(|course| course.set_total(len, Instant::now()));
    }

    fn advance(&self, n: u64) {
        self.change(|course| course.advance(n));
    }

    fn set_position(&self, n: u64) {
        self.change(|course| course.place(n, Instant::now()));
    }

    fn note(&self, text: String) {
        self.change(|course| course.note = text);
    }

    fn value(&self, value: f64) {
        self.change(|course| course.spark.push(value));
    }

    fn limit(&self, left: Duration) {
        self.change(|course| course.limit(left, Instant::now()));
    }

    fn suspend(&self, print: &mut dyn FnMut()) {
        print();
    }

    fn finish(&self) {
        self.0.lock().is_over = true;
        self.0.ended.notify_all();
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.finish();
    }
}
