//! A number as somebody printed it: the digits matter, because they say how precise the claim is.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A finite decimal number that remembers its text.
///
/// Written as a string in YAML (`"1.1628"`) so that trailing zeros survive; plain YAML numbers are read too.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimedNumber {
    text: String,
    value: f64,
}

/// A text that is not a finite decimal number.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a finite decimal number")]
pub struct ParseClaimedNumberError(String);

impl ClaimedNumber {
    /// Reads a decimal such as `1.16282254`, `15,481,841` or `6e-4`.
    pub fn parse(text: &str) -> Result<Self, ParseClaimedNumberError> {
        let error = || ParseClaimedNumberError(text.chars().take(40).collect());
        let plain = without_separators(text.trim()).ok_or_else(error)?;
        let is_decimal = plain.chars().all(|c| matches!(c, '0'..='9' | '.' | '-' | '+' | 'e' | 'E'));
        let value: f64 = plain.parse().map_err(|_| error())?;
        if !is_decimal || !value.is_finite() {
            return Err(error());
        }
        Ok(ClaimedNumber { text: plain, value })
    }

    /// The number.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// The text, without digit separators.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Digits after the decimal point, with a decimal exponent taken into account.
    pub fn decimals(&self) -> u32 {
        let (mantissa, exponent) = match self.text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().unwrap_or(0)),
            None => (self.text.as_str(), 0),
        };
        let fraction = mantissa.split_once('.').map_or(0, |(_, digits)| digits.len() as i64);
        u32::try_from(fraction.saturating_sub(exponent).clamp(0, 400)).unwrap_or(0)
    }

    /// Half a unit in the last printed place: what rounding alone explains.
    pub fn rounding(&self) -> f64 {
        0.5 * 10f64.powi(-(self.decimals() as i32))
    }

    /// Whether `other` would print as this number: equal up to rounding (either way) or truncation.
    pub fn agrees_with(&self, other: f64) -> bool {
        // One ulp of slack so that a tie such as 1.16285 against 1.1628 is not decided by binary representation.
        (self.value - other).abs() <= 2.0 * self.rounding() * (1.0 + 1e-12) + other.abs() * f64::EPSILON
    }
}

/// Without `,` or `_` between groups of three digits, which are the only place for them: `1,15` is no 115.
fn without_separators(text: &str) -> Option<String> {
    let Some(separator) = text.chars().find(|c| matches!(c, ',' | '_')) else { return Some(text.to_string()) };
    let whole = text.split(['.', 'e', 'E']).next().unwrap_or(text);
    let rest = &text[whole.len()..];
    let mut groups = whole.trim_start_matches(['-', '+']).split(separator);
    let is_digits = |group: &str| group.chars().all(|c| c.is_ascii_digit());
    let first = groups.next().is_some_and(|group| (1..=3).contains(&group.len()) && is_digits(group));
    let fits = first && groups.all(|group| group.len() == 3 && is_digits(group)) && !rest.contains([',', '_']);
    fits.then(|| whole.replace(separator, "") + rest)
}

impl fmt::Display for ClaimedNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl Serialize for ClaimedNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for ClaimedNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = ClaimedNumber;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, best quoted so that its digits are kept")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ClaimedNumber, E> {
                ClaimedNumber::parse(text).map_err(E::custom)
            }
            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<ClaimedNumber, E> {
                self.visit_str(&value.to_string())
            }
            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<ClaimedNumber, E> {
                self.visit_str(&value.to_string())
            }
            fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<ClaimedNumber, E> {
                self.visit_str(&value.to_string())
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for ClaimedNumber {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ClaimedNumber".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "number"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_kept_and_counted() {
        for (text, value, decimals) in [
            ("1.1628", 1.1628, 4),
            ("1.1600", 1.16, 4),
            ("602", 602.0, 0),
            ("15,481,841", 15_481_841.0, 0),
            ("6e-4", 6e-4, 4),
        ] {
            let number = ClaimedNumber::parse(text).unwrap();
            assert_eq!((number.value(), number.decimals()), (value, decimals), "{text}");
        }
    }

    #[test]
    fn words_and_infinities_are_refused() {
        for bad in [
            "",
            "tbd",
            "inf",
            "NaN",
            "1e999",
            "0x10",
            "1.2.3",
            "1,15",
            "1,1500",
            "12_34",
            "1,000_000",
            ",100",
            "1.234,567",
        ] {
            assert!(ClaimedNumber::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn agreement_allows_rounding_and_truncation_but_no_more() {
        let claim = ClaimedNumber::parse("1.1628").unwrap();
        assert!(claim.agrees_with(1.16282254)); // the log of PR 286
        assert!(claim.agrees_with(1.16289)); // truncated instead of rounded
        assert!(!claim.agrees_with(1.16295));
    }
}
