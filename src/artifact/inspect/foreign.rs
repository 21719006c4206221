//! Foreign containers taken apart: the tensors of the model, their scales, and everything around them.

use std::collections::BTreeMap;
use std::ops::Range;

use rayon::prelude::*;

use super::floors::Collector;
use super::values::Values;
use super::{Kind, Parts, Rest, RestLine, Shares, Statistics, TensorLine, apportion};
use crate::artifact::foreign::convention::{Entry, Spelling};
use crate::artifact::foreign::zip::Extent;
use crate::artifact::foreign::{Container, Convention, MAX_CONTENT_BYTES, OpenFile, RawTensor, torch};
use crate::units::Bytes;

/// The parts of a container; `alone` asks for what each takes when compressed by itself.
pub(super) fn parts(opened: &OpenFile<'_>, alone: bool) -> Result<Parts, String> {
    let (convention, entries) = opened.body.entries(MAX_CONTENT_BYTES)?;
    let file = File { container: opened.container, inner: &opened.inner, extents: opened.extents(), alone };
    file.parts(convention, &entries)
}

/// An unwrapped container.
struct File<'a> {
    container: Container,
    inner: &'a [u8],
    /// Members of a zip file, or storages.
    extents: Vec<Extent>,
    /// Whether parts are to be compressed alone.
    alone: bool,
}

/// Bytes of a part in the container, and what it takes alone.
#[derive(Clone, Copy, Default)]
struct Amount {
    held: u64,
    alone: f64,
}

impl File<'_> {
    fn parts(&self, convention: Convention, entries: &[Entry<'_>]) -> Result<Parts, String> {
        let values: Vec<&RawTensor> = entries.iter().map(Entry::values).collect();
        let scales: Vec<&RawTensor> = entries.iter().filter_map(scale_of).collect();
        let mut rest = BTreeMap::new();
        let all: Vec<&RawTensor> = values.iter().chain(&scales).copied().collect();
        let (held, is_shared) = self.place(&all, &mut rest)?;
        let alone: Vec<f64> = all.par_iter().zip(&held).map(|(tensor, &held)| self.alone(tensor, held)).collect();

        let described: Vec<(Kind, Statistics)> = entries
            .par_iter()
            .zip(&values)
            .map(|(entry, tensor)| {
                let kind = entry.class().map_or(Kind::of_dtype(tensor.dtype), Kind::Class);
                (kind, Values { kind, shape: &tensor.shape, bytes: &tensor.bytes }.statistics())
            })
            .collect();
        let mut collector = Collector::default();
        let mut tensors = Vec::with_capacity(entries.len());
        for (i, ((entry, tensor), (kind, statistics))) in entries.iter().zip(&values).zip(described).enumerate() {
            collector.add(&Values { kind, shape: &tensor.shape, bytes: &tensor.bytes }, statistics.order0_bytes);
            let held = Bytes(held.get(i).copied().unwrap_or(0));
            tensors.push(TensorLine {
                name: entry.name.to_string(),
                shape: tensor.shape.clone(),
                kind,
                values: tensor.elements() as u64,
                held,
                in_file: held,
                shares_storage: is_shared.get(i).copied().unwrap_or(false),
                statistics,
            });
        }
        scales.iter().for_each(|scale| collector.add_scales(&scale.bytes, scale.dtype.size()));
        let mut weights: Vec<f64> = alone.iter().take(values.len()).copied().collect();
        if !scales.is_empty() {
            let sum =
                Amount { held: held.iter().skip(values.len()).sum(), alone: alone.iter().skip(values.len()).sum() };
            rest.insert(Rest::Scales, sum);
        }
        rest.retain(|_, amount| amount.held > 0);
        weights.extend(rest.values().map(|amount| amount.alone));
        let line = |(&what, amount): (&Rest, &Amount)| RestLine {
            what,
            held: Bytes(amount.held),
            in_file: Bytes(amount.held),
            order0_bytes: (what == Rest::Scales).then(|| collector.scales()),
        };
        Ok(Parts {
            convention,
            codec: None,
            streams: Vec::new(),
            unpacked: Bytes(self.inner.len() as u64),
            tensors,
            rest: rest.iter().map(line).collect(),
            shares: Shares::Exact,
            floors: collector.finish(),
            symbols: collector.symbols(),
            alone: if self.alone { weights } else { Vec::new() },
        })
    }

    /// Bytes of the container that each tensor takes, and whether it shares them; what is left goes to `rest`.
    fn place(
        &self,
        tensors: &[&RawTensor],
        rest: &mut BTreeMap<Rest, Amount>,
    ) -> Result<(Vec<u64>, Vec<bool>), String> {
        let mut held: Vec<u64> = tensors.iter().map(|tensor| tensor.bytes.len() as u64).collect();
        let mut is_shared = vec![false; tensors.len()];
        if !matches!(self.container, Container::TorchZip | Container::Npz | Container::TorchLegacy) {
            let total: u64 = held.iter().sum();
            let Some(header) = (self.inner.len() as u64).checked_sub(total) else {
                // An array under two names.
                let lengths: Vec<f64> = held.iter().map(|&bytes| bytes as f64).collect();
                let shares = apportion(self.inner.len() as u64, &lengths).ok_or("tensors lie over one another")?;
                return Ok((shares, vec![true; tensors.len()]));
            };
            // All that is not data: lengths, JSON, instructions, and tensors nobody claims.
            let what = if self.container == Container::Pickle { Rest::Pickle } else { Rest::Header };
            let around = if self.container == Container::Safetensors { self.header() } else { Vec::new() };
            rest.insert(what, Amount { held: header, alone: self.alone_bytes(&around).max(header as f64 / 2.0) });
            return Ok((held, is_shared));
        }
        let mut users: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (i, tensor) in tensors.iter().enumerate() {
            users.entry(tensor.member.as_deref().unwrap_or("")).or_default().push(i);
        }
        let mut seen_index = false;
        for extent in &self.extents {
            let content = self.inner.get(extent.range.clone()).unwrap_or(&[]);
            let users = users.get(extent.name.as_str()).map_or(&[][..], Vec::as_slice);
            let lengths: Vec<f64> = users.iter().map(|&i| tensors[i].bytes.len() as f64).collect();
            // The header of an array, where it lies open in the file.
            let values: u64 = users.iter().map(|&i| tensors[i].bytes.len() as u64).sum();
            let is_open_array = self.container == Container::Npz && !extent.is_compressed;
            let header = if is_open_array { (content.len() as u64).saturating_sub(values) } else { 0 };
            match apportion(content.len() as u64 - header, &lengths) {
                Some(shares) if !users.is_empty() => {
                    self.add(rest, Rest::ArrayHeaders, content.get(..header as usize).unwrap_or(&[]));
                    for (&user, share) in users.iter().zip(shares) {
                        (held[user], is_shared[user]) = (share, users.len() > 1);
                    }
                }
                _ => {
                    let is_index =
                        !seen_index && self.container == Container::TorchZip && torch::is_index(&extent.name);
                    seen_index |= is_index;
                    let what = match is_index {
                        true => Rest::Pickle,
                        false if extent.name.contains("/data/") || extent.name.starts_with("data/") => Rest::Unused,
                        false => Rest::OtherMembers,
                    };
                    self.add(rest, what, content);
                }
            }
        }
        let framing: Vec<u8> =
            self.gaps().into_iter().flat_map(|gap| self.inner.get(gap).unwrap_or(&[])).copied().collect();
        // Between the storages of an older torch file lie its pickles.
        let what = if self.container == Container::TorchLegacy { Rest::Pickle } else { Rest::Zip };
        self.add(rest, what, &framing);
        Ok((held, is_shared))
    }

    /// The stretches of the file outside all members, which do not overlap.
    fn gaps(&self) -> Vec<Range<usize>> {
        let mut at = 0;
        let mut gaps = Vec::new();
        for extent in &self.extents {
            gaps.push(at..extent.range.start.max(at));
            at = extent.range.end.max(at);
        }
        gaps.push(at..self.inner.len());
        gaps
    }

    /// The length and the JSON at the start of a safetensors file.
    fn header(&self) -> Vec<u8> {
        let length = self.inner.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
        let end = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(size_of::<u64>());
        self.inner.get(..end.min(self.inner.len())).unwrap_or(&[]).to_vec()
    }

    fn add(&self, rest: &mut BTreeMap<Rest, Amount>, what: Rest, bytes: &[u8]) {
        let amount = rest.entry(what).or_default();
        amount.held += bytes.len() as u64;
        amount.alone += self.alone_bytes(bytes);
    }

    /// What a tensor takes alone; of a storage it shares, its part.
    fn alone(&self, tensor: &RawTensor, held: u64) -> f64 {
        let part = (held as f64 / tensor.bytes.len().max(1) as f64).min(1.0);
        self.alone_bytes(&tensor.bytes) * part
    }

    fn alone_bytes(&self, bytes: &[u8]) -> f64 {
        if !self.alone || bytes.is_empty() {
            return 0.0;
        }
        // Compression into memory fails for want of it only; then the bytes count as they are.
        zstd::bulk::compress(bytes, ALONE_LEVEL).map_or(bytes.len(), |alone| alone.len()) as f64
    }
}

/// Higher levels take a hundred times longer and move no tensor's share by much: weights hardly repeat.
const ALONE_LEVEL: i32 = 1;

fn scale_of<'a>(entry: &Entry<'a>) -> Option<&'a RawTensor> {
    match entry.spelling {
        Spelling::Integers { scale, .. } => Some(scale),
        Spelling::Plain(_) => None,
    }
}
