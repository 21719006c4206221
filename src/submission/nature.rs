//! What the bytes of a file are, told from the bytes alone.

/// An LFS pointer is shorter (git-lfs, docs/spec.md: "less than 1024 bytes").
const MAX_POINTER_BYTES: usize = 1024;
/// Text that is encoded data holds words at least this long, and little else.
const ENCODED_WORD: u64 = 60;
/// Shorter files may have what they like encoded in them.
const MIN_ENCODED_BYTES: u64 = 1 << 18;

/// What a file's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nature {
    /// Plain text.
    Text,
    /// Text that spells data, such as base64.
    Encoded,
    /// Pictures, documents and the like, token shards, tokenizers: the words say which.
    Known(&'static str),
    /// A Git LFS pointer: the file itself is elsewhere.
    Pointer(LfsPointer),
    /// Anything else that is no text.
    Binary,
}

/// What stands in a Git LFS pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LfsPointer {
    /// Digest of the file it stands for, such as `sha256:9f86...`; empty if the pointer names none.
    pub oid: String,
    /// Size of the file it stands for in bytes; `None` if the pointer does not say or the number is none.
    pub bytes: Option<u64>,
}

impl LfsPointer {
    /// Reads a pointer, however its lines are ordered or ended.
    pub fn parse(content: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(content).ok().filter(|text| text.len() <= MAX_POINTER_BYTES)?;
        let text = text.trim_start_matches('\u{feff}').trim_start();
        let version = text.lines().next()?.strip_prefix("version ")?.trim();
        let known = ["git-lfs.github.com/spec/", "hawser.github.com/spec/"];
        let version = version.to_ascii_lowercase();
        if !known.iter().any(|spec| version.contains(spec)) {
            return None;
        }
        let value = |key: &str| {
            let words = |line: &'_ str| line.split_once(' ').map(|(k, v)| (k.to_string(), v.trim().to_string()));
            text.lines().filter_map(words).find(|(known, _)| known == key).map(|(_, value)| value)
        };
        let oid = value("oid").map_or_else(String::new, |oid| crate::escape::visible(&oid));
        Some(LfsPointer { oid, bytes: value("size").and_then(|size| size.parse().ok()) })
    }

    /// The size in words.
    pub fn size(&self) -> String {
        self.bytes.map_or("an unknown number of bytes".into(), |bytes| format!("{} bytes", crate::units::Bytes(bytes)))
    }
}

/// Looks at a file's bytes as they pass.
#[derive(Default)]
pub(super) struct Surveyor {
    start: Vec<u8>,
    is_text: bool,
    total: u64,
    controls: u64,
    word: u64,
    encoded: u64,
    /// Looks for dense text, block by block.
    density: Option<Density>,
}

/// Text that a compressor hardly shortens holds data, however its words are cut: digits, hexadecimal, base64.
#[derive(Default)]
struct Density {
    block: Vec<u8>,
    dense: u64,
}

/// Dense text is told by blocks of so many bytes.
const DENSITY_BLOCK: usize = 1 << 16;

impl Density {
    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = DENSITY_BLOCK.saturating_sub(self.block.len()).min(bytes.len());
            let (now, later) = bytes.split_at(room);
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() >= DENSITY_BLOCK {
                self.end_block();
            }
        }
    }

    fn end_block(&mut self) {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        // Into memory, which does not fail.
        let _ = std::io::Write::write_all(&mut encoder, &self.block);
        let shortened = encoder.finish().map_or(0, |bytes| bytes.len());
        // Logs come to a quarter, code and tables to a third; random digits, the loosest of these, to 0.46.
        if shortened * 100 > self.block.len() * 42 {
            self.dense += self.block.len() as u64;
        }
        self.block.clear();
    }
}

/// First bytes kept for magic numbers and pointers.
const START: usize = 1100;

impl Surveyor {
    /// One that looks for dense text, too, which takes time.
    pub fn measuring(is_wanted: bool) -> Self {
        Surveyor { density: is_wanted.then(Density::default), ..Surveyor::default() }
    }

    /// Bytes of text that hardly compresses; 0 if nobody wanted to know.
    pub fn dense(&mut self) -> u64 {
        self.density.as_mut().map_or(0, |density| {
            density.end_block();
            density.dense
        })
    }

    /// The next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        if let Some(density) = &mut self.density {
            density.feed(bytes);
        }
        if self.total == 0 {
            self.is_text = crate::artifact::foreign::is_text_start(bytes) || is_utf16(bytes);
        }
        let room = START.saturating_sub(self.start.len());
        self.start.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        self.total += bytes.len() as u64;
        if !self.is_text {
            return;
        }
        for &byte in bytes {
            self.controls += u64::from(byte < 9 || (14..27).contains(&byte));
            if byte <= b' ' || matches!(byte, b'"' | b'\'' | b',' | b'.' | b':' | b'[' | b']' | 128..) {
                self.end_word();
            } else {
                self.word += 1;
            }
        }
    }

    fn end_word(&mut self) {
        if self.word >= ENCODED_WORD {
            self.encoded += self.word;
        }
        self.word = 0;
    }

    /// What the bytes were.
    pub fn finish(mut self) -> Nature {
        self.end_word();
        let is_whole = self.total == self.start.len() as u64;
        if is_whole && let Some(pointer) = LfsPointer::parse(&self.start) {
            return Nature::Pointer(pointer);
        }
        if let Some(format) = known(&self.start) {
            return Nature::Known(format);
        }
        // A text in front does not make a text of what follows: one control byte in 64 is more than any log has.
        match self.is_text && (self.controls <= self.total / 64 || is_utf16(&self.start)) {
            false => Nature::Binary,
            true if self.total >= MIN_ENCODED_BYTES && self.encoded > self.total / 2 => Nature::Encoded,
            true => Nature::Text,
        }
    }
}

/// Whether these are letters of the Latin alphabet in UTF-16: every second byte is zero.
fn is_utf16(bytes: &[u8]) -> bool {
    let zeros = |offset| bytes.iter().skip(offset).step_by(2).filter(|&&byte| byte == 0).count();
    let (even, odd) = (zeros(0), zeros(1));
    let most = bytes.len() / 2 * 9 / 10;
    bytes.len() >= 8 && ((even >= most && odd == 0) || (odd >= most && even == 0))
}

/// Formats that no model comes in, by their first bytes.
fn known(start: &[u8]) -> Option<&'static str> {
    let formats: [(&[u8], &str); 12] = [
        (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
        (b"\xff\xd8\xff", "a JPEG picture"),
        (b"GIF8", "a GIF picture"),
        (b"%PDF-", "a PDF document"),
        (b"PAR1", "a Parquet table"),
        (b"ARROW1", "an Arrow table"),
        (b"SQLite format 3\0", "an SQLite database"),
        (b"OggS", "a sound or film"),
        (b"\x1aE\xdf\xa3", "a film"),
        // 20240520, version 1: the shards of the challenge's data.
        (b"\x88\xd7\x34\x01\x01\0\0\0", "a shard of tokens"),
        // The first piece of every SentencePiece model, `<unk>` or `<pad>`.
        (b"\n\x0e\n\x05<unk>", "a SentencePiece tokenizer"),
        (b"\n\x0e\n\x05<pad>", "a SentencePiece tokenizer"),
    ];
    if start.starts_with(b"RIFF") && start.get(8..12) == Some(b"WEBP") {
        return Some("a WebP picture");
    }
    if start.get(4..8) == Some(b"ftyp") {
        return Some("a film");
    }
    formats.iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nature(content: &[u8]) -> Nature {
        let mut surveyor = Surveyor::default();
        content.chunks(100_000).for_each(|chunk| surveyor.feed(chunk));
        surveyor.finish()
    }

    #[test]
    fn bytes_tell_what_they_are() {
        let log = "step:1/20000 train_loss:6.9357 train_time:152ms step_avg:152.01ms\n".repeat(9000);
        assert_eq!(nature(log.as_bytes()), Nature::Text);
        let wide: Vec<u8> = log.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(nature(&wide), Nature::Text);
        let python = "        x = F.linear(x.view(bsz, seqlen, dim), self.proj.weight.to(x.dtype))  # a comment\n";
        assert_eq!(nature(python.repeat(9000).as_bytes()), Nature::Text);
        let json: String = (0..90_000).map(|i| format!("{{\"step\":{i},\"loss\":1.{i}}},")).collect();
        assert_eq!(nature(json.as_bytes()), Nature::Text);
        let base64 =
            format!("{}\n", "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAx").repeat(9000);
        assert_eq!(nature(base64.as_bytes()), Nature::Encoded);
        assert_eq!(nature(&base64.as_bytes()[..10_000]), Nature::Text);
        let hidden = [log.as_bytes(), &[0x93, 0, 7, 1].repeat(400_000)].concat();
        assert_eq!(nature(&hidden), Nature::Binary);
        assert_eq!(nature(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), Nature::Known("a PNG picture"));
        assert_eq!(nature(b""), Nature::Binary);
    }

    #[test]
    fn pointers_are_read_however_they_are_written() {
        let oid = format!("sha256:{}", "ab".repeat(32));
        let pointer = |text: &str| match nature(text.as_bytes()) {
            Nature::Pointer(pointer) => Some((pointer.oid, pointer.bytes)),
            _ => None,
        };
        for text in [
            format!("version https://git-lfs.github.com/spec/v1\noid {oid}\nsize 17500123\n"),
            format!("version https://git-lfs.github.com/spec/v1\r\nsize 17500123\r\noid {oid}\r\n"),
            format!("version https://hawser.github.com/spec/v1\noid {oid}\nsize 17500123"),
        ] {
            assert_eq!(pointer(&text), Some((oid.clone(), Some(17_500_123))), "{text:?}");
        }
        let version = "version https://git-lfs.github.com/spec/v1\n";
        for size in ["", "size -1\n", "size 1e9\n", "size 99999999999999999999\n"] {
            assert_eq!(pointer(&format!("{version}oid {oid}\n{size}")), Some((oid.clone(), None)));
        }
        assert_eq!(pointer("version 2\noid x\nsize 3\n"), None);
        assert_eq!(pointer(&format!("{version}{}", "x\n".repeat(600))), None);
    }
}
