//! What "0.005 nats" is in bits per byte, under each way it has been read.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::units::{BitsPerByte, Nats};

/// Improvement a record must show (challenge README, submission rule 1), in nats.
pub const RECORD_MARGIN: f64 = 0.005;

/// Level at which it must be shown (challenge README, submission rule 1).
pub const RECORD_ALPHA: f64 = 0.01;

/// What a record must show, as a policy states it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordTerms {
    /// Improvement, nats.
    pub margin: f64,
    /// Level of significance.
    pub alpha: f64,
}

impl Default for RecordTerms {
    /// The README's 0.005 nats at p < 0.01.
    fn default() -> Self {
        RecordTerms { margin: RECORD_MARGIN, alpha: RECORD_ALPHA }
    }
}

/// Bytes of text per token of the validation split: what turns nats per token into bits per byte.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BytesPerToken(f64);

impl BytesPerToken {
    /// Fewest and most bytes per token that any real tokenizer reaches; outside, loss and bpb do not belong together.
    const PLAUSIBLE: std::ops::RangeInclusive<f64> = 0.5..=64.0;

    /// From counts of a split. `None` unless both are positive and the ratio is plausible.
    pub fn from_counts(tokens: u64, bytes: u64) -> Option<Self> {
        Self::plausible(bytes as f64 / tokens as f64)
    }

    /// From a loss and the bits per byte printed beside it: loss / (ln 2 x bpb).
    pub fn from_claim(loss: Nats, bpb: BitsPerByte) -> Option<Self> {
        Self::plausible(loss.0 / (std::f64::consts::LN_2 * bpb.0))
    }

    /// A ratio somebody states.
    pub fn plausible(ratio: f64) -> Option<Self> {
        Self::PLAUSIBLE.contains(&ratio).then_some(BytesPerToken(ratio))
    }

    /// The ratio.
    pub fn value(self) -> f64 {
        self.0
    }

    /// A difference in bits per byte as nats per token.
    pub fn nats_per_token(self, bpb: f64) -> f64 {
        bpb * std::f64::consts::LN_2 * self.0
    }
}

/// How "0.005 nats" is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarginReading {
    /// Nats per token, the unit of `val_loss` in the challenge's logs. The one that decides on a claim.
    NatsPerToken,
    /// Nats per byte of text, as PR #1838's guide and PR #1145 read it.
    NatsPerByte,
    /// Bits per byte, as those who compare `val_bpb` with 0.005 read it (PR #991).
    BitsPerByte,
}

impl fmt::Display for MarginReading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            MarginReading::NatsPerToken => "nats per token",
            MarginReading::NatsPerByte => "nats per byte",
            MarginReading::BitsPerByte => "bits per byte",
        })
    }
}

/// An improvement asked for, with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Margin {
    /// Unit of `amount`.
    pub reading: MarginReading,
    /// How much.
    pub amount: f64,
}

impl Margin {
    /// The README's 0.005, under one reading.
    pub fn record(reading: MarginReading) -> Self {
        Margin { reading, amount: RECORD_MARGIN }
    }

    /// Another amount, under one reading.
    pub fn of(terms: &RecordTerms, reading: MarginReading) -> Self {
        Margin { reading, amount: terms.margin }
    }

    /// The margin in bits per byte, for a tokenizer with this many bytes per token.
    pub fn in_bpb(self, bytes_per_token: BytesPerToken) -> f64 {
        match self.reading {
            MarginReading::NatsPerToken => self.amount / (std::f64::consts::LN_2 * bytes_per_token.0),
            MarginReading::NatsPerByte => self.amount / std::f64::consts::LN_2,
            MarginReading::BitsPerByte => self.amount,
        }
    }

    /// A difference in bits per byte, in this margin's unit.
    pub fn difference(self, bpb: f64, bytes_per_token: BytesPerToken) -> f64 {
        match self.reading {
            MarginReading::NatsPerToken => bytes_per_token.nats_per_token(bpb),
            MarginReading::NatsPerByte => bpb * std::f64::consts::LN_2,
            MarginReading::BitsPerByte => bpb,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of the FineWeb validation text (PR #1916's denominator audit).
    const VALIDATION_BYTES: u64 = 151_078_222;

    #[test]
    fn the_margin_by_tokenizer() {
        // Tokens of the split by tokenizer (PR #286, #1916, #2127); the margins are those the threads quote.
        for (tokens, ratio, bpb) in [
            (62_021_632, 2.436, 0.002_96), // sp1024
            (40_540_160, 3.727, 0.001_94), // sp8192
            (47_851_520, 3.157, 0.002_28), // sp8192 with case operators
        ] {
            let bytes_per_token = BytesPerToken::from_counts(tokens, VALIDATION_BYTES).unwrap();
            assert!((bytes_per_token.value() - ratio).abs() < 5e-4, "{tokens}");
            let margin = Margin::record(MarginReading::NatsPerToken).in_bpb(bytes_per_token);
            assert!((margin - bpb).abs() < 5e-6, "{tokens}: {margin}");
            let per_byte = Margin::record(MarginReading::NatsPerByte).in_bpb(bytes_per_token);
            assert!((per_byte - 0.007_21).abs() < 5e-6);
        }
    }

    #[test]
    fn differences_and_margins_are_inverse() {
        let bytes_per_token = BytesPerToken::plausible(2.436).unwrap();
        for reading in [MarginReading::NatsPerToken, MarginReading::NatsPerByte, MarginReading::BitsPerByte] {
            let margin = Margin::record(reading);
            let back = margin.difference(margin.in_bpb(bytes_per_token), bytes_per_token);
            assert!((back - RECORD_MARGIN).abs() < 1e-15);
        }
    }

    #[test]
    fn plausible_ratios_reach_from_a_half_to_64() {
        for (ratio, plausible) in [(0.5, true), (0.499, false), (64.0, true), (64.01, false), (f64::NAN, false)] {
            assert_eq!(
                BytesPerToken::plausible(ratio).map(BytesPerToken::value),
                plausible.then_some(ratio),
                "{ratio}"
            );
        }
        // One bit per byte is ln 2 nats per byte, and with 2 bytes a token twice that per token.
        let two = BytesPerToken::from_counts(10, 20).unwrap();
        assert_eq!((two.value(), two.nats_per_token(1.0)), (2.0, 2.0 * std::f64::consts::LN_2));
        let by_reading = [MarginReading::NatsPerToken, MarginReading::NatsPerByte, MarginReading::BitsPerByte]
            .map(|reading| Margin::of(&RecordTerms { margin: 0.1, alpha: 0.5 }, reading).difference(1.0, two));
        assert_eq!(by_reading, [2.0 * std::f64::consts::LN_2, std::f64::consts::LN_2, 1.0]);
        assert_eq!(
            [MarginReading::NatsPerToken, MarginReading::NatsPerByte, MarginReading::BitsPerByte]
                .map(|r| r.to_string()),
            ["nats per token", "nats per byte", "bits per byte"]
        );
        let terms = RecordTerms::default();
        assert_eq!((terms.margin, terms.alpha), (0.005, 0.01));
        assert_eq!(Margin::of(&RecordTerms { margin: 0.1, alpha: 0.5 }, MarginReading::BitsPerByte).amount, 0.1);
    }

    #[test]
    fn pr_286_states_its_own_bytes_per_token() {
        let ratio = BytesPerToken::from_claim(Nats(1.963_384_30), BitsPerByte(1.162_826_70)).unwrap();
        assert!((ratio.value() - 2.4359).abs() < 1e-4, "{ratio:?}");
        assert!(BytesPerToken::from_claim(Nats(1.0), BitsPerByte(0.0)).is_none());
        assert!(BytesPerToken::from_counts(0, 10).is_none());
    }
}
