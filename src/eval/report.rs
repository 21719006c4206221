//! What `score` tells: passes side by side, and the quantization gap.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Input, Score, ScoreSettings, Weights, Windowing};
use crate::manifest::ScoreRecord;
use crate::units::{BitsPerByte, Nats, group_digits};

/// What marks a pass whose weights learned on the way.
const LEARNING_SUFFIX: &str = "-ttt";

/// One evaluation of one form of the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Weights scored.
    pub weights: Weights,
    /// Kind of windows.
    pub windowing: Windowing,
    /// Whether the weights learned from each chunk once it was scored.
    pub learns: bool,
    /// What came out.
    pub score: Score,
}

impl Pass {
    /// `packed/sliding`, `packed/sliding-ttt` and the like: the key of the pass in reports and manifests.
    pub fn label(&self) -> String {
        format!("{}/{}", self.weights, self.windows())
    }

    /// The windows, and whether the weights learned on the way.
    pub fn windows(&self) -> String {
        format!("{}{}", self.windowing, if self.learns { LEARNING_SUFFIX } else { "" })
    }

    /// Mean loss and bits per byte, where anything was scored.
    pub fn numbers(&self) -> Option<(Nats, BitsPerByte)> {
        self.score.val_loss().zip(self.score.val_bpb())
    }

    /// The form a manifest keeps; `None` where nothing was scored.
    pub fn record(&self, engine: &str) -> Option<ScoreRecord> {
        let (val_loss, val_bpb) = self.numbers()?;
        let Score { tokens, bytes, windows, .. } = self.score;
        Some(ScoreRecord { val_loss, val_bpb, tokens, bytes, windows, engine: engine.to_string() })
    }
}

/// How a run was carried out; decides its speed and no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RunSettings {
    /// Threads used.
    pub threads: usize,
    /// Windows given to the engine at a time.
    pub batch_windows: usize,
}

/// Two engines agreed on every likelihood.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Agreement {
    /// Engine that checked.
    pub engine: String,
    /// Largest difference of one likelihood, relative above one nat.
    pub largest_difference: f64,
    /// Most that would have been allowed.
    pub tolerance: f64,
}

impl Agreement {
    /// The worse of two.
    pub fn or_worse(self, other: Option<Agreement>) -> Agreement {
        let largest_difference = other.map_or(0.0, |other| other.largest_difference).max(self.largest_difference);
        Agreement { largest_difference, ..self }
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cross-checked by {}: no likelihood differs by more than {:.1e} (allowed: {:.0e})",
            self.engine, self.largest_difference, self.tolerance
        )
    }
}

/// A finished evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// What the numbers depend on.
    pub basis: ScoreSettings,
    /// One entry a pass: packed before checkpoint, sliding before non-overlapping. The first is the headline.
    pub passes: Vec<Pass>,
    /// How it was run; `None` for merged parts.
    pub run: Option<RunSettings>,
    /// How well a second engine agreed, if there was one.
    pub agreement: Option<Agreement>,
    /// Kinds of processors the parts were made on, sorted.
    pub processors: Vec<String>,
}

/// What quantization costs: packed minus checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Gap {
    /// The windows of both passes.
    pub windows: String,
    /// Nats per token.
    pub val_loss: f64,
    /// Bits per byte.
    pub val_bpb: f64,
}

impl Report {
    /// The pass that counts: the first.
    pub fn headline(&self) -> Option<&Pass> {
        self.passes.first()
    }

    /// The pass of that kind.
    pub fn pass(&self, weights: Weights, windowing: Windowing) -> Option<&Pass> {
        self.passes.iter().find(|pass| pass.weights == weights && pass.windowing == windowing)
    }

    /// Packed minus checkpoint, for every kind of windows that both were scored with.
    pub fn gaps(&self) -> Vec<Gap> {
        let gap = |windowing| {
            let packed = self.pass(Weights::Packed, windowing)?;
            let (packed_loss, packed_bpb) = packed.numbers()?;
            let (loss, bpb) = self.pass(Weights::Checkpoint, windowing)?.numbers()?;
            Some(Gap { windows: packed.windows(), val_loss: packed_loss.0 - loss.0, val_bpb: packed_bpb.0 - bpb.0 })
        };
        [Windowing::Sliding, Windowing::NonOverlapping].into_iter().filter_map(gap).collect()
    }

    /// One line a pass, for `--quiet`.
    pub fn summary(&self) -> String {
        let line = |pass: &Pass| match pass.numbers() {
            Some((loss, bpb)) => format!("{} val_loss:{loss:.8} val_bpb:{bpb:.8}\n", pass.label()),
            None => format!("{} nothing scored\n", pass.label()),
        };
        self.passes.iter().map(line).collect()
    }

    /// One line an input: what it is, its SHA-256, where it was.
    pub fn inputs(&self) -> String {
        let line = |input: &Input| format!("{:<11}{}  {}\n", input.role, input.digest.sha256, input.path.display());
        let manifest = format!("{:<11}{}  (identity)\n", "manifest", self.basis.manifest);
        self.basis.inputs.iter().map(line).chain([manifest]).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let basis = &self.basis;
        if let Some(subset) = basis.subset {
            let (first, of) = (group_digits(subset.first_tokens.into()), group_digits(subset.of.into()));
            writeln!(f, "SUBSET: the first {first} of {of} tokens; this is not a score of the split\n")?;
        }
        let head = [12, 15, 12, 12, 12, 12, 10];
        let row = |f: &mut fmt::Formatter<'_>, cells: [&str; 7]| {
            let mut line = format!("{:<1$}{2:<3$}", cells[0], head[0], cells[1], head[1]);
            for (cell, width) in cells.iter().zip(head).skip(2) {
                line.push_str(&format!("{cell:>width$}"));
            }
            writeln!(f, "{}", line.trim_end())
        };
        row(f, ["weights", "windows", "val_loss", "val_bpb", "tokens", "bytes", "windows"])?;
        for pass in &self.passes {
            let (loss, bpb) = match pass.numbers() {
                Some((loss, bpb)) => (format!("{loss:.8}"), format!("{bpb:.8}")),
                None => ("-".into(), "-".into()),
            };
            let [tokens, bytes, windows] =
                [pass.score.tokens, pass.score.bytes, pass.score.windows].map(|n| group_digits(n.into()));
            let (weights, windows_run) = (pass.weights.to_string(), pass.windows());
            row(f, [&weights, &windows_run, &loss, &bpb, &tokens, &bytes, &windows])?;
        }
        for gap in self.gaps() {
            let (loss, bpb) = (format!("{:+.8}", gap.val_loss), format!("{:+.8}", gap.val_bpb));
            row(f, ["gap", &gap.windows, &loss, &bpb, "", "", ""])?;
        }
        let (seq_len, stride) = (group_digits(basis.seq_len.into()), group_digits(basis.stride.into()));
        writeln!(f, "\nengine {}, windows of {seq_len} tokens, sliding by {stride}", basis.engine)?;
        for said in [basis.end_of_text(), basis.learning()].into_iter().flatten() {
            writeln!(f, "{said}")?;
        }
        if let Some(sidecar) = &basis.byte_sidecar {
            writeln!(f, "{sidecar}")?;
        }
        if let Some(miscount) = &basis.miscount {
            let (table, text) = (group_digits(miscount.table_bytes.into()), group_digits(miscount.text_bytes.into()));
            write!(
                f,
                "BYTES: the table counts {table} bytes, the decoded text has {text} ({:+.2} %): U+2581 inside a piece \
                 counts as three, as in train_gpt.py",
                (miscount.factor() - 1.0) * 100.0
            )?;
            for pass in &self.passes {
                if let Some((_, bpb)) = pass.numbers() {
                    write!(f, "; {} over the text val_bpb {:.8}", pass.label(), bpb.0 * miscount.factor())?;
                }
            }
            writeln!(f)?;
        }
        if let Some(agreement) = &self.agreement {
            writeln!(f, "{agreement}")?;
        }
        if self.passes.iter().any(|pass| pass.score.tokens == 0) {
            writeln!(f, "- nothing scored: the split has no full window of {seq_len} tokens")?;
        }
        if self.processors.len() > 1 {
            writeln!(
                f,
                "parts were made on {} kinds of processors: the sum is exact, but no single machine need give its bits",
                self.processors.len()
            )?;
        }
        Ok(())
    }
}
