//! Recipe values that parse but cannot be: zero strides, worlds that do not divide 8, batches that do not fit.

use super::evaluation::{MAX_SEQ_LEN, Tail, check_eval};
use super::{CalibrationConfig, CalibrationText, Manifest, QuantizationConfig, ScheduleConfig};
use crate::model::layout;
use crate::quant::{ArtifactContainer, Codec, ScaleSearch, UnmatchedPattern, limits};
use crate::units::Bytes;

/// The script runs 8 micro-batches per step over all ranks: `grad_accum = 8 / world_size`.
pub const MICRO_BATCHES_PER_STEP: u64 = 8;

/// First impossible value as (dotted field, message).
pub(super) fn check_recipe(manifest: &Manifest) -> Result<(), (String, String)> {
    let fail = |field: &str, message: String| Err((field.to_string(), message));
    let schedule = &manifest.schedule;
    if !matches!(schedule.world_size, 1 | 2 | 4 | 8) {
        return fail("schedule.world_size", format!("{} does not divide 8; use 1, 2, 4 or 8", schedule.world_size));
    }
    if schedule.train_seq_len == 0 || schedule.train_seq_len > MAX_SEQ_LEN {
        return fail("schedule.train_seq_len", format!("{} is outside 1..={MAX_SEQ_LEN}", schedule.train_seq_len));
    }
    let micro = MICRO_BATCHES_PER_STEP.saturating_mul(schedule.train_seq_len);
    if schedule.train_batch_tokens == 0
        || !schedule.train_batch_tokens.is_multiple_of(micro)
        || schedule.train_batch_tokens > 1 << 32
    {
        return fail(
            "schedule.train_batch_tokens",
            format!("{} is not a multiple of 8 x train_seq_len = {micro} (at most 2^32)", schedule.train_batch_tokens),
        );
    }
    check_eval(&manifest.eval)?;
    check_sidecar(manifest)?;
    if !(1..=22).contains(&manifest.quantization.zstd_level) {
        return fail("quantization.zstd_level", format!("{} is outside 1..=22", manifest.quantization.zstd_level));
    }
    check_container(&manifest.quantization)?;
    check_end_of_training(schedule)?;
    check_classes(manifest).or_else(|message| fail("quantization.classes", message))?;
    check_rules(manifest)?;
    let quantization = &manifest.quantization;
    if quantization.scale_search != ScaleSearch::Max && quantization.low_bit_clip_quantile != 1.0 {
        return fail(
            "quantization.low_bit_clip_quantile",
            format!("scale_search {} chooses the clip itself; leave this at 1", quantization.scale_search),
        );
    }
    for (field, value, range) in [
        ("schedule.max_wallclock_seconds", schedule.max_wallclock_seconds, 0.0..=1e9),
        ("schedule.reserve_seconds", schedule.reserve_seconds, 0.0..=1e9),
        ("schedule.swa.start_frac", schedule.swa.start_frac, 0.0..=1.0),
        ("schedule.qat.start_frac", schedule.qat.start_frac, 0.0..=1.0),
        ("quantization.prune_fraction", manifest.quantization.prune_fraction, 0.0..=1.0),
        ("quantization.int8_clip_quantile", manifest.quantization.int8_clip_quantile, 0.0..=1.0),
        ("quantization.low_bit_clip_quantile", manifest.quantization.low_bit_clip_quantile, 0.0..=1.0),
        ("optimizer.embed_lr", manifest.optimizer.embed_lr, 0.0..=1e6),
        ("optimizer.tied_embed_lr", manifest.optimizer.tied_embed_lr, 0.0..=1e6),
        ("optimizer.head_lr", manifest.optimizer.head_lr, 0.0..=1e6),
        ("optimizer.matrix_lr", manifest.optimizer.matrix_lr, 0.0..=1e6),
        ("optimizer.scalar_lr", manifest.optimizer.scalar_lr, 0.0..=1e6),
        ("optimizer.grad_clip_norm", manifest.optimizer.grad_clip_norm, 0.0..=1e6),
        ("optimizer.muon.momentum", manifest.optimizer.muon.momentum, 0.0..=1.0),
        ("optimizer.muon.momentum_warmup_start", manifest.optimizer.muon.momentum_warmup_start, 0.0..=1.0),
        ("optimizer.muon.weight_decay", manifest.optimizer.muon.weight_decay, 0.0..=1e6),
        ("optimizer.adam.beta1", manifest.optimizer.adam.beta1, 0.0..=1.0),
        ("optimizer.adam.beta2", manifest.optimizer.adam.beta2, 0.0..=1.0),
        ("optimizer.adam.eps", manifest.optimizer.adam.eps, 0.0..=1.0),
        ("optimizer.adam.weight_decay", manifest.optimizer.adam.weight_decay, 0.0..=1e6),
        ("optimizer.adam.embed_weight_decay", manifest.optimizer.adam.embed_weight_decay.unwrap_or(0.0), 0.0..=1e6),
        ("schedule.warmdown_frac", schedule.warmdown_frac.unwrap_or(0.0), 0.0..=1.0),
        ("schedule.min_lr", schedule.min_lr, 0.0..=1.0),
        ("schedule.qat.below_multiplier", schedule.qat.below_multiplier.unwrap_or(0.0), 0.0..=1.0),
        ("schedule.ema.decay", schedule.ema.as_ref().map_or(0.0, |ema| ema.decay), 0.0..=1.0),
        // A claim that may be off by more claims nothing.
        ("tolerance.rescored_bpb", manifest.tolerance.rescored_bpb, 0.0..=1.0),
        ("tolerance.retrained_bpb", manifest.tolerance.retrained_bpb, 0.0..=1.0),
    ] {
        if !range.contains(&value) {
            return fail(field, format!("{value} is outside {}..={}", range.start(), range.end()));
        }
    }
    Ok(())
}

/// Averages of the weights, and the time kept for what follows training.
fn check_end_of_training(schedule: &ScheduleConfig) -> Result<(), (String, String)> {
    let fail = |field: &str, message: String| Err((field.to_string(), message));
    if schedule.ema.is_some() && schedule.swa.enabled {
        return fail("schedule.ema", "training ends with one average: set schedule.swa.enabled to false".into());
    }
    if schedule.ema.as_ref().is_some_and(|ema| ema.decay >= 1.0) {
        return fail("schedule.ema.decay", "must be below 1, or the average never moves".into());
    }
    let cap = schedule.max_wallclock_seconds;
    let is_reserve = schedule.reserve_seconds == 0.0 || (0.0..cap).contains(&schedule.reserve_seconds);
    if cap > 0.0 && !is_reserve {
        let message = format!("{} is outside 0..max_wallclock_seconds ({cap})", schedule.reserve_seconds);
        return fail("schedule.reserve_seconds", message);
    }
    Ok(())
}

/// Most class patterns accepted: one for each matrix of a network of 1,000 layers, and still quick to match.
const MAX_CLASS_PATTERNS: usize = 8192;

/// Every pattern must name a tensor of this network: found before hours of training rather than after.
fn check_classes(manifest: &Manifest) -> Result<(), String> {
    check_patterns(manifest, manifest.quantization.classes.iter().map(|rule| rule.pattern.as_str()))
}

fn check_patterns<'p>(
    manifest: &Manifest,
    patterns: impl ExactSizeIterator<Item = &'p str> + Clone,
) -> Result<(), String> {
    if patterns.len() == 0 {
        return Ok(());
    }
    if patterns.len() > MAX_CLASS_PATTERNS {
        return Err(format!("{} patterns; at most {MAX_CLASS_PATTERNS} are supported", patterns.len()));
    }
    if let Some(long) = patterns.clone().find(|pattern| pattern.len() as u64 > limits::MAX_NAME_BYTES) {
        return Err(format!("a pattern of {} bytes is longer than any tensor's name", long.len()));
    }
    let specs = layout(&manifest.model);
    let unmatched = UnmatchedPattern::find(patterns, specs.iter().map(|spec| spec.name.as_str()));
    unmatched.map_or(Ok(()), |unmatched| Err(unmatched.to_string()))
}

/// What counts bytes does not count any twice.
fn check_sidecar(manifest: &Manifest) -> Result<(), (String, String)> {
    if manifest.data.byte_sidecar.is_some() && manifest.eval.tail == Tail::AsScript {
        let message = "counts the last tokens again and again, and how many bytes those have comes with data.byte_sidecar; \
                       set this to once";
        return Err(("eval.tail".into(), message.into()));
    }
    Ok(())
}

/// Settings of golf files stay as they are where another kind is written.
fn check_container(quantization: &QuantizationConfig) -> Result<(), (String, String)> {
    let container = quantization.container;
    if container == ArtifactContainer::Golf {
        return Ok(());
    }
    if quantization.codec != Codec::Zstd {
        let message =
            format!("is of golf files, and container is {container}; leave this at zstd, or set it with --codec zstd");
        return Err(("quantization.codec".into(), message));
    }
    if quantization.zstd_level != QuantizationConfig::default().zstd_level {
        let message =
            format!("is of golf files, and container is {container}, which names its own level; leave this out");
        return Err(("quantization.zstd_level".into(), message));
    }
    Ok(())
}

/// Scales and rounding by name, and what they need.
fn check_rules(manifest: &Manifest) -> Result<(), (String, String)> {
    let fail = |field: String, message: String| Err((field, message));
    let quantization = &manifest.quantization;
    for (index, rule) in quantization.rules.iter().enumerate() {
        if let Err((field, message)) = rule.quantizer().check() {
            return fail(format!("quantization.rules[{index}].{field}"), message);
        }
    }
    check_patterns(manifest, quantization.rules.iter().map(|rule| rule.pattern.as_str()))
        .or_else(|message| fail("quantization.rules".into(), message))?;
    if let Some(CalibrationConfig { text, temperature, sequences, seq_len }) = &quantization.calibration {
        if !(1..=MAX_CALIBRATION_SEQUENCES).contains(sequences) {
            let message = format!("{sequences} is outside 1..={MAX_CALIBRATION_SEQUENCES}");
            return fail("quantization.calibration.sequences".into(), message);
        }
        if let Some(seq_len) = seq_len
            && !(1..=MAX_SEQ_LEN).contains(seq_len)
        {
            let message = format!("{seq_len} is outside 1..={MAX_SEQ_LEN}");
            return fail("quantization.calibration.seq_len".into(), message);
        }
        if !(MIN_TEMPERATURE..=MAX_TEMPERATURE).contains(temperature) {
            let message = format!("{temperature} is outside {MIN_TEMPERATURE}..={MAX_TEMPERATURE}");
            return fail("quantization.calibration.temperature".into(), message);
        }
        if *text != CalibrationText::Model && *temperature != CalibrationConfig::default().temperature {
            let message =
                "is of text that the model writes; leave it out, or set quantization.calibration.text to model";
            return fail("quantization.calibration.temperature".into(), message.into());
        }
        let length = seq_len.unwrap_or(manifest.schedule.train_seq_len);
        let tokens = sequences.saturating_mul(length);
        if *text == CalibrationText::Model && tokens > MAX_OWN_TOKENS {
            let message =
                format!("makes {tokens} tokens that the model writes; at most {MAX_OWN_TOKENS} are supported");
            return fail("quantization.calibration.sequences".into(), message);
        }
        if *text == CalibrationText::Model && length < 2 {
            let message = "the last token of a sequence that the model writes is not run; 2 or more are needed";
            return fail("quantization.calibration.seq_len".into(), message.into());
        }
    }
    let is_corrected = quantization.rules.iter().any(|rule| rule.low_rank.is_some());
    if is_corrected && quantization.prune_to.is_some() {
        let message = "would change what low_rank of a rule corrects; leave one of them out";
        return fail("quantization.prune_to".into(), message.into());
    }
    if is_corrected && quantization.container != ArtifactContainer::Golf {
        let message =
            "holds what scripts load, and they add no low_rank corrections; take golf, or rules without low_rank";
        return fail("quantization.container".into(), message.into());
    }
    match quantization.prune_to {
        Some(Bytes(0)) => fail("quantization.prune_to".into(), "nothing fits 0 bytes".into()),
        _ => Ok(()),
    }
}

/// Most tokens of text that a model writes itself: a hundred times PR #1019's 64 sequences of 2,048.
const MAX_OWN_TOKENS: u64 = 1 << 24;
/// Temperatures between always the likeliest token and any token at all.
const MIN_TEMPERATURE: f64 = 0.01;
const MAX_TEMPERATURE: f64 = 100.0;
/// Most sequences to calibrate on: a thousand times what records take.
const MAX_CALIBRATION_SEQUENCES: u64 = 65_536;
