//! The ways to choose integers that are searched against one another.

use std::str::FromStr;

use crate::manifest::QuantizationConfig;
use crate::model::{LinearInput, ModelConfig, ParamRole, layout};
use crate::quant::{ParseQuantizerError, Quantizer, QuantizerRule, Rounding, ScaleRule, ScaleSearch};

/// How scales are chosen, and weights rounded, while classes are searched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    /// PR #286's rules with a search of scales, weights rounded to the nearest.
    Search(ScaleSearch),
    /// One rule for all tensors; tables that are multiplied with nothing are rounded to the nearest.
    Rule(Quantizer),
}

impl Way {
    /// The settings with this way in the place of theirs. Their own rules stay and come first.
    pub(super) fn applied(self, config: &QuantizationConfig, model: &ModelConfig) -> QuantizationConfig {
        let mut config = config.clone();
        match self {
            Way::Search(search) => config.scale_search = search,
            Way::Rule(quantizer) => {
                if quantizer.rounding.uses_hessian() {
                    config.rules.extend(tables(model).map(|table| QuantizerRule::new(table, to_nearest(quantizer))));
                }
                config.rules.push(QuantizerRule::new("*", quantizer));
            }
        }
        config
    }
}

/// Tables that are read row by row and multiplied with nothing.
fn tables(model: &ModelConfig) -> impl Iterator<Item = String> {
    let readers: Vec<String> = LinearInput::all(model).into_iter().flat_map(|input| input.readers(model)).collect();
    let is_table = |role| role == ParamRole::Embedding;
    let specs = layout(model).into_iter().filter(move |spec| is_table(spec.role) && !readers.contains(&spec.name));
    specs.map(|spec| spec.name)
}

/// The same scales without a Hessian.
fn to_nearest(Quantizer { scales, low_rank, .. }: Quantizer) -> Quantizer {
    let scales = match scales {
        ScaleRule::Deviation { deviations, .. } => ScaleRule::Deviation { deviations, curvature: 0.0 },
        other => other,
    };
    Quantizer { scales, rounding: Rounding::Nearest, low_rank }
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Way::Search(search) => write!(f, "{search}"),
            Way::Rule(quantizer) => write!(f, "{quantizer}"),
        }
    }
}

impl FromStr for Way {
    type Err = ParseQuantizerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match ScaleSearch::ALL.into_iter().find(|search| search.to_string() == text) {
            Some(search) => Ok(Way::Search(search)),
            None => text.parse().map(Way::Rule),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_searches_and_rules() {
        for text in ["max", "percentiles", "mse", "clip_search", "deviation:12.85/gptq"] {
            assert_eq!(text.parse::<Way>().unwrap().to_string(), text);
        }
        assert!("least".parse::<Way>().is_err());
    }

    #[test]
    fn tables_without_a_hessian_are_rounded_to_the_nearest() {
        let model = ModelConfig { num_layers: 1, ..Default::default() };
        let pinned =
            QuantizationConfig { rules: vec!["smear.gate=row_maximum".parse().unwrap()], ..Default::default() };
        let rules = |way: &str, model: &ModelConfig| {
            let applied = way.parse::<Way>().unwrap().applied(&pinned, model);
            (applied.scale_search, applied.rules.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(rules("mse", &model), (ScaleSearch::Mse, "smear.gate=row_maximum".to_string()));
        assert_eq!(rules("clip_search", &model).1, "smear.gate=row_maximum *=clip_search");
        assert_eq!(
            rules("deviation:9:0.1/gptq", &model).1,
            "smear.gate=row_maximum bigram.embed.weight=deviation:9 *=deviation:9:0.1/gptq"
        );
        // An untied table is multiplied with nothing.
        let untied = ModelConfig { tie_embeddings: false, bigram_vocab_size: 0, ..model };
        let expected = "smear.gate=row_maximum tok_emb.weight=clip_search *=clip_search/gptq";
        assert_eq!(rules("clip_search/gptq", &untied).1, expected);
    }
}
