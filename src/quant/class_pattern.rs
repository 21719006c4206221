//! Storage classes chosen by tensor name, asked before PR #286's own rules.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TensorClass;
use crate::glob::matches;

/// Near names shown for a pattern that matches nothing.
const NEAR_NAMES: usize = 3;

/// Tensors by name, and the class they are held in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClassPattern {
    /// State-dict name; `*` is any run of characters, `?` any one: `blocks.*.mlp.*`.
    pub pattern: String,
    /// Their class.
    pub class: TensorClass,
}

impl ClassPattern {
    /// Whether the tensor of that name is meant.
    pub fn matches(&self, name: &str) -> bool {
        matches(&self.pattern, name)
    }

    /// The first of some patterns that fits a name.
    pub fn first<'a>(patterns: &'a [ClassPattern], name: &str) -> Option<&'a ClassPattern> {
        patterns.iter().find(|pattern| pattern.matches(name))
    }
}

impl std::fmt::Display for ClassPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.pattern, self.class)
    }
}

/// A text that is not PATTERN=CLASS.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not PATTERN=CLASS with class int5, int6, int8, f16 or f32, such as `blocks.*.mlp.*=int6`")]
pub struct ParseClassPatternError(String);

impl FromStr for ClassPattern {
    type Err = ParseClassPatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseClassPatternError(text.to_string());
        let (pattern, class) = text.rsplit_once('=').ok_or_else(error)?;
        let (pattern, class) = (pattern.trim(), class.trim());
        let class = TensorClass::ALL.into_iter().find(|known| known.to_string() == class).ok_or_else(error)?;
        if pattern.is_empty() { Err(error()) } else { Ok(ClassPattern { pattern: pattern.to_string(), class }) }
    }
}

/// A pattern without a tensor: almost always a typing error, which would pack the model in another way than intended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pattern `{pattern}` matches no tensor of this model; near it are {}", near.join(", "))]
pub struct UnmatchedPattern {
    /// The pattern.
    pub pattern: String,
    /// Patterns of the most similar names, in backquotes, block numbers replaced by `*`.
    pub near: Vec<String>,
}

impl UnmatchedPattern {
    /// The first pattern that fits none of the names.
    pub fn find<'a, 'p>(
        mut patterns: impl Iterator<Item = &'p str>,
        names: impl Iterator<Item = &'a str> + Clone,
    ) -> Option<Self> {
        let lost = patterns.find(|pattern| !names.clone().any(|name| matches(pattern, name)))?;
        Some(UnmatchedPattern { pattern: lost.to_string(), near: near(lost, names) })
    }
}

/// The names whose dotted parts are most like those of a pattern, blocks counted once.
fn near<'a>(pattern: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut kinds: Vec<String> = Vec::new();
    for name in names {
        let part = |part: &'a str| if part.parse::<u32>().is_ok() { "*" } else { part };
        let kind = name.split('.').map(part).collect::<Vec<_>>().join(".");
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds.sort_by(|a, b| likeness(pattern, b).total_cmp(&likeness(pattern, a)));
    kinds.into_iter().take(NEAR_NAMES).map(|kind| format!("`{kind}`")).collect()
}

/// How like the parts of a name are to the letters of a pattern, from 0 to 1.
fn likeness(pattern: &str, name: &str) -> f64 {
    let literal = pattern.split(['.', '*', '?']).filter(|part| !part.is_empty());
    let best = |part: &str| name.split('.').map(|other| strsim::jaro_winkler(part, other)).fold(0.0, f64::max);
    let (sum, parts) = literal.fold((0.0, 0u32), |(sum, parts), part| (sum + best(part), parts + 1));
    sum / f64::from(parts.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_pattern_and_class() {
        let parsed: ClassPattern = "blocks.?.mlp.*=int6".parse().unwrap();
        assert_eq!((parsed.pattern.as_str(), parsed.class), ("blocks.?.mlp.*", TensorClass::Int6));
        assert!(parsed.matches("blocks.3.mlp.fc.weight") && !parsed.matches("blocks.10.mlp.fc.weight"));
        for text in ["tok_emb.weight", "=int6", "a=int7", "a=INT5", ""] {
            assert!(text.parse::<ClassPattern>().unwrap_err().to_string().contains("is not PATTERN=CLASS"), "{text}");
        }
    }

    #[test]
    fn the_first_pattern_that_fits_counts() {
        let patterns: Vec<ClassPattern> = ["a.*=int6", "*=f16"].map(|text| text.parse().unwrap()).to_vec();
        let class = |name| ClassPattern::first(&patterns, name).map(|pattern| pattern.class);
        assert_eq!((class("a.b"), class("b")), (Some(TensorClass::Int6), Some(TensorClass::F16)));
        assert_eq!(ClassPattern::first(&patterns[..1], "b"), None);
        assert_eq!(patterns[0].to_string(), "a.*=int6");
    }

    /// The mean over the pattern's letters of their best likeness: 1 for what is there, 0 for what has nothing in common.
    #[test]
    fn likeness_is_a_mean_over_parts() {
        for (pattern, name, expected) in [
            ("mlp.fc", "blocks.mlp.fc", 1.0),
            ("mlp.*", "blocks.mlp.fc", 1.0),
            ("mlp?zzz", "mlp", 0.5),
            ("*", "mlp", 0.0),
        ] {
            assert_eq!(likeness(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn near_names_count_blocks_once_and_are_three() {
        let names = ["blocks.0.mlp", "blocks.1.mlp", "blocks.10.mlp", "a.mlp", "b.mlp", "c.x"];
        let near = near("*.mlp", names.into_iter());
        assert_eq!(near, ["`blocks.*.mlp`", "`a.mlp`", "`b.mlp`"]);
    }

    #[test]
    fn a_pattern_without_tensor_is_told_what_is_near() {
        let specs = crate::model::layout(&crate::model::ModelConfig::default());
        let names = specs.iter().map(|spec| spec.name.as_str());
        let messages: Vec<String> = ["*=f16", "blocks.*.mpl.*=int6", "tok_emb=f16", "blocks.11.attn.c_k.weight=f16"]
            .into_iter()
            .filter_map(|text| {
                let pattern: ClassPattern = text.parse().unwrap();
                UnmatchedPattern::find([pattern.pattern.as_str()].into_iter(), names.clone())
            })
            .map(|error| error.to_string())
            .collect();
        insta::assert_snapshot!(messages.join("\n"), @r"
        pattern `blocks.*.mpl.*` matches no tensor of this model; near it are `blocks.*.mlp_scale`, `blocks.*.mlp.fc.weight`, `blocks.*.mlp.proj.weight`
        pattern `tok_emb` matches no tensor of this model; near it are `tok_emb.weight`, `smear.gate`, `skip_weights`
        pattern `blocks.11.attn.c_k.weight` matches no tensor of this model; near it are `blocks.*.attn.c_k.weight`, `blocks.*.attn.c_q.weight`, `blocks.*.attn.c_v.weight`
        ");
    }
}
