//! Numbers that parse but that no run can have: a negative loss, 1e30 bytes, half a token.

use super::{ClaimedNumber, Manifest, ScoreRecord};

/// Most of anything that is counted in bytes, tokens or steps: beyond it a float no longer counts one by one.
const MAX_COUNT: f64 = 9e15;
/// Most steps of anything.
const MOST_STEPS: u64 = 1_000_000_000_000;
/// Longest time, seconds: thirty years.
const MAX_SECONDS: f64 = 1e9;
/// Largest loss or bits per byte; the worst predictor of 65,536 tokens has 11.1 nats.
const MAX_LOSS: f64 = 1e3;

/// What kind of number a claim is.
enum Is {
    Loss,
    Count,
    Seconds,
}

/// First number out of its range as (dotted field, message).
pub(super) fn check_ranges(manifest: &Manifest) -> Result<(), (String, String)> {
    check_claims(manifest)?;
    check_recipe(manifest)?;
    check_results(manifest)
}

fn check_claims(manifest: &Manifest) -> Result<(), (String, String)> {
    let metrics = &manifest.claim.metrics;
    for (name, number, is) in [
        ("val_loss", &metrics.val_loss, Is::Loss),
        ("val_bpb", &metrics.val_bpb, Is::Loss),
        ("pre_quant_val_loss", &metrics.pre_quant_val_loss, Is::Loss),
        ("pre_quant_val_bpb", &metrics.pre_quant_val_bpb, Is::Loss),
        ("val_tokens", &metrics.val_tokens, Is::Count),
        ("total_bytes", &metrics.total_bytes, Is::Count),
        ("model_bytes", &metrics.model_bytes, Is::Count),
        ("code_bytes", &metrics.code_bytes, Is::Count),
        ("parameters", &metrics.parameters, Is::Count),
        ("steps", &metrics.steps, Is::Count),
        ("train_seconds", &metrics.train_seconds, Is::Seconds),
        ("eval_seconds", &metrics.eval_seconds, Is::Seconds),
    ] {
        if let Some(message) = number.as_ref().and_then(|number| misfit(number, is)) {
            return Err((format!("claim.metrics.{name}"), message));
        }
    }
    match &manifest.claim.hardware {
        Some(hardware) => within("claim.hardware.devices", f64::from(hardware.devices), 0.0, 1e6),
        None => Ok(()),
    }
}

fn misfit(number: &ClaimedNumber, is: Is) -> Option<String> {
    let (value, text) = (number.value(), number.text());
    match is {
        Is::Loss if !(0.0..=MAX_LOSS).contains(&value) => Some(format!("{text} is outside 0..={MAX_LOSS}")),
        Is::Count if !(0.0..=MAX_COUNT).contains(&value) || value.fract() != 0.0 => {
            Some(format!("{text} is not a whole number from 0 to 9e15"))
        }
        Is::Seconds if !(0.0..=MAX_SECONDS).contains(&value) => {
            Some(format!("{text} is outside 0..={MAX_SECONDS} seconds"))
        }
        _ => None,
    }
}

fn check_recipe(manifest: &Manifest) -> Result<(), (String, String)> {
    let Manifest { schedule, optimizer, eval, quantization, .. } = manifest;
    for (field, value, most) in [
        ("schedule.iterations", schedule.iterations, MOST_STEPS),
        ("schedule.warmdown_iters", schedule.warmdown_iters, MOST_STEPS),
        ("schedule.warmup_steps", schedule.warmup_steps, 1_000_000),
        ("schedule.swa.every", schedule.swa.every, MOST_STEPS),
        ("optimizer.muon.momentum_warmup_steps", optimizer.muon.momentum_warmup_steps, MOST_STEPS),
        ("optimizer.muon.newton_schulz_steps", u64::from(optimizer.muon.newton_schulz_steps), 100),
        ("eval.batch_windows", eval.batch_windows, 65_536),
        ("quantization.keep_last_k_fp16", u64::from(quantization.keep_last_k_fp16), 1024),
    ] {
        if value > most {
            return Err((field.to_string(), format!("{value} is outside 0..={most}")));
        }
    }
    Ok(())
}

fn check_results(manifest: &Manifest) -> Result<(), (String, String)> {
    if let Some(training) = &manifest.results.training {
        within("results.training.train_time_ms", training.train_time_ms.0, 0.0, 1e3 * MAX_SECONDS)?;
        within("results.training.train_loss", training.train_loss.0, 0.0, MAX_LOSS)?;
    }
    for (label, ScoreRecord { val_loss, val_bpb, .. }) in &manifest.results.scores {
        within(&format!("results.scores.{label}"), val_loss.0, 0.0, MAX_LOSS)?;
        within(&format!("results.scores.{label}"), val_bpb.0, 0.0, MAX_LOSS)?;
    }
    for (label, sample) in &manifest.results.samples {
        let numbers = [sample.val_loss.0, sample.val_bpb.0, sample.val_bpb_low.0, sample.val_bpb_high.0];
        numbers
            .into_iter()
            .try_for_each(|number| within(&format!("results.samples.{label}"), number, 0.0, MAX_LOSS))?;
    }
    Ok(())
}

/// Not a number is outside every range.
fn within(field: &str, value: f64, least: f64, most: f64) -> Result<(), (String, String)> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err((field.to_string(), format!("{value} is outside {least}..={most}")))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::parse;

    fn error(metric: &str) -> Option<String> {
        let text = format!("schema: golf-harness/manifest/v1\r\nname: t\r\nclaim:\r\n  metrics:\r\n    {metric}\r\n");
        parse(&text, Path::new("m.yaml")).err().map(|error| error.to_string())
    }

    #[test]
    fn claims_that_cannot_be_are_errors_with_line_and_field() {
        for bad in [
            "val_bpb: \"1,15\"",
            "val_bpb: -3",
            "val_bpb: .nan",
            "val_bpb: 1e400",
            "val_bpb: 5000",
            "val_loss: -0.5",
            "total_bytes: 1e30",
            "total_bytes: -1",
            "total_bytes: 15.5",
            "total_bytes: \"15,99\"",
            "steps: -7",
            "train_seconds: -1",
            "eval_seconds: 1e12",
            "parameters: \"1_00\"",
            "val_bpb: .inf",
        ] {
            let message = error(bad).unwrap_or_else(|| panic!("{bad} is taken"));
            let field = bad.split(':').next().unwrap();
            assert!(message.starts_with("m.yaml:5: ") && message.contains(field), "{bad}: {message}");
        }
        for good in [
            "val_bpb: \"1.1500\"",
            "val_bpb: 0",
            "total_bytes: 16_000_000",
            "total_bytes: \"15,481,841\"",
            "total_bytes: 1.6e7",
            "train_seconds: 599.97",
            "parameters: 24730705",
        ] {
            assert_eq!(error(good), None, "{good}");
        }
    }
}
