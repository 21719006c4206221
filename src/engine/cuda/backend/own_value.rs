//! Attention's output without what points along the query's own value.

use super::CudaKernels;
use super::attention::{Lengths, WIDEST_HEAD, check_heads};
use super::launch::{len32, values};
use crate::engine::cuda::device::Device;
use crate::engine::cuda::memory::Buffer;
use crate::engine::network::Heads;

/// Numbers of values, and of rows of the batch.
fn lengths<D: Device>(heads: Heads, v: &Buffer<D>) -> Lengths {
    Lengths::new(heads, v.len() / (heads.seq_len * heads.kv_heads * heads.width).max(1))
}

pub(super) fn exclude<D: Device>(k: &CudaKernels<D>, heads: Heads, mixed: &Buffer<D>, v: &Buffer<D>) -> Buffer<D> {
    check_heads(k, "exclude_own_value", heads, WIDEST_HEAD);
    let (y, dtype, lengths) = (k.like(mixed), mixed.dtype(), lengths(heads, v));
    let tensors = [(mixed, lengths.queries), (v, lengths.keys), (&y, lengths.queries)];
    let dims = [heads.seq_len, heads.first_query, heads.heads, heads.kv_heads, heads.width].map(len32);
    let operands = [&tensors.map(|(x, len)| values(x, dtype, len))[..], &dims].concat();
    let kernel = dtype.select(["exclude_own_value", "exclude_own_value_bf16"]);
    // SAFETY: the kernel takes heads of this width (checked above), reads the outputs of all queries and the values of
    // their tokens, and writes as many outputs; a row is a head of a query.
    unsafe { k.rows(kernel, lengths.lse, &operands) };
    y
}

pub(super) fn exclude_grad<D: Device>(
    k: &CudaKernels<D>,
    heads: Heads,
    mixed: &Buffer<D>,
    v: &Buffer<D>,
    grad: &Buffer<D>,
) -> Buffer<D> {
    check_heads(k, "exclude_own_value_grad", heads, WIDEST_HEAD);
    k.check_at_most("exclude_own_value_grad", "first query", heads.first_query, 0);
    let (grad_v, dtype, lengths) = (k.like(v), mixed.dtype(), lengths(heads, v));
    let tensors = [(mixed, lengths.queries), (v, lengths.keys), (grad, lengths.queries), (&grad_v, lengths.keys)];
    let dims = [heads.heads / heads.kv_heads.max(1), heads.width].map(len32);
    let operands = [&tensors.map(|(x, len)| values(x, dtype, len))[..], &dims].concat();
    let kernel = dtype.select(["exclude_own_value_grad", "exclude_own_value_grad_bf16"]);
    // SAFETY: as in `exclude`, where all queries are present (checked above); a row is a head of a value, whose query heads
    // it alone reads and writes.
    unsafe { k.rows(kernel, lengths.keys / heads.width.max(1), &operands) };
    grad_v
}
