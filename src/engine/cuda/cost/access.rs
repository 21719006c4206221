//! What kernels read and write, and what they compute.

use super::operation::{Kind, Operation};
use crate::engine::cuda::device::{Argument, DType, Launch};
use crate::engine::cuda::error::DeviceError;
use crate::engine::cuda::gemm::{GemmDesc, product_name};

/// What a kernel does with each of its operands in memory, in their order. A test holds this against the kernels'
/// declarations.
///
/// * `r`: read.
/// * `s`: some of it is read, as much as is written.
/// * `w`: written.
/// * `b`: both.
/// * `f`: written, and read too where the last 32-bit argument is not 0.
pub(super) const ACCESS: [(&str, &str); 77] = [
    ("adamw", "bbbrr"),
    ("attention_128", "rrrww"),
    ("attention_32", "rrrww"),
    ("attention_64", "rrrww"),
    ("attention_grad_kv_128", "rrrrrrww"),
    ("attention_grad_kv_32", "rrrrrrww"),
    ("attention_grad_kv_64", "rrrrrrww"),
    ("attention_grad_q_128", "rrrrrrw"),
    ("attention_grad_q_32", "rrrrrrw"),
    ("attention_grad_q_64", "rrrrrrw"),
    ("wgmma_attention_64", "rrrww"),
    ("tensor_attention_sums", "rrrww"),
    ("tensor_attention_128", "rrrww"),
    ("tensor_attention_32", "rrrww"),
    ("tensor_attention_64", "rrrww"),
    ("tensor_attention_grad_128", "rrrrrbwww"),
    ("tensor_attention_grad_32", "rrrrrbwww"),
    ("tensor_attention_grad_64", "rrrrrbwww"),
    ("tensor_query_grads", "rw"),
    ("tensor_qk_norm_rope_grad", "rrwwrrr"),
    ("column_partials", "rw"),
    ("column_sums", "rb"),
    ("mix_grad", "rrrbbw"),
    ("mix_rms_norm_grad", "rrrrbbw"),
    ("add_skip_grad", "rrrww"),
    ("smear_grad", "rrrrbw"),
    ("smear_gate_grad", "rrb"),
    ("effective_rows", "rwwr"),
    ("unfold_rows", "rbrw"),
    ("scale_gradients", "rb"),
    ("add", "rb"),
    ("narrow", "rw"),
    ("repeat", "rw"),
    ("tails", "sw"),
    ("gather", "srw"),
    ("leaky_relu_squared", "rw"),
    ("leaky_relu_squared_grad", "rb"),
    ("add_skip", "rrb"),
    ("smear", "rrrw"),
    ("norm_smear", "rrrw"),
    ("count_ids", "rw"),
    ("start_ids", "b"),
    ("order_ids", "rrw"),
    ("scatter", "rrrb"),
    ("add_gated_skip", "rrrb"),
    ("add_gated_skip_grad", "rrrrbww"),
    ("gated_skip_channels", "rrbb"),
    ("sum_split_k", "rrw"),
    ("qk_norm_rope", "rwrrr"),
    ("qk_norm_rope_grad", "rrwwrrr"),
    ("softcap", "b"),
    ("nll", "rrw"),
    ("nll_grad", "brw"),
    ("muon_momentum", "brwr"),
    ("unit_norm", "br"),
    ("muon_update", "brr"),
    ("rms_norm", "rw"),
    ("rms_norm_grad", "rrf"),
    ("row_dots", "rrw"),
    ("exclude_own_value", "rrw"),
    ("exclude_own_value_grad", "rrbw"),
    ("gate_heads", "rrrw"),
    ("gate_heads_grad", "rrrbw"),
    ("gate_input_grad", "rrb"),
    ("gate_weight_grad", "rrb"),
    ("fused_mix_rms_norm", "rrrrrrrwww"),
    ("add_residual_rms_norm", "brrw"),
    ("add_by_scalars", "rrrb"),
    ("factor_gradients", "rrrbb"),
    ("merge_lanes", "rrrw"),
    ("merge_lanes_grad", "rrww"),
    ("difference_dots", "rrrw"),
    ("sum_parts", "rw"),
    ("sum_totals", "rf"),
    ("scale", "b"),
    ("count_bad", "rw"),
    ("clip_factor", "rrw"),
];

/// Hyperbolic tangents and exponentials of one logit, where a warp keeps a token's logits and where it does not.
const SPECIAL: [(&str, [u64; 2]); 3] = [("softcap", [1, 1]), ("nll", [2, 3]), ("nll_grad", [2, 5])];

/// Largest vocabulary whose logits a warp keeps (`KEPT_LOGITS` in `loss.cu`).
const KEPT_LOGITS: u64 = 1024;

/// Products of attention as floating-point operations for a pair of query and key and a channel: two in the forward pass;
/// for gradients five on tensor cores, and otherwise three in the kernel for those of queries, four in the one for those of
/// keys and values.
const PRODUCTS: [(&str, u64); 4] =
    [("attention_grad_q", 3), ("attention_grad_kv", 4), ("attention_grad", 5), ("attention", 2)];

/// Keys of a block of attention's gradients on tensor cores, by the width that the kernel is compiled for.
const KEYS_A_BLOCK: [(&str, u64); 3] =
    [("tensor_attention_grad_32", 128), ("tensor_attention_grad_64", 128), ("tensor_attention_grad_128", 64)];

/// A launch's arguments by their kind, each in the order of the declaration.
struct Arguments {
    /// Bytes of operands in memory.
    bytes: Vec<u64>,
    narrow: Vec<u64>,
    wide: Vec<u64>,
    single: Vec<f32>,
}

impl Arguments {
    fn of(arguments: &[Argument]) -> Self {
        let mut found = Arguments { bytes: Vec::new(), narrow: Vec::new(), wide: Vec::new(), single: Vec::new() };
        for argument in arguments {
            match *argument {
                Argument::Address { bytes, .. } => found.bytes.push(bytes as u64),
                Argument::U32(value) => found.narrow.push(u64::from(value)),
                Argument::U64(value) => found.wide.push(value),
                Argument::F32(value) => found.single.push(value),
                Argument::F64(_) => {}
            }
        }
        found
    }

    /// Bytes read and written.
    fn moved(&self, access: &str) -> (u64, u64) {
        let operands = || access.chars().zip(self.bytes.iter().copied());
        let written = operands().filter(|(access, _)| "wbf".contains(*access)).map(|(_, bytes)| bytes).sum();
        let is_added = self.narrow.last().is_some_and(|&flag| flag != 0);
        let read = |(access, bytes): (char, u64)| match access {
            'r' | 'b' => bytes,
            'f' if is_added => bytes,
            's' => bytes.min(written),
            _ => 0,
        };
        (operands().map(read).sum(), written)
    }
}

/// A kernel's name without what tells the types it is compiled for apart.
pub(super) fn base(kernel: &str) -> &str {
    kernel.strip_suffix("_bf16").unwrap_or(kernel)
}

fn unknown(kernel: &str) -> DeviceError {
    DeviceError::new("what a kernel reads and writes is not known", kernel)
}

/// A launch.
pub(super) fn of_launch(launch: &Launch<'_>) -> Result<Operation, DeviceError> {
    let arguments = Arguments::of(launch.arguments);
    if launch.kernel.contains("gemm_") {
        return of_own_product(launch, &arguments).ok_or_else(|| unknown(launch.kernel));
    }
    let name = base(launch.kernel);
    let known = ACCESS.iter().find(|(kernel, access)| *kernel == name && access.len() == arguments.bytes.len());
    let (_, access) = known.ok_or_else(|| unknown(launch.kernel))?;
    let (read, written) = arguments.moved(access);
    let (kind, flops) = match attention(launch.kernel, &arguments) {
        Some(found) => found,
        None => (Kind::Memory, 0),
    };
    let values = |bytes: u64| bytes / if launch.kernel == name { 4 } else { 2 };
    let special = SPECIAL.iter().find(|(kernel, _)| *kernel == name);
    let special = special.map_or(0, |(_, [kept, again])| {
        let is_kept = arguments.narrow.first().is_some_and(|&vocab| vocab <= KEPT_LOGITS);
        let logits = arguments.bytes.first().map_or(0, |&bytes| values(bytes));
        logits * if is_kept { kept } else { again }
    });
    // Every row of the table looks through all ids.
    let passes = if matches!(name, "count_ids" | "order_ids") { arguments.wide.last().copied() } else { None };
    let cached = match passes {
        Some(passes) => passes * arguments.bytes.first().copied().unwrap_or(0),
        None => added_up(launch.kernel, &arguments),
    };
    Ok(Operation { name: launch.kernel.into(), kind, grid: launch.grid, read, written, cached, flops, special })
}

/// Kind and floating-point operations of attention.
fn attention(kernel: &str, arguments: &Arguments) -> Option<(Kind, u64)> {
    let wgmma = kernel.strip_prefix("wgmma_");
    let tensor = kernel.strip_prefix("tensor_").or(wgmma);
    let (_, products) = PRODUCTS.iter().find(|(prefix, _)| tensor.unwrap_or(kernel).starts_with(prefix))?;
    if kernel == "tensor_attention_sums" {
        return None;
    }
    let (&seq_len, &width) = (arguments.narrow.first()?, arguments.narrow.last()?);
    // Gradients are those of all queries.
    let first = if *products == 2 { *arguments.narrow.get(1)? } else { 0 };
    let value_bytes = if tensor.is_some() || kernel.ends_with("_bf16") { 2 } else { 4 };
    let heads = arguments.bytes.first()? / value_bytes / ((seq_len - first) * width).max(1);
    // A query has itself and all keys before it.
    let pairs = heads * (seq_len * (seq_len + 1) - first * (first + 1)) / 2;
    let kind = match (tensor, products) {
        (None, _) => Kind::SingleAttention,
        (Some(_), 2) if wgmma.is_some() => Kind::WgmmaAttention,
        (Some(_), 2) => Kind::Attention,
        (Some(_), _) => Kind::AttentionGrad,
    };
    Some((kind, 2 * products * width * pairs))
}

/// Bytes of queries' gradients that attention reads and writes again: every block of keys adds to those of the queries that
/// see its keys, and the first of them writes what nobody has read.
fn added_up(kernel: &str, arguments: &Arguments) -> u64 {
    let Some((_, keys)) = KEYS_A_BLOCK.iter().find(|(name, _)| *name == kernel) else { return 0 };
    let (&[seq_len, padded, ..], Some(&sums)) = (&arguments.narrow[..], arguments.bytes.get(6)) else { return 0 };
    let blocks_before: u64 = (0..seq_len).map(|query| query / keys).sum();
    2 * blocks_before * (sums / padded.max(1))
}

/// A product by this crate's kernels: factors, what is added or made beside it, and the result.
fn of_own_product(launch: &Launch<'_>, arguments: &Arguments) -> Option<Operation> {
    let (&[a, b, other, out], &[m, n, k, ..]) = (&arguments.bytes[..], &arguments.narrow[..]) else { return None };
    let is_single = launch.kernel == "gemm_f32";
    let (batch, epilogue) = match (is_single, &arguments.narrow[..]) {
        (true, _) => (u64::from(launch.grid[1]), 0),
        (false, &[_, _, _, part, _, epilogue, ..]) => {
            (u64::from(launch.grid[1]) / k.div_ceil(part.max(1)).max(1), epilogue)
        }
        _ => return None,
    };
    let is_added = arguments.single.get(1).is_some_and(|&beta| beta != 0.0);
    let (more_read, more_written, what) = match epilogue {
        0 | 1 => (if is_added { other } else { 0 }, 0, ""),
        2 => (0, other, ", squared"),
        3 => (other, 0, ", gradient of the square"),
        _ => (other + out, 0, ", added to the stream"),
    };
    Some(Operation {
        name: format!("{}, {m} x {k} x {n}{what}", launch.kernel),
        kind: match is_single {
            true => Kind::SingleProduct,
            false if launch.kernel.contains("wgmma") => Kind::WgmmaProduct,
            false => Kind::OwnProduct,
        },
        grid: launch.grid,
        read: a + b + more_read,
        written: out + more_written,
        cached: 0,
        flops: 2 * m * n * k * batch,
        special: 0,
    })
}

/// A product by the library.
pub(super) fn of_product(gemm: &GemmDesc<'_>) -> Operation {
    let GemmDesc { m, n, k, a_transposed, b_transposed, beta, a, b, c, out, batch, .. } = *gemm;
    let [factors, _] = gemm.dtypes();
    let product = product_name([m, n, k], [a_transposed, b_transposed], gemm.dtypes(), batch.count);
    let sum = if beta == 0.0 { "" } else { ", added" };
    // A matrix times itself is read once.
    let second = if a.address() == b.address() { 0 } else { b.bytes() };
    Operation {
        name: format!("cuBLASLt {product}{sum}"),
        kind: if factors == DType::Bf16 { Kind::LibraryProduct } else { Kind::SingleProduct },
        grid: [0; 2],
        read: (a.bytes() + second + if beta == 0.0 { 0 } else { c.bytes() }) as u64,
        written: out.bytes() as u64,
        cached: 0,
        flops: 2 * (m * n * k * batch.count) as u64,
        special: 0,
    }
}
