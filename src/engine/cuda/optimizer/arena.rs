//! Where each parameter lies when all of them share one allocation.
//!
//! What is treated alike lies together, so that one launch serves it: the matrices first, those of one shape beside
//! each other (Muon works on them at once), then the tables, the head and the controls (AdamW takes a role at a time).
//! The same part of all blocks is one run of equal steps. Between parameters there may be a few values that are zero
//! from the beginning and stay it.

use std::ops::Range;
use std::sync::Arc;

use crate::engine::cuda::device::Device;
use crate::engine::cuda::memory::Buffer;
use crate::engine::kernels::scale_of;
use crate::model::{HostTensor, ModelConfig, ParamRole, Params, fake_quant_limit, layout};

/// Values a parameter's place is a multiple of: 256 bytes of bfloat16, what cuBLASLt takes for granted of addresses.
pub(super) const ALIGNMENT: usize = 128;

/// Roles in the order they lie.
const ROLES: [ParamRole; 4] = [ParamRole::Matrix, ParamRole::Embedding, ParamRole::Head, ParamRole::Control];

/// A parameter and its place.
#[derive(Clone, Debug)]
struct Slot {
    /// Position in the state dict.
    index: usize,
    name: String,
    shape: Vec<usize>,
    role: ParamRole,
    start: usize,
}

impl Slot {
    fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The name without its block.
    fn part(&self) -> &str {
        self.block().map_or(&self.name, |(_, part)| part)
    }

    /// Number of the block it belongs to, and its name there.
    fn block(&self) -> Option<(usize, &str)> {
        let (number, part) = self.name.strip_prefix("blocks.")?.split_once('.')?;
        Some((number.parse().ok()?, part))
    }

    /// Where it lies, with the zeros behind it.
    fn place(&self) -> Range<usize> {
        self.start..self.start + self.len().next_multiple_of(ALIGNMENT)
    }

    fn is_among(&self, members: &Members) -> bool {
        match self.block() {
            Some((block, _)) => members.blocks.contains(&block),
            None if self.role == ParamRole::Head => members.has_head,
            None => members.has_rest,
        }
    }

    /// Rows and columns, of those that are matrices.
    fn dims(&self) -> Option<(usize, usize)> {
        match self.shape[..] {
            [rows, columns] => Some((rows, columns)),
            _ => None,
        }
    }
}

/// Matrices of one shape, one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Matrices {
    pub start: usize,
    pub count: usize,
    /// Values from the beginning of one to the next.
    pub stride: usize,
    pub rows: usize,
    pub columns: usize,
}

impl Matrices {
    /// Where their values are, in a buffer that begins with the arena's matrices.
    pub fn part<D: Device>(&self, whole: &Arc<Buffer<D>>) -> Buffer<D> {
        Buffer::part(whole, self.start..self.start + self.count * self.stride)
    }
}

/// Matrices the network does not see as they are: on a grid under fake quantization, or with a scale folded in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Seen {
    pub matrices: Matrices,
    /// Whether they are read by rows and never multiplied.
    pub is_table: bool,
    /// Largest magnitude on the grid, for those that are fake-quantized.
    pub limit: Option<f32>,
    pub scales: Option<Scales>,
}

/// The scales of [`Seen`] matrices, as many vectors as matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scales {
    pub start: usize,
    /// Values of each; one is every row's.
    pub len: usize,
    /// Values from the beginning of one to the next.
    pub stride: usize,
}

/// Parameters by the part of the network they belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Members {
    pub blocks: Range<usize>,
    /// The output head, where it is not the embedding table.
    pub has_head: bool,
    /// What belongs to neither.
    pub has_rest: bool,
}

impl Members {
    /// Every parameter.
    pub const ALL: Members = Members { blocks: 0..usize::MAX, has_head: true, has_rest: true };
}

/// Every parameter's place.
#[derive(Clone, Debug)]
pub(super) struct Arena {
    /// In the order they lie.
    slots: Vec<Slot>,
    len: usize,
}

impl Arena {
    pub fn new(config: &ModelConfig) -> Self {
        let slot = |(index, spec): (usize, crate::model::ParamSpec)| Slot {
            index,
            name: spec.name,
            shape: spec.shape,
            role: spec.role,
            start: 0,
        };
        let mut slots: Vec<Slot> = layout(config).into_iter().enumerate().map(slot).collect();
        let role = |slot: &Slot| ROLES.iter().position(|role| *role == slot.role);
        slots.sort_by(|a, b| {
            let key = |slot: &Slot| (role(slot), slot.shape.clone());
            (key(a), a.part(), a.index).cmp(&(key(b), b.part(), b.index))
        });
        let mut len = 0;
        for slot in &mut slots {
            slot.start = len;
            len += slot.len().next_multiple_of(ALIGNMENT);
        }
        Arena { slots, len }
    }

    /// Values in all.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Places of the parameters in state-dict order.
    pub fn places(&self) -> Vec<Range<usize>> {
        let mut slots: Vec<&Slot> = self.slots.iter().collect();
        slots.sort_by_key(|slot| slot.index);
        slots.into_iter().map(|slot| slot.start..slot.start + slot.len()).collect()
    }

    /// Where the parameters of a role lie.
    pub fn role(&self, role: ParamRole) -> Range<usize> {
        let is_before = |slot: &&Slot| ROLES.iter().find(|&&known| known == role || known == slot.role) != Some(&role);
        let start = |slots: &mut dyn Iterator<Item = &Slot>| slots.next().map_or(self.len, |slot| slot.start);
        let first = start(&mut self.slots.iter().skip_while(|slot| is_before(slot)));
        let end = start(&mut self.slots.iter().skip_while(|slot| is_before(slot) || slot.role == role));
        first..end
    }

    /// Muon's matrices, by shape.
    pub fn batches(&self) -> Vec<Matrices> {
        let matrices = self.slots.iter().filter(|slot| slot.role == ParamRole::Matrix);
        runs(matrices, |a, b| a.shape == b.shape)
    }

    /// What lies where some parameters do, as few ranges as there can be.
    pub fn ranges(&self, members: &Members) -> Vec<Range<usize>> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for place in self.slots.iter().filter(|slot| slot.is_among(members)).map(Slot::place) {
            match ranges.last_mut() {
                Some(before) if before.end == place.start => before.end = place.end,
                _ => ranges.push(place),
            }
        }
        ranges
    }

    /// What the network sees otherwise than it is stored, part by part.
    pub fn seen(&self, members: &Members) -> Vec<Seen> {
        let has_projection = self.slots.iter().any(|slot| slot.name == "bigram.proj.weight");
        let is_wanted = |slot: &&Slot| slot.dims().is_some() && slot.is_among(members);
        let matrices: Vec<&Slot> = self.slots.iter().filter(is_wanted).collect();
        let seen = |matrices: Matrices| {
            let first = self.slots.iter().find(|slot| slot.start == matrices.start)?;
            let scale = scale_of(&first.name, has_projection);
            let scale = scale.and_then(|name| self.slots.iter().find(|slot| slot.name == name));
            let scales = scale.map(|slot| Scales {
                start: slot.start,
                len: slot.len(),
                stride: slot.len().next_multiple_of(ALIGNMENT),
            });
            let limit = fake_quant_limit(&first.name);
            let is_table = first.role == ParamRole::Embedding;
            (limit.is_some() || scales.is_some()).then_some(Seen { matrices, is_table, limit, scales })
        };
        runs(matrices.into_iter(), |a, b| a.role == b.role && a.part() == b.part())
            .into_iter()
            .filter_map(seen)
            .collect()
    }

    /// Where the one scale of the bigram table lies.
    pub fn bigram_scale(&self) -> Option<usize> {
        self.slots.iter().find(|slot| slot.name == "bigram.scale").map(|slot| slot.start)
    }

    /// Values as they lie, zeros between them; `find` gives a parameter's tensor by name.
    pub fn gather<'a>(&self, find: impl Fn(&str) -> Option<&'a HostTensor>) -> Vec<f32> {
        let mut values = vec![0.0; self.len];
        for slot in &self.slots {
            if let (Some(place), Some(tensor)) = (values.get_mut(slot.start..slot.start + slot.len()), find(&slot.name))
            {
                place.copy_from_slice(tensor.data());
            }
        }
        values
    }

    /// The parameter of that name out of values as they lie.
    pub fn tensor(&self, values: &[f32], name: &str) -> Option<HostTensor> {
        let slot = self.slots.iter().find(|slot| slot.name == name)?;
        HostTensor::new(slot.shape.clone(), values.get(slot.start..slot.start + slot.len())?.to_vec())
    }

    /// All parameters out of values as they lie, in state-dict order.
    pub fn params(&self, values: &[f32]) -> Params {
        let mut slots: Vec<&Slot> = self.slots.iter().collect();
        slots.sort_by_key(|slot| slot.index);
        let entry = |slot: &Slot| Some((slot.name.clone(), self.tensor(values, &slot.name)?));
        Params::from_entries(slots.into_iter().filter_map(entry).collect())
    }
}

/// Matrices next to each other that are of a kind.
fn runs<'a>(slots: impl Iterator<Item = &'a Slot>, alike: impl Fn(&Slot, &Slot) -> bool) -> Vec<Matrices> {
    let mut found: Vec<(&Slot, Matrices)> = Vec::new();
    for slot in slots {
        let Some((rows, columns)) = slot.dims() else { continue };
        match found.last_mut() {
            Some((first, matrices)) if alike(first, slot) => matrices.count += 1,
            _ => {
                let stride = slot.len().next_multiple_of(ALIGNMENT);
                found.push((slot, Matrices { start: slot.start, count: 1, stride, rows, columns }));
            }
        }
    }
    found.into_iter().map(|(_, matrices)| matrices).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::init;

    /// Three layers of odd dims, untied.
    pub(in super::super) fn config() -> ModelConfig {
        ModelConfig {
            vocab_size: 11,
            num_layers: 3,
            model_dim: 12,
            num_heads: 2,
            num_kv_heads: 1,
            bigram_vocab_size: 7,
            bigram_dim: 6,
            tie_embeddings: false,
            ..Default::default()
        }
    }

    #[test]
    fn every_parameter_has_a_place_of_its_own() {
        let config = config();
        let arena = Arena::new(&config);
        let weights = init(&config, 3);
        let values = arena.gather(|name| weights.get(name));
        assert_eq!(arena.params(&values), weights);
        let mut places = arena.places();
        places.sort_by_key(|place| place.start);
        assert!(places.windows(2).all(|pair| pair[0].end <= pair[1].start && pair[1].start % ALIGNMENT == 0));
        assert_eq!(arena.role(ParamRole::Matrix).start, 0);
        assert_eq!(arena.role(ParamRole::Matrix).end, arena.role(ParamRole::Embedding).start);
        assert_eq!(arena.role(ParamRole::Head).len(), (11 * 12usize).next_multiple_of(ALIGNMENT));
        assert_eq!(arena.role(ParamRole::Control).end, arena.len());
        assert!(Arena::new(&ModelConfig { tie_embeddings: true, ..config }).role(ParamRole::Head).is_empty());
    }

    #[test]
    fn what_is_treated_alike_lies_together() {
        // Sides 12 x 12 (queries, outputs), 6 x 12 (keys, values), 36 x 12, 12 x 36 in three blocks; 12 x 6 once.
        let arena = Arena::new(&config());
        let batches = arena.batches();
        let counts: Vec<_> = batches.iter().map(|batch| (batch.rows, batch.columns, batch.count)).collect();
        assert_eq!(counts, [(6, 12, 6), (12, 6, 1), (12, 12, 6), (12, 36, 3), (36, 12, 3)]);
        assert_eq!(
            batches.iter().map(|batch| batch.count * batch.stride).sum::<usize>(),
            arena.role(ParamRole::Matrix).end
        );

        let seen = arena.seen(&Members::ALL);
        let scaled: Vec<_> = seen.iter().filter_map(|seen| Some((seen.matrices.rows, seen.scales?.len))).collect();
        assert_eq!(scaled, [(12, 1), (12, 12), (12, 12)]);
        assert_eq!(seen.iter().filter_map(|seen| seen.limit).collect::<Vec<_>>(), [31.0, 31.0, 31.0, 31.0, 15.0, 15.0]);
        // Without a projection the table itself carries the scale.
        let wide = Arena::new(&ModelConfig { bigram_dim: 12, ..config() });
        assert!(wide.seen(&Members::ALL).iter().any(|seen| seen.matrices.rows == 7 && seen.limit.is_none()));
    }
}
