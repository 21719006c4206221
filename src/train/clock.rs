//! Training time: what it is on a clock, and what it was in a recorded run.

use std::time::Instant;

/// Monotonic time from an arbitrary start.
pub trait Clock {
    /// Milliseconds since the start.
    fn now_ms(&mut self) -> f64;
}

/// The machine's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock(Instant);

impl SystemClock {
    /// A clock that starts now.
    pub fn start() -> Self {
        SystemClock(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now_ms(&mut self) -> f64 {
        1000.0 * self.0.elapsed().as_secs_f64()
    }
}

/// A clock that advances by a fixed amount at every look, for tests and rehearsals without waiting.
#[derive(Clone, Copy, Debug)]
pub struct TickingClock {
    now_ms: f64,
    tick_ms: f64,
}

impl TickingClock {
    /// A clock at 0 that advances by `tick_ms` per look.
    pub fn new(tick_ms: f64) -> Self {
        TickingClock { now_ms: 0.0, tick_ms }
    }
}

impl Clock for TickingClock {
    fn now_ms(&mut self) -> f64 {
        let now = self.now_ms;
        self.now_ms += self.tick_ms;
        now
    }
}

/// Training time that can stand still, as it does during validation.
pub struct Stopwatch<'c> {
    clock: &'c mut dyn Clock,
    total_ms: f64,
    running_since: Option<f64>,
}

impl<'c> Stopwatch<'c> {
    /// A standing stopwatch that already shows `elapsed_ms`.
    pub fn new(clock: &'c mut dyn Clock, elapsed_ms: f64) -> Self {
        Stopwatch { clock, total_ms: elapsed_ms, running_since: None }
    }

    /// Lets time run.
    pub fn resume(&mut self) {
        if self.running_since.is_none() {
            self.running_since = Some(self.clock.now_ms());
        }
    }

    /// Stops time and returns what has passed.
    pub fn pause(&mut self) -> f64 {
        self.total_ms = self.elapsed_ms();
        self.running_since = None;
        self.total_ms
    }

    /// Milliseconds of training so far.
    pub fn elapsed_ms(&mut self) -> f64 {
        match self.running_since {
            Some(since) => self.total_ms + (self.clock.now_ms() - since),
            None => self.total_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stands_still_while_paused() {
        let mut clock = TickingClock::new(10.0);
        let mut watch = Stopwatch::new(&mut clock, 1000.0);
        assert_eq!(watch.elapsed_ms(), 1000.0);
        watch.resume(); // looks at 0
        assert_eq!(watch.elapsed_ms(), 1010.0); // looks at 10
        assert_eq!(watch.pause(), 1020.0); // looks at 20
        assert_eq!((watch.elapsed_ms(), watch.pause()), (1020.0, 1020.0));
        watch.resume(); // looks at 30
        assert_eq!(watch.elapsed_ms(), 1030.0); // looks at 40
    }
}
