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

/// The same in those classes.
pub(crate) struct Quantized {
    pub forms: Vec<PackedTensor>,
    /// Weights that pruning set to zero.
    pub pruned: usize,
    /// What corrects the only form.
    pub correction: Option<Correction>,
}

/// Prunes and quantizes, in the order of the tensors; each is consumed as it is done. Bytes do not depend on threads.
pub(crate) fn quantize_all(
    tensors: Vec<Unquantized>,
    config: &QuantizationConfig,
    hessians: Option<&Hessians>,
    interrupt: &Interrupt,
) -> Result<Vec<Quantized>, PackError> {
    let place = |tensor: &Unquantized| {
        let rule = QuantizerRule::first(&config.rules, &tensor.name)?;
        let is_needed = rule.rounding == Rounding::Gptq && tensor.classes.iter().any(|class| class.symbols().is_some());
        hessians.filter(|_| is_needed)?.place_of(&tensor.name)
    };
    let (by_hessian, alone): (Vec<_>, Vec<_>) =
        tensors.into_iter().enumerate().partition(|(_, tensor)| place(tensor).is_some());
    let alone = alone.into_par_iter().map(|(index, tensor)| Ok((index, quantized(tensor, config, None)?)));
    let mut done = alone.collect::<Result<Vec<_>, QuantizeError>>()?;

    let mut by_hessian: Vec<_> =
        by_hessian.into_iter().map(|(index, tensor)| (place(&tensor), index, tensor)).collect();
    by_hessian.sort_by_key(|&(place, index, _)| (place, index));
    let mut ready: Option<(usize, Option<Gptq>)> = None;
    for (place, index, tensor) in by_hessian {
        interrupt.check()?;
        if let (Some(place), Some(hessians)) = (place, hessians)
            && ready.as_ref().is_none_or(|(of, _)| *of != place)
        {
            // One factor at a time: the widest takes as much as its matrix several times over.
            drop(ready.take());
            let gptq = hessians.gptq(place).map_err(|source| unusable(&tensor.name, source))?;
            ready = Some((place, gptq));
        }
        let gptq = ready.as_ref().and_then(|(_, gptq)| gptq.as_ref());
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
    Unquantized { name, mut tensor, classes }: Unquantized,
    config: &QuantizationConfig,
    gptq: Option<&Gptq>,
) -> Result<Quantized, QuantizeError> {
    let pruned = prune(&mut tensor, config);
    let forms = classes.into_iter().map(|class| quantize_with(&name, &tensor, class, config, gptq));
    let forms: Vec<PackedTensor> = forms.collect::<Result<_, _>>()?;
    let quantizer = QuantizerRule::first(&config.rules, &name);
    let correction = match (quantizer.and_then(|quantizer| quantizer.low_rank), &forms[..]) {
        (Some(low_rank), [form]) if form.class().symbols().is_some() => correction(&tensor, form, low_rank)?,
        _ => None,
    };
    Ok(Quantized { forms, pruned, correction })
}
