//! Progress for programs: a JSON document a line, on stderr.

use std::borrow::Cow;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::Serialize;

use crate::escape::json::shown;
use crate::progress::ProgressSink;

/// Name and version of the shape of a line.
const SCHEMA: &str = "golf-harness/progress/v1";
/// Shortest time between two lines of one piece of work; its begin and its end are always told.
const PAUSE: Duration = Duration::from_millis(200);

/// Where a piece of work is.
#[derive(Debug)]
pub(super) struct Events<W> {
    what: Cow<'static, str>,
    state: Mutex<State<W>>,
}

#[derive(Debug)]
struct State<W> {
    out: W,
    total: u64,
    done: u64,
    note: String,
    told: Option<Instant>,
}

/// A line of `--progress json`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Progress")]
pub struct Line<'a> {
    /// Always `golf-harness/progress/v1`.
    #[schemars(extend("const" = SCHEMA))]
    schema: &'static str,
    /// What the line tells of.
    event: Moment,
    /// The piece of work.
    what: &'a str,
    /// Units done.
    done: u64,
    /// Units there are; 0 while nobody knows.
    total: u64,
    /// A short note, such as the current loss; may be empty.
    note: &'a str,
}

/// What a line tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Moment {
    /// The work begins.
    Begin,
    /// It went on.
    Progress,
    /// It is over.
    End,
}

impl<W: Write> Events<W> {
    /// Begins a piece of work of so many units; 0 while nobody knows.
    pub fn begin(out: W, what: Cow<'static, str>, total: u64) -> Self {
        let state = State { out, total, done: 0, note: String::new(), told: None };
        let events = Events { what, state: Mutex::new(state) };
        events.change(Moment::Begin, |_| {});
        events
    }

    fn change(&self, moment: Moment, change: impl FnOnce(&mut State<W>)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        if moment == Moment::Progress && state.told.is_some_and(|told| told.elapsed() < PAUSE) {
            return;
        }
        state.told = Some(Instant::now());
        let State { total, done, ref note, .. } = *state;
        let line = Line { schema: SCHEMA, event: moment, what: &self.what, done, total, note };
        let line = shown(&serde_json::to_string(&line).unwrap_or_default());
        // Whoever stopped listening misses nothing that matters.
        let _ = writeln!(state.out, "{line}");
    }
}

impl<W: Write + std::fmt::Debug + Send> ProgressSink for Events<W> {
    fn set_len(&self, len: u64) {
        self.change(Moment::Progress, |state| state.total = len);
    }

    fn advance(&self, n: u64) {
        self.change(Moment::Progress, |state| state.done += n);
    }

    fn set_position(&self, n: u64) {
        self.change(Moment::Progress, |state| state.done = n);
    }

    fn note(&self, text: String) {
        self.change(Moment::Progress, |state| state.note = text);
    }

    fn suspend(&self, print: &mut dyn FnMut()) {
        print();
    }

    fn finish(&self) {
        self.change(Moment::End, |_| {});
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn begin_and_end_are_told_and_the_end_has_the_sum() {
        let events = Events::begin(Vec::new(), "training".into(), 3);
        (0..3).for_each(|_| events.advance(1));
        events.note("train_loss:2.5".into());
        events.finish();
        let written = String::from_utf8(events.state.into_inner().unwrap().out).unwrap();
        let lines: Vec<serde_json::Value> = written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let (first, last) = (&lines[0], &lines[lines.len() - 1]);
        assert_eq!((&first["event"], &first["done"], &first["total"]), (&json!("begin"), &json!(0), &json!(3)));
        assert_eq!(
            (&last["event"], &last["done"], &last["note"]),
            (&json!("end"), &json!(3), &json!("train_loss:2.5"))
        );
        assert!(lines.iter().all(|line| line["schema"] == SCHEMA && line["what"] == "training"));
    }
}
