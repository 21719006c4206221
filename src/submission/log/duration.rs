//! Durations in logs: what they time, and in which unit.

use super::pairs::Pair;

/// Endings of names that give the unit where the value has none.
const UNIT_ENDINGS: &[(&str, f64)] = &[
    ("_ms", 1e-3),
    ("_milliseconds", 1e-3),
    ("_seconds", 1.0),
    ("_secs", 1.0),
    ("_sec", 1.0),
    ("_s", 1.0),
    ("_minutes", 60.0),
    ("_mins", 60.0),
    ("_min", 60.0),
    ("_hours", 3600.0),
];

/// Seconds, from a value with a unit as logs print it: `601991ms`, `23.5m`, `eval_time_s: 181.2`.
pub(super) fn seconds(pair: &Pair) -> Option<f64> {
    let value = pair.number.filter(|value| value.is_finite() && *value >= 0.0)?;
    match pair.unit {
        // Not `value * 0.001`: 601991 ms are to be 601.991 s.
        "ms" => Some(value / 1000.0),
        "s" | "sec" | "secs" | "seconds" => Some(value),
        "m" | "min" | "mins" | "minutes" => Some(value * 60.0),
        "h" | "hours" => Some(value * 3600.0),
        "" => match split_unit(pair.name()) {
            (_, Some(factor)) if factor < 1.0 => Some(value / 1000.0),
            (_, factor) => factor.map(|factor| value * factor),
        },
        _ => None,
    }
}

/// A name without the unit it ends with, and the unit in seconds.
fn split_unit(name: &str) -> (&str, Option<f64>) {
    let found = UNIT_ENDINGS.iter().find_map(|(ending, factor)| Some((name.strip_suffix(ending)?, Some(*factor))));
    found.unwrap_or((name, None))
}

/// `eval_time`, `final_int8_ttt_lora_eval_time_ms`, `total_eval_time`, `evaluation_time`.
pub(super) fn is_evaluation(name: &str) -> bool {
    let name = split_unit(name).0;
    ["eval_time", "eval_elapsed", "evaluation_time", "eval_wallclock"].iter().any(|end| name.ends_with(end))
        || name == "eval"
}

/// `train_time`, `total_train_time`, `training_time_seconds`.
pub(super) fn is_training(name: &str) -> bool {
    let name = split_unit(name).0;
    ["train_time", "training_time", "train_wallclock", "training_wallclock"].iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::super::pairs::pairs;
    use super::*;

    #[test]
    fn durations_are_spelled_in_many_ways() {
        for (text, expected) in [
            ("train_time:601991ms", 601.991),
            ("train_time: 23.5m", 1410.0),
            ("total_train_time: 600.5s", 600.5),
            ("eval_time_ms: 936242", 936.242),
            ("eval_time_s=181.2", 181.2),
            ("training_time_minutes: 10", 600.0),
            ("train_time: 2 hours", 7200.0),
            ("train_time: 10 min", 600.0),
        ] {
            let mut list = Vec::new();
            pairs(text, &mut list);
            assert_eq!(seconds(&list[0]), Some(expected), "{text}");
            assert!(is_evaluation(list[0].name()) != is_training(list[0].name()), "{text}");
        }
        let mut list = Vec::new();
        for nothing in ["eval_time:7", "train_time:-7s", "train_time: 5 MB", "time_s: nan"] {
            pairs(nothing, &mut list);
            assert_eq!(seconds(&list[0]), None, "{nothing}");
        }
        assert!(!is_evaluation("step_time") && !is_training("pretrain") && is_evaluation("ttt_lora_eval_time"));
    }
}
