//! Questions to other programs: an interpreter, a container engine. Bounds on time and output, nothing left behind.

use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Longest wait for an answer. A cold start from a network disk takes seconds.
pub const MAX_WAIT: Duration = Duration::from_secs(30);
/// More output than this is not read.
pub const MAX_OUTPUT_BYTES: u64 = 1 << 20;
/// More than this of what went wrong is not read.
const MAX_SAID_BYTES: u64 = 1 << 14;
/// How long a program that has closed its output may take to end.
const LAST_MOMENT: Duration = Duration::from_secs(2);

/// What a program printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// On its standard output.
    pub output: Vec<u8>,
    /// On its error output.
    pub said: String,
    /// It ended well.
    pub is_good: bool,
}

impl Answer {
    /// The last line that it said, for messages.
    pub fn last_words(&self) -> String {
        let line = self.said.lines().rev().find(|line| !line.trim().is_empty());
        crate::report::quote(line.unwrap_or("it said nothing"))
    }
}

/// Runs a program without input until it ends; none if it takes longer than [`MAX_WAIT`], after which it is ended.
pub fn ask(mut command: Command) -> io::Result<Option<Answer>> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let output = child.stdout.take().map(|output| collect(output, MAX_OUTPUT_BYTES));
    let said = child.stderr.take().map(|said| collect(said, MAX_SAID_BYTES));
    let receive = |from: Option<mpsc::Receiver<Vec<u8>>>| from.and_then(|from| from.recv_timeout(MAX_WAIT).ok());
    let output = receive(output);
    let is_whole = output.as_ref().is_some_and(|output| (output.len() as u64) < MAX_OUTPUT_BYTES);
    let said = if is_whole { receive(said).unwrap_or_default() } else { Vec::new() };
    let is_good = is_whole && end(&mut child)?;
    // It has had its time, or has ended by itself.
    let _ = child.kill();
    child.wait()?;
    let said = String::from_utf8_lossy(&said).into_owned();
    Ok(output.map(|output| Answer { output, said, is_good }))
}

/// Waits for the end of a program that has closed its output, but not for ever. Whether it was a good one.
fn end(child: &mut Child) -> io::Result<bool> {
    let deadline = Instant::now() + LAST_MOMENT;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(false)
}

/// Reads up to so many bytes in a thread of its own.
fn collect(from: impl Read + Send + 'static, most: u64) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error is what there is; nobody may listen any more.
        let _ = from.take(most).read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver
}
