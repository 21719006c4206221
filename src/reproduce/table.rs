//! The table a reproduction ends in: claimed | reproduced | difference | verdict.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use crate::manifest::ClaimedNumber;
use crate::units::group_digits;

/// What a row says about its claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RowVerdict {
    /// Reproduced within the tolerance.
    Agrees,
    /// Reproduced, and outside the tolerance.
    Differs,
    /// Within a cap of the rules.
    WithinCap,
    /// Beyond a cap of the rules.
    OverCap,
    /// Nothing was claimed; the number stands for itself.
    NotClaimed,
    /// Claimed, and not computed in this run.
    NotReproduced,
    /// Both numbers are known and the rules do not compare them.
    Informative,
}

impl RowVerdict {
    /// Whether the row speaks against the claim.
    pub fn is_failure(self) -> bool {
        matches!(self, RowVerdict::Differs | RowVerdict::OverCap)
    }
}

impl fmt::Display for RowVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            RowVerdict::Agrees => "agrees",
            RowVerdict::Differs => "DIFFERS",
            RowVerdict::WithinCap => "within cap",
            RowVerdict::OverCap => "OVER CAP",
            RowVerdict::NotClaimed => "not claimed",
            RowVerdict::NotReproduced => "not reproduced",
            RowVerdict::Informative => "-",
        })
    }
}

/// How a row's numbers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Bits per byte, six decimals.
    BitsPerByte,
    /// Nats per token, six decimals.
    Nats,
    /// Bytes, digits grouped.
    Bytes,
    /// A plain count, digits grouped.
    Count,
    /// Seconds, one decimal.
    Seconds,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Unit::BitsPerByte | Unit::Nats => format!("{value:.6}"),
            Unit::Bytes | Unit::Count => group_digits(value as i128),
            Unit::Seconds => format!("{value:.1} s"),
        }
    }

    fn show_difference(self, value: f64) -> String {
        let text = self.show(value);
        if value >= 0.0 { format!("+{text}") } else { text }
    }
}

/// What a reproduced number is held against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Yardstick {
    /// The claim, to within this much (beyond what rounding of the claim explains).
    Claim {
        /// Largest |difference|.
        tolerance: f64,
    },
    /// A cap of the rules, inclusive; the claim is shown beside it.
    Cap {
        /// Largest value allowed.
        cap: f64,
    },
    /// Nothing: shown for information.
    None,
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Row {
    /// Name of the metric, as in the manifest's claim.
    pub metric: String,
    /// As claimed.
    pub claimed: Option<String>,
    /// As found.
    pub reproduced: Option<f64>,
    /// Found minus claimed.
    pub difference: Option<f64>,
    /// What follows.
    pub verdict: RowVerdict,
    /// How the numbers are printed.
    pub unit: Unit,
}

impl Row {
    /// Compares one number with its claim.
    pub fn new(
        metric: &str,
        unit: Unit,
        claimed: Option<&ClaimedNumber>,
        reproduced: Option<f64>,
        yardstick: Yardstick,
    ) -> Self {
        let difference = claimed.zip(reproduced).map(|(claim, found)| found - claim.value());
        let verdict = match (claimed, reproduced, yardstick) {
            (_, Some(found), Yardstick::Cap { cap }) if found > cap => RowVerdict::OverCap,
            (_, Some(_), Yardstick::Cap { .. }) => RowVerdict::WithinCap,
            (None, _, _) => RowVerdict::NotClaimed,
            (Some(_), None, _) => RowVerdict::NotReproduced,
            (Some(claim), Some(found), Yardstick::Claim { tolerance }) => {
                let within = (found - claim.value()).abs() <= tolerance + claim.rounding();
                if within { RowVerdict::Agrees } else { RowVerdict::Differs }
            }
            (Some(_), Some(_), Yardstick::None) => RowVerdict::Informative,
        };
        Row {
            metric: metric.to_string(),
            claimed: claimed.map(|claim| claim.text().to_string()),
            reproduced,
            difference,
            verdict,
            unit,
        }
    }
}

impl Row {
    /// Metric, claim, result, difference and verdict as people read them.
    pub fn cells(&self) -> [String; 5] {
        let shown = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let claimed = match (&self.claimed, self.unit) {
            // Bytes and counts gain their commas back; every other claim keeps its own digits.
            (Some(text), Unit::Bytes | Unit::Count) => match text.parse::<i128>() {
                Ok(value) => group_digits(value),
                Err(_) => text.clone(),
            },
            (Some(text), Unit::Seconds) => format!("{text} s"),
            (Some(text), _) => text.clone(),
            (None, _) => "-".into(),
        };
        [
            self.metric.clone(),
            claimed,
            shown(self.reproduced.map(|value| self.unit.show(value))),
            shown(self.difference.map(|value| self.unit.show_difference(value))),
            self.verdict.to_string(),
        ]
    }
}

/// All rows, in the order of the story: training, packing, scoring.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Table(pub Vec<Row>);

impl Table {
    /// Whether a row speaks against the claim.
    pub fn has_failure(&self) -> bool {
        self.0.iter().any(|row| row.verdict.is_failure())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = vec![["", "claimed", "reproduced", "difference", "verdict"].map(String::from)];
        lines.extend(self.0.iter().map(Row::cells));
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths = [0, 1, 2, 3].map(width);
        for [metric, claimed, reproduced, difference, verdict] in &lines {
            let line = format!(
                "{metric:<0$}  {claimed:>1$}  {reproduced:>2$}  {difference:>3$}  {verdict}",
                widths[0], widths[1], widths[2], widths[3],
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(text: &str) -> ClaimedNumber {
        ClaimedNumber::parse(text).unwrap()
    }

    #[test]
    fn verdicts_at_the_boundaries() {
        let bpb = |found, tolerance| {
            let yardstick = Yardstick::Claim { tolerance };
            Row::new("val_bpb", Unit::BitsPerByte, Some(&claim("1.1628")), found, yardstick).verdict
        };
        assert_eq!(bpb(Some(1.16684), 0.004), RowVerdict::Agrees); // tolerance plus the claim's rounding
        assert_eq!(bpb(Some(1.16686), 0.004), RowVerdict::Differs);
        assert_eq!(bpb(None, 0.004), RowVerdict::NotReproduced);
        let bytes = |found| {
            let yardstick = Yardstick::Cap { cap: 16_000_000.0 };
            Row::new("total_bytes", Unit::Bytes, None, Some(found), yardstick).verdict
        };
        assert_eq!(bytes(15_999_999.0), RowVerdict::WithinCap);
        assert_eq!(bytes(16_000_000.0), RowVerdict::WithinCap);
        assert_eq!(bytes(16_000_001.0), RowVerdict::OverCap);
    }

    #[test]
    fn a_nan_never_agrees() {
        let row = Row::new("x", Unit::Nats, Some(&claim("1")), Some(f64::NAN), Yardstick::Claim { tolerance: 1.0 });
        assert_eq!(row.verdict, RowVerdict::Differs);
    }

    #[test]
    fn columns_line_up() {
        let table = Table(vec![
            Row::new(
                "val_bpb",
                Unit::BitsPerByte,
                Some(&claim("1.1628")),
                Some(1.1629),
                Yardstick::Claim { tolerance: 1e-3 },
            ),
            Row::new(
                "total_bytes",
                Unit::Bytes,
                Some(&claim("15481841")),
                Some(15_481_000.0),
                Yardstick::Cap { cap: 16e6 },
            ),
            Row::new("eval_seconds", Unit::Seconds, Some(&claim("170.7")), None, Yardstick::None),
        ]);
        insta::assert_snapshot!(table.to_string(), @r"
                         claimed  reproduced  difference  verdict
        val_bpb           1.1628    1.162900   +0.000100  agrees
        total_bytes   15,481,841  15,481,000        -841  within cap
        eval_seconds     170.7 s           -           -  not reproduced
        ");
    }
}
