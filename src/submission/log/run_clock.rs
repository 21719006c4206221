//! Finds where one run of a log ends and the next begins.

/// Follows steps, results and settings through a log.
#[derive(Clone, Debug, Default)]
pub(super) struct RunClock {
    /// A final value was printed since the run began.
    is_done: bool,
    /// First line behind the last final value that states settings.
    setup: Option<u64>,
    seed: Option<u64>,
    step: u64,
}

impl RunClock {
    /// A final value was printed.
    pub fn has_result(&mut self) {
        (self.is_done, self.setup) = (true, None);
    }

    /// A step was printed on this line; gives the line on which another run began, if it is the first of one.
    pub fn step(&mut self, step: u64, line: u64) -> Option<u64> {
        let starts_again = self.is_done && step < self.step && step <= 1;
        self.step = step;
        if !starts_again {
            return None;
        }
        let start = self.setup.take().unwrap_or(line);
        self.is_done = false;
        Some(start)
    }

    /// Settings were printed on this line, among them perhaps the seed; another seed behind a result is another run.
    pub fn setup(&mut self, line: u64, seed: Option<u64>) -> Option<u64> {
        if self.is_done {
            self.setup.get_or_insert(line);
        }
        let is_other = matches!((self.seed, seed), (Some(known), Some(seed)) if known != seed);
        self.seed = seed.or(self.seed);
        if !(self.is_done && is_other) {
            return None;
        }
        (self.is_done, self.step) = (false, 0);
        self.setup.take()
    }
}
