//! The lines the challenge's scripts end their logs with, so that tools that read those read these.

use std::time::Duration;

use super::{Report, Weights, Windowing};

/// Final lines of a training log (PR #286): the packed model, sliding windows. `None` if that was not scored.
///
/// `elapsed` holds the time of each pass of the report, in its order.
pub fn log_lines(report: &Report, elapsed: &[Duration]) -> Option<String> {
    let wanted = (Weights::Packed, Windowing::Sliding, false);
    let position = report.passes.iter().position(|pass| (pass.weights, pass.windowing, pass.learns) == wanted)?;
    let (loss, bpb) = report.passes[position].numbers()?;
    let time = elapsed.get(position).map_or(0, Duration::as_millis);
    let batch = report.run.map_or(0, |run| run.batch_windows);
    let basis = &report.basis;
    Some(format!(
        "final_eval_mode:sliding_window seq_len:{} stride:{} batch_seqs:{batch}\n\
         final_mixed_int5int6_roundtrip val_loss:{loss:.4} val_bpb:{bpb:.4} eval_time:{time}ms\n\
         final_mixed_int5int6_roundtrip_exact val_loss:{loss:.8} val_bpb:{bpb:.8}\n",
        basis.seq_len, basis.stride,
    ))
}
