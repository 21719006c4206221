//! Runs a network over training text, and sums the Hessians that its rules round by.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::Hessians;
use crate::data::{Calibration, CalibrationError};
use crate::engine::{EngineError, LayerInputs};
use crate::interrupt::{Interrupt, Interrupted};
use crate::manifest::{HessianRecord, Manifest};
use crate::model::{LinearInput, Params};
use crate::progress::Progress;
use crate::quant::{DAMPING, HessianError, HessianSum};
use crate::units::Bytes;

/// Most memory of all sums together: nine times what PR #1394's network takes.
const MAX_SUM_BYTES: u64 = 1 << 32;
/// Most memory of activations that wait to be added. A sequence that takes more is run alone.
const MAX_WAITING_BYTES: usize = 1 << 30;

/// Why there are no Hessians.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrateError {
    /// No text to run on.
    #[error("rounding gptq: {0}")]
    Data(#[from] CalibrationError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Activations that are not whole tokens.
    #[error(transparent)]
    Hessian(#[from] HessianError),
    /// The layers are too wide.
    #[error(
        "rounding gptq: Hessians of {inputs} layer inputs take {bytes} bytes of memory; at most {} are supported",
        Bytes(MAX_SUM_BYTES)
    )]
    TooLarge {
        /// Inputs.
        inputs: usize,
        /// Memory of their sums.
        bytes: Bytes,
    },
    /// The user stopped it.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Where the text comes from.
#[derive(Clone, Debug)]
pub struct CalibrationSource {
    /// Folder that the manifest's relative paths start from.
    pub folder: PathBuf,
    /// The shard; `None` for the manifest's first training shard.
    pub shard: Option<PathBuf>,
}

/// The Hessians of some inputs ([`needed_hessians`](super::needed_hessians)); `None` of none.
///
/// Sums are in double precision, sequence after sequence, so that they are the same for any number of threads. They take
/// 8 bytes times the square of each input's width, 440 MB for PR #1394's network; activations of a few sequences at a
/// time come on top, up to 1 GiB.
pub fn calibrate(
    manifest: &Manifest,
    source: &CalibrationSource,
    weights: &Params,
    needed: Vec<LinearInput>,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<Option<Hessians>, CalibrateError> {
    let model = &manifest.model;
    if needed.is_empty() {
        return Ok(None);
    }
    let calibration = Calibration::for_hessians(manifest, &source.folder, source.shard.as_deref())?;
    let channels = needed.iter().map(|input| input.channels(model) as u64);
    let bytes = Bytes(channels.fold(0, |sum, n| sum.saturating_add(n.saturating_mul(n).saturating_mul(8))));
    if bytes.0 > MAX_SUM_BYTES {
        return Err(CalibrateError::TooLarge { inputs: needed.len(), bytes });
    }
    let sequences: Vec<&[u16]> = calibration.sequences().collect();
    let model = &model.clone().in_rows_of(calibration.seq_len as usize);
    let inputs = LayerInputs::new(model, weights, needed.clone())?;
    let mut sums: Vec<(LinearInput, HessianSum)> =
        needed.into_iter().map(|input| (input, HessianSum::new(input.channels(model)))).collect();
    progress.note(format!("Hessians of {}", calibration.path.display()));
    progress.set_len(sequences.len() as u64);
    for wave in sequences.chunks(at_a_time(&sums, calibration.seq_len as usize)) {
        interrupt.check()?;
        let seen = wave.par_iter().map(|sequence| inputs.of(sequence)).collect::<Result<Vec<_>, _>>()?;
        for (input, sum) in &mut sums {
            for sequence in &seen {
                for (_, values) in sequence.iter().filter(|(of, _)| of == input) {
                    sum.add(values)?;
                }
                sum.end_batch();
            }
        }
        progress.advance(wave.len() as u64);
    }
    calibration.check_unchanged()?;
    let record = HessianRecord {
        shard: file_name(&calibration.path),
        content: calibration.digest,
        sequences: sequences.len() as u64,
        seq_len: calibration.seq_len,
        damping: DAMPING,
    };
    Ok(Some(Hessians::new(sums, model, record)))
}

/// Sequences to run side by side: as many as there are threads, where their activations are not too much.
fn at_a_time(sums: &[(LinearInput, HessianSum)], seq_len: usize) -> usize {
    let channels: usize = sums.iter().map(|(_, sum)| sum.channels()).sum();
    let bytes = channels.saturating_mul(seq_len).saturating_mul(size_of::<f32>());
    (MAX_WAITING_BYTES / bytes.max(1)).clamp(1, rayon::current_num_threads().max(1))
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
