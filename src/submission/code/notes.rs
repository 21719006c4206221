//! Places in a script that only a person, or a rerun, can judge.
//!
//! Nothing here is a verdict: the same names are used by lawful and unlawful code, and pattern-matching reviewers of
//! the challenge had to retract findings in public (PR #1147, #1159). Each note points at a line and says what to ask.

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{ExceptHandler, Expr, ExprBinOp, ExprCall, Operator, Stmt, StmtTry};
use ruff_text_size::{Ranged, TextSize};
use serde::Serialize;

use super::Python;
use super::names::{dotted, first_word, top, words};

/// What a place is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteKind {
    /// A cache or mixture of n-grams: normalized over the vocabulary before the target is seen?
    NgramCache,
    /// Per-sample optimization at evaluation: on positions that are then scored?
    Slot,
    /// A function that sees validation tokens updates weights, and nothing is scored before the update.
    TrainsBeforeScoring,
    /// The same, with scoring first: the accepted order.
    TrainsAfterScoring,
    /// Calibration or quantization that mentions validation data.
    ValidationInCalibration,
    /// A module or call that reaches the network.
    Network,
    /// Another program is started.
    ExternalProgram,
    /// zstandard missing means another compressor, without an error.
    SilentCompressorFallback,
}

/// A note on a line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Note {
    /// 1-based line.
    pub line: u64,
    /// What it is about.
    pub kind: NoteKind,
    /// The line's text.
    pub text: String,
}

/// All notes of a file, by line. One a line and kind.
pub fn of(python: &Python) -> Vec<Note> {
    let mut reader = Reader { python, notes: Vec::new(), frames: vec![Frame::default()] };
    visitor::walk_body(&mut reader, &python.module().body);
    let mut notes = reader.notes;
    notes.sort();
    notes.dedup_by(|a, b| (a.line, a.kind) == (b.line, b.kind));
    notes
}

/// What one function does, as far as the order of its lines tells.
#[derive(Default)]
struct Frame {
    name: String,
    first_update: Option<TextSize>,
    first_score: Option<TextSize>,
    first_validation: Option<TextSize>,
}

struct Reader<'a> {
    python: &'a Python,
    notes: Vec<Note>,
    frames: Vec<Frame>,
}

/// Modules that talk to other machines.
const NETWORK_MODULES: [&str; 12] = [
    "aiohttp",
    "boto3",
    "ftplib",
    "gdown",
    "httpx",
    "huggingface_hub",
    "paramiko",
    "requests",
    "socket",
    "urllib3",
    "wandb",
    "wget",
];
/// Calls that fetch something, whatever they hang on.
const NETWORK_CALLS: [&str; 6] =
    ["hf_hub_download", "snapshot_download", "load_dataset", "urlopen", "urlretrieve", "download_url_to_file"];
/// Calls that start a program.
const PROGRAM_CALLS: [&str; 10] = [
    "subprocess.run",
    "subprocess.Popen",
    "subprocess.call",
    "subprocess.check_call",
    "subprocess.check_output",
    "subprocess.getoutput",
    "os.system",
    "os.popen",
    "os.execvp",
    "os.spawnvp",
];
/// Programs the challenge's own script starts, to describe the machine in the log.
const HARMLESS_PROGRAMS: [&str; 5] = ["nvidia-smi", "nvcc", "git", "uname", "lscpu"];

impl Reader<'_> {
    fn note(&mut self, kind: NoteKind, at: TextSize) {
        let (line, text) = (self.python.line(at), self.python.line_text(at).to_string());
        self.notes.push(Note { line, kind, text });
    }

    fn frame(&mut self) -> Option<&mut Frame> {
        self.frames.last_mut()
    }

    fn mention(&mut self, name: &str, at: TextSize) {
        let name = name.to_ascii_lowercase();
        let validation = ["val_token", "val_data", "val_loader", "val_file", "val_seq", "fineweb_val", "val_shard"];
        if validation.iter().any(|part| name.contains(part))
            && let Some(frame) = self.frame()
        {
            frame.first_validation.get_or_insert(at);
        }
    }

    fn names_something(&mut self, name: &str, at: TextSize) {
        let words = words(name);
        let has = |word: &str| words.iter().any(|w| w == word);
        let ngram = words.iter().any(|w| w.starts_with("ngram")) || has("gram") && (has("n") || has("phrase"));
        let cached =
            ["cache", "table", "tables", "hash", "mix", "mixer", "tilt", "backoff", "eval", "order", "oracle", "model"];
        if ngram && cached.iter().any(|word| has(word)) {
            self.note(NoteKind::NgramCache, at);
        }
        if has("slot") || has("slots") && has("eval") {
            self.note(NoteKind::Slot, at);
        }
    }

    fn leave(&mut self, frame: Frame) {
        let words = words(&frame.name);
        let has = |word: &str| words.iter().any(|w| w == word);
        let calibrates =
            ["calib", "calibration", "calibrate", "gptq", "hessian", "hessians", "awq", "quantize", "collect"]
                .iter()
                .any(|word| has(word));
        let Some(validation) = frame.first_validation else { return };
        if calibrates && !has("eval") {
            self.note(NoteKind::ValidationInCalibration, validation);
        }
        // A training loop holds both; it is not where test-time training hides.
        if has("main") || has("train") && !has("ttt") && !has("test") || frame.name.is_empty() {
            return;
        }
        if let Some(update) = frame.first_update {
            let scored_first = frame.first_score.is_some_and(|score| score < update);
            let kind = if scored_first { NoteKind::TrainsAfterScoring } else { NoteKind::TrainsBeforeScoring };
            self.note(kind, update);
        }
    }

    fn call(&mut self, call: &ExprCall) {
        let at = call.func.start();
        let dotted = dotted(&call.func);
        let (object, method) = dotted.rsplit_once('.').unwrap_or(("", dotted.as_str()));
        let steps = ["opt", "sgd", "adam", "muon", "scaler"].iter().any(|part| object.to_lowercase().contains(part));
        if (method == "backward" || method == "step" && steps || dotted.ends_with("autograd.grad"))
            && let Some(frame) = self.frame()
        {
            frame.first_update.get_or_insert(at);
        }
        if NETWORK_CALLS.contains(&method) || dotted.starts_with("urllib.request.") {
            self.note(NoteKind::Network, at);
        }
        if PROGRAM_CALLS.contains(&dotted.as_str()) {
            let program = call.arguments.args.first().and_then(first_word);
            if !program.is_some_and(|program| HARMLESS_PROGRAMS.contains(&program.as_str())) {
                self.note(NoteKind::ExternalProgram, at);
            }
        }
    }

    /// `try: import zstandard ... except ImportError:` with a handler that does not raise, in a file that never raises
    /// for want of it either.
    fn compressor_fallback(&mut self, attempt: &StmtTry) {
        let imported = attempt.body.iter().find(|stmt| match stmt {
            Stmt::Import(import) => import.names.iter().any(|alias| is_zstd(alias.name.as_str())),
            Stmt::ImportFrom(import) => import.module.as_ref().is_some_and(|module| is_zstd(module.as_str())),
            _ => false,
        });
        let Some(imported) = imported else { return };
        let raises = attempt.handlers.iter().any(|ExceptHandler::ExceptHandler(handler)| {
            handler.body.iter().any(|stmt| matches!(stmt, Stmt::Raise(_)))
        });
        let checked_later = self.python.text().lines().any(|line| {
            let line = line.to_ascii_lowercase();
            (line.contains("raise ") || line.contains("assert ")) && line.contains("zstd")
                || line.contains("require_zstd")
        });
        let falls_back = self.python.text().contains("zlib") || self.python.text().contains("lzma");
        if !raises && !checked_later && falls_back {
            self.note(NoteKind::SilentCompressorFallback, imported.start());
        }
    }
}

impl<'a> Visitor<'a> for Reader<'_> {
    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        match stmt {
            Stmt::FunctionDef(function) => {
                self.names_something(function.name.as_str(), function.name.start());
                self.frames.push(Frame { name: function.name.to_string(), ..Frame::default() });
                visitor::walk_stmt(self, stmt);
                if let Some(frame) = self.frames.pop() {
                    self.leave(frame);
                }
                return;
            }
            Stmt::ClassDef(class) => self.names_something(class.name.as_str(), class.name.start()),
            Stmt::Import(import) => {
                let network = |name: &str| NETWORK_MODULES.contains(&top(name)) || name == "urllib.request";
                if import.names.iter().any(|alias| network(alias.name.as_str())) {
                    self.note(NoteKind::Network, import.start());
                }
            }
            Stmt::ImportFrom(import) => {
                let module = import.module.as_ref().map_or("", |module| module.as_str());
                if NETWORK_MODULES.contains(&top(module)) || module == "urllib.request" {
                    self.note(NoteKind::Network, import.start());
                }
            }
            Stmt::AugAssign(assign) => {
                let target = dotted(&assign.target).to_ascii_lowercase();
                let scores = ["loss", "nll", "bits", "score", "byte_count", "bytes_total"];
                if scores.iter().any(|part| target.contains(part))
                    && let Some(frame) = self.frame()
                {
                    frame.first_score.get_or_insert(assign.start());
                }
            }
            Stmt::Try(attempt) => self.compressor_fallback(attempt),
            _ => {}
        }
        visitor::walk_stmt(self, stmt);
    }

    fn visit_parameter(&mut self, parameter: &'a ruff_python_ast::Parameter) {
        self.mention(parameter.name.as_str(), parameter.start());
        visitor::walk_parameter(self, parameter);
    }

    fn visit_expr(&mut self, expr: &'a Expr) {
        match expr {
            Expr::Name(name) => self.mention(name.id.as_str(), name.start()),
            Expr::Attribute(attribute) => self.mention(attribute.attr.as_str(), attribute.start()),
            Expr::StringLiteral(literal) => {
                let text = literal.value.to_str();
                self.mention(text, literal.start());
                // Names of environment variables: `SLOT_STEPS`, `NGRAM_CACHE`.
                if text.len() < 64 && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_') {
                    self.names_something(text, literal.start());
                }
            }
            Expr::Call(call) => self.call(call),
            // `(ctx_hash ^ (target * prime))`: the looked-up key contains the token to be predicted.
            Expr::BinOp(ExprBinOp { left, op: Operator::BitXor, right, .. })
                if [left, right].iter().any(|side| multiplies_target(side)) =>
            {
                self.note(NoteKind::NgramCache, expr.start());
            }
            _ => {}
        }
        visitor::walk_expr(self, expr);
    }
}

fn multiplies_target(expr: &Expr) -> bool {
    let Expr::BinOp(ExprBinOp { left, op: Operator::Mult, right, .. }) = expr else { return false };
    [left, right].iter().any(|side| {
        let name = dotted(side).to_ascii_lowercase();
        ["tgt", "target", "next_tok"].iter().any(|part| name.contains(part))
    })
}

fn is_zstd(module: &str) -> bool {
    matches!(top(module), "zstandard" | "zstd" | "pyzstd")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(text: &str) -> Vec<(NoteKind, u64)> {
        of(&Python::parse(text).unwrap()).into_iter().map(|note| (note.kind, note.line)).collect()
    }

    #[test]
    fn training_before_scoring_is_told_from_training_after() {
        let before = "def eval_ttt(model, val_tokens):\n    for e in range(3):\n        loss = model(val_tokens)\n        \
                      loss.backward()\n        optimizer.step()\n    loss_sum += loss.item()\n";
        assert_eq!(notes(before), [(NoteKind::TrainsBeforeScoring, 4)]);
        let after = "def eval_ttt(model, val_tokens):\n    for chunk in val_tokens:\n        loss_sum += \
                     model(chunk)\n        loss.backward()\n";
        assert_eq!(notes(after), [(NoteKind::TrainsAfterScoring, 4)]);
        // The training loop itself holds validation tokens too.
        assert_eq!(notes("def main():\n    val_tokens = load()\n    loss.backward()\n    optimizer.step()\n"), []);
    }

    #[test]
    fn the_target_in_a_lookup_key_is_shown() {
        let text = "def score(ctx_hash, tgt):\n    key = (ctx_hash ^ (tgt * 1315423911)) % M\n";
        assert_eq!(notes(text), [(NoteKind::NgramCache, 2)]);
        assert_eq!(notes("class NgramBackoffCache:\n    pass\n"), [(NoteKind::NgramCache, 1)]);
        // A hash embedding of the last two tokens is part of most models.
        assert_eq!(
            notes("class BigramHashEmbedding:\n    def f(s, a, b):\n        return (36313 * a) ^ (27191 * b)\n"),
            []
        );
    }

    #[test]
    fn calibration_on_validation_data() {
        let text = "def collect_hessians(model, val_tokens):\n    pass\ndef collect(train_tokens):\n    pass\n";
        assert_eq!(notes(text), [(NoteKind::ValidationInCalibration, 1)]);
    }

    #[test]
    fn programs_and_network() {
        let text = "import subprocess, urllib.request\nsubprocess.run(['nvidia-smi'])\nsubprocess.run(['lrzip', \
                    '-z'])\nos.system('apt-get install lrzip')\nfrom huggingface_hub import hf_hub_download\n";
        assert_eq!(
            notes(text),
            [
                (NoteKind::Network, 1),
                (NoteKind::ExternalProgram, 3),
                (NoteKind::ExternalProgram, 4),
                (NoteKind::Network, 5)
            ]
        );
    }

    #[test]
    fn a_missing_zstandard_must_be_an_error() {
        let silent = "import zlib\ntry:\n    import zstandard\n    C = 'zstd'\nexcept ImportError:\n    C = 'zlib'\n";
        assert_eq!(notes(silent), [(NoteKind::SilentCompressorFallback, 3)]);
        let checked = format!("{silent}if C != 'zstd' and REQUIRE_ZSTD:\n    raise RuntimeError('install it')\n");
        assert_eq!(notes(&checked), []);
        let loud =
            "import zlib\ntry:\n    import zstandard\nexcept ImportError as e:\n    raise RuntimeError('x') from e\n";
        assert_eq!(notes(loud), []);
    }

    #[test]
    fn slot_by_name_of_function_or_variable() {
        assert_eq!(notes("N = int(os.environ.get('SLOT_STEPS', 8))\n"), [(NoteKind::Slot, 1)]);
        assert_eq!(notes("def eval_slot(x):\n    pass\n__slots__ = ()\n"), [(NoteKind::Slot, 1)]);
    }
}
