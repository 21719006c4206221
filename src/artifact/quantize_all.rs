//! Quantizes the tensors of a network: matrices that share a Hessian together, all others side by side.

use rayon::prelude::*;

use super::hessians::UnusableHessian;
use super::low_rank::{Correction, correction};
use super::quantize::quantize_with;
use super::{Hessians, PackError, PackedTensor, QuantizeError, prune};
use crate::interrupt::Interrupt;
use crate::manifest::QuantizationConfig;
use crate::model::HostTensor;
use crate::quant::{Gptq, QuantizerRule, Rounding, TensorClass};

/// A tensor, and the classes it is wanted in.
pub(crate) struct Unquantized {
    pub name: String,
    pub tensor: HostTensor,
    pub classes: Vec<TensorClass>,
}

impl Unquantized {
    /// How it is rounded, by the first rule that fits; floats are not.
    fn rounding(&self, config: &QuantizationConfig) -> Rounding {
        let rule = QuantizerRule::first(&config.rules, &self.name);
        let rule = rule.filter(|_| self.classes.iter().any(|class| class.symbols().is_some()));
        rule.map_or(Rounding::Nearest, |rule| rule.rounding)
    }
}

/// The same in those classes.
pub(crate) struct Quantized {
    pub forms: Vec<PackedTensor>,
    /// Weights that pruning set to zero.
    pub pruned: usize,
    /// What corrects the only form.
    pub correction: Option<Correction>,
    /// Whether it was rounded to the nearest because there was no Hessian, or none that can be used.
    pub without_hessian: bool,
}

/// Names of the tensors that were rounded to the nearest for want of a Hessian.
pub(crate) fn names_without_hessian(quantized: &[Quantized]) -> Vec<String> {
    let without = quantized.iter().filter(|tensor| tensor.without_hessian);
    without.filter_map(|tensor| tensor.forms.first()).map(|form| form.name().to_string()).collect()
}

/// Prunes and quantizes, in the order of the tensors; each is consumed as it is done. Bytes do not depend on threads.
pub(crate) fn quantize_all(
    tensors: Vec<Unquantized>,
    config: &QuantizationConfig,
    hessians: Option<&Hessians>,
    interrupt: &Interrupt,
) -> Result<Vec<Quantized>, PackError> {
    let place = |tensor: &Unquantized| {
        let is_needed = tensor.rounding(config).uses_hessian();
        hessians.filter(|_| is_needed)?.place_of(&tensor.name)
    };
    let (by_hessian, alone): (Vec<_>, Vec<_>) =
        tensors.into_iter().enumerate().partition(|(_, tensor)| place(tensor).is_some());
    let alone = alone.into_par_iter().map(|(index, tensor)| Ok((index, quantized(tensor, config, None)?)));
    let mut done = alone.collect::<Result<Vec<_>, QuantizeError>>()?;

    let mut by_hessian: Vec<_> =
        by_hessian.into_iter().map(|(index, tensor)| (place(&tensor), index, tensor)).collect();
    by_hessian.sort_by_key(|&(place, index, _)| (place, index));
    let mut ready: Option<(usize, Result<Option<Gptq>, UnusableHessian>)> = None;
    for (place, index, tensor) in by_hessian {
        interrupt.check()?;
        if let (Some(place), Some(hessians)) = (place, hessians)
            && ready.as_ref().is_none_or(|(of, _)| *of != place)
        {
            // One factor at a time: the widest takes as much as its matrix several times over.
            drop(ready.take());
            ready = Some((place, hessians.gptq(place)));
        }
        let gptq = match ready.as_ref().map(|(_, gptq)| gptq) {
            Some(Ok(gptq)) => gptq.as_ref(),
            Some(Err(_)) if tensor.rounding(config) == Rounding::GptqOrNearest => None,
            Some(Err(source)) => return Err(unusable(&tensor.name, source.clone()).into()),
            None => None,
        };
        done.push((index, quantized(tensor, config, gptq)?));
    }
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, quantized)| quantized).collect())
}

fn unusable(name: &str, source: UnusableHessian) -> QuantizeError {
    let name = name.to_string();
    match source {
        UnusableHessian::Gptq(source) => QuantizeError::Gptq { name, source },
        UnusableHessian::Sum(_) => QuantizeError::NoHessian { name },
    }
}

fn quantized(
    unquantized: Unquantized,
    config: &QuantizationConfig,
    gptq: Option<&Gptq>,
) -> Result<Quantized, QuantizeError> {
    let without_hessian = gptq.is_none() && unquantized.rounding(config).uses_hessian();
    let Unquantized { name, mut tensor, classes } = unquantized;
    let pruned = prune(&mut tensor, config);
    let forms = classes.into_iter().map(|class| quantize_with(&name, &tensor, class, config, gptq));
    let forms: Vec<PackedTensor> = forms.collect::<Result<_, _>>()?;
    let quantizer = QuantizerRule::first(&config.rules, &name);
    let correction = match (quantizer.and_then(|quantizer| quantizer.low_rank), &forms[..]) {
        (Some(low_rank), [form]) if form.class().symbols().is_some() => correction(&tensor, form, low_rank)?,
        _ => None,
    };
    Ok(Quantized { forms, pruned, correction, without_hessian })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::PackedValues;
    use crate::digest::ContentDigest;
    use crate::manifest::HessianRecord;
    use crate::model::{LinearInput, ModelConfig};
    use crate::quant::HessianSum;

    /// Of inputs that are always equal; without a Cholesky factor if they are infinite.
    fn hessians(model: &ModelConfig, is_usable: bool) -> Hessians {
        let mut sum = HessianSum::new(model.model_dim);
        let value = if is_usable { 1.0 } else { f32::INFINITY };
        sum.add(&vec![value; model.model_dim]).unwrap();
        sum.end_batch();
        let record = HessianRecord {
            shard: "x.bin".into(),
            content: ContentDigest::of(b""),
            sequences: 1,
            seq_len: 1,
            damping: 0.01,
            written: None,
            without: Vec::new(),
        };
        Hessians::new([(LinearInput::Attention(0), sum)], model, record)
    }

    #[test]
    fn a_matrix_without_a_usable_hessian_is_rounded_to_the_nearest_if_its_rule_says_so() {
        let model = ModelConfig { num_layers: 1, model_dim: 8, num_heads: 1, num_kv_heads: 1, ..Default::default() };
        let tensors = || {
            ["blocks.0.attn.c_q.weight", "bigram.embed.weight"].map(|name| Unquantized {
                name: name.to_string(),
                tensor: HostTensor::new(vec![1, 8], vec![0.4, 0.4, 31.0, 0.4, 0.4, 0.4, 0.4, 0.4]).unwrap(),
                classes: vec![TensorClass::Int6],
            })
        };
        let quantized = |rounding: &str, is_usable| {
            let rules = vec![format!("*=row_maximum/{rounding}").parse().unwrap()];
            let config = QuantizationConfig { rules, ..Default::default() };
            let hessians = hessians(&model, is_usable);
            quantize_all(tensors().into(), &config, Some(&hessians), &Interrupt::none())
        };
        let symbols = |found: &Quantized| match found.forms[0].values() {
            PackedValues::Integers { symbols, .. } => symbols.clone(),
            other => panic!("{other:?}"),
        };
        let nearest = [0, 0, 31, 0, 0, 0, 0, 0];
        let found = quantized("gptq_or_nearest", true).unwrap();
        assert_eq!(found.iter().map(|one| one.without_hessian).collect::<Vec<_>>(), [false, true]);
        assert_ne!(symbols(&found[0]), nearest);
        assert_eq!(symbols(&found[1]), nearest);
        let found = quantized("gptq_or_nearest", false).unwrap();
        assert!(found.iter().all(|one| one.without_hessian && symbols(one) == nearest));
        let error = quantized("gptq", false).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("blocks.0.attn.c_q.weight") || error.contains("bigram.embed.weight"), "{error}");
    }
}
