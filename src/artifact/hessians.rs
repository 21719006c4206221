//! The Hessians that GPTQ rounds by, each shared by the matrices that have the same input.

use std::collections::BTreeSet;

use super::QuantizeError;
use crate::manifest::{HessianRecord, QuantizationConfig};
use crate::model::{LinearInput, ModelConfig};
use crate::quant::{Gptq, GptqError, HessianError, HessianSum, QuantizerRule, Rounding};

/// Hessians of a network's linear inputs, and what they were summed over.
#[derive(Clone, Debug)]
pub struct Hessians {
    /// Names of the matrices, and the sum over their input.
    inputs: Vec<(Vec<String>, HessianSum)>,
    record: HessianRecord,
}

/// A sum without a batch, or one that GPTQ cannot use.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum UnusableHessian {
    #[error(transparent)]
    Sum(#[from] HessianError),
    #[error(transparent)]
    Gptq(#[from] GptqError),
}

impl Hessians {
    /// Sums by input, for the network they are of.
    pub fn new(
        sums: impl IntoIterator<Item = (LinearInput, HessianSum)>,
        model: &ModelConfig,
        record: HessianRecord,
    ) -> Self {
        let inputs = sums.into_iter().map(|(input, sum)| (input.readers(model), sum)).collect();
        Hessians { inputs, record }
    }

    /// What they were summed over.
    pub fn record(&self) -> &HessianRecord {
        &self.record
    }

    /// Which input enters a matrix.
    pub(super) fn place_of(&self, name: &str) -> Option<usize> {
        self.inputs.iter().position(|(readers, _)| readers.iter().any(|reader| reader == name))
    }

    /// That input's Hessian, ready to round by.
    pub(super) fn gptq(&self, place: usize) -> Result<Option<Gptq>, UnusableHessian> {
        let Some((_, sum)) = self.inputs.get(place) else { return Ok(None) };
        let mean = if self.record.written.is_some() { sum.damped_mean()? } else { sum.mean()? };
        Ok(Some(Gptq::new(&mean, sum.channels())?))
    }
}

/// The inputs whose Hessians the rules need, given the tensors that are held as integers; an error for one that no
/// activations are multiplied with, unless its rule does without.
pub fn needed_hessians<'a>(
    integers: impl IntoIterator<Item = &'a str>,
    config: &QuantizationConfig,
    model: &ModelConfig,
) -> Result<Vec<LinearInput>, QuantizeError> {
    let all: Vec<(LinearInput, Vec<String>)> =
        LinearInput::all(model).into_iter().map(|input| (input, input.readers(model))).collect();
    let mut needed = BTreeSet::new();
    for name in integers {
        let rounding = QuantizerRule::first(&config.rules, name).map_or(Rounding::Nearest, |rule| rule.rounding);
        if rounding.uses_hessian() {
            match all.iter().find(|(_, readers)| readers.iter().any(|reader| reader == name)) {
                Some((input, _)) => drop(needed.insert(*input)),
                None if rounding == Rounding::GptqOrNearest => {}
                None => return Err(QuantizeError::NoHessian { name: name.to_string() }),
            }
        }
    }
    Ok(needed.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_rule_rounds_by_is_needed() {
        let model = ModelConfig { num_layers: 2, ..Default::default() };
        let rules =
            ["blocks.0.attn.c_k.weight=row_maximum", "blocks.?.attn.c_*=clip_search/gptq", "tok_*=clip_search/gptq"];
        let rules = rules.map(|rule| rule.parse().unwrap()).to_vec();
        let config = QuantizationConfig { rules, ..Default::default() };
        let needed = |names: &[&str]| needed_hessians(names.iter().copied(), &config, &model);
        let [k, v, other] = ["blocks.0.attn.c_k.weight", "blocks.0.attn.c_v.weight", "blocks.1.mlp.fc.weight"];
        assert_eq!(needed(&[k, other]).unwrap(), []);
        assert_eq!(
            needed(&["tok_emb.weight", k, v, "blocks.0.attn.c_q.weight"]).unwrap(),
            [LinearInput::Attention(0), LinearInput::Head]
        );
        let config = QuantizationConfig { rules: vec!["*=clip_search/gptq".parse().unwrap()], ..Default::default() };
        let error = needed_hessians(["bigram.embed.weight"], &config, &model).unwrap_err();
        assert!(error.to_string().contains("`bigram.embed.weight` is read row by row"), "{error}");
        let rules = vec!["*=clip_search/gptq_or_nearest".parse().unwrap()];
        let config = QuantizationConfig { rules, ..Default::default() };
        let found = needed_hessians(["bigram.embed.weight", k], &config, &model).unwrap();
        assert_eq!(found, [LinearInput::Attention(0)]);
    }
}
