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
        name: "bomb", // TODO after worker
        what: "a small file that unpacks, nests or parses to more than any memory",
        told_by: ToldBy::Reviewer,
        variants: 8,
        forge: |random, n| {
            let path = ["final_model.int8.ptz", "train_gpt.py", "submission.json", "README.md"][n % 4];
            let content = match n % 8 {
                0 => weights::zlib(&weights::zlib(&zeros(600 << 20))),
                1 => "?".repeat(100_000).into_bytes(),
                2 => "[".repeat(1_000_000).into_bytes(),
                3 => vec![0; 2 << 20],
                4 => weights::zstd(&zeros(600 << 20)),
                5 => vec![0; 2 << 20],
                6 => format!("{{\"a\": {}1", "{\"a\":".repeat(200_000)).into_bytes(),
                _ => vec![b'`'; 3 << 20],
            };
            with(random, path, content)
        },
    },
];

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
