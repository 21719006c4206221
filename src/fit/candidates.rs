//! Every tensor in every class it may take, quantized once.

use std::collections::BTreeMap;

use super::search::{CLASSES, Setting};
use super::{FitError, Group, Way};
use crate::artifact::{
    Chosen, ClassRule, Encoded, Hessians, PackError, PackedTensor, Part, Unquantized, encode_as, names_without_hessian,
    quantize_all, rules_of,
};
use crate::interrupt::Interrupt;
use crate::manifest::QuantizationConfig;
use crate::model::Params;
use crate::progress::Progress;
use crate::quant::TensorClass;

/// The classes that each tensor is measured in: all that are searched where a group has it, else the settings' own.
pub(super) fn wanted_classes(
    params: &Params,
    config: &QuantizationConfig,
    groups: &[Group],
) -> Result<Vec<Vec<TensorClass>>, FitError> {
    let rules = rules_of(params, config).map_err(PackError::from)?;
    let is_searched = |index: usize| groups.iter().any(|group| group.members.contains(&index));
    let classes =
        |(index, rule): (usize, ClassRule)| if is_searched(index) { CLASSES.to_vec() } else { vec![rule.class()] };
    Ok(rules.into_iter().enumerate().map(classes).collect())
}

/// The tensors of a model under one way to choose integers.
pub(super) struct Candidates<'a> {
    pub way: Way,
    /// The settings, the classes of searched tensors aside.
    pub config: QuantizationConfig,
    pub groups: &'a [Group],
    /// By tensor: its one form, or one a class in the order of [`CLASSES`].
    tensors: Vec<Vec<PackedTensor>>,
    /// What the settings decide for each tensor.
    rules: BTreeMap<String, ClassRule>,
    /// Those that were rounded to the nearest for want of a Hessian.
    without_hessian: Vec<String>,
    interrupt: &'a Interrupt,
}

impl<'a> Candidates<'a> {
    /// Prunes and quantizes. Classes outside the groups are those the settings give.
    pub fn new(
        params: &Params,
        (way, config): (Way, QuantizationConfig),
        groups: &'a [Group],
        hessians: Option<&Hessians>,
        interrupt: &'a Interrupt,
    ) -> Result<Self, FitError> {
        let classes = wanted_classes(params, &config, groups)?;
        let rules = rules_of(params, &config).map_err(PackError::from)?;
        let rules = params.iter().map(|(name, _)| name.to_string()).zip(rules).collect();
        let tensors = params.iter().zip(classes);
        let tensors =
            tensors.map(|((name, tensor), classes)| Unquantized { name: name.into(), tensor: tensor.clone(), classes });
        let quantized = quantize_all(tensors.collect(), &config, hessians, interrupt)?;
        let without_hessian = names_without_hessian(&quantized);
        let tensors = quantized.into_iter().map(|tensor| tensor.forms).collect();
        Ok(Candidates { way, config, groups, tensors, rules, without_hessian, interrupt })
    }

    fn class_of(&self, setting: &Setting, tensor: usize) -> usize {
        let group = self.groups.iter().position(|group| group.members.contains(&tensor));
        group.and_then(|group| setting.get(group).copied()).unwrap_or(0)
    }

    /// The tensors of a setting.
    fn take(&self, setting: &Setting) -> impl Iterator<Item = &PackedTensor> {
        self.tensors.iter().enumerate().filter_map(|(i, forms)| forms.get(self.class_of(setting, i)))
    }

    /// What a setting decodes to.
    pub fn weights(&self, setting: &Setting) -> Params {
        let entry = |tensor: &PackedTensor| (tensor.name().to_string(), tensor.dequantize());
        Params::from_entries(self.take(setting).map(entry).collect())
    }

    /// The size of the file of a setting.
    pub fn real_size(&self, setting: &Setting) -> Result<u64, FitError> {
        let tensors: Vec<PackedTensor> = self.take(setting).cloned().collect();
        Ok(self.encode(&tensors)?.file.bytes.0)
    }

    /// Compressed bytes of a group by itself: values, scales and magnitude buckets, without names and digests.
    pub fn size_alone(&self, group: &Group, class: usize) -> Result<u64, FitError> {
        let forms = group.members.iter().filter_map(|&tensor| self.tensors.get(tensor)?.get(class));
        let tensors: Vec<PackedTensor> = forms.cloned().collect();
        let encoded = self.encode(&tensors)?;
        if encoded.parts.is_empty() {
            // One stream of names and values.
            return Ok(encoded.file.bytes.0);
        }
        Ok(encoded.parts.iter().filter(|(part, _)| *part != Part::Table).map(|(_, bytes)| bytes.0).sum())
    }

    fn encode(&self, tensors: &[PackedTensor]) -> Result<Encoded, FitError> {
        let rule = |tensor: &PackedTensor| {
            let (class, rule) = (tensor.class(), self.rules.get(tensor.name()));
            rule.copied().filter(|rule| rule.class() == class).unwrap_or(ClassRule::Named(class))
        };
        let rules: Vec<ClassRule> = tensors.iter().map(rule).collect();
        let chosen = Chosen { rules: &rules, without_hessian: &self.without_hessian };
        let encoded = encode_as(tensors, &chosen, &self.config, &Progress::hidden(), self.interrupt);
        Ok(encoded.map_err(PackError::from)?)
    }

    /// The manifest's settings for a setting: pinned classes first, then a rule for every tensor that PR #286's rules
    /// would put elsewhere.
    pub fn settings(&self, params: &Params, setting: &Setting) -> Result<QuantizationConfig, FitError> {
        let rules = rules_of(params, &self.config).map_err(PackError::from)?;
        let mut config = self.config.clone();
        for (tensor, rule) in self.take(setting).zip(rules) {
            if tensor.class() != rule.class() {
                let (pattern, class) = (tensor.name().to_string(), tensor.class());
                config.classes.push(crate::quant::ClassPattern { pattern, class });
            }
        }
        Ok(config)
    }
}
