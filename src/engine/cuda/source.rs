//! The kernels' source, as one translation unit.

/// The files that only a GPU's compiler understands.
#[cfg(test)]
const INTRINSICS: [&str; 2] = ["intrinsics.cu", "wgmma.cu"];

/// Files in the order they are compiled; what the others use comes first.
pub(super) const FILES: [(&str, &str); 32] = [
    ("common.cu", include_str!("kernels/common.cu")),
    ("intrinsics.cu", include_str!("kernels/intrinsics.cu")),
    ("wgmma.cu", include_str!("kernels/wgmma.cu")),
    ("wgmma_tiles.cu", include_str!("kernels/wgmma_tiles.cu")),
    ("values.cu", include_str!("kernels/values.cu")),
    ("elementwise.cu", include_str!("kernels/elementwise.cu")),
    ("columns.cu", include_str!("kernels/columns.cu")),
    ("norm.cu", include_str!("kernels/norm.cu")),
    ("query_grads.cu", include_str!("kernels/query_grads.cu")),
    ("heads.cu", include_str!("kernels/heads.cu")),
    ("embedding.cu", include_str!("kernels/embedding.cu")),
    ("gated_skip.cu", include_str!("kernels/gated_skip.cu")),
    ("scalars.cu", include_str!("kernels/scalars.cu")),
    ("own_value.cu", include_str!("kernels/own_value.cu")),
    ("head_gate.cu", include_str!("kernels/head_gate.cu")),
    ("residual.cu", include_str!("kernels/residual.cu")),
    ("mix_norm_grad.cu", include_str!("kernels/mix_norm_grad.cu")),
    ("attention.cu", include_str!("kernels/attention.cu")),
    ("attention_bf16_tiles.cu", include_str!("kernels/attention_bf16_tiles.cu")),
    ("attention_bf16.cu", include_str!("kernels/attention_bf16.cu")),
    ("attention_bf16_grad.cu", include_str!("kernels/attention_bf16_grad.cu")),
    ("attention_wgmma.cu", include_str!("kernels/attention_wgmma.cu")),
    ("loss.cu", include_str!("kernels/loss.cu")),
    ("gemm.cu", include_str!("kernels/gemm.cu")),
    ("gemm_bf16_tiles.cu", include_str!("kernels/gemm_bf16_tiles.cu")),
    ("gemm_bf16_epilogue.cu", include_str!("kernels/gemm_bf16_epilogue.cu")),
    ("gemm_bf16.cu", include_str!("kernels/gemm_bf16.cu")),
    ("gemm_wgmma.cu", include_str!("kernels/gemm_wgmma.cu")),
    ("sums.cu", include_str!("kernels/sums.cu")),
    ("adamw.cu", include_str!("kernels/adamw.cu")),
    ("muon.cu", include_str!("kernels/muon.cu")),
    ("effective_weights.cu", include_str!("kernels/effective_weights.cu")),
];

/// Every kernel by the name it has in the source.
pub(super) const KERNELS: [&str; 139] = [
    "add",
    "add_bf16",
    "tails",
    "tails_bf16",
    "gather",
    "gather_bf16",
    "leaky_relu_squared",
    "leaky_relu_squared_bf16",
    "leaky_relu_squared_grad",
    "leaky_relu_squared_grad_bf16",
    "add_skip",
    "add_skip_bf16",
    "smear",
    "smear_bf16",
    "norm_smear",
    "norm_smear_bf16",
    "scatter",
    "scatter_bf16",
    "mix_grad",
    "mix_grad_bf16",
    "add_skip_grad",
    "add_skip_grad_bf16",
    "smear_grad",
    "smear_grad_bf16",
    "rms_norm",
    "rms_norm_bf16",
    "rms_norm_grad",
    "rms_norm_grad_bf16",
    "row_dots",
    "row_dots_bf16",
    "qk_norm_rope",
    "qk_norm_rope_bf16",
    "qk_norm_rope_grad",
    "qk_norm_rope_grad_bf16",
    "fused_mix_rms_norm",
    "fused_mix_rms_norm_bf16",
    "add_residual_rms_norm",
    "add_residual_rms_norm_bf16",
    "mix_rms_norm_grad",
    "mix_rms_norm_grad_bf16",
    "softcap",
    "softcap_bf16",
    "nll",
    "nll_bf16",
    "nll_grad",
    "nll_grad_bf16",
    "sum_parts",
    "sum_parts_bf16",
    "muon_momentum",
    "muon_momentum_bf16",
    "unit_norm",
    "unit_norm_bf16",
    "muon_update",
    "muon_update_bf16",
    "effective_rows",
    "effective_rows_bf16",
    "narrow",
    "repeat",
    "add_gated_skip",
    "add_gated_skip_bf16",
    "add_gated_skip_grad",
    "add_gated_skip_grad_bf16",
    "add_by_scalars",
    "add_by_scalars_bf16",
    "merge_lanes",
    "merge_lanes_bf16",
    "merge_lanes_grad",
    "merge_lanes_grad_bf16",
    "difference_dots",
    "difference_dots_bf16",
    "exclude_own_value",
    "exclude_own_value_bf16",
    "exclude_own_value_grad",
    "exclude_own_value_grad_bf16",
    "gate_heads",
    "gate_heads_bf16",
    "gate_heads_grad",
    "gate_heads_grad_bf16",
    "gate_input_grad",
    "gate_input_grad_bf16",
    "gate_weight_grad",
    "gate_weight_grad_bf16",
    "gated_skip_channels",
    "factor_gradients",
    "count_ids",
    "start_ids",
    "order_ids",
    "column_partials",
    "column_sums",
    "smear_gate_grad",
    "attention_32",
    "attention_32_bf16",
    "attention_grad_q_32",
    "attention_grad_q_32_bf16",
    "attention_grad_kv_32",
    "attention_grad_kv_32_bf16",
    "attention_64",
    "attention_64_bf16",
    "attention_grad_q_64",
    "attention_grad_q_64_bf16",
    "attention_grad_kv_64",
    "attention_grad_kv_64_bf16",
    "attention_128",
    "attention_128_bf16",
    "attention_grad_q_128",
    "attention_grad_q_128_bf16",
    "attention_grad_kv_128",
    "attention_grad_kv_128_bf16",
    "tensor_attention_sums",
    "tensor_query_grads",
    "tensor_qk_norm_rope_grad",
    "tensor_attention_32",
    "tensor_attention_grad_32",
    "tensor_attention_64",
    "tensor_attention_grad_64",
    "tensor_attention_128",
    "tensor_attention_grad_128",
    "wgmma_attention_64",
    "gemm_f32",
    "gemm_bf16_nn",
    "gemm_bf16_nt",
    "gemm_bf16_tn",
    "gemm_bf16_tt",
    "wide_gemm_bf16_nn",
    "wide_gemm_bf16_nt",
    "wide_gemm_bf16_tn",
    "gemm_bf16_any",
    "wgmma_gemm_bf16_nn",
    "wgmma_gemm_bf16_nt",
    "wide_wgmma_gemm_bf16_nn",
    "wide_wgmma_gemm_bf16_nt",
    "sum_split_k",
    "sum_totals",
    "scale",
    "count_bad",
    "clip_factor",
    "adamw",
    "unfold_rows",
    "scale_gradients",
];

/// The translation unit; `#line` makes a compiler's messages name file and line.
pub(super) fn whole() -> String {
    text(|_| true)
}

/// The same for the processor: without what `tests/kernels/tensor.h` and `wgmma.h` have instead.
#[cfg(test)]
pub(super) fn portable() -> String {
    text(|name| !INTRINSICS.contains(&name))
}

fn text(is_wanted: impl Fn(&str) -> bool) -> String {
    let wanted = FILES.iter().filter(|(name, _)| is_wanted(name));
    wanted.map(|(name, text)| format!("#line 1 \"{name}\"\n{text}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_of_the_source_is_listed() {
        let text = whole();
        let named = |line: &str| Some(line.split_once("__global__ void ")?.1.split_once('(')?.0.to_string());
        // A macro's name stands for a kernel of either kind of values.
        let both = |name: String| match name.strip_suffix("##SUFFIX") {
            Some(name) => vec![name.to_string(), format!("{name}_bf16")],
            None => vec![name],
        };
        let is_plain = |name: &String| !name.starts_with("__") && name != "NAME";
        let mut found: Vec<String> = text.lines().filter_map(named).filter(is_plain).flat_map(both).collect();
        // The macros' kernels, whose names stand on the line after their bounds.
        for width in [32, 64, 128] {
            for suffix in ["", "_bf16"] {
                assert!(text.contains(&format!("\nATTENTION({width}, ")));
                found.extend(["", "_grad_q", "_grad_kv"].map(|kind| format!("attention{kind}_{width}{suffix}")));
            }
            assert!(text.contains(&format!("\nTENSOR_ATTENTION({width}, ")));
            found.extend(["", "_grad"].map(|kind| format!("tensor_attention{kind}_{width}")));
        }
        // One whose name stands there without a macro.
        assert!(text.contains("\n    wgmma_attention_64(const "));
        found.push("wgmma_attention_64".into());
        // And those of products, whose names are the macro's first argument.
        let of_macro = |line: &str| {
            let arguments = line.strip_prefix("GEMM_BF16(").or_else(|| line.strip_prefix("GEMM_WGMMA("))?;
            Some(arguments.split_once(',')?.0.to_string())
        };
        found.extend(text.lines().filter_map(of_macro));
        found.sort();
        let mut listed: Vec<String> = KERNELS.iter().map(ToString::to_string).collect();
        listed.sort();
        assert_eq!(found, listed);
    }
}
