//! Self-extracting scripts: a long literal, decoded, decompressed and handed to `exec`. Opened here without running.
//!
//! Merged submissions ship such scripts (PR #1394: lzma behind base85), and the shipped size is what counts. What is
//! inside is checked too, so it is unpacked by the same decoders Python would use, within bounds.

mod archive;

use std::io::{self, Read};

use base64::Engine as _;
use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{Expr, ExprCall};
use ruff_text_size::TextRange;
use serde::Serialize;

use super::Python;

/// Shortest literal looked at: shorter ones are ordinary strings.
const MIN_LITERAL_BYTES: usize = 256;
/// Most bytes any layer may unpack to; scripts have some hundred kilobytes at most.
const MAX_UNPACKED_BYTES: u64 = 8 << 20;
/// Memory a decoder may use, kibibytes. Python's preset 9 needs 64 MiB of dictionary.
const MAX_DECODER_KIB: u32 = 96 << 10;
/// Dictionary of raw LZMA2 with `filters=[{"id": FILTER_LZMA2}]`: preset 6's, liblzma's default.
const RAW_DICTIONARY_BYTES: u32 = 8 << 20;
/// Scripts inside scripts inside scripts: more layers than this are not opened.
const MAX_LAYERS: usize = 4;

/// One way the code was wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// `base64.b64decode`.
    Base64,
    /// `base64.b85decode`.
    Base85,
    /// `base64.a85decode`.
    Ascii85,
    /// `lzma`, xz container.
    Xz,
    /// `lzma`, old container.
    LzmaAlone,
    /// `lzma`, `FORMAT_RAW` with LZMA2.
    RawLzma2,
    /// `zlib`.
    Zlib,
    /// `gzip`.
    Gzip,
    /// `zstandard`.
    Zstd,
    /// `zipfile`, `zipimport`.
    Zip,
    /// `tarfile`.
    Tar,
}

impl Layer {
    /// The word used in reports.
    pub fn word(self) -> &'static str {
        match self {
            Layer::Base64 => "base64",
            Layer::Base85 => "base85",
            Layer::Ascii85 => "ascii85",
            Layer::Xz => "xz",
            Layer::LzmaAlone => "lzma",
            Layer::RawLzma2 => "raw lzma2",
            Layer::Zlib => "zlib",
            Layer::Gzip => "gzip",
            Layer::Zstd => "zstd",
            Layer::Zip => "zip",
            Layer::Tar => "tar",
        }
    }
}

/// An opened script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// Wrappings, outermost first.
    pub layers: Vec<Layer>,
    /// 1-based line of the literal.
    pub line: u64,
    /// The innermost source.
    pub source: String,
}

/// A script that runs what it unpacks, and could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// None of the decoders accepts the literal.
    #[error("line {line}: a literal of {bytes} bytes is unpacked and executed, in no encoding known here")]
    Unknown {
        /// 1-based line of the literal.
        line: u64,
        /// Its length.
        bytes: usize,
    },
    /// It unpacks to too much.
    #[error("line {line}: unpacks to more than {MAX_UNPACKED_BYTES} bytes")]
    TooLarge {
        /// 1-based line of the literal.
        line: u64,
    },
    /// What comes out is not text.
    #[error("line {line}: unpacks to {bytes} bytes that are not UTF-8 source")]
    NotText {
        /// 1-based line of the literal.
        line: u64,
        /// Length of what came out.
        bytes: usize,
    },
}

/// Opens a script that only unpacks and executes a literal; `None` for ordinary scripts. Tells before it does.
pub fn open(python: &Python, tell: impl FnOnce()) -> Option<Result<Packed, PackError>> {
    let found = Literals::of(python);
    let executes = found.executes;
    let (line, literal) = found.longest?;
    if !executes {
        // Modules in an archive are imported, not executed.
        return archived(line, &literal).map(Ok);
    }
    tell();
    Some(unpack(line, &literal, 0))
}

/// A literal that is an archive of Python files, behind at most one encoding and one compression.
fn archived(line: u64, literal: &[u8]) -> Option<Packed> {
    let decodings = text_decodings(literal).into_iter().map(|(layer, bytes)| (vec![layer], bytes));
    for (layers, bytes) in decodings.chain([(Vec::new(), literal.to_vec())]) {
        let plain = std::iter::once((layers.clone(), bytes.clone()));
        let unpacked = decompressions(&bytes).into_iter().flatten();
        let unpacked = unpacked.map(|(layer, bytes)| ([layers.as_slice(), &[layer]].concat(), bytes));
        for (layers, bytes) in plain.chain(unpacked) {
            if let Some((layer, source)) = archive::scripts(&bytes) {
                return Some(Packed { layers: [layers.as_slice(), &[layer]].concat(), line, source });
            }
        }
    }
    None
}

fn unpack(line: u64, literal: &[u8], depth: usize) -> Result<Packed, PackError> {
    if let Some(packed) = archived(line, literal) {
        return Ok(inner(packed, depth));
    }
    // An encoding that happens to accept the text but leads nowhere is passed over.
    let decodings = text_decodings(literal).into_iter().map(|(layer, bytes)| (vec![layer], bytes));
    let mut too_large = false;
    let mut not_text = None;
    for (layers, bytes) in decodings.chain([(Vec::new(), literal.to_vec())]) {
        for attempt in decompressions(&bytes) {
            match attempt {
                Ok((layer, unpacked)) => match String::from_utf8(unpacked) {
                    Ok(source) => {
                        let layers = [layers.as_slice(), &[layer]].concat();
                        return Ok(inner(Packed { layers, line, source }, depth));
                    }
                    Err(error) => not_text = Some(error.as_bytes().len()),
                },
                Err(Bomb) => too_large = true,
            }
        }
        if let ([_], Ok(source)) = (layers.as_slice(), std::str::from_utf8(&bytes))
            && source.contains("import ")
        {
            return Ok(inner(Packed { layers, line, source: source.to_string() }, depth));
        }
    }
    match (too_large, not_text) {
        (true, _) => Err(PackError::TooLarge { line }),
        (false, Some(bytes)) => Err(PackError::NotText { line, bytes }),
        (false, None) => Err(PackError::Unknown { line, bytes: literal.len() }),
    }
}

/// Opens a script inside a script.
fn inner(outer: Packed, depth: usize) -> Packed {
    if depth + 1 >= MAX_LAYERS {
        return outer;
    }
    let Ok(python) = Python::parse(&outer.source) else { return outer };
    let found = Literals::of(&python);
    // A script of ordinary size that happens to use `exec` is the innermost one.
    let (Some((line, literal)), true) = (found.longest, found.executes) else { return outer };
    match unpack(line, &literal, depth + 1) {
        Ok(packed) => {
            Packed { layers: [outer.layers, packed.layers].concat(), line: outer.line, source: packed.source }
        }
        Err(_) => outer,
    }
}

fn text_decodings(literal: &[u8]) -> Vec<(Layer, Vec<u8>)> {
    let plain: Vec<u8> = literal.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let base64 = base64::engine::general_purpose::STANDARD.decode(&plain).ok();
    [
        (Layer::Base64, base64),
        (Layer::Base85, base85(&plain, b85_digit)),
        (Layer::Ascii85, base85(&without_shortcut(&plain), a85_digit)),
    ]
    .into_iter()
    .filter_map(|(layer, bytes)| Some((layer, bytes?)))
    .collect()
}

/// Five digits of base 85 give four bytes, most significant first; a short last group is padded with the top digit.
fn base85(text: &[u8], digit: fn(u8) -> Option<u32>) -> Option<Vec<u8>> {
    /// The value both alphabets pad with.
    const TOP: u32 = 84;
    let mut bytes = Vec::with_capacity(text.len() / 5 * 4 + 4);
    for group in text.chunks(5) {
        let mut value: u64 = 0;
        for i in 0..5 {
            let digit = group.get(i).map_or(Some(TOP), |byte| digit(*byte))?;
            value = value * 85 + u64::from(digit);
        }
        let word = u32::try_from(value).ok()?.to_be_bytes();
        bytes.extend_from_slice(word.get(..group.len() - 1)?);
    }
    Some(bytes)
}

/// The alphabet of RFC 1924, as Python's `b85decode` has it.
fn b85_digit(byte: u8) -> Option<u32> {
    const ALPHABET: &[u8; 85] =
        b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";
    ALPHABET.iter().position(|digit| *digit == byte).map(|value| value as u32)
}

/// Ascii85's `z` stands for four zero bytes.
fn without_shortcut(text: &[u8]) -> Vec<u8> {
    text.iter()
        .flat_map(|byte| if *byte == b'z' { b"!!!!!".as_slice() } else { std::slice::from_ref(byte) })
        .copied()
        .collect()
}

/// Digits of Ascii85.
fn a85_digit(byte: u8) -> Option<u32> {
    (b'!'..=b'u').contains(&byte).then(|| u32::from(byte - b'!'))
}

/// More than [`MAX_UNPACKED_BYTES`] came out.
struct Bomb;

fn decompressions(bytes: &[u8]) -> Vec<Result<(Layer, Vec<u8>), Bomb>> {
    let layers: &[Layer] = match bytes {
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => &[Layer::Xz],
        [0x28, 0xb5, 0x2f, 0xfd, ..] => &[Layer::Zstd],
        [0x1f, 0x8b, ..] => &[Layer::Gzip],
        [0x78, ..] => &[Layer::Zlib],
        [0x5d, 0, 0, ..] => &[Layer::LzmaAlone],
        // The first chunk of raw LZMA2 resets dictionary and state: 0xe0 and up, or 0x01 for a stored one.
        [0xe0..=0xff | 0x01, ..] => &[Layer::RawLzma2],
        _ => &[],
    };
    layers.iter().filter_map(|layer| decompress(*layer, bytes).transpose()).collect()
}

fn decompress(layer: Layer, bytes: &[u8]) -> Result<Option<(Layer, Vec<u8>)>, Bomb> {
    let reader: io::Result<Box<dyn Read + '_>> = match layer {
        Layer::Xz => Ok(Box::new(lzma_rust2::XzReader::new_mem_limit(bytes, false, MAX_DECODER_KIB))),
        Layer::LzmaAlone => lzma_rust2::LzmaReader::new_mem_limit(bytes, MAX_DECODER_KIB, None)
            .map(|reader| Box::new(reader) as Box<dyn Read>)
            .map_err(io::Error::other),
        Layer::RawLzma2 => Ok(Box::new(lzma_rust2::Lzma2Reader::new(bytes, RAW_DICTIONARY_BYTES, None))),
        Layer::Zlib => Ok(Box::new(flate2::read::ZlibDecoder::new(bytes))),
        Layer::Gzip => Ok(Box::new(flate2::read::GzDecoder::new(bytes))),
        Layer::Zstd => zstd::Decoder::with_buffer(bytes).map(|reader| Box::new(reader) as Box<dyn Read>),
        Layer::Base64 | Layer::Base85 | Layer::Ascii85 | Layer::Zip | Layer::Tar => return Ok(None),
    };
    let Ok(reader) = reader else { return Ok(None) };
    let mut unpacked = Vec::new();
    match reader.take(MAX_UNPACKED_BYTES + 1).read_to_end(&mut unpacked) {
        Ok(_) if unpacked.len() as u64 > MAX_UNPACKED_BYTES => Err(Bomb),
        Ok(_) if !unpacked.is_empty() => Ok(Some((layer, unpacked))),
        _ => Ok(None),
    }
}

/// The longest literal of a file, and whether the file executes text.
struct Literals<'a> {
    python: &'a Python,
    longest: Option<(u64, Vec<u8>)>,
    /// How much of the source the longest literal takes, escapes included.
    written: usize,
    executes: bool,
}

impl<'a> Literals<'a> {
    fn of(python: &'a Python) -> Self {
        let mut literals = Literals { python, longest: None, written: 0, executes: false };
        visitor::walk_body(&mut literals, &python.module().body);
        // A long literal inside a long script is data, such as a prompt or a table.
        if literals.written < python.text().len() / 2 {
            literals.longest = None;
        }
        literals
    }

    fn offer(&mut self, bytes: impl Iterator<Item = u8>, range: TextRange) {
        let bytes: Vec<u8> = bytes.collect();
        let longest = self.longest.as_ref().map_or(MIN_LITERAL_BYTES, |(_, longest)| longest.len());
        if bytes.len() > longest {
            self.longest = Some((self.python.line(range.start()), bytes));
            self.written = range.len().to_usize();
        }
    }
}

impl<'a> Visitor<'a> for Literals<'_> {
    fn visit_expr(&mut self, expr: &'a Expr) {
        match expr {
            Expr::StringLiteral(literal) => self.offer(literal.value.to_str().bytes(), literal.range),
            Expr::BytesLiteral(literal) => {
                let bytes = literal.value.iter().flat_map(|part| part.value.iter().copied());
                self.offer(bytes, literal.range);
            }
            Expr::Call(ExprCall { func, .. }) => {
                let called = match &**func {
                    Expr::Name(name) => name.id.as_str(),
                    Expr::Attribute(attribute) => attribute.attr.as_str(),
                    _ => "",
                };
                // `__import__("builtins").exec` and `runpy.run_path` are as good as `exec`.
                self.executes |= matches!(called, "exec" | "eval" | "run_path" | "run_module" | "execv" | "execvp");
                visitor::walk_expr(self, expr);
            }
            other => visitor::walk_expr(self, other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script() -> String {
        (0..200).map(|i| format!("import os\nx{i} = {i} * {i}\n")).collect()
    }

    fn opened(text: &str) -> Option<Result<Packed, PackError>> {
        open(&Python::parse(text).unwrap(), || ())
    }

    /// Made by CPython's own `lzma`, `zlib`, `gzip`, `base64` (`ci/reference/packed_scripts.py`).
    #[test]
    fn scripts_packed_by_python_are_opened() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/reference/packed_scripts");
        for (name, layers) in [
            ("base85_raw_lzma2.py", vec![Layer::Base85, Layer::RawLzma2]),
            ("base85_xz.py", vec![Layer::Base85, Layer::Xz]),
            ("base85_lzma_alone.py", vec![Layer::Base85, Layer::LzmaAlone]),
            ("base64_zlib.py", vec![Layer::Base64, Layer::Zlib]),
            ("ascii85_gzip.py", vec![Layer::Ascii85, Layer::Gzip]),
            ("bytes_zlib.py", vec![Layer::Zlib]),
            ("twice.py", vec![Layer::Base64, Layer::Zlib, Layer::Base85, Layer::Xz]),
        ] {
            let text = std::fs::read_to_string(folder.join(name)).unwrap();
            let packed = opened(&text).unwrap_or_else(|| panic!("{name} is packed")).unwrap();
            assert_eq!(packed.layers, layers, "{name}");
            let expected = std::fs::read_to_string(folder.join("script.txt")).unwrap();
            assert_eq!(packed.source, expected, "{name}");
        }
    }

    #[test]
    fn ordinary_scripts_are_not_packed() {
        assert_eq!(opened(&script()), None);
        let prompt = format!("PROMPT = '{}'\nexec('x = 1')\n{}", "word ".repeat(100), script());
        assert_eq!(opened(&prompt), None);
    }

    #[test]
    fn a_bomb_is_named_and_not_unpacked() {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        for _ in 0..32 {
            io::Write::write_all(&mut encoder, &vec![b' '; 1 << 20]).unwrap();
        }
        let text = base64::engine::general_purpose::STANDARD.encode(encoder.finish().unwrap());
        let script = format!("import zlib,base64\nexec(zlib.decompress(base64.b64decode('{text}')))\n");
        assert_eq!(opened(&script), Some(Err(PackError::TooLarge { line: 2 })));
    }

    #[test]
    fn what_cannot_be_opened_is_said() {
        let script = format!("exec(decode('{}'))", "*&^ ".repeat(200));
        assert!(matches!(opened(&script), Some(Err(PackError::Unknown { line: 1, bytes: 800 }))));
    }
}
