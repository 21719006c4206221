//! This crate's own container taken apart.

use rayon::prelude::*;

use super::entropy::Histogram;
use super::floors::Collector;
use super::values::{Values, bytes_of};
use super::{Kind, Parts, Rest, RestLine, Shares, StreamLine, TensorLine, apportion};
use crate::artifact::container::{SizeBreakdown, Sizes, StreamKind, contexts, size_breakdown};
use crate::artifact::foreign::Convention;
use crate::artifact::{Defect, PackedTensor, PackedValues, parse};
use crate::units::Bytes;

/// The parts of an artifact, after every digest in it has been checked.
pub(super) fn parts(file: &[u8]) -> Result<Parts, Defect> {
    let packed = parse(file)?.packed;
    let SizeBreakdown { codec, level, header, table, streams } = size_breakdown(file)?;
    let mut in_file = vec![0u64; packed.len()];
    let (mut scales, mut buckets, mut unused) = (Sizes::default(), Sizes::default(), Sizes::default());
    let held = streams.iter().map(|(.., sizes)| sizes.held).sum::<u64>();
    let mut lines = Vec::with_capacity(streams.len());
    for (kind, coder, sizes) in streams {
        let (held, stored) = (Bytes(sizes.held), Bytes(sizes.stored));
        lines.push(StreamLine { what: kind.to_string(), coder, held, stored });
        match kind {
            StreamKind::Scale(_) => add(&mut scales, sizes),
            StreamKind::MagnitudeBuckets => add(&mut buckets, sizes),
            StreamKind::Symbols(_) | StreamKind::Half(_) | StreamKind::Single(_) => {
                let (members, lengths): (Vec<usize>, Vec<f64>) = code_lengths(kind, &packed).into_iter().unzip();
                match apportion(sizes.stored, &lengths) {
                    Some(shares) => members.iter().zip(shares).for_each(|(&member, share)| {
                        in_file.get_mut(member).into_iter().for_each(|bytes| *bytes += share);
                    }),
                    // Frames of nothing, which no program of this crate writes.
                    None => add(&mut unused, sizes),
                }
            }
        }
    }

    let mut collector = Collector::default();
    let statistics: Vec<_> = packed
        .par_iter()
        .map(|tensor| {
            let bytes = bytes_of(tensor);
            Values { kind: Kind::Class(tensor.class()), shape: tensor.shape(), bytes: &bytes }.statistics()
        })
        .collect();
    let mut tensors = Vec::with_capacity(packed.len());
    for ((tensor, statistics), in_file) in packed.iter().zip(statistics).zip(in_file) {
        let bytes = bytes_of(tensor);
        let kind = Kind::Class(tensor.class());
        collector.add(&Values { kind, shape: tensor.shape(), bytes: &bytes }, statistics.order0_bytes);
        if let PackedValues::Integers { scales, .. } = tensor.values() {
            let scales: Vec<u8> = scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
            collector.add_scales(&scales, size_of::<half::f16>());
        }
        tensors.push(TensorLine {
            name: tensor.name().to_string(),
            shape: tensor.shape().to_vec(),
            kind,
            values: tensor.elements() as u64,
            held: Bytes(bytes.len() as u64),
            in_file: Bytes(in_file),
            shares_storage: false,
            statistics,
        });
    }
    let line = |what, sizes: Sizes, order0_bytes| RestLine {
        what,
        held: Bytes(sizes.held),
        in_file: Bytes(sizes.stored),
        order0_bytes,
    };
    let mut rest = vec![
        line(Rest::Scales, scales, Some(collector.scales())),
        line(Rest::MagnitudeBuckets, buckets, None),
        line(Rest::Table, table, None),
        line(Rest::Header, header, None),
        line(Rest::Unused, unused, None),
    ];
    rest.retain(|line| line.in_file.0 > 0);
    Ok(Parts {
        convention: Convention::Golf,
        codec: Some((codec, level)),
        unpacked: Bytes(header.held + table.held + held),
        streams: lines,
        tensors,
        rest,
        shares: Shares::StreamsByCodeLength,
        floors: collector.finish(),
        symbols: collector.symbols(),
        alone: Vec::new(),
    })
}

fn add(sum: &mut Sizes, sizes: Sizes) {
    sum.held += sizes.held;
    sum.stored += sizes.stored;
}

/// Bits that the bytes of every tensor in a stream have at the entropy of their context in the whole stream, for the
/// tensors that put something into it, by index.
fn code_lengths(kind: StreamKind, packed: &[PackedTensor]) -> Vec<(usize, f64)> {
    let mut pooled = vec![Histogram::default(); 256];
    let mut members = Vec::new();
    for (index, tensor) in packed.iter().enumerate() {
        let parts = contexts(kind, tensor);
        if parts.iter().any(|(_, bytes)| !bytes.is_empty()) {
            members.push(index);
        }
        for (context, bytes) in parts {
            pooled[usize::from(context)].add(&bytes);
        }
    }
    let costs: Vec<[f64; 256]> = pooled.iter().map(Histogram::costs).collect();
    let bits = |tensor| {
        let cost = |(context, bytes): (u8, Vec<u8>)| {
            let costs = &costs[usize::from(context)];
            bytes.iter().map(|&byte| costs[usize::from(byte)]).sum::<f64>()
        };
        contexts(kind, tensor).into_iter().map(cost).sum::<f64>()
    };
    members.into_iter().filter_map(|index| Some((index, bits(packed.get(index)?)))).collect()
}
