//! What models are scored on: the validation tokens, the bytes they stand for, and the manifest's windows over them.

use super::{Evaluation, Input, Miscount, PlanError, ScoreSettings, SidecarCount, Subset, WindowPlan, Windowing};
use crate::data::{ByteTable, Dataset, ShardError, TargetBytes, Tokenizer, TokenizerError, unigram_bounds};
use crate::digest::Digest;
use crate::engine::Scorer;
use crate::interrupt::Interrupt;
use crate::manifest::{EvalConfig, Manifest, environment};
use crate::progress::Progress;
use crate::units::BitsPerByte;

/// Counts of bytes from files beside the shards.
#[derive(Clone, Debug)]
pub struct Sidecar {
    /// One count for each token of the split.
    counts: Vec<u16>,
    /// The sum that the manifest states.
    stated: Option<u64>,
}

/// The validation split, ready to be scored.
#[derive(Clone, Debug)]
pub struct ScoringData {
    /// All tokens of the split that the evaluation reads, in order.
    pub tokens: Vec<u16>,
    /// The tokenizer; it has exactly the model's vocabulary.
    pub tokenizer: Tokenizer,
    /// Bytes of every token by the tokenizer.
    pub table: ByteTable,
    /// Bytes of every token by the byte sidecars, which count where there are any.
    pub sidecar: Option<Sidecar>,
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
        let (tokens, counts) = (dataset.val_tokens(vocab_size)?, dataset.val_bytes()?);
        Ok(Self::of(tokens, counts, dataset.read_tokenizer(vocab_size)?, manifest))
    }

    /// [`Self::open`], but of a wrong vocabulary the tokenizer is named rather than the first token outside it.
    pub fn open_tokenizer_first<E>(dataset: &Dataset, manifest: &Manifest) -> Result<Self, E>
    where
        E: From<ShardError> + From<TokenizerError>,
    {
        let vocab_size = manifest.model.vocab_size as u32;
        let tokenizer = dataset.read_tokenizer(vocab_size)?;
        Ok(Self::of(dataset.val_tokens(vocab_size)?, dataset.val_bytes()?, tokenizer, manifest))
    }

    fn of(mut tokens: Vec<u16>, counts: Option<Vec<u16>>, tokenizer: Tokenizer, manifest: &Manifest) -> Self {
        let stated = manifest.data.byte_sidecar.as_ref().and_then(|sidecar| sidecar.text_bytes);
        let sidecar = counts.map(|counts| Sidecar { counts, stated });
        tokens.truncate(manifest.eval.tokens_read(tokens.len() as u64) as usize);
        let table = tokenizer.byte_table();
        ScoringData { tokens, tokenizer, table, sidecar, eval: manifest.eval.clone() }
    }

    /// What counts the bytes: sidecars where there are any, else the tokenizer's table.
    pub fn bytes(&self) -> TargetBytes<'_> {
        match &self.sidecar {
            Some(sidecar) => TargetBytes::Sidecar(&sidecar.counts),
            None => TargetBytes::Table(&self.table),
        }
    }

    /// What the sidecars count of the first `tokens`, and what there is to hold it against.
    pub fn sidecar_count(&self, tokens: usize) -> Option<SidecarCount> {
        let sidecar = self.sidecar.as_ref()?;
        let text = self.tokens.get(..tokens).unwrap_or(&self.tokens);
        Some(SidecarCount {
            counted_bytes: self.bytes().of_all(text, 1..text.len()),
            decoded_bytes: self.tokenizer.text_bytes_of_targets(text),
            split_bytes: sidecar.counts.iter().copied().map(u64::from).sum(),
            stated_bytes: sidecar.stated,
        })
    }

    /// Bits per byte of models without context, of bytes and of tokens; none of a text that the tokens do not spell out.
    pub fn unigram_bounds(&self) -> Option<(BitsPerByte, BitsPerByte)> {
        if self.sidecar.is_some() { None } else { unigram_bounds(&self.tokens, &self.tokenizer) }
    }

    /// The manifest's windows of one kind over the whole split, for weights that stay as they are.
    pub fn plan(&self, windowing: Windowing) -> Result<WindowPlan, PlanError> {
        WindowPlan::of(&self.eval, windowing, self.tokens.len() as u64)
    }

    /// The sliding windows over the whole split that are scored while weights learn.
    pub fn learning_plan(&self) -> Result<WindowPlan, PlanError> {
        WindowPlan::learning(&self.eval, self.tokens.len() as u64)
    }

    /// What a score of the first `tokens` tokens depends on, by the manifest as it is used; `identity` is that of its file.
    pub fn settings(
        &self,
        manifest: &Manifest,
        identity: Digest,
        engine: String,
        inputs: Vec<Input>,
        tokens: u64,
    ) -> ScoreSettings {
        let of = self.tokens.len() as u64;
        let tokens = tokens.min(of);
        ScoreSettings {
            harness: env!("CARGO_PKG_VERSION").into(),
            platform: environment::platform(),
            engine,
            manifest: identity,
            model: manifest.model.clone(),
            seq_len: manifest.eval.seq_len,
            stride: manifest.eval.stride,
            tail: manifest.eval.tail,
            whole_windows: manifest.eval.whole_windows,
            ttt: manifest.eval.ttt.clone(),
            tokens,
            subset: (tokens < of).then_some(Subset { first_tokens: tokens, of }),
            inputs,
            // A sidecar counts in place of the table.
            miscount: match self.sidecar {
                Some(_) => None,
                None => Miscount::of(&self.tokens[..tokens as usize], &self.tokenizer),
            },
            byte_sidecar: self.sidecar_count(tokens as usize),
        }
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
        let (tokens, bytes, batch_windows) = (&self.tokens, self.bytes(), self.batch_windows());
        Evaluation { scorer, tokens, bytes, batch_windows, progress, interrupt }
    }
}
