//! One pass over a log: metrics, sizes, times, seeds, machine, trouble. Memory does not grow with the file.

use super::file::{LogFile, LoggedTime, Noted};
use super::lines::LineCutter;
use super::metric::{self, Metric, MetricKind};
use super::pairs::{Pair, pairs};
use super::size;
use crate::digest::ContentHasher;

/// Most entries kept of one kind; later ones replace the last, so that the end of a log is always there.
const MAX_KEPT: usize = 4096;
/// Longest label kept, bytes.
const MAX_LABEL: usize = 100;

/// Builds a [`LogFile`] from bytes as they are read.
pub struct LogScanner {
    cutter: LineCutter,
    hasher: ContentHasher,
    log: LogFile,
}

impl LogScanner {
    /// A scanner for the log at this relative path.
    pub fn new(path: String) -> Self {
        LogScanner { cutter: LineCutter::new(), hasher: ContentHasher::new(), log: LogFile::empty(path) }
    }

    /// The next bytes of the file.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        let log = &mut self.log;
        self.cutter.feed(bytes, &mut |number, line| log.note(number, line));
    }

    /// The file ended, or reading stopped before its end (`cut_short`).
    pub fn finish(mut self, cut_short: bool) -> LogFile {
        let log = &mut self.log;
        log.lines = self.cutter.finish(&mut |number, line| log.note(number, line));
        log.encoding = self.cutter.encoding();
        log.overlong = self.cutter.overlong;
        log.cut_short = cut_short;
        log.digest = self.hasher.finish();
        self.log
    }
}

fn keep<T>(list: &mut Vec<T>, item: T) {
    if list.len() >= MAX_KEPT {
        list.pop();
    }
    list.push(item);
}

fn short(text: &str) -> String {
    let mut end = text.len().min(MAX_LABEL);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_string()
}

/// Seconds, from a value with a unit as logs print it.
fn seconds(pair: &Pair) -> Option<f64> {
    let value = pair.number.filter(|value| value.is_finite() && *value >= 0.0)?;
    match pair.unit {
        "ms" => Some(value / 1000.0),
        "s" | "seconds" => Some(value),
        "minutes" => Some(value * 60.0),
        _ => None,
    }
}

fn decimals(text: &str) -> u32 {
    text.split_once('.').map_or(0, |(_, digits)| digits.bytes().take_while(u8::is_ascii_digit).count() as u32)
}

impl LogFile {
    fn note(&mut self, number: u64, line: &str) {
        let line = line.trim();
        if line.is_empty() {
            return;
        }
        self.note_words(number, line);
        if !line.bytes().any(|byte| matches!(byte, b':' | b'=')) {
            return;
        }
        let mut list = Vec::new();
        pairs(line, &mut list);
        self.note_metric(number, line, &list);
        for pair in &list {
            self.note_pair(number, line, pair);
        }
    }

    fn note_words(&mut self, number: u64, line: &str) {
        let noted = |text: &str| Noted { line: number, value: short(text) };
        if line.starts_with("Traceback (most recent call last)")
            || line.contains("Traceback (most recent call last)")
            || line.contains("CUDA out of memory")
            || line.contains("OutOfMemoryError")
        {
            keep(&mut self.errors, noted(line));
        }
        if let Some(device) = device(line)
            && self.devices.len() < 64
            && !self.devices.iter().any(|known| known.value == device)
        {
            self.devices.push(Noted { line: number, value: device });
        }
        let lower_starts = line.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("stopping"));
        if lower_starts || line.starts_with("stop tt:") {
            self.stop = Some(noted(line));
        }
        if line.contains("using validation data for calibration") {
            keep(&mut self.calibration, noted(line));
        }
    }

    fn note_metric(&mut self, number: u64, line: &str, list: &[Pair]) {
        let is_bpb = |pair: &&Pair| {
            let name = pair.name();
            name.len() >= 3
                && name.is_char_boundary(name.len() - 3)
                && name[name.len() - 3..].eq_ignore_ascii_case("bpb")
        };
        let is_loss = |pair: &&Pair| {
            let name = pair.name();
            matches!(name, "val_loss" | "vl" | "Loss" | "validation_loss" | "diffusion_pll_loss")
        };
        let bpbs: Vec<&Pair> = list.iter().filter(is_bpb).filter(|pair| pair.number.is_some()).collect();
        let loss = list.iter().filter(is_loss).filter_map(|pair| pair.number).next_back();
        if loss.is_some_and(f64::is_nan) || bpbs.iter().any(|pair| pair.number.is_some_and(f64::is_nan)) {
            keep(&mut self.nans, Noted { line: number, value: short(line) });
        }
        if bpbs.is_empty() {
            return;
        }
        let lower = line.to_ascii_lowercase();
        let is_step = list.iter().any(|pair| {
            (matches!(pair.name(), "step" | "s" | "step_avg" | "train_time") && !lower.starts_with("final"))
                || pair.key.contains('/')
                    && pair.name() == "val_loss"
                    && pair.key.starts_with(|c: char| c.is_ascii_digit())
        });
        for pair in bpbs {
            let key = pair.key.to_ascii_lowercase();
            let Some(value) = pair.number else { continue };
            let Some(kind) = metric::kind(&lower, is_step, &key) else { continue };
            let label = if kind == MetricKind::Final { short(line_label(line, list)) } else { String::new() };
            let metric = Metric { line: number, kind, label, bpb: value, decimals: decimals(pair.value), loss };
            keep(&mut self.metrics, metric);
        }
    }

    fn note_pair(&mut self, number: u64, line: &str, pair: &Pair) {
        let name = pair.name();
        match name {
            "seed" | "Seed" | "SEED" => {
                if let Some(seed) = pair.count()
                    && !matches!(pair.label(), "spinquant:baked" | "rank_sweep")
                    && !line.starts_with("spinquant")
                {
                    keep(&mut self.seeds, Noted { line: number, value: seed });
                }
            }
            "world_size" => {
                if let Some(value) = pair.count() {
                    self.world_size.get_or_insert(Noted { line: number, value });
                }
            }
            "val_tokens" => {
                if let Some(value) = pair.count() {
                    keep(&mut self.val_tokens, Noted { line: number, value });
                }
            }
            "tokens" if line.contains("val_loader") || line.to_ascii_lowercase().contains("val tokens:") => {
                if let Some(value) = pair.count() {
                    keep(&mut self.val_tokens, Noted { line: number, value });
                }
            }
            "train_shards" => {
                if let Some(value) = pair.count() {
                    self.train_shards.get_or_insert(Noted { line: number, value });
                }
            }
            "tokenizer_path" | "sp" if pair.number.is_none() && pair.value.contains('.') => {
                self.tokenizer.get_or_insert(Noted { line: number, value: short(pair.value) });
            }
            "train_loss" | "tl" => self.trains = true,
            "train_time" | "tt" => self.note_train_time(number, seconds(pair)),
            "artifact_production_wallclock" => {
                if let Some(value) = seconds(pair) {
                    self.production_seconds = Some(Noted { line: number, value });
                }
            }
            _ => {}
        }
        self.note_eval_time(number, line, pair, name);
        if let Some(size) = size::logged(number, pair, &self.sizes) {
            keep(&mut self.sizes, size);
        }
    }

    fn note_train_time(&mut self, line: u64, seconds: Option<f64>) {
        if let Some(value) = seconds
            && self.train_seconds.as_ref().is_none_or(|known| value >= known.value)
        {
            self.train_seconds = Some(Noted { line, value });
        }
    }

    fn note_eval_time(&mut self, number: u64, line: &str, pair: &Pair, name: &str) {
        let is_total = name == "total_eval_time";
        let timed = matches!(name, "eval_time" | "time" | "elapsed" | "t") || is_total;
        if !timed {
            return;
        }
        let Some(seconds) = seconds(pair) else { return };
        // `time`, `elapsed` and `t` time anything; only at the end of an evaluation do they time it.
        let of_evaluation = is_total
            || name == "eval_time"
            || line.contains(":done")
            || (line.contains("bpb") && !line.contains("chunk") && !line.contains('[') && !line.contains("step"));
        if of_evaluation {
            let label = short(line_label(line, &[]));
            keep(&mut self.eval_times, LoggedTime { line: number, seconds, label, is_total });
        }
    }
}

/// The words a line starts with, before its first value.
fn line_label<'a>(line: &'a str, list: &[Pair<'a>]) -> &'a str {
    match list.first() {
        Some(first) if !first.label().is_empty() => first.label(),
        Some(first) => first.key,
        None => line.split([':', '=']).next().unwrap_or_default(),
    }
}

/// `NVIDIA H100 80GB HBM3` out of a line of `nvidia-smi` or the like.
fn device(line: &str) -> Option<String> {
    let at = line.find("NVIDIA ")?;
    let rest = &line[at + "NVIDIA ".len()..];
    if rest.starts_with("Corporation") || line.contains("NVIDIA-SMI") {
        return None;
    }
    let words: Vec<&str> =
        rest.split_whitespace().take_while(|word| !matches!(*word, "On" | "Off" | "|" | "WDDM")).take(4).collect();
    let name = words.join(" ");
    name.chars().any(|c| c.is_ascii_digit()).then(|| short(&name))
}

#[cfg(test)]
mod tests;
