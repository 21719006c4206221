//! zstd over streams, cut into frames, with its settings.

use std::time::Instant;

use rayon::prelude::*;
use zstd::zstd_safe::{CParameter, Strategy};

#[derive(Clone, Copy, Default)]
pub struct Setting {
    pub level: i32,
    /// The fastest strategy with long minimum matches: in practice Huffman codes and nothing else.
    pub literals_only: bool,
    pub window_log: Option<u32>,
    /// Compressed bytes of a block that are aimed at.
    pub target_block: Option<u32>,
}

pub fn compress(bytes: &[u8], setting: Setting, dictionary: &[u8]) -> std::io::Result<usize> {
    let mut compressor = zstd::bulk::Compressor::with_dictionary(setting.level, dictionary)?;
    compressor.set_parameter(CParameter::ContentSizeFlag(false))?;
    compressor.set_parameter(CParameter::ChecksumFlag(false))?;
    if setting.literals_only {
        compressor.set_parameter(CParameter::Strategy(Strategy::ZSTD_fast))?;
        compressor.set_parameter(CParameter::MinMatch(7))?;
    }
    if let Some(log) = setting.window_log {
        compressor.set_parameter(CParameter::WindowLog(log))?;
    }
    if let Some(bytes) = setting.target_block {
        compressor.set_parameter(CParameter::TargetCBlockSize(bytes))?;
    }
    Ok(compressor.compress(bytes)?.len())
}

/// Which layouts to measure.
pub struct Run {
    pub only: String,
}

impl Run {
    pub fn skips(&self, name: &str) -> bool {
        !name.contains(&self.only)
    }

    /// Compresses streams cut into frames, on all cores; 3 bytes a frame are added for its place in a table.
    pub fn measure(&self, name: &str, streams: &[Vec<u8>], setting: Setting, frame: usize) {
        if self.skips(name) {
            return;
        }
        let start = Instant::now();
        let frames: Vec<&[u8]> =
            streams.iter().flat_map(|stream| stream.chunks(frame.min(stream.len().max(1)))).collect();
        match frames.par_iter().map(|bytes| compress(bytes, setting, &[])).sum::<std::io::Result<usize>>() {
            Ok(bytes) => line(name, bytes + 3 * frames.len(), start),
            Err(error) => println!("{name:<58} {error}"),
        }
    }

    /// [`Run::measure`] with a dictionary of at most `size` bytes for each stream, trained on its own frames and counted; streams
    /// of too few frames to train on do without.
    #[cfg(feature = "dictionaries")]
    pub fn measure_trained(&self, name: &str, streams: &[Vec<u8>], setting: Setting, frame: usize, size: usize) {
        if self.skips(name) {
            return;
        }
        let start = Instant::now();
        let (mut bytes, mut dictionaries) = (0, 0);
        for stream in streams {
            let frames: Vec<&[u8]> = stream.chunks(frame).collect();
            let dictionary = zstd::dict::from_samples(&frames, size).unwrap_or_default();
            dictionaries += dictionary.len();
            match frames.par_iter().map(|bytes| compress(bytes, setting, &dictionary)).sum::<std::io::Result<usize>>() {
                Ok(compressed) => bytes += compressed + 3 * frames.len() + dictionary.len(),
                Err(error) => return println!("{name:<58} {error}"),
            }
        }
        line(&format!("{name} ({dictionaries} in dictionaries)"), bytes, start);
    }

    /// Built without the trainer.
    #[cfg(not(feature = "dictionaries"))]
    pub fn measure_trained(&self, name: &str, _: &[Vec<u8>], _: Setting, _: usize, _: usize) {
        if !self.skips(name) {
            println!("{name:<58} needs --features dictionaries");
        }
    }
}

pub fn line(name: &str, bytes: usize, start: Instant) {
    println!("{name:<58} {bytes:>12} {:>8.2}", start.elapsed().as_secs_f64());
}
