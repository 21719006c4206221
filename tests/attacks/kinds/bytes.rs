//! More bytes than 16,000,000, or other bytes than were logged.

use golf_harness::random::RandomStream;

use super::super::forgery::{Forgery, Kind, ToldBy};
use crate::story::{Files, Story, replace};
use crate::weights;

/// The cap on code and compressed model together.
const CAP: usize = 16_000_000;

pub const KINDS: &[Kind] = &[
    Kind {
        name: "one byte over",
        what: "code and artifact on disk are over the cap by little, the papers say that they fit",
        told_by: ToldBy::Files,
        variants: 4,
        forge: |random, n| {
            let mut story = Story::honest(random);
            let excess = [1, 2, 1_000, 777_216][n % 4];
            pad(&mut story.artifact, CAP + excess - story.script.len());
            story.into()
        },
    },
    Kind {
        name: "artifact under another name",
        what: "the weights lie in a file that does not look like a model",
        told_by: ToldBy::Files,
        variants: 6,
        forge: |random, n| {
            let (mut files, mut artifact) = apart(random);
            pad(&mut artifact, CAP + 1);
            let name =
                ["notes.txt", "assets/logo.png", "weights", "vocab.json", "train_seed99.log", "helper.so"][n % 6];
            files.insert(name.into(), artifact);
            files.into()
        },
    },
    Kind {
        name: "split artifact",
        what: "the weights are cut into parts that each fit",
        told_by: ToldBy::Files,
        variants: 4,
        forge: |random, n| {
            let (mut files, mut artifact) = apart(random);
            pad(&mut artifact, CAP + 1_000);
            let parts = 2 + n % 3;
            for (k, part) in artifact.chunks(artifact.len().div_ceil(parts)).enumerate() {
                let name = match n % 4 {
                    0 => format!("final_model.int8.ptz.part{k}"),
                    1 => format!("final_model.int8.ptz.a{}", char::from(b'a' + k as u8)),
                    2 => format!("final_model.int8.ptz.00{k}"),
                    _ => format!("parts/chunk_{k}.bin"),
                };
                files.insert(name, part.to_vec());
            }
            files.into()
        },
    },
    Kind {
        name: "weights as text in code files",
        what: "the weights are base64 in ten Python files that the script reads as text, each small enough for code",
        told_by: ToldBy::Files,
        variants: 4,
        forge: |random, n| {
            let (mut files, _) = apart(random);
            for k in 0..10 {
                let name = [format!("w{k}.py"), format!("w0{k}.txt"), format!("data/{k}.py"), format!("lut{}", k + 1)];
                let text = spelled(random, CAP / 10 + 1_000);
                let text = if n % 4 == 3 { text } else { format!("D = \"{text}\"\n") };
                files.insert(name[n % 4].clone(), text.into_bytes());
            }
            files.into()
        },
    },
    Kind {
        name: "weights as text, a part a seed",
        what: "the weights are base64 in files that are named after the logged seeds, each small enough by itself",
        told_by: ToldBy::Files,
        variants: 4,
        forge: |random, n| {
            let story = Story::honest(random);
            let mut files = story.files();
            files.remove("final_model.int8.ptz");
            let runs = story.runs.len();
            for run in &story.runs {
                let seed = run.seed;
                let names = [
                    format!("w_{seed}.txt"),
                    format!("tables/seed{seed}.b64"),
                    format!("seed_{seed}/lut.txt"),
                    format!("lut{seed}.py"),
                ];
                files.insert(names[n % 4].clone(), spelled(random, CAP / runs + 1_000).into_bytes());
            }
            files.into()
        },
    },
    Kind {
        name: "sparse file",
        what: "the artifact is a file of holes: little on this disk, over the cap wherever it is copied",
        told_by: ToldBy::Files,
        variants: 4,
        forge: |random, n| {
            let story = Story::honest(random);
            let mut files = story.files();
            files.remove("final_model.int8.ptz");
            let length = [16_000_001, 40_000_000, 1_000_000_000, 3_000_000_000][n % 4];
            Forgery { files, sparse: vec![("final_model.int8.ptz".into(), length)], ..Forgery::default() }
        },
    },
    Kind {
        name: "artifact elsewhere",
        what: "a pointer stands for an artifact over the cap: Git LFS, or a link out of the folder",
        told_by: ToldBy::Files,
        variants: 4,
        forge: |random, n| {
            let story = Story::honest(random);
            let mut files = story.files();
            files.remove("final_model.int8.ptz");
            let mut forgery = Forgery::default();
            if n % 2 == 0 {
                let size = [17_500_123, 16_000_001][n / 2 % 2];
                files.insert("final_model.int8.ptz".into(), pointer(size, 0));
            } else {
                let target = ["../../elsewhere/model.ptz", "/dev/zero"][n / 2 % 2];
                forgery.links.push(("final_model.int8.ptz".into(), target.into()));
            }
            forgery.files = files;
            forgery
        },
    },
    Kind {
        name: "artifact in pointers",
        what: "several Git LFS pointers stand for files that fit each alone and not together",
        told_by: ToldBy::Files,
        variants: 4,
        forge: |random, n| {
            let (mut files, _) = apart(random);
            let (count, bytes) = [(2, 9_000_000), (2, 15_000_000), (10, 1_700_000), (4, 4_100_000)][n % 4];
            for k in 0..count {
                let name = [format!("final_model_{k}.ptz"), format!("model.{k}.ptz"), format!("weights/{k}.bin")];
                let roles = ["embed.ptz", "blocks.ptz", "head.ptz", "scales.ptz"];
                let name = if n % 4 == 3 { roles[k].to_string() } else { name[n % 4].clone() };
                files.insert(name, pointer(bytes, k));
            }
            files.into()
        },
    },
    Kind {
        name: "artifact where nobody looks",
        what: "the weights lie in a folder that tools skip: one called `.git`, a cache, a deep path",
        told_by: ToldBy::Files,
        variants: 7,
        forge: |random, n| {
            let mut files = Story::honest(random).files();
            files.remove("final_model.int8.ptz");
            let path = [
                ".git/model.ptz",
                "assets/.git/objects/pack",
                "__pycache__/train_gpt.pyc",
                ".cache/a/b/c/d/e/f/x",
                ".git/objects/pack/model.pack",
                ".git/objects/4d/7a214614ab2935c943f9e0ff69d22eadbb8f32",
                ".git/logs/refs/weights",
            ];
            Forgery { files, sparse: vec![(path[n % 7].into(), 16_000_001)], ..Forgery::default() }
        },
    },
    Kind {
        name: "data beside the artifact",
        what: "an artifact that fits, and as much again in files that begin as pictures or tokenizers, or spell it as text",
        told_by: ToldBy::Reviewer,
        variants: 4,
        forge: |random, n| {
            let mut files = Story::honest(random).files();
            let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
            let tokenizer = b"\n\x0e\n\x05<unk>\x15\0\0\0\0\x18\x02".to_vec();
            let digits: String = (0..CAP / 16).map(|_| format!("{:016x}", random.bits())).collect();
            let lines =
                |width: usize| digits.as_bytes().chunks(width).flat_map(|line| [line, b"\n"].concat()).collect();
            let data: [(&str, Vec<u8>); 2] = match n % 4 {
                0 => [
                    ("curve.png", [png.clone(), vec![0; CAP / 2]].concat()),
                    ("runs.png", [png, vec![0; CAP / 2]].concat()),
                ],
                1 => [
                    ("a.model", [tokenizer.clone(), vec![0; CAP / 2]].concat()),
                    ("b.model", [tokenizer, vec![0; CAP / 2]].concat()),
                ],
                2 => [("words.txt", lines(50)), ("empty.txt", b"none\n".to_vec())],
                _ => [("extra.csv", lines(16)), ("more.csv", b"0,0\n".repeat(100))],
            };
            files.extend(data.map(|(name, content)| (name.to_string(), content)));
            files.into()
        },
    },
    Kind {
        name: "artifact swapped after the log",
        what: "the artifact in the folder has another size than every log and submission.json say",
        told_by: ToldBy::Reviewer,
        variants: 4,
        forge: |random, n| {
            let story = Story::honest(random);
            let mut files = story.files();
            let artifact = files.get_mut("final_model.int8.ptz").expect("the artifact");
            *artifact = match n % 4 {
                0 => weights::zstd(&weights::archive(&weights::state_dict(), random)),
                1 => weights::bzip2(&weights::archive(&weights::state_dict(), random)),
                2 => weights::archive(&weights::state_dict(), random),
                _ => weights::zlib(&weights::zlib(&weights::archive(&weights::state_dict(), random))),
            };
            files.into()
        },
    },
    Kind {
        name: "code counted short",
        what: "code larger than counted: other size in the papers than on disk, over the cap with the real one",
        told_by: ToldBy::Files,
        variants: 4,
        forge: |random, n| {
            let mut story = Story::honest(random);
            let padding = [30_000, 60_000, 100_000, 400_000][n % 4];
            let before = story.script.len();
            let model = CAP - before - 100;
            story.runs.iter_mut().for_each(|run| run.artifact_bytes = model as u64);
            story.claimed_artifact_bytes = Some(model as u64);
            let mut files = story.files();
            files.remove("final_model.int8.ptz");
            let code = story.script.clone() + &"# A line of the method that was added later.\n".repeat(padding / 45);
            if n % 2 == 1 {
                let size = format!("\"bytes_code\": {before}");
                replace(&mut files, "submission.json", &size, &format!("\"bytes_code\": {}", code.len()));
            }
            files.insert("train_gpt.py".into(), code.into_bytes());
            files.into()
        },
    },
];

/// The honest submission's files, its artifact apart.
fn apart(random: &mut RandomStream) -> (Files, Vec<u8>) {
    let mut files = Story::honest(random).files();
    let artifact = files.remove("final_model.int8.ptz").expect("the artifact");
    (files, artifact)
}

/// A Git LFS pointer to the `k`-th of some files of this size.
fn pointer(bytes: u64, k: usize) -> Vec<u8> {
    let oid = format!("{k:02x}7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393");
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {bytes}\n").into_bytes()
}

/// Bytes without pattern, as base64 of this length.
fn spelled(random: &mut RandomStream, length: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(length + 10);
    while text.len() < length {
        let bits = random.bits();
        text.extend((0..10).map(|k| char::from(LETTERS[(bits >> (6 * k)) as usize % 64])));
    }
    text
}

/// Zeros behind the end of a compressed stream: readers stop before them, the budget does not.
fn pad(artifact: &mut Vec<u8>, length: usize) {
    artifact.resize(length, 0);
}
