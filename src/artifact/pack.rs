//! Weights to an artifact, in memory.

use rayon::prelude::*;

use super::{ClassRule, EncodeError, Encoded, PackedTensor, QuantizeError, assign, encode, prune, quantize};
use crate::interrupt::Interrupt;
use crate::manifest::QuantizationConfig;
use crate::model::{HostTensor, Params};
use crate::progress::Progress;
use crate::quant::{TensorClass, UnmatchedPattern};

/// A packed model and how it came about.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The file and its digests.
    pub encoded: Encoded,
    /// Name, rule and class of every tensor.
    pub assignments: Vec<(String, ClassRule, TensorClass)>,
    /// Tensors and weights of each class in use.
    pub classes: Vec<ClassCount>,
    /// Weights that pruning set to zero.
    pub pruned: u64,
}

/// How much of a model is held in a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassCount {
    /// The class.
    pub class: TensorClass,
    /// Tensors.
    pub tensors: u64,
    /// Weights.
    pub elements: u64,
}

/// Why a model could not be packed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// A class for tensors that do not exist.
    #[error("quantization.classes: {0}")]
    Classes(#[from] UnmatchedPattern),
    /// Weights that a class cannot hold.
    #[error(transparent)]
    Quantize(#[from] QuantizeError),
    /// The container could not be made.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// Prunes, quantizes and compresses weights in state-dict order.
///
/// The weights are consumed tensor by tensor, so that the peak stays near their own size. Bytes are the same
/// for any number of threads.
pub fn pack(
    params: Params,
    config: &QuantizationConfig,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<Packed, PackError> {
    let sizes: Vec<(&str, usize)> = params.iter().map(|(name, tensor)| (name, tensor.len())).collect();
    let rules = assign(&sizes, config)?;
    let entries: Vec<(String, HostTensor)> = params.into_entries();
    let quantized: Vec<(PackedTensor, usize)> = entries
        .into_par_iter()
        .zip(&rules)
        .map(|((name, mut tensor), rule)| {
            let pruned = prune(&mut tensor, config);
            Ok((quantize(&name, &tensor, rule.class(), config)?, pruned))
        })
        .collect::<Result<_, QuantizeError>>()?;
    let pruned = quantized.iter().map(|(_, pruned)| *pruned as u64).sum();
    let tensors: Vec<PackedTensor> = quantized.into_iter().map(|(tensor, _)| tensor).collect();
    let assignments =
        tensors.iter().zip(rules).map(|(tensor, rule)| (tensor.name().to_string(), rule, tensor.class())).collect();
    let encoded = encode(&tensors, config.codec, config.zstd_level, progress, interrupt)?;
    Ok(Packed { encoded, assignments, classes: count_classes(&tensors), pruned })
}

/// Tensors and weights by class, classes in their usual order, empty ones left out.
pub fn count_classes(tensors: &[PackedTensor]) -> Vec<ClassCount> {
    let count = |class| {
        let members = tensors.iter().filter(|tensor| tensor.class() == class);
        let (tensors, elements) = members.fold((0, 0), |(n, sum), tensor| (n + 1, sum + tensor.elements() as u64));
        ClassCount { class, tensors, elements }
    };
    TensorClass::ALL.into_iter().map(count).filter(|count| count.tensors > 0).collect()
}
