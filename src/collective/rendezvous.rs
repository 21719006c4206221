//! How processes find one another: rank 0 listens, the others call.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::{Launch, Rank, TcpRank};
use crate::interrupt::Interrupt;

/// First bytes of a rank's greeting: anything else that calls is not one.
const MAGIC: [u8; 8] = *b"GOLFRANK";
/// Version of greeting and frames.
const PROTOCOL: u32 = 1;
/// Magic, protocol, world, rank.
const GREETING_BYTES: usize = 8 + 4 + 4 + 4;
/// Longest refusal, bytes.
const MAX_REFUSAL_BYTES: usize = 1024;
/// Between two looks for a caller, an answer or Ctrl-C.
const PAUSE: Duration = Duration::from_millis(50);
/// A caller that does not greet within this is not a rank.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5);

/// Where and how the ranks of a world meet.
#[derive(Clone, Debug)]
pub struct Rendezvous {
    /// This rank.
    pub rank: Rank,
    /// Name or address of rank 0's machine.
    pub host: String,
    /// Port on it.
    pub port: u16,
    /// How long to wait for the others, here and in every later exchange.
    pub timeout: Duration,
}

/// Why ranks did not find one another.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RendezvousError {
    /// Rank 0 cannot listen.
    #[error("rank 0 cannot listen on port {port}: {source}; another run may use it: set MASTER_PORT to a free one")]
    Listen {
        /// The port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// Ranks that did not call.
    #[error("after {seconds} s rank(s) {missing} of {world} have not called rank 0; were all processes started?")]
    Missing {
        /// Seconds waited.
        seconds: u64,
        /// Those missing, by number.
        missing: String,
        /// Ranks there should be.
        world: usize,
    },
    /// Rank 0 cannot be reached.
    #[error(
        "{rank} cannot reach rank 0 at {host}:{port} after {seconds} s: {source}; check MASTER_ADDR and MASTER_PORT"
    )]
    Unreachable {
        /// This rank.
        rank: Rank,
        /// MASTER_ADDR.
        host: String,
        /// MASTER_PORT.
        port: u16,
        /// Seconds waited.
        seconds: u64,
        /// The last attempt's error.
        source: io::Error,
    },
    /// A rank that does not belong, or the other side of it.
    #[error("{0}")]
    Refused(String),
    /// Ctrl-C while waiting.
    #[error("interrupted while waiting for other ranks")]
    Interrupted,
}

impl Rendezvous {
    /// As a launcher says.
    pub fn of(launch: &Launch, timeout: Duration) -> Self {
        Rendezvous { rank: launch.rank, host: launch.host.clone(), port: launch.port, timeout }
    }

    /// Waits until all ranks have met.
    pub fn connect(&self, interrupt: &Interrupt) -> Result<TcpRank, RendezvousError> {
        let streams = match self.rank.is_rank_zero() {
            true => self.listen(interrupt)?,
            false => vec![self.call(interrupt)?],
        };
        for stream in &streams {
            // Small messages decide when a step goes on.
            let set = stream.set_nodelay(true).and_then(|()| stream.set_write_timeout(Some(self.timeout * 2)));
            set.map_err(|error| RendezvousError::Refused(format!("cannot set up a connection: {error}")))?;
        }
        Ok(TcpRank::new(self.rank, self.timeout, streams))
    }

    fn listen(&self, interrupt: &Interrupt) -> Result<Vec<TcpStream>, RendezvousError> {
        let failed = |source| RendezvousError::Listen { port: self.port, source };
        let listener = TcpListener::bind((self.address_to_bind(), self.port)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let deadline = Instant::now() + self.timeout;
        let mut ranks: Vec<Option<TcpStream>> = (1..self.rank.world_size()).map(|_| None).collect();
        while ranks.iter().any(Option::is_none) {
            match listener.accept() {
                Ok((stream, _)) => {
                    let Ok(greeting) = read_greeting(&stream) else { continue };
                    let refusal = match self.check(&greeting) {
                        Ok(rank) => match ranks.get_mut(rank - 1) {
                            Some(slot @ None) => {
                                *slot = Some(stream);
                                continue;
                            }
                            _ => format!("two processes call themselves rank {rank}"),
                        },
                        Err(refusal) => refusal,
                    };
                    for stream in ranks.into_iter().flatten().chain([stream]) {
                        drop(answer(&stream, Some(&refusal)));
                    }
                    return Err(RendezvousError::Refused(refusal));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
                Err(error) => return Err(failed(error)),
            }
            if interrupt.is_raised() {
                return Err(RendezvousError::Interrupted);
            }
            if Instant::now() >= deadline {
                let missing: Vec<String> =
                    (1..).zip(&ranks).filter(|(_, rank)| rank.is_none()).map(|(rank, _)| rank.to_string()).collect();
                let (seconds, world) = (self.timeout.as_secs(), self.rank.world_size());
                return Err(RendezvousError::Missing { seconds, missing: missing.join(", "), world });
            }
        }
        let streams: Vec<TcpStream> = ranks.into_iter().flatten().collect();
        // A rank that is gone again shows in the first exchange.
        streams.iter().for_each(|stream| drop(answer(stream, None)));
        Ok(streams)
    }

    /// On this machine alone where all ranks are on it, else wherever the others can reach it.
    fn address_to_bind(&self) -> IpAddr {
        match self.host.parse() {
            Ok(IpAddr::V4(address)) if address.is_loopback() => IpAddr::V4(address),
            Ok(IpAddr::V6(address)) if address.is_loopback() => IpAddr::V6(address),
            Ok(IpAddr::V6(_)) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            _ if self.host == "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        }
    }

    /// The rank of a greeting, or why it does not belong.
    fn check(&self, greeting: &Greeting) -> Result<usize, String> {
        let Greeting { protocol, world, rank } = *greeting;
        if protocol != PROTOCOL {
            return Err(format!("a rank speaks protocol {protocol} and rank 0 protocol {PROTOCOL}: use one build"));
        }
        if world != self.rank.world_size() {
            return Err(format!("rank {rank} is of a world of {world}, rank 0 of {}", self.rank.world_size()));
        }
        if rank == 0 || rank >= world {
            return Err(format!("a process calls itself rank {rank} of {world}, beside rank 0"));
        }
        Ok(rank)
    }

    fn call(&self, interrupt: &Interrupt) -> Result<TcpStream, RendezvousError> {
        let deadline = Instant::now() + self.timeout;
        let unreachable = |source| RendezvousError::Unreachable {
            rank: self.rank,
            host: self.host.clone(),
            port: self.port,
            seconds: self.timeout.as_secs(),
            source,
        };
        let stream = loop {
            // Rank 0 may start later, and its name may be known later.
            let addresses = (self.host.as_str(), self.port).to_socket_addrs();
            let source = match addresses.and_then(|addresses| connect_any(addresses.collect())) {
                Ok(stream) => break stream,
                Err(error) => error,
            };
            if interrupt.is_raised() {
                return Err(RendezvousError::Interrupted);
            }
            if Instant::now() >= deadline {
                return Err(unreachable(source));
            }
            std::thread::sleep(PAUSE);
        };
        write_greeting(&stream, self.rank).map_err(unreachable)?;
        let closed = || RendezvousError::Refused("rank 0 ended while the ranks were meeting".into());
        stream.set_read_timeout(Some(PAUSE)).map_err(unreachable)?;
        let mut verdict = [0];
        loop {
            match (&stream).read(&mut verdict) {
                Ok(0) => return Err(closed()),
                Ok(_) => break,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(closed()),
            }
            if interrupt.is_raised() {
                return Err(RendezvousError::Interrupted);
            }
            // Rank 0 gives up first and says who is missing by closing.
            if Instant::now() >= deadline + GREETING_TIMEOUT {
                return Err(unreachable(io::ErrorKind::TimedOut.into()));
            }
        }
        if verdict == [0] {
            return Ok(stream);
        }
        let mut text = Vec::new();
        stream.set_read_timeout(Some(GREETING_TIMEOUT)).map_err(unreachable)?;
        drop((&stream).take(MAX_REFUSAL_BYTES as u64).read_to_end(&mut text));
        Err(RendezvousError::Refused(String::from_utf8_lossy(&text).into_owned()))
    }
}

struct Greeting {
    protocol: u32,
    world: usize,
    rank: usize,
}

fn write_greeting(mut stream: &TcpStream, rank: Rank) -> io::Result<()> {
    let mut greeting = MAGIC.to_vec();
    for number in [PROTOCOL, rank.world_size() as u32, rank.index() as u32] {
        greeting.extend(number.to_le_bytes());
    }
    stream.write_all(&greeting)
}

fn read_greeting(mut stream: &TcpStream) -> io::Result<Greeting> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(GREETING_TIMEOUT))?;
    let mut bytes = [0; GREETING_BYTES];
    stream.read_exact(&mut bytes)?;
    let (words, _) = bytes.as_chunks::<4>();
    match *words {
        [m0, m1, protocol, world, rank] if [m0, m1].concat() == MAGIC => {
            let [protocol, world, rank] = [protocol, world, rank].map(u32::from_le_bytes);
            Ok(Greeting { protocol, world: world as usize, rank: rank as usize })
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Tells a rank that all have met, or why not.
fn answer(mut stream: &TcpStream, refusal: Option<&str>) -> io::Result<()> {
    match refusal {
        None => stream.write_all(&[0]),
        Some(text) => {
            let text = &text.as_bytes()[..text.len().min(MAX_REFUSAL_BYTES)];
            stream.write_all(&[&[1], text].concat())
        }
    }
}

/// The first address that answers.
fn connect_any(addresses: Vec<std::net::SocketAddr>) -> io::Result<TcpStream> {
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    for address in addresses {
        match TcpStream::connect_timeout(&address, GREETING_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
