//! A run while it runs: lines, a live view on a terminal, or progress for programs.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::CommonArgs;
use crate::cli::common::ProgressChoice;
use crate::cli::progress::progress_events;
use crate::progress::Progress;
use crate::rerun::record::Peak;
use crate::rerun::sandbox::Isolation;
use crate::rerun::supervise::{Event, Observer, Silent};

/// How runs are shown.
#[derive(Clone, Copy, Debug)]
pub(super) enum Show {
    Nothing,
    Lines,
    Live,
    Events,
}

impl Show {
    pub fn new(common: &CommonArgs) -> Self {
        match common.progress {
            ProgressChoice::Json => Show::Events,
            ProgressChoice::Auto if !common.json && !common.quiet => {
                if std::io::stderr().is_terminal() {
                    Show::Live
                } else {
                    Show::Lines
                }
            }
            _ => Show::Nothing,
        }
    }

    /// Says what stands around the script.
    pub fn begin(self, isolation: &Isolation, out: &Path) {
        let words = isolation.words();
        match self {
            Show::Nothing | Show::Events if *isolation != Isolation::Nothing => {}
            _ => drop(writeln!(anstream::stderr(), "sandbox: {words}; files in {}", out.display())),
        }
    }

    /// Shows a seed.
    pub fn seed(self, seed: u64) -> Box<dyn Observer> {
        match self {
            Show::Nothing => Box::new(Silent),
            Show::Lines => Box::new(Lines { seed }),
            Show::Live => Box::new(Live::new(seed)),
            Show::Events => Box::new(Events::new(seed)),
        }
    }
}

struct Lines {
    seed: u64,
}

impl Observer for Lines {
    fn note(&mut self, event: &Event) {
        if let Event::Line { at, text, .. } = event {
            let _ = writeln!(anstream::stderr(), "[seed {} {:8.1} s] {text}", self.seed, at.as_secs_f64());
        }
    }
}

/// A piece of work in steps, with the script's last line as its note.
struct Events(Progress);

impl Events {
    fn new(seed: u64) -> Self {
        Events(progress_events(format!("seed {seed}"), 0))
    }
}

impl Observer for Events {
    fn note(&mut self, event: &Event) {
        if let Event::Line { text, .. } = event {
            self.0.note(text.to_string());
            if let Some((step, steps)) = step(text) {
                self.0.set_len(steps);
                self.0.set_position(step);
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.0.finish();
    }
}

/// One line that changes: where training is, and how long it may still take.
struct Live {
    bar: ProgressBar,
    /// The last line that says something of a step, with step and number of steps.
    step: Option<(u64, u64)>,
    begun: Option<Duration>,
    last: String,
}

impl Live {
    fn new(seed: u64) -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{prefix} {spinner} {wide_msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(format!("seed {seed}"));
        Live { bar, step: None, begun: None, last: String::new() }
    }

    fn message(&self, at: Duration, peak: &Peak) -> String {
        let mut message = format!("{:.0} s", at.as_secs_f64());
        if let (Some((step, steps)), Some(begun)) = (self.step, self.begun)
            && step > 0
            && step < steps
        {
            let left = (at.saturating_sub(begun)).as_secs_f64() / step as f64 * (steps - step) as f64;
            message += &format!(", step {step} of {steps}, training ends in {left:.0} s");
        }
        format!("{message}, memory {} bytes   {}", peak.memory, self.last)
    }
}

impl Observer for Live {
    fn note(&mut self, event: &Event) {
        match event {
            Event::Line { at, text, .. } => {
                if let Some(step) = step(text) {
                    self.step = Some(step);
                    self.begun.get_or_insert(*at);
                }
                self.last = text.to_string();
            }
            Event::Tick { at, peak } => {
                self.bar.set_message(self.message(*at, peak));
                self.bar.tick();
            }
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// `step:200/20000` at the start of a line.
fn step(text: &str) -> Option<(u64, u64)> {
    let (step, rest) = text.strip_prefix("step:")?.split_once('/')?;
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    Some((step.parse().ok()?, rest[..digits].parse().ok()?))
}
