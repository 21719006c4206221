//! Text of unknown encoding: UTF-8 with or without byte-order mark, UTF-16, or bytes that are neither.

use std::borrow::Cow;

/// How a file's bytes were turned into text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Encoding {
    /// Plain UTF-8 (ASCII included).
    Utf8,
    /// UTF-8 behind a byte-order mark.
    Utf8Bom,
    /// UTF-16, little-endian.
    Utf16Le,
    /// UTF-16, big-endian.
    Utf16Be,
    /// Neither; bad bytes were replaced by U+FFFD.
    Lossy,
}

impl Encoding {
    /// The word used in reports.
    pub fn word(self) -> &'static str {
        match self {
            Encoding::Utf8 => "utf-8",
            Encoding::Utf8Bom => "utf-8-bom",
            Encoding::Utf16Le => "utf-16-le",
            Encoding::Utf16Be => "utf-16-be",
            Encoding::Lossy => "not utf-8",
        }
    }

    /// Guesses from the first bytes: byte-order mark, else zero bytes in every second place, else UTF-8.
    pub fn sniff(head: &[u8]) -> Encoding {
        match head {
            [0xef, 0xbb, 0xbf, ..] => Encoding::Utf8Bom,
            [0xff, 0xfe, ..] => Encoding::Utf16Le,
            [0xfe, 0xff, ..] => Encoding::Utf16Be,
            [a, 0, b, 0, ..] if *a != 0 && *b != 0 => Encoding::Utf16Le,
            [0, a, 0, b, ..] if *a != 0 && *b != 0 => Encoding::Utf16Be,
            _ => Encoding::Utf8,
        }
    }
}

/// Decodes a whole file. Never fails; says what it took the bytes for.
pub fn decode(bytes: &[u8]) -> (Cow<'_, str>, Encoding) {
    let encoding = Encoding::sniff(bytes);
    let utf16 = |unit: fn([u8; 2]) -> u16| {
        let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        let text: String = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        Cow::Owned(text.trim_start_matches('\u{feff}').to_string())
    };
    match encoding {
        Encoding::Utf16Le => (utf16(u16::from_le_bytes), encoding),
        Encoding::Utf16Be => (utf16(u16::from_be_bytes), encoding),
        Encoding::Utf8 | Encoding::Utf8Bom | Encoding::Lossy => {
            let body = if encoding == Encoding::Utf8Bom { bytes.get(3..).unwrap_or_default() } else { bytes };
            match std::str::from_utf8(body) {
                Ok(text) => (Cow::Borrowed(text), encoding),
                Err(_) => (String::from_utf8_lossy(body), Encoding::Lossy),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_people_hand_in_is_read() {
        let text = "step:1 val_bpb:1.25 ü\n";
        let wide = |unit: fn(u16) -> [u8; 2]| -> Vec<u8> { text.encode_utf16().flat_map(unit).collect() };
        let with = |bom: &[u8], body: &[u8]| [bom, body].concat();
        for (bytes, encoding) in [
            (text.as_bytes().to_vec(), Encoding::Utf8),
            (with(&[0xef, 0xbb, 0xbf], text.as_bytes()), Encoding::Utf8Bom),
            (with(&[0xff, 0xfe], &wide(u16::to_le_bytes)), Encoding::Utf16Le),
            (with(&[0xfe, 0xff], &wide(u16::to_be_bytes)), Encoding::Utf16Be),
            (wide(u16::to_le_bytes), Encoding::Utf16Le),
        ] {
            let (decoded, found) = decode(&bytes);
            assert_eq!((decoded.as_ref(), found), (text, encoding));
        }
        assert_eq!(decode(b"a\xffb").1, Encoding::Lossy);
        assert_eq!(decode(b"").0, "");
    }
}
