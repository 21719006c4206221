//! What ranks in different processes send one another: frames of a header and a payload, little-endian.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::exchange::{Operation, Payload};
use super::{CollectiveError, MAX_MESSAGE_BYTES};

/// Longest reason of a rank that ends, bytes; longer ones are cut.
const MAX_REASON_BYTES: usize = 4096;
/// Most values of one operation: far above a bucket or a tensor, far below what would exhaust memory.
const MAX_VALUES: usize = 1 << 30;
/// kind, operation, root or rank (u32), values (u64), payload bytes (u64)
const HEADER_BYTES: usize = 1 + 1 + 4 + 8 + 8;

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A part, or what became of all parts.
    Data = 1,
    /// A rank that ends, and why.
    Abandon = 2,
}

/// How many payload bytes an operation may have from one sender.
fn expected_bytes(operation: Operation, sender: Option<usize>, world: usize) -> std::ops::RangeInclusive<usize> {
    match (operation, sender) {
        (Operation::Broadcast { root, .. }, Some(rank)) if rank != root => 0..=0,
        (Operation::Sum(len) | Operation::Broadcast { len, .. }, _) => {
            let bytes = len.min(MAX_VALUES) * size_of::<f32>();
            bytes..=bytes
        }
        (Operation::Gather, Some(_)) => 0..=MAX_MESSAGE_BYTES + 4,
        (Operation::Gather, None) => 0..=world * (MAX_MESSAGE_BYTES + 4),
    }
}

fn encode(operation: Operation) -> (u8, usize, usize) {
    match operation {
        Operation::Sum(len) => (1, 0, len),
        Operation::Broadcast { root, len } => (2, root, len),
        Operation::Gather => (3, 0, 0),
    }
}

fn decode(tag: u8, root: usize, len: usize) -> Option<Operation> {
    match tag {
        1 => Some(Operation::Sum(len)),
        2 => Some(Operation::Broadcast { root, len }),
        3 => Some(Operation::Gather),
        _ => None,
    }
}

fn header(kind: Kind, tag: u8, root: usize, len: usize, bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    out.extend([kind as u8, tag]);
    out.extend((root as u32).to_le_bytes());
    out.extend((len as u64).to_le_bytes());
    out.extend((bytes as u64).to_le_bytes());
    out
}

impl Payload {
    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Payload::Values(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Payload::Messages(messages) => {
                let framed = |m: &Vec<u8>| [&(m.len() as u32).to_le_bytes(), m.as_slice()].concat();
                messages.iter().flat_map(framed).collect()
            }
        }
    }

    /// `None` when the bytes are no payload of that operation.
    fn from_bytes(operation: Operation, bytes: &[u8]) -> Option<Self> {
        if operation != Operation::Gather {
            let (values, rest) = bytes.as_chunks::<4>();
            return rest.is_empty().then(|| Payload::Values(values.iter().map(|v| f32::from_le_bytes(*v)).collect()));
        }
        let (mut messages, mut rest) = (Vec::new(), bytes);
        while !rest.is_empty() {
            let (len, after) = rest.split_first_chunk::<4>()?;
            let (message, after) = after.split_at_checked(u32::from_le_bytes(*len) as usize)?;
            messages.push(message.to_vec());
            rest = after;
        }
        Some(Payload::Messages(messages))
    }
}

/// Sends a payload of an operation.
pub(super) fn send(mut stream: &TcpStream, operation: Operation, payload: &Payload) -> io::Result<()> {
    let bytes = payload.to_bytes();
    let (tag, root, len) = encode(operation);
    stream.write_all(&header(Kind::Data, tag, root, len, bytes.len()))?;
    stream.write_all(&bytes)
}

/// Tells that `rank` has ended, and why.
pub(super) fn send_abandon(mut stream: &TcpStream, rank: usize, reason: &str) -> io::Result<()> {
    let mut end = reason.len().min(MAX_REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let reason = &reason.as_bytes()[..end];
    stream.write_all(&header(Kind::Abandon, 0, rank, 0, reason.len()))?;
    stream.write_all(reason)
}

/// Who is at the other end, and how long to wait.
#[derive(Clone, Copy)]
pub(super) struct Peer {
    /// Rank at the other end of the connection.
    pub rank: usize,
    /// Whether it sends its own part, rather than the result of all.
    pub sends_part: bool,
    pub world: usize,
    pub timeout: Duration,
}

impl Peer {
    /// What a failed read or write says about the rank.
    pub fn lost(&self, error: &io::Error) -> CollectiveError {
        let reason = match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                format!("it said nothing for {} s", self.timeout.as_secs())
            }
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                "its connection closed: the process has ended".into()
            }
            _ => format!("its connection failed: {error}"),
        };
        CollectiveError::Lost { rank: self.rank, reason }
    }

    /// What the rank says unasked: that it ends. A part of the next exchange stays where it is.
    pub fn listen(&self, stream: &TcpStream) -> Result<(), CollectiveError> {
        let lost = |error: io::Error| self.lost(&error);
        let mut kind = [0];
        stream.set_nonblocking(true).map_err(lost)?;
        let peeked = stream.peek(&mut kind);
        stream.set_nonblocking(false).map_err(lost)?;
        match peeked {
            Ok(0) => Err(lost(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) if kind == [Kind::Abandon as u8] => self.receive(stream, Operation::Gather).map(drop),
            Err(error) if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Err(lost(error))
            }
            _ => Ok(()),
        }
    }

    /// Receives the payload of `operation`, checked before anything is allocated.
    pub fn receive(&self, stream: &TcpStream, operation: Operation) -> Result<Payload, CollectiveError> {
        let lost = |error: io::Error| self.lost(&error);
        let nonsense = || CollectiveError::Lost { rank: self.rank, reason: "it sent what is no frame".into() };
        let deadline = Instant::now() + self.timeout;
        let mut bytes = [0; HEADER_BYTES];
        read(stream, &mut bytes, deadline).map_err(lost)?;
        let ([kind, tag], rest) = bytes.split_first_chunk::<2>().ok_or_else(nonsense)?;
        let (root, rest) = rest.split_first_chunk::<4>().ok_or_else(nonsense)?;
        let (len, rest) = rest.split_first_chunk::<8>().ok_or_else(nonsense)?;
        let size: [u8; 8] = rest.try_into().map_err(|_| nonsense())?;
        let (kind, tag, root) = (*kind, *tag, u32::from_le_bytes(*root) as usize);
        let [len, size] = [*len, size].map(|n| usize::try_from(u64::from_le_bytes(n)).unwrap_or(usize::MAX));
        if kind == Kind::Abandon as u8 && size <= MAX_REASON_BYTES {
            let mut reason = vec![0; size];
            read(stream, &mut reason, deadline).map_err(lost)?;
            return Err(CollectiveError::Lost { rank: root, reason: String::from_utf8_lossy(&reason).into_owned() });
        }
        let found = decode(tag, root, len).filter(|_| kind == Kind::Data as u8).ok_or_else(nonsense)?;
        if found != operation {
            let (found, expected) = (found.to_string(), operation.to_string());
            return Err(CollectiveError::OutOfStep { rank: self.rank, found, expected });
        }
        let sender = self.sends_part.then_some(self.rank);
        if !expected_bytes(operation, sender, self.world).contains(&size) {
            return Err(nonsense());
        }
        let mut bytes = vec![0; size];
        read(stream, &mut bytes, deadline).map_err(lost)?;
        Payload::from_bytes(operation, &bytes).ok_or_else(nonsense)
    }
}

/// Fills `bytes` before the deadline.
fn read(mut stream: &TcpStream, mut bytes: &mut [u8], deadline: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => bytes = bytes.split_at_mut(count).1,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
