//! Scores a checkpoint on the validation split of a manifest:
//! `cargo run --release --example score_checkpoint -- manifests/smoke.yaml runs/smoke/checkpoint.safetensors`.
//!
//! Without a checkpoint it scores weights as training would start with them, made from the manifest's seed. Such a
//! model knows nothing: its loss on the smoke manifest is near ln 1024 = 6.93 nats a token.

use std::path::Path;

use anyhow::Context;
use golf_harness::engine::{self, EngineKind};
use golf_harness::eval::{Evaluation, ScoreInputs, Weights, WeightsFile, WindowPlan};
use golf_harness::interrupt::Interrupt;
use golf_harness::progress::Progress;
use golf_harness::{manifest, model};

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let path = args.next().unwrap_or_else(|| "manifests/smoke.yaml".into());
    let checkpoint = args.next().map(|path| WeightsFile { weights: Weights::Checkpoint, path: path.into() });

    let recipe = manifest::load(Path::new(&path))?;
    let folder = Path::new(&path).parent().context("a manifest lies in a folder")?;
    let weights = match &checkpoint {
        Some(file) => file.read(&recipe.model)?,
        None => model::init(&recipe.model, recipe.schedule.seed),
    };
    // Tokens of the split and the bytes they stand for; hashes every file it reads.
    let inputs = ScoreInputs::open(&recipe, folder, checkpoint.as_slice())?;

    let scorer = engine::create(EngineKind::Kernels).scorer(&recipe.scored_model(), &weights)?;
    let evaluation = Evaluation {
        scorer: &*scorer,
        tokens: &inputs.data.tokens,
        bytes: inputs.data.bytes(),
        batch_windows: 32,
        progress: &Progress::hidden(),
        interrupt: &Interrupt::none(),
    };
    let plan = WindowPlan::sliding(inputs.data.tokens.len() as u64, recipe.eval.seq_len, recipe.eval.stride)?;
    // Any division of the windows gives the same sum; the last argument would receive every likelihood.
    let score = evaluation.score(&plan, 0..plan.windows(), &mut |_| Ok(()))?;

    let (loss, bpb) = score.val_loss().zip(score.val_bpb()).context("nothing to score")?;
    println!("val_loss {loss} val_bpb {bpb} over {} tokens, {} bytes", score.tokens, score.bytes);
    Ok(())
}
