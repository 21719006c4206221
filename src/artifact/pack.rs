//! Weights to an artifact, in memory.

use super::prune_to::prune_to;
use super::quantize_all::{Unquantized, quantize_all};
use super::{ClassRule, EncodeError, Encoded, Hessians, PackedTensor, PruneError, QuantizeError, assign, encode};
use crate::interrupt::{Interrupt, Interrupted};
use crate::manifest::QuantizationConfig;
use crate::model::Params;
use crate::progress::Progress;
use crate::quant::{TensorClass, UnmatchedPattern};
use crate::units::Bytes;

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
    /// Tensors rounded to the nearest for want of a Hessian, where their rule does without.
    pub without_hessian: Vec<String>,
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
    /// The size asked for cannot be reached.
    #[error(transparent)]
    Prune(#[from] PruneError),
    /// The container could not be made.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The user stopped it.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// What packing needs besides weights and settings.
#[derive(Clone, Copy, Debug, Default)]
pub struct PackContext<'a> {
    /// Hessians of the matrices that a rule rounds by.
    pub hessians: Option<&'a Hessians>,
    /// Bytes of the code, which `prune_to` counts together with the model.
    pub code: Bytes,
}

/// Prunes, quantizes and compresses weights in state-dict order.
///
/// The weights are consumed tensor by tensor, so that the peak stays near their own size. Bytes are the same
/// for any number of threads.
pub fn pack(
    params: Params,
    config: &QuantizationConfig,
    context: PackContext<'_>,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<Packed, PackError> {
    let rules = rules_of(&params, config)?;
    let tensors = params.into_entries().into_iter().zip(&rules);
    let tensors = tensors.map(|((name, tensor), rule)| Unquantized { name, tensor, classes: vec![rule.class()] });
    let quantized = quantize_all(tensors.collect(), config, context.hessians, interrupt)?;
    let mut pruned = quantized.iter().map(|tensor| tensor.pruned as u64).sum();
    let without = quantized.iter().filter(|tensor| tensor.without_hessian);
    let without_hessian: Vec<String> =
        without.flat_map(|tensor| &tensor.forms).map(|tensor| tensor.name().to_string()).collect();
    let mut tensors: Vec<PackedTensor> = quantized.into_iter().flat_map(|tensor| tensor.forms).collect();
    if let Some(wanted) = config.prune_to {
        pruned += prune_to(&mut tensors, wanted, |tensors| -> Result<Bytes, EncodeError> {
            let encoded = encode(tensors, config.codec, config.zstd_level, &Progress::hidden(), interrupt)?;
            Ok(Bytes(encoded.file.bytes.0.saturating_add(context.code.0)))
        })??;
    }
    let assignments =
        tensors.iter().zip(rules).map(|(tensor, rule)| (tensor.name().to_string(), rule, tensor.class())).collect();
    let encoded = encode(&tensors, config.codec, config.zstd_level, progress, interrupt)?;
    Ok(Packed { encoded, assignments, classes: count_classes(&tensors), pruned, without_hessian })
}

/// The rule that decides each tensor's class.
pub(crate) fn rules_of(params: &Params, config: &QuantizationConfig) -> Result<Vec<ClassRule>, UnmatchedPattern> {
    let sizes: Vec<(&str, usize)> = params.iter().map(|(name, tensor)| (name, tensor.len())).collect();
    assign(&sizes, config)
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
