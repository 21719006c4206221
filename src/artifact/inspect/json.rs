//! The inspection as one JSON document.

use serde_json::{Value, json};

use super::text::margin;
use super::{Inspection, KindTotal, RestLine, TensorLine};
use crate::quant::Codec;
use crate::units::Bytes;

/// Everything the text has, names and numbers in full.
pub fn json(found: &Inspection) -> Value {
    // Of use wherever zstd compressed something, in a range-coded file too.
    let has_zstd = found.streams.iter().any(|stream| stream.coder == Codec::Zstd);
    let codec = found
        .codec
        .map(|(codec, level)| json!({ "codec": codec, "level": (has_zstd || codec == Codec::Zstd).then_some(level) }));
    json!({
        "file": found.path,
        "digest": found.file,
        "format": found.description(),
        "wrappers": found.wrappers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "container": found.container.to_string(),
        "convention": found.convention.to_string(),
        "codec": codec,
        "streams": found.streams,
        "unpacked_bytes": found.unpacked,
        "unclaimed": found.unclaimed,
        "shares": found.shares,
        "tensors": found.tensors.iter().map(tensor).collect::<Vec<_>>(),
        "totals": found.totals().iter().map(total).collect::<Vec<_>>(),
        "rest": found.rest.iter().map(rest).collect::<Vec<_>>(),
        "floors": { "order0_bytes": found.floors.tensors, "row_cluster_bytes": found.floors.row_clusters },
        "budget": { "cap": Bytes::BUDGET, "margin": margin(found) },
    })
}

fn tensor(line: &TensorLine) -> Value {
    json!({
        "name": line.name,
        "shape": line.shape,
        "class": line.kind,
        "values": line.values,
        "held_bytes": line.held,
        "in_file_bytes": line.in_file,
        "shares_storage": line.shares_storage,
        "entropy_bits": line.statistics.bits_per_value,
        "order0_bytes": line.statistics.order0_bytes,
        "zeros": line.statistics.zeros,
        "symbols": line.statistics.symbols,
    })
}

fn total(line: &KindTotal) -> Value {
    json!({
        "class": line.kind,
        "tensors": line.tensors,
        "values": line.values,
        "held_bytes": line.held,
        "in_file_bytes": line.in_file,
        "order0_bytes": line.order0_bytes,
        "zeros": line.zeros,
    })
}

fn rest(line: &RestLine) -> Value {
    json!({
        "part": line.what,
        "held_bytes": line.held,
        "in_file_bytes": line.in_file,
        "order0_bytes": line.order0_bytes,
    })
}
