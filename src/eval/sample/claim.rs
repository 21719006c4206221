//! A claimed number beside an interval, and the test that goes on until one is accepted or rejected.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::manifest::ClaimedNumber;

/// Where a claim was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClaimSource {
    /// The manifest's `claim.metrics.val_bpb`.
    Manifest,
    /// The command line.
    Flag,
}

/// Bits per byte that somebody claims.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The number, with its digits.
    pub val_bpb: ClaimedNumber,
    /// Where it was found.
    pub source: ClaimSource,
}

/// An interval of bits per byte.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Around a middle.
    pub fn around(middle: f64, half_width: f64) -> Self {
        Interval { low: middle - half_width, high: middle + half_width }
    }

    /// Whether some number that prints as the claim lies in it.
    pub fn admits(&self, claim: &ClaimedNumber) -> bool {
        let (value, rounding) = (claim.value(), claim.rounding());
        self.low <= value + rounding && value - rounding <= self.high
    }
}

/// What a test says of a claim so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// The value lies within the margin of the claim.
    Accepted,
    /// It does not.
    Rejected,
    /// The interval is still too wide to tell.
    Undecided,
}

impl Decision {
    /// What an interval that holds the true value says about "no further than `margin` from the claim", with what
    /// rounding of the claim explains added to the margin.
    pub fn of(interval: Interval, claim: &ClaimedNumber, margin: f64) -> Self {
        let margin = margin + claim.rounding();
        let allowed = Interval::around(claim.value(), margin);
        if interval.low >= allowed.low && interval.high <= allowed.high {
            Decision::Accepted
        } else if interval.high < allowed.low || interval.low > allowed.high {
            Decision::Rejected
        } else {
            Decision::Undecided
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Decision::Accepted => "accepted",
            Decision::Rejected => "rejected",
            Decision::Undecided => "undecided",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(text: &str) -> ClaimedNumber {
        ClaimedNumber::parse(text).unwrap()
    }

    #[test]
    fn the_digits_of_a_claim_widen_it() {
        let interval = Interval { low: 1.162_84, high: 1.17 };
        assert!(interval.admits(&claim("1.1628")) && !interval.admits(&claim("1.16280")));
        assert!(interval.admits(&claim("1.1700")) && !interval.admits(&claim("1.1701")));
        assert!(Interval::around(1.0, 0.0).admits(&claim("1.0")));
    }

    #[test]
    fn intervals_inside_beside_and_across_the_margin() {
        let decide = |low, high| Decision::of(Interval { low, high }, &claim("1.00000000"), 0.01);
        assert_eq!(decide(0.995, 1.005), Decision::Accepted);
        assert_eq!(decide(0.97, 0.98), Decision::Rejected);
        assert_eq!(decide(1.02, 1.03), Decision::Rejected);
        for (low, high) in [(0.98, 1.0), (1.0, 1.02), (0.98, 1.02)] {
            assert_eq!(decide(low, high), Decision::Undecided);
        }
        // No width, as when all was scored: never undecided.
        assert_eq!(decide(1.005, 1.005), Decision::Accepted);
        assert_eq!(decide(1.02, 1.02), Decision::Rejected);
        // Rounding counts: 1.00 stands for 0.995 to 1.005.
        assert_eq!(Decision::of(Interval { low: 1.014, high: 1.014 }, &claim("1.00"), 0.01), Decision::Accepted);
    }
}
