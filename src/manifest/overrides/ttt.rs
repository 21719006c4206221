//! `eval.ttt` from outside: a section that is there or not. Set to 1 it has its defaults, set to 0 it is gone; its fields can
//! be set while it is there.

use std::path::Path;

use serde_yaml::Value;

use super::{Override, OverrideError, OverrideSource, scalar_like};
use crate::manifest::TttConfig;

/// Variables of the scripts, apart from the others: scripts give other kinds of test-time training the same names, so that a
/// script's defaults say nothing about a manifest.
pub(super) const ENVIRONMENT: &[(&str, &str)] = &[
    ("TTT_ENABLED", SECTION),
    ("TTT_CHUNK_TOKENS", "eval.ttt.chunk_tokens"),
    ("TTT_LR", "eval.ttt.learning_rate"),
    ("TTT_EPOCHS", "eval.ttt.epochs"),
    ("TTT_MOMENTUM", "eval.ttt.momentum"),
    ("TTT_BATCH_SEQS", "eval.ttt.sequences_per_step"),
    ("TTT_GRAD_CLIP", "eval.ttt.clip"),
    ("TTT_FREEZE_BLOCKS", "eval.ttt.freeze_blocks"),
];

const SECTION: &str = "eval.ttt";

/// Whether a change is done with: one of the section itself, or of a field that an environment sets in vain.
pub(super) fn apart(tree: &mut Value, change: &Override) -> Result<bool, OverrideError> {
    let is_there = section(tree).is_some();
    if change.field == SECTION {
        let is_on = scalar_like(&Value::Bool(false), change, Path::new(""))?;
        match (is_on.as_bool(), is_there) {
            (Some(true), false) => put(tree, Some(TttConfig::default())),
            (Some(false), true) => put(tree, None),
            _ => {}
        }
        return Ok(true);
    }
    let is_of_it = change.field.strip_prefix(SECTION).is_some_and(|rest| rest.starts_with('.'));
    match &change.source {
        _ if is_there || !is_of_it => Ok(false),
        // What the scripts do not read while it is off.
        OverrideSource::Environment(_) => Ok(true),
        source => Err(OverrideError::NoTtt { source_name: source.to_string(), field: change.field.clone() }),
    }
}

fn section(tree: &Value) -> Option<&Value> {
    tree.get("eval")?.get("ttt").filter(|value| !value.is_null())
}

/// Writes out the field that is left out at its default.
pub(super) fn show_resting(tree: &mut Value) {
    if let Some(shown) = section(tree).and_then(|config| serde_yaml::from_value(config.clone()).ok()) {
        put(tree, Some(shown));
    }
}

/// Puts the section into a tree, with every field, or takes it away.
pub(super) fn put(tree: &mut Value, config: Option<TttConfig>) {
    let Some(eval) = tree.get_mut("eval").and_then(Value::as_mapping_mut) else { return };
    let Some(config) = config else {
        eval.shift_remove("ttt");
        return;
    };
    // Plain structs of numbers and enums always have a YAML form.
    let mut section = serde_yaml::to_value(&config).unwrap_or(Value::Null);
    if let Some(fields) = section.as_mapping_mut() {
        fields.entry(Value::from("frozen")).or_insert(serde_yaml::to_value(config.frozen).unwrap_or(Value::Null));
    }
    eval.insert(Value::from("ttt"), section);
}

#[cfg(test)]
mod tests {
    use super::super::{assignment, from_environment, with_overrides};
    use super::*;
    use crate::manifest::{Manifest, parse};

    fn changed(overrides: &[Override]) -> Result<Manifest, OverrideError> {
        let manifest = parse("schema: golf-harness/manifest/v1\nname: test\n", Path::new("test.yaml")).unwrap();
        with_overrides(manifest, overrides)
    }

    /// As the scripts read them: nothing is learned unless TTT_ENABLED says so.
    #[test]
    fn test_time_training_is_switched_and_then_set() {
        let from = |pairs: &[(&str, &str)]| {
            let value = |name: &str| pairs.iter().find(|(given, _)| *given == name).map(|(_, value)| value.to_string());
            changed(&from_environment(value)).unwrap().eval.ttt
        };
        assert_eq!(from(&[("TTT_LR", "0.002"), ("TTT_EPOCHS", "5")]), None);
        assert_eq!(from(&[("TTT_ENABLED", "0"), ("TTT_LR", "0.002")]), None);
        assert_eq!(from(&[("TTT_ENABLED", "1")]), Some(TttConfig::default()));
        let all = [
            ("TTT_FREEZE_BLOCKS", "2"),
            ("TTT_GRAD_CLIP", "0.5"),
            ("TTT_BATCH_SEQS", "16"),
            ("TTT_MOMENTUM", "0.8"),
            ("TTT_EPOCHS", "5"),
            ("TTT_LR", "0.002"),
            ("TTT_CHUNK_TOKENS", "65536"),
            ("TTT_ENABLED", "1"),
        ];
        let expected = TttConfig {
            chunk_tokens: 65_536,
            learning_rate: 0.002,
            epochs: 5,
            momentum: 0.8,
            sequences_per_step: 16,
            clip: 0.5,
            freeze_blocks: 2,
            ..TttConfig::default()
        };
        assert_eq!(from(&all), Some(expected));

        let set = |texts: &[&str]| {
            let overrides: Vec<Override> = texts.iter().map(|text| assignment(text).unwrap()).collect();
            changed(&overrides).map(|manifest| manifest.eval.ttt).map_err(|error| error.to_string())
        };
        let some = |change: fn(&mut TttConfig)| {
            let mut config = TttConfig::default();
            change(&mut config);
            Ok(Some(config))
        };
        let frozen = some(|config| config.frozen = crate::manifest::FrozenParts::Vectors);
        assert_eq!(set(&["eval.ttt=1", "eval.ttt.frozen=vectors"]), frozen);
        assert_eq!(set(&["eval.ttt=1", "eval.ttt.epochs=1", "eval.ttt=true"]), some(|config| config.epochs = 1));
        assert_eq!(set(&["eval.ttt=1", "eval.ttt.epochs=1", "eval.ttt=0"]), Ok(None));
        let error = set(&["eval.ttt.epochs=1"]).unwrap_err();
        assert!(error.contains("`--set eval.ttt=1` before it"), "{error}");
        let error = set(&["eval.ttt=yes"]).unwrap_err();
        assert!(error.contains("`yes` is not 0, 1, true or false, which `eval.ttt` needs"), "{error}");
        let error = set(&["eval.ttt=1", "eval.ttt.epoch=1"]).unwrap_err();
        assert!(error.contains("did you mean `eval.ttt.epochs`?"), "{error}");
    }
}
