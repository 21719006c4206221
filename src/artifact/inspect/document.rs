//! The inspection as one JSON document.

use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;

use super::text::margin;
use super::{Inspection, Kind, KindTotal, Rest, RestLine, Shares, StreamLine, SymbolsUsed, TensorLine};
use crate::artifact::foreign::ListedModel;
use crate::digest::ContentDigest;
use crate::quant::Codec;
use crate::units::Bytes;

/// Name and version of the document of `pack --inspect FILE --json`.
const INSPECTION_SCHEMA: &str = "golf-harness/inspection/v1";

/// The document of `pack --inspect FILE --json`: a model taken apart, or a list of models.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum InspectionDocument<'a> {
    /// A file of one model.
    Model(Box<InspectedModel<'a>>),
    /// An archive of several.
    Models(ListedModels<'a>),
}

/// Everything the text has, names and numbers in full.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct InspectedModel<'a> {
    /// Always `golf-harness/inspection/v1`.
    #[schemars(extend("const" = INSPECTION_SCHEMA))]
    schema: &'static str,
    /// The file.
    file: &'a Path,
    /// Its size and digests.
    digest: ContentDigest,
    /// Compression, container and convention in a line.
    format: String,
    /// Compression around the container, outermost first.
    wrappers: Vec<String>,
    /// What is inside.
    container: String,
    /// How its tensors are spelled.
    convention: String,
    /// How this program compressed its own container.
    codec: Option<CodecUsed>,
    /// Streams of this program's own container, in its order; none in another.
    streams: &'a [StreamLine],
    /// Bytes without the compression around the container.
    unpacked_bytes: Bytes,
    /// Bytes that belong to no tensor and to no part of the format, in words.
    unclaimed: &'a [String],
    /// How the bytes of a compressed file were divided.
    shares: Shares,
    /// Every tensor, in the file's order.
    tensors: Vec<Tensor<'a>>,
    /// All tensors of a class or element type.
    totals: Vec<Total>,
    /// What is no tensor of the model.
    rest: Vec<Part>,
    /// What codes without memory would need.
    floors: FloorBytes,
    /// The file alone against the cap.
    budget: FileBudget,
}

/// How a file of this program was compressed.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
struct CodecUsed {
    /// The codec.
    codec: Codec,
    /// Level of zstd, where it compressed something.
    level: Option<u8>,
}

/// One tensor, its scales aside.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Tensor<'a> {
    /// Name in the file.
    name: &'a str,
    /// Sides, outermost first.
    shape: &'a [usize],
    /// Class or element type.
    class: Kind,
    /// Number of values.
    values: u64,
    /// Bytes before the compression around them.
    held_bytes: Bytes,
    /// Bytes of the file, see `shares`.
    in_file_bytes: Bytes,
    /// Whether another tensor lies in the same storage.
    shares_storage: bool,
    /// Order-0 entropy of a value in bits.
    entropy_bits: f64,
    /// Bytes that all values take at that entropy.
    order0_bytes: f64,
    /// Values that are zero.
    zeros: u64,
    /// Different values in use, of how many there could be; values of one byte only.
    symbols: Option<SymbolsUsed>,
}

/// All tensors of a class or element type.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
struct Total {
    /// Class or element type.
    class: Kind,
    /// Tensors.
    tensors: u64,
    /// Values in them.
    values: u64,
    /// Bytes before the compression around them.
    held_bytes: Bytes,
    /// Bytes of the file.
    in_file_bytes: Bytes,
    /// Sum of the tensors' order-0 entropies, in bytes.
    order0_bytes: f64,
    /// Values that are zero.
    zeros: u64,
}

/// Bytes that are no tensor of the model.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
struct Part {
    /// What they are.
    part: Rest,
    /// Bytes before the compression around them.
    held_bytes: Bytes,
    /// Bytes of the file.
    in_file_bytes: Bytes,
    /// Order-0 entropy in bytes, of scales.
    order0_bytes: Option<f64>,
}

/// Order-0 entropies of everything, in bytes.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
struct FloorBytes {
    /// A histogram a tensor and byte position.
    order0_bytes: f64,
    /// A histogram a class and magnitude bucket of the row; null without integers that have scales.
    row_cluster_bytes: Option<f64>,
}

/// The file against the cap.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
struct FileBudget {
    /// The cap on code and model.
    cap: Bytes,
    /// What the file leaves of it; negative when over.
    margin: i128,
}

/// Models of an archive, each to be inspected by itself.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ListedModels<'a> {
    /// Always `golf-harness/inspection/v1`.
    #[schemars(extend("const" = INSPECTION_SCHEMA))]
    schema: &'static str,
    /// The archive.
    path: String,
    /// Its models.
    models: Vec<Listed<'a>>,
}

/// A model in an archive.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
struct Listed<'a> {
    /// Name of the member.
    name: &'a str,
    /// Size of the member.
    bytes: u64,
    /// Compression, container and convention in a line.
    format: &'a str,
    /// Tensors of the model.
    tensors: usize,
    /// Values in all of them.
    values: u64,
}

impl<'a> InspectionDocument<'a> {
    /// A model taken apart.
    pub fn of(found: &'a Inspection) -> Self {
        // Of use wherever zstd compressed something, in a range-coded file too.
        let has_zstd = found.streams.iter().any(|stream| stream.coder == Codec::Zstd);
        let codec = found
            .codec
            .map(|(codec, level)| CodecUsed { codec, level: (has_zstd || codec == Codec::Zstd).then_some(level) });
        InspectionDocument::Model(Box::new(InspectedModel {
            schema: INSPECTION_SCHEMA,
            file: &found.path,
            digest: found.file,
            format: found.description(),
            wrappers: found.wrappers.iter().map(ToString::to_string).collect(),
            container: found.container.to_string(),
            convention: found.convention.to_string(),
            codec,
            streams: &found.streams,
            unpacked_bytes: found.unpacked,
            unclaimed: &found.unclaimed,
            shares: found.shares,
            tensors: found.tensors.iter().map(tensor).collect(),
            totals: found.totals().iter().map(total).collect(),
            rest: found.rest.iter().map(rest).collect(),
            floors: FloorBytes { order0_bytes: found.floors.tensors, row_cluster_bytes: found.floors.row_clusters },
            budget: FileBudget { cap: Bytes::BUDGET, margin: margin(found) },
        }))
    }

    /// The models of an archive.
    pub fn of_several(path: &Path, models: &'a [ListedModel]) -> Self {
        let listed = |model: &'a ListedModel| Listed {
            name: &model.name,
            bytes: model.bytes,
            format: &model.description,
            tensors: model.tensors,
            values: model.values,
        };
        InspectionDocument::Models(ListedModels {
            schema: INSPECTION_SCHEMA,
            path: path.display().to_string(),
            models: models.iter().map(listed).collect(),
        })
    }
}

fn tensor(line: &TensorLine) -> Tensor<'_> {
    Tensor {
        name: &line.name,
        shape: &line.shape,
        class: line.kind,
        values: line.values,
        held_bytes: line.held,
        in_file_bytes: line.in_file,
        shares_storage: line.shares_storage,
        entropy_bits: line.statistics.bits_per_value,
        order0_bytes: line.statistics.order0_bytes,
        zeros: line.statistics.zeros,
        symbols: line.statistics.symbols,
    }
}

fn total(line: &KindTotal) -> Total {
    Total {
        class: line.kind,
        tensors: line.tensors,
        values: line.values,
        held_bytes: line.held,
        in_file_bytes: line.in_file,
        order0_bytes: line.order0_bytes,
        zeros: line.zeros,
    }
}

fn rest(line: &RestLine) -> Part {
    Part { part: line.what, held_bytes: line.held, in_file_bytes: line.in_file, order0_bytes: line.order0_bytes }
}
