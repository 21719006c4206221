//! What ranks tell one another besides gradients: that they run the same thing, the time, and that they shall stop.

use serde_json::{Value, json};

use super::{Recipe, Start, TrainError};
use crate::collective::{Collective, CollectiveError};
use crate::manifest::Manifest;

/// Checks that all ranks run the same recipe, the same way, before anything is written.
pub(super) fn check_alike(
    ranks: &dyn Collective,
    manifest: &Manifest,
    recipe: &Recipe,
    start: Start,
    validation_tokens: usize,
) -> Result<(), TrainError> {
    if ranks.rank().world_size() == 1 {
        return Ok(());
    }
    let own = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "the recipe (SHA-256 of model, optimizer, schedule, engine and shards)": recipe.digest(),
        "schedule.val_loss_every": manifest.schedule.val_loss_every,
        "validation tokens": validation_tokens,
        "start": format!("{start:?}"),
    });
    let all = ranks.all_gather(own.to_string().as_bytes())?;
    let parsed = |message: &Vec<u8>| serde_json::from_slice(message).unwrap_or(Value::Null);
    let expected = all.first().map(parsed).unwrap_or(Value::Null);
    for (rank, message) in all.iter().enumerate() {
        if let Some(found) = Recipe::from_json(expected.clone()).difference(&Recipe::from_json(parsed(message))) {
            return Err(TrainError::Unlike { rank, field: found.field, theirs: found.theirs, rank_zero: found.ours });
        }
    }
    Ok(())
}

/// Rank 0's number, on every rank. The others' is not looked at.
pub(super) fn from_rank_zero(ranks: &dyn Collective, own: f64) -> Result<f64, CollectiveError> {
    let rank = ranks.rank();
    if rank.world_size() == 1 {
        return Ok(own);
    }
    let all = ranks.all_gather(if rank.is_rank_zero() { own.to_le_bytes().to_vec() } else { Vec::new() }.as_slice())?;
    let bytes = all.first().and_then(|message| message.as_slice().try_into().ok());
    bytes.map(f64::from_le_bytes).ok_or_else(|| CollectiveError::Lost { rank: 0, reason: "it gave no number".into() })
}

/// Whether it is so on any rank: a signal may reach only one of them.
pub(super) fn anywhere(ranks: &dyn Collective, here: bool) -> Result<bool, CollectiveError> {
    if ranks.rank().world_size() == 1 {
        return Ok(here);
    }
    Ok(ranks.all_gather(&[u8::from(here)])?.iter().any(|message| message == &[1]))
}
