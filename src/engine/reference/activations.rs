//! What flows through the network, by name.

use std::collections::BTreeMap;

use dfdx::prelude::*;

use super::Recorder;
use super::hardware::Hardware;

/// Values between the layers, row-major, in single precision.
///
/// Residual-stream values are `[rows, tokens, D]`: `tok_emb_out`, `bigram_out`, `after_input_rmsnorm`,
/// `x0_after_smear`, `final_norm_out`, and for every block `blockN.in` (after the skip), `blockN.out`, `blockN.attn_out`
/// and `blockN.mlp_out` (both before their channel scales). Inside attention they are `[rows, heads, tokens, d]`:
/// `blockN.q_roped_gained`, `blockN.k_roped`, `blockN.v`, `blockN.sdpa_out`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Activations(pub BTreeMap<String, Vec<f32>>);

/// Where the forward pass shows its intermediate values; usually nowhere.
pub(super) struct Probe<'a> {
    kept: Option<&'a mut Activations>,
    prefix: String,
}

impl<'a> Probe<'a> {
    /// Keeps nothing.
    pub(super) fn none() -> Self {
        Probe { kept: None, prefix: String::new() }
    }

    /// Keeps everything.
    pub(super) fn into(kept: &'a mut Activations) -> Self {
        Probe { kept: Some(kept), prefix: String::new() }
    }

    /// Puts the block's number before the names that follow.
    pub(super) fn fused_mix_rms_norm_rows(&mut self, block: usize) {
        if self.kept.is_some() {
            self.prefix = format!("block{block}.");
        }
    }

    /// Back to names without a block.
    pub(super) fn leave_blocks(&mut self) {
        self.prefix.clear();
    }

    /// Shows a value in its logical order, whatever its strides.
    pub(super) fn see<S: Shape, D: Hardware, T: Recorder<D>>(&mut self, name: &str, value: &Tensor<S, f32, D, T>) {
        if let Some(kept) = &mut self.kept {
            kept.0.insert(format!("{}{name}", self.prefix), value.as_vec());
        }
    }
}
