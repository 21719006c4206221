//! The `git` program, asked without letting the repository run anything.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
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

/// What a repository's configuration could make git run, read or leave out, switched off.
const SETTINGS: [&str; 7] = [
    // CI checkouts often belong to another user.
    "safe.directory=*",
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    // A file beside the objects that may tell another history than they do.
    "core.commitGraph=false",
    "protocol.allow=never",
    "log.showSignature=false",
    // Grafts are switched off; that they are deprecated is no news for anybody.
    "advice.graftFileDeprecated=false",
];

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
        .env("GIT_GRAFT_FILE", null)
        .env("GIT_LITERAL_PATHSPECS", "1")
        .env("GIT_PAGER", "cat")
        .env("LC_ALL", "C");
    for setting in SETTINGS {
        git.args(["-c", setting]);
    }
    git.arg("-C").arg(repository);
    git
}

/// Standard output of a git command.
///
/// # Errors
///
/// [`ChangeError::TooMuch`] if it is more than [`MAX_LISTING_BYTES`].
pub(super) fn output(repository: &Path, command: &'static str, args: &[&str]) -> Result<Vec<u8>, ChangeError> {
    match listing(repository, command, args)? {
        (text, false) => Ok(text),
        (_, true) => Err(ChangeError::TooMuch { command, max: MAX_LISTING_BYTES }),
    }
}

/// The first bytes of a git command's standard output, and whether there were more.
pub(super) fn listing(repository: &Path, command: &'static str, args: &[&str]) -> Result<(Vec<u8>, bool), ChangeError> {
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
        stdout.take(MAX_LISTING_BYTES + 1).read_to_end(&mut text)?;
    }
    // Cut off at the bound, git ends with a broken pipe.
    let is_cut = text.len() as u64 > MAX_LISTING_BYTES;
    let status = child.wait()?;
    let message = errors.join().unwrap_or_default();
    if status.success() || is_cut { Ok((text, is_cut)) } else { Err(ChangeError::Failed { command, message }) }
}

/// What is asked of each object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Its size.
    Size,
    /// Its size and its content.
    Content,
}

/// `git cat-file`: sizes or contents of blobs, in the order asked for. All questions are asked at once, so that two
/// processes need not wait for one another thousands of times.
pub(super) struct Blobs {
    repository: PathBuf,
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
    questions: Option<std::thread::JoinHandle<()>>,
}

impl Blobs {
    pub(super) fn ask(repository: &Path, ask: Ask, blobs: &[&str]) -> Result<Self, ChangeError> {
        let mode = if ask == Ask::Size { "--batch-check" } else { "--batch" };
        let mut child = git(repository)
            .args(["cat-file", mode, "--buffer"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no pipe from git"))?;
        let mut stdin = child.stdin.take().ok_or_else(|| io::Error::other("no pipe to git"))?;
        let text: String = blobs.iter().flat_map(|blob| [*blob, "\n"]).collect();
        // If git ends early, the answers end early, and that is seen.
        let questions = std::thread::spawn(move || drop(stdin.write_all(text.as_bytes())));
        let answers = BufReader::new(stdout);
        Ok(Blobs { repository: repository.to_path_buf(), child, answers, questions: Some(questions) })
    }

    /// Size of the next blob; its content follows where that was asked for.
    pub(super) fn size(&mut self) -> Result<u64, ChangeError> {
        let mut line = String::new();
        // `OID blob SIZE` is far shorter than this.
        (&mut self.answers).take(256).read_line(&mut line)?;
        match line.trim_end().split(' ').collect::<Vec<_>>().as_slice() {
            [_, "blob", bytes] => bytes.parse().map_err(|_| answer(&line)),
            [object, "missing"] => {
                Err(ChangeError::Missing { object: object.to_string(), repository: self.repository.clone() })
            }
            _ => Err(answer(&line)),
        }
    }

    /// Copies the next blob's content.
    pub(super) fn copy(&mut self, out: &mut dyn Write) -> Result<(), ChangeError> {
        let bytes = self.size()?;
        let copied = io::copy(&mut (&mut self.answers).take(bytes), out)?;
        let mut newline = [0u8; 1];
        self.answers.read_exact(&mut newline)?;
        if copied == bytes { Ok(()) } else { Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()) }
    }
}

impl Drop for Blobs {
    fn drop(&mut self) {
        // After an error git may still have much to say to nobody.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(questions) = self.questions.take() {
            let _ = questions.join();
        }
    }
}

fn answer(line: &str) -> ChangeError {
    ChangeError::Answer { command: "cat-file", answer: line.trim_end().chars().take(80).collect() }
}
