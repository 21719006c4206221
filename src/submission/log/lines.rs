//! Cuts a byte stream into lines: any encoding, `\n`, `\r\n` and lone `\r` (progress bars), colors removed.

use crate::submission::text::Encoding;

/// Longer lines are cut here: nothing a log says takes more, and memory stays fixed.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// Feeds bytes in, gets lines out.
pub(in crate::submission) struct LineCutter {
    encoding: Option<Encoding>,
    /// Bytes of a UTF-16 unit split between two chunks.
    odd: Option<u8>,
    surrogate: Option<u16>,
    line: Vec<u8>,
    number: u64,
    /// The last byte was `\r`: a following `\n` belongs to it.
    after_return: bool,
    /// Bytes that were no UTF-8 were met.
    pub lossy: bool,
    /// Lines longer than [`MAX_LINE_BYTES`].
    pub overlong: u64,
}

impl LineCutter {
    pub fn new() -> Self {
        LineCutter {
            encoding: None,
            odd: None,
            surrogate: None,
            line: Vec::new(),
            number: 1,
            after_return: false,
            lossy: false,
            overlong: 0,
        }
    }

    /// Number of the line that is being read, 1-based.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What the stream was taken for.
    pub fn encoding(&self) -> Encoding {
        match self.encoding {
            Some(Encoding::Utf8) if self.lossy => Encoding::Lossy,
            Some(encoding) => encoding,
            None => Encoding::Utf8,
        }
    }

    /// Feeds the next bytes; `line` is called with (1-based number, text) for every line that ends in them.
    ///
    /// Lone `\r` ends a piece of text but not the numbered line, as in every editor.
    pub fn feed(&mut self, bytes: &[u8], line: &mut dyn FnMut(u64, &str)) {
        let mut bytes = bytes;
        if self.encoding.is_none() && !bytes.is_empty() {
            let encoding = Encoding::sniff(bytes);
            self.encoding = Some(encoding);
            let mark = match encoding {
                Encoding::Utf8Bom => 3,
                Encoding::Utf16Le if bytes.starts_with(&[0xff, 0xfe]) => 2,
                Encoding::Utf16Be if bytes.starts_with(&[0xfe, 0xff]) => 2,
                _ => 0,
            };
            bytes = bytes.get(mark..).unwrap_or_default();
        }
        match self.encoding {
            Some(Encoding::Utf16Le) => self.feed_utf16(bytes, u16::from_le_bytes, line),
            Some(Encoding::Utf16Be) => self.feed_utf16(bytes, u16::from_be_bytes, line),
            _ => self.feed_utf8(bytes, line),
        }
    }

    fn feed_utf16(&mut self, bytes: &[u8], unit: fn([u8; 2]) -> u16, line: &mut dyn FnMut(u64, &str)) {
        let mut utf8 = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            let Some(first) = self.odd.take() else {
                self.odd = Some(byte);
                continue;
            };
            let next = unit([first, byte]);
            let units = self.surrogate.take().into_iter().chain([next]);
            if (0xd800..0xdc00).contains(&next) {
                self.surrogate = Some(next);
                continue;
            }
            for c in char::decode_utf16(units) {
                let c = c.unwrap_or(char::REPLACEMENT_CHARACTER);
                utf8.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        self.feed_utf8(&utf8, line);
    }

    fn feed_utf8(&mut self, bytes: &[u8], line: &mut dyn FnMut(u64, &str)) {
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            if self.after_return {
                self.after_return = false;
                if first == b'\n' {
                    self.number += 1;
                    rest = &rest[1..];
                    continue;
                }
            }
            let end = rest.iter().position(|&byte| byte == b'\n' || byte == b'\r');
            let piece = &rest[..end.unwrap_or(rest.len())];
            let room = (MAX_LINE_BYTES + 1).saturating_sub(self.line.len());
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            let Some(end) = end else { return };
            self.emit(line);
            match rest[end] {
                b'\r' => self.after_return = true,
                _ => self.number += 1,
            }
            rest = &rest[end + 1..];
        }
    }

    /// The last line, if it has no end; also gives the number of lines.
    pub fn finish(&mut self, line: &mut dyn FnMut(u64, &str)) -> u64 {
        let open = !self.line.is_empty();
        self.emit(line);
        if open || self.after_return { self.number } else { self.number - 1 }
    }

    fn emit(&mut self, line: &mut dyn FnMut(u64, &str)) {
        if self.line.len() > MAX_LINE_BYTES {
            self.overlong += 1;
            self.line.truncate(MAX_LINE_BYTES);
            while std::str::from_utf8(&self.line).is_err_and(|e| e.error_len().is_none()) {
                self.line.pop();
            }
        }
        if self.line.contains(&0x1b) {
            self.line = without_escapes(&self.line);
        }
        if !self.line.is_empty() {
            match std::str::from_utf8(&self.line) {
                Ok(text) => line(self.number, text),
                Err(_) => {
                    self.lossy = true;
                    line(self.number, &String::from_utf8_lossy(&self.line));
                }
            }
        }
        self.line.clear();
    }
}

/// Without ANSI escape sequences (ECMA-48: ESC `[` parameters, one final byte; other escapes are two bytes).
fn without_escapes(line: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(line.len());
    let mut bytes = line.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != 0x1b {
            plain.push(byte);
        } else if bytes.next() == Some(b'[') {
            for byte in bytes.by_ref() {
                if (0x40..=0x7e).contains(&byte) {
                    break;
                }
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(bytes: &[u8], chunk: usize) -> (Vec<(u64, String)>, u64) {
        let mut cutter = LineCutter::new();
        let mut lines = Vec::new();
        for part in bytes.chunks(chunk) {
            cutter.feed(part, &mut |number, text| lines.push((number, text.to_string())));
        }
        let count = cutter.finish(&mut |number, text| lines.push((number, text.to_string())));
        (lines, count)
    }

    #[test]
    fn lines_are_the_same_for_every_chunking_and_encoding() {
        let text = "a:1\r\n\x1b[32mgreen\x1b[0m:2\nprogress 1\rprogress 2\n\nlast ü😀";
        let expected: Vec<(u64, String)> =
            [(1, "a:1"), (2, "green:2"), (3, "progress 1"), (3, "progress 2"), (5, "last ü😀")]
                .map(|(n, t)| (n, t.to_string()))
                .to_vec();
        let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for bytes in [text.as_bytes().to_vec(), [&[0xff, 0xfe], wide.as_slice()].concat()] {
            for chunk in [bytes.len(), 64, 7] {
                assert_eq!(cut(&bytes, chunk), (expected.clone(), 5), "chunks of {chunk}");
            }
        }
        assert_eq!(cut(b"", 1), (vec![], 0));
        assert_eq!(cut(b"x\n", 1).1, 1);
    }

    #[test]
    fn the_line_of_the_limit_is_whole_and_one_byte_more_is_cut() {
        let scan = |bytes: &[u8]| {
            let mut cutter = LineCutter::new();
            let mut lines = Vec::new();
            cutter.feed(bytes, &mut |_, text| lines.push(text.to_string()));
            let count = cutter.finish(&mut |_, text| lines.push(text.to_string()));
            (lines, count, cutter.overlong, cutter.encoding())
        };
        let line = "x".repeat(MAX_LINE_BYTES);
        assert_eq!(scan(line.as_bytes()), (vec![line.clone()], 1, 0, Encoding::Utf8));
        assert_eq!(
            scan(format!("{line}x\n{line}xy").as_bytes()),
            (vec![line.clone(), line.clone()], 2, 2, Encoding::Utf8)
        );
        // A letter of two bytes across the limit goes altogether.
        let (lines, ..) = scan(format!("{}ü", &line[1..]).as_bytes());
        assert_eq!(lines, [&line[1..]]);
        // Bytes that are no UTF-8 become marks, and the text is called so.
        let (lines, _, _, encoding) = scan(b"a\xffb\n");
        assert_eq!((lines, encoding), (vec!["a\u{fffd}b".to_string()], Encoding::Lossy));
        assert_eq!(scan(b"\xef\xbb\xbfa").0, ["a"]);
        assert_eq!(scan(b"\xef\xbb\xbfa").3, Encoding::Utf8Bom);
        // UTF-16 either way, with a mark and without, and with half a surrogate pair.
        assert_eq!(scan(b"\xfe\xff\0a\0b").0, ["ab"]);
        assert_eq!(scan(b"a\0b\0").0, ["ab"]);
        assert_eq!(scan(b"\0a\0b").0, ["ab"]);
        assert_eq!(scan(b"\xff\xfe\x3d\xd8a\0").0, ["\u{fffd}a"]);
        assert_eq!(scan(b"").3, Encoding::Utf8);
    }

    #[test]
    fn returns_end_pieces_and_newlines_lines() {
        let read = |text: &str| cut(text.as_bytes(), 1);
        let expected = |lines: &[(u64, &str)], count| (lines.iter().map(|(n, t)| (*n, t.to_string())).collect(), count);
        assert_eq!(read("a\rb\r\nc\r"), expected(&[(1, "a"), (1, "b"), (2, "c")], 2));
        assert_eq!(read("\n\na"), expected(&[(3, "a")], 3));
        assert_eq!(read("a\n\r\nb\n"), expected(&[(1, "a"), (3, "b")], 3));
        // Escape sequences end with a letter or another byte from @ to ~; other escapes are two bytes.
        assert_eq!(read("a\x1b[1;31mb\x1b[0~c\x1b[@d\x1bMe\x1b"), expected(&[(1, "abcde")], 1));
    }

    #[test]
    fn an_endless_line_takes_no_more_memory_than_the_limit() {
        let (lines, count) = cut(&vec![b'x'; 10 * MAX_LINE_BYTES], 4096);
        assert_eq!((lines.len(), lines[0].1.len(), count), (1, MAX_LINE_BYTES, 1));
    }
}
