//! Which tensor gets which storage class: the decision order of PR #286's export.

use crate::manifest::QuantizationConfig;
use crate::model::in_block;
use crate::quant::{ClassPattern, TensorClass, UnmatchedPattern};

/// Parts of names that mark control tensors (PR #286, `CONTROL_TENSOR_NAME_PATTERNS`).
const CONTROL_PATTERNS: [&str; 7] =
    ["attn_scale", "mlp_scale", "resid_mix", "q_gain", "skip_weight", "smear", "bigram.scale"];

/// Name part of the tensor that stays half precision at any size.
const EMBEDDING_PATTERN: &str = "tok_emb";

/// End of the names kept in half precision in the last k blocks.
const KEPT_KEY_SUFFIX: &str = "attn.c_k.weight";

/// The rule that decided a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClassRule {
    /// The manifest's `quantization.classes` name it. Asked before all others.
    Named(TensorClass),
    /// At most `passthrough_max_elements` elements. Asked first, so controls become f16, not f32.
    Small,
    /// A gain, gate, mix or scale too large to be small.
    Control,
    /// The embedding table, or a key projection of one of the last k blocks.
    Kept,
    /// A matrix of attention, or a projection outside the MLP.
    Attention,
    /// A matrix of the MLP.
    Mlp,
    /// None of the above: hashed bigram table, untied head.
    Other,
}

impl ClassRule {
    /// The class the rule leads to.
    pub fn class(self) -> TensorClass {
        match self {
            ClassRule::Named(class) => class,
            ClassRule::Small | ClassRule::Kept => TensorClass::F16,
            ClassRule::Control => TensorClass::F32,
            ClassRule::Attention => TensorClass::Int6,
            ClassRule::Mlp => TensorClass::Int5,
            ClassRule::Other => TensorClass::Int8,
        }
    }

    /// What PR #286's export writes for it into its metadata.
    pub fn export_label(self) -> &'static str {
        match self {
            ClassRule::Small | ClassRule::Named(TensorClass::F16) => "passthrough",
            ClassRule::Control | ClassRule::Named(TensorClass::F32) => "passthrough_ctrl",
            ClassRule::Kept => "passthrough_fp16",
            ClassRule::Attention | ClassRule::Named(TensorClass::Int6) => "int6",
            ClassRule::Mlp | ClassRule::Named(TensorClass::Int5) => "int5",
            ClassRule::Other | ClassRule::Named(TensorClass::Int8) => "int8",
        }
    }
}

/// The rule for every tensor, given names and element counts of the whole state dict.
///
/// The whole is needed because "the last k blocks" are counted from the highest block index present.
pub fn assign(tensors: &[(&str, usize)], config: &QuantizationConfig) -> Result<Vec<ClassRule>, UnmatchedPattern> {
    if let Some(unmatched) = UnmatchedPattern::find(
        config.classes.iter().map(|rule| rule.pattern.as_str()),
        tensors.iter().map(|(name, _)| *name),
    ) {
        return Err(unmatched);
    }
    let layers = tensors.iter().filter_map(|(name, _)| block_index(name)).max().map_or(0, |top| top + 1);
    let first_kept = layers.saturating_sub(u64::from(config.keep_last_k_fp16));
    let rule = |&(name, elements): &(&str, usize)| match ClassPattern::first(&config.classes, name) {
        Some(named) => ClassRule::Named(named.class),
        None => decide(name, elements as u64, first_kept, config),
    };
    Ok(tensors.iter().map(rule).collect())
}

fn decide(name: &str, elements: u64, first_kept: u64, config: &QuantizationConfig) -> ClassRule {
    let is_kept_key = name.ends_with(KEPT_KEY_SUFFIX) && block_index(name).is_some_and(|block| block >= first_kept);
    if elements <= config.passthrough_max_elements {
        ClassRule::Small
    } else if CONTROL_PATTERNS.iter().any(|pattern| name.contains(pattern)) {
        ClassRule::Control
    } else if name.contains(EMBEDDING_PATTERN) || is_kept_key {
        ClassRule::Kept
    } else if name.contains(".attn.") || (name.contains(".proj.") && !name.contains(".mlp.")) {
        ClassRule::Attention
    } else if name.contains(".mlp.") {
        ClassRule::Mlp
    } else {
        ClassRule::Other
    }
}

/// N of a name that starts with `blocks.N.`.
fn block_index(name: &str) -> Option<u64> {
    // Capped, so that `1 + index` cannot overflow whatever a file calls its tensors.
    in_block(name)?.0.parse::<u32>().ok().map(u64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule_of(name: &str, elements: usize, others: &[&str]) -> ClassRule {
        let tensors: Vec<_> = others.iter().map(|&other| (other, 1)).chain([(name, elements)]).collect();
        *assign(&tensors, &QuantizationConfig::default()).unwrap().last().unwrap()
    }

    #[test]
    fn small_comes_before_everything_else() {
        // 65,536 is the last small size; bigram.proj of the default model has exactly that many.
        for name in ["bigram.proj.weight", "blocks.0.mlp.fc.weight", "smear.gate", "tok_emb.weight"] {
            assert_eq!(rule_of(name, 65_536, &[]), ClassRule::Small);
        }
        assert_eq!(rule_of("bigram.proj.weight", 65_537, &[]), ClassRule::Attention);
        assert_eq!(rule_of("blocks.0.mlp.proj.weight", 65_537, &[]), ClassRule::Mlp);
        assert_eq!(rule_of("smear.gate", 65_537, &[]), ClassRule::Control);
        assert_eq!(rule_of("blocks.3.resid_mix", 65_537, &[]), ClassRule::Control);
        assert_eq!(rule_of("tok_emb.weight", 65_537, &[]), ClassRule::Kept);
        assert_eq!(rule_of("lm_head.weight", 65_537, &[]), ClassRule::Other);
        assert_eq!(rule_of("bigram.embed.weight", 65_537, &[]), ClassRule::Other);
    }

    #[test]
    fn names_come_before_sizes_and_the_first_match_wins() {
        let classes = ["blocks.0.*=int8", "blocks.*.mlp.*=int6", "smear.gate=f32"].map(|text| text.parse().unwrap());
        let config = QuantizationConfig { classes: classes.to_vec(), ..Default::default() };
        let names = [
            "blocks.0.mlp.fc.weight",
            "blocks.1.mlp.fc.weight",
            "blocks.1.attn.c_q.weight",
            "smear.gate",
            "skip_weights",
        ];
        let sizes = names.map(|name| (name, if name.ends_with("weight") { 70_000 } else { 512 }));
        let classes: Vec<TensorClass> = assign(&sizes, &config).unwrap().into_iter().map(ClassRule::class).collect();
        use TensorClass::{F16, F32, Int6, Int8};
        assert_eq!(classes, [Int8, Int6, Int6, F32, F16]);
        assert_eq!(assign(&sizes[..3], &config).unwrap_err().pattern, "smear.gate");
    }

    #[test]
    fn last_block_is_the_highest_index_present() {
        let key = "blocks.9.attn.c_k.weight";
        assert_eq!(rule_of(key, 70_000, &["blocks.0.attn_scale"]), ClassRule::Kept);
        assert_eq!(rule_of(key, 70_000, &["blocks.10.attn_scale"]), ClassRule::Attention);
        // Not a number, or not a block: does not count.
        assert_eq!(
            rule_of(key, 70_000, &["blocks.x.attn_scale", "blocks.99999999999.y", "head.99.z"]),
            ClassRule::Kept
        );
    }
}
