//! Makes token shards of plain text, for small experiments:
//!
//! ```text
//! cargo run --release -p golf-harness-tools --bin tokenize -- \
//!     --tokenizer fixtures/smoke/tokenizer.model --val-docs 250 --out data/mine \
//!     fixtures/smoke/text/val.txt fixtures/smoke/text/train.txt
//! ```

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use golf_harness::cli::{ExitCode, run};
use golf_harness::data::{
    DEFAULT_SHARD_TOKENS, Dataset, DigestCheck, Documents, Separator, ShardLayout, Tokenizer, Wanted,
    tokenize_documents, unigram_bounds,
};
use golf_harness::manifest::DataConfig;

/// Tokenize text into the challenge's shards: `<s>` before every document, validation documents first
#[derive(Parser)]
struct Args {
    /// SentencePiece BPE model
    #[arg(long, value_name = "FILE")]
    tokenizer: PathBuf,
    /// Documents that become the validation split
    #[arg(long, value_name = "N")]
    val_docs: u64,
    /// Folder for the shards
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Shards are called PREFIX_train_000000.bin and PREFIX_val_000000.bin
    #[arg(long, default_value = "mine")]
    prefix: String,
    /// Tokens of a full shard
    #[arg(long, default_value_t = DEFAULT_SHARD_TOKENS, value_name = "N")]
    shard_tokens: u64,
    /// What stands between the documents of plain text
    #[arg(long, value_enum, default_value = "empty-line", value_name = "WHAT")]
    separator: SeparatorArg,
    /// .jsonl with a `text` a line, or plain text
    #[arg(required = true, value_name = "TEXT")]
    texts: Vec<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum SeparatorArg {
    /// One or more empty lines
    EmptyLine,
    /// Lines that say `<|endoftext|>`
    EndOfText,
}

fn main() -> std::process::ExitCode {
    let args = Args::parse();
    run(|| {
        let (tokenizer, _) = Tokenizer::read(&args.tokenizer)?;
        let separator = match args.separator {
            SeparatorArg::EmptyLine => Separator::EmptyLine,
            SeparatorArg::EndOfText => Separator::EndOfText,
        };
        let files = args.texts.iter().map(|path| Documents::open(path, separator)).collect::<Result<Vec<_>, _>>()?;
        let layout =
            ShardLayout { val_documents: args.val_docs, shard_tokens: args.shard_tokens, prefix: args.prefix.clone() };
        let summary = tokenize_documents(&tokenizer, files.into_iter().flatten(), &layout, &args.out)?;
        for (split, (documents, tokens)) in [("validation", summary.val), ("training", summary.train)] {
            println!("{split:>10}: {documents} documents, {tokens} tokens");
        }
        summary.shards.iter().for_each(|path| println!("{:>10}: {}", "wrote", path.display()));

        // Read back what was written, and say what a model without any context would score on it.
        let config = DataConfig {
            path: std::path::absolute(&args.out)?,
            val_pattern: format!("{}_val_*.bin", args.prefix),
            ..DataConfig::default()
        };
        let wanted = Wanted { train: false, val: true, tokenizer: false };
        if args.val_docs > 0 {
            let tokens = Dataset::open(&config, &args.out, wanted, DigestCheck::Skip)?
                .val_tokens(tokenizer.pieces().len() as u32)?;
            if let Some((bytes, ids)) = unigram_bounds(&tokens, &tokenizer) {
                println!(
                    "{:>10}: {bytes:.4} bits per byte by byte frequencies, {ids:.4} by token frequencies",
                    "bounds"
                );
            }
        }
        Ok(ExitCode::Ok)
    })
}
