//! Token shards, the tokenizer and the training loader.
