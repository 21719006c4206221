//! Products of bfloat16 matrices beside loops in double precision, and what follows them beside scalar rules.

use super::{kernels, on_both, on_hopper, random};
use crate::engine::cuda::backend::CudaKernels;
use crate::engine::cuda::backend::gemm_bf16::{Addend, Epilogue, GemmBf16, Plan};
use crate::engine::cuda::device::{DType, Device, Instruction};
use crate::engine::cuda::gemm::Batch;
use crate::engine::cuda::memory::Buffer;
use crate::engine::cuda::view::View;
use crate::engine::network::{Kernels, Linear};

on_both!(
    products_are_close_to_double_precision,
    strips_and_groups_of_tiles_cover_the_product,
    every_kernel_adds_in_the_same_order,
    batches_are_products_one_by_one,
    what_is_kept_is_added,
    squares_are_those_of_the_rounded_product,
    residuals_are_added_as_the_rule_says,
    rows_do_not_depend_on_their_place,
    long_sums_are_their_parts_in_order,
);

on_hopper!(
    products_are_close_to_double_precision,
    tiles_of_warpgroups_cover_the_product,
    kernels_of_warpgroups_add_in_the_same_order,
    batches_are_products_one_by_one,
    squares_are_those_of_the_rounded_product,
    residuals_are_added_as_the_rule_says,
    rows_do_not_depend_on_their_place,
    either_instruction_makes_the_product,
);

/// Rows, columns, inner values.
type Sides = [usize; 3];

/// One value; nothing aligned; an odd number of rows; tails of blocks and of stages; one whole tile.
const SIDES: [Sides; 5] = [[1, 1, 1], [3, 17, 5], [65, 40, 64], [130, 72, 136], [128, 128, 128]];
const LAYOUTS: [[bool; 2]; 4] = [[false, false], [false, true], [true, false], [true, true]];

fn nearest(x: f32) -> f32 {
    half::bf16::from_f32(x).to_f32()
}

fn rounded(len: usize, name: &str) -> Vec<f32> {
    random(len, name).into_iter().map(nearest).collect()
}

/// Factors of a product as their values, and how they lie on the device.
struct Factors {
    dims: Sides,
    transposed: [bool; 2],
    /// [rows, inner] and [inner, columns].
    a: Vec<f32>,
    b: Vec<f32>,
}

fn transpose(matrix: &[f32], columns: usize) -> Vec<f32> {
    (0..matrix.len()).map(|i| matrix[i % (matrix.len() / columns) * columns + i / (matrix.len() / columns)]).collect()
}

impl Factors {
    fn new(dims: Sides, transposed: [bool; 2]) -> Self {
        let [rows, columns, inner] = dims;
        Factors { dims, transposed, a: rounded(rows * inner, "a"), b: rounded(inner * columns, "b") }
    }

    /// As they are stored.
    fn stored(&self) -> [Vec<f32>; 2] {
        let [_, columns, inner] = self.dims;
        let store = |matrix: &[f32], columns: usize, transposed: bool| match transposed {
            false => matrix.to_vec(),
            true => transpose(matrix, columns),
        };
        [store(&self.a, inner, self.transposed[0]), store(&self.b, columns, self.transposed[1])]
    }

    fn gemm<'a>(&self, [a, b, out]: [View<'a>; 3], epilogue: Epilogue<'a>) -> GemmBf16<'a> {
        let ([m, n, k], [a_transposed, b_transposed]) = (self.dims, self.transposed);
        let batch = Batch::ONE;
        GemmBf16 { m, n, k, a_transposed, b_transposed, alpha: 1.0, epilogue, a, b, out, batch }
    }

    /// The product in single precision, by its own plan or by another.
    fn single<D: Device>(&self, k: &CudaKernels<D>, plan: Option<Plan>) -> Vec<f32> {
        let [a, b] = self.stored().map(|values| narrow(k, &values));
        let out = k.unset(self.dims[0] * self.dims[1]);
        let product = self.gemm([&a, &b, &out].map(Buffer::view), Epilogue::F32(Addend::NONE));
        k.gemm_with_plan(&product, &plan.unwrap_or_else(|| product.plan(k.instruction)));
        k.download(out)
    }

    /// The product by an epilogue that gives bfloat16 values.
    fn finished<D: Device>(&self, k: &CudaKernels<D>, epilogue: Epilogue<'_>) -> Vec<f32> {
        let [a, b] = self.stored().map(|values| narrow(k, &values));
        let out = k.buffer_of(DType::Bf16, self.dims[0] * self.dims[1]);
        k.gemm_bf16(&self.gemm([&a, &b, &out].map(Buffer::view), epilogue));
        k.download(out)
    }
}

/// Values on the device as bfloat16, two a word.
fn narrow<D: Device>(k: &CudaKernels<D>, values: &[f32]) -> Buffer<D> {
    let bits = |value: f32| u32::from(half::bf16::from_f32(value).to_bits());
    let word = |pair: &[f32]| bits(pair[0]) | pair.get(1).map_or(0, |&high| bits(high) << 16);
    let buffer = k.buffer_of(DType::Bf16, values.len());
    k.shared.write(buffer.view(), &values.chunks(2).map(word).collect::<Vec<_>>());
    buffer
}

fn assert_equal_bits(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.to_bits(), expected.to_bits(), "{what}, value {i}: {found} for {expected}");
    }
}

/// Higham's bound for a sum of products in any order, with additions cut off instead of rounded, as tensor cores do.
fn assert_close(found: &[f32], factors: &Factors, what: &str) {
    let ([_, columns, inner], Factors { a, b, .. }) = (factors.dims, factors);
    for (i, &found) in found.iter().enumerate() {
        let pair = |l: usize| f64::from(a[i / columns * inner + l]) * f64::from(b[l * columns + i % columns]);
        let (exact, size) = (0..inner).map(pair).fold((0.0, 0.0), |(sum, size), x| (sum + x, size + x.abs()));
        let bound = (inner + 1) as f64 * f64::from(f32::EPSILON) * size;
        assert!((f64::from(found) - exact).abs() <= bound, "{what}, value {i}: {found} for {exact}");
    }
}

fn products_are_close_to_double_precision<D: Device>(device: &std::sync::Arc<D>) {
    let k = kernels(device);
    for (dims, transposed) in SIDES.into_iter().flat_map(|dims| LAYOUTS.map(|transposed| (dims, transposed))) {
        let (factors, what) = (Factors::new(dims, transposed), format!("{dims:?} {transposed:?}"));
        let single = factors.single(&k, None);
        assert_close(&single, &factors, &what);
        // In bfloat16 it is the same rounded once.
        let narrow = factors.finished(&k, Epilogue::Bf16(Addend::NONE));
        assert_equal_bits(&narrow, &single.iter().copied().map(nearest).collect::<Vec<_>>(), &what);
    }
    k.check().unwrap();
}

/// A plan with a kernel of that width, as if the product were large enough for it.
fn plan(factors: &Factors, tile: usize, strip: usize) -> Plan {
    let kernel = match (tile, factors.transposed) {
        (128, [false, false]) => "gemm_bf16_nn",
        (128, [false, true]) => "gemm_bf16_nt",
        (128, [true, false]) => "gemm_bf16_tn",
        (128, [true, true]) => "gemm_bf16_tt",
        (_, [false, false]) => "wide_gemm_bf16_nn",
        (_, [false, true]) => "wide_gemm_bf16_nt",
        (_, _) => "wide_gemm_bf16_tn",
    };
    Plan { kernel, instruction: Instruction::Mma, tile, strip, k_per_split: factors.dims[2], splits: 1 }
}

/// The same of the kernels that are made of `wgmma`.
fn wgmma_plan(factors: &Factors, tile: usize, strip: usize) -> Plan {
    let kernel = match (tile, factors.transposed) {
        (128, [_, false]) => "wgmma_gemm_bf16_nn",
        (128, [_, true]) => "wgmma_gemm_bf16_nt",
        (_, [_, false]) => "wide_wgmma_gemm_bf16_nn",
        (_, [_, true]) => "wide_wgmma_gemm_bf16_nt",
    };
    Plan { kernel, instruction: Instruction::Wgmma, ..plan(factors, tile, strip) }
}

fn tiles_of_warpgroups_cover_the_product<D: Device>(device: &std::sync::Arc<D>) {
    let k = kernels(device);
    // Strips of two tiles, the last shorter; fewer steps a tile than stages, and more, the last of 8 inner values; more rows
    // of tiles than a group has; tiles of which a warpgroup has nothing.
    for (dims, tile, strip) in
        [([8, 528, 72], 256, 2), ([130, 264, 328], 256, 1), ([1032, 136, 8], 128, 1), ([130, 272, 200], 128, 2)]
    {
        for transposed in [[false, false], [false, true]] {
            let factors = Factors::new(dims, transposed);
            let what = format!("{dims:?} {transposed:?} {tile}");
            assert_close(&factors.single(&k, Some(wgmma_plan(&factors, tile, strip))), &factors, &what);
        }
    }
    k.check().unwrap();
}

fn kernels_of_warpgroups_add_in_the_same_order<D: Device>(device: &std::sync::Arc<D>) {
    let k = kernels(device);
    let dims = [136, 264, 136];
    let of = |transposed, tile| {
        let factors = Factors::new(dims, transposed);
        factors.single(&k, Some(wgmma_plan(&factors, tile, 1)))
    };
    let expected = of([false, false], 128);
    for (transposed, tile) in [([false, true], 128), ([false, false], 256), ([false, true], 256)] {
        assert_equal_bits(&of(transposed, tile), &expected, &format!("{transposed:?} {tile}"));
    }
    k.check().unwrap();
}

/// Not to the bit: how tensor cores add sixteen products is their own affair.
fn either_instruction_makes_the_product<D: Device>(device: &std::sync::Arc<D>) {
    let k = kernels(device);
    let factors = Factors::new([130, 136, 200], [false, true]);
    let [warps, warpgroups] = [plan(&factors, 128, 1), wgmma_plan(&factors, 128, 1)];
    let [warps, warpgroups] = [warps, warpgroups].map(|plan| factors.single(&k, Some(plan)));
    let size = factors.dims[2] as f32;
    for (one, other) in warps.iter().zip(&warpgroups) {
        assert!((one - other).abs() <= size * f32::EPSILON * one.abs().max(size), "{one} and {other}");
    }
    k.check().unwrap();
}

fn strips_and_groups_of_tiles_cover_the_product<D: Device>(device: &std::sync::Arc<D>) {
    let k = kernels(device);
    // Two strips, the second shorter and with a tile of 16 columns; fewer steps a tile than stages.
    let factors = Factors::new([8, 528, 72], [false, true]);
    assert_close(&factors.single(&k, Some(plan(&factors, 256, 2))), &factors, "wide strips");
    // One step a tile; more rows of tiles than a group has.
    let factors = Factors::new([1032, 136, 8], [false, false]);
    assert_close(&factors.single(&k, Some(plan(&factors, 128, 1))), &factors, "groups");
    assert_close(&factors.single(&k, Some(plan(&factors, 128, 2))), &factors, "groups of strips");
    k.check().unwrap();
}

fn every_kernel_adds_in_the_same_order<D: Device>(device: &std::sync::Arc<D>) {
    let k = kernels(device);
    let dims = [136, 264, 72];
    let first = Factors::new(dims, LAYOUTS[0]);
    let expected = first.single(&k, Some(Plan { kernel: "gemm_bf16_any", ..plan(&first, 128, 1) }));
    for transposed in LAYOUTS {
        let factors = Factors::new(dims, transposed);
        for tile in [128, 256] {
            if tile == 128 || transposed != [true, true] {
                let plan = plan(&factors, tile, 1);
                assert_equal_bits(&factors.single(&k, Some(plan)), &expected, plan.kernel);
            }
        }
    }
    k.check().unwrap();
}

fn batches_are_products_one_by_one<D: Device>(device: &std::sync::Arc<D>) {
    let k = kernels(device);
    // Aligned and not; matrices lie further apart than they are long.
    for (dims, gap) in [([24, 16, 40], 8), ([5, 3, 7], 1)] {
        let [rows, columns, inner] = dims;
        let lengths = [rows * inner, inner * columns, rows * columns];
        let strides = lengths.map(|length| length + gap);
        let values = [("a", strides[0]), ("b", strides[1])].map(|(name, stride)| rounded(3 * stride, name));
        let [a, b] = [0, 1].map(|i| narrow(&k, &values[i]));
        let before = random(3 * strides[2], "before");
        let out = k.upload(&before);
        let addresses = [&a, &b, &out].map(Buffer::view);
        let factors = |i: usize| {
            let part = |which: usize| values[which][i * strides[which]..][..lengths[which]].to_vec();
            Factors { dims, transposed: [false, false], a: part(0), b: part(1) }
        };
        let epilogue = Epilogue::F32(Addend { beta: 1.0, c: Some(out.view()) });
        let product = factors(0).gemm(addresses, epilogue);
        k.gemm_bf16(&GemmBf16 { batch: Batch { count: 3, strides }, ..product });
        for (i, (found, before)) in k.download(out).chunks(strides[2]).zip(before.chunks(strides[2])).enumerate() {
            // Nothing is added to what lies between.
            let product = factors(i).single(&k, None).into_iter().chain([0.0; 8]);
            let expected: Vec<f32> = before.iter().zip(product).map(|(before, product)| before + product).collect();
            assert_equal_bits(found, &expected, "a product of a batch");
        }
    }
    k.check().unwrap();
}

fn what_is_kept_is_added<D: Device>(device: &std::sync::Arc<D>) {
    let k = kernels(device);
    for dims in [[3, 17, 5], [65, 40, 64]] {
        let factors = Factors::new(dims, [true, false]);
        let (product, len) = (factors.single(&k, None), dims[0] * dims[1]);
        let other = rounded(len, "other");
        let [a, b] = factors.stored().map(|values| narrow(&k, &values));
        let expected: Vec<f32> = product.iter().zip(&other).map(|(p, other)| 3.0 * other + 0.3 * p).collect();
        // Onto itself in single precision, and from elsewhere in bfloat16.
        let out = k.upload(&other);
        let addresses = [&a, &b, &out].map(Buffer::view);
        let epilogue = Epilogue::F32(Addend { beta: 3.0, c: Some(out.view()) });
        k.gemm_bf16(&GemmBf16 { alpha: 0.3, ..factors.gemm(addresses, epilogue) });
        assert_equal_bits(&k.download(out), &expected, "kept in single precision");
        let (out, before) = (k.buffer_of(DType::Bf16, len), narrow(&k, &other));
        let addresses = [&a, &b, &out].map(Buffer::view);
        let epilogue = Epilogue::Bf16(Addend { beta: 3.0, c: Some(before.view()) });
        k.gemm_bf16(&GemmBf16 { alpha: 0.3, ..factors.gemm(addresses, epilogue) });
        let expected: Vec<f32> = expected.into_iter().map(nearest).collect();
        assert_equal_bits(&k.download(out), &expected, "kept in bfloat16");
    }
    k.check().unwrap();
}

/// Tokens, inputs, outputs: nothing aligned; tails of tiles and stages.
const LINEARS: [(usize, usize, usize); 2] = [(3, 5, 17), (130, 40, 72)];

fn squares_are_those_of_the_rounded_product<D: Device>(device: &std::sync::Arc<D>) {
    let k = kernels(device);
    for (tokens, inputs, outputs) in LINEARS {
        let s = Linear { tokens, inputs, outputs };
        let forward = Factors::new([tokens, outputs, inputs], [false, true]);
        let [x, w] = forward.stored().map(|values| narrow(&k, &values));
        let hidden: Vec<f32> = forward.single(&k, None).into_iter().map(nearest).collect();
        for (slope, keeps) in [(0.0, false), (0.0, true), (0.5, true)] {
            let active = |h: &f32| h.max(0.0) + slope * h.min(0.0);
            let expected: Vec<f32> = hidden.iter().map(|h| nearest(active(h) * active(h))).collect();
            let [y, kept] = [0, 1].map(|_| narrow(&k, &vec![7.0; hidden.len()]));
            let hidden_view = keeps.then(|| kept.view());
            k.fused_squared(s, slope, [&x, &w, &y].map(Buffer::view), hidden_view);
            assert_equal_bits(&k.download(y), &expected, "squares");
            let expected = if keeps { hidden.clone() } else { vec![7.0; hidden.len()] };
            assert_equal_bits(&k.download(kept), &expected, "hidden values");
        }
        // Back through the layer that comes after the square: its inputs are as many as the hidden values.
        let s = Linear { tokens, inputs: outputs, outputs: inputs };
        let back = Factors::new([tokens, outputs, inputs], [false, false]);
        let [grad_y, w] = back.stored().map(|values| narrow(&k, &values));
        let product = back.single(&k, None);
        for slope in [0.0, 0.5f32] {
            let active = |h: f32| h.max(0.0) + slope * slope * h.min(0.0);
            let of_one = |(product, h): (&f32, &f32)| nearest(nearest(*product) * (2.0 * active(*h)));
            let expected: Vec<f32> = product.iter().zip(&hidden).map(of_one).collect();
            let (before, grad) = (narrow(&k, &hidden), narrow(&k, &vec![7.0; hidden.len()]));
            k.fused_squared_grad(s, slope, [&grad_y, &w, &before, &grad].map(Buffer::view));
            assert_equal_bits(&k.download(grad), &expected, "gradients");
        }
    }
    k.check().unwrap();
}

fn residuals_are_added_as_the_rule_says<D: Device>(device: &std::sync::Arc<D>) {
    let k = kernels(device);
    for (tokens, inputs, outputs) in LINEARS {
        let factors = Factors::new([tokens, outputs, inputs], [false, true]);
        let [x, w] = factors.stored().map(|values| narrow(&k, &values));
        let (scale, before) = (random(outputs, "scale"), rounded(tokens * outputs, "before"));
        let product = factors.single(&k, None);
        let of_one = |i: usize| nearest(before[i] + scale[i % outputs] * nearest(product[i]));
        let expected: Vec<f32> = (0..product.len()).map(of_one).collect();
        let (y, scale) = (narrow(&k, &before), k.upload(&scale));
        k.fused_residual_add(Linear { tokens, inputs, outputs }, [&x, &w, &scale, &y].map(Buffer::view));
        assert_equal_bits(&k.download(y), &expected, "sums");
    }
    k.check().unwrap();
}

fn rows_do_not_depend_on_their_place<D: Device>(device: &std::sync::Arc<D>) {
    let k = kernels(device);
    for dims in [[130, 72, 136], [70, 17, 37]] {
        let [rows, columns, inner] = dims;
        let factors = Factors::new(dims, [false, true]);
        let whole = factors.single(&k, None);
        let of_rows = |a: Vec<f32>| {
            let (dims, b) = ([a.len() / inner, columns, inner], factors.b.clone());
            Factors { dims, a, b, ..factors }.single(&k, None)
        };
        // In the other order, and alone.
        let turned = of_rows(factors.a.chunks(inner).rev().flatten().copied().collect());
        for (row, found) in turned.chunks(columns).rev().enumerate() {
            assert_equal_bits(found, &whole[row * columns..][..columns], "a row elsewhere");
        }
        for row in [0, 9, rows - 1] {
            let alone = of_rows(factors.a[row * inner..][..inner].to_vec());
            assert_equal_bits(&alone, &whole[row * columns..][..columns], "a row alone");
        }
    }
    k.check().unwrap();
}

fn long_sums_are_their_parts_in_order<D: Device>(device: &std::sync::Arc<D>) {
    let k = kernels(device);
    for [rows, columns] in [[24, 40], [5, 3]] {
        let dims = [rows, columns, 1100];
        let factors = Factors::new(dims, [true, false]);
        let [a, b] = factors.stored().map(|values| narrow(&k, &values));
        let before = random(rows * columns, "before");
        let run = || {
            let out = k.upload(&before);
            let epilogue = Epilogue::F32(Addend { beta: 1.0, c: Some(out.view()) });
            let product = factors.gemm([&a, &b, &out].map(Buffer::view), epilogue);
            let plan = product.split();
            // Whole stages, as equal as those can be.
            assert_eq!((plan.k_per_split, plan.splits), (576, 2));
            k.split_k_gemm_bf16(&product);
            k.download(out)
        };
        let found = run();
        let part = |inner: std::ops::Range<usize>| {
            let of_row = |row: &[f32]| row[inner.clone()].to_vec();
            let a = factors.a.chunks(dims[2]).flat_map(of_row).collect();
            let b = factors.b[inner.start * columns..inner.end * columns].to_vec();
            Factors { dims: [rows, columns, inner.len()], a, b, ..factors }.single(&k, None)
        };
        let (first, second) = (part(0..576), part(576..1100));
        let expected: Vec<f32> = (0..found.len()).map(|i| before[i] + (first[i] + second[i])).collect();
        assert_equal_bits(&found, &expected, "parts");
        assert_equal_bits(&run(), &found, "once more");
    }
    k.check().unwrap();
}
