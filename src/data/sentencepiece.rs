//! SentencePiece `.model` files: pieces, scores, kinds and the normalizer's settings.
//!
//! The file is one protobuf message (`sentencepiece_model.proto`); only the fields used here are
//! declared. A model comes from a stranger: its size, piece count and piece lengths are bounded
//! before anything is allocated for them.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use prost::Message;

use super::byte_table::{ByteTable, TokenBytes};
use super::charsmap::Charsmap;
use super::sentencepiece_proto::{self as proto, MAX_MODEL_BYTES, MAX_PIECES};
use super::tokenizer_error::{TokenizerError, TokenizerFault};
use crate::digest::ContentDigest;

/// The character that stands for a space inside pieces, U+2581.
pub const LEADING_MARKER: char = '\u{2581}';
/// The script counts a piece's bytes in an i16.
const MAX_PIECE_BYTES: usize = i16::MAX as usize;

/// What a piece is (`SentencePiece.Type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceKind {
    /// Text.
    Normal,
    /// Stands for text the vocabulary cannot say.
    Unknown,
    /// A mark without text, such as `<s>`.
    Control,
    /// Text that is never split.
    UserDefined,
    /// In the vocabulary, never produced.
    Unused,
    /// One byte of UTF-8.
    Byte(u8),
}

/// One entry of the vocabulary.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// Text with U+2581 for spaces; `<0x41>` for bytes.
    pub text: String,
    /// Merge priority: higher first.
    pub score: f32,
    /// What it is.
    pub kind: PieceKind,
}

/// How pieces were found (`TrainerSpec.ModelType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelType {
    /// Pieces by likelihood.
    Unigram,
    /// Pieces by merging; what the challenge uses.
    Bpe,
    /// Whole words.
    Word,
    /// Single characters.
    Char,
}

/// How text is normalized before it is cut (`NormalizerSpec`).
#[derive(Clone, Debug, PartialEq)]
pub struct NormalizerSpec {
    /// Such as `nmt_nfkc`; informative, the map decides.
    pub name: String,
    /// What becomes what.
    pub charsmap: Charsmap,
    /// Put a space in front of (or behind) the text.
    pub add_dummy_prefix: bool,
    /// Drop spaces at both ends and all but one inside.
    pub remove_extra_whitespaces: bool,
    /// Write spaces as U+2581.
    pub escape_whitespaces: bool,
    /// The dummy space goes behind the text.
    pub whitespace_is_suffix: bool,
}

/// A SentencePiece model.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    pieces: Vec<Piece>,
    pub(super) model_type: ModelType,
    pub(super) normalizer: NormalizerSpec,
    pub(super) byte_fallback: bool,
    pub(super) unknown_surface: String,
    pub(super) unknown: u16,
    pub(super) by_text: HashMap<String, u16>,
    pub(super) bytes: [Option<u16>; 256],
    pub(super) longest_user_defined: usize,
}

impl Tokenizer {
    /// Reads a `.model` file; also returns the digests of exactly the bytes that were read.
    pub fn read(path: &Path) -> Result<(Self, ContentDigest), TokenizerError> {
        let attempt = || {
            let mut bytes = Vec::new();
            let file = crate::regular_file::open(path).map_err(TokenizerFault::Read)?;
            file.take(MAX_MODEL_BYTES + 1).read_to_end(&mut bytes).map_err(TokenizerFault::Read)?;
            Ok((Self::decode_model(&bytes)?, ContentDigest::of(&bytes)))
        };
        attempt().map_err(|fault| TokenizerError { path: path.to_path_buf(), fault })
    }

    /// Decodes the content of a `.model` file.
    pub fn decode_model(bytes: &[u8]) -> Result<Self, TokenizerFault> {
        if bytes.len() as u64 > MAX_MODEL_BYTES {
            return Err(TokenizerFault::TooLarge);
        }
        // An empty piece is two bytes in the file and fifty in memory: count before decoding.
        let found = proto::count_pieces(bytes).map_err(|e| TokenizerFault::Format(e.to_string()))?;
        if found == 0 || found > MAX_PIECES {
            return Err(TokenizerFault::PieceCount { found });
        }
        let model = proto::Model::decode(bytes).map_err(|e| TokenizerFault::Format(e.to_string()))?;
        let pieces = model.pieces.into_iter().enumerate().map(|(id, piece)| checked(id, piece));
        let pieces: Vec<Piece> = pieces.collect::<Result<_, _>>()?;
        let trainer = model.trainer.unwrap_or_default();
        let model_type = match trainer.model_type.unwrap_or(1) {
            1 => ModelType::Unigram,
            2 => ModelType::Bpe,
            3 => ModelType::Word,
            4 => ModelType::Char,
            other => return Err(TokenizerFault::Format(format!("model type {other} is not one of 1..=4"))),
        };
        let spec = model.normalizer.unwrap_or_default();
        let normalizer = NormalizerSpec {
            name: spec.name.unwrap_or_default(),
            charsmap: Charsmap::decode(spec.precompiled_charsmap.as_deref().unwrap_or_default())?,
            add_dummy_prefix: spec.add_dummy_prefix.unwrap_or(true),
            remove_extra_whitespaces: spec.remove_extra_whitespaces.unwrap_or(true),
            escape_whitespaces: spec.escape_whitespaces.unwrap_or(true),
            whitespace_is_suffix: trainer.treat_whitespace_as_suffix.unwrap_or(false),
        };
        Self::assemble(pieces, model_type, normalizer, &trainer)
    }

    fn assemble(
        pieces: Vec<Piece>,
        model_type: ModelType,
        normalizer: NormalizerSpec,
        trainer: &proto::Trainer,
    ) -> Result<Self, TokenizerFault> {
        let mut by_text = HashMap::with_capacity(pieces.len());
        let mut bytes = [None; 256];
        let mut unknowns = Vec::new();
        let mut longest_user_defined = 0;
        for (id, piece) in pieces.iter().enumerate() {
            let id = id as u16; // at most MAX_PIECES of them
            if by_text.insert(piece.text.clone(), id).is_some() {
                let problem = format!("`{}` is in the vocabulary twice", piece.text.escape_debug());
                return Err(TokenizerFault::Piece { id: id.into(), problem });
            }
            match piece.kind {
                PieceKind::Byte(byte) => bytes[usize::from(byte)] = Some(id),
                PieceKind::Unknown => unknowns.push(id),
                PieceKind::UserDefined => longest_user_defined = longest_user_defined.max(piece.text.len()),
                PieceKind::Normal | PieceKind::Control | PieceKind::Unused => {}
            }
        }
        let [unknown] = unknowns[..] else { return Err(TokenizerFault::Unknown { found: unknowns.len() }) };
        let byte_fallback = trainer.byte_fallback.unwrap_or(false);
        if byte_fallback && let Some(byte) = bytes.iter().position(Option::is_none) {
            let problem = format!("byte fallback is on, but there is no piece `<0x{byte:02X}>`");
            return Err(TokenizerFault::Piece { id: pieces.len(), problem });
        }
        let unknown_surface = trainer.unk_surface.clone().unwrap_or_else(|| " \u{2047} ".into());
        Ok(Tokenizer {
            pieces,
            model_type,
            normalizer,
            byte_fallback,
            unknown_surface,
            unknown,
            by_text,
            bytes,
            longest_user_defined,
        })
    }

    /// The vocabulary, by id.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// How the pieces were found.
    pub fn model_type(&self) -> ModelType {
        self.model_type
    }

    /// How text is normalized.
    pub fn normalizer(&self) -> &NormalizerSpec {
        &self.normalizer
    }

    /// Refuses a tokenizer of another size than the model's vocabulary, as the script does.
    pub fn check_vocab_size(&self, vocab_size: u32) -> Result<(), TokenizerFault> {
        let found = self.pieces.len();
        if found as u64 == u64::from(vocab_size) {
            Ok(())
        } else {
            Err(TokenizerFault::VocabularySize { found, vocab_size })
        }
    }

    /// The kind of an id, `None` outside the vocabulary.
    pub(super) fn kind(&self, id: u16) -> Option<PieceKind> {
        self.pieces.get(usize::from(id)).map(|piece| piece.kind)
    }

    /// The byte table of specification section 9.
    pub fn byte_table(&self) -> ByteTable {
        let entry = |piece: &Piece| match piece.kind {
            PieceKind::Control | PieceKind::Unknown | PieceKind::Unused => TokenBytes::BOUNDARY,
            PieceKind::Byte(_) => TokenBytes { base_bytes: 1, leading_marker: false, boundary: false },
            PieceKind::Normal | PieceKind::UserDefined => {
                let (text, leading_marker) = strip_marker(&piece.text);
                TokenBytes { base_bytes: text.len() as u16, leading_marker, boundary: false }
            }
        };
        ByteTable::new(self.pieces.iter().map(entry).collect())
    }
}

/// A piece's text without one leading marker, and whether there was one.
pub(super) fn strip_marker(text: &str) -> (&str, bool) {
    text.strip_prefix(LEADING_MARKER).map_or((text, false), |rest| (rest, true))
}

fn checked(id: usize, piece: proto::Piece) -> Result<Piece, TokenizerFault> {
    let fail = |problem: String| Err(TokenizerFault::Piece { id, problem });
    let text = piece.piece.unwrap_or_default();
    let score = piece.score.unwrap_or(0.0);
    if text.is_empty() || text.len() > MAX_PIECE_BYTES {
        return fail(format!("{} bytes of text, expected 1..={MAX_PIECE_BYTES}", text.len()));
    }
    if !score.is_finite() {
        return fail(format!("score {score} is not a number to sort by"));
    }
    let kind = match piece.kind.unwrap_or(1) {
        1 => PieceKind::Normal,
        2 => PieceKind::Unknown,
        3 => PieceKind::Control,
        4 => PieceKind::UserDefined,
        5 => PieceKind::Unused,
        6 => match byte_of(&text) {
            Some(byte) => PieceKind::Byte(byte),
            None => return fail(format!("`{}` is not a byte piece like `<0x41>`", text.escape_debug())),
        },
        other => return fail(format!("kind {other} is not one of 1..=6")),
    };
    Ok(Piece { text, score, kind })
}

/// `<0xE2>` to 0xE2; upper-case digits only, so that a byte has one name.
fn byte_of(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    let byte = u8::from_str_radix(digits, 16).ok()?;
    (format!("{byte:02X}") == digits).then_some(byte)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A model of a few pieces, as protobuf bytes.
    pub fn model_bytes(pieces: &[(&str, f32, i32)], trainer: &[u8], normalizer: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (text, score, kind) in pieces {
            let mut piece = vec![0x0a, text.len() as u8];
            piece.extend(text.as_bytes());
            piece.push(0x15);
            piece.extend(score.to_le_bytes());
            piece.extend([0x18, *kind as u8]);
            bytes.extend([0x0a, piece.len() as u8]);
            bytes.extend(piece);
        }
        for (key, message) in [(0x12, trainer), (0x1a, normalizer)] {
            bytes.extend([key, message.len() as u8]);
            bytes.extend(message);
        }
        bytes
    }

    /// `model_type: BPE`.
    pub const BPE: &[u8] = &[0x18, 2];

    #[test]
    fn kinds_and_bytes_of_every_sort_of_piece() {
        let pieces = [
            ("<unk>", 0.0, 2),
            ("<s>", 0.0, 3),
            ("<0xE2>", 0.0, 6),
            ("▁the", -1.0, 1),
            ("é", -2.0, 1),
            ("▁", -3.0, 1),
            ("<mask>", 0.0, 4),
            ("gone", 0.0, 5),
            ("▁▁", -4.0, 1),
        ];
        let tokenizer = Tokenizer::decode_model(&model_bytes(&pieces, BPE, &[])).unwrap();
        let table = tokenizer.byte_table();
        let entry = |id| {
            let entry = table.get(id);
            (entry.base_bytes, entry.leading_marker, entry.boundary)
        };
        assert_eq!(entry(0), (0, false, true));
        assert_eq!(entry(1), (0, false, true));
        assert_eq!(entry(2), (1, false, false));
        assert_eq!(entry(3), (3, true, false));
        assert_eq!(entry(4), (2, false, false));
        assert_eq!(entry(5), (0, true, false));
        assert_eq!(entry(6), (6, false, false));
        assert_eq!(entry(7), (0, false, true));
        // Only the first marker is a space; the script counts further ones as three bytes of text.
        assert_eq!(entry(8), (3, true, false));
        assert_eq!(entry(9), (0, false, true));
        assert!(tokenizer.check_vocab_size(9).is_ok());
        let message = tokenizer.check_vocab_size(1024).unwrap_err().to_string();
        assert!(message.starts_with("9 pieces, but the model has a vocabulary of 1024"), "{message}");
    }

    #[test]
    fn impossible_models_are_refused_with_the_piece_named() {
        let message = |pieces: &[(&str, f32, i32)]| {
            Tokenizer::decode_model(&model_bytes(pieces, BPE, &[])).unwrap_err().to_string()
        };
        let unk = ("<unk>", 0.0, 2);
        assert!(message(&[]).starts_with("0 pieces"));
        assert!(message(&[("a", 0.0, 1)]).starts_with("0 pieces of kind `unknown`"));
        assert!(message(&[unk, ("<u>", 0.0, 2)]).starts_with("2 pieces of kind `unknown`"));
        assert!(message(&[unk, ("a", 0.0, 1), ("a", 0.0, 1)]).starts_with("piece 2: `a` is in the vocabulary twice"));
        assert!(message(&[unk, ("", 0.0, 1)]).starts_with("piece 1: 0 bytes of text"));
        assert!(message(&[unk, ("a", f32::NAN, 1)]).starts_with("piece 1: score NaN"));
        assert!(message(&[unk, ("a", 0.0, 7)]).starts_with("piece 1: kind 7"));
        for bad in ["<0xe2>", "<0x+1>", "<0x100>", "0x41"] {
            assert!(message(&[unk, (bad, 0.0, 6)]).contains("is not a byte piece"), "{bad}");
        }
        let fallback = model_bytes(&[unk], &[0x18, 2, 0x98, 0x02, 1], &[]);
        let message = Tokenizer::decode_model(&fallback).unwrap_err().to_string();
        assert!(message.contains("no piece `<0x00>`"), "{message}");
    }

    #[test]
    fn other_files_are_not_models() {
        for bytes in
            [&b"PK\x03\x04 a zip file"[..], b"{\"model\": 1}", &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f], &[0x0b; 64]]
        {
            assert!(matches!(Tokenizer::decode_model(bytes), Err(TokenizerFault::Format(_))), "{bytes:?}");
        }
        // Eight megabytes that would become four million pieces.
        assert!(matches!(
            Tokenizer::decode_model(&[0x0a, 0x00].repeat(4 << 20)),
            Err(TokenizerFault::PieceCount { found: 4_194_304 })
        ));
        let error = Tokenizer::read(Path::new("/nonexistent/t.model")).unwrap_err().to_string();
        assert!(error.starts_with("tokenizer /nonexistent/t.model: cannot be read: "), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = Tokenizer::decode_model(&bytes);
        }

        #[test]
        fn no_damage_panics(position: proptest::sample::Index, byte: u8) {
            let mut bytes = model_bytes(&[("<unk>", 0.0, 2), ("▁a", -1.0, 1)], BPE, &[0x18, 0]);
            let position = position.index(bytes.len());
            bytes[position] = byte;
            if let Ok(tokenizer) = Tokenizer::decode_model(&bytes) {
                let _ = tokenizer.encode("a a\u{fb01}");
            }
        }
    }
}
