//! What a function does, as a list.

use std::collections::BTreeSet;

use ruff_text_size::TextSize;

/// What happens to validation text.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A score computed from it is kept.
    Score,
    /// An optimizer changes weights after a backward pass through it.
    Step,
    /// It is handed to another function of the file, as these parameters (by place or by name).
    Call(String, Vec<Passed>),
}

/// Which argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passed {
    /// By place.
    At(usize),
    /// By name.
    Named(String),
}

/// Something that happens.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub what: What,
    /// Where it stands.
    pub at: TextSize,
    /// Where its value was computed: a loss added up after a step may come from before it.
    pub computed: TextSize,
    /// Indexes into [`Flow::loops`], outermost first.
    pub loops: Vec<usize>,
    /// Names tested around it.
    pub guards: Vec<String>,
    /// Only in the first of several passes.
    pub first_pass_only: bool,
    /// By its names, of text that was scored before.
    pub of_past: bool,
    /// What is optimized is an offset for this sample (SLOT), not the model.
    pub of_offset: bool,
    /// Loops around the place where that offset starts anew; 0 where it is carried on.
    pub made_in: usize,
    /// Variables a score is kept in.
    pub kept_in: Vec<String>,
    /// Names the text goes by.
    pub text: BTreeSet<String>,
}

/// A loop.
#[derive(Clone, Debug)]
pub struct Loop {
    pub at: TextSize,
    /// Every turn sees the same text.
    pub repeats: bool,
    /// What it goes over, written out; empty where that is not compared.
    pub over: String,
}

/// A function's events.
#[derive(Clone, Debug, Default)]
pub struct Flow {
    pub events: Vec<Event>,
    pub loops: Vec<Loop>,
}
