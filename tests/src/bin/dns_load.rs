//! `dns_load`: asks a nameserver as fast as it answers, at less than it costs to answer, so that it is
//! the server that is short of time and not who asks.

use std::io::IoSlice;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use cluster_tests::load::datagrams::Inbox;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, sendmmsg};

/// Queries of one system call.
const BATCH: usize = 64;
/// Fewer are sent only where fewer may be under way.
const WORTHWHILE: usize = 16;
/// A socket that heard nothing for so long has lost what is under way.
const PATIENCE: Duration = Duration::from_millis(50);
/// What is offered as room for an answer, in bytes (RFC 9715).
const PAYLOAD: u16 = 1232;

/// Asks over UDP with EDNS, some queries under way at any time, and prints how many were answered.
#[derive(Debug, Parser)]
struct Options {
    /// The nameserver.
    server: SocketAddr,
    /// A file with a name and a type on each line; they are asked in turns.
    queries: PathBuf,
    /// For how long.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(10..=600_000))]
    milliseconds: u64,
    /// Sockets to ask from.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    sockets: u16,
    /// Queries that each may have under way.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=64))]
    window: u16,
    /// Whether signatures are asked for (RFC 3225).
    #[arg(long)]
    dnssec: bool,
}

fn main() -> ExitCode {
    let Err(error) = run(&Options::parse()) else {
        return ExitCode::SUCCESS;
    };
    eprintln!("{error}");
    ExitCode::FAILURE
}

fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let mut queries = queries(options)?;
    let mut askers = Vec::new();
    for _ in 0..options.sockets {
        let any: SocketAddr = match options.server {
            SocketAddr::V4(_) => ([0; 4], 0).into(),
            SocketAddr::V6(_) => ([0; 16], 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(options.server)?;
        socket.set_nonblocking(true)?;
        askers.push(Asker {
            socket,
            under_way: 0,
            heard: Instant::now(),
        });
    }
    let (mut inbox, mut count) = (Inbox::default(), Count::default());
    let begun = Instant::now();
    let length = Duration::from_millis(options.milliseconds);
    while begun.elapsed() < length {
        for asker in &mut askers {
            asker.hear(&mut inbox, &mut count)?;
            asker.ask(usize::from(options.window), &mut queries)?;
        }
    }
    let rate = u128::from(count.answered) * 1000 / begun.elapsed().as_millis();
    println!(
        "Queries completed: {}\nQueries per second: {rate}\nQueries lost: {}",
        count.answered, count.lost
    );
    if count.wrong > 0 {
        return Err(format!("{} answers were errors or truncated", count.wrong).into());
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Count {
    answered: u64,
    lost: usize,
    /// Answers that are none.
    wrong: u64,
}

/// Queries as they are sent, in turns.
struct Queries {
    messages: Vec<Vec<u8>>,
    next: usize,
    id: u16,
    headers: MultiHeaders<()>,
}

fn queries(options: &Options) -> Result<Queries, Box<dyn std::error::Error>> {
    let mut messages = Vec::new();
    let text = std::fs::read_to_string(&options.queries)?;
    for (number, line) in text.lines().enumerate() {
        let Some((name, kind)) = line.split_once(' ') else {
            return Err(format!("line {}: no type", number + 1).into());
        };
        let mut name = Name::from_ascii(name)?;
        name.set_fqdn(true);
        let mut message = Message::new(0, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(name, kind.trim().parse::<RecordType>()?));
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD).set_dnssec_ok(options.dnssec);
        message.edns = Some(edns);
        messages.push(message.to_vec()?);
    }
    if messages.is_empty() {
        return Err("no queries".into());
    }
    // No batch has the same one twice.
    let once = messages.clone();
    while messages.len() < BATCH {
        messages.extend_from_slice(&once);
    }
    Ok(Queries {
        messages,
        next: 0,
        id: 0,
        headers: MultiHeaders::preallocate(BATCH, None),
    })
}

impl Queries {
    /// Sends the next ones. Returns how many the kernel took.
    fn send(&mut self, socket: &UdpSocket, count: usize) -> nix::Result<usize> {
        if self.next + count > self.messages.len() {
            self.next = 0;
        }
        let batch = &mut self.messages[self.next..self.next + count];
        for message in batch.iter_mut() {
            self.id = self.id.wrapping_add(1);
            message[..2].copy_from_slice(&self.id.to_be_bytes());
        }
        self.next += count;
        let slices = batch.iter().map(|message| [IoSlice::new(message)]);
        let slices: Vec<[IoSlice<'_>; 1]> = slices.collect();
        let connected = [None; BATCH];
        let nothing: [ControlMessage<'_>; 0] = [];
        let (fd, flags) = (socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        let headers = &mut self.headers;
        sendmmsg(fd, headers, &slices, connected, nothing, flags).map(Iterator::count)
    }
}

/// A socket that asks.
struct Asker {
    socket: UdpSocket,
    under_way: usize,
    heard: Instant,
}

impl Asker {
    /// Takes the answers that are there.
    fn hear(&mut self, inbox: &mut Inbox, count: &mut Count) -> std::io::Result<()> {
        inbox.receive(&self.socket)?;
        let mut got = 0;
        for (message, _) in inbox.iter() {
            got += 1;
            // A response, whole, with NOERROR or NXDOMAIN (RFC 1035 section 4.1.1).
            let fine = message.get(2).is_some_and(|flags| flags & 0x82 == 0x80)
                && message
                    .get(3)
                    .is_some_and(|code| matches!(code & 15, 0 | 3));
            count.wrong += u64::from(!fine);
        }
        count.answered += got as u64;
        self.under_way = self.under_way.saturating_sub(got);
        if got > 0 {
            self.heard = Instant::now();
        } else if self.under_way > 0 && self.heard.elapsed() > PATIENCE {
            count.lost += std::mem::take(&mut self.under_way);
            self.heard = Instant::now();
        }
        Ok(())
    }

    /// Asks as much as may be under way, if that is worth it.
    fn ask(&mut self, window: usize, queries: &mut Queries) -> nix::Result<()> {
        let room = window.saturating_sub(self.under_way);
        if room < WORTHWHILE.min(window) {
            return Ok(());
        }
        match queries.send(&self.socket, room.min(BATCH)) {
            Ok(sent) => self.under_way += sent,
            // Nobody is there yet, or the kernel has no room.
            Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ECONNREFUSED) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
