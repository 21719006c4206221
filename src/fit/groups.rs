//! What is lowered together.

use crate::model::{ModelConfig, ParamRole, layout};
use crate::quant::ClassPattern;

/// How finely the search may choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Grouping {
    /// Every matrix and table by itself.
    #[default]
    Tensor,
    /// The attention matrices of a block together, and its MLP matrices: a third of the measurements.
    Layer,
}

/// Tensors that always share a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The tensor's name, or a pattern such as `blocks.3.mlp.*`.
    pub name: String,
    /// Places in the state dict, ascending.
    pub members: Vec<usize>,
}

/// The groups of a network in state-dict order: its matrices and tables, without those some pattern pins to a class.
///
/// Gains, gates and scales are left to the manifest's rules: there is nothing to gain from a few hundred bytes.
pub fn groups(model: &ModelConfig, pinned: &[ClassPattern], grouping: Grouping) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (index, spec) in layout(model).into_iter().enumerate() {
        let is_searched = spec.role != ParamRole::Control && spec.shape.len() == 2;
        if !is_searched || ClassPattern::first(pinned, &spec.name).is_some() {
            continue;
        }
        let name = match grouping {
            Grouping::Tensor => spec.name,
            Grouping::Layer => kind_in_block(&spec.name).unwrap_or(spec.name),
        };
        match groups.iter_mut().find(|group| group.name == name) {
            Some(group) => group.members.push(index),
            None => groups.push(Group { name, members: vec![index] }),
        }
    }
    groups
}

/// `blocks.3.mlp.*` for the matrices of a block's MLP, and alike for attention.
fn kind_in_block(name: &str) -> Option<String> {
    let mut parts = name.split('.');
    let (blocks, number, kind) = (parts.next()?, parts.next()?, parts.next()?);
    (blocks == "blocks").then(|| format!("blocks.{number}.{kind}.*"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pinned: &[ClassPattern], grouping: Grouping) -> Vec<(String, usize)> {
        let model = ModelConfig { num_layers: 2, ..Default::default() };
        groups(&model, pinned, grouping).into_iter().map(|group| (group.name, group.members.len())).collect()
    }

    #[test]
    fn every_matrix_that_is_not_pinned_is_in_one_group() {
        let one = |name: &str| (name.to_string(), 1);
        let tensors = names(&[], Grouping::Tensor);
        assert_eq!(tensors.len(), 3 + 2 * 6);
        assert_eq!(
            tensors[..4].to_vec(),
            [
                one("tok_emb.weight"),
                one("bigram.embed.weight"),
                one("bigram.proj.weight"),
                one("blocks.0.attn.c_q.weight")
            ]
        );
        let pinned = ["bigram.*=f16", "blocks.1.attn.c_?.weight=int8"].map(|text| text.parse().unwrap());
        assert_eq!(
            names(&pinned, Grouping::Layer),
            [
                one("tok_emb.weight"),
                ("blocks.0.attn.*".to_string(), 4),
                ("blocks.0.mlp.*".to_string(), 2),
                one("blocks.1.attn.*"),
                ("blocks.1.mlp.*".to_string(), 2),
            ]
        );
    }
}
