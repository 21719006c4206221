//! Values as people and programs spell them.

/// Whether two spellings of a value mean the same: `0.10` and `0.1`, `True` and `1`.
pub fn same_value(a: &str, b: &str) -> bool {
    let number = |text: &str| match text.trim() {
        "True" | "true" => Some(1.0),
        "False" | "false" => Some(0.0),
        text => text.parse::<f64>().ok(),
    };
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a.trim() == b.trim(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_compared_by_what_they_mean() {
        for (a, b, same) in [
            ("0.10", "0.1", true),
            ("True", "1", true),
            ("1e-8", "1e-08", true),
            ("a", "a ", true),
            ("0", "", false),
            ("1", "2", false),
            ("4,5", "4,5", true),
        ] {
            assert_eq!(same_value(a, b), same, "{a} {b}");
        }
    }
}
