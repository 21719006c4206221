//! Quantities with their units: [`Bytes`], [`Nats`], [`BitsPerByte`], [`Millis`].
//!
//! Two of them are easy to mix up in Parameter Golf: `val_loss` is in nats per *token*, `val_bpb`
//! in bits per *byte* of text. They meet only in [`BitsPerByte::from_loss`].

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A count of bytes. The budget of the challenge is decimal: 16 MB is 16,000,000 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// The cap on code plus compressed model (challenge README, FAQ): decimal megabytes, inclusive.
    pub const BUDGET: Bytes = Bytes(16_000_000);

    /// Signed distance to a cap: positive where there is room left.
    pub fn margin_to(self, cap: Bytes) -> i128 {
        i128::from(cap.0) - i128::from(self.0)
    }
}

impl fmt::Display for Bytes {
    /// Groups of three digits: `15,481,841`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&group_digits(i128::from(self.0)))
    }
}

/// Writes an integer with a comma between groups of three digits.
pub fn group_digits(value: i128) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if value < 0 {
        grouped.push('-');
    }
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Mean negative log-likelihood in nats per token; the challenge logs it as `val_loss`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Nats(pub f64);

impl fmt::Display for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Bits per byte of the original text; the challenge logs it as `val_bpb`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct BitsPerByte(pub f64);

impl BitsPerByte {
    /// `loss / ln 2 * tokens / bytes` (model-independent; the challenge's own formula).
    ///
    /// `None` when there are no bytes to divide by.
    pub fn from_loss(loss: Nats, tokens: u64, bytes: u64) -> Option<Self> {
        (bytes > 0).then(|| BitsPerByte(loss.0 / std::f64::consts::LN_2 * (tokens as f64 / bytes as f64)))
    }
}

impl fmt::Display for BitsPerByte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Elapsed milliseconds of training, validation excluded, as the challenge's `train_time`.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Millis(pub f64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_in_threes() {
        for (value, text) in
            [(0, "0"), (999, "999"), (1_000, "1,000"), (15_481_841, "15,481,841"), (-518_159, "-518,159")]
        {
            assert_eq!(group_digits(value), text);
        }
    }

    #[test]
    fn pr_286_has_518_159_bytes_to_spare() {
        // 15,425,120 model + 56,721 code, from its log.
        assert_eq!(Bytes(15_425_120 + 56_721).margin_to(Bytes::BUDGET), 518_159);
    }

    #[test]
    fn bits_per_byte_of_pr_286() {
        // Its log: val_loss 1.96338430, val_bpb 1.16282670; the split's text has 151,078,222 bytes (PR #1916).
        let tokens = 62_021_845;
        let bpb = BitsPerByte::from_loss(Nats(1.963_384_30), tokens, 151_078_222).unwrap();
        assert!((bpb.0 - 1.162_826_70).abs() < 3e-5, "{bpb}");
        assert!(BitsPerByte::from_loss(Nats(1.0), 1, 0).is_none());
    }
}
