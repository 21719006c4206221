//! Names of choices on the command line, with the line `--help` says about each.

use std::num::IntErrorKind;

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::manifest::{Launcher, Track};
use crate::report::{Format, Order};

/// A whole number that is not too small.
pub fn at_least<const LEAST: u64>(text: &str) -> Result<u64, String> {
    match text.parse::<u64>() {
        Ok(value) if value >= LEAST => Ok(value),
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => Err(format!("must be at most {}", u64::MAX)),
        _ if text.parse::<f64>().is_ok_and(|value| value.fract() == 0.0) => Err(format!("must be {LEAST} or more")),
        _ => Err(format!("must be a whole number, {LEAST} or more")),
    }
}

/// A finite number that is not negative.
pub fn number(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        Ok(value) if value < 0.0 => Err("must be 0 or more".into()),
        _ => Err("must be a number, 0 or more".into()),
    }
}

/// A track, by the name that policies give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TrackName {
    /// 600 s on 8xH100
    #[value(name = "10min_16mb")]
    TenMinutes,
    /// Any time, the same bytes
    #[value(name = "non_record_16mb")]
    NonRecord,
}

impl From<TrackName> for Track {
    fn from(track: TrackName) -> Track {
        match track {
            TrackName::TenMinutes => Track::TenMinutes,
            TrackName::NonRecord => Track::NonRecord,
        }
    }
}

impl From<Track> for TrackName {
    fn from(track: Track) -> TrackName {
        match track {
            Track::TenMinutes => TrackName::TenMinutes,
            Track::NonRecord => TrackName::NonRecord,
        }
    }
}

/// Implements [`ValueEnum`] for a type of the library, which itself knows nothing of a command line.
macro_rules! values {
    ($type:ty: $($variant:ident $name:literal $help:literal),+ $(,)?) => {
        impl ValueEnum for $type {
            fn value_variants<'a>() -> &'a [Self] {
                &[$(<$type>::$variant),+]
            }

            fn to_possible_value(&self) -> Option<PossibleValue> {
                Some(match self {
                    $(<$type>::$variant => PossibleValue::new($name).help($help)),+
                })
            }
        }
    };
}

values!(Format:
    Text "text" "For people",
    Json "json" "One JSON document (schema: manifests/audit.schema.json)",
    Jsonl "jsonl" "One JSON object a finding",
    Markdown "markdown" "For job summaries and comments",
    Sarif "sarif" "SARIF 2.1.0, for code scanning",
    Github "github" "Annotations of GitHub Actions",
    Junit "junit" "JUnit XML",
    Csv "csv" "One finding a row",
    CsvSummary "csv-summary" "One subject a row",
    InToto "in-toto" "Unsigned in-toto Statement with a test-result predicate, one a subject",
);

values!(Order:
    Name "name" "By name",
    Verdict "verdict" "The worst first",
    Bpb "bpb" "The least claimed bits per byte first",
    Bytes "bytes" "The largest total first",
    Date "date" "The latest day first",
);

values!(Launcher:
    Torchrun "torchrun" "PyTorch's launcher: one process a GPU",
    Python "python" "The interpreter itself: one process",
    Srun "srun" "Slurm, at once",
    Sbatch "sbatch" "Slurm, as a batch job",
);

#[cfg(feature = "engine")]
mod engines {
    use super::{PossibleValue, ValueEnum};
    use crate::engine::{EngineKind, Isa, Precision};
    use crate::eval::EngineChoice;

    values!(EngineKind:
        Dfdx "dfdx" "The reference: the model written with dfdx tensors, gradients by its autograd",
        Kernels "kernels" "The fast one: forward and backward written out over fused kernels",
    );

    values!(Precision:
        F32 "f32" "Single precision",
        Bf16 "bf16" "Weights and activations rounded to bfloat16, sums in single precision; kernels engine only",
    );

    values!(Isa:
        Auto "auto" "The widest this processor has, and its tiles (AMX)",
        Avx2 "avx2" "256-bit vectors (AVX2 and FMA), also where there are wider ones",
        Avx512 "avx512" "512-bit vectors and no tiles (AMX); refuses to run without them",
    );

    values!(EngineChoice:
        Kernels "kernels" "The fast one",
        Dfdx "dfdx" "The readable one, written with dfdx",
        Both "both" "Kernels, every likelihood cross-checked by dfdx; fails where they differ",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_in_range_is_told_the_range() {
        assert_eq!((at_least::<0>("0"), at_least::<1>("18446744073709551615")), (Ok(0), Ok(u64::MAX)));
        let said = |text| at_least::<1>(text).unwrap_err();
        assert_eq!(["0", "-5", "-5.0"].map(said), ["must be 1 or more"; 3]);
        assert_eq!(["1.5", "x", ""].map(said), ["must be a whole number, 1 or more"; 3]);
        assert_eq!(said("18446744073709551616"), "must be at most 18446744073709551615");
        assert_eq!(number("0.5"), Ok(0.5));
        assert_eq!(number("-0.5"), Err("must be 0 or more".into()));
        assert_eq!(["nan", "inf", "x"].map(|text| number(text).is_err()), [true; 3]);
    }
}
