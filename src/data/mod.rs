//! Token shards, the tokenizer and the training loader.

mod batch;

pub use batch::TokenBatch;
