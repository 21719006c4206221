//! Cutting text into pieces: SentencePiece's BPE with byte fallback.
//!
//! Starting from single characters, the neighboring pair whose merged piece has the highest score
//! is merged, the leftmost first among equals, until no pair makes a piece. Id for id the same as
//! the SentencePiece library.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};

use super::sentencepiece::{ModelType, PieceKind, Tokenizer};

/// Text that cannot be tokenized.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// Only merging models are implemented.
    #[error("the tokenizer's model type is {found:?}; text can be tokenized with Bpe models only")]
    ModelType {
        /// The tokenizer's type.
        found: ModelType,
    },
    /// Offsets inside are 32-bit.
    #[error("a document of {bytes} bytes after normalization; at most {} are tokenized at once, split it", u32::MAX)]
    TooLong {
        /// Size of the document.
        bytes: usize,
    },
}

/// A stretch of the normalized text; empty once merged into its left neighbor.
#[derive(Clone, Copy)]
struct Symbol {
    start: u32,
    end: u32,
    previous: u32,
    next: u32,
    /// User-defined: never merged.
    frozen: bool,
}

/// No neighbor.
const NONE: u32 = u32::MAX;

/// A possible merge. Ordered by score, then leftmost; `bytes` tells outdated ones.
struct Merge {
    score: f32,
    left: u32,
    right: u32,
    bytes: u32,
}

impl Ord for Merge {
    fn cmp(&self, other: &Self) -> Ordering {
        // Scores are finite (checked when the model was read); -0 and 0 are the same score.
        let by_score = self.score.partial_cmp(&other.score).unwrap_or(Ordering::Equal);
        by_score.then_with(|| Reverse(self.left).cmp(&Reverse(other.left)))
    }
}

impl PartialOrd for Merge {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Merge {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Merge {}

impl Tokenizer {
    /// Ids of a text, without begin or end marks.
    pub fn encode(&self, text: &str) -> Result<Vec<u16>, EncodeError> {
        if self.model_type != ModelType::Bpe {
            return Err(EncodeError::ModelType { found: self.model_type });
        }
        let text = self.normalize(text);
        if text.len() >= NONE as usize {
            return Err(EncodeError::TooLong { bytes: text.len() });
        }
        let mut unmerged = HashMap::new();
        let symbols = self.merge(&text, self.symbols(&text), &mut unmerged);
        let mut ids = Vec::with_capacity(text.len() / 2);
        let mut after_unknown = false;
        let mut index = 0;
        while let Some(symbol) = symbols.get(index as usize) {
            self.resegment(&text[symbol.start as usize..symbol.end as usize], &unmerged, &mut |piece| {
                let id = self.by_text.get(piece).copied().unwrap_or(self.unknown);
                let unknown = self.kind(id) == Some(PieceKind::Unknown);
                if !unknown {
                    ids.push(id);
                } else if self.byte_fallback {
                    ids.extend(piece.bytes().filter_map(|byte| self.bytes[usize::from(byte)]));
                } else if !after_unknown {
                    // A run of unknown characters is one unknown token.
                    ids.push(id);
                }
                after_unknown = unknown;
            });
            index = symbol.next;
        }
        Ok(ids)
    }

    /// Whether a text is a user-defined piece.
    pub(super) fn is_user_defined(&self, text: &str) -> bool {
        self.by_text.get(text).is_some_and(|&id| self.kind(id) == Some(PieceKind::UserDefined))
    }

    /// Characters and user-defined pieces, linked to their neighbors.
    fn symbols(&self, text: &str) -> Vec<Symbol> {
        let mut symbols: Vec<Symbol> = Vec::with_capacity(text.len());
        let mut start = 0;
        while let Some(first) = text[start..].chars().next() {
            let symbol = self.user_defined_prefix(&text[start..]);
            let end = start + symbol.map_or(first.len_utf8(), str::len);
            let index = symbols.len() as u32;
            symbols.push(Symbol {
                start: start as u32,
                end: end as u32,
                previous: index.checked_sub(1).unwrap_or(NONE),
                next: if end < text.len() { index + 1 } else { NONE },
                frozen: symbol.is_some(),
            });
            start = end;
        }
        symbols
    }

    /// Merges the best pair until there is none. `unmerged` learns how unused pieces came about.
    fn merge<'t>(
        &self,
        text: &'t str,
        mut symbols: Vec<Symbol>,
        unmerged: &mut HashMap<&'t str, (&'t str, &'t str)>,
    ) -> Vec<Symbol> {
        let mut agenda = BinaryHeap::with_capacity(symbols.len());
        let mut consider = |symbols: &[Symbol], agenda: &mut BinaryHeap<Merge>, left: u32, right: u32| {
            let (Some(a), Some(b)) = (symbols.get(left as usize), symbols.get(right as usize)) else { return };
            if a.frozen || b.frozen {
                return;
            }
            let merged = &text[a.start as usize..b.end as usize];
            let Some(&id) = self.by_text.get(merged) else { return };
            let Some(piece) = self.pieces().get(usize::from(id)) else { return };
            match piece.kind {
                PieceKind::Normal | PieceKind::UserDefined => {}
                PieceKind::Unused => {
                    unmerged.insert(
                        merged,
                        (&text[a.start as usize..a.end as usize], &text[b.start as usize..b.end as usize]),
                    );
                }
                PieceKind::Unknown | PieceKind::Control | PieceKind::Byte(_) => return,
            }
            agenda.push(Merge { score: piece.score, left, right, bytes: merged.len() as u32 });
        };
        for right in 1..symbols.len() as u32 {
            consider(&symbols, &mut agenda, right - 1, right);
        }
        while let Some(Merge { left, right, bytes, .. }) = agenda.pop() {
            let (a, b) = (symbols[left as usize], symbols[right as usize]);
            // One of the two has been merged with somebody else since.
            if a.start == a.end || b.start == b.end || b.end - a.start != bytes || a.next != right {
                continue;
            }
            symbols[left as usize] = Symbol { end: b.end, next: b.next, ..a };
            symbols[right as usize].end = b.start;
            if let Some(next) = symbols.get_mut(b.next as usize) {
                next.previous = left;
            }
            consider(&symbols, &mut agenda, a.previous, left);
            consider(&symbols, &mut agenda, left, b.next);
        }
        symbols
    }

    /// Gives a merged piece to `emit`; an unused one is taken apart again as it was put together.
    fn resegment(&self, piece: &str, unmerged: &HashMap<&str, (&str, &str)>, emit: &mut dyn FnMut(&str)) {
        // A stack instead of recursion: depth is as long as the piece.
        let mut stack = vec![piece];
        while let Some(piece) = stack.pop() {
            let unused = self.by_text.get(piece).is_some_and(|&id| self.kind(id) == Some(PieceKind::Unused));
            match unmerged.get(piece) {
                Some((left, right)) if unused => stack.extend([*right, *left]),
                _ => emit(piece),
            }
        }
    }
}
