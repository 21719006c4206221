//! How far a piece of work is, and how long the rest of it takes by what was done so far.

use std::fmt;
use std::time::{Duration, Instant};

use super::spark::Spark;

/// Shorter waits say nothing about the rest.
const FIRST_GUESS: Duration = Duration::from_millis(500);

/// A piece of work at a moment.
#[derive(Clone, Debug)]
pub(super) struct Course {
    pub total: u64,
    pub done: u64,
    pub note: String,
    pub spark: Spark,
    created: Instant,
    /// When the first unit was begun, and how many an earlier call had done.
    begun: (Instant, u64),
    is_placed: bool,
    /// The work ends at this moment, whatever is done by then.
    end: Option<Instant>,
}

/// Time that is left, as far as anybody can know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    Unknown,
    About(Duration),
    /// No unit is done yet, and the first takes this long already.
    AtLeast(Duration),
    /// By a cap on time.
    AtMost(Duration),
}

impl Course {
    pub fn new(total: u64, now: Instant) -> Self {
        Course {
            total,
            done: 0,
            note: String::new(),
            spark: Spark::default(),
            created: now,
            begun: (now, 0),
            is_placed: false,
            end: None,
        }
    }

    /// The number of units becomes known: work begins.
    pub fn set_total(&mut self, total: u64, now: Instant) {
        if self.total == 0 {
            self.begun = (now, self.done);
        }
        self.total = total;
    }

    /// A position. The first one is where this call begins.
    pub fn place(&mut self, done: u64, now: Instant) {
        if !self.is_placed {
            self.is_placed = true;
            self.begun = (now, done);
        }
        self.done = done;
    }

    pub fn advance(&mut self, units: u64) {
        self.done = self.done.saturating_add(units);
    }

    /// Work ends after so much more time.
    pub fn limit(&mut self, left: Duration, now: Instant) {
        self.end = now.checked_add(left);
    }

    pub fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.created)
    }

    pub fn left(&self, now: Instant) -> Left {
        let (begun, before) = self.begun;
        let (took, units) = (now.saturating_duration_since(begun), self.done.saturating_sub(before));
        let cap = self.end.map(|end| end.saturating_duration_since(now));
        let rest = self.total.saturating_sub(self.done);
        let times = |units: f64| Duration::try_from_secs_f64(took.as_secs_f64() * units).unwrap_or(Duration::MAX);
        match (units, cap) {
            (0, Some(cap)) => Left::AtMost(cap),
            (0, None) if self.total == 0 || took < FIRST_GUESS => Left::Unknown,
            (0, None) => Left::AtLeast(times(rest as f64)),
            (units, cap) => {
                let by_pace = times(rest as f64 / units as f64);
                Left::About(cap.map_or(by_pace, |cap| cap.min(by_pace)))
            }
        }
    }

    /// Units done of all; empty while their number is not known.
    pub fn count(&self) -> String {
        if self.total == 0 { String::new() } else { format!("{}/{}", self.done, self.total) }
    }

    /// Time spent and time left.
    pub fn clock(&self, now: Instant) -> String {
        let elapsed = Time(self.elapsed(now));
        match self.left(now) {
            _ if self.total == 0 => format!("{elapsed}, getting ready"),
            Left::Unknown => elapsed.to_string(),
            Left::About(left) => format!("{elapsed}, about {} left", Time(left)),
            Left::AtLeast(left) => format!("{elapsed}, at least {} left", Time(left)),
            Left::AtMost(left) => format!("{elapsed}, at most {} left", Time(left)),
        }
    }

    /// All of it in a line of text.
    pub fn line(&self, what: &str, now: Instant) -> String {
        let parts = [self.count(), self.note.clone(), self.spark.text(), format!("({})", self.clock(now))];
        let parts: Vec<&str> = parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
        format!("{what} {}", parts.join(" "))
    }
}

/// A time as people say it.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            seconds @ ..60 => write!(f, "{seconds}s"),
            seconds @ 60..3600 => write!(f, "{}m {:02}s", seconds / 60, seconds % 60),
            seconds @ 3600..360_000 => write!(f, "{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
            seconds => write!(f, "{} days", seconds / 86_400),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn time_left_is_that_of_the_pace() {
        let start = Instant::now();
        let mut course = Course::new(0, start);
        assert_eq!(course.clock(start + seconds(3)), "3s, getting ready");
        // Reading the data is no part of the pace.
        course.set_total(100, start + seconds(10));
        assert_eq!(course.left(start + seconds(10)), Left::Unknown);
        assert_eq!(course.left(start + seconds(12)), Left::AtLeast(seconds(200)));
        course.advance(20);
        assert_eq!(course.left(start + seconds(15)), Left::About(seconds(20)));
        course.note = "loss 2.5".into();
        [1.0, 2.0].into_iter().for_each(|value| course.spark.push(value));
        assert_eq!(course.line("scoring", start + seconds(15)), "scoring 20/100 loss 2.5 ▁█ (15s, about 20s left)");
    }

    #[test]
    fn what_an_earlier_call_did_is_no_part_of_the_pace() {
        let start = Instant::now();
        let mut course = Course::new(0, start);
        course.set_total(1000, start);
        course.place(500, start + seconds(1));
        course.place(501, start + seconds(3));
        assert_eq!(course.left(start + seconds(3)), Left::About(seconds(998)));
    }

    #[test]
    fn a_cap_ends_it_sooner() {
        let start = Instant::now();
        let mut course = Course::new(0, start);
        course.set_total(20_000, start);
        course.place(0, start);
        course.limit(seconds(600), start);
        assert_eq!(course.left(start + seconds(5)), Left::AtMost(seconds(595)));
        course.place(10, start + seconds(10));
        assert_eq!(course.left(start + seconds(10)), Left::About(seconds(590)));
        course.place(19_999, start + seconds(500));
        assert!(matches!(course.left(start + seconds(500)), Left::About(left) if left < seconds(1)));
    }

    #[test]
    fn times_are_short() {
        let shown = |count| Time(seconds(count)).to_string();
        assert_eq!([shown(59), shown(3599), shown(3661), shown(u64::MAX / 2)].map(|text| text.len() < 21), [true; 4]);
        assert_eq!((shown(59), shown(60), shown(7384)), ("59s".into(), "1m 00s".into(), "2h 03m".into()));
    }
}
