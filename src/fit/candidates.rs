//! Every tensor in every class it may take, quantized once.

use rayon::prelude::*;

use super::search::{CLASSES, Setting};
use super::{FitError, Group};
use crate::artifact::{Encoded, PackError, PackedTensor, Part, QuantizeError, assign, encode, prune, quantize};
use crate::interrupt::Interrupt;
use crate::manifest::QuantizationConfig;
use crate::model::Params;
use crate::progress::Progress;
use crate::quant::{ScaleSearch, TensorClass};

/// The tensors of a model under one way to choose scales.
pub(super) struct Candidates<'a> {
    /// The settings, the classes of searched tensors aside.
    pub config: QuantizationConfig,
    pub groups: &'a [Group],
    /// By tensor: its one form, or one a class in the order of [`CLASSES`].
    tensors: Vec<Vec<PackedTensor>>,
    interrupt: &'a Interrupt,
}

impl<'a> Candidates<'a> {
    /// Prunes and quantizes. Classes outside the groups are those the settings give.
    pub fn new(
        params: &Params,
        config: QuantizationConfig,
        groups: &'a [Group],
        interrupt: &'a Interrupt,
    ) -> Result<Self, FitError> {
        let sizes: Vec<(&str, usize)> = params.iter().map(|(name, tensor)| (name, tensor.len())).collect();
        let rules = assign(&sizes, &config).map_err(PackError::from)?;
        let is_searched = |index: usize| groups.iter().any(|group| group.members.contains(&index));
        let entries: Vec<_> = params.iter().zip(rules).enumerate().collect();
        let tensors = entries
            .into_par_iter()
            .map(|(index, ((name, tensor), rule))| {
                let mut tensor = tensor.clone();
                prune(&mut tensor, &config);
                let own = [rule.class()];
                let classes: &[TensorClass] = if is_searched(index) { &CLASSES } else { &own };
                classes.iter().map(|&class| quantize(name, &tensor, class, &config)).collect()
            })
            .collect::<Result<_, QuantizeError>>()
            .map_err(PackError::from)?;
        Ok(Candidates { config, groups, tensors, interrupt })
    }

    /// How scales are chosen here.
    pub fn search(&self) -> ScaleSearch {
        self.config.scale_search
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
        let parts = self.encode(&tensors)?.parts;
        Ok(parts.iter().filter(|(part, _)| *part != Part::Table).map(|(_, bytes)| bytes.0).sum())
    }

    fn encode(&self, tensors: &[PackedTensor]) -> Result<Encoded, FitError> {
        let (codec, level) = (self.config.codec, self.config.zstd_level);
        let encoded = encode(tensors, codec, level, &Progress::hidden(), self.interrupt);
        Ok(encoded.map_err(PackError::from)?)
    }

    /// The manifest's settings for a setting: pinned classes first, then a rule for every tensor that PR #286's rules
    /// would put elsewhere.
    pub fn settings(&self, params: &Params, setting: &Setting) -> Result<QuantizationConfig, FitError> {
        let sizes: Vec<(&str, usize)> = params.iter().map(|(name, tensor)| (name, tensor.len())).collect();
        let rules = assign(&sizes, &self.config).map_err(PackError::from)?;
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
