//! Progress of long work, reported to whoever shows it.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// Shows progress: a bar on a terminal, lines in a log.
pub trait ProgressSink: Debug + Send + Sync {
    /// The work has so many units.
    fn set_len(&self, len: u64);
    /// `n` more units are done.
    fn advance(&self, n: u64);
    /// So many units are done, for resumed work.
    fn set_position(&self, n: u64);
    /// A short note beside the bar, such as the current loss.
    fn note(&self, text: String);
    /// A measured value in the course of the work, such as a loss, to be shown as a curve.
    fn value(&self, _value: f64) {}
    /// The work ends after so much more time, whatever is done by then.
    fn limit(&self, _left: Duration) {}
    /// Runs `print` while nothing is drawn.
    fn suspend(&self, print: &mut dyn FnMut());
    /// The work is over; removes the bar.
    fn finish(&self);
}

/// A time as people say it.
pub fn time_in_words(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 10.0 => format!("{seconds:.1} s"),
        seconds if seconds < 90.0 => format!("{seconds:.0} s"),
        seconds if seconds < 5400.0 => format!("{:.0} min", seconds / 60.0),
        seconds if seconds < 172_800.0 => format!("{:.1} h", seconds / 3600.0),
        seconds => format!("{:.1} days", seconds / 86_400.0),
    }
}

/// Where long work reports to: a [`ProgressSink`], or nobody. Clones report to the same sink.
#[derive(Clone, Debug, Default)]
pub struct Progress(Option<Arc<dyn ProgressSink>>);

impl Progress {
    /// Reports nowhere.
    pub fn hidden() -> Self {
        Progress(None)
    }

    /// Reports to `sink`.
    pub fn to(sink: impl ProgressSink + 'static) -> Self {
        Progress(Some(Arc::new(sink)))
    }

    /// Sets the number of units once it is known.
    pub fn set_len(&self, len: u64) {
        self.tell(|sink| sink.set_len(len));
    }

    /// `n` more units are done.
    pub fn advance(&self, n: u64) {
        self.tell(|sink| sink.advance(n));
    }

    /// Moves to an absolute position, for resumed work.
    pub fn set_position(&self, n: u64) {
        self.tell(|sink| sink.set_position(n));
    }

    /// A short note beside the bar, such as the current loss.
    pub fn note(&self, text: impl Into<String>) {
        self.tell(|sink| sink.note(text.into()));
    }

    /// A measured value in the course of the work, such as a loss.
    pub fn value(&self, value: f64) {
        self.tell(|sink| sink.value(value));
    }

    /// The work ends after so many more milliseconds by a cap on time, whatever is done by then.
    pub fn limit_ms(&self, left: f64) {
        // Longer than any Duration is no limit.
        if let Ok(left) = Duration::try_from_secs_f64(left.max(0.0) / 1000.0) {
            self.tell(|sink| sink.limit(left));
        }
    }

    /// Runs `print` and returns what it returns; a bar is not torn by what it prints.
    pub fn suspend<R>(&self, print: impl FnOnce() -> R) -> R {
        let Some(sink) = &self.0 else { return print() };
        let (mut print, mut printed) = (Some(print), None);
        sink.suspend(&mut || {
            if let Some(print) = print.take() {
                printed = Some(print());
            }
        });
        // A sink that did not call back owes nothing to the caller's work, which still has to be done.
        match (printed, print) {
            (Some(printed), _) => printed,
            (None, Some(print)) => print(),
            (None, None) => unreachable!("`print` is taken only to be called"),
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.tell(|sink| sink.finish());
    }

    fn tell(&self, what: impl FnOnce(&dyn ProgressSink)) {
        if let Some(sink) = &self.0 {
            what(&**sink);
        }
    }
}

/// Makes a [`Progress`] for each part of a longer work: label and number of units.
pub type ProgressFactory<'a> = dyn Fn(&'static str, u64) -> Progress + Sync + 'a;

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls back so many times when it is suspended.
    #[derive(Debug)]
    struct Calls(usize);

    impl ProgressSink for Calls {
        fn set_len(&self, _: u64) {}
        fn advance(&self, _: u64) {}
        fn set_position(&self, _: u64) {}
        fn note(&self, _: String) {}
        fn suspend(&self, print: &mut dyn FnMut()) {
            (0..self.0).for_each(|_| print());
        }
        fn finish(&self) {}
    }

    #[test]
    fn what_is_printed_while_suspended_is_printed_once() {
        for progress in [Progress::hidden(), Progress::to(Calls(0)), Progress::to(Calls(1)), Progress::to(Calls(2))] {
            let mut printed = 0;
            let result = progress.suspend(|| {
                printed += 1;
                "result"
            });
            assert_eq!((result, printed), ("result", 1), "{progress:?}");
        }
    }
}
