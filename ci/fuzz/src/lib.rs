//! What the fuzzers call, one function a parser: any bytes in, no panic and no unbounded memory out.
//!
//! The project's tests include this file and replay the seeds under `fixtures/fuzz` through the same functions.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use golf_harness::artifact::{self, foreign, inspect};
use golf_harness::data::{Tokenizer, check_vocabulary, decode_shard};
use golf_harness::digest::ContentDigest;
use golf_harness::interrupt::Interrupt;
use golf_harness::manifest::{canonical_yaml, parse};
use golf_harness::model::parse_safetensors;
use golf_harness::report::{Severity, Status};
use golf_harness::rerun::plan::imply_run;
use golf_harness::rules::Auditor;
use golf_harness::rules::audit::{self as audits, Options};
use golf_harness::stats::Board;
use golf_harness::submission::code::{CodeSurvey, Python, interface, shell};
use golf_harness::submission::log::LogScanner;
use golf_harness::submission::{CodeText, OpenedArtifact, Readme, RecordFolder, SubmissionJson};
use golf_harness::worker::{Limits, Workers};

/// A parser under its name.
pub type Parser = (&'static str, fn(&[u8]));

/// Every parser; the name is also that of the fuzz target and of the folder with its seeds.
pub const PARSERS: &[Parser] = &[
    ("json", json),
    ("log", log),
    ("manifest", manifest),
    ("board", board),
    ("pickle", pickle),
    ("zip", zip),
    ("torch", torch),
    ("foreign", foreign),
    ("safetensors", safetensors),
    ("artifact", artifact),
    ("shard", shard),
    ("tokenizer", tokenizer),
    ("python", python),
    ("shell", shell),
    ("folder", folder),
    ("worker", worker),
];

/// A submission.json, and everything that is asked of one.
pub fn json(bytes: &[u8]) {
    let json = SubmissionJson::parse("submission.json".into(), bytes);
    black_box((json.bpb(), json.total(), json.code(), json.models(), json.track()));
    black_box((json.seeds(), json.seed_results(), json.texts(), json.line_of("val_bpb")));
}

/// A log; where the reads happen to end must make no difference.
pub fn log(bytes: &[u8]) {
    let read = |chunk: usize| {
        let mut scanner = LogScanner::new("train.log".into());
        bytes.chunks(chunk).for_each(|part| scanner.feed(part));
        format!("{:?}", scanner.finish(false))
    };
    assert!(read(7) == read(1 << 16), "a log reads differently in small pieces");
}

/// A manifest; one that is accepted must survive being written.
pub fn manifest(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(first) = parse(text, Path::new("m.yaml")) else { return };
    let written = canonical_yaml(&first);
    match parse(&written, Path::new("m.yaml")) {
        Ok(second) => assert!(canonical_yaml(&second) == written, "a manifest changes when written twice"),
        Err(error) => panic!("a written manifest is refused: {error}\n{written}"),
    }
}

/// A board of standing records.
pub fn board(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(board) = Board::parse(text, Path::new("board.yaml")) else { return };
    black_box(board.standing(Some("2026-04-01"), Some(1)).map(|entry| (entry.label(), entry.reference())));
}

/// A pickle program by itself.
pub fn pickle(bytes: &[u8]) {
    if let Ok(pickle) = foreign::pickle::interpret(bytes) {
        black_box((pickle.get(pickle.root, "w"), pickle.first_refused()));
    }
}

/// A model file in somebody else's format: compression, zip, pickle, arrays.
pub fn zip(bytes: &[u8]) {
    black_box(OpenedArtifact::open("final_model.ptz", bytes));
    take_apart(bytes, Path::new("final_model.ptz"));
}

/// A zip of pickles, beside what PyTorch would take of it: the member `ROOT/data.pkl` by a reader of its own, where ROOT
/// is the folder of the first member and case does not matter. What is opened imports nothing that was not named, and
/// nothing that tensors do not need.
pub fn torch(bytes: &[u8]) {
    const MAX_BYTES: u64 = 1 << 20;
    let Ok(listing) = foreign::list_within(bytes, Path::new("model.pt"), MAX_BYTES) else { return };
    let Ok(mut archive) = zip::ZipArchive::new(std::io::Cursor::new(bytes)) else { return };
    let Some(Ok(first)) = archive.name_for_index(0) else { return };
    let index = format!("{}/data.pkl", first.split('/').next().unwrap_or_default());
    for at in 0..archive.len() {
        let Ok(member) = archive.by_index(at) else { continue };
        if !member.name().is_ok_and(|name| name.eq_ignore_ascii_case(&index)) {
            continue;
        }
        let mut program = Vec::new();
        if std::io::Read::read_to_end(&mut std::io::Read::take(member, MAX_BYTES), &mut program).is_err() {
            continue;
        }
        let Ok(pickle) = foreign::pickle::interpret(&program) else { continue };
        assert!(pickle.first_refused().is_none(), "PyTorch imports what was not refused");
        for import in &pickle.imports {
            let name = format!("{}.{}", import.module, import.name);
            assert!(listing.imports.contains(&name), "PyTorch imports {name}, which is not named");
        }
    }
}

/// A file of any kind under no name. What is refused for its pickle must be looked at in the first place, and what can
/// be decoded can be listed.
pub fn foreign(bytes: &[u8]) {
    const MAX_BYTES: u64 = 1 << 20;
    let path = Path::new("file");
    let listed = foreign::list_within(bytes, path, MAX_BYTES);
    if matches!(listed, Err(foreign::ForeignError::Import { .. })) {
        assert!(foreign::may_be_model(bytes), "a pickle in a file that nobody would open");
    }
    if let Ok(model) = foreign::parse_within(bytes, path, MAX_BYTES) {
        let tensors = listed.map(|listing| listing.tensors);
        assert!(tensors.is_ok_and(|tensors| tensors == model.packed.len()), "decoded, and not listed");
    }
    take_apart(bytes, path);
}

/// An inspection: nothing of a file may be lost or counted twice, and the picture must be written.
fn take_apart(bytes: &[u8], path: &Path) {
    let Ok(found) = inspect::examine(bytes, path) else { return };
    let sum = |of: fn(&inspect::TensorLine) -> u64, rest: fn(&inspect::RestLine) -> u64| {
        found.tensors.iter().map(of).sum::<u64>() + found.rest.iter().map(rest).sum::<u64>()
    };
    assert!(sum(|t| t.in_file.0, |r| r.in_file.0) == bytes.len() as u64, "parts do not add up to the file");
    assert!(sum(|t| t.held.0, |r| r.held.0) == found.unpacked.0, "parts do not add up to what is held");
    black_box((inspect::text(&found), inspect::InspectionDocument::of(&found), inspect::svg(&found)));
}

/// A weights file.
pub fn safetensors(bytes: &[u8]) {
    let path = Path::new("weights.safetensors");
    black_box(parse_safetensors(bytes, path).is_ok());
    black_box(foreign::parse(bytes, path).is_ok());
    take_apart(bytes, path);
}

/// An artifact of this project.
pub fn artifact(bytes: &[u8]) {
    black_box(artifact::parse(bytes).is_ok());
    take_apart(bytes, Path::new("model.golf"));
}

/// A token shard.
pub fn shard(bytes: &[u8]) {
    if let Ok(tokens) = decode_shard(bytes) {
        assert!(tokens.len() * 2 <= bytes.len(), "more tokens than bytes");
        black_box(check_vocabulary(&tokens, 1024, 0).is_ok());
    }
}

/// A SentencePiece model; one that is accepted must encode any text without harm.
pub fn tokenizer(bytes: &[u8]) {
    let Ok(tokenizer) = Tokenizer::decode_model(bytes) else { return };
    black_box(tokenizer.byte_table());
    black_box(tokenizer.encode("Golf, \u{fb01}nal \u{4e16}\u{754c}\t1.1628\n  x").is_ok());
}

/// A Python script.
pub fn python(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let file = CodeText { path: "train_gpt.py".into(), digest: ContentDigest::of(bytes), text: Some(text) };
    black_box(CodeSurvey::of(std::slice::from_ref(&file)));
    if let Some(python) = file.text.as_deref().and_then(|text| Python::parse(text).ok()) {
        black_box(interface::of(&python));
    }
}

/// A README with shell blocks, and the run it implies.
pub fn shell(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    black_box(shell::lost_variables(&shell::commands(&text)));
    let folder = RecordFolder {
        root: PathBuf::from("/nowhere"),
        name: "nowhere".into(),
        repository_path: None,
        files: Vec::new(),
        anomalies: Vec::new(),
        submission: None,
        readme: Some(Readme { path: "README.md".into(), bytes: bytes.len() as u64, text }),
        logs: Vec::new(),
        code: Vec::new(),
        artifacts: Vec::new(),
        survey: CodeSurvey::default(),
    };
    if let Ok(mut manifest) = parse("schema: golf-harness/manifest/v1\nname: x\n", Path::new("x.yaml")) {
        imply_run(&mut manifest, folder);
        black_box(manifest);
    }
}

/// Names of the files of [`folder`]: one for each reader, and one that only its content can give to one.
const NAMES: [&str; 12] = [
    "submission.json",
    "README.md",
    "train.log",
    "train_seed42.log",
    "notes.txt",
    "train_gpt.py",
    "helper.py",
    "run.sh",
    "bpe.model",
    "final_model.ptz",
    "model.safetensors",
    "data",
];

/// A record folder: for each file a byte for its name, its length in four little-endian bytes, its content.
fn lay_out(mut bytes: &[u8]) -> Option<tempfile::TempDir> {
    let root = tempfile::tempdir().ok()?;
    while let Some((&[name, a, b, c, d], rest)) = bytes.split_first_chunk() {
        let length = (u32::from_le_bytes([a, b, c, d]) as usize).min(rest.len());
        let (content, behind) = rest.split_at(length);
        std::fs::write(root.path().join(NAMES[usize::from(name) % NAMES.len()]), content).ok()?;
        bytes = behind;
    }
    Some(root)
}

/// A [record folder](lay_out). Every rule looks at it.
pub fn folder(bytes: &[u8]) {
    let Some(root) = lay_out(bytes) else { return };
    let Ok(report) = audits::folder(root.path(), "folder".into(), &Options::default()) else { return };
    assert!(report.status == Status::of(&report.findings), "a status that is not that of the findings");
    for finding in &report.findings {
        assert!(!finding.broken, "a check broke: {}", finding.message);
        assert!(!finding.incomplete || finding.severity > Severity::Note, "not examined, and nobody is told");
        assert!(!finding.message.chars().any(char::is_control), "a message that can repaint a terminal");
    }
}

/// The program `verify` that the project's tests were built with; none in a fuzzer.
const VERIFY_OF_TESTS: Option<&str> = option_env!("CARGO_BIN_EXE_verify");

/// The same folder audited by a confined worker: within its limits, and with the report that this process comes to.
///
/// The worker is the program `verify` that the variable `GOLF_VERIFY` names, in the project's tests the one they were
/// built with. It cannot be the fuzzer: a sanitizer's shadow memory is larger than a worker's address space.
pub fn worker(bytes: &[u8]) {
    static WORKERS: LazyLock<Workers> = LazyLock::new(|| {
        match VERIFY_OF_TESTS.map(PathBuf::from).or_else(|| std::env::var_os("GOLF_VERIFY").map(PathBuf::from)) {
            Some(program) => Workers::of(program, vec![std::env::temp_dir()], Limits::default()),
            None => panic!("GOLF_VERIFY must name the program verify, such as target/release/verify"),
        }
    });
    let Some(root) = lay_out(bytes) else { return };
    let (options, interrupt) = (Options::default(), Interrupt::none());
    let by_worker = WORKERS.folder(root.path(), "folder".into(), &options, &interrupt);
    let here = audits::folder(root.path(), "folder".into(), &options);
    match (by_worker, here) {
        (Ok(by_worker), Ok(here)) => {
            let stopped = by_worker.findings.iter().find(|finding| finding.rule.0 == "audit_stopped");
            assert!(stopped.is_none(), "{}", stopped.map_or("", |finding| &finding.message));
            // Decompressors that are built for a fuzzer skip their checksums, and the program was not.
            if VERIFY_OF_TESTS.is_none() {
                return;
            }
            let differs = by_worker.findings.iter().zip(&here.findings).find(|(a, b)| a != b);
            assert!(by_worker == here, "a worker's report differs: {differs:#?}");
        }
        (Err(by_worker), Err(here)) => assert!(by_worker.to_string() == here.to_string(), "{by_worker} / {here}"),
        (by_worker, here) => panic!("refused by one only: {by_worker:?} / {here:?}"),
    }
}
