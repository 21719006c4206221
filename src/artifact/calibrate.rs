//! Runs a network over training text, and sums the Hessians that its rules round by.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::Hessians;
use super::own_text::{MAX_MEMORY_BYTES, OwnText};
use crate::data::{Calibration, CalibrationError};
use crate::digest::ContentDigest;
use crate::engine::{EngineError, LayerInputs};
use crate::interrupt::{Interrupt, Interrupted};
use crate::manifest::{CalibrationConfig, CalibrationText, HessianRecord, Manifest, WrittenText};
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
    /// The model writes its own text, in sequences whose keys and values do not fit.
    #[error(
        "rounding gptq: to write sequences of {tokens} tokens the network keeps {bytes} bytes of keys and values; at most \
         {} are supported; lower quantization.calibration.seq_len",
        Bytes(MAX_MEMORY_BYTES as u64)
    )]
    TooLong {
        /// Tokens of a sequence.
        tokens: usize,
        /// Keys and values of the sequences that are written side by side.
        bytes: Bytes,
    },
    /// The model writes its own text, and a shard is named as well.
    #[error(
        "rounding gptq: a shard is named, and with quantization.calibration.text model the network writes its text itself; \
         leave one of them out"
    )]
    ShardBesideOwnText,
    /// Weights that give no probabilities.
    #[error(
        "rounding gptq: the network cannot write: its logits are no numbers; the weights are damaged or training diverged"
    )]
    NoLogits,
    /// The user stopped it.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Where training text comes from.
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
/// time come on top, up to 1 GiB. Where the model writes the text, its keys and values take up to 2 GiB before that.
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
    let channels = needed.iter().map(|input| input.channels(model) as u64);
    let bytes = Bytes(channels.fold(0, |sum, n| sum.saturating_add(n.saturating_mul(n).saturating_mul(8))));
    if bytes.0 > MAX_SUM_BYTES {
        return Err(CalibrateError::TooLarge { inputs: needed.len(), bytes });
    }
    let text = Text::open(manifest, source, weights, progress, interrupt)?;
    let sequences = text.sequences();
    let model = &model.clone().in_rows_of(text.seq_len());
    let inputs = LayerInputs::new(model, weights, needed.clone())?;
    let mut sums: Vec<(LinearInput, HessianSum)> =
        needed.into_iter().map(|input| (input, HessianSum::new(input.channels(model)))).collect();
    progress.note(format!("Hessians of {text}"));
    progress.set_len(sequences.len() as u64);
    progress.set_position(0);
    for wave in sequences.chunks(at_a_time(&sums, text.seq_len())) {
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
    let record = text.record(sequences.len() as u64)?;
    Ok(Some(Hessians::new(sums, model, record)))
}

/// What Hessians are summed over.
enum Text {
    Training(Calibration),
    Own { sequences: Vec<Vec<u16>>, seq_len: usize, written: WrittenText },
}

impl Text {
    /// Reads it, or has the model write it.
    fn open(
        manifest: &Manifest,
        source: &CalibrationSource,
        weights: &Params,
        progress: &Progress,
        interrupt: &Interrupt,
    ) -> Result<Self, CalibrateError> {
        let CalibrationConfig { text, temperature, sequences, seq_len } =
            manifest.quantization.calibration.clone().unwrap_or_default();
        if text == CalibrationText::Training {
            return Ok(Text::Training(Calibration::for_hessians(manifest, &source.folder, source.shard.as_deref())?));
        }
        if source.shard.is_some() {
            return Err(CalibrateError::ShardBesideOwnText);
        }
        let seed = manifest.schedule.seed;
        let seq_len = seq_len.unwrap_or(manifest.schedule.train_seq_len) as usize;
        let own = OwnText {
            model: &manifest.model,
            weights,
            seed,
            temperature,
            sequences: sequences as usize,
            length: seq_len,
        };
        let sequences = own.write(progress, interrupt)?;
        Ok(Text::Own { sequences, seq_len, written: WrittenText { temperature, seed } })
    }

    /// What the network is run on: of text it wrote all but the last token of each sequence, which it has not read.
    fn sequences(&self) -> Vec<&[u16]> {
        match self {
            Text::Training(calibration) => calibration.sequences().collect(),
            Text::Own { sequences, .. } => {
                sequences.iter().filter_map(|sequence| Some(sequence.split_last()?.1)).collect()
            }
        }
    }

    fn seq_len(&self) -> usize {
        match self {
            Text::Training(calibration) => calibration.seq_len as usize,
            Text::Own { seq_len, .. } => *seq_len,
        }
    }

    /// What an artifact records of it; an error if the shard is another one by now.
    fn record(&self, sequences: u64) -> Result<HessianRecord, CalibrateError> {
        let (shard, content, written) = match self {
            Text::Training(calibration) => {
                calibration.check_unchanged()?;
                (file_name(&calibration.path), calibration.digest, None)
            }
            Text::Own { sequences, written, .. } => {
                let bytes: Vec<u8> = sequences.iter().flatten().flat_map(|token| token.to_le_bytes()).collect();
                (String::new(), ContentDigest::of(&bytes), Some(written.clone()))
            }
        };
        let seq_len = self.seq_len() as u64;
        Ok(HessianRecord { shard, content, written, sequences, seq_len, damping: DAMPING, without: Vec::new() })
    }
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Text::Training(calibration) => write!(f, "{}", calibration.path.display()),
            Text::Own { .. } => f.write_str("what the model wrote"),
        }
    }
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
