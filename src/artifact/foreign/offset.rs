//! Pickles that begin behind other bytes, which a script skips before it loads them.
//!
//! Where they begin only the script knows, and most of what looks like a beginning is noise. So what counts is the one
//! thing that noise does not spell: the import of a function that runs commands or code, by the module's and its name.

use super::meaning::WEAPONS;
use super::pickle::{Import, ImportVerdict, MAX_NAME_BYTES, classify};
use super::wrapper::{Wrapper, by_magic, expand};

/// Functions besides [`WEAPONS`] that destroy, fetch, or lead on to other functions.
const MORE_WEAPONS: [&str; 6] = ["rmtree", "unlink", "urlopen", "loads", "getattr", "getoutput"];
/// How much of a stream within a file is decompressed to see what it begins with.
const PROBED_BYTES: u64 = 1 << 16;
/// Streams looked into. The largest file of noise that is opened begins like one 8,000 times.
const MAX_STREAMS: usize = 100_000;
/// What a decoder costs that is set up for a further stream, in bytes of decompression.
const STREAM_COST: u64 = 16 << 10;
/// Bytes that they decompress to together, with those that had to be read for it.
pub(super) const MAX_TRIED_BYTES: u64 = 64 << 20;

/// More in a file begins as a compressed stream than is looked into.
#[derive(Debug, PartialEq)]
pub(super) struct TooMuch;

/// The first weapon that a pickle anywhere in the bytes imports, in the clear or at the start of a compressed stream.
pub(super) fn weapon(bytes: &[u8]) -> Result<Option<Import>, TooMuch> {
    match in_the_clear(bytes) {
        Some(import) => Ok(Some(import)),
        None => compressed(bytes),
    }
}

fn compressed(bytes: &[u8]) -> Result<Option<Import>, TooMuch> {
    let (mut streams, mut tried) = (0, 0);
    for (at, byte) in bytes.iter().enumerate().skip(1) {
        if !matches!(byte, 0x04 | 0x1f | 0x28 | b'B' | 0x78 | 0xfd) {
            continue;
        }
        let rest = bytes.get(at..).unwrap_or_default();
        // The older lzma begins like half of all noise.
        let Some(wrapper) = by_magic(rest).filter(|wrapper| *wrapper != Wrapper::Lzma) else { continue };
        let start = expand(rest, wrapper, PROBED_BYTES);
        if let Some(import) = in_the_clear(&start.content) {
            return Ok(Some(Import { offset: at, ..import }));
        }
        streams += 1;
        tried += (start.content.len() + start.used) as u64 + start.further as u64 * STREAM_COST;
        if streams > MAX_STREAMS || tried > MAX_TRIED_BYTES {
            return Err(TooMuch);
        }
    }
    Ok(None)
}

fn in_the_clear(bytes: &[u8]) -> Option<Import> {
    bytes.iter().enumerate().find_map(|(at, &byte)| match byte {
        b'\n' => by_lines(bytes, at),
        // STACK_GLOBAL
        0x93 => from_stack(bytes, at),
        _ => None,
    })
}

/// `c` or `i`, a module and a name, each up to the end of a line; `end` is the module's.
fn by_lines(bytes: &[u8], end: usize) -> Option<Import> {
    let name = line_word(bytes.get(end + 1..)?)?;
    let before = word_before(bytes.get(..end)?);
    let start = end - before.len();
    before.char_indices().filter(|(_, c)| matches!(c, 'c' | 'i')).find_map(|(opcode, _)| {
        let module = before.get(opcode + 1..)?;
        import(module, name, start + opcode)
    })
}

/// Two strings with their lengths, perhaps memoized, that were put on the stack before `at`.
fn from_stack(bytes: &[u8], at: usize) -> Option<Import> {
    let (name, start) = string_before(bytes, at)?;
    let (module, start) = string_before(bytes, start)?;
    import(module, name, start)
}

fn import(module: &str, name: &str, offset: usize) -> Option<Import> {
    let is_weapon = WEAPONS.contains(&name) || MORE_WEAPONS.contains(&name);
    let verdict = classify(module, name);
    let found = || Import { module: module.into(), name: name.into(), offset, verdict };
    (is_weapon && verdict == ImportVerdict::Dangerous).then(found)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.'
}

/// The word at the start, if a line end follows.
fn line_word(bytes: &[u8]) -> Option<&str> {
    let length = bytes.iter().take(MAX_NAME_BYTES).take_while(|byte| is_word(**byte)).count();
    let word = bytes.get(..length).filter(|_| bytes.get(length) == Some(&b'\n'))?;
    std::str::from_utf8(word).ok()
}

/// The word at the end.
fn word_before(bytes: &[u8]) -> &str {
    let length = bytes.iter().rev().take(MAX_NAME_BYTES).take_while(|byte| is_word(**byte)).count();
    bytes.get(bytes.len() - length..).and_then(|word| std::str::from_utf8(word).ok()).unwrap_or_default()
}

/// The string that was put on the stack just before `end`, and where its instruction begins.
fn string_before(bytes: &[u8], end: usize) -> Option<(&str, usize)> {
    // MEMOIZE, BINPUT, LONG_BINPUT, or none of them.
    let ends = [
        (end >= 1 && bytes.get(end - 1) == Some(&0x94)).then(|| end - 1),
        (end >= 2 && bytes.get(end - 2) == Some(&b'q')).then(|| end - 2),
        (end >= 5 && bytes.get(end - 5) == Some(&b'r')).then(|| end - 5),
        Some(end),
    ];
    ends.into_iter().flatten().find_map(|end| {
        let word = word_before(bytes.get(..end)?);
        // The length before it may be a letter itself.
        (0..word.len()).find_map(|cut| {
            let text = word.get(cut..)?;
            let start = end - text.len();
            let begins = |header: &[u8]| bytes.get(..start).is_some_and(|before| before.ends_with(header));
            let length = u8::try_from(text.len()).ok()?;
            let long = |opcode: u8| [&[opcode][..], &u32::from(length).to_le_bytes()].concat();
            // SHORT_BINUNICODE, SHORT_BINSTRING, BINUNICODE, BINSTRING.
            if begins(&[0x8c, length]) || begins(&[b'U', length]) {
                Some((text, start - 2))
            } else if begins(&long(b'X')) || begins(&long(b'T')) {
                Some((text, start - 5))
            } else {
                None
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::foreign::wrapper::tests::compressed;
    use crate::random::RandomStream;

    fn named(bytes: &[u8]) -> Option<String> {
        weapon(bytes).unwrap().map(|import| format!("{}.{}", import.module, import.name))
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut random = RandomStream::new(7, "noise");
        (0..length).map(|_| random.bits() as u8).collect()
    }

    #[test]
    fn imports_are_found_wherever_they_stand() {
        let by_lines = b"\x80\x02cposix\nsystem\nX\x04\0\0\0true\x85R.".to_vec();
        let oldest = b"(S'true'\niposix\nsystem\n.".to_vec();
        let from_stack =
            b"\x80\x04\x95\0\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93\x8c\x04true\x85R.".to_vec();
        let numbered = b"\x80\x04X\x05\0\0\0posixq\x07X\x06\0\0\0systemq\x08\x93\x8c\x04true\x85R.".to_vec();
        for program in [by_lines, oldest, from_stack, numbered] {
            let hidden = [noise(5000), program.clone(), noise(100)].concat();
            assert_eq!(named(&hidden).as_deref(), Some("posix.system"), "{program:?}");
            for wrapper in [Wrapper::Zlib, Wrapper::Zstd, Wrapper::Gzip, Wrapper::Xz, Wrapper::Bzip2, Wrapper::Lz4] {
                let hidden = [noise(5000), compressed(wrapper, &program)].concat();
                assert_eq!(named(&hidden).as_deref(), Some("posix.system"), "{wrapper}");
            }
        }
    }

    #[test]
    fn streams_without_end_are_too_much() {
        let zeros = compressed(Wrapper::Zlib, &[0; 1 << 16]);
        assert_eq!(weapon(&[b"head".to_vec(), zeros.repeat(1100)].concat()), Err(TooMuch));
        // Streams of nothing, each of which begins a row of them.
        let nothing = compressed(Wrapper::Bzip2, b"");
        assert_eq!(weapon(&[b"head".to_vec(), nothing.repeat(5000)].concat()), Err(TooMuch));
    }

    #[test]
    fn noise_lists_of_words_and_tensors_import_nothing() {
        assert_eq!(named(&noise(2 << 20)), None);
        assert_eq!(named(b"\0sin\ncos\nsystem time\ncode\nrun\neval of the model\n\0"), None);
        assert_eq!(named(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n."), None);
    }
}
