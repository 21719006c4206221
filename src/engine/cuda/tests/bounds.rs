//! Operands that do not fit an operation: each is an error that names it, and nothing is launched.

use std::sync::Arc;

use super::{kernels, on_both, random};
use crate::engine::Precision;
use crate::engine::cuda::backend::CudaKernels;
use crate::engine::cuda::device::{DType, Device};
use crate::engine::cuda::error::DeviceError;
use crate::engine::cuda::gemm::{Batch, GemmDesc};
use crate::engine::cuda::memory::Buffer;
use crate::engine::network::{ChannelRow, GateShape, GatedSkip, Heads, Kernels, Linear, Norm, QkNormRope, WriteMode};
use crate::model::{ModelConfig, RopeTables};

on_both!(
    kernels_refuse_other_lengths_and_types,
    products_refuse_what_does_not_fit,
    transfers_refuse_other_lengths,
    row_numbers_stay_in_their_table,
    memory_of_another_device_is_refused,
    parts_end_where_their_buffer_does,
);

/// The error of an operation, after which the device is as good as before.
fn error_of<D: Device>(k: &CudaKernels<D>, operation: impl FnOnce()) -> String {
    k.check().unwrap();
    operation();
    let error = k.shared.take_error().expect("an error");
    error.to_string()
}

fn kernels_refuse_other_lengths_and_types<D: Device>(device: &Arc<D>) {
    let k = &kernels(device);
    let [mut four, five] = [k.upload(&[1.0; 4]), k.upload(&[2.0; 5])];
    let error = error_of(k, || k.add(&five, &mut four));
    assert_eq!(error, "add: argument 1 has 5 values where 4 are needed");
    assert_eq!(k.read(&four), [1.0; 4]);

    let mut narrow = k.cleared(k.buffer_of(DType::Bf16, 4));
    let error = error_of(k, || k.add(&four, &mut narrow));
    assert_eq!(error, "add_bf16: argument 1 is stored as f32 where bf16 is needed");

    // Rows that are not whole.
    let error = error_of(k, || drop(k.rms_norm(&five, Norm::of(2))));
    assert_eq!(error, "rms_norm: argument 1 has 5 values where 4 are needed");
    let error = error_of(k, || drop(k.mix(&four, &five, &k.upload(&[1.0; 4]))));
    assert_eq!(error, "fused_mix_rms_norm: argument 6 has 5 values where 4 are needed");
    let (weights, row) = (k.upload(&[1.0; 5]), ChannelRow { row: 1, width: 4 });
    let error = error_of(k, || k.add_skip(&four, &weights, row, &mut k.copy(&four)));
    assert_eq!(error, "values 4..8 of a buffer of 5");

    let gated = GatedSkip { output: &four, weights: &k.upload(&[1.0; 8]), gates: &weights, row };
    let error = error_of(k, || k.add_gated_skip(gated, &mut k.copy(&four)));
    assert_eq!(error, "values 4..8 of a buffer of 5");
    let error = error_of(k, || drop(k.merge_lanes([&four, &four], &five)));
    assert_eq!(error, "merge_lanes: argument 3 has 5 values where 1 are needed");
    let error =
        error_of(k, || k.add_value_embedding(&five, [&k.upload(&[1.0]), &k.upload(&[1.0])], &mut k.copy(&four)));
    assert_eq!(error, "add_by_scalars: argument 1 has 5 values where 4 are needed");

    let config = ModelConfig { model_dim: 4, num_heads: 1, num_kv_heads: 1, ..Default::default() };
    let tables = &k.rope_tables(&RopeTables::new(&config, 2));
    let shape = QkNormRope { heads: 1, width: 4, tokens_per_row: 1, first: 2, gain: None, tables };
    let error = error_of(k, || drop(k.qk_norm_rope(&four, shape)));
    assert_eq!(error, "qk_norm_rope: positions, at most has 3 values where 2 are needed");

    let heads = Heads { seq_len: 1, heads: 3, kv_heads: 2, width: 2, first_query: 0 };
    let qkv = [6, 4, 4].map(|len| k.upload(&vec![1.0; len]));
    let error = error_of(k, || drop(k.attention(heads, qkv.each_ref())));
    assert!(error.starts_with("attention: heads beyond whole groups"), "{error}");
    let heads = Heads { heads: 4, ..heads };
    let error = error_of(k, || drop(k.attention(heads, qkv.each_ref())));
    assert_eq!(error, "attention_32: argument 1 has 6 values where 8 are needed");
    let [mixed, _, v] = &qkv;
    let error = error_of(k, || drop(k.exclude_own_value(heads, mixed, v)));
    assert_eq!(error, "exclude_own_value: argument 1 has 6 values where 8 are needed");
    let shape = GateShape { inputs: 3, window: 4, heads: 1, width: 2, factor: 1.0, slope: 1.0 };
    let error = error_of(k, || drop(k.gate_heads(shape, [mixed, v, v])));
    assert_eq!(error, "gate_heads: window, at most has 4 values where 3 are needed");
    let shape = GateShape { window: 3, ..shape };
    let error = error_of(k, || drop(k.gate_heads(shape, [mixed, v, v])));
    assert_eq!(error, "gate_heads: argument 2 has 4 values where 3 are needed");
    let partly = ModelConfig { model_dim: 8, num_heads: 1, num_kv_heads: 1, ..Default::default() };
    let tables = &k.rope_tables(&RopeTables::new(&partly, 2));
    let shape = QkNormRope { heads: 1, width: 4, tokens_per_row: 1, first: 0, gain: None, tables };
    let error = error_of(k, || drop(k.qk_norm_rope(&four, shape)));
    assert_eq!(error, "qk_norm_rope: rotated coordinates, at most has 8 values where 4 are needed");
}

fn products_refuse_what_does_not_fit<D: Device>(device: &Arc<D>) {
    let k = &kernels(device);
    let dims = Linear { tokens: 2, inputs: 3, outputs: 4 };
    let [x, w, mut y] = [6, 12, 8].map(|len| k.upload(&random(len, "x")));
    let before = k.read(&y);
    for (x, w, expected) in
        [(&x, &x, "gemm: b has 6 values where 12 are needed"), (&w, &w, "gemm: a has 12 values where 6 are needed")]
    {
        assert_eq!(error_of(k, || k.linear(dims, x, w, WriteMode::Overwrite, &mut y)), expected);
    }
    let error = error_of(k, || k.linear(dims, &x, &w, WriteMode::Overwrite, &mut k.copy(&x)));
    assert_eq!(error, "gemm: c has 6 values where 8 are needed");
    assert_eq!(k.read(&y), before);

    let square = k.upload(&[1.0; 4]);
    let gemm = |a, b, out| GemmDesc {
        m: 2,
        n: 2,
        k: 2,
        a_transposed: false,
        b_transposed: false,
        alpha: 1.0,
        beta: 0.0,
        a,
        b,
        c: out,
        out,
        batch: Batch::ONE,
    };
    let other = k.copy(&square);
    let error = error_of(k, || k.gemm(&gemm(square.view(), other.view(), other.view())));
    assert_eq!(error, "gemm: the result overlaps b");

    // In bfloat16, by this crate's own kernels; hidden values that are too few.
    let k = &CudaKernels::new(Arc::clone(device), Precision::Bf16);
    let [x, w, y, short] = [6, 12, 8, 7].map(|len| k.store(&random(len, "x")));
    let views = [&x, &w, &y].map(Buffer::view);
    let error = error_of(k, || k.fused_squared(dims, 0.0, views, Some(short.view())));
    assert_eq!(error, "gemm_bf16: c has 7 values where 8 are needed");
    let single = k.upload(&[1.0; 4]);
    let error = error_of(k, || k.fused_residual_add(dims, [x.view(), w.view(), y.view(), y.view()]));
    assert_eq!(error, "gemm_bf16: scale is stored as bf16 where f32 is needed");
    let error = error_of(k, || k.fused_residual_add(dims, [single.view(), w.view(), single.view(), y.view()]));
    assert_eq!(error, "gemm_bf16: a is stored as f32 where bf16 is needed");
}

fn transfers_refuse_other_lengths<D: Device>(device: &Arc<D>) {
    let k = &kernels(device);
    let [four, five] = [k.upload(&[1.0; 4]), k.upload(&[2.0; 5])];
    let error = error_of(k, || k.shared.write(four.view(), &[0; 5]));
    assert_eq!(error, "copy to the device: the host's side (words) has 5 values where 4 are needed");
    let error = error_of(k, || k.shared.copy(four.view(), five.view()));
    assert_eq!(error, "copy on the device: the destination has 5 values where 4 are needed");
    let error = error_of(k, || k.shared.copy(four.view(), four.view()));
    assert_eq!(error, "copy on the device: the result overlaps the source");
    assert_eq!((k.read(&four), k.read(&five)), (vec![1.0; 4], vec![2.0; 5]));
}

fn row_numbers_stay_in_their_table<D: Device>(device: &Arc<D>) {
    let k = &kernels(device);
    let error = error_of(k, || drop(k.ids(&[0, 6, 7], 7)));
    assert_eq!(error, "row number 7 at position 2 of a table of 7 rows");
    let ids = k.ids(&[0, 6, 3], 7);
    let error = error_of(k, || k.rewrite(&ids, &[1, 2]));
    assert_eq!(error, "copy to the device: the host's side (words) has 2 values where 3 are needed");
    let error = error_of(k, || k.rewrite(&ids, &[1, 9, 2]));
    assert_eq!(error, "row number 9 at position 1 of a table of 7 rows");
    let table = k.upload(&[1.0; 12]);
    let error = error_of(k, || drop(k.gather(&table, &ids, 2)));
    assert_eq!(error, "gather: argument 1 has 12 values where 14 are needed");
    let dims = Linear { tokens: 3, inputs: 1, outputs: 8 };
    let (x, head) = (k.upload(&[1.0; 3]), k.upload(&[1.0; 8]));
    let error = error_of(k, || drop(k.nll(dims, &x, &head, 30.0, &ids)));
    assert_eq!(error, "nll: rows of the table has 7 values where 8 are needed");
    let dims = Linear { tokens: 2, outputs: 7, ..dims };
    let error = error_of(k, || drop(k.nll(dims, &x, &head, 30.0, &ids)));
    assert_eq!(error, "nll: row numbers has 3 values where 2 are needed");
}

fn memory_of_another_device_is_refused<D: Device>(device: &Arc<D>) {
    let (k, other) = (&kernels(device), kernels(device));
    let (mut sum, foreign) = (k.upload(&[1.0; 4]), other.upload(&[1.0; 4]));
    let error = error_of(k, || k.add(&foreign, &mut sum));
    assert_eq!(error, "add: argument 1 is not in this device's memory");
    let error = error_of(k, || drop(k.shared.read(foreign.view())));
    assert_eq!(error, "copy from the device: the buffer is not in this device's memory");
}

fn parts_end_where_their_buffer_does<D: Device>(device: &Arc<D>) {
    let k = &kernels(device);
    let whole = Arc::new(k.upload(&[0.0, 1.0, 2.0, 3.0]));
    let part = Arc::new(Buffer::part(&whole, 1..4).unwrap());
    assert_eq!(k.read(&Buffer::part(&part, 1..3).unwrap()), [2.0, 3.0]);
    let error = Buffer::part(&part, 1..4).err();
    assert_eq!(error, Some(DeviceError::Range { start: 1, end: 4, len: 3 }));
}
