//! Weights to an artifact, in memory.

use std::collections::{BTreeMap, BTreeSet};

use super::encode_as::check_size;
use super::prune_to::prune_to;
use super::quantize_all::{Quantized, Unquantized, names_without_hessian, quantize_all};
use super::{
    Chosen, ClassRule, EncodeError, Encoded, Hessians, PackedTensor, PruneError, QuantizeError, assign, encode_as,
};
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
    let without_hessian = names_without_hessian(&quantized);
    let (mut tensors, rules) = with_corrections(quantized, rules, config);
    let encode = |tensors: &[PackedTensor], progress: &Progress| {
        encode_as(tensors, &Chosen { rules: &rules, without_hessian: &without_hessian }, config, progress, interrupt)
    };
    let encoded = match config.prune_to {
        Some(wanted) => {
            let (count, encoded) = prune_to(&mut tensors, wanted, |tensors| -> Result<_, EncodeError> {
                let encoded = encode(tensors, &Progress::hidden())?;
                Ok((Bytes(encoded.file.bytes.0.saturating_add(context.code.0)), encoded))
            })??;
            pruned += count;
            encoded
        }
        None => encode(&tensors, progress)?,
    };
    check_size(&encoded, config)?;
    let assignments =
        tensors.iter().zip(&rules).map(|(tensor, &rule)| (tensor.name().to_string(), rule, tensor.class())).collect();
    Ok(Packed { encoded, assignments, classes: count_classes(&tensors), pruned, without_hessian })
}

/// The tensors in the order of the file, each matrix followed by the factors that correct it, and their rules.
///
/// Of a rule that corrects the largest errors only, those of equal size go to earlier tensors.
fn with_corrections(
    quantized: Vec<Quantized>,
    rules: Vec<ClassRule>,
    config: &QuantizationConfig,
) -> (Vec<PackedTensor>, Vec<ClassRule>) {
    let rule_of = |tensor: &Quantized| {
        let name = tensor.forms.first()?.name();
        config.rules.iter().position(|rule| rule.fits(name))
    };
    // By rule: the errors of its corrections, largest first.
    let mut missed: BTreeMap<usize, Vec<(usize, f64)>> = BTreeMap::new();
    for (index, tensor) in quantized.iter().enumerate() {
        if let (Some(rule), Some(correction)) = (rule_of(tensor), &tensor.correction) {
            missed.entry(rule).or_default().push((index, correction.missed));
        }
    }
    let mut kept: BTreeSet<usize> = BTreeSet::new();
    for (rule, mut members) in missed {
        // Stable.
        members.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let largest = config.rules.get(rule).and_then(|rule| rule.low_rank?.largest);
        let count = largest.map_or(members.len(), |largest| largest as usize);
        kept.extend(members.into_iter().take(count).map(|(index, _)| index));
    }
    let (mut tensors, mut all_rules) = (Vec::new(), Vec::new());
    for ((index, Quantized { forms, correction, .. }), rule) in quantized.into_iter().enumerate().zip(rules) {
        all_rules.extend(forms.iter().map(|_| rule));
        tensors.extend(forms);
        for factor in correction.filter(|_| kept.contains(&index)).into_iter().flat_map(|found| found.factors) {
            all_rules.push(ClassRule::Named(factor.class()));
            tensors.push(factor);
        }
    }
    (tensors, all_rules)
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::artifact::foreign;
    use crate::model::HostTensor;
    use crate::random::RandomStream;

    fn matrix(name: &str, rows: usize, columns: usize, size: f64) -> (String, HostTensor) {
        let mut stream = RandomStream::new(3, name);
        let values = (0..rows * columns).map(|_| (size * stream.normal()) as f32).collect();
        (name.to_string(), HostTensor::new(vec![rows, columns], values).unwrap())
    }

    fn model() -> Params {
        let scalar = ("bigram.scale".to_string(), HostTensor::full(&[], 0.05));
        let sizes = [("fc", 1.0), ("proj", 3.0), ("gate", 2.0)];
        let matrices = sizes.map(|(name, size)| matrix(&format!("blocks.0.mlp.{name}.weight"), 24, 40, size));
        Params::from_entries(std::iter::once(scalar).chain(matrices).collect())
    }

    fn packed(settings: &[&str], container: &str) -> (Packed, Params) {
        let rules = settings.iter().map(|rule| rule.parse().unwrap()).collect();
        let config = QuantizationConfig {
            rules,
            container: container.parse().unwrap(),
            passthrough_max_elements: 100,
            ..Default::default()
        };
        let packed = pack(model(), &config, PackContext::default(), &Progress::hidden(), &Interrupt::none()).unwrap();
        let read = foreign::parse(&packed.encoded.bytes, Path::new("m.br")).unwrap();
        assert_eq!(read.clone().into_artifact().tensors, packed.encoded.tensors);
        assert_eq!((read.file, read.content == packed.encoded.payload), (packed.encoded.file, container != "golf"));
        (packed, read.params())
    }

    /// Sum of the squares of what a matrix misses.
    fn missed(found: &Params, name: &str) -> f64 {
        let (model, name) = (model(), format!("blocks.0.mlp.{name}.weight"));
        let (a, b) = (model.get(&name).unwrap(), found.get(&name).unwrap());
        a.data().iter().zip(b.data()).map(|(a, b)| f64::from(a - b).powi(2)).sum()
    }

    #[test]
    fn every_container_holds_the_same_weights() {
        let (golf, expected) = packed(&[], "golf");
        assert!(golf.encoded.parts.len() > 1);
        for container in
            ["torch:none", "torch:zlib", "torch:zstd/methods", "torch:xz:9", "torch:brotli/labels", "torch:xz:0/labels"]
        {
            let (packed, found) = packed(&[], container);
            assert_eq!(found, expected, "{container}");
            assert_eq!(packed.encoded.zstd.is_some(), container.contains("zstd"), "{container}");
            assert_eq!(packed.encoded.tensors, golf.encoded.tensors);
        }
    }

    #[test]
    fn corrections_are_stored_beside_their_matrices_and_added_by_readers() {
        let names = |packed: &Packed| packed.assignments.iter().map(|(name, ..)| name.clone()).collect::<Vec<_>>();
        let plain = packed(&["*=row_maximum"], "golf");
        let (all, corrected) = packed(&["*=row_maximum+low_rank:4"], "golf");
        assert_eq!(corrected.iter().count(), 4);
        for name in ["fc", "proj", "gate"] {
            // Of 24 nearly equal singular values four are 4/24, and a little more: they are the largest.
            let (with, without) = (missed(&corrected, name), missed(&plain.1, name));
            assert!(with < (1.0 - 4.0 / 24.0) * without, "{name}: {with} of {without}");
        }
        let whole = foreign::parse(&all.encoded.bytes, Path::new("m.golf")).unwrap().into_artifact();
        assert_eq!(whole.params, corrected);
        let expected = [
            "bigram.scale",
            "blocks.0.mlp.fc.weight",
            "blocks.0.mlp.fc.weight.low_rank.left",
            "blocks.0.mlp.fc.weight.low_rank.right",
        ];
        assert_eq!(names(&all)[..4], expected);
        assert_eq!(names(&all).len(), 10);
        // The two of three matrices with the largest weights miss most.
        let (two, _) = packed(&["*=row_maximum+low_rank:4:f16:2"], "golf");
        let corrected: Vec<String> = names(&two).into_iter().filter(|name| name.ends_with(".left")).collect();
        assert_eq!(corrected, ["proj", "gate"].map(|name| format!("blocks.0.mlp.{name}.weight.low_rank.left")));

        // What scripts load adds up to what they load.
        let (all, uncorrected) = packed(&["*=row_maximum+low_rank:4"], "torch:brotli/methods");
        assert_eq!(uncorrected.iter().count(), names(&all).len());
        assert_eq!(missed(&uncorrected, "fc"), missed(&plain.1, "fc"));
    }
}
