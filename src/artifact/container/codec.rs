//! zstd frames of an artifact's streams.

use std::io::Read;

use zstd::zstd_safe::{self, CParameter, Strategy};

/// Version of the zstd library linked in, such as `1.5.7`.
pub(in crate::artifact) fn zstd_version() -> String {
    zstd_safe::version_string().to_string()
}

/// Highest level that is cheap enough to ask whether a frame repeats itself at all.
const PROBE_LEVEL: i32 = 9;
/// Frames up to this size are tried at the full level whatever the probe says.
const SMALL_FRAME: usize = 1 << 16;

/// The smallest of a few zstd frames, without checksum and dictionary id: the file's checksum covers it.
///
/// Quantized weights hardly ever repeat, and the short matches that high levels find in them cost more than
/// the literals they replace: Huffman codes alone are smaller and take a hundredth of the time (docs/packing.md).
/// A search for matches at full level is worth its time only where a cheap one already gains.
/// Single-threaded, so the bytes depend on input, level and library version only.
pub(super) fn compress(bytes: &[u8], level: i32) -> std::io::Result<Vec<u8>> {
    let literals = one_frame(bytes, 1, true)?;
    let probe = one_frame(bytes, level.min(PROBE_LEVEL), false)?;
    let repeats = probe.len() < literals.len();
    let best = if repeats { probe } else { literals };
    if level > PROBE_LEVEL && (repeats || bytes.len() <= SMALL_FRAME) {
        let searched = one_frame(bytes, level, false)?;
        return Ok(if searched.len() < best.len() { searched } else { best });
    }
    Ok(best)
}

fn one_frame(bytes: &[u8], level: i32, literals_only: bool) -> std::io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(level)?;
    if literals_only {
        // The fastest strategy with the longest minimum match.
        compressor.set_parameter(CParameter::Strategy(Strategy::ZSTD_fast))?;
        compressor.set_parameter(CParameter::MinMatch(7))?;
    }
    compressor.set_parameter(CParameter::ContentSizeFlag(false))?;
    compressor.set_parameter(CParameter::ChecksumFlag(false))?;
    compressor.set_parameter(CParameter::DictIdFlag(false))?;
    compressor.compress(bytes)
}

/// Largest window accepted: nothing here needs more, and a frame must not choose how much memory is taken.
const WINDOW_LOG_MAX: u32 = 27;

/// The `raw` bytes of one zstd frame that fills `stored` exactly.
///
/// Memory grows with what is really there, never beyond `raw + 1`.
pub(super) fn decompress(stored: &[u8], raw: usize) -> Result<Vec<u8>, String> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(stored).map_err(|e| e.to_string())?.single_frame();
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(|e| e.to_string())?;
    let mut bytes = Vec::new();
    decoder.by_ref().take(raw as u64 + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() != raw {
        let more = if bytes.len() > raw { "more" } else { "fewer" };
        return Err(format!("the frame holds {more} than the {raw} bytes the table gives"));
    }
    let left = decoder.finish().len();
    if left > 0 {
        return Err(format!("{left} stray bytes after the frame"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `length` bytes of 64 kinds that never repeat for long.
    fn noise(length: usize) -> Vec<u8> {
        let mut random = crate::random::RandomStream::new(1, "noise");
        (0..length).map(|_| random.below(64) as u8).collect()
    }

    /// Words of five letters out of a few hundred, in any order: matches too short for the fastest search.
    fn text(words: usize) -> Vec<u8> {
        let mut random = crate::random::RandomStream::new(2, "text");
        let vocabulary = noise(5 * 300);
        let word = |_| vocabulary.chunks(5).nth(random.below(300) as usize).unwrap_or_default().to_vec();
        (0..words).flat_map(word).collect()
    }

    fn length(bytes: &[u8], level: i32, literals_only: bool) -> usize {
        one_frame(bytes, level, literals_only).unwrap().len()
    }

    #[test]
    fn what_repeats_is_searched_at_the_level_asked_for() {
        let text = text(20_000);
        assert!(text.len() > SMALL_FRAME);
        let [literals, probe, full] = [length(&text, 1, true), length(&text, 9, false), length(&text, 22, false)];
        assert!(full < probe && probe < literals, "{full} {probe} {literals}");
        assert_eq!(compress(&text, 22).unwrap().len(), full);
        // Levels up to 9 are their own probe.
        assert_eq!(compress(&text, 9).unwrap().len(), probe);
        assert_eq!(compress(&text, 3).unwrap().len(), length(&text, 3, false));
    }

    #[test]
    fn what_does_not_repeat_is_searched_only_where_it_is_small() {
        let large = noise(SMALL_FRAME + 1);
        assert!(length(&large, 9, false) >= length(&large, 1, true));
        assert_eq!(compress(&large, 22).unwrap(), one_frame(&large, 1, true).unwrap());
        // The smallest of three, whichever it is.
        for bytes in [noise(SMALL_FRAME), noise(300), text(60), Vec::new(), vec![7; 1000]] {
            let tried = [length(&bytes, 1, true), length(&bytes, 9, false), length(&bytes, 22, false)];
            assert_eq!(Some(compress(&bytes, 22).unwrap().len()), tried.into_iter().min(), "{} bytes", bytes.len());
        }
    }
}
