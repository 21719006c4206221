//! Text to token shards, as the challenge exports its data.
//!
//! Each document becomes the begin mark and its ids; no end mark. The first documents are the
//! validation split. Shards hold a fixed number of tokens, the last one fewer (specification, section 8).

use std::path::{Path, PathBuf};

use super::documents::DocumentError;
use super::encode::EncodeError;
use super::sentencepiece::{PieceKind, Tokenizer};
use super::shard::{MAX_SHARD_TOKENS, WriteShardError, write_shard};

/// Id of `<s>` in the challenge's tokenizers.
pub const BEGIN_ID: u16 = 1;
/// Tokens of a shard in the challenge's export.
pub const DEFAULT_SHARD_TOKENS: u64 = 100_000_000;

/// How documents become shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardLayout {
    /// Documents of the validation split; they come first.
    pub val_documents: u64,
    /// Tokens of a full shard.
    pub shard_tokens: u64,
    /// File names are `PREFIX_train_000000.bin` and `PREFIX_val_000000.bin`.
    pub prefix: String,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenizeSummary {
    /// Validation documents and tokens, begin marks included.
    pub val: (u64, u64),
    /// Training documents and tokens, begin marks included.
    pub train: (u64, u64),
    /// The shards, in order of writing.
    pub shards: Vec<PathBuf>,
}

/// Why text did not become shards. Shards written before the error stay.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizeError {
    /// No mark to put in front of documents.
    #[error("id {BEGIN_ID} of the tokenizer is not a control piece; documents begin with id {BEGIN_ID}, `<s>`")]
    NoBeginMark,
    /// A shard size that cannot be.
    #[error("{found} tokens a shard, expected 1..={MAX_SHARD_TOKENS}")]
    ShardTokens {
        /// As asked for.
        found: u64,
    },
    /// The text could not be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A document could not be tokenized.
    #[error("document {index}: {source}")]
    Encode {
        /// Counted from 0 over all files.
        index: u64,
        /// Why.
        source: EncodeError,
    },
    /// A shard could not be written.
    #[error(transparent)]
    Write(#[from] WriteShardError),
    /// Fewer documents than the validation split asks for.
    #[error("only {found} document(s), but {wanted} were asked for as validation split; nothing is left for training")]
    TooFewDocuments {
        /// Documents there are.
        found: u64,
        /// Validation documents asked for.
        wanted: u64,
    },
}

/// Tokenizes documents into shards in `folder`. Memory: one shard.
pub fn tokenize_documents(
    tokenizer: &Tokenizer,
    documents: impl Iterator<Item = Result<String, DocumentError>>,
    layout: &ShardLayout,
    folder: &Path,
) -> Result<TokenizeSummary, TokenizeError> {
    if tokenizer.kind(BEGIN_ID) != Some(PieceKind::Control) {
        return Err(TokenizeError::NoBeginMark);
    }
    if layout.shard_tokens == 0 || layout.shard_tokens > MAX_SHARD_TOKENS {
        return Err(TokenizeError::ShardTokens { found: layout.shard_tokens });
    }
    let mut summary = TokenizeSummary::default();
    let mut val = Split::new(folder, layout, "val");
    let mut train = Split::new(folder, layout, "train");
    for (index, document) in (0..).zip(documents) {
        let ids = tokenizer.encode(&document?).map_err(|source| TokenizeError::Encode { index, source })?;
        let (split, (documents, tokens)) =
            if index < layout.val_documents { (&mut val, &mut summary.val) } else { (&mut train, &mut summary.train) };
        *documents += 1;
        *tokens += ids.len() as u64 + 1;
        split.push(BEGIN_ID)?;
        ids.into_iter().try_for_each(|id| split.push(id))?;
    }
    if summary.train.0 == 0 {
        return Err(TokenizeError::TooFewDocuments { found: summary.val.0, wanted: layout.val_documents });
    }
    summary.shards = val.finish()?;
    summary.shards.extend(train.finish()?);
    Ok(summary)
}

/// Tokens of one split on their way into shards.
struct Split {
    stem: PathBuf,
    shard_tokens: u64,
    tokens: Vec<u16>,
    written: Vec<PathBuf>,
}

impl Split {
    fn new(folder: &Path, layout: &ShardLayout, name: &str) -> Self {
        let stem = folder.join(format!("{}_{name}", layout.prefix));
        Split { stem, shard_tokens: layout.shard_tokens, tokens: Vec::new(), written: Vec::new() }
    }

    fn push(&mut self, id: u16) -> Result<(), WriteShardError> {
        self.tokens.push(id);
        if self.tokens.len() as u64 >= self.shard_tokens { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), WriteShardError> {
        let mut path = self.stem.clone().into_os_string();
        path.push(format!("_{:06}.bin", self.written.len()));
        let path = PathBuf::from(path);
        write_shard(&path, &self.tokens)?;
        self.tokens.clear();
        self.written.push(path);
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<PathBuf>, WriteShardError> {
        if !self.tokens.is_empty() {
            self.write()?;
        }
        Ok(self.written)
    }
}
