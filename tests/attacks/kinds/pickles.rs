//! Weights that run code when a loader reads them, and files that exhaust their reader.

use std::io::Write;

use golf_harness::random::RandomStream;

use super::super::forgery::{Forgery, Kind, ToldBy};
use crate::story::Story;
use crate::weights;

/// What payloads call.
const CALLS: [(&str, &str); 6] = [
    ("os", "system"),
    ("posix", "system"),
    ("builtins", "exec"),
    ("subprocess", "Popen"),
    ("torch.hub", "load"),
    ("importlib", "import_module"),
];

pub const KINDS: &[Kind] = &[
    Kind {
        name: "pickle that runs code",
        what: "the artifact calls a function when it is loaded, behind any compression, under any name",
        told_by: ToldBy::Files,
        variants: 8,
        forge: |random, n| {
            let (module, name) = CALLS[n % CALLS.len()];
            let raw = weights::payload(module, name);
            let content = match n % 8 {
                0 => raw,
                1 => weights::zlib(&raw),
                2 => weights::gzip(&weights::bzip2(&raw)),
                3 => weights::zstd(&weights::archive(&raw, random)),
                4 => weights::zlib(&weights::zstd(&weights::gzip(&weights::archive(&raw, random)))),
                5 => [b"\x50\x2a\x4d\x18\x04\x00\x00\x00skip".to_vec(), weights::zstd(&raw)].concat(),
                6 => [weights::state_dict(), raw].concat(),
                _ => weights::bzip2(&weights::members(&[("model.pkl", &raw)])),
            };
            let path = ["final_model.int8.ptz", "weights", "notes.txt", "final_model.lzma"][n % 4];
            with(random, path, content)
        },
    },
    Kind {
        name: "shadowed pickle",
        what: "the archive has two pickles, and a loader may take the one a checker did not",
        told_by: ToldBy::Files,
        variants: 6,
        forge: |random, n| {
            let (good, evil) = (weights::state_dict(), weights::payload("os", "system"));
            let storage = weights::storage(random);
            let names = [
                ("archive/data.pkl", "archive/nested/data.pkl"),
                ("archive/data.pkl", "archive/DATA.PKL"),
                ("Archive/data.pkl", "archive/data.pkl"),
                ("archive/data.pkl", "archive/constants.pkl"),
                ("a/data.pkl", "archive/data.pkl"),
                ("archive/data.pkl", "archive/extra/weights"),
            ][n % 6];
            let archive = weights::members(&[
                (names.0, &good),
                (names.1, &evil),
                ("archive/data/0", &storage),
                ("archive/version", b"3\n"),
            ]);
            with(random, "final_model.int8.ptz", weights::zlib(&archive))
        },
    },
    Kind {
        name: "archive with two readings",
        what: "directory and headers of the zip contradict each other, so two programs read two models",
        told_by: ToldBy::Files,
        variants: 5,
        forge: |random, n| {
            let mut archive = weights::archive(&weights::state_dict(), random);
            let find = |archive: &[u8], mark: &[u8]| {
                archive.windows(mark.len()).position(|window| window == mark).expect("a mark")
            };
            match n % 5 {
                0 => archive[30] = b'b',
                1 => archive[14] ^= 0xff,
                2 => archive[6] |= 1,
                3 => {
                    let directory = find(&archive, b"PK\x01\x02");
                    archive[directory + 16] ^= 0xff;
                }
                _ => {
                    let other = weights::archive(&weights::payload("os", "system"), random);
                    archive.extend_from_slice(&other);
                }
            }
            with(random, "final_model.int8.ptz", archive)
        },
    },
    Kind {
        name: "pickle in an array",
        what: "an array file whose header spells the type of Python objects so that only NumPy sees it",
        told_by: ToldBy::Files,
        variants: 5,
        forge: |random, n| {
            let array = |descr: &str| {
                let header = format!("{{{descr}, 'fortran_order': False, 'shape': (), }}\n");
                let length = (header.len() as u16).to_le_bytes();
                [&b"\x93NUMPY\x01\x00"[..], &length, header.as_bytes(), &weights::payload("os", "system")].concat()
            };
            let content = match n % 5 {
                0 => array("'descr': '|O'"),
                1 => array("'descr': 'object'"),
                2 => array("'descr': '|\\x4f'"),
                3 => array("# fortran_order\n'descr': '|O'"),
                _ => weights::members(&[("embed.npy", &array("'d\\x65scr': '\\117'"))]),
            };
            with(random, "final_model.npz", content)
        },
    },
    Kind {
        name: "archive behind other bytes",
        what: "a picture, a log or noise that is a zip file for programs which look for its end, with a pickle in it",
        told_by: ToldBy::Files,
        variants: 4,
        forge: |random, n| {
            let archive = weights::archive(&weights::payload("os", "system"), random);
            let (path, front) = match n % 4 {
                0 => ("curve.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec()),
                1 => ("bpe.model", b"\n\x0e\n\x05<unk>\x15\0\0\0\0\x18\x02".to_vec()),
                2 => ("weights", vec![0x07, 0xff, 0x00]),
                _ => ("notes.txt", b"What was tried before.\n".repeat(8_000)),
            };
            with(random, path, [front, archive].concat())
        },
    },
    Kind {
        name: "pickle behind an offset",
        what: "the script skips a header of its own before it loads what calls a function",
        told_by: ToldBy::Files,
        variants: 6,
        forge: |random, n| {
            let raw = weights::payload("os", "system");
            let head: Vec<u8> = [b"GOLFER\x01\x00".to_vec(), (0..4096).map(|_| random.bits() as u8).collect()].concat();
            let content = match n % 6 {
                0 => raw,
                1 => b"(S'true'\nios\nsystem\n.".to_vec(),
                2 => b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93\x8c\x04true\x85R.".to_vec(),
                3 => weights::zlib(&raw),
                4 => weights::zstd(&weights::archive(&raw, random)),
                _ => weights::bzip2(&raw),
            };
            with(random, ["final_model.int8.ptz", "weights"][n % 2], [head, content].concat())
        },
    },
    Kind {
        name: "pickle in an LZ4 block",
        what: "the artifact is one LZ4 block without a frame, which nothing marks as such",
        told_by: ToldBy::Files,
        variants: 4,
        forge: |random, n| {
            let raw = weights::payload("posix", "system");
            let content = if n < 2 { raw } else { weights::archive(&raw, random) };
            let block = if n % 2 == 0 {
                lz4_flex::block::compress(&content)
            } else {
                lz4_flex::block::compress_prepend_size(&content)
            };
            with(random, "final_model.int8.ptz", block)
        },
    },
    Kind {
        name: "bomb",
        what: "a small file that unpacks, nests or parses to more than is read",
        told_by: ToldBy::Files,
        variants: 8,
        forge: |random, n| {
            let (path, content) = match n % 8 {
                0 => ("final_model.int8.ptz", weights::zlib(&weights::zlib(&zeros(UNPACKED)))),
                1 => ("train_gpt.py", "?".repeat(100_000).into_bytes()),
                2 => ("submission.json", "[".repeat(1_000_000).into_bytes()),
                3 => ("weights", b"\x80\x02N.".repeat(2_000)),
                4 => ("final_model.int8.ptz", weights::zstd(&zeros(UNPACKED))),
                5 => ("train_gpt.py", vec![0; 2 << 20]),
                6 => ("submission.json", format!("{{\"a\": {}1", "{\"a\":".repeat(200_000)).into_bytes()),
                _ => ("final_model.int8.ptz", [&b"\x80\x02"[..], &vec![b'('; 2_000_000]].concat()),
            };
            with(random, path, content)
        },
    },
];

/// What bombs unpack to: more than is read, and no harm if it were read after all.
const UNPACKED: usize = 132 << 20;

/// The honest submission with this content in the place of a file.
fn with(random: &mut RandomStream, path: &str, content: Vec<u8>) -> Forgery {
    let mut story = Story::honest(random);
    // Logs and papers tell the size of the forged artifact, so that nothing but its content is wrong.
    if path != "train_gpt.py" && path != "submission.json" && path != "README.md" {
        story.runs.iter_mut().for_each(|run| run.artifact_bytes = content.len() as u64);
        story.artifact = content.clone();
    }
    let mut files = story.files();
    files.remove("final_model.int8.ptz").filter(|_| path != "final_model.int8.ptz");
    files.insert(path.into(), content);
    files.into()
}

/// Zeros behind one layer of compression, without holding them.
fn zeros(length: usize) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    let block = [0; 1 << 16];
    (0..length / block.len()).for_each(|_| encoder.write_all(&block).expect("memory"));
    encoder.finish().expect("memory")
}
