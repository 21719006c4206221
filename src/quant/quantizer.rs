//! How the integers of a tensor are chosen: what the scales of its rows are, and how weights are rounded to them.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{TensorClass, limits};
use crate::glob::matches;
use crate::is_default::is_default;

/// Most standard deviations that the largest symbol may stand for.
const MAX_DEVIATIONS: f64 = 1e3;

/// What a clip quantile is chosen for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClipUnit {
    /// One for a whole matrix, scales of at least 1 / largest symbol (PRs #414, #549).
    #[default]
    Matrix,
    /// One for each row, as `scale_search: percentiles`.
    Row,
}

/// The scale of each row of an integer tensor.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "rule", rename_all = "snake_case", deny_unknown_fields)]
pub enum ScaleRule {
    /// The largest magnitude of the row is the largest symbol.
    RowMaximum {},
    /// PR #286's rule of the class, clipped at this quantile of the row's magnitudes.
    Quantile {
        /// In (0, 1].
        quantile: f64,
    },
    /// The clip quantile, of 0.999, 0.9995, 0.9999, 0.99999 and 1, that misses the weights least.
    ClipSearch {
        /// What one quantile is chosen for.
        #[serde(default)]
        per: ClipUnit,
    },
    /// So many standard deviations of the row are the largest symbol (PR #1394).
    Deviation {
        /// Standard deviations: 12.85 for int6 and 20 for int8 in PR #1394.
        deviations: f64,
        /// How much wider the scale of a row is that weighs more in the loss than the average row, in [0, 1]; needs
        /// `rounding: gptq` for its Hessian (PR #1412: 0.175).
        #[serde(default, skip_serializing_if = "is_default")]
        curvature: f64,
    },
}

/// How a weight becomes a symbol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rounding {
    /// The nearest one.
    #[default]
    Nearest,
    /// The nearest to what makes up for the columns before, by a Hessian from calibration tokens (PRs #1019, #1218).
    Gptq,
    /// So, and the nearest one where a matrix has no Hessian, or one that is not positive definite (PR #1218).
    GptqOrNearest,
}

impl Rounding {
    /// Whether a Hessian is rounded by, where there is one.
    pub fn uses_hessian(self) -> bool {
        self != Rounding::Nearest
    }
}

/// Scales and rounding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantizer {
    /// Scales.
    pub scales: ScaleRule,
    /// Rounding.
    pub rounding: Rounding,
    /// What is stored beside the integers to correct them.
    pub low_rank: Option<LowRank>,
}

/// A correction of rank R beside the integers of a matrix: `W ~ integers * scales + L^T R`, of what rounding missed
/// (LQER, arXiv:2402.02446; PRs #1797, #1855).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LowRank {
    /// Rank, 1 to 64: 4 in PR #1797.
    pub rank: u32,
    /// Class of both factors. Each is stored as a matrix of R rows, so an integer class has a scale for each.
    #[serde(default = "LowRank::default_factors")]
    pub factors: TensorClass,
    /// Of the matrices of this rule, only so many are corrected: those that rounding misses most, by the Frobenius norm.
    /// All without it; 3 in PR #1797.
    #[serde(default, skip_serializing_if = "is_default")]
    pub largest: Option<u32>,
}

/// Tensors by name, and how their integers are chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuantizerRule {
    /// State-dict name; `*` is any run of characters, `?` any one: `blocks.*`.
    pub pattern: String,
    /// The scale of each row.
    pub scales: ScaleRule,
    /// How weights become symbols; `nearest` is the default.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rounding: Rounding,
    /// A correction stored beside the integers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub low_rank: Option<LowRank>,
}

impl LowRank {
    fn default_factors() -> TensorClass {
        TensorClass::Int8
    }

    fn check(self) -> Result<(), (&'static str, String)> {
        if !(1..=limits::MAX_LOW_RANK).contains(&self.rank) {
            return Err(("low_rank.rank", format!("{} is outside 1..={}", self.rank, limits::MAX_LOW_RANK)));
        }
        match self.largest {
            Some(0) => Err(("low_rank.largest", "corrects no matrix; leave low_rank out".into())),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Display for LowRank {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "low_rank:{}:{}", self.rank, self.factors)?;
        self.largest.map_or(Ok(()), |largest| write!(f, ":{largest}"))
    }
}

impl Quantizer {
    /// What is wrong with it: the field's last name, and why.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        self.low_rank.map_or(Ok(()), LowRank::check)?;
        match self.scales {
            ScaleRule::Quantile { quantile } if !(quantile > 0.0 && quantile <= 1.0) => {
                Err(("scales.quantile", format!("{quantile} is outside (0, 1]")))
            }
            ScaleRule::Deviation { deviations, .. } if !(deviations > 0.0 && deviations <= MAX_DEVIATIONS) => {
                Err(("scales.deviations", format!("{deviations} is outside (0, {MAX_DEVIATIONS}]")))
            }
            ScaleRule::Deviation { curvature, .. } if !(0.0..=1.0).contains(&curvature) => {
                Err(("scales.curvature", format!("{curvature} is outside 0..=1")))
            }
            ScaleRule::Deviation { curvature, .. } if curvature > 0.0 && self.rounding != Rounding::Gptq => {
                Err(("scales.curvature", "is taken from a Hessian; set rounding to gptq, or leave this at 0".into()))
            }
            _ => Ok(()),
        }
    }
}

impl QuantizerRule {
    /// The rule for tensors of a pattern.
    pub fn new(pattern: impl Into<String>, Quantizer { scales, rounding, low_rank }: Quantizer) -> Self {
        QuantizerRule { pattern: pattern.into(), scales, rounding, low_rank }
    }

    /// Scales and rounding.
    pub fn quantizer(&self) -> Quantizer {
        Quantizer { scales: self.scales, rounding: self.rounding, low_rank: self.low_rank }
    }

    /// That of the first of some rules that fits a name.
    pub fn first(rules: &[QuantizerRule], name: &str) -> Option<Quantizer> {
        rules.iter().find(|rule| rule.fits(name)).map(QuantizerRule::quantizer)
    }

    /// Whether it is for a tensor of that name, if no earlier one is.
    pub fn fits(&self, name: &str) -> bool {
        matches(&self.pattern, name)
    }
}

impl std::fmt::Display for Quantizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.scales {
            ScaleRule::RowMaximum {} => write!(f, "row_maximum")?,
            ScaleRule::Quantile { quantile } => write!(f, "quantile:{quantile}")?,
            ScaleRule::ClipSearch { per: ClipUnit::Matrix } => write!(f, "clip_search")?,
            ScaleRule::ClipSearch { per: ClipUnit::Row } => write!(f, "clip_search:row")?,
            ScaleRule::Deviation { deviations, curvature: 0.0 } => write!(f, "deviation:{deviations}")?,
            ScaleRule::Deviation { deviations, curvature } => write!(f, "deviation:{deviations}:{curvature}")?,
        }
        match self.rounding {
            Rounding::Nearest => {}
            Rounding::Gptq => write!(f, "/gptq")?,
            Rounding::GptqOrNearest => write!(f, "/gptq_or_nearest")?,
        }
        self.low_rank.map_or(Ok(()), |low_rank| write!(f, "+{low_rank}"))
    }
}

impl std::fmt::Display for QuantizerRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.pattern, self.quantizer())
    }
}

/// A text that is no quantizer.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error(
    "`{text}` is not SCALES, SCALES/gptq or SCALES/gptq_or_nearest, with SCALES row_maximum, quantile:Q, clip_search, \
     clip_search:row, deviation:K or deviation:K:CURVATURE, and +low_rank:R[:CLASS[:LARGEST]] behind it where wanted{}",
    because(why)
)]
pub struct ParseQuantizerError {
    text: String,
    why: Option<String>,
}

fn because(why: &Option<String>) -> String {
    why.as_ref().map_or(String::new(), |why| format!(" ({why})"))
}

impl FromStr for Quantizer {
    type Err = ParseQuantizerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |why| ParseQuantizerError { text: text.to_string(), why };
        let (before, low_rank) = match text.split_once('+') {
            None => (text, None),
            Some((before, low_rank)) => (before, Some(low_rank)),
        };
        let whole = |text: &str| text.parse::<u32>().map_err(|_| error(Some(format!("`{text}` is no whole number"))));
        let class = |text: &str| {
            let class = TensorClass::ALL.into_iter().find(|class| class.label() == text);
            class.ok_or_else(|| error(Some(format!("`{text}` is none of int5, int6, int8, f16, f32"))))
        };
        let low_rank = match low_rank.map(|text| text.split(':').collect::<Vec<_>>()).as_deref() {
            None => None,
            Some(["low_rank", rank]) => {
                Some(LowRank { rank: whole(rank)?, factors: LowRank::default_factors(), largest: None })
            }
            Some(["low_rank", rank, factors]) => {
                Some(LowRank { rank: whole(rank)?, factors: class(factors)?, largest: None })
            }
            Some(["low_rank", rank, factors, largest]) => {
                Some(LowRank { rank: whole(rank)?, factors: class(factors)?, largest: Some(whole(largest)?) })
            }
            Some(_) => return Err(error(None)),
        };
        let (scales, rounding) = match before.split_once('/') {
            None => (before, Rounding::Nearest),
            Some((scales, "gptq")) => (scales, Rounding::Gptq),
            Some((scales, "gptq_or_nearest")) => (scales, Rounding::GptqOrNearest),
            Some((scales, "nearest")) => (scales, Rounding::Nearest),
            Some(_) => return Err(error(None)),
        };
        let number = |text: &str| text.parse::<f64>().map_err(|_| error(Some(format!("`{text}` is no number"))));
        let parts: Vec<&str> = scales.split(':').collect();
        let scales = match parts[..] {
            ["row_maximum"] => ScaleRule::RowMaximum {},
            ["quantile", quantile] => ScaleRule::Quantile { quantile: number(quantile)? },
            ["clip_search"] | ["clip_search", "matrix"] => ScaleRule::ClipSearch { per: ClipUnit::Matrix },
            ["clip_search", "row"] => ScaleRule::ClipSearch { per: ClipUnit::Row },
            ["deviation", deviations] => ScaleRule::Deviation { deviations: number(deviations)?, curvature: 0.0 },
            ["deviation", deviations, curvature] => {
                ScaleRule::Deviation { deviations: number(deviations)?, curvature: number(curvature)? }
            }
            _ => return Err(error(None)),
        };
        let quantizer = Quantizer { scales, rounding, low_rank };
        quantizer.check().map_err(|(field, why)| error(Some(format!("{field}: {why}"))))?;
        Ok(quantizer)
    }
}

/// A text that is not PATTERN=QUANTIZER.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseQuantizerRuleError {
    /// There is no pattern.
    #[error("`{0}` is not PATTERN=SCALES, such as `blocks.*=deviation:12.85/gptq`")]
    Pattern(String),
    /// What follows is no quantizer.
    #[error(transparent)]
    Quantizer(#[from] ParseQuantizerError),
}

impl FromStr for QuantizerRule {
    type Err = ParseQuantizerRuleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.rsplit_once('=') {
            Some((pattern, quantizer)) if !pattern.trim().is_empty() => {
                Ok(QuantizerRule::new(pattern.trim(), quantizer.trim().parse()?))
            }
            _ => Err(ParseQuantizerRuleError::Pattern(text.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [&str; 10] = [
        "clip_search/gptq_or_nearest",
        "row_maximum",
        "quantile:0.9995",
        "clip_search",
        "clip_search:row/gptq",
        "deviation:12.85",
        "deviation:20/gptq",
        "deviation:12.85:0.175/gptq",
        "clip_search+low_rank:4:f16",
        "deviation:12.85/gptq+low_rank:4:int8:3",
    ];

    #[test]
    fn texts_and_yaml_give_the_same_rules_back() {
        for text in TEXTS {
            let rule: QuantizerRule = format!("blocks.*={text}").parse().unwrap();
            assert_eq!(rule.to_string(), format!("blocks.*={text}"));
            let yaml = serde_yaml::to_string(&rule).unwrap();
            assert_eq!(serde_yaml::from_str::<QuantizerRule>(&yaml).unwrap(), rule, "{yaml}");
        }
        let yaml = "{ pattern: a, scales: { rule: deviation, deviations: 12.85, curvature: 0.175 }, rounding: gptq }";
        let rule: QuantizerRule = serde_yaml::from_str(yaml).unwrap();
        assert_eq!(rule.to_string(), "a=deviation:12.85:0.175/gptq");
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let rules: Vec<QuantizerRule> = ["a.*=row_maximum", "*=clip_search"].map(|text| text.parse().unwrap()).to_vec();
        let of = |name| QuantizerRule::first(&rules, name).map(|quantizer| quantizer.to_string());
        assert_eq!((of("a.b").as_deref(), of("b").as_deref()), (Some("row_maximum"), Some("clip_search")));
        assert_eq!(QuantizerRule::first(&rules[..1], "b"), None);
    }

    #[test]
    fn what_is_no_rule_is_told_why() {
        for (text, why) in [
            ("=clip_search", "is not PATTERN=SCALES"),
            ("clip_search", "is not PATTERN=SCALES"),
            ("a=clip", "is not SCALES, SCALES/gptq"),
            ("a=row_maximum+rank:4", "is not SCALES, SCALES/gptq"),
            ("a=row_maximum+low_rank:0", "low_rank.rank: 0 is outside 1..=64"),
            ("a=row_maximum+low_rank:4:int4", "`int4` is none of int5"),
            ("a=row_maximum+low_rank:4:int8:0", "low_rank.largest: corrects no matrix"),
            ("a=row_maximum/gtpq", "is not SCALES, SCALES/gptq"),
            ("a=deviation:many", "`many` is no number"),
            ("a=deviation:0", "scales.deviations: 0 is outside (0, 1000]"),
            ("a=quantile:1.5", "scales.quantile: 1.5 is outside (0, 1]"),
            ("a=quantile:nan", "scales.quantile: NaN is outside"),
            ("a=deviation:3:2/gptq", "scales.curvature: 2 is outside 0..=1"),
            ("a=deviation:12.85:0.175", "scales.curvature: is taken from a Hessian; set rounding to gptq"),
            ("a=deviation:12.85:0.175/gptq_or_nearest", "scales.curvature: is taken from a Hessian"),
        ] {
            let error = text.parse::<QuantizerRule>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn fields_of_other_rules_are_errors() {
        for yaml in [
            "{ pattern: a, scales: { rule: row_maximum, quantile: 1 } }",
            "{ pattern: a, scales: { rule: deviation } }",
            "{ pattern: a, scales: { rule: clip_search, deviations: 3 } }",
            "{ pattern: a, scales: { rule: clip_search, per: column } }",
            "{ pattern: a, scales: { rule: row_maximum }, rounding: up }",
            "{ pattern: a }",
        ] {
            assert!(serde_yaml::from_str::<QuantizerRule>(yaml).is_err(), "{yaml}");
        }
    }
}
