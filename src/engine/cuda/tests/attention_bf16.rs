//! Attention by tensor cores beside loops in double precision and beside the processor's mode.
//!
//! Bounds follow from where the kernels round: weights and slopes before a product, outputs and gradients after it.

use std::sync::Arc;

use super::{kernels, on_both, on_hopper, random};
use crate::engine::Precision;
use crate::engine::cpu::CpuKernels;
use crate::engine::cuda::backend::CudaKernels;
use crate::engine::cuda::backend::attention_bf16::{attention, attention_grad, takes};
use crate::engine::cuda::device::{DType, Device};
use crate::engine::cuda::memory::Buffer;
use crate::engine::cuda::shim::{Interleaving, interleaved_shim};
use crate::engine::cuda::view::View;
use crate::engine::network::{Heads, Kernels};

/// What rounding to the nearest bfloat16 (eight bits) is off by at most, relative to the value.
const ROUNDING: f64 = 1.0 / 256.0;
/// What single precision adds: 128 products of a score, each a few units, summed with 24 bits.
const SINGLE: f64 = 1e-4;
/// What is left out above, products of two errors.
const SECOND_ORDER: f64 = 1.01;
/// Values that are no numbers before and after every input; whoever reads them and uses what was read has no number.
const MARGIN: usize = 1 << 13;

const fn case(rows: usize, seq_len: usize, first_query: usize, heads: [usize; 2], width: usize) -> Case {
    Case { rows, heads: Heads { seq_len, heads: heads[0], kv_heads: heads[1], width, first_query } }
}

/// One key; fewer rows than a strip; ends within and one past a warp, a tile of keys and a block; a third tile of keys,
/// which takes the first one's place in shared memory; a third block of keys. Widths between the compiled ones are padded with zeros.
const CASES: [Case; 10] = [
    case(1, 1, 0, [1, 1], 64),
    case(2, 7, 0, [2, 1], 8),
    case(1, 33, 0, [3, 1], 40),
    case(2, 65, 0, [2, 2], 32),
    case(1, 96, 0, [1, 1], 128),
    case(1, 130, 0, [4, 2], 32),
    case(2, 130, 0, [2, 1], 64),
    case(1, 130, 0, [1, 1], 104),
    case(1, 259, 0, [2, 1], 64),
    case(1, 257, 0, [1, 1], 32),
];
/// Queries that begin later, aligned to nothing.
const LATE: [Case; 4] =
    [case(2, 7, 6, [2, 1], 64), case(1, 66, 3, [4, 2], 32), case(2, 130, 61, [2, 1], 64), case(1, 70, 30, [1, 1], 128)];

#[derive(Clone, Copy, Debug)]
struct Case {
    rows: usize,
    heads: Heads,
}

/// Rounded values, as wide as they were.
struct Inputs {
    case: Case,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    grad: Vec<f32>,
}

impl Case {
    fn inputs(self) -> Inputs {
        let Heads { seq_len, heads, kv_heads, width, .. } = self.heads;
        let queries = self.rows * self.heads.queries() * heads * width;
        let keys = self.rows * seq_len * kv_heads * width;
        let [q, k, v, grad] = [("q", queries), ("k", keys), ("v", keys), ("grad", queries)].map(|(name, len)| {
            random(len, name).into_iter().map(|value| half::bf16::from_f32(value).to_f32()).collect::<Vec<f32>>()
        });
        Inputs { case: self, q, k, v, grad }
    }
}

impl Inputs {
    /// One row of the batch by itself.
    fn row(&self, row: usize) -> Inputs {
        let part = |values: &[f32]| {
            let len = values.len() / self.case.rows;
            values[row * len..(row + 1) * len].to_vec()
        };
        let case = Case { rows: 1, ..self.case };
        Inputs { case, q: part(&self.q), k: part(&self.k), v: part(&self.v), grad: part(&self.grad) }
    }
}

/// Bfloat16 values, inputs between margins.
struct Halves<D: Device> {
    buffer: Buffer<D>,
    margin: usize,
    len: usize,
}

impl<D: Device> Halves<D> {
    fn of(k: &CudaKernels<D>, values: &[f32]) -> Self {
        let margin = [f32::NAN; MARGIN];
        let all: Vec<u32> = [&margin, values, &margin].concat().into_iter().map(bits).collect();
        let buffer = k.buffer_of(DType::Bf16, all.len());
        let words: Vec<u32> = all.chunks_exact(2).map(|pair| pair[0] | pair[1] << 16).collect();
        k.shared.write(buffer.view(), &words);
        Halves { buffer, margin: MARGIN, len: values.len() }
    }

    fn unset(k: &CudaKernels<D>, len: usize) -> Self {
        Halves { buffer: k.buffer_of(DType::Bf16, len), margin: 0, len }
    }

    fn view(&self) -> View<'_> {
        self.buffer.view().slice(self.margin..self.margin + self.len).unwrap()
    }
}

fn bits(value: f32) -> u32 {
    u32::from(half::bf16::from_f32(value).to_bits())
}

/// Outputs and lse, and gradients of queries, keys and values where all queries are there.
fn run<D: Device>(device: &Arc<D>, inputs: &Inputs) -> (Vec<f32>, Vec<f32>, Option<[Vec<f32>; 3]>) {
    let (k, Case { rows, heads }) = (&kernels(device), inputs.case);
    let qkv = [&inputs.q, &inputs.k, &inputs.v].map(|values| Halves::of(k, values));
    let grad = Halves::of(k, &inputs.grad);
    let mixed = Halves::unset(k, inputs.q.len());
    let lse = Buffer::unset(&k.shared, inputs.q.len() / heads.width);
    let (outputs, views) = ([mixed.view(), lse.view()], qkv.each_ref().map(Halves::view));
    attention(k, heads, rows, views, outputs);
    let grads = (heads.first_query == 0).then(|| {
        let grads = qkv.each_ref().map(|x| Halves::unset(k, x.len));
        attention_grad(k, heads, rows, views, outputs, grad.view(), grads.each_ref().map(Halves::view));
        grads.map(|grad| k.read(&grad.buffer))
    });
    let found = (k.read(&mixed.buffer), k.read(&lse), grads);
    k.check().unwrap();
    found
}

/// A value in double precision, and how far off a kernel's may be.
#[derive(Clone, Copy, Default)]
struct Exact {
    value: f64,
    bound: f64,
}

impl Exact {
    fn add(&mut self, value: f64, bound: f64) {
        self.value += value;
        self.bound += bound;
    }

    fn rounded(self) -> Self {
        Exact { bound: (self.bound + ROUNDING * self.value.abs()) * SECOND_ORDER, ..self }
    }
}

fn check(what: &str, case: Case, found: &[f32], exact: impl IntoIterator<Item = Exact>) {
    let exact: Vec<Exact> = exact.into_iter().map(Exact::rounded).collect();
    assert_eq!(found.len(), exact.len(), "{what} of {case:?}");
    for (i, (found, exact)) in found.iter().zip(&exact).enumerate() {
        let off = (f64::from(*found) - exact.value).abs();
        assert!(off <= exact.bound, "{what} {i} of {case:?}: {found}, not {} to {}", exact.value, exact.bound);
    }
    // Bounds that nothing could miss would be no check.
    let size =
        |of: fn(&Exact) -> f64| (exact.iter().map(|exact| of(exact).powi(2)).sum::<f64>() / exact.len() as f64).sqrt();
    let [bound, value] = [size(|exact| exact.bound), size(|exact| exact.value)];
    assert!(bound < 0.05 * value + 1e-3, "{what} of {case:?}: loose bounds, {bound} to {value}");
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn size_of_dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) * f64::from(*b)).abs()).sum()
}

/// One query of one head, in double precision.
struct Query {
    /// First channel among the queries, and of each key it sees among the keys.
    place: usize,
    keys: Vec<usize>,
    weights: Vec<f64>,
    lse: f64,
    mixed: Vec<Exact>,
}

impl Inputs {
    fn scale(&self) -> f64 {
        1.0 / (self.case.heads.width as f64).sqrt()
    }

    /// Every query of every head, in the order of lse.
    fn queries(&self) -> impl Iterator<Item = Query> {
        let Heads { seq_len, heads, kv_heads, width, first_query } = self.case.heads;
        let (queries, scale) = (self.case.heads.queries(), self.scale());
        (0..self.case.rows * queries * heads).map(move |i| {
            let (row, query, head) = (i / heads / queries, i / heads % queries, i % heads);
            let key = |key: usize| ((row * seq_len + key) * kv_heads + head * kv_heads / heads) * width;
            let keys: Vec<usize> = (0..=first_query + query).map(key).collect();
            let own = &self.q[i * width..][..width];
            let scores: Vec<f64> = keys.iter().map(|&key| dot(own, &self.k[key..][..width]) * scale).collect();
            let lse = scores.iter().map(|score| score.exp()).sum::<f64>().ln();
            let weights: Vec<f64> = scores.iter().map(|score| (score - lse).exp()).collect();
            let mut mixed = vec![Exact::default(); width];
            for (&key, weight) in keys.iter().zip(&weights) {
                for (mixed, v) in mixed.iter_mut().zip(&self.v[key..]) {
                    let term = weight * f64::from(*v);
                    mixed.add(term, (ROUNDING + SINGLE) * term.abs());
                }
            }
            Query { place: i * width, keys, weights, lse, mixed }
        })
    }

    /// Gradients of queries, keys and values, given the outputs as they were rounded: a query's mean slope is made of them.
    fn gradients(&self, mixed: &[f32]) -> [Vec<Exact>; 3] {
        let (width, scale) = (self.case.heads.width, self.scale());
        let [mut grad_q, mut grad_k, mut grad_v] = [&self.q, &self.k, &self.v].map(|x| vec![Exact::default(); x.len()]);
        for Query { place, keys, weights, .. } in self.queries() {
            let [own, grad, mixed] = [&self.q, &self.grad, mixed].map(|values| &values[place..][..width]);
            let mean = dot(grad, mixed);
            for (key, weight) in keys.into_iter().zip(weights) {
                let (k, v) = (&self.k[key..][..width], &self.v[key..][..width]);
                let slope = weight * (dot(grad, v) - mean);
                let single = SINGLE * (size_of_dot(grad, v) + size_of_dot(grad, mixed));
                let bound = weight * single + (ROUNDING + SINGLE) * slope.abs();
                for channel in 0..width {
                    let [q, k, grad] = [own[channel], k[channel], grad[channel]].map(f64::from);
                    grad_q[place + channel].add(scale * slope * k, scale * bound * k.abs());
                    grad_k[key + channel].add(scale * slope * q, scale * bound * q.abs());
                    let term = weight * grad;
                    grad_v[key + channel].add(term, (ROUNDING + SINGLE) * term.abs());
                }
            }
        }
        [grad_q, grad_k, grad_v]
    }
}

on_both!(
    attention_is_close_to_double_precision,
    attention_gradients_are_close_to_double_precision,
    bits_depend_on_nothing_else,
    the_processors_mode_is_met,
);

on_hopper!(
    attention_is_close_to_double_precision,
    heads_in_pairs_and_alone_are_close_to_double_precision,
    attention_gradients_are_close_to_double_precision,
    bits_depend_on_nothing_else,
    the_processors_mode_is_met,
);

fn attention_is_close_to_double_precision<D: Device>(device: &Arc<D>) {
    check_outputs(device, CASES.into_iter().chain(LATE));
}

/// Heads that share keys in pairs, and that do not: more tiles than stages, a warpgroup of a block without queries, one
/// that sees fewer tiles.
fn heads_in_pairs_and_alone_are_close_to_double_precision<D: Device>(device: &Arc<D>) {
    let pairs = [case(1, 260, 0, [4, 1], 48), case(2, 140, 75, [4, 2], 64)];
    check_outputs(device, pairs.into_iter().chain([case(1, 330, 0, [2, 2], 64), case(1, 210, 20, [3, 1], 56)]));
}

fn check_outputs<D: Device>(device: &Arc<D>, cases: impl Iterator<Item = Case>) {
    for case in cases {
        let inputs = case.inputs();
        let (mixed, lse, _) = run(device, &inputs);
        check("output", case, &mixed, inputs.queries().flat_map(|query| query.mixed));
        for (i, (found, query)) in lse.iter().zip(inputs.queries()).enumerate() {
            let off = (f64::from(*found) - query.lse).abs();
            assert!(off <= SINGLE, "lse {i} of {case:?}: {found}, not {}", query.lse);
        }
    }
}

fn attention_gradients_are_close_to_double_precision<D: Device>(device: &Arc<D>) {
    for case in CASES {
        let inputs = case.inputs();
        let (mixed, _, found) = run(device, &inputs);
        for ((name, found), exact) in ["q", "k", "v"].into_iter().zip(found.unwrap()).zip(inputs.gradients(&mixed)) {
            check(&format!("gradient of {name}"), case, &found, exact);
        }
    }
}

/// The same bits again, for a row alone, and for queries without the ones before them.
fn bits_depend_on_nothing_else<D: Device>(device: &Arc<D>) {
    for case in [case(2, 67, 0, [4, 2], 32), case(2, 65, 0, [2, 1], 64)] {
        let inputs = case.inputs();
        let whole = run(device, &inputs);
        assert!(whole == run(device, &inputs), "{case:?} again");
        for row in 0..case.rows {
            let (mixed, lse, grads) = run(device, &inputs.row(row));
            let part = |whole: &[f32], alone: &[f32]| whole[row * alone.len()..][..alone.len()] == *alone;
            assert!(part(&whole.0, &mixed) && part(&whole.1, &lse), "row {row} of {case:?} alone");
            let mut grads = whole.2.iter().flatten().zip(grads.iter().flatten());
            assert!(grads.all(|(whole, alone)| part(whole, alone)), "gradients of row {row} of {case:?} alone");
        }
        let Inputs { q, grad, .. } = inputs.row(0);
        for first_query in [1, 40, 64] {
            let heads = Heads { first_query, ..case.heads };
            let skipped = first_query * heads.heads * heads.width;
            let [q, grad] = [&q, &grad].map(|values| values[skipped..].to_vec());
            let late = Inputs { case: Case { rows: 1, heads }, q, grad, ..inputs.row(0) };
            let (mixed, lse, _) = run(device, &late);
            assert!(mixed == whole.0[skipped..][..mixed.len()], "{heads:?}");
            assert!(lse == whole.1[skipped / heads.width..][..lse.len()], "{heads:?}");
        }
    }
}

/// Blocks of keys add to the gradients of the same queries: whatever the order in which they get on, the bits are those of
/// one block after another.
#[test]
fn gradients_do_not_depend_on_the_order_of_blocks() {
    for case in [case(1, 270, 0, [2, 1], 64), case(2, 200, 0, [2, 2], 128), case(1, 300, 0, [2, 1], 32)] {
        let inputs = case.inputs();
        let Some(device) = interleaved_shim(Interleaving::default()) else { return };
        let expected = run(&device, &inputs);
        for seed in 0..3 {
            let device = interleaved_shim(Interleaving { at_once: 3 + seed, seed }).unwrap();
            assert!(run(&device, &inputs) == expected, "{case:?} by seed {seed}");
            assert_eq!(device.damaged(), 0);
        }
    }
}

/// Rounding in the same places makes nearly all bits the same, as long as one tile has all keys: with more, weights are
/// rounded under another maximum.
fn the_processors_mode_is_met<D: Device>(device: &Arc<D>) {
    let cpu = CpuKernels { precision: Precision::Bf16 };
    for case in [case(2, 33, 0, [2, 1], 64), case(1, 64, 20, [4, 2], 32), case(1, 40, 0, [1, 1], 128)] {
        let inputs = case.inputs();
        let (mixed, lse, _) = run(device, &inputs);
        let [q, k, v] = [&inputs.q, &inputs.k, &inputs.v].map(|values| cpu.upload(values));
        let (expected, expected_log_sums) = cpu.attention(case.heads, [&q, &k, &v]);
        let [expected, expected_log_sums] = [expected, expected_log_sums].map(|values| cpu.download(values));
        let same = mixed.iter().zip(&expected).filter(|(found, expected)| found == expected).count();
        assert!(same * 100 >= mixed.len() * 98, "{case:?}: {same} of {} values are the same", mixed.len());
        let off = |(found, expected): (&f32, &f32)| (found - expected).abs();
        let farthest = lse.iter().zip(&expected_log_sums).map(off).fold(0.0, f32::max);
        assert!(farthest <= 1e-5, "lse of {case:?} are off by {farthest:e}");
    }
}

#[test]
fn heads_of_whole_spans_up_to_the_widest_are_taken() {
    let taken: Vec<usize> = (0..200).filter(|&width| takes(width)).collect();
    assert_eq!(taken, (1..=16).map(|spans| 8 * spans).collect::<Vec<_>>());
}
