//! What was scored so far, and whether all that is learned from is among it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A run of tokens of the split, counted from 0; token 0 is never predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRange {
    /// Index of the first.
    pub first: u64,
    /// Index of the last.
    pub last: u64,
}

impl fmt::Display for TokenRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tokens {} to {}", self.first, self.last)
    }
}

/// Something in another order than the rule allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// A target that was not scored before.
    #[error(
        "{learned} would be learned from, and only those up to {scored_to} are scored: no token may be learned from before it is scored"
    )]
    NotScored {
        /// Targets to be learned from.
        learned: TokenRange,
        /// Last token scored.
        scored_to: u64,
    },
    /// Tokens left out.
    #[error("{scored} are scored where token {next} comes next")]
    Gap {
        /// What was scored.
        scored: TokenRange,
        /// The first token that was not scored yet.
        next: u64,
    },
    /// A range that ends before it begins, or begins with the token that is not predicted.
    #[error("{0} are no tokens that are predicted")]
    Range(TokenRange),
}

/// The tokens scored so far: all from token 1 up to some token. Memory is one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    scored_to: u64,
}

impl Ledger {
    /// Enters a run of scored tokens, which leaves none out; some of it may have been scored before.
    pub fn scored(&mut self, scored: TokenRange) -> Result<(), OrderError> {
        check(scored)?;
        let next = self.scored_to + 1;
        if scored.first > next {
            return Err(OrderError::Gap { scored, next });
        }
        self.scored_to = self.scored_to.max(scored.last);
        Ok(())
    }

    /// Refuses targets of which any is not scored yet.
    pub fn learned(&self, learned: TokenRange) -> Result<(), OrderError> {
        check(learned)?;
        match learned.last <= self.scored_to {
            true => Ok(()),
            false => Err(OrderError::NotScored { learned, scored_to: self.scored_to }),
        }
    }
}

fn check(range: TokenRange) -> Result<(), OrderError> {
    match (1..=range.last).contains(&range.first) && range.last < u64::MAX {
        true => Ok(()),
        false => Err(OrderError::Range(range)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_learned_before_it_is_scored() {
        let range = |first, last| TokenRange { first, last };
        let mut ledger = Ledger::default();
        assert_eq!(ledger.learned(range(1, 1)), Err(OrderError::NotScored { learned: range(1, 1), scored_to: 0 }));
        assert_eq!(ledger.scored(range(2, 5)), Err(OrderError::Gap { scored: range(2, 5), next: 1 }));
        ledger.scored(range(1, 10)).unwrap();
        ledger.learned(range(1, 10)).unwrap();
        // The end of the text may be scored again, and that moves nothing back.
        ledger.scored(range(6, 8)).unwrap();
        ledger.learned(range(10, 10)).unwrap();
        assert_eq!(ledger.learned(range(5, 11)), Err(OrderError::NotScored { learned: range(5, 11), scored_to: 10 }));
        for odd in [range(0, 3), range(7, 6), range(1, u64::MAX)] {
            assert_eq!(
                (ledger.scored(odd), ledger.learned(odd)),
                (Err(OrderError::Range(odd)), Err(OrderError::Range(odd)))
            );
        }
    }
}
