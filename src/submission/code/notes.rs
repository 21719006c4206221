//! Places in a script that only a person, or a rerun, can judge.
//!
//! Nothing here is a verdict: the same names are used by lawful and unlawful code, and pattern-matching reviewers of
//! the challenge had to retract findings in public (PR #1147, #1159). Each note points at a line and says what to ask.

mod fallback;

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{Expr, ExprBinOp, ExprCall, Operator, Stmt};
use ruff_text_size::{Ranged, TextSize};
use serde::Serialize;

use super::Python;
use super::aliases::Aliases;
use super::byte_table;
use super::names::{dotted, multiplies_target, top, words};
use super::order::{self, Order, is_validation};
use super::settings::Settings;
use super::{hidden, lookup, practices, programs};

/// What a place is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteKind {
    /// A cache or mixture of n-grams: normalized over the vocabulary before the target is seen?
    NgramCache,
    /// Per-sample optimization at evaluation: on positions that are then scored?
    Slot,
    /// Validation text is trained on before it is scored.
    TrainsBeforeScoring,
    /// Several passes over validation text train, and the score of a later one is kept.
    LaterPassScored,
    /// Validation text is scored, then trained on: the accepted order.
    TrainsAfterScoring,
    /// A PPM model or a cache is mixed into the probabilities that are scored.
    CacheMixing,
    /// Validation tokens are written into what is shipped.
    PaidPrefix,
    /// Calibration or quantization that mentions validation data.
    ValidationInCalibration,
    /// The last targets are scored in several windows.
    TailScoredTwice,
    /// Averaged weights are collected and nothing uses them.
    AverageNeverApplied,
    /// A flag of quantization-aware training is never switched on.
    QuantizationNeverOn,
    /// The script runs another file.
    RunsAnotherFile,
    /// The script executes code that it does not show: the text says where it comes from.
    HiddenCode,
    /// Work is handed out by a lock on a file: which process gets what depends on timing.
    WorkByLock,
    /// A seed is made from the names of files.
    SeedFromPaths,
    /// The table of bytes per token is wrong: the text says how.
    ByteTable,
    /// A module or call that reaches the network.
    Network,
    /// Reports to a service, or data is fetched before training: no evaluation needs it.
    NetworkElsewhere,
    /// Another program is started, or a compiled library is loaded.
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
    /// Other lines that belong to it, with their text, in order.
    pub others: Vec<(u64, String)>,
    /// The setting that is off by default, and without which this does not run.
    pub switch: Option<String>,
    /// What is wrong there, where the kind alone does not say it.
    pub detail: &'static str,
    /// In a packed script: in what unpacks it, not in the code inside.
    pub outer: bool,
}

/// All notes of a file, by line. One a line, kind and detail.
pub fn of(python: &Python) -> Vec<Note> {
    let settings = Settings::of(python);
    let mut reader = Reader {
        python,
        settings: &settings,
        notes: Vec::new(),
        frames: vec![Frame::default()],
        network_imports: Vec::new(),
    };
    reader.adaptations();
    for (kind, at, others) in practices::of(python) {
        reader.note_with(kind, at, &others, None);
    }
    for (at, measured, detail) in byte_table::of(python) {
        reader.detailed(NoteKind::ByteTable, at, &[measured], detail);
    }
    reader.elsewhere();
    visitor::walk_body(&mut reader, &python.module().body);
    // Where a call says what is fetched, its import says nothing more.
    if !reader.notes.iter().any(|note| matches!(note.kind, NoteKind::Network | NoteKind::NetworkElsewhere)) {
        for at in std::mem::take(&mut reader.network_imports) {
            reader.note(NoteKind::Network, at);
        }
    }
    let mut notes = reader.notes;
    notes.sort();
    notes.dedup_by(|a, b| (a.line, a.kind, a.detail) == (b.line, b.kind, b.detail));
    notes
}

/// One function, while it is read.
#[derive(Default)]
struct Frame {
    name: String,
    first_validation: Option<TextSize>,
    /// Its name says SLOT and nothing is known of its order: where it starts.
    slot: Option<TextSize>,
    steps: bool,
}

struct Reader<'a> {
    python: &'a Python,
    settings: &'a Settings,
    notes: Vec<Note>,
    frames: Vec<Frame>,
    network_imports: Vec<TextSize>,
}

/// Modules that talk to other machines.
const NETWORK_MODULES: [&str; 10] =
    ["aiohttp", "boto3", "ftplib", "gdown", "httpx", "huggingface_hub", "paramiko", "requests", "urllib3", "wget"];
/// Calls that fetch something, whatever they hang on.
const NETWORK_CALLS: [&str; 7] = [
    "hf_hub_download",
    "snapshot_download",
    "load_dataset",
    "urlopen",
    "urlretrieve",
    "download_url_to_file",
    "load_state_dict_from_url",
];

impl Reader<'_> {
    fn note(&mut self, kind: NoteKind, at: TextSize) {
        self.note_with(kind, at, &[], None);
    }

    fn note_with(&mut self, kind: NoteKind, at: TextSize, others: &[TextSize], switch: Option<String>) {
        let of = |at: TextSize| (self.python.line(at), self.python.line_text(at).to_string());
        let (line, text) = of(at);
        let others = others.iter().map(|at| of(*at)).filter(|(other, _)| *other != line).collect();
        self.notes.push(Note { line, kind, text, others, switch, detail: "", outer: false });
    }

    fn detailed(&mut self, kind: NoteKind, at: TextSize, others: &[TextSize], detail: &'static str) {
        self.note_with(kind, at, others, None);
        if let Some(note) = self.notes.last_mut() {
            note.detail = detail;
        }
    }

    /// What is found by readers of their own.
    fn elsewhere(&mut self) {
        let aliases = Aliases::of(self.python);
        for (kind, at, detail) in hidden::of(self.python, &aliases) {
            self.detailed(kind, at, &[], detail);
        }
        for at in programs::of(self.python, &aliases) {
            self.note(NoteKind::ExternalProgram, at);
        }
        for found in lookup::of(self.python, self.settings) {
            let switch = found.switch.or_else(|| self.switch("ngram"));
            self.note_with(NoteKind::NgramCache, found.at, &[found.asked], switch);
        }
    }

    fn adaptations(&mut self) {
        for found in order::of(self.python, self.settings) {
            let kinds: &[NoteKind] = match (found.order, found.of_offset) {
                (Order::TrainsFirst | Order::SeveralPasses, true) => &[NoteKind::Slot],
                (Order::TrainsFirst, false) => &[NoteKind::TrainsBeforeScoring],
                (Order::SeveralPasses, false) => &[NoteKind::TrainsBeforeScoring, NoteKind::LaterPassScored],
                (Order::ScoresFirst, _) => &[NoteKind::TrainsAfterScoring],
            };
            for kind in kinds {
                self.note_with(*kind, found.at, &found.places, found.switch.clone());
            }
        }
    }

    fn mention(&mut self, name: &str, at: TextSize) {
        let validation = is_validation(name) || name.contains("fineweb_val");
        if validation && let Some(frame) = self.frames.last_mut() {
            frame.first_validation.get_or_insert(at);
        }
    }

    /// The setting that switches something of this name off, where all settings of that name are off.
    fn switch(&self, part: &str) -> Option<String> {
        self.settings.all_off(|words| words.iter().any(|word| word.starts_with(part)))
    }

    /// A function or class whose name says that it caches or mixes.
    fn defines(&mut self, name: &str, at: TextSize) {
        let words = words(name);
        let has = |word: &str| words.iter().any(|w| w == word);
        // An embedding of hashed n-grams is a part of the model.
        if words.iter().any(|w| w.starts_with("emb")) || has("kv") || has("compile") {
            return;
        }
        let any = |list: &[&str]| list.iter().any(|word| has(word));
        let ngram = words.iter().any(|w| w.starts_with("ngram")) || has("gram") && (has("n") || has("phrase"));
        let uses = ["cache", "mix", "mixer", "mixing", "tilt", "backoff", "eval", "oracle", "expert", "prob", "probs"];
        if ngram && (any(&uses) || any(&["score", "scorer", "interpolate", "lookup"])) {
            let switch = self.switch("ngram");
            self.note_with(NoteKind::NgramCache, at, &[], switch);
        } else if any(&["ppm", "ppmd"]) {
            let switch = self.switch("ppm");
            self.note_with(NoteKind::CacheMixing, at, &[], switch);
        } else if has("cache")
            && any(&["mix", "mixer", "mixing", "mixture", "blend", "interpolate", "neural", "pointer"])
            || has("knn") && has("lm")
        {
            let switch = self.switch("cache");
            self.note_with(NoteKind::CacheMixing, at, &[], switch);
        }
        if has("paid") && has("prefix") {
            self.note(NoteKind::PaidPrefix, at);
        }
    }

    fn leave(&mut self, frame: Frame) {
        let words = words(&frame.name);
        let has = |word: &str| words.iter().any(|w| w == word);
        if let Some(at) = frame.slot
            && frame.steps
            && !self.notes.iter().any(|note| matches!(note.kind, NoteKind::Slot | NoteKind::TrainsAfterScoring))
        {
            let switch = self.switch("slot");
            self.note_with(NoteKind::Slot, at, &[], switch);
        }
        let calibrates =
            ["calib", "calibration", "calibrate", "gptq", "hessian", "hessians", "awq", "quantize", "collect"]
                .iter()
                .any(|word| has(word));
        let Some(validation) = frame.first_validation else { return };
        if calibrates && !has("eval") {
            self.note(NoteKind::ValidationInCalibration, validation);
        }
    }

    /// Whether the function being read, or the one around it, prepares data rather than evaluates.
    fn prepares_data(&self) -> bool {
        self.frames.iter().any(|frame| {
            let parts = ["download", "prepare", "fetch", "dataset", "ensure"];
            words(&frame.name).iter().any(|word| parts.contains(&word.as_str()))
        })
    }

    fn call(&mut self, call: &ExprCall) {
        let at = call.func.start();
        let dotted = dotted(&call.func);
        let method = dotted.rsplit_once('.').map_or(dotted.as_str(), |(_, method)| method);
        if matches!(method, "backward" | "step" | "grad")
            && let Some(frame) = self.frames.last_mut()
        {
            frame.steps = true;
        }
        self.ships_validation(call, &dotted);
        let fetches = [
            "requests.get",
            "requests.post",
            "httpx.get",
            "socket.create_connection",
            "boto3.client",
            "torch.hub.load",
        ];
        if NETWORK_CALLS.contains(&method)
            || dotted.starts_with("urllib.request.")
            || fetches.contains(&dotted.as_str())
        {
            let kind = if self.prepares_data() { NoteKind::NetworkElsewhere } else { NoteKind::Network };
            self.note(kind, at);
        } else if dotted == "wandb.init" {
            self.note(NoteKind::NetworkElsewhere, at);
        }
    }

    /// `zlib.compress(val_tokens.numpy().tobytes())`, `torch.save({"prefix": val_tokens}, path)`.
    fn ships_validation(&mut self, call: &ExprCall, dotted: &str) {
        let method = dotted.rsplit_once('.').map_or(dotted, |(_, method)| method);
        let writes =
            matches!(method, "compress" | "tobytes" | "tofile") || matches!(dotted, "torch.save" | "pickle.dump");
        if !writes {
            return;
        }
        let mut names: Vec<String> = call.arguments.args.iter().flat_map(order::mentioned).collect();
        if method == "tofile" {
            names.extend(order::mentioned(&call.func));
        }
        let text = |name: &String| {
            let words = words(name);
            is_validation(name)
                && words.iter().any(|word| matches!(word.as_str(), "tokens" | "token" | "text" | "data"))
        };
        if names.iter().any(text) {
            self.note(NoteKind::PaidPrefix, call.func.start());
        }
    }
}

impl<'a> Visitor<'a> for Reader<'_> {
    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        match stmt {
            Stmt::FunctionDef(function) => {
                self.defines(function.name.as_str(), function.name.start());
                let name = function.name.to_string();
                let slot = words(&name).iter().any(|word| word == "slot").then_some(function.name.start());
                self.frames.push(Frame { name, slot, ..Frame::default() });
                visitor::walk_stmt(self, stmt);
                if let Some(frame) = self.frames.pop() {
                    self.leave(frame);
                }
                return;
            }
            Stmt::ClassDef(class) => {
                let is_module = class
                    .arguments
                    .iter()
                    .flat_map(|arguments| &arguments.args)
                    .any(|base| dotted(base).ends_with("Module"));
                if !is_module {
                    self.defines(class.name.as_str(), class.name.start());
                }
            }
            Stmt::Import(import) => {
                let network = |name: &str| NETWORK_MODULES.contains(&top(name)) || name == "urllib.request";
                if import.names.iter().any(|alias| network(alias.name.as_str())) {
                    self.network_imports.push(import.start());
                }
            }
            Stmt::ImportFrom(import) => {
                let module = import.module.as_ref().map_or("", |module| module.as_str());
                if NETWORK_MODULES.contains(&top(module)) || module == "urllib.request" {
                    self.network_imports.push(import.start());
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
                self.mention(literal.value.to_str(), literal.start());
            }
            Expr::Call(call) => self.call(call),
            // `(ctx_hash ^ (target * prime))`: the looked-up key contains the token to be predicted.
            Expr::BinOp(ExprBinOp { left, op: Operator::BitXor, right, .. })
                if [left, right].iter().any(|side| multiplies_target(side)) =>
            {
                let switch = self.switch("ngram");
                self.note_with(NoteKind::NgramCache, expr.start(), &[], switch);
            }
            _ => {}
        }
        visitor::walk_expr(self, expr);
    }
}

#[cfg(test)]
mod tests;
