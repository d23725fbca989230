//! One DNS question over UDP, for readiness checks and for timing that a forked tool would blur.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};

/// What a name server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Response code.
    pub code: ResponseCode,
    /// Addresses of the answer section, in order.
    pub addresses: Vec<IpAddr>,
    /// TTL of the first answer in seconds.
    pub ttl: Option<u32>,
}

/// Which addresses are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Records {
    /// IPv4 (RFC 1035 section 3.4.1).
    A,
    /// IPv6 (RFC 3596 section 2.1).
    Aaaa,
}

/// Asks `server` for the A records of `name` from the address `from`, and waits for at most
/// `patience`.
pub fn ask(
    server: SocketAddrV4,
    from: Ipv4Addr,
    name: &str,
    patience: Duration,
) -> io::Result<Reply> {
    ask_for(Records::A, server.into(), from.into(), name, patience)
}

/// The same over either protocol and for either kind of address.
pub fn ask_for(
    records: Records,
    server: SocketAddr,
    from: IpAddr,
    name: &str,
    patience: Duration,
) -> io::Result<Reply> {
    let socket = UdpSocket::bind((from, 0))?;
    socket.connect(server)?;
    let name = Name::from_ascii(name).map_err(io::Error::other)?;
    // One socket per question: its port is what makes a reply belong to it.
    let id = SocketAddr::port(&socket.local_addr()?);
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    let record_type = match records {
        Records::A => RecordType::A,
        Records::Aaaa => RecordType::AAAA,
    };
    message.add_query(Query::query(name, record_type));
    socket.send(&message.to_vec().map_err(io::Error::other)?)?;

    let deadline = Instant::now() + patience;
    let mut buffer = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let length = socket.recv(&mut buffer)?;
        let Ok(message) = Message::from_vec(&buffer[..length]) else {
            continue;
        };
        if message.metadata.id == id {
            return Ok(reply(&message));
        }
    }
}

fn reply(message: &Message) -> Reply {
    let addresses = message
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::A(a) => Some(IpAddr::V4(a.0)),
            RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
            _ => None,
        });
    Reply {
        code: message.metadata.response_code,
        addresses: addresses.collect(),
        ttl: message.answers.first().map(|record| record.ttl),
    }
}
