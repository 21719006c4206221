//! One pass over a log: metrics, sizes, times, seeds, machine, trouble. Memory does not grow with the file.

use super::duration;
use super::file::{LogFile, LoggedTime, Noted, StepTime};
use super::lines::LineCutter;
use super::listing::ListingCutter;
use super::metric::{self, Metric, MetricKind};
use super::pairs::{Pair, pairs};
use super::python_line::is_json;
use super::size;
use crate::digest::ContentHasher;

/// Most entries kept of one kind; later ones replace the last, so that the end of a log is always there.
const MAX_KEPT: usize = 4096;
/// Runs of one log that are told apart: rules look at what each of them says.
pub const MAX_RUNS: usize = 256;
/// Numbers called `params` below this are not those of a whole model.
const FEWEST_PARAMETERS: u64 = 10_000;
/// Longest label kept, bytes.
const MAX_LABEL: usize = 100;

/// Builds a [`LogFile`] from bytes as they are read.
pub struct LogScanner {
    cutter: LineCutter,
    listings: ListingCutter,
    hasher: ContentHasher,
    log: LogFile,
}

impl LogScanner {
    /// A scanner for the log at this relative path.
    pub fn new(path: String) -> Self {
        LogScanner {
            cutter: LineCutter::new(),
            listings: ListingCutter::default(),
            hasher: ContentHasher::new(),
            log: LogFile::empty(path),
        }
    }

    /// What was read so far, up to the last whole line; its digest and encoding come with the end.
    pub fn so_far(&self) -> &LogFile {
        &self.log
    }

    /// The next bytes of the file.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        let (log, listings) = (&mut self.log, &mut self.listings);
        self.cutter.feed(bytes, &mut |number, line| {
            listings.take(number, line, &mut |number, line| log.note(number, line));
        });
    }

    /// The file ended, or reading stopped before its end (`cut_short`).
    pub fn finish(mut self, cut_short: bool) -> LogFile {
        let (log, listings) = (&mut self.log, &mut self.listings);
        log.lines = self.cutter.finish(&mut |number, line| {
            listings.take(number, line, &mut |number, line| log.note(number, line));
        });
        log.listings = self.listings.finish(&mut |number, line| log.note(number, line));
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

fn decimals(text: &str) -> u32 {
    text.split_once('.').map_or(0, |(_, digits)| digits.bytes().take_while(u8::is_ascii_digit).count() as u32)
}

impl LogFile {
    fn note(&mut self, number: u64, line: &str) {
        self.settings_reader.take(number, line, &mut self.settings);
        let line = line.trim();
        if line.is_empty() {
            return;
        }
        self.note_words(number, line);
        if !line.contains([':', '=', '≈']) {
            return;
        }
        let mut list = Vec::new();
        pairs(line, &mut list);
        self.note_metric(number, line, &list);
        self.note_last_step(number, line, &list);
        self.curves.note(number, &list);
        if let Some(time) = step_time(number, &list) {
            keep(&mut self.step_times, time);
        }
        for pair in &list {
            self.note_switch(pair);
            self.note_pair(number, line, pair);
        }
        for size in size::breakdown(number, &list) {
            keep(&mut self.sizes, size);
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
        self.curves.note_event(number, line);
        if line.contains("using validation data for calibration") {
            keep(&mut self.calibration, noted(line));
        }
    }

    fn note_metric(&mut self, number: u64, line: &str, list: &[Pair]) {
        let is_bpb = |pair: &&Pair| pair.name().to_ascii_lowercase().ends_with("bpb") && pair.is_plain_number();
        let is_loss = |pair: &&Pair| metric::is_loss(pair.name()) && pair.is_plain_number();
        let bpbs: Vec<&Pair> = list.iter().filter(is_bpb).collect();
        let losses: Vec<&Pair> = list.iter().filter(is_loss).collect();
        if losses.iter().chain(&bpbs).any(|pair| pair.number.is_some_and(f64::is_nan)) {
            keep(&mut self.nans, Noted { line: number, value: short(line) });
        }
        if bpbs.is_empty() {
            return;
        }
        let lower = line.to_ascii_lowercase();
        let is_step = metric::is_step(&lower, is_json(line), list);
        for pair in bpbs {
            let key = pair.key.to_ascii_lowercase();
            let Some(value) = pair.number else { continue };
            let Some(kind) = metric::kind(&lower, is_step, &key) else { continue };
            let label = if kind == MetricKind::Final { short(line_label(line, list)) } else { String::new() };
            // A part of the text has its own bytes per token: what they are says nothing about the whole.
            let is_of_part = list.iter().any(|pair| pair.name() == "scored_tokens");
            let loss = metric::loss_beside(pair, &losses).filter(|_| !is_of_part);
            let metric = Metric { line: number, kind, label, bpb: value, decimals: decimals(pair.value), loss };
            if kind == MetricKind::Final {
                self.clock.has_result();
            }
            keep(&mut self.metrics, metric);
        }
    }

    fn note_last_step(&mut self, number: u64, line: &str, list: &[Pair]) {
        let of_training = |pair: &Pair| matches!(pair.name(), "train_loss" | "tl" | "train_time" | "tt");
        let is_end = |word: &str| line.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
        if list.iter().any(of_training) && !is_end("final") && !is_end("stopping") {
            let step = list.iter().find(|pair| matches!(pair.name(), "step" | "s")).and_then(Pair::count);
            self.last_step = Some(Noted { line: number, value: step });
        }
    }

    /// `ttt_enabled: True`, `TTT_ENABLED=0`: names of two words and more, whatever they switch.
    fn note_switch(&mut self, pair: &Pair) {
        let name = pair.name();
        let on = match pair.value.trim_end_matches([',', '}', ')']) {
            "True" | "true" => true,
            "False" | "false" => false,
            _ => match pair.count() {
                Some(number) => number > 0,
                None => return,
            },
        };
        let is_name = name.contains('_') && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if is_name && (self.switches.len() < MAX_KEPT || self.switches.contains_key(&name.to_ascii_lowercase())) {
            *self.switches.entry(name.to_ascii_lowercase()).or_insert(false) |= on;
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
                    self.note_setup(number, Some(seed));
                    keep(&mut self.seeds, Noted { line: number, value: seed });
                }
            }
            "world_size" => {
                if let Some(value) = pair.count() {
                    self.note_setup(number, None);
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
            "step" => self.note_step(number, pair),
            "model_params" | "total_params" | "num_params" | "n_params" => {
                if let Some(value) = pair.count().filter(|value| *value >= FEWEST_PARAMETERS) {
                    keep(&mut self.parameters, Noted { line: number, value });
                }
            }
            "train_loss" | "tl" => self.trains = true,
            "tt" => self.note_train_time(number, duration::seconds(pair)),
            "artifact_production_wallclock" => {
                if let Some(value) = duration::seconds(pair) {
                    self.production_seconds = Some(Noted { line: number, value });
                }
            }
            _ => {}
        }
        if duration::is_training(name) {
            self.note_train_time(number, duration::seconds(pair));
        }
        self.note_eval_time(number, line, pair, name);
        if let Some(size) = size::logged(number, pair, &self.sizes) {
            keep(&mut self.sizes, size);
        }
    }

    fn start_run(&mut self, line: u64) {
        if self.run_starts.len() < MAX_RUNS {
            self.run_starts.push(line);
        }
    }

    /// A step of training. One that goes back behind a result starts another run.
    fn note_step(&mut self, line: u64, pair: &Pair) {
        if let Some(step) = pair.count()
            && let Some(start) = self.clock.step(step, line)
        {
            self.start_run(start);
        }
    }

    /// A fact that runs state before they start.
    fn note_setup(&mut self, line: u64, seed: Option<u64>) {
        if let Some(start) = self.clock.setup(line, seed) {
            self.start_run(start);
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
        let named = duration::is_evaluation(name);
        if !named && !matches!(name, "time" | "elapsed" | "t") {
            return;
        }
        let Some(seconds) = duration::seconds(pair) else { return };
        // `time`, `elapsed` and `t` time anything; only at the end of an evaluation do they time it.
        let of_evaluation = named
            || line.contains(":done")
            || (line.contains("bpb") && !line.contains("chunk") && !line.contains('[') && !line.contains("step"));
        if of_evaluation {
            let label = short(line_label(line, &[]));
            keep(
                &mut self.eval_times,
                LoggedTime { line: number, seconds, label, is_total: name.starts_with("total_") },
            );
        }
    }
}

/// `step:200/20000 train_loss:2.4611 train_time:17211ms step_avg:86.05ms`.
fn step_time(line: u64, list: &[Pair]) -> Option<StepTime> {
    let of = |name: &str| list.iter().find(|pair| pair.name() == name);
    let ms = |name: &str| of(name).and_then(duration::seconds).map(|seconds| seconds * 1000.0);
    let step = of("step")?.count()? as f64;
    Some(StepTime { line, step, train_ms: ms("train_time")?, average_ms: ms("step_avg")? })
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
