//! Model files of submissions, opened without running anything in them.

use std::path::Path;
use std::sync::Mutex;

use super::nature::LfsPointer;
use crate::artifact::foreign::{self, ForeignError, MAX_EXPANDED_BYTES, MAX_OPENED_BYTES};

/// One at a time: an opened model takes some hundred megabytes, and folders are read on all cores.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// What opening a model file told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedArtifact {
    /// Relative path.
    pub path: String,
    /// What it is.
    pub content: Opened,
    /// Pickles in it, followed to their end.
    pub pickles: usize,
    /// Bytes that belong to no tensor, in words, such as those behind the end of a compressed stream.
    pub unclaimed: Vec<String>,
}

/// What a model file turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// A model: its format in words, tensors and values.
    Model {
        /// Such as `zstd > torch zip > PR #286 export`.
        description: String,
        /// Tensors in it.
        tensors: usize,
        /// Values in all tensors.
        values: u64,
    },
    /// A pickle in it imports what tensors do not need; the words name it.
    Refused(String),
    /// Programs differ in which bytes of it they load; the words say how. A pickle in it may import what tensors do not
    /// need besides.
    Ambiguous(String, Option<String>),
    /// An archive of several models, each named in the words.
    Several(String),
    /// No format this tool knows.
    Unknown,
    /// A known format, looked through, that holds no tensors in a known convention; the words say what.
    NoModel(String),
    /// A Git LFS pointer stands in its place; the words say to what.
    Pointer(String),
    /// A known format, damaged, too large, or not read here.
    Damaged(String),
    /// Something else in a known format: text or pictures in a zip file, a compressed log.
    Other,
}

impl OpenedArtifact {
    /// Opens the bytes of the file at a relative path, within the bounds of the artifact readers.
    pub fn open(path: &str, bytes: &[u8]) -> Self {
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (content, pickles, unclaimed) = match foreign::list_within(bytes, Path::new(path), MAX_EXPANDED_BYTES) {
            Ok(listing) => {
                let foreign::Listing { description, tensors, values, pickles, unclaimed, .. } = listing;
                (Opened::Model { description, tensors, values }, pickles, unclaimed)
            }
            Err(error) => (content(error), 0, Vec::new()),
        };
        OpenedArtifact { path: path.to_string(), content, pickles, unclaimed }
    }

    /// A file too large to open.
    pub fn too_large(path: &str, bytes: u64) -> Self {
        let words = format!("{path}: {bytes} bytes are more than the {MAX_OPENED_BYTES} that are opened");
        let content = Opened::Damaged(words);
        OpenedArtifact { path: path.to_string(), content, pickles: 0, unclaimed: Vec::new() }
    }

    /// A zip file behind text, which programs that look for the end of a file open.
    pub fn behind_text(path: &str, before: u64) -> Self {
        let words = format!("{path}: a zip file begins behind {before} bytes of text");
        OpenedArtifact { path: path.to_string(), content: Opened::Damaged(words), pickles: 0, unclaimed: Vec::new() }
    }

    /// A Git LFS pointer in place of a file.
    pub fn pointer(path: &str, pointer: &LfsPointer) -> Self {
        let words =
            format!("{path} is a Git LFS pointer to {} ({}); the file itself is not here", pointer.size(), pointer.oid);
        OpenedArtifact { path: path.to_string(), content: Opened::Pointer(words), pickles: 0, unclaimed: Vec::new() }
    }

    /// Whether the content says that this is a model file, whatever it is called.
    pub fn is_model(&self) -> bool {
        matches!(self.content, Opened::Model { .. } | Opened::Refused(_) | Opened::Ambiguous(..) | Opened::Several(_))
    }

    /// Whether there is anything to say about a file that is not called a model.
    pub fn is_noteworthy(&self) -> bool {
        !matches!(self.content, Opened::Unknown | Opened::Other)
    }
}

fn content(error: ForeignError) -> Opened {
    match &error {
        ForeignError::Import { .. } => Opened::Refused(error.to_string()),
        ForeignError::Ambiguous { import, .. } => {
            Opened::Ambiguous(error.to_string(), import.as_ref().map(ToString::to_string))
        }
        ForeignError::Several { .. } => Opened::Several(error.to_string()),
        ForeignError::PlainArchive { .. } => Opened::Other,
        ForeignError::Unknown { is_text: true, .. } => Opened::Other,
        ForeignError::Unknown { .. } => Opened::Unknown,
        ForeignError::NoModel { .. } => Opened::NoModel(error.to_string()),
        _ => Opened::Damaged(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::submission::{FileKind, RecordFolder};

    /// `posix.system("true")`, in protocol 2 and in protocol 0, which is plain text.
    const EVIL: &[u8] = b"\x80\x02cposix\nsystem\nX\x04\0\0\0true\x85R.";
    const EVIL_TEXT: &[u8] = b"cposix\nsystem\n(Vtrue\ntR.";

    fn folder(files: &[(&str, &[u8])]) -> RecordFolder {
        let root = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, content)| std::fs::write(root.path().join(name), content).unwrap());
        RecordFolder::read(root.path())
    }

    #[test]
    fn content_decides_what_a_file_is() {
        let squeezed = zstd::encode_all(EVIL, 3).unwrap();
        // A long text in front: the call lies behind what is read first.
        let long = [b"V".to_vec(), vec![b'a'; 300_000], b"\n0".to_vec(), EVIL_TEXT.to_vec()].concat();
        for name in [
            "final_model",
            "m.lzma",
            "m.hgz",
            "m.gz",
            "m.model",
            "m.dat",
            "m.bin",
            "m.zip",
            "m.txt",
            "m.json",
            "train.log",
            "train_gpt.py",
            "README.md",
            "submission.json",
            "m.pt",
            "tokenizer.json",
            "requirements.txt",
        ] {
            for content in [EVIL, EVIL_TEXT, &squeezed, &long] {
                let found = folder(&[(name, content)]);
                let refused = found.artifacts.iter().any(|artifact| matches!(artifact.content, Opened::Refused(_)));
                assert!(refused, "{name}: {:?}", &content[..8]);
            }
        }
        let found = folder(&[("weights", EVIL)]);
        assert_eq!(found.files[0].kind, FileKind::Artifact);
    }

    #[test]
    fn what_is_no_model_is_none() {
        let zip = {
            use std::io::Write;
            let mut writer = ::zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
            for name in ["train_1.log", "train_2.log"] {
                writer.start_file(name, ::zip::write::SimpleFileOptions::default()).unwrap();
                writer.write_all(b"step:1 val_bpb:1.2\n").unwrap();
            }
            writer.finish().unwrap().into_inner()
        };
        let log = zstd::encode_all(&b"step:1 val_bpb:1.2\n"[..], 3).unwrap();
        let wide: Vec<u8> = "step:1 val_bpb:1.2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let found = folder(&[
            ("train.log", b"Loading\nLoading\nstep:1 val_bpb:1.2\n"),
            ("a.txt", b"Vertical\nVertical\n"),
            ("requirements.txt", b"certifi\nnumpy\ntorch\n"),
            ("notes.txt", b"x notes\n"),
            ("wide.log", &wide),
            ("plot.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01"),
            ("bpe.model", b"\n\x0e\n\x05<unk>\x15\0\0\0\0\x18\x02"),
            ("logs.zip", &zip),
            ("train.log.zst.txt", &log),
            ("empty", b""),
        ]);
        assert_eq!(found.artifacts, []);
    }

    #[test]
    fn what_looks_like_a_model_and_is_none_is_said_to_be() {
        let end = b"PK\x05\x06\0\0\0\0\x01\0\x01\0\x2e\0\0\0\x1e\0\0\0\0\0";
        let behind = [&b"step:1\n".repeat(100_000)[..], &[b'P'; 76], end].concat();
        let found = folder(&[("train.log", &behind)]);
        let [OpenedArtifact { content: Opened::Damaged(words), .. }] = found.artifacts.as_slice() else {
            panic!("{:?}", found.artifacts)
        };
        assert!(words.contains("a zip file begins behind 700000 bytes of text"), "{words}");
        let found =
            folder(&[("weights", b"PK\x03\x04 and no more"), ("model.lrz", b"LRZI\0\x06"), ("m.bin", b"odd\0\xff")]);
        let contents: Vec<_> =
            found.artifacts.iter().map(|artifact| (artifact.path.as_str(), &artifact.content)).collect();
        let [("m.bin", Opened::Unknown), ("model.lrz", Opened::Damaged(lrz)), ("weights", Opened::Damaged(zip))] =
            contents.as_slice()
        else {
            panic!("{contents:?}")
        };
        assert!(lrz.contains("lrzip") && zip.contains("no end record"), "{lrz}; {zip}");
    }
}
