//! `--shard 3/8`: which part of an evaluation to run.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The `index`-th of `of` contiguous parts of the windows, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shard {
    /// Which part, from 1.
    pub index: u64,
    /// How many parts there are.
    pub of: u64,
}

/// A text that names no part.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseShardError {
    /// Not two numbers.
    #[error("expected PART/PARTS, such as 3/8")]
    Form,
    /// Part 0, or one past the last.
    #[error("part {index} is outside 1..={of}; parts are counted from 1")]
    Outside {
        /// The part.
        index: u64,
        /// The number of parts.
        of: u64,
    },
}

impl FromStr for Shard {
    type Err = ParseShardError;

    fn from_str(text: &str) -> Result<Self, ParseShardError> {
        let (index, of) = text.split_once('/').ok_or(ParseShardError::Form)?;
        let number = |text: &str| text.parse::<u64>().map_err(|_| ParseShardError::Form);
        let (index, of) = (number(index)?, number(of)?);
        if index == 0 || index > of {
            return Err(ParseShardError::Outside { index, of });
        }
        Ok(Shard { index, of })
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_counted_from_one() {
        assert_eq!("3/8".parse(), Ok(Shard { index: 3, of: 8 }));
        assert_eq!("1/1".parse(), Ok(Shard { index: 1, of: 1 }));
        for (text, error) in [
            ("", ParseShardError::Form),
            ("3", ParseShardError::Form),
            ("3/8/1", ParseShardError::Form),
            ("-1/8", ParseShardError::Form),
            ("0/8", ParseShardError::Outside { index: 0, of: 8 }),
            ("3/2", ParseShardError::Outside { index: 3, of: 2 }),
            ("0/0", ParseShardError::Outside { index: 0, of: 0 }),
        ] {
            assert_eq!(text.parse::<Shard>(), Err(error), "{text}");
        }
    }
}
