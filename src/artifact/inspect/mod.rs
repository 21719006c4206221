//! Where the bytes of a model file go: tensor by tensor, class by class, and against what coding could reach.
//!
//! Every file is taken apart completely. Two sums hold exactly and are what the numbers are checked by:
//!
//! * [`in_file`](TensorLine::in_file) of all tensors and of the [`rest`](Inspection::rest) is the size of the file;
//! * [`held`](TensorLine::held) of all of them is [`Inspection::unpacked`], the size without compression around it.
//!
//! Compression mixes tensors, so what one of them takes of a compressed file is a convention, named by [`Shares`];
//! sums over a stream of this crate's own container are exact.

mod apportion;
mod document;
pub mod entropy;
mod floors;
mod foreign;
mod golf;
mod picture;
mod several;
#[cfg(test)]
mod tests;
mod text;
mod treemap;
mod values;

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

pub use document::InspectionDocument;
pub use floors::{Floors, SymbolCounts};
pub use picture::svg;
pub use several::several_text;
pub use text::{summary, text};
pub use values::{Statistics, SymbolsUsed};

use super::foreign::{
    Container, Convention, Detail, Dtype, ForeignError, MAX_CONTENT_BYTES, OpenFile, Wrapper, open_within,
    wrapper::read_bounded,
};
use crate::digest::ContentDigest;
use crate::quant::{Codec, TensorClass};
use crate::units::Bytes;
use apportion::apportion;

/// A model file taken apart.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The file.
    pub path: PathBuf,
    /// Its size and digests.
    pub file: ContentDigest,
    /// Compression around the container, outermost first.
    pub wrappers: Vec<Wrapper>,
    /// What is inside.
    pub container: Container,
    /// How its tensors are spelled.
    pub convention: Convention,
    /// Codec and level of this crate's own container.
    pub codec: Option<(Codec, u8)>,
    /// Streams of this crate's own container, in its order; none in a foreign one.
    pub streams: Vec<StreamLine>,
    /// Everything in the file without compression around it: the streams and the table of this crate's own container,
    /// the whole container of a foreign one.
    pub unpacked: Bytes,
    /// Bytes that belong to no tensor and to no part of the format, such as those behind the end of a stream, in words.
    pub unclaimed: Vec<String>,
    /// Every tensor of the model, in the file's order.
    pub tensors: Vec<TensorLine>,
    /// What is no tensor, or no tensor of the model.
    pub rest: Vec<RestLine>,
    /// How the bytes of a compressed file were divided.
    pub shares: Shares,
    /// What codes without memory would need.
    pub floors: Floors,
    /// How often each symbol of each class of integers occurs.
    pub symbols: Vec<SymbolCounts>,
}

/// A stream of this crate's own container: values of one kind, compressed together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StreamLine {
    /// What it holds.
    pub what: String,
    /// What compressed it; in a range-coded file zstd where that is smaller.
    pub coder: Codec,
    /// Bytes before compression.
    #[serde(rename = "held_bytes")]
    pub held: Bytes,
    /// Bytes in the container.
    #[serde(rename = "stored_bytes")]
    pub stored: Bytes,
}

/// One tensor, its scales aside.
#[derive(Clone, Debug)]
pub struct TensorLine {
    /// State-dict name, as the file has it: anything may stand in it.
    pub name: String,
    /// Sides, outermost first.
    pub shape: Vec<usize>,
    /// Class or element type.
    pub kind: Kind,
    /// Number of values.
    pub values: u64,
    /// Bytes before the compression around them.
    pub held: Bytes,
    /// Bytes of the file, see [`Shares`].
    pub in_file: Bytes,
    /// Whether another tensor lies in the same storage; its bytes are then divided between them by length.
    pub shares_storage: bool,
    /// Counts over the values.
    pub statistics: Statistics,
}

/// Bytes that are no tensor of the model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RestLine {
    /// What they are.
    pub what: Rest,
    /// Bytes before the compression around them.
    pub held: Bytes,
    /// Bytes of the file.
    pub in_file: Bytes,
    /// Order-0 entropy in bytes, of scales.
    pub order0_bytes: Option<f64>,
}

/// How values are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// In a class this crate knows.
    Class(TensorClass),
    /// As any other element type.
    Dtype(Dtype),
}

impl Kind {
    /// Values of an element type without scales; half and single precision are classes.
    pub fn of_dtype(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F16 => Kind::Class(TensorClass::F16),
            Dtype::F32 => Kind::Class(TensorClass::F32),
            other => Kind::Dtype(other),
        }
    }
}

impl std::fmt::Display for Kind {
    /// Element types have other names than the classes: `i8` has no scales, `int8` has.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Kind::Class(class) => class.fmt(f),
            Kind::Dtype(dtype) => f.pad(match dtype {
                Dtype::F64 => "f64",
                Dtype::F32 => "f32",
                Dtype::F16 => "f16",
                Dtype::BF16 => "bf16",
                Dtype::I8 => "i8",
                Dtype::U8 => "u8",
                Dtype::I16 => "i16",
                Dtype::I32 => "i32",
                Dtype::I64 => "i64",
                Dtype::Bool => "bool",
                Dtype::U16 => "u16",
                Dtype::U32 => "u32",
                Dtype::U64 => "u64",
                Dtype::C64 => "c64",
                Dtype::C128 => "c128",
                Dtype::F8E4M3 => "f8_e4m3",
                Dtype::F8E5M2 => "f8_e5m2",
                Dtype::Other(other) => other.name,
            }),
        }
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Kind {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Kind".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

/// A part of a file that is no tensor of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rest {
    /// Factors of integer rows.
    Scales,
    /// Widths of the rows of integers, by which this crate's container sorts them.
    MagnitudeBuckets,
    /// Names, shapes and digests of this crate's container.
    Table,
    /// What a container starts with.
    Header,
    /// The pickle that describes a torch file's tensors.
    Pickle,
    /// Headers of NumPy arrays.
    ArrayHeaders,
    /// Tensors that belong to no model, such as an optimizer's.
    Unused,
    /// Other members of a zip file.
    OtherMembers,
    /// A zip file's own headers, padding and directory.
    Zip,
    /// Bytes behind the end of the compressed stream.
    Behind,
}

impl std::fmt::Display for Rest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Rest::Scales => "scales",
            Rest::MagnitudeBuckets => "magnitude buckets",
            Rest::Table => "table",
            Rest::Header => "header",
            Rest::Pickle => "pickle",
            Rest::ArrayHeaders => "array headers",
            Rest::Unused => "unused",
            Rest::OtherMembers => "other members",
            Rest::Zip => "zip framing",
            Rest::Behind => "behind the end",
        })
    }
}

/// How much of a file counts toward a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shares {
    /// The bytes that lie in the file: nothing is compressed around the tensors.
    Exact,
    /// Each compressed stream's exact size, divided by the code lengths its bytes have at the stream's own entropy
    /// (symbols: of the rows of one magnitude bucket). Sums over a class are exact, single tensors are estimates.
    StreamsByCodeLength,
    /// The file's size, divided by what every part takes when compressed alone with zstd at level 1. All estimates.
    FileByPartsAlone,
}

impl Shares {
    /// In words, for people.
    pub fn explanation(self) -> &'static str {
        match self {
            Shares::Exact => "exact: nothing is compressed around the tensors",
            Shares::StreamsByCodeLength => {
                "exact for each class; a tensor's is an estimate, its class's bytes divided by code length"
            }
            Shares::FileByPartsAlone => {
                "an estimate: the file is one compressed stream, its bytes divided by what each part takes alone (zstd 1)"
            }
        }
    }

    /// Whether the bytes of a single tensor are an estimate.
    pub fn are_estimates(self) -> bool {
        self != Shares::Exact
    }
}

/// One line of the totals: all tensors of a kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KindTotal {
    /// The kind.
    pub kind: Kind,
    /// Tensors.
    pub tensors: u64,
    /// Values in them.
    pub values: u64,
    /// Bytes before compression.
    pub held: Bytes,
    /// Bytes of the file.
    pub in_file: Bytes,
    /// Sum of the tensors' order-0 entropies, in bytes.
    pub order0_bytes: f64,
    /// Values that are zero.
    pub zeros: u64,
}

impl Inspection {
    /// Totals of every kind in use, classes first.
    pub fn totals(&self) -> Vec<KindTotal> {
        let mut kinds: Vec<Kind> = self.tensors.iter().map(|tensor| tensor.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let total = |kind| {
            let (held, in_file) = (Bytes(0), Bytes(0));
            let mut total = KindTotal { kind, tensors: 0, values: 0, held, in_file, order0_bytes: 0.0, zeros: 0 };
            for tensor in self.tensors.iter().filter(|tensor| tensor.kind == kind) {
                total.tensors += 1;
                total.values += tensor.values;
                total.held.0 += tensor.held.0;
                total.in_file.0 += tensor.in_file.0;
                total.order0_bytes += tensor.statistics.order0_bytes;
                total.zeros += tensor.statistics.zeros;
            }
            total
        };
        kinds.into_iter().map(total).collect()
    }

    /// One line such as `zstd > torch zip > PR #286 export (w, m)`.
    pub fn description(&self) -> String {
        let wrappers: String = self.wrappers.iter().map(|wrapper| format!("{wrapper} > ")).collect();
        match self.codec {
            Some((Codec::Zstd, level)) => format!("{wrappers}{}, codec zstd, level {level}", self.container),
            Some((Codec::Ans, _)) => format!("{wrappers}{}, codec ans", self.container),
            None => format!("{wrappers}{} > {}", self.container, self.convention),
        }
    }
}

/// Takes a model file of any supported format apart. Nothing in it is executed.
pub fn inspect(path: &Path) -> Result<Inspection, ForeignError> {
    examine(&read_bounded(path)?, path)
}

/// [`inspect`] on bytes in memory; `path` is for messages, and its ending hints at brotli, which has no magic.
pub fn examine(bytes: &[u8], path: &Path) -> Result<Inspection, ForeignError> {
    let file = ContentDigest::of(bytes);
    let opened = open_within(bytes, path, MAX_CONTENT_BYTES, Detail::Values)?;
    let container = opened.container;
    let is_wrapped = !opened.wrappers.is_empty();
    let damaged = |what: String| ForeignError::Damaged { path: path.to_path_buf(), container, what };
    let parts = match container {
        Container::Golf => golf::parts(&opened.inner).map_err(|e| e.to_string()),
        _ => foreign::parts(&opened, is_wrapped),
    };
    let mut parts = parts.map_err(damaged)?;
    // What stands behind the end of the file's own stream takes its bytes of the file; of inner streams, next to none.
    let OpenFile { wrappers, behind, unclaimed, .. } = opened;
    let behind = behind.iter().find(|behind| behind.layer == 0).map_or(0, |behind| behind.bytes);
    if is_wrapped {
        parts.divide(Bytes(file.bytes.0.saturating_sub(behind)));
    }
    if behind > 0 {
        let line = RestLine { what: Rest::Behind, held: Bytes(0), in_file: Bytes(behind), order0_bytes: None };
        parts.rest.push(line);
    }
    let Parts { convention, codec, streams, unpacked, tensors, rest, shares, floors, symbols, .. } = parts;
    let path = path.to_path_buf();
    Ok(Inspection {
        path,
        file,
        wrappers,
        container,
        convention,
        codec,
        streams,
        unpacked,
        unclaimed,
        tensors,
        rest,
        shares: if is_wrapped { Shares::FileByPartsAlone } else { shares },
        floors,
        symbols,
    })
}

/// A container taken apart, compression around it aside.
struct Parts {
    convention: Convention,
    codec: Option<(Codec, u8)>,
    streams: Vec<StreamLine>,
    unpacked: Bytes,
    tensors: Vec<TensorLine>,
    rest: Vec<RestLine>,
    shares: Shares,
    floors: Floors,
    symbols: Vec<SymbolCounts>,
    /// What every tensor, then every part of the rest, takes compressed alone. Empty: their bytes in the container.
    alone: Vec<f64>,
}

impl Parts {
    /// Divides the bytes of a compressed file.
    fn divide(&mut self, file: Bytes) {
        let in_container = self.tensors.iter().map(|tensor| tensor.in_file).chain(self.rest.iter().map(|r| r.in_file));
        let weights = match self.alone.is_empty() {
            true => in_container.map(|bytes| bytes.0 as f64).collect(),
            false => std::mem::take(&mut self.alone),
        };
        // No container is without any part: each has a header at least.
        let shares = apportion(file.0, &weights).unwrap_or_default();
        let lines = self.tensors.iter_mut().map(|tensor| &mut tensor.in_file);
        lines.chain(self.rest.iter_mut().map(|rest| &mut rest.in_file)).zip(shares).for_each(|(line, share)| {
            line.0 = share;
        });
    }
}
