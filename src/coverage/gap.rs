//! What records have and this program cannot do, or does otherwise.

use super::row::Row;

/// What one may want to do with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Compute its score from its weights.
    Score,
    /// Train it again.
    Train,
    /// Round its weights to the same integers and scales.
    Pack,
}

impl Task {
    /// All, in the order of the page's columns.
    pub const ALL: [Task; 3] = [Task::Score, Task::Train, Task::Pack];
}

/// Something that a record has and a manifest cannot say.
///
/// A manifest has it if one of its notes begins with the name and a colon.
pub struct Gap {
    /// Its name.
    pub name: &'static str,
    /// What it is, as the end of a sentence that its name begins.
    pub what: &'static str,
    /// Words of a title on the board that tell it, in small letters.
    pub words: &'static [&'static str],
    /// Tasks that cannot be done because of it.
    pub prevents: &'static [Task],
    /// Tasks that are done, with another result.
    pub changes: &'static [Task],
}

/// All gaps.
pub const GAPS: &[Gap] = &[
    Gap {
        name: "Not known",
        what: "settings of the run for which there is no source",
        words: &[],
        prevents: &[Task::Train],
        changes: &[],
    },
    Gap {
        name: "Unknown export",
        what: "classes and scales of the export, for which there is no source",
        words: &[],
        prevents: &[Task::Pack],
        changes: &[],
    },
    Gap {
        name: "Unverified scales",
        what: "how the script chooses scales of rows; PR #286's rule stands in",
        words: &[],
        prevents: &[],
        changes: &[Task::Pack],
    },
    Gap {
        name: "Rotary tables",
        what: "tables in bfloat16 in the script unless its compiler kept exact positions",
        words: &[],
        prevents: &[],
        changes: &[Task::Score, Task::Train],
    },
    Gap {
        name: "Phased test-time training",
        what: "test-time training of another kind than SGD on chunks of the text that were scored before",
        words: &["phased test-time training"],
        prevents: &[Task::Score],
        changes: &[],
    },
    Gap {
        name: "Order of text",
        what: "training text read in an order for which there is no source",
        words: &[],
        prevents: &[],
        changes: &[Task::Train],
    },
    Gap {
        name: "Calibration text",
        what: "Hessians of GPTQ over other text than here",
        words: &[],
        prevents: &[],
        changes: &[Task::Pack],
    },
    Gap {
        name: "SmearGate masked at BOS",
        what: "a SmearGate over the first channels of the stream that blends nothing across the beginning of a document; \
               the one here is by channel",
        words: &["bos"],
        prevents: &[Task::Score, Task::Train],
        changes: &[],
    },
    Gap {
        name: "LQER",
        what: "low-rank corrections with factors of two and four bits, in groups; those here have a class, int5 the \
               smallest",
        words: &["lqer"],
        prevents: &[Task::Score],
        changes: &[Task::Pack],
    },
];

impl Gap {
    /// Whether a note of a manifest tells it.
    pub fn is_noted(&self, note: &str) -> bool {
        note.strip_prefix(self.name).is_some_and(|rest| rest.starts_with(": "))
    }

    /// Whether a title on the board tells it.
    pub fn is_in_title(&self, title: &str) -> bool {
        let title = title.to_lowercase();
        self.words.iter().any(|words| title.contains(words))
    }

    /// Whether a row has it.
    pub fn is_of(&self, row: &Row<'_>) -> bool {
        row.gaps.iter().any(|gap| gap.name == self.name)
    }
}
