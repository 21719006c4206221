//! Offsets of the parameters in one allocation that all of them share.
//!
//! Parameters that one launch can serve are neighbors: the matrices first, grouped by shape (Muon works on a shape at
//! once), then the tables, the head and the controls (AdamW takes a role at a time). The same part of all blocks is one
//! run with a constant stride. Between parameters there may be padding, which is zero from the beginning and stays so.

use std::ops::Range;
use std::sync::Arc;

use crate::engine::cuda::device::Device;
use crate::engine::cuda::error::DeviceError;
use crate::engine::cuda::memory::Buffer;
use crate::engine::network::scale_of;
use crate::model::{HostTensor, ModelConfig, ParamRole, ParamSpec, Params, in_block, layout};
use crate::optim::fake_quant_limit;

/// Every offset is a multiple of so many values.
pub(super) use crate::engine::cuda::gemm::ALIGNMENT;

/// Roles in the arena's order.
const ROLES: [ParamRole; 4] = [ParamRole::Matrix, ParamRole::Embedding, ParamRole::Head, ParamRole::Control];

/// A parameter and its offset.
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
        let (number, part) = in_block(&self.name)?;
        Some((number.parse().ok()?, part))
    }

    /// Its values.
    fn values(&self) -> Range<usize> {
        self.start..self.start + self.len()
    }

    /// Its values and the padding behind them.
    fn padded(&self) -> Range<usize> {
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
    /// Their values with the padding, as offsets in the arena.
    pub fn values(&self) -> Range<usize> {
        self.start..self.start + self.count * self.stride
    }

    /// The same as a buffer, out of one that begins with the arena's matrices.
    pub fn part<D: Device>(&self, whole: &Arc<Buffer<D>>) -> Result<Buffer<D>, DeviceError> {
        Buffer::part(whole, self.values())
    }
}

/// Matrices that the network uses in another form than they are stored: on a grid under fake quantization, or with a scale
/// folded in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Transformed {
    pub matrices: Matrices,
    /// Whether they are read by rows and never multiplied.
    pub is_table: bool,
    /// Largest magnitude on the grid, for those that are fake-quantized.
    pub limit: Option<f32>,
    pub scales: Option<Scales>,
}

/// The scales of [`Transformed`] matrices, as many vectors as matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scales {
    pub start: usize,
    /// Values of each; one is every row's.
    pub len: usize,
    /// Values from the beginning of one to the next.
    pub stride: usize,
}

impl Scales {
    /// Values from the first scale to the last of so many.
    pub fn extent(&self, count: usize) -> usize {
        count.saturating_sub(1) * self.stride + self.len
    }
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

/// Every parameter's offset.
#[derive(Clone, Debug)]
pub(super) struct Arena {
    /// In the arena's order.
    slots: Vec<Slot>,
    len: usize,
}

impl Arena {
    pub fn new(config: &ModelConfig) -> Self {
        let slot = |(index, spec): (usize, ParamSpec)| Slot {
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

    /// Where the parameters are, in state-dict order.
    #[cfg(test)]
    pub fn places(&self) -> Vec<Range<usize>> {
        let mut slots: Vec<&Slot> = self.slots.iter().collect();
        slots.sort_by_key(|slot| slot.index);
        slots.into_iter().map(Slot::values).collect()
    }

    /// The range of the parameters of a role.
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

    /// The ranges of some parameters, as few as there can be.
    pub fn ranges(&self, members: &Members) -> Vec<Range<usize>> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for place in self.slots.iter().filter(|slot| slot.is_among(members)).map(Slot::padded) {
            match ranges.last_mut() {
                Some(before) if before.end == place.start => before.end = place.end,
                _ => ranges.push(place),
            }
        }
        ranges
    }

    /// The matrices that the network uses in another form, part by part.
    pub fn transformed(&self, members: &Members) -> Vec<Transformed> {
        let has_projection = self.slots.iter().any(|slot| slot.name == "bigram.proj.weight");
        let is_wanted = |slot: &&Slot| slot.dims().is_some() && slot.is_among(members);
        let matrices: Vec<&Slot> = self.slots.iter().filter(is_wanted).collect();
        let transformed = |matrices: Matrices| {
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
            (limit.is_some() || scales.is_some()).then_some(Transformed { matrices, is_table, limit, scales })
        };
        runs(matrices.into_iter(), |a, b| a.role == b.role && a.part() == b.part())
            .into_iter()
            .filter_map(transformed)
            .collect()
    }

    /// Offset of the one scale of the bigram table, in a model that has it.
    pub fn bigram_scale(&self) -> Option<usize> {
        self.slots.iter().find(|slot| slot.name == "bigram.scale").map(|slot| slot.start)
    }

    /// Where the parameter of that name is.
    pub fn place(&self, name: &str) -> Result<Range<usize>, DeviceError> {
        Ok(self.slot(name)?.values())
    }

    fn slot(&self, name: &str) -> Result<&Slot, DeviceError> {
        let slot = self.slots.iter().find(|slot| slot.name == name);
        slot.ok_or_else(|| DeviceError::Missing { name: name.into() })
    }

    /// The values of a range in the arena's order, zeros between them; `find` gives a parameter's tensor by name.
    ///
    /// The range holds whole parameters. Fails where a tensor is missing or has another number of values.
    pub fn pack<'a>(
        &self,
        range: Range<usize>,
        find: impl Fn(&str) -> Option<&'a HostTensor>,
    ) -> Result<Vec<f32>, DeviceError> {
        let mut values = vec![0.0; range.len()];
        for slot in self.slots.iter().filter(|slot| range.contains(&slot.start)) {
            let tensor = find(&slot.name).ok_or_else(|| DeviceError::Missing { name: slot.name.clone() })?;
            let start = slot.start - range.start;
            let (end, found) = (start + slot.len(), tensor.len());
            let len = values.len();
            let place = values.get_mut(start..end).ok_or(DeviceError::Range { start, end, len })?;
            if found != place.len() {
                let (operation, operand, expected) = ("copy to the device", slot.name.clone(), place.len());
                return Err(DeviceError::Length { operation, operand, found, expected });
            }
            place.copy_from_slice(tensor.data());
        }
        Ok(values)
    }

    /// The parameter of that name out of values in the arena's order.
    pub fn tensor(&self, values: &[f32], name: &str) -> Result<HostTensor, DeviceError> {
        let slot = self.slot(name)?;
        let (Range { start, end }, len) = (slot.values(), values.len());
        let own = values.get(start..end).ok_or(DeviceError::Range { start, end, len })?;
        HostTensor::new(slot.shape.clone(), own.to_vec()).ok_or_else(|| DeviceError::Missing { name: name.into() })
    }

    /// All parameters out of values in the arena's order, in state-dict order.
    pub fn params(&self, values: &[f32]) -> Result<Params, DeviceError> {
        let mut slots: Vec<&Slot> = self.slots.iter().collect();
        slots.sort_by_key(|slot| slot.index);
        let entry = |slot: &Slot| Ok((slot.name.clone(), self.tensor(values, &slot.name)?));
        Ok(Params::from_entries(slots.into_iter().map(entry).collect::<Result<_, DeviceError>>()?))
    }
}

/// Runs of neighboring matrices that are alike.
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
        let values = arena.pack(0..arena.len(), |name| weights.get(name)).unwrap();
        assert_eq!(arena.params(&values).unwrap(), weights);
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

        let seen = arena.transformed(&Members::ALL);
        let scaled: Vec<_> = seen.iter().filter_map(|seen| Some((seen.matrices.rows, seen.scales?.len))).collect();
        assert_eq!(scaled, [(12, 1), (12, 12), (12, 12)]);
        assert_eq!(seen.iter().filter_map(|seen| seen.limit).collect::<Vec<_>>(), [31.0, 31.0, 31.0, 31.0, 15.0, 15.0]);
        // Without a projection the table itself carries the scale.
        let wide = Arena::new(&ModelConfig { bigram_dim: 12, ..config() });
        assert!(wide.transformed(&Members::ALL).iter().any(|seen| seen.matrices.rows == 7 && seen.limit.is_none()));
    }

    #[test]
    fn a_tensor_that_is_missing_or_short_is_an_error() {
        let config = config();
        let (arena, mut weights) = (Arena::new(&config), init(&config, 3));
        let name = "blocks.1.attn.q_gain";
        let pack = |weights: &Params, absent: &str| {
            let found = arena.pack(0..arena.len(), |name| weights.get(name).filter(|_| name != absent));
            found.unwrap_err().to_string()
        };
        assert_eq!(pack(&weights, name), "no values for blocks.1.attn.q_gain");
        *weights.get_mut(name).unwrap() = HostTensor::zeros(&[3]);
        assert_eq!(pack(&weights, ""), "copy to the device: blocks.1.attn.q_gain has 3 values where 2 are needed");
        let values = vec![0.0; arena.len() - 1];
        let matrices = arena.role(ParamRole::Matrix).end;
        assert!(matches!(arena.params(&values[..matrices]), Err(DeviceError::Range { .. })));
        assert_eq!(arena.place("no such tensor").unwrap_err().to_string(), "no values for no such tensor");
    }
}
