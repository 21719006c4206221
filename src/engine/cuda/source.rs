//! The kernels' source, as one translation unit.

/// The file that only a GPU's compiler understands.
const INTRINSICS: &str = "intrinsics.cu";

/// Files in the order they are compiled; what the others use comes first.
pub(super) const FILES: [(&str, &str); 13] = [
    ("common.cu", include_str!("kernels/common.cu")),
    (INTRINSICS, include_str!("kernels/intrinsics.cu")),
    ("elementwise.cu", include_str!("kernels/elementwise.cu")),
    ("columns.cu", include_str!("kernels/columns.cu")),
    ("norm.cu", include_str!("kernels/norm.cu")),
    ("attention.cu", include_str!("kernels/attention.cu")),
    ("loss.cu", include_str!("kernels/loss.cu")),
    ("product.cu", include_str!("kernels/product.cu")),
    ("product_bf16.cu", include_str!("kernels/product_bf16.cu")),
    ("sums.cu", include_str!("kernels/sums.cu")),
    ("adamw.cu", include_str!("kernels/adamw.cu")),
    ("muon.cu", include_str!("kernels/muon.cu")),
    ("quantise.cu", include_str!("kernels/quantise.cu")),
];

/// Every kernel by the name it has in the source.
pub(super) const KERNELS: [&str; 57] = [
    "add",
    "round_bf16",
    "tails",
    "gather",
    "scatter",
    "relu_squared",
    "relu_squared_grad",
    "mix",
    "add_skip",
    "smear",
    "column_partials",
    "column_sums",
    "mix_grad",
    "add_skip_grad",
    "smear_grad",
    "smear_gate_grad",
    "rms_norm",
    "rms_norm_grad",
    "prepare",
    "prepare_grad",
    "row_dots",
    "attention_32",
    "attention_grad_q_32",
    "attention_grad_kv_32",
    "attention_64",
    "attention_grad_q_64",
    "attention_grad_kv_64",
    "attention_128",
    "attention_grad_q_128",
    "attention_grad_kv_128",
    "softcap",
    "nll",
    "nll_grad",
    "product",
    "product_bf16_nn",
    "product_bf16_nt",
    "product_bf16_tn",
    "product_bf16_tt",
    "wide_product_bf16_nn",
    "wide_product_bf16_nt",
    "wide_product_bf16_tn",
    "product_bf16_any",
    "product_parts",
    "sum_parts",
    "sum_totals",
    "scale",
    "clip_factor",
    "adamw",
    "muon_momentum",
    "unit_norm",
    "schulz_scaled",
    "schulz_polynomial",
    "schulz_step",
    "muon_update",
    "effective_rows",
    "unfold_rows",
    "scale_gradients",
];

/// The translation unit; `#line` makes a compiler's messages name file and line.
pub(super) fn whole() -> String {
    text(|_| true)
}

/// The same for the processor: without what `tests/kernels/tensor.h` has instead.
#[cfg(test)]
pub(super) fn portable() -> String {
    text(|name| name != INTRINSICS)
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
        let mut found: Vec<String> = text.lines().filter_map(named).filter(|name| !name.starts_with("__")).collect();
        // The macro's kernels, whose names stand on the line after their bounds.
        for width in [32, 64, 128] {
            assert!(text.contains(&format!("\nATTENTION({width}, ")));
            found.extend(["", "_grad_q", "_grad_kv"].map(|kind| format!("attention{kind}_{width}")));
        }
        // And those of products, whose names are the macro's first argument.
        let of_macro = |line: &str| Some(line.strip_prefix("PRODUCT_BF16(")?.split_once(',')?.0.to_string());
        found.retain(|name| name != "NAME");
        found.extend(text.lines().filter_map(of_macro));
        found.sort();
        let mut listed: Vec<String> = KERNELS.iter().map(ToString::to_string).collect();
        listed.sort();
        assert_eq!(found, listed);
    }
}
