//! The `git` program, asked without letting the repository run anything.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::ChangeError;

/// Output of one listing command.
const MAX_LISTING_BYTES: u64 = 64 << 20;
/// Longest error text of git that is passed on.
const MAX_STDERR_BYTES: u64 = 4 << 10;

/// A revision as a full commit id.
pub(super) fn commit(repository: &Path, revision: &str) -> Result<String, ChangeError> {
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

pub(super) fn object_id(command: &'static str, text: &[u8]) -> Result<String, ChangeError> {
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
pub(super) fn output(repository: &Path, command: &'static str, args: &[&str]) -> Result<Vec<u8>, ChangeError> {
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
pub(super) struct Batch {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Batch {
    pub(super) fn open(repository: &Path) -> Result<Self, ChangeError> {
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
    pub(super) fn size(&mut self, blob: &str) -> Result<u64, ChangeError> {
        self.ask("info", blob)
    }

    /// Copies a blob's content.
    pub(super) fn copy(&mut self, blob: &str, out: &mut dyn Write) -> Result<(), ChangeError> {
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

    pub(super) fn close(mut self) -> Result<(), ChangeError> {
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
