//! What a range of git commits changes, read through the `git` program without a checkout.
//!
//! The repository is somebody else's. Only plumbing commands run, with no shell, no hooks, no user or system
//! configuration, no network, no external diff or text conversion, no replaced objects; blobs are read from the head
//! commit within bounds and written to a folder of our own.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// More changed files than this are not listed.
pub const MAX_CHANGED_FILES: usize = 20_000;
/// More new record folders than this are not examined.
pub const MAX_NEW_FOLDERS: usize = 32;
/// A larger file is not taken out of the repository; no part of a 16 MB submission is larger.
pub const MAX_BLOB_BYTES: u64 = 256 << 20;
/// All files taken out for one change.
pub const MAX_TOTAL_BYTES: u64 = 1 << 30;
/// Output of one listing command.
const MAX_LISTING_BYTES: u64 = 64 << 20;
/// Longest error text of git that is passed on.
const MAX_STDERR_BYTES: u64 = 4 << 10;

/// What happened to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// New.
    Added,
    /// Changed content or mode.
    Modified,
    /// Gone.
    Deleted,
}

/// What an entry of the head's tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entry {
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// Another repository.
    Submodule,
    /// Deleted.
    None,
}

/// A file that differs between merge base and head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedFile {
    /// Path in the repository; bytes that are no UTF-8 appear as U+FFFD.
    pub path: String,
    /// What happened.
    pub status: Status,
    /// What it is now.
    pub entry: Entry,
    /// Object id of its content at the head.
    blob: String,
    /// Whether the path can be written to disk as it is.
    plain_name: bool,
}

/// A range of commits as a pull request shows it: head against the merge base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    repository: PathBuf,
    /// Commit of the base revision.
    pub base: String,
    /// Commit of the head revision.
    pub head: String,
    /// Commit both descend from.
    pub merge_base: String,
    /// Changed files, sorted by path.
    pub files: Vec<ChangedFile>,
    /// There were more than [`MAX_CHANGED_FILES`].
    pub truncated: bool,
    /// `records/TRACK/NAME` folders that the range adds, sorted.
    pub new_folders: Vec<String>,
    /// `records/TRACK/NAME` folders that were there before and are changed, sorted.
    pub old_folders: Vec<String>,
}

/// A range that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// git is not there, or broke.
    #[error("cannot run git: {0}")]
    Git(#[from] io::Error),
    /// git said no.
    #[error("git {command} failed: {message}")]
    Failed {
        /// The subcommand.
        command: &'static str,
        /// What git wrote.
        message: String,
    },
    /// Not a revision.
    #[error("`{revision}` is no commit in {}: {message}", repository.display())]
    Revision {
        /// As given.
        revision: String,
        /// Where.
        repository: PathBuf,
        /// What git wrote.
        message: String,
    },
    /// The histories do not meet.
    #[error("{base} and {head} have no common ancestor here; a shallow clone? fetch the history (fetch-depth: 0)")]
    NoMergeBase {
        /// Base commit.
        base: String,
        /// Head commit.
        head: String,
    },
    /// git answered something else than it documents.
    #[error("git {command}: unexpected answer {answer:?}")]
    Answer {
        /// The subcommand.
        command: &'static str,
        /// The start of it.
        answer: String,
    },
}

/// A file that stayed in the repository, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Path in the repository.
    pub path: String,
    /// Why.
    pub reason: String,
}

impl Change {
    /// Reads what lies between `base` and `head` in the repository at `path`.
    pub fn read(path: &Path, base: &str, head: &str) -> Result<Self, ChangeError> {
        let base = commit(path, base)?;
        let head = commit(path, head)?;
        let merge_base = match output(path, "merge-base", &[&base, &head]) {
            Ok(text) => object_id("merge-base", &text)?,
            Err(ChangeError::Failed { .. }) => return Err(ChangeError::NoMergeBase { base, head }),
            Err(other) => return Err(other),
        };
        let args = ["-r", "-z", "--raw", "--no-renames", "--no-ext-diff", "--no-textconv", "--abbrev=40"];
        let raw = output(path, "diff-tree", &[args.as_slice(), &["--no-commit-id", &merge_base, &head]].concat())?;
        let (files, truncated) = changed_files(&raw)?;
        let folders: BTreeSet<&str> = files.iter().filter_map(|file| record_folder(&file.path)).collect();
        let (mut new_folders, mut old_folders) = (Vec::new(), Vec::new());
        for folder in folders {
            let before = ["-z", "--name-only", "-d", &merge_base, "--", folder];
            let there = !output(path, "ls-tree", &before)?.is_empty();
            if there { &mut old_folders } else { &mut new_folders }.push(folder.to_string());
        }
        Ok(Change {
            repository: path.to_path_buf(),
            base,
            head,
            merge_base,
            files,
            truncated,
            new_folders,
            old_folders,
        })
    }

    /// Changed files inside a folder, given without a trailing `/`.
    pub fn inside<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a ChangedFile> {
        self.files.iter().filter(move |file| is_inside(&file.path, folder))
    }

    /// Changed files outside all new folders.
    pub fn outside(&self) -> impl Iterator<Item = &ChangedFile> {
        self.files.iter().filter(|file| !self.new_folders.iter().any(|folder| is_inside(&file.path, folder)))
    }

    /// Writes the head's files of one new folder below `target`, under their path in the repository.
    ///
    /// Links and submodules are not written; neither is what passes a bound or has a name that a file system could take
    /// for another. All of that comes back as left out.
    pub fn extract(&self, folder: &str, target: &Path) -> Result<Vec<LeftOut>, ChangeError> {
        let mut left_out = Vec::new();
        let mut leave = |path: &str, reason: &str| {
            left_out.push(LeftOut { path: path.to_string(), reason: reason.to_string() });
        };
        let mut batch = Batch::open(&self.repository)?;
        let mut total = 0u64;
        for file in self.inside(folder) {
            match file.entry {
                Entry::None => continue,
                Entry::Link => leave(&file.path, "a symbolic link"),
                Entry::Submodule => leave(&file.path, "a submodule"),
                Entry::File if !file.plain_name => leave(&file.path, "a name that is not plain"),
                Entry::File => {
                    let bytes = batch.size(&file.blob)?;
                    if bytes > MAX_BLOB_BYTES || total.saturating_add(bytes) > MAX_TOTAL_BYTES {
                        leave(&file.path, &format!("{bytes} bytes, too large to examine"));
                        continue;
                    }
                    total += bytes;
                    let destination = target.join(&file.path);
                    if let Some(parent) = destination.parent() {
                        std::fs::create_dir_all(parent)?;
                    }
                    // `create_new`: on a file system that ignores case, `README.md` must not replace `readme.md`.
                    match std::fs::File::create_new(&destination) {
                        Ok(mut out) => batch.copy(&file.blob, &mut out)?,
                        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                            leave(&file.path, "a name that differs from another only in case");
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
        batch.close()?;
        Ok(left_out)
    }
}

/// `records/TRACK/NAME` of a path inside such a folder.
fn record_folder(path: &str) -> Option<&str> {
    let mut ends = path.match_indices('/').map(|(index, _)| index);
    let end = (path.starts_with("records/")).then(|| ends.nth(2)).flatten()?;
    path.get(..end)
}

fn is_inside(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// Records of `diff-tree --raw -z`: `:MODE MODE OID OID STATUS NUL PATH NUL`.
fn changed_files(raw: &[u8]) -> Result<(Vec<ChangedFile>, bool), ChangeError> {
    let answer = |field: &[u8]| ChangeError::Answer {
        command: "diff-tree",
        answer: String::from_utf8_lossy(field).chars().take(80).collect(),
    };
    let mut fields = raw.split(|byte| *byte == 0);
    let mut files = Vec::new();
    while let Some(head) = fields.next().filter(|head| !head.is_empty()) {
        let name = fields.next().ok_or_else(|| answer(head))?;
        let text = std::str::from_utf8(head).map_err(|_| answer(head))?;
        let parts: Vec<&str> = text.trim_start_matches(':').split(' ').collect();
        let [_, mode, _, blob, status] = parts.as_slice() else { return Err(answer(head)) };
        let status = match status.bytes().next() {
            Some(b'A') => Status::Added,
            Some(b'D') => Status::Deleted,
            Some(b'M' | b'T') => Status::Modified,
            _ => return Err(answer(head)),
        };
        let entry = match *mode {
            "000000" => Entry::None,
            "120000" => Entry::Link,
            "160000" => Entry::Submodule,
            _ => Entry::File,
        };
        if files.len() == MAX_CHANGED_FILES {
            return Ok((files, true));
        }
        let plain_name = is_plain(name);
        let path = String::from_utf8_lossy(name).into_owned();
        files.push(ChangedFile { path, status, entry, blob: blob.to_string(), plain_name });
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok((files, false))
}

/// A relative path of ordinary parts, in UTF-8, without control characters, `\`, `:` or a part that git's own folder
/// could hide behind.
fn is_plain(name: &[u8]) -> bool {
    let Ok(name) = std::str::from_utf8(name) else { return false };
    let ordinary = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    ordinary
        && !name.chars().any(|c| c.is_control() || matches!(c, '\\' | ':'))
        && !name
            .split('/')
            .any(|part| part.is_empty() || part.to_ascii_lowercase().starts_with(".git") && part.len() <= 4)
}

/// A revision as a full commit id.
fn commit(repository: &Path, revision: &str) -> Result<String, ChangeError> {
    let failed = |message: String| ChangeError::Revision {
        revision: revision.chars().take(80).collect(),
        repository: repository.to_path_buf(),
        message,
    };
    if revision.is_empty() || revision.starts_with('-') {
        return Err(failed("a revision does not start with `-`".into()));
    }
    let wanted = format!("{revision}^{{commit}}");
    match output(repository, "rev-parse", &["--verify", "--quiet", "--end-of-options", &wanted]) {
        Ok(text) => object_id("rev-parse", &text),
        Err(ChangeError::Failed { message, .. }) => {
            let hint = "is it fetched? (fetch-depth: 0)";
            Err(failed(if message.is_empty() { hint.to_string() } else { message }))
        }
        Err(other) => Err(other),
    }
}

fn object_id(command: &'static str, text: &[u8]) -> Result<String, ChangeError> {
    let text = String::from_utf8_lossy(text).trim().to_string();
    let is_id = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { Ok(text) } else { Err(ChangeError::Answer { command, answer: text.chars().take(80).collect() }) }
}

/// `git` with everything switched off that a repository, a user or a machine could configure to run something.
fn git(repository: &Path) -> Command {
    let mut git = Command::new("git");
    git.env_clear();
    // The program itself, and on Windows what it needs to start.
    for name in ["PATH", "SYSTEMROOT", "TMPDIR", "TEMP"] {
        if let Some(value) = std::env::var_os(name) {
            git.env(name, value);
        }
    }
    let null = if cfg!(windows) { "NUL" } else { "/dev/null" };
    git.env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", null)
        .env("GIT_ATTR_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_PAGER", "cat")
        .env("LC_ALL", "C");
    // CI checkouts often belong to another user; nothing below runs the repository's configuration.
    for setting in ["core.fsmonitor=false", "core.hooksPath=/dev/null", "protocol.allow=never", "safe.directory=*"] {
        git.args(["-c", setting]);
    }
    git.arg("-C").arg(repository);
    git
}

/// Standard output of a git command, bounded.
fn output(repository: &Path, command: &'static str, args: &[&str]) -> Result<Vec<u8>, ChangeError> {
    let mut child = git(repository)
        .arg(command)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stderr = child.stderr.take();
    // Both pipes are read at once: a full one must not stop the other.
    let errors = std::thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(mut stderr) = stderr {
            let _ = stderr.by_ref().take(MAX_STDERR_BYTES).read_to_end(&mut text);
            let _ = io::copy(&mut stderr, &mut io::sink());
        }
        String::from_utf8_lossy(&text).trim().to_string()
    });
    let mut text = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(MAX_LISTING_BYTES).read_to_end(&mut text)?;
    }
    let status = child.wait()?;
    let message = errors.join().unwrap_or_default();
    // Cut off at the bound, git ends with a broken pipe; the listing is then marked as truncated by its length.
    if status.success() || text.len() as u64 == MAX_LISTING_BYTES {
        Ok(text)
    } else {
        Err(ChangeError::Failed { command, message })
    }
}

/// `git cat-file --batch-command`: sizes and contents of objects, one question at a time.
struct Batch {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Batch {
    fn open(repository: &Path) -> Result<Self, ChangeError> {
        let mut child = git(repository)
            .args(["cat-file", "--batch-command"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no pipe from git"))?;
        Ok(Batch { child, answers: BufReader::new(stdout) })
    }

    /// Size of a blob.
    fn size(&mut self, blob: &str) -> Result<u64, ChangeError> {
        self.ask("info", blob)
    }

    /// Copies a blob's content.
    fn copy(&mut self, blob: &str, out: &mut dyn Write) -> Result<(), ChangeError> {
        let bytes = self.ask("contents", blob)?;
        let copied = io::copy(&mut (&mut self.answers).take(bytes), out)?;
        let mut newline = [0u8; 1];
        self.answers.read_exact(&mut newline)?;
        if copied == bytes { Ok(()) } else { Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()) }
    }

    fn ask(&mut self, what: &str, blob: &str) -> Result<u64, ChangeError> {
        let stdin = self.child.stdin.as_mut().ok_or_else(|| io::Error::other("no pipe to git"))?;
        writeln!(stdin, "{what} {blob}")?;
        stdin.flush()?;
        let mut line = String::new();
        // `OID blob SIZE` is far shorter than this.
        (&mut self.answers).take(256).read_line(&mut line)?;
        match line.trim_end().split(' ').collect::<Vec<_>>().as_slice() {
            [_, "blob", bytes] => bytes.parse().map_err(|_| answer(&line)),
            _ => Err(answer(&line)),
        }
    }

    fn close(mut self) -> Result<(), ChangeError> {
        drop(self.child.stdin.take());
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // After an error the process may still wait for a question.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn answer(line: &str) -> ChangeError {
    ChangeError::Answer { command: "cat-file", answer: line.trim_end().chars().take(80).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_records() {
        assert_eq!(record_folder("records/track_10min_16mb/a/train.log"), Some("records/track_10min_16mb/a"));
        assert_eq!(record_folder("records/track_10min_16mb/a/b/c"), Some("records/track_10min_16mb/a"));
        for outside in ["records/track_10min_16mb/README.md", "records/a", "src/records/x/y/z", "README.md"] {
            assert_eq!(record_folder(outside), None, "{outside}");
        }
        assert!(is_inside("records/t/a/x", "records/t/a") && !is_inside("records/t/ab/x", "records/t/a"));
    }

    #[test]
    fn only_plain_names_are_written() {
        for plain in [&b"records/t/a/train.log"[..], b"a/.gitignore", "a/\u{fc}".as_bytes()] {
            assert!(is_plain(plain), "{}", String::from_utf8_lossy(plain));
        }
        for odd in [
            &b"../x"[..],
            b"/etc/x",
            b"a/../b",
            b"a/.git/config",
            b"a/.GIT/x",
            b"a\\b",
            b"c:x",
            b"a\nb",
            b"\xff",
            b"a//b",
        ] {
            assert!(!is_plain(odd), "{}", String::from_utf8_lossy(odd));
        }
    }

    #[test]
    fn an_unexpected_answer_is_an_error() {
        let zero = "0".repeat(40);
        let one = format!(":100644 100644 {zero} {zero} M\0a\0");
        assert_eq!(changed_files(one.as_bytes()).unwrap().0.len(), 1);
        // No fields, an unknown status, and no path.
        for bad in ["x\0a\0", ":100644 100644 a b Q\0a\0", ":100644 100644 a b M"] {
            assert!(matches!(changed_files(bad.as_bytes()), Err(ChangeError::Answer { .. })), "{bad:?}");
        }
        // An empty path names no file that could be written.
        let empty = format!(":100644 100644 {zero} {zero} M\0\0");
        let [file] = &changed_files(empty.as_bytes()).unwrap().0[..] else { panic!("one file") };
        assert!(file.path.is_empty() && !file.plain_name);
    }
}
