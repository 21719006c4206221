//! Changing a recipe from outside: environment variables of the challenge's scripts, then flags.
//!
//! Precedence is flag > environment > manifest; a file of defaults says where data lies if the manifest's own place is
//! empty. Every change is a dotted field and a text, applied to the
//! manifest's own YAML form, so that each one passes through the same parser and checks as the file did.

mod ttt;

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Serialize;
use serde_yaml::{Mapping, Value};

use super::load::parse_unseen;
use super::{DataConfig, EvalConfig, LoadError, Manifest, QuantizationConfig, load};
use crate::model::ModelConfig;
use crate::path_safety::folder_of;
use crate::quant::{ClassPattern, QuantizerRule};

/// Where an override came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OverrideSource {
    /// An environment variable, by name.
    Environment(&'static str),
    /// A command-line flag, as typed.
    Flag(String),
    /// A file of defaults.
    Config(PathBuf),
}

impl std::fmt::Display for OverrideSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OverrideSource::Environment(variable) => write!(f, "environment variable {variable}"),
            OverrideSource::Flag(flag) => write!(f, "flag {flag}"),
            OverrideSource::Config(file) => write!(f, "config {}", file.display()),
        }
    }
}

/// One field set from outside the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// Who asked for it.
    pub source: OverrideSource,
    /// Dotted path of the field, such as `schedule.seed`.
    pub field: String,
    /// New value as text.
    pub value: String,
}

impl Override {
    /// An override from a flag.
    pub fn flag(flag: &str, field: &str, value: impl ToString) -> Self {
        Override { source: OverrideSource::Flag(flag.to_string()), field: field.to_string(), value: value.to_string() }
    }

    /// A default from a file.
    pub fn config(file: &Path, field: &str, value: impl ToString) -> Self {
        let source = OverrideSource::Config(file.to_path_buf());
        Override { source, field: field.to_string(), value: value.to_string() }
    }
}

/// Why an override could not be applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OverrideError {
    /// The manifest itself is not acceptable.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// No such field.
    #[error("{source_name}: the manifest has no field `{field}`{}", did_you_mean(suggestion))]
    UnknownField {
        /// Flag or variable.
        source_name: String,
        /// The dotted path.
        field: String,
        /// A field that was probably meant.
        suggestion: Option<String>,
    },
    /// A text that does not fit the field.
    #[error("{source_name}: `{value}` is not {expected}, which `{field}` needs")]
    Value {
        /// Flag or variable.
        source_name: String,
        /// The dotted path.
        field: String,
        /// The text.
        value: String,
        /// What the field takes.
        expected: &'static str,
    },
    /// A field of test-time training where there is none.
    #[error(
        "{source_name}: there is no test-time training here for `{field}`; `--set eval.ttt=1` before it has it with its defaults"
    )]
    NoTtt {
        /// Flag or variable.
        source_name: String,
        /// The dotted path.
        field: String,
    },
    /// `--set` without `=`.
    #[error("`--set {0}` must be FIELD=VALUE, such as `--set schedule.seed=7`")]
    Assignment(String),
}

fn did_you_mean(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map_or(String::new(), |field| format!("; did you mean `{field}`?"))
}

/// Environment variables of the challenge's scripts and the fields they set.
///
/// Names from the challenge's baseline `train_gpt.py`, from PR #286's README, and from the scripts of later records.
pub const ENVIRONMENT: &[(&str, &str)] = &[
    ("RUN_ID", "name"),
    ("DATA_PATH", "data.path"),
    ("TOKENIZER_PATH", "data.tokenizer.path"),
    ("VOCAB_SIZE", "model.vocab_size"),
    ("NUM_LAYERS", "model.num_layers"),
    ("MODEL_DIM", "model.model_dim"),
    ("NUM_HEADS", "model.num_heads"),
    ("NUM_KV_HEADS", "model.num_kv_heads"),
    ("MLP_MULT", "model.mlp_mult"),
    ("TIE_EMBEDDINGS", "model.tie_embeddings"),
    ("ROPE_BASE", "model.rope_base"),
    ("LOGIT_SOFTCAP", "model.logit_softcap"),
    ("QK_GAIN_INIT", "model.qk_gain_init"),
    ("TIED_EMBED_INIT_STD", "model.tied_embed_init_std"),
    ("BIGRAM_VOCAB_SIZE", "model.bigram_vocab_size"),
    ("BIGRAM_DIM", "model.bigram_dim"),
    ("XSA_LAST_N", "model.xsa_last_n"),
    ("ROPE_DIMS", "model.rope_dims"),
    ("LN_SCALE", "model.ln_scale"),
    ("EMBED_LR", "optimizer.embed_lr"),
    ("TIED_EMBED_LR", "optimizer.tied_embed_lr"),
    ("HEAD_LR", "optimizer.head_lr"),
    ("MATRIX_LR", "optimizer.matrix_lr"),
    ("SCALAR_LR", "optimizer.scalar_lr"),
    ("GRAD_CLIP_NORM", "optimizer.grad_clip_norm"),
    ("MUON_MOMENTUM", "optimizer.muon.momentum"),
    ("MUON_MOMENTUM_WARMUP_START", "optimizer.muon.momentum_warmup_start"),
    ("MUON_MOMENTUM_WARMUP_STEPS", "optimizer.muon.momentum_warmup_steps"),
    ("MUON_BACKEND_STEPS", "optimizer.muon.newton_schulz_steps"),
    ("MUON_WEIGHT_DECAY", "optimizer.muon.weight_decay"),
    ("MUON_WD", "optimizer.muon.weight_decay"),
    ("ADAM_WD", "optimizer.adam.weight_decay"),
    ("BETA1", "optimizer.adam.beta1"),
    ("BETA2", "optimizer.adam.beta2"),
    ("ADAM_EPS", "optimizer.adam.eps"),
    ("ADAM_WEIGHT_DECAY", "optimizer.adam.weight_decay"),
    ("SEED", "schedule.seed"),
    ("ITERATIONS", "schedule.iterations"),
    ("WARMDOWN_ITERS", "schedule.warmdown_iters"),
    ("WARMUP_STEPS", "schedule.warmup_steps"),
    ("MAX_WALLCLOCK_SECONDS", "schedule.max_wallclock_seconds"),
    ("TRAIN_BATCH_TOKENS", "schedule.train_batch_tokens"),
    ("TRAIN_SEQ_LEN", "schedule.train_seq_len"),
    ("VAL_LOSS_EVERY", "schedule.val_loss_every"),
    ("TRAIN_LOG_EVERY", "schedule.train_log_every"),
    ("SWA_ENABLED", "schedule.swa.enabled"),
    ("SWA_START_FRAC", "schedule.swa.start_frac"),
    ("SWA_EVERY", "schedule.swa.every"),
    ("QAT_ENABLED", "schedule.qat.enabled"),
    ("QAT_START_FRAC", "schedule.qat.start_frac"),
    ("KEEP_LAST_K_FP16", "quantization.keep_last_k_fp16"),
    ("PRUNE_FRAC", "quantization.prune_fraction"),
    ("EVAL_SEQ_LEN", "eval.seq_len"),
    ("EVAL_STRIDE", "eval.stride"),
    ("EVAL_BATCH_SEQS", "eval.batch_windows"),
];

/// Overrides found in an environment, in table order. Empty values count as unset.
pub fn from_environment(lookup: impl Fn(&str) -> Option<String>) -> Vec<Override> {
    let set = |&(variable, field): &(&'static str, &str)| {
        let value = lookup(variable).filter(|value| !value.is_empty())?;
        Some(Override { source: OverrideSource::Environment(variable), field: field.to_string(), value })
    };
    ENVIRONMENT.iter().chain(ttt::ENVIRONMENT).filter_map(set).collect()
}

/// Reads `FIELD=VALUE`, the argument of `--set`.
pub fn assignment(text: &str) -> Result<Override, OverrideError> {
    let (field, value) = text.split_once('=').ok_or_else(|| OverrideError::Assignment(text.to_string()))?;
    Ok(Override::flag(&format!("--set {text}"), field.trim(), value.trim()))
}

/// A manifest as it will be used: loaded, overridden, checked.
#[derive(Clone, Debug)]
pub struct Effective {
    /// The recipe with every override applied.
    pub manifest: Manifest,
    /// Folder that relative paths in it start from.
    pub folder: PathBuf,
    /// What was changed, in order of application (later ones win).
    pub overrides: Vec<Override>,
}

impl Effective {
    /// Loads `path` and applies overrides in order. Paths given from outside are relative to `current`, not to the manifest.
    pub fn load(path: &Path, overrides: Vec<Override>, current: &Path) -> Result<Self, OverrideError> {
        let manifest = apply(load(path)?, &overrides, path, current)?;
        let folder = folder_of(path).to_path_buf();
        Ok(Effective { manifest, folder, overrides })
    }
}

/// A manifest that lies nowhere yet, changed in order; paths are taken as they are.
pub fn with_overrides(manifest: Manifest, overrides: &[Override]) -> Result<Manifest, OverrideError> {
    apply(manifest, overrides, Path::new("manifest"), Path::new(""))
}

fn apply(manifest: Manifest, overrides: &[Override], path: &Path, current: &Path) -> Result<Manifest, OverrideError> {
    if overrides.is_empty() {
        return Ok(manifest);
    }
    // A manifest that was just parsed always has a YAML form.
    let mut tree = serde_yaml::to_value(&manifest).unwrap_or(Value::Null);
    show_resting(&mut tree);
    for change in overrides {
        set(&mut tree, change, current)?;
    }
    let text = serde_yaml::to_string(&tree).unwrap_or_default();
    Ok(parse_unseen(&text, path)?)
}

/// Fields that hold a path; texts from outside are relative to the current folder.
const PATH_FIELDS: [&str; 2] = ["data.path", "data.tokenizer.path"];

/// A value of the kind of a field that is absent from the YAML form while it has none.
fn optional(field: &str) -> Option<Value> {
    match field {
        "data.tokenizer.path" => Some(Value::String(String::new())),
        "data.byte_sidecar.pattern" => Some(Value::String(String::new())),
        "data.byte_sidecar.text_bytes"
        | "quantization.prune_to"
        | "quantization.calibration.sequences"
        | "quantization.calibration.seq_len" => Some(Value::from(0u64)),
        "quantization.calibration.text" => Some(Value::String(String::new())),
        "quantization.calibration.temperature" => Some(Value::from(0.0)),
        _ => None,
    }
}

/// Writes out settings that rest at a default and are left out of the YAML form then.
fn show_resting(tree: &mut Value) {
    let mut show = |section: &str, resting: Vec<(&str, Value)>| {
        let Some(section) = tree.get_mut(section).and_then(Value::as_mapping_mut) else { return };
        for (key, value) in resting {
            section.entry(Value::from(key)).or_insert(value);
        }
    };
    let quantization = QuantizationConfig::default();
    show(
        "quantization",
        vec![
            ("classes", Value::Sequence(Vec::new())),
            ("low_bit_clip_quantile", Value::from(quantization.low_bit_clip_quantile)),
            ("scale_search", Value::from(quantization.scale_search.to_string())),
            ("rules", Value::Sequence(Vec::new())),
            ("container", Value::from(quantization.container.to_string())),
        ],
    );
    let model = ModelConfig::default();
    show(
        "model",
        vec![
            ("smear", Value::from(model.smear)),
            ("smear_stops_at_begin", Value::from(model.smear_stops_at_begin)),
            ("skips", serde_yaml::to_value(model.skips).unwrap_or(Value::Null)),
            ("resid_mix", Value::from(model.resid_mix)),
            ("mlp_negative_slope", Value::from(model.mlp_negative_slope)),
            ("rope_dims", Value::from(model.rope_dims)),
            ("xsa_last_n", Value::from(model.xsa_last_n)),
            ("ln_scale", Value::from(model.ln_scale)),
            ("init", serde_yaml::to_value(model.init).unwrap_or(Value::Null)),
        ],
    );
    let eval = EvalConfig::default();
    show(
        "eval",
        vec![("tail", Value::from(eval.tail.to_string())), ("whole_windows", Value::from(eval.whole_windows))],
    );
    let data = DataConfig::default();
    show(
        "data",
        vec![("loader", Value::from(data.loader.to_string())), ("loader_seed", Value::from(data.loader_seed))],
    );
    ttt::show_resting(tree);
}

/// Rules from a text: `PATTERN=CLASS,PATTERN=CLASS`, none for an empty one.
fn rules<R: FromStr + Serialize>(text: &str) -> Option<Value> {
    let rules = text.split(',').filter(|rule| !rule.trim().is_empty()).map(str::parse::<R>);
    serde_yaml::to_value(rules.collect::<Result<Vec<_>, _>>().ok()?).ok()
}

fn set(tree: &mut Value, change: &Override, current: &Path) -> Result<(), OverrideError> {
    if ttt::apart(tree, change)? {
        return Ok(());
    }
    let unknown = |suggestion| OverrideError::UnknownField {
        source_name: change.source.to_string(),
        field: change.field.clone(),
        suggestion,
    };
    let mut node = tree;
    for key in change.field.split('.') {
        let known: Vec<String> = node
            .as_mapping()
            .into_iter()
            .flat_map(Mapping::keys)
            .filter_map(Value::as_str)
            .map(str::to_string)
            .collect();
        let mapping = node.as_mapping_mut().ok_or_else(|| unknown(None))?;
        if !mapping.contains_key(key)
            && let Some(value) = optional(&change.field)
        {
            let empty = if change.field.ends_with(key) { value } else { Value::Mapping(Mapping::new()) };
            mapping.insert(Value::from(key), empty);
        }
        node = mapping.get_mut(key).ok_or_else(|| unknown(closest(key, &known, &change.field)))?;
    }
    *node = scalar_like(node, change, current)?;
    Ok(())
}

fn closest(key: &str, known: &[String], field: &str) -> Option<String> {
    let best = known.iter().min_by_key(|name| (strsim::damerau_levenshtein(key, name), (*name).clone()))?;
    (strsim::damerau_levenshtein(key, best) <= 1 + best.len() / 3).then(|| field.replace(key, best))
}

/// The text as a value of the kind that is there now.
fn scalar_like(existing: &Value, change: &Override, current: &Path) -> Result<Value, OverrideError> {
    let text = change.value.as_str();
    let misfit = |expected| OverrideError::Value {
        source_name: change.source.to_string(),
        field: change.field.clone(),
        value: text.to_string(),
        expected,
    };
    match existing {
        Value::String(_) if PATH_FIELDS.contains(&change.field.as_str()) => {
            let path = current.join(text);
            path.to_str().map(Value::from).ok_or_else(|| misfit("a UTF-8 path"))
        }
        Value::String(_) => Ok(Value::from(text)),
        // The scripts read switches as bool(int(...)).
        Value::Bool(_) => match text {
            "1" | "true" => Ok(Value::Bool(true)),
            "0" | "false" => Ok(Value::Bool(false)),
            _ => Err(misfit("0, 1, true or false")),
        },
        Value::Number(number) if number.is_f64() => match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Value::from(value)),
            _ => Err(misfit("a finite number")),
        },
        Value::Number(_) => text.parse::<u64>().map(Value::from).map_err(|_| misfit("a whole number")),
        Value::Sequence(_) if change.field == "quantization.classes" => {
            let expected = "a list PATTERN=CLASS,... with classes int5, int6, int8, f16, f32";
            rules::<ClassPattern>(text).ok_or_else(|| misfit(expected))
        }
        Value::Sequence(_) if change.field == "quantization.rules" => {
            let expected = "a list PATTERN=SCALES[/gptq|/gptq_or_nearest][+low_rank:R],... such as `blocks.*=deviation:12.85/gptq`";
            rules::<QuantizerRule>(text).ok_or_else(|| misfit(expected))
        }
        _ => Err(misfit("settable: it is a list or a section, not a single value; edit the manifest")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{TttConfig, parse};
    use super::*;

    fn manifest() -> Manifest {
        parse("schema: golf-harness/manifest/v1\nname: test\n", Path::new("test.yaml")).unwrap()
    }

    fn changed(overrides: &[Override]) -> Result<Manifest, OverrideError> {
        apply(manifest(), overrides, Path::new("test.yaml"), Path::new("/here"))
    }

    #[test]
    fn every_variable_of_the_table_names_a_field_that_takes_its_value() {
        for (variable, field) in ENVIRONMENT.iter().chain(ttt::ENVIRONMENT) {
            let mut original = serde_yaml::to_value(manifest()).unwrap();
            show_resting(&mut original);
            ttt::put(&mut original, Some(TttConfig::default()));
            let value = field.split('.').try_fold(&original, |node, key| node.get(key));
            let text = match value {
                Some(Value::Bool(on)) => if *on { "0" } else { "1" }.to_string(),
                Some(Value::String(_)) => "elsewhere".to_string(),
                Some(Value::Mapping(_)) => "1".to_string(),
                Some(number) => serde_yaml::to_string(number).unwrap().trim().to_string(),
                None => panic!("{variable}: no field {field}"),
            };
            let environment = |name: &str| (name == *variable).then(|| text.clone());
            let overrides = from_environment(environment);
            assert_eq!(overrides.len(), 1);
            changed(&overrides).unwrap_or_else(|e| panic!("{variable}={text}: {e}"));
        }
    }

    #[test]
    fn later_overrides_win_and_paths_start_here() {
        let overrides = [
            Override { source: OverrideSource::Environment("SEED"), field: "schedule.seed".into(), value: "42".into() },
            Override::flag("--seed", "schedule.seed", 7),
            Override::flag("--data-path", "data.path", "shards"),
        ];
        let manifest = changed(&overrides).unwrap();
        assert_eq!(manifest.schedule.seed, 7);
        assert_eq!(manifest.data.path, Path::new("/here/shards"));
    }

    #[test]
    fn quantizer_settings_that_rest_can_be_set() {
        let set = |text: &str| changed(&[assignment(text).unwrap()]).unwrap().quantization;
        let classes = set("quantization.classes=blocks.*.mlp.*=int6, tok_emb.weight=int8").classes;
        let expected: Vec<ClassPattern> =
            ["blocks.*.mlp.*=int6", "tok_emb.weight=int8"].map(|rule| rule.parse().unwrap()).to_vec();
        assert_eq!(classes, expected);
        assert_eq!(set("quantization.classes="), QuantizationConfig::default());
        let calibration = set("quantization.calibration.text=model").calibration.unwrap();
        assert_eq!((calibration.text, calibration.temperature), (crate::manifest::CalibrationText::Model, 0.8));
        let warm = ["quantization.calibration.temperature=1.5", "quantization.calibration.text=model"];
        let warm = changed(&warm.map(|text| assignment(text).unwrap())).unwrap().quantization.calibration.unwrap();
        assert_eq!(warm.temperature, 1.5);
        assert_eq!(set("quantization.scale_search=mse").scale_search, crate::quant::ScaleSearch::Mse);
        assert_eq!(set("quantization.low_bit_clip_quantile=0.999").low_bit_clip_quantile, 0.999);
        let both = ["quantization.low_bit_clip_quantile=0.9", "quantization.scale_search=percentiles"];
        let error = changed(&both.map(|text| assignment(text).unwrap())).unwrap_err().to_string();
        let tail = ["data.byte_sidecar.pattern=b_*.bin", "eval.tail=as-script"].map(|text| assignment(text).unwrap());
        let said = changed(&tail).unwrap_err().to_string();
        assert!(said.contains("eval.tail: counts the last tokens again and again"), "{said}");
        assert!(error.contains("scale_search percentiles chooses the clip itself"), "{error}");
    }

    #[test]
    fn misfits_are_named_with_field_and_source() {
        for (text, expected) in [
            ("schedule.sede=7", "did you mean `schedule.seed`?"),
            ("schedule.seed=many", "`many` is not a whole number, which `schedule.seed` needs"),
            ("quantization.calibration.temperature=0", "calibration.temperature: 0 is outside 0.01..=100"),
            ("quantization.calibration.temperature=1.5", "temperature: is of text that the model writes; leave it out"),
            ("quantization.calibration.text=own", "unknown variant `own`, expected `training` or `model`"),
            (
                "data.loader=sequental",
                "unknown variant `sequental`, expected one of `sequential`, `shuffled`, `coprime`",
            ),
            ("schedule.seed=-1", "`-1` is not a whole number"),
            ("model.mlp_mult=NaN", "`NaN` is not a finite number"),
            ("schedule.swa.enabled=yes", "`yes` is not 0, 1, true or false"),
            ("model=7", "it is a list or a section"),
            ("model.num_heads=7", "7 does not divide model_dim 512"),
            ("quantization.scale_serch=mse", "did you mean `quantization.scale_search`?"),
            ("quantization.scale_search=mean", "unknown variant `mean`, expected one of `max`, `percentiles`, `mse`"),
            ("quantization.classes=tok_emb.weight", "is not a list PATTERN=CLASS"),
            ("quantization.classes=tok_em.*=f16", "pattern `tok_em.*` matches no tensor"),
            ("nothing.at.all=1", "has no field `nothing.at.all`"),
        ] {
            let error = assignment(text).and_then(|change| changed(&[change])).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(matches!(assignment("seed"), Err(OverrideError::Assignment(_))));
    }
}
