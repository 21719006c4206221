//! Every line a script prints, with the time it came, kept in files and read by the log reader of `verify`.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use super::clock::Clock;
use super::{Event, Observer};
use crate::escape::visible;
use crate::submission::LogFile;
use crate::submission::log::LogScanner;

/// Longest line shown while it runs, bytes; the file has all of it.
const MAX_SHOWN: usize = 512;

/// Times of so many lines are kept: more than the reader holds back.
const MAX_RECENT: usize = 1024;

/// When lines came.
pub(super) struct Came<'a> {
    recent: &'a VecDeque<Duration>,
    /// Lines that have ended.
    lines: u64,
    now: Duration,
}

impl Came<'_> {
    /// The time of a line, 1-based; now, if it has not ended or came too long ago.
    pub fn at(&self, line: u64) -> Duration {
        let back = self.lines.checked_sub(line).and_then(|back| usize::try_from(back).ok());
        let index = back.and_then(|back| self.recent.len().checked_sub(back + 1));
        index.and_then(|index| self.recent.get(index)).copied().unwrap_or(self.now)
    }
}

/// Takes what is printed.
pub(super) struct Recorder {
    log: BufWriter<File>,
    times: BufWriter<File>,
    scanner: LogScanner,
    /// Marks by our clock.
    pub clock: Clock,
    /// Bytes so far.
    pub bytes: u64,
    /// Lines so far.
    pub lines: u64,
    line: Vec<u8>,
    has_begun_line: bool,
    /// When the last lines came: the reader holds lines back until it knows whether they are source code.
    recent: VecDeque<Duration>,
}

impl Recorder {
    /// Writes to two new files: what is printed, and the times of its lines in seconds, one a line.
    pub fn new(log: &Path, times: &Path) -> io::Result<Self> {
        let name = log.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Ok(Recorder {
            log: BufWriter::new(File::create_new(log)?),
            times: BufWriter::new(File::create_new(times)?),
            scanner: LogScanner::new(name),
            clock: Clock::default(),
            bytes: 0,
            lines: 0,
            line: Vec::new(),
            has_begun_line: false,
            recent: VecDeque::new(),
        })
    }

    /// The next bytes, at this time since the start.
    pub fn feed(&mut self, bytes: &[u8], at: Duration, observer: &mut dyn Observer) -> io::Result<()> {
        self.log.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        for piece in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            self.scanner.feed(piece);
            let room = MAX_SHOWN.saturating_sub(self.line.len());
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            self.has_begun_line = true;
            if piece.ends_with(b"\n") || piece.ends_with(b"\r") {
                let came = Came { recent: &self.recent, lines: self.lines, now: at };
                self.clock.line(&came, self.scanner.so_far());
            }
            if piece.ends_with(b"\n") {
                self.end_line(at, observer)?;
            }
        }
        Ok(())
    }

    fn end_line(&mut self, at: Duration, observer: &mut dyn Observer) -> io::Result<()> {
        writeln!(self.times, "{:.3}", at.as_secs_f64())?;
        self.lines += 1;
        if self.recent.len() == MAX_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(at);
        self.has_begun_line = false;
        let text = String::from_utf8_lossy(&self.line);
        observer.note(&Event::Line { at, text: &visible(text.trim_end()), log: self.scanner.so_far() });
        self.line.clear();
        Ok(())
    }

    /// Hands what was taken to the system, so that others can follow.
    pub fn flush(&mut self) -> io::Result<()> {
        self.log.flush()?;
        self.times.flush()
    }

    /// The end: what the log says. Both files are on disk then.
    pub fn finish(mut self, at: Duration, is_cut: bool, observer: &mut dyn Observer) -> io::Result<(LogFile, Clock)> {
        if self.has_begun_line {
            self.end_line(at, observer)?;
        }
        self.flush()?;
        self.log.get_ref().sync_all()?;
        self.times.get_ref().sync_all()?;
        let log = self.scanner.finish(is_cut);
        let came = Came { recent: &self.recent, lines: self.lines, now: at };
        self.clock.line(&came, &log);
        Ok((log, self.clock))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rerun::launch::Caps;
    use crate::rerun::record::Phase;
    use crate::rerun::supervise::Silent;

    /// Feeds lines, each with its second.
    fn recorded(lines: &[(u64, &str)], end: u64) -> (LogFile, Clock, String) {
        let folder = tempfile::tempdir().unwrap();
        let (log, times) = (folder.path().join("log"), folder.path().join("times"));
        let mut recorder = Recorder::new(&log, &times).unwrap();
        for (second, line) in lines {
            recorder.feed(line.as_bytes(), Duration::from_secs(*second), &mut Silent).unwrap();
        }
        let (facts, clock) = recorder.finish(Duration::from_secs(end), false, &mut Silent).unwrap();
        (facts, clock, std::fs::read_to_string(times).unwrap())
    }

    #[test]
    fn phases_are_timed_by_when_their_lines_came() {
        let (log, clock, times) = recorded(
            &[
                (1, "seed:1\n"),
                (5, "step:1/9 train_loss:3.0 train_time:100ms\n"),
                (65, "step:9/9 train_loss:2.0 train_time:20100ms\n"),
                (66, "step:9/9 val_loss:2.0 val_bpb:1.2 train_time:20100ms\n"),
                (70, "Serialized model int8+zlib: 100 bytes\n"),
                (90, "final_int8 val_loss:2.0 "),
                (91, "val_bpb:1.25\n"),
            ],
            95,
        );
        let measured = clock.times(Duration::from_secs(95));
        assert_eq!((measured.start, measured.training, measured.claimed_training), (Some(5.0), Some(61.0), Some(20.0)));
        assert_eq!((measured.evaluation, measured.total), (Some(21.0), 95.0));
        assert_eq!(log.last_final().unwrap().bpb, 1.25);
        assert_eq!(times, "1.000\n5.000\n65.000\n66.000\n70.000\n91.000\n");
        assert_eq!(clock.phase(), (Phase::Evaluating, Duration::from_secs(70)));
    }

    #[test]
    fn a_phase_is_over_its_cap_after_it() {
        let caps = Caps {
            start: Some(Duration::from_secs(10)),
            train: Some(Duration::from_secs(60)),
            eval: Some(Duration::from_secs(20)),
        };
        let over = |clock: &Clock, second| clock.overrun(Duration::from_secs(second), &caps).map(|(phase, _)| phase);
        // Without a mark, a script may be starting or training.
        let (_, nothing, _) = recorded(&[(1, "hello\n")], 1);
        assert_eq!((over(&nothing, 70), over(&nothing, 71)), (None, Some(Phase::Starting)));
        let (_, training, _) = recorded(&[(5, "step:1/9 train_loss:3.0 train_time:1ms\n")], 5);
        assert_eq!((over(&training, 65), over(&training, 66)), (None, Some(Phase::Training)));
        let lines = [(5, "step:1/9 train_loss:3.0 train_time:1ms\n"), (6, "stopping_early: wallclock_cap\n")];
        let (_, after, _) = recorded(&lines, 6);
        assert_eq!((over(&after, 26), over(&after, 27)), (None, Some(Phase::Evaluating)));
        // Training that goes on after an evaluation is training.
        let (_, again, _) = recorded(&[lines[0], lines[1], (9, "step:2/9 train_loss:2.9 train_time:2ms\n")], 9);
        assert_eq!(again.phase().0, Phase::Training);
    }

    #[test]
    fn the_last_line_needs_no_end() {
        let (log, clock, times) = recorded(&[(3, "final val_loss:2.0 val_bpb:1.5")], 4);
        assert_eq!((log.last_final().unwrap().bpb, times.as_str()), (1.5, "4.000\n"));
        assert_eq!(clock.times(Duration::from_secs(4)).training, None);
    }
}
