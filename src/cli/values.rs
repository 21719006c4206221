//! Names of choices on the command line, with the line `--help` says about each.

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::manifest::Launcher;
use crate::report::{Format, Order};

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
