//! A record folder, read once: every file listed, hashed and handed to the reader of its kind.

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::code::CodeSurvey;
use super::log::LogScanner;
use super::nature::Nature;
use super::opened::OpenedArtifact;
use super::sniffer::Sniffer;
use super::stream::{CHUNK, stream};
use super::submission_json::MAX_JSON_BYTES;
use super::text::decode;
use super::walk::{self, Anomaly, AnomalyKind, Listed};
use super::{CodeText, LogFile, Readme, Step, Steps, SubmissionJson};
use crate::digest::{ContentDigest, ContentHasher};
use crate::manifest::Track;

/// Text files larger than this are hashed but not kept: no README or script is.
pub const MAX_TEXT_BYTES: u64 = 4 * 1024 * 1024;
/// Logs are read up to here; a larger one is reported as cut short.
pub const MAX_LOG_BYTES: u64 = 256 * 1024 * 1024;
/// Other files are hashed up to here; a larger one is no part of a 16 MB submission and is listed unread.
pub const MAX_OTHER_BYTES: u64 = 1024 * 1024 * 1024;
/// Bytes read of all files together that lie nowhere on disk: a file of holes costs its maker nothing and its reader as
/// much as any other. What a file system saves by compression counts as well, so there is room for it.
pub const MAX_HOLES: u64 = 256 * 1024 * 1024;
/// First bytes kept of a file, for magic numbers.
const HEAD: usize = 16;

/// What a file is, by its name (and, for `.txt` logs, by its content).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// `submission.json`.
    Submission,
    /// `README.md` and the like.
    Readme,
    /// A training or evaluation log.
    Log,
    /// Source code.
    Code,
    /// A tokenizer model or vocabulary.
    Tokenizer,
    /// Weights, compressed or not.
    Artifact,
    /// Anything else.
    Other,
}

/// One file of the folder.
#[derive(Clone, Debug)]
pub struct FoundFile {
    /// Relative path with `/` between parts.
    pub path: String,
    /// What it is.
    pub kind: FileKind,
    /// Size as listed.
    pub bytes: u64,
    /// Size and digests of what was read; `None` if it was not read to its end.
    pub digest: Option<ContentDigest>,
    /// First bytes, at most 16.
    pub head: Vec<u8>,
    /// What the bytes are, whatever the name says.
    pub nature: Nature,
    /// Bytes of text that hardly compresses, as encoded data does; 0 where the whole folder is small.
    pub dense: u64,
}

/// A folder as somebody handed it in.
#[derive(Clone, Debug)]
pub struct RecordFolder {
    /// Where it lies.
    pub root: PathBuf,
    /// Its last path component.
    pub name: String,
    /// Its path inside the challenge's repository, such as `records/track_10min_16mb/NAME`, where that is known.
    pub repository_path: Option<String>,
    /// All files, sorted by path.
    pub files: Vec<FoundFile>,
    /// Links, special files, odd names, unreadable or oversized files.
    pub anomalies: Vec<Anomaly>,
    /// `submission.json` at the top of the folder.
    pub submission: Option<SubmissionJson>,
    /// The README at the top of the folder.
    pub readme: Option<Readme>,
    /// Logs, sorted by path.
    pub logs: Vec<LogFile>,
    /// Code files with their text, sorted by path.
    pub code: Vec<CodeText>,
    /// Model files, opened without running their pickles, sorted by path.
    pub artifacts: Vec<OpenedArtifact>,
    /// What parsing the Python files told.
    pub survey: CodeSurvey,
}

impl RecordFolder {
    /// Reads the folder at `root`. Never fails: what cannot be read is an anomaly.
    pub fn read(root: &Path) -> Self {
        Self::read_telling(root, &Steps::untold())
    }

    /// [`RecordFolder::read`] that tells what is read next.
    pub fn read_telling(root: &Path, steps: &Steps) -> Self {
        let absolute = root.canonicalize().unwrap_or_else(|_| root.to_path_buf());
        let name = absolute.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let (listed, anomalies) = walk::list(root);
        let mut folder = RecordFolder {
            root: root.to_path_buf(),
            name,
            repository_path: repository_path(&absolute),
            files: Vec::with_capacity(listed.len()),
            anomalies,
            submission: None,
            readme: None,
            logs: Vec::new(),
            code: Vec::new(),
            artifacts: Vec::new(),
            survey: CodeSurvey::default(),
        };
        let mut buffer = vec![0; CHUNK];
        let mut holes = MAX_HOLES;
        for file in listed {
            // Of a file that is too large there would be no digest, however much of it is read.
            let is_hollow = file.bytes > MAX_OTHER_BYTES && file.bytes - file.holes <= MAX_OTHER_BYTES;
            if is_hollow || file.holes > holes {
                folder.pass_over(&file);
                continue;
            }
            holes -= file.holes;
            steps.tell(Step::Reading(&file.name));
            if let Err(error) = folder.take(&file, &mut buffer, steps) {
                folder.anomalies.push(Anomaly {
                    path: crate::escape::visible(&file.name),
                    kind: AnomalyKind::Unreadable,
                    detail: error.to_string(),
                });
            }
        }
        folder.anomalies.sort();
        folder.survey = CodeSurvey::telling(&folder.code, steps);
        folder
    }

    /// The track of the folder's place in the repository, if it stands in one.
    pub fn track_by_place(&self) -> Option<Track> {
        track_by_place(self.repository_path.as_deref()?)
    }

    /// [`RecordFolder::track_by_place`] of a path, without reading what lies there.
    pub fn track_of_place(root: &Path) -> Option<Track> {
        let absolute = root.canonicalize().unwrap_or_else(|_| root.to_path_buf());
        track_by_place(&repository_path(&absolute)?)
    }

    /// The track whose rules apply: its place in the repository; elsewhere what submission.json says, else the ten-minute one.
    pub fn track(&self) -> Track {
        let stated = || self.submission.as_ref().and_then(SubmissionJson::track);
        match (self.track_by_place(), &self.repository_path) {
            (Some(track), _) => track,
            (None, Some(_)) => Track::NonRecord,
            (None, None) => stated().unwrap_or(Track::TenMinutes),
        }
    }

    /// Files of one kind.
    pub fn of_kind(&self, kind: FileKind) -> impl Iterator<Item = &FoundFile> {
        self.files.iter().filter(move |file| file.kind == kind)
    }

    /// The script the challenge runs.
    pub fn main_code(&self) -> Option<&CodeText> {
        self.code.iter().find(|code| code.is_main())
    }

    /// Notes a file that is mostly holes, unread.
    fn pass_over(&mut self, file: &Listed) {
        let on_disk = file.bytes - file.holes;
        let detail = format!("{} bytes, of which {on_disk} lie on disk; not read", file.bytes);
        self.anomalies.push(Anomaly { path: crate::escape::visible(&file.name), kind: AnomalyKind::TooMuch, detail });
        self.files.push(FoundFile {
            path: file.name.clone(),
            kind: kind_by_name(&file.name),
            bytes: file.bytes,
            digest: None,
            head: Vec::new(),
            nature: Nature::Binary,
            dense: 0,
        });
    }

    /// Reads a file as far as it went when it was listed: one that grows meanwhile would have no end.
    fn take(&mut self, file: &Listed, buffer: &mut [u8], steps: &Steps) -> io::Result<()> {
        match kind_by_name(&file.name) {
            FileKind::Log => self.take_log(file, buffer, steps),
            kind @ (FileKind::Submission | FileKind::Readme | FileKind::Code) => {
                self.take_text(kind, file, buffer, steps)
            }
            kind @ (FileKind::Tokenizer | FileKind::Artifact | FileKind::Other) => {
                self.take_data(kind, file, buffer, steps)
            }
        }
    }

    /// Scans a file that may be a log, however long it is.
    fn take_log(&mut self, file: &Listed, buffer: &mut [u8], steps: &Steps) -> io::Result<()> {
        let name = file.name.clone();
        let mut scanner = LogScanner::new(name.clone());
        let mut head = Vec::new();
        let mut sniffer = Sniffer::new(file);
        let read = stream(&file.path, MAX_LOG_BYTES.min(file.bytes), buffer, &mut |bytes| {
            keep_head(&mut head, bytes);
            scanner.feed(bytes);
            sniffer.feed(bytes);
            ControlFlow::Continue(())
        })?;
        let cut_short = read < file.bytes;
        let log = scanner.finish(cut_short);
        let digest = (!cut_short).then_some(log.digest);
        let kind = if is_log(&log) { FileKind::Log } else { FileKind::Other };
        let (dense, nature) = (sniffer.dense(), sniffer.nature());
        let kind = self.open_model(kind, file, (&sniffer, &nature), steps);
        self.files.push(FoundFile { path: name, kind, bytes: file.bytes, digest, head, nature, dense });
        if kind == FileKind::Log {
            self.logs.push(log);
        }
        Ok(())
    }

    /// Hashes a text file and keeps its text, if it is not too large.
    fn take_text(&mut self, kind: FileKind, file: &Listed, buffer: &mut [u8], steps: &Steps) -> io::Result<()> {
        let name = file.name.clone();
        let limit = if kind == FileKind::Submission { MAX_JSON_BYTES } else { MAX_TEXT_BYTES };
        let mut bytes = Vec::new();
        let mut hasher = ContentHasher::new();
        let mut sniffer = Sniffer::new(file);
        let read = stream(&file.path, MAX_OTHER_BYTES.min(file.bytes), buffer, &mut |chunk| {
            hasher.update(chunk);
            sniffer.feed(chunk);
            if bytes.len() as u64 <= limit {
                bytes.extend_from_slice(chunk);
            }
            ControlFlow::Continue(())
        })?;
        let whole = read >= file.bytes;
        let digest = hasher.finish();
        let fits = whole && bytes.len() as u64 <= limit;
        if !fits {
            self.too_large(file, limit);
        }
        let (dense, nature) = (sniffer.dense(), sniffer.nature());
        self.open_model(kind, file, (&sniffer, &nature), steps);
        let head = bytes.iter().copied().take(HEAD).collect();
        self.files.push(FoundFile {
            path: name.clone(),
            kind,
            bytes: file.bytes,
            digest: whole.then_some(digest),
            head,
            nature,
            dense,
        });
        let text = || fits.then(|| decode(&bytes).0.into_owned());
        match kind {
            FileKind::Submission if fits => self.submission = Some(SubmissionJson::parse(name, &bytes)),
            FileKind::Readme => {
                self.readme = Some(Readme { path: name, bytes: file.bytes, text: text().unwrap_or_default() });
            }
            FileKind::Code => self.code.push(CodeText { path: name, digest, text: text() }),
            _ => {}
        }
        Ok(())
    }

    /// Hashes any other file, and opens it if it may be a model.
    fn take_data(&mut self, kind: FileKind, file: &Listed, buffer: &mut [u8], steps: &Steps) -> io::Result<()> {
        let name = file.name.clone();
        let mut hasher = ContentHasher::new();
        let mut head = Vec::new();
        let mut sniffer = Sniffer::new(file);
        let read = stream(&file.path, MAX_OTHER_BYTES.min(file.bytes), buffer, &mut |bytes| {
            keep_head(&mut head, bytes);
            hasher.update(bytes);
            sniffer.feed(bytes);
            ControlFlow::Continue(())
        })?;
        let whole = read >= file.bytes;
        let (dense, nature) = (sniffer.dense(), sniffer.nature());
        let kind = self.open_model(kind, file, (&sniffer, &nature), steps);
        if !whole {
            self.too_large(file, MAX_OTHER_BYTES);
        }
        let digest = whole.then(|| hasher.finish());
        self.files.push(FoundFile { path: name, kind, bytes: file.bytes, digest, head, nature, dense });
        Ok(())
    }

    /// Opens a file that is called a model or may be one by its first bytes; gives the kind its content says it is.
    fn open_model(
        &mut self,
        kind: FileKind,
        file: &Listed,
        (sniffer, nature): (&Sniffer, &Nature),
        steps: &Steps,
    ) -> FileKind {
        let is_named = kind == FileKind::Artifact;
        if let Nature::Pointer(pointer) = nature {
            self.artifacts.push(OpenedArtifact::pointer(&file.name, pointer));
            return kind;
        }
        let opened = match sniffer.content() {
            Some(content) if is_named || sniffer.may_be_model() => {
                steps.tell(Step::Opening(&file.name));
                OpenedArtifact::open(&file.name, content)
            }
            None if is_named || sniffer.looks_like_model() => OpenedArtifact::too_large(&file.name, file.bytes),
            _ => match sniffer.zip_behind_text() {
                Some(before) => OpenedArtifact::behind_text(&file.name, before),
                None => return kind,
            },
        };
        let is_model = opened.is_model();
        if (is_named && file.bytes > 0) || opened.is_noteworthy() {
            self.artifacts.push(opened);
        }
        match kind {
            FileKind::Other | FileKind::Tokenizer | FileKind::Log if is_model => FileKind::Artifact,
            _ => kind,
        }
    }

    fn too_large(&mut self, file: &Listed, limit: u64) {
        let detail = format!("{} bytes; read up to {limit} only", file.bytes);
        let path = crate::escape::visible(&file.name);
        self.anomalies.push(Anomaly { path, kind: AnomalyKind::TooMuch, detail });
    }
}

/// Adds what is still missing of a file's first bytes.
fn keep_head(head: &mut Vec<u8>, bytes: &[u8]) {
    head.extend_from_slice(&bytes[..bytes.len().min(HEAD.saturating_sub(head.len()))]);
}

fn track_by_place(repository_path: &str) -> Option<Track> {
    match repository_path.strip_prefix("records/")?.split('/').next()? {
        "track_10min_16mb" => Some(Track::TenMinutes),
        "track_non_record_16mb" => Some(Track::NonRecord),
        _ => None,
    }
}

/// `records/...` out of an absolute path, if it lies in a clone of the challenge's repository.
fn repository_path(path: &Path) -> Option<String> {
    let parts: Vec<String> = path.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    // A folder that stands in a clone: its path from there, whatever it is.
    let mut root = PathBuf::new();
    for (i, part) in path.components().enumerate() {
        root.push(part);
        if i + 1 < parts.len() && root.join(".git").exists() && root.join("records").is_dir() {
            return Some(parts[i + 1..].join("/"));
        }
    }
    let is_track = |at: usize| parts.get(at + 1).is_some_and(|next| next.starts_with("track_"));
    let records: Vec<usize> = (0..parts.len()).filter(|&at| parts[at] == "records").collect();
    let at = *records.iter().find(|&&at| is_track(at)).or(records.last())?;
    (at + 1 < parts.len()).then(|| parts[at..].join("/"))
}

fn extension(name: &str) -> &str {
    let file = name.rsplit('/').next().unwrap_or(name);
    file.rsplit_once('.').map_or("", |(_, extension)| extension)
}

fn kind_by_name(path: &str) -> FileKind {
    let lower = path.to_ascii_lowercase();
    let file = lower.rsplit('/').next().unwrap_or(&lower);
    let top = !path.contains('/');
    if top && lower == "submission.json" {
        return FileKind::Submission;
    }
    if top && matches!(lower.as_str(), "readme.md" | "readme" | "readme.txt" | "readme.rst") {
        return FileKind::Readme;
    }
    let is_tokenizer = names_tokenizer(file);
    // Notes about the folder are no logs, whatever numbers they repeat.
    let notes = ["requirements", "license", "readme", "setup", "notes", "changelog", "commands", "todo"];
    match extension(file) {
        "log" | "out" | "jsonl" => FileKind::Log,
        "txt" if notes.iter().any(|name| file.starts_with(name)) => FileKind::Other,
        "txt" => FileKind::Log,
        "py" | "c" | "cc" | "cpp" | "cu" | "cuh" | "h" | "hpp" | "sh" | "pyx" | "rs" => FileKind::Code,
        "model" | "vocab" => FileKind::Tokenizer,
        "json" if is_tokenizer && !file.contains("manifest") => FileKind::Tokenizer,
        "pt" | "ptz" | "pth" | "bin" | "safetensors" | "npz" | "npy" | "pkl" | "pickle" | "ckpt" | "zst" | "xz"
        | "br" | "golf" => FileKind::Artifact,
        _ => FileKind::Other,
    }
}

fn names_tokenizer(file: &str) -> bool {
    ["bpe", "tokenizer", "sentencepiece", "spm", "vocab"].iter().any(|word| file.contains(word))
}

/// A `.txt` is a log if it says so by name or by content, a `.jsonl` by content; `.log` and `.out` always are.
fn is_log(log: &LogFile) -> bool {
    let lower = log.path.to_ascii_lowercase();
    let file = lower.rsplit('/').next().unwrap_or(&lower);
    let words = ["log", "train", "seed", "run", "stdout", "eval"];
    let by_name = words.iter().any(|word| file.contains(word)) && !names_tokenizer(file);
    match extension(file) {
        "txt" => by_name || !log.metrics.is_empty(),
        "jsonl" => log.trains || !log.metrics.is_empty(),
        _ => true,
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::Write;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_file_that_grows_is_read_as_far_as_it_was_listed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.bin");
        let begin = vec![7u8; 1 << 20];
        std::fs::write(&path, &begin).unwrap();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut file = std::fs::File::options().append(true).open(&path).unwrap();
                // An end of its own, whatever becomes of the reader.
                for _ in 0..1 << 12 {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    file.write_all(&[7; 1 << 16]).unwrap();
                }
            });
            for _ in 0..3 {
                let read = RecordFolder::read(folder.path());
                let found = &read.files[0];
                let listed = vec![7u8; found.bytes as usize];
                assert_eq!(found.digest, Some(ContentDigest::of(&listed)));
                assert!(found.bytes >= begin.len() as u64);
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn holes_are_named_and_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(folder.path().join("a.bin")).unwrap();
        file.set_len(MAX_HOLES + 1).unwrap();
        std::fs::write(folder.path().join("b.bin"), b"abc").unwrap();
        let read = RecordFolder::read(folder.path());
        let digests: Vec<_> = read.files.iter().map(|file| file.digest.map(|digest| digest.bytes.0)).collect();
        assert_eq!(digests, [None, Some(3)]);
        let odd: Vec<_> = read.anomalies.iter().map(|odd| (odd.path.as_str(), odd.kind, odd.detail.as_str())).collect();
        let detail = "268435457 bytes, of which 0 lie on disk; not read";
        assert_eq!(odd, [("a.bin", AnomalyKind::TooMuch, detail)]);
    }
}
