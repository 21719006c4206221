//! Each kernel beside its twin on the host.

use std::sync::Arc;

use super::super::arena::{ALIGNMENT, Arena, Matrices, Members};
use super::super::effective::EffectiveWeights;
use super::super::muon::{MuonTensors, stored};
use super::super::sums::Summed;
use crate::engine::cuda::backend::{CudaKernels, Operand, values};
use crate::engine::cuda::device::{DType, Device};
use crate::engine::cuda::gemm::{Batch, GemmDesc};
use crate::engine::cuda::memory::Buffer;
use crate::engine::cuda::tests::network::{configs, weights};
use crate::engine::cuda::tests::{kernels, largest_error, on_both, random};
use crate::engine::network::{Kernels, fold, unfold};
use crate::manifest::{AdamConfig, OrthogonalizerPrecision};
use crate::model::{HostTensor, Params};
use crate::optim::{AdamStep, FakeQuant, MuonStep, clip_global_norm};

on_both!(
    sums_agree_with_the_hosts,
    factors_are_clip_global_norms,
    adamw_has_the_hosts_bits,
    batches_of_products_are_products,
    effective_weights_are_the_hosts,
    scales_are_unfolded_as_on_the_host,
    muon_follows_the_host,
    one_bfloat16_iteration_is_the_hosts_but_for_a_rounding,
);

/// A factor on the device that changes nothing.
fn one<D: Device>(k: &CudaKernels<D>) -> Buffer<D> {
    k.upload(&[1.0])
}

fn sums_agree_with_the_hosts<D: Device>(device: &Arc<D>) {
    let k = &kernels(device);
    for n in [1, 5, 255, 8192, 8193, 40_000] {
        let (count, stride) = (3, n + 7);
        let x = random(count * stride, "x");
        for summed in [Summed::Values, Summed::Squares] {
            let found = k.read_doubles(&k.sums(&k.upload(&x), summed, count, stride, n)).unwrap();
            for (array, found) in x.chunks(stride).zip(found) {
                let term = |&x: &f32| f64::from(x) * if summed == Summed::Squares { f64::from(x) } else { 1.0 };
                let expected: f64 = array[..n].iter().map(term).sum();
                let size: f64 = array[..n].iter().map(|x| term(x).abs()).sum();
                // Additions in another order: 40,000 of them, each off by at most 2^-53 of its result.
                assert!((found - expected).abs() <= 1e-11 * size, "{n}: {found} for {expected}");
            }
        }
    }
    let out = k.doubles(1);
    k.sum_to(k.upload(&[1.0, 2.0]).view(), Summed::Values, out.view(), false);
    k.sum_to(k.upload(&[4.0]).view(), Summed::Values, out.view(), true);
    assert_eq!(k.read_doubles(&out).unwrap(), [7.0]);
    k.check().unwrap();
}

/// The factor for gradients, their norm's limit and summed losses.
fn factor<D: Device>(k: &CudaKernels<D>, gradients: &[f32], max_norm: f64, losses: &[f64]) -> f32 {
    let squares = k.sums(&k.upload(gradients), Summed::Squares, 1, gradients.len(), gradients.len());
    let halves = losses.iter().flat_map(|loss| [loss.to_bits() as u32, (loss.to_bits() >> 32) as u32]);
    let losses = k.upload(&halves.map(f32::from_bits).collect::<Vec<_>>());
    let (factor, bad) = (k.unset(1), k.unset(1));
    k.count_bad(losses.view(), bad.view());
    k.clip_factor(squares.view(), bad.view(), max_norm, factor.view());
    k.check().unwrap();
    k.read(&factor)[0]
}

fn factors_are_clip_global_norms<D: Device>(device: &Arc<D>) {
    let k = &kernels(device);
    for (scale, max_norm) in [(1.0, 0.3), (1e-4, 0.3), (1.0, 0.0), (30.0, 1e-3)] {
        let gradients: Vec<f32> = random(9000, "gradients").into_iter().map(|value| value * scale).collect();
        let tensor = HostTensor::new(vec![gradients.len()], gradients.clone()).unwrap();
        let mut clipped = Params::from_entries(vec![("g".into(), tensor)]);
        clip_global_norm(&mut clipped, max_norm);
        let factor = factor(k, &gradients, max_norm, &[1.0, 2.0]);
        let found: Vec<f32> = gradients.iter().map(|value| value * factor).collect();
        assert_eq!(found, clipped.get("g").unwrap().data(), "{scale} {max_norm}");
    }
    for bad in [f32::NAN, f32::INFINITY, 3e38] {
        // The square of the largest floats fits a double, so that one is still a norm.
        let expected = bad.is_finite();
        assert_eq!(factor(k, &[1.0, bad, bad], 0.3, &[1.0]) >= 0.0, expected, "{bad}");
    }
    for bad in [f64::NAN, f64::NEG_INFINITY] {
        assert_eq!(factor(k, &[1.0], 0.3, &[1.0, bad, 2.0]), -1.0);
    }
    // Another rank's loss counts as much as one here.
    let (squares, factor) = (k.upload(&[0.0, 1.0]), k.unset(1));
    for (bad, expected) in [(0.0, true), (1.0, false), (5.0, false)] {
        k.clip_factor(squares.view(), k.upload(&[bad]).view(), 0.3, factor.view());
        assert_eq!(k.read(&factor)[0] > 0.0, expected);
    }
}

fn adamw_has_the_hosts_bits<D: Device>(device: &Arc<D>) {
    let k = &kernels(device);
    for n in [1, 31, 257, 1000] {
        let [mut weight, mut first] = ["weight", "first"].map(|name| random(n, name));
        let mut second: Vec<f32> = random(n, "second").into_iter().map(|value| value * value).collect();
        let buffers = [&weight, &first, &second].map(|values| k.upload(values));
        for (count, clip) in [(1, 1.0), (2, 0.37), (1000, -1.0)] {
            let gradient = random(n, &format!("gradient {count}"));
            let step = AdamStep::new(&AdamConfig::default(), 0.03, 0.01, count);
            if clip > 0.0 {
                let clipped: Vec<f32> = gradient.iter().map(|value| value * clip).collect();
                step.apply(&mut weight, &mut first, &mut second, Some(&clipped));
            }
            let s = step.scalars();
            let [w, m, v] = buffers.each_ref().map(|buffer| values(buffer, DType::F32, n));
            let (gradient, factor) = (k.upload(&gradient), k.upload(&[clip]));
            let arguments = [
                &[w, m, v, values(&gradient, DType::F32, n), values(&factor, DType::F32, 1)][..],
                &[s.keep, s.step_size, s.mix1, s.beta2, s.mix2, s.second_root, s.eps].map(Operand::F32),
            ]
            .concat();
            // SAFETY: `adamw` reads and writes n values of each array, and reads one factor.
            unsafe { k.each("adamw", n, &arguments) };
            for (buffer, expected) in buffers.iter().zip([&weight, &first, &second]) {
                assert_eq!(&k.read(buffer), expected, "{n} at step {count}");
            }
        }
    }
    k.check().unwrap();
}

fn batches_of_products_are_products<D: Device>(device: &Arc<D>) {
    let k = &kernels(device);
    for (m, k_len, n) in [(3, 5, 7), (65, 17, 34), (8, 130, 2), (64, 64, 64)] {
        let count = 3;
        let lens = [m * k_len, k_len * n, m * n];
        let strides = [lens[0] + 3, lens[1] + 5, lens[2] + 1];
        let (a, b) = (k.upload(&random(count * strides[0], "a")), k.upload(&random(count * strides[1], "b")));
        for (a_transposed, b_transposed) in [(false, false), (false, true), (true, false)] {
            let [together, single] = [(); 2].map(|()| k.zeros(count * strides[2]));
            let gemm = GemmDesc {
                m,
                n,
                k: k_len,
                a_transposed,
                b_transposed,
                alpha: 0.5,
                beta: 0.0,
                a: a.view(),
                b: b.view(),
                c: together.view(),
                out: together.view(),
                batch: Batch { count, strides },
            };
            k.gemm(&gemm);
            for i in 0..count {
                let range = |which: usize| i * strides[which]..i * strides[which] + lens[which];
                let [a, b, out] =
                    [(&a, 0), (&b, 1), (&single, 2)].map(|(x, which)| x.view().slice(range(which)).unwrap());
                k.gemm(&GemmDesc { a, b, c: out, out, batch: Batch::ONE, ..gemm });
            }
            let error = largest_error(&k.read(&together), &k.read(&single));
            assert!(error <= 1e-5, "{m} x {k_len} x {n}: off by {error:e}");
        }
    }
    k.check().unwrap();
}

fn effective_weights_are_the_hosts<D: Device>(device: &Arc<D>) {
    let k = &kernels(device);
    for config in configs() {
        let (arena, mut weights) = (Arena::new(&config), weights(&config));
        // A row of zeros, and one on the ties between grid points.
        let tied = weights.get_mut("blocks.0.attn.c_q.weight").unwrap();
        tied.data_mut()[..2 * config.model_dim].fill(0.0);
        tied.data_mut()[..5].copy_from_slice(&[31.0, 2.5, -3.5, -0.5, 30.5]);
        let held = k.upload(&arena.pack(0..arena.len(), |name| weights.get(name)).unwrap());
        let effective = EffectiveWeights::new(k, &arena, &config);
        for fake_quant in [FakeQuant::On, FakeQuant::AllInt6, FakeQuant::Off] {
            let expected = fold(&fake_quant.applied(&weights));
            k.make_effective(&arena, &held, &effective, fake_quant);
            assert_eq!(arena.params(&k.read(effective.plain())).unwrap(), expected, "{fake_quant:?}");
        }
    }
    k.check().unwrap();
}

fn scales_are_unfolded_as_on_the_host<D: Device>(device: &Arc<D>) {
    let k = &kernels(device);
    for (config, fake_quant) in configs().into_iter().zip([FakeQuant::On, FakeQuant::Off]) {
        let (arena, weights) = (Arena::new(&config), weights(&config));
        let mut expected = arena.params(&random(arena.len(), "gradients")).unwrap();
        let is_folded = |name: &str| name.ends_with("_scale") || name == "bigram.scale";
        // Nothing but the unfolding gives scales a gradient.
        expected.iter_mut().filter(|(name, _)| is_folded(name)).for_each(|(_, scale)| scale.data_mut().fill(0.0));
        let [held, gradients] =
            [&weights, &expected].map(|params| k.upload(&arena.pack(0..arena.len(), |name| params.get(name)).unwrap()));
        let seen = fake_quant.applied(&weights).into_owned();
        unfold(&seen, &mut expected);
        k.unfold(&arena.transformed(&Members::ALL), &held, &gradients, fake_quant);
        for ((name, found), (_, expected)) in arena.params(&k.read(&gradients)).unwrap().iter().zip(expected.iter()) {
            // A scale's sum is in double precision, in another order.
            let tolerance = if is_folded(name) { 1e-6 } else { 0.0 };
            assert!(largest_error(found.data(), expected.data()) <= tolerance, "{name}");
        }
    }
    k.check().unwrap();
}

/// Shapes: square, wide, tall, a column, odd.
const SHAPES: [(usize, usize); 5] = [(8, 8), (12, 40), (33, 10), (5, 1), (7, 64)];
const COUNT: usize = 3;

/// Weights and buffers after a step on the device and on the host, matrix after matrix.
fn after<D: Device>(k: &CudaKernels<D>, (rows, columns): (usize, usize), step: &MuonStep) -> [[Vec<f32>; 2]; 2] {
    let (n, stride) = (rows * columns, (rows * columns).next_multiple_of(ALIGNMENT));
    let held = |name: &str| -> Vec<Vec<f32>> { (0..COUNT).map(|i| random(n, &format!("{name} {i}"))).collect() };
    let [weights, buffers, gradients] = ["weight", "buffer", "gradient"].map(held);
    let spread = |matrices: &[Vec<f32>]| {
        let padded = matrices.iter().flat_map(|values| values.iter().copied().chain([0.0; ALIGNMENT]).take(stride));
        k.upload(&padded.collect::<Vec<_>>())
    };
    let [weight, buffer, gradient] = [&weights, &buffers, &gradients].map(|matrices| spread(matrices));
    let factor = one(k);
    let tensors =
        MuonTensors { weight: weight.view(), buffer: buffer.view(), gradient: gradient.view(), factor: factor.view() };
    let (batch, update) =
        (Matrices { start: 0, count: COUNT, stride, rows, columns }, k.buffer_of(stored(step), weight.len()));
    k.muon_momentum(step, tensors, &update);
    k.orthogonalize(batch, &update, step.newton_schulz_steps);
    k.muon_descend(batch, step, tensors, &update);
    let gathered = |buffer: &Buffer<D>| {
        let values = k.read(buffer);
        assert!(values.chunks(stride).all(|matrix| matrix[n..].iter().all(|&value| value == 0.0)), "between matrices");
        values.chunks(stride).flat_map(|matrix| matrix[..n].to_vec()).collect()
    };
    let found = [gathered(&weight), gathered(&buffer)];
    let mut expected = [Vec::new(), Vec::new()];
    for ((mut weight, mut buffer), gradient) in weights.into_iter().zip(buffers).zip(gradients) {
        step.apply(&mut weight, &mut buffer, Some(&gradient), (rows, columns));
        expected[0].extend(weight);
        expected[1].extend(buffer);
    }
    [found, expected]
}

const STEP: MuonStep = MuonStep {
    learning_rate: 0.5,
    momentum: 0.95,
    weight_decay: 0.25,
    newton_schulz_steps: 5,
    precision: OrthogonalizerPrecision::F32,
    row_normalize: false,
};

fn muon_follows_the_host<D: Device>(device: &Arc<D>) {
    let k = &kernels(device);
    for shape in SHAPES {
        for (precision, tolerance) in [(OrthogonalizerPrecision::F32, 1e-4), (OrthogonalizerPrecision::Bf16, 0.1)] {
            let [[weight, buffer], expected] = after(k, shape, &MuonStep { precision, ..STEP });
            assert_eq!(buffer, expected[1], "{shape:?}");
            let error = largest_error(&weight, &expected[0]);
            assert!(error <= tolerance, "{shape:?} {precision:?}: off by {error:e}");
        }
    }
    k.check().unwrap();
}

/// One iteration. The host rounds both parts of a sum and then the sum, as PyTorch's eager kernels do; the device rounds the
/// sum alone: no value is further off than those roundings, and most are equal.
fn one_bfloat16_iteration_is_the_hosts_but_for_a_rounding<D: Device>(device: &Arc<D>) {
    let k = &kernels(device);
    // Without decay, a rate of one half: from a weight that is 0 the update itself can be read.
    let step = MuonStep { newton_schulz_steps: 1, precision: OrthogonalizerPrecision::Bf16, ..STEP };
    let (mut moved, mut values) = (0, 0);
    for shape in SHAPES {
        let [[found, _], [expected, _]] = after(k, shape, &step);
        for (found, expected) in found.iter().zip(&expected) {
            values += 1;
            moved += usize::from(found != expected);
            // Updates of one iteration are below 4, where bfloat16 has steps of 2^-6; half of the update is the weight.
            assert!((found - expected).abs() <= 2.0 * 0.5 * 0.015_625, "{shape:?}: {found} for {expected}");
        }
    }
    assert!(2 * moved < values, "{moved} of {values} differ");
    k.check().unwrap();
}
