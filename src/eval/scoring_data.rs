//! What models are scored on: the validation tokens, the bytes they stand for, and the manifest's windows over them.

use super::{Evaluation, PlanError, WindowPlan, Windowing};
use crate::data::{ByteTable, Dataset, ShardError, Tokenizer, TokenizerError};
use crate::engine::Scorer;
use crate::interrupt::Interrupt;
use crate::manifest::{EvalConfig, Manifest};
use crate::progress::Progress;

/// The validation split, ready to be scored.
#[derive(Clone, Debug)]
pub struct ScoringData {
    /// All tokens of the split that the evaluation reads, in order.
    pub tokens: Vec<u16>,
    /// The tokenizer; it has exactly the model's vocabulary.
    pub tokenizer: Tokenizer,
    /// Bytes of every token.
    pub table: ByteTable,
    /// The manifest's windows.
    pub eval: EvalConfig,
}

impl ScoringData {
    /// Reads the validation shards, then the tokenizer. Both are held against the model's vocabulary.
    pub fn open<E>(dataset: &Dataset, manifest: &Manifest) -> Result<Self, E>
    where
        E: From<ShardError> + From<TokenizerError>,
    {
        let vocab_size = manifest.model.vocab_size as u32;
        let tokens = dataset.val_tokens(vocab_size)?;
        Ok(Self::of(tokens, dataset.read_tokenizer(vocab_size)?, manifest))
    }

    /// [`Self::open`], but of a wrong vocabulary the tokenizer is named rather than the first token outside it.
    pub fn open_tokenizer_first<E>(dataset: &Dataset, manifest: &Manifest) -> Result<Self, E>
    where
        E: From<ShardError> + From<TokenizerError>,
    {
        let vocab_size = manifest.model.vocab_size as u32;
        let tokenizer = dataset.read_tokenizer(vocab_size)?;
        Ok(Self::of(dataset.val_tokens(vocab_size)?, tokenizer, manifest))
    }

    fn of(mut tokens: Vec<u16>, tokenizer: Tokenizer, manifest: &Manifest) -> Self {
        tokens.truncate(manifest.eval.tokens_read(tokens.len() as u64) as usize);
        let table = tokenizer.byte_table();
        ScoringData { tokens, tokenizer, table, eval: manifest.eval.clone() }
    }

    /// The manifest's windows of one kind over the whole split, for weights that stay as they are.
    pub fn plan(&self, windowing: Windowing) -> Result<WindowPlan, PlanError> {
        WindowPlan::of(&self.eval, windowing, self.tokens.len() as u64)
    }

    /// Windows given to an engine at a time.
    pub fn batch_windows(&self) -> usize {
        usize::try_from(self.eval.batch_windows).unwrap_or(usize::MAX)
    }

    /// A model on the whole split.
    pub fn evaluation<'a>(
        &'a self,
        scorer: &'a dyn Scorer,
        progress: &'a Progress,
        interrupt: &'a Interrupt,
    ) -> Evaluation<'a> {
        let (tokens, table, batch_windows) = (&self.tokens, &self.table, self.batch_windows());
        Evaluation { scorer, tokens, table, batch_windows, progress, interrupt }
    }
}
