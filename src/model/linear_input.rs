//! What enters the linear layers, and which weights it is multiplied with.

use super::ModelConfig;

/// Activations that are multiplied with one matrix or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinearInput {
    /// The rows of the bigram table, on their way into the residual stream.
    Bigram,
    /// The rows of the value embedding.
    Values,
    /// What queries, keys and values of that block are made of.
    Attention(usize),
    /// What that block's attention projects.
    AttentionProjection(usize),
    /// What the hidden layer of that block's MLP reads.
    Mlp(usize),
    /// That hidden layer, squared.
    MlpProjection(usize),
    /// The final norm: the head reads it, or the tied table.
    Head,
}

impl LinearInput {
    /// Every one of a network, in the order of the forward pass. A block that is run several times has each once.
    pub fn all(config: &ModelConfig) -> Vec<LinearInput> {
        let bigram = config.has_bigram_projection().then_some(LinearInput::Bigram);
        let values = config.has_value_projection().then_some(LinearInput::Values);
        let block = |i| {
            [
                LinearInput::Attention(i),
                LinearInput::AttentionProjection(i),
                LinearInput::Mlp(i),
                LinearInput::MlpProjection(i),
            ]
        };
        let blocks = (0..config.num_layers).flat_map(block);
        bigram.into_iter().chain(values).chain(blocks).chain([LinearInput::Head]).collect()
    }

    /// Values a token.
    pub fn channels(self, config: &ModelConfig) -> usize {
        match self {
            LinearInput::Bigram => config.bigram_dim,
            LinearInput::Values => config.value_embedding.as_ref().map_or(0, |embedding| embedding.dim),
            LinearInput::MlpProjection(_) => config.mlp_hidden(),
            _ => config.model_dim,
        }
    }

    /// State-dict names of the matrices it is multiplied with: `[out, channels]` each.
    pub fn readers(self, config: &ModelConfig) -> Vec<String> {
        let one = |name: &str| vec![name.to_string()];
        match self {
            LinearInput::Bigram => one("bigram.proj.weight"),
            LinearInput::Values => one("ve_shared.proj.weight"),
            LinearInput::Attention(i) => ["c_q", "c_k", "c_v"].map(|m| format!("blocks.{i}.attn.{m}.weight")).to_vec(),
            LinearInput::AttentionProjection(i) => vec![format!("blocks.{i}.attn.proj.weight")],
            LinearInput::Mlp(i) => vec![format!("blocks.{i}.mlp.fc.weight")],
            LinearInput::MlpProjection(i) => vec![format!("blocks.{i}.mlp.proj.weight")],
            LinearInput::Head if config.tie_embeddings => one("tok_emb.weight"),
            LinearInput::Head => one("lm_head.weight"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{ValueEmbedding, layout};

    #[test]
    fn every_matrix_reads_one_input_of_its_width_and_tables_read_none() {
        for tie_embeddings in [true, false] {
            let config = ModelConfig {
                num_layers: 3,
                tie_embeddings,
                value_embedding: Some(ValueEmbedding { dim: 24, blocks: vec![1] }),
                ..Default::default()
            };
            let readers = LinearInput::all(&config).into_iter().flat_map(|input| {
                let channels = input.channels(&config);
                input.readers(&config).into_iter().map(move |name| (name, channels))
            });
            let found: BTreeMap<String, usize> = readers.clone().collect();
            assert_eq!(found.len(), readers.count());
            let mut tables = vec!["bigram.embed.weight", "ve_shared.embed.weight"];
            if !tie_embeddings {
                tables.push("tok_emb.weight");
            }
            let matrices = layout(&config).into_iter().filter(|spec| {
                spec.shape.len() == 2 && spec.name.ends_with(".weight") && !tables.contains(&spec.name.as_str())
            });
            let expected: BTreeMap<String, usize> = matrices.map(|spec| (spec.name, spec.shape[1])).collect();
            assert_eq!(found, expected);
        }
    }
}
