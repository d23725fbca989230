//! The header of a proxy against a second reading of its specification, however it is cut.

use std::net::{IpAddr, SocketAddr};

use turnd::net::stream::proxy::{Header, take};

use crate::stream_framing::pieces;

/// What every header begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Longest header that is taken.
const LONGEST: usize = 4096;

/// What became of a stream: the header, or that there is none, and what follows it.
#[derive(Debug, PartialEq)]
enum Found {
    Header(Header, Vec<u8>),
    Waiting,
    Malformed,
}

/// The lowest bit of the first byte puts the signature in front; the second byte says how many of
/// the next are sizes of pieces; the rest is the stream.
pub fn proxy_v2(input: &[u8]) {
    let Some((&[mode, count], rest)) = input.split_first_chunk() else {
        return;
    };
    let (sizes, rest) = rest.split_at(rest.len().min(usize::from(count) % 16));
    let mut stream = Vec::new();
    if mode & 1 == 1 {
        stream.extend(SIGNATURE);
    }
    stream.extend(rest);
    let whole = found([&stream[..]]);
    assert_eq!(found(stream.chunks(1)), whole, "byte by byte");
    assert_eq!(
        found(pieces(&stream, sizes)),
        whole,
        "in pieces of {sizes:?}"
    );
    match read(&stream) {
        Some(expected) => assert_eq!(whole, expected),
        None => assert_eq!(whole, Found::Malformed),
    }
}

fn found<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Found {
    let (mut begun, mut header, mut rest) = (Vec::new(), None, Vec::new());
    for mut piece in pieces {
        if header.is_none() {
            match take(&mut begun, &mut piece) {
                Ok(taken) => header = taken,
                Err(_) => return Found::Malformed,
            }
            assert!(header.is_some() || piece.is_empty());
            assert!(begun.len() <= LONGEST);
        }
        rest.extend(piece);
    }
    header.map_or(Found::Waiting, |header| Found::Header(header, rest))
}

/// The header as the specification lays it out, with the whole stream at hand; `None` if it is
/// malformed, or for what is no stream between internet addresses.
fn read(stream: &[u8]) -> Option<Found> {
    let known = stream.len().min(SIGNATURE.len());
    if stream[..known] != SIGNATURE[..known] {
        return None;
    }
    if stream.len() < 16 {
        return Some(Found::Waiting);
    }
    let length = usize::from(stream[14]) * 256 + usize::from(stream[15]);
    if 16 + length > LONGEST {
        return None;
    }
    if stream.len() < 16 + length {
        return Some(Found::Waiting);
    }
    let (payload, rest) = stream[16..].split_at(length);
    let (version, command) = (stream[12] >> 4, stream[12] & 15);
    let (family, protocol) = (stream[13] >> 4, stream[13] & 15);
    if version != 2 || command > 1 || family > 3 || protocol > 2 {
        return None;
    }
    // Unspecified, internet, internet of version 6, local sockets.
    let octets = [0, 4, 16, 108][usize::from(family)];
    let addresses = [0, 12, 36, 216][usize::from(family)];
    // Who speaks of no address may say anything: it is skipped.
    if length < addresses || family != 0 && !are_values(&payload[addresses..]) {
        return None;
    }
    let header = match (command, family, protocol) {
        (0, _, _) => Header::Local,
        (_, 1 | 2, 1) => Header::Client {
            client: address(payload, 0, octets, 2 * octets),
            server: address(payload, octets, octets, 2 * octets + 2),
        },
        _ => return None,
    };
    Some(Found::Header(header, rest.to_vec()))
}

/// Whether `bytes` are whole values, each behind its type and length.
fn are_values(mut bytes: &[u8]) -> bool {
    while let [_, high, low, rest @ ..] = bytes {
        let length = usize::from(*high) * 256 + usize::from(*low);
        let Some(later) = rest.get(length..) else {
            return false;
        };
        bytes = later;
    }
    bytes.is_empty()
}

fn address(payload: &[u8], at: usize, octets: usize, port: usize) -> SocketAddr {
    let octets = &payload[at..at + octets];
    let ip = match <[u8; 4]>::try_from(octets) {
        Ok(v4) => IpAddr::from(v4),
        Err(_) => IpAddr::from(<[u8; 16]>::try_from(octets).unwrap()),
    };
    let port = u16::from_be_bytes([payload[port], payload[port + 1]]);
    SocketAddr::new(ip.to_canonical(), port)
}
