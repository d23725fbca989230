//! The header that a proxy in front of the relay sends first (PROXY protocol, version 2): whom it
//! speaks for.

use std::net::{IpAddr, SocketAddr};

use ppp::v2::{Addresses, Command, Header as Parsed, PROTOCOL_PREFIX, Protocol};

/// The fixed part: signature, version, command, family, length.
const FIXED: usize = 16;

/// Longest header that is taken, with everything a proxy adds, in bytes.
const LONGEST: usize = 4096;

/// Whom a proxy speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// For itself: it looks whether the relay is well.
    Local,
    /// For a client.
    Client {
        /// The client's own address.
        client: SocketAddr,
        /// The address the client connected to.
        server: SocketAddr,
    },
}

/// What is no header, or none of a byte stream between internet addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Takes a header from the front of `bytes`, of which `begun` has come before. `None` when it is not
/// whole yet.
pub fn take(begun: &mut Vec<u8>, bytes: &mut &[u8]) -> Result<Option<Header>, Malformed> {
    loop {
        let known = begun.get(..PROTOCOL_PREFIX.len()).unwrap_or(begun);
        if !PROTOCOL_PREFIX.starts_with(known) {
            return Err(Malformed);
        }
        let whole = match begun.get(FIXED - 2..FIXED) {
            Some(&[high, low]) => FIXED + usize::from(u16::from_be_bytes([high, low])),
            _ => FIXED,
        };
        if whole > LONGEST {
            return Err(Malformed);
        }
        if begun.len() >= FIXED && begun.len() == whole {
            return read(begun).map(Some);
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        let (now, later) = bytes.split_at((whole - begun.len()).min(bytes.len()));
        begun.extend_from_slice(now);
        *bytes = later;
    }
}

fn read(bytes: &[u8]) -> Result<Header, Malformed> {
    let header = Parsed::try_from(bytes).map_err(|_| Malformed)?;
    if header.tlvs().any(|value| value.is_err()) {
        return Err(Malformed);
    }
    if header.command == Command::Local {
        return Ok(Header::Local);
    }
    let (client, server) = match (header.protocol, header.addresses) {
        (Protocol::Stream, Addresses::IPv4(v4)) => (
            address(v4.source_address, v4.source_port),
            address(v4.destination_address, v4.destination_port),
        ),
        (Protocol::Stream, Addresses::IPv6(v6)) => (
            address(v6.source_address, v6.source_port),
            address(v6.destination_address, v6.destination_port),
        ),
        _ => return Err(Malformed),
    };
    Ok(Header::Client { client, server })
}

fn address(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
    // One client is one source, whichever way its address is written.
    SocketAddr::new(ip.into().to_canonical(), port)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A header as the specification lays it out.
    fn header(version_command: u8, family_protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        bytes.extend([version_command, family_protocol]);
        bytes.extend((payload.len() as u16).to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    const V4: [u8; 12] = [192, 0, 2, 9, 198, 51, 100, 1, 0xc0, 0x01, 0x0d, 0x96];

    fn taken(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
        take(&mut Vec::new(), &mut &*bytes)
    }

    fn client(client: &str, server: &str) -> Header {
        let address = |text: &str| text.parse().expect("an address");
        Header::Client {
            client: address(client),
            server: address(server),
        }
    }

    #[test]
    fn a_client_is_named_and_what_follows_is_left() {
        let mut bytes = header(0x21, 0x11, &V4);
        let expected = Ok(Some(client("192.0.2.9:49153", "198.51.100.1:3478")));
        assert_eq!(taken(&bytes), expected);
        bytes.extend([0, 1]);
        let mut rest = &bytes[..];
        assert_eq!(take(&mut Vec::new(), &mut rest), expected);
        assert_eq!(rest, [0, 1]);
        let mut v6 = [0; 36];
        (v6[0], v6[1], v6[15], v6[33]) = (0x20, 0x01, 7, 9);
        (v6[16], v6[31], v6[35]) = (0xfd, 1, 8);
        assert_eq!(
            taken(&header(0x21, 0x21, &v6)),
            Ok(Some(client("[2001::7]:9", "[fd00::1]:8")))
        );
        // The same client over another kind of socket of the proxy.
        let mut mapped = [0; 36];
        mapped[10..16].copy_from_slice(&[0xff, 0xff, 192, 0, 2, 9]);
        mapped[16] = 0xfd;
        assert_eq!(
            taken(&header(0x21, 0x21, &mapped)),
            Ok(Some(client("192.0.2.9:0", "[fd00::]:0")))
        );
    }

    #[test]
    fn a_proxy_may_speak_for_itself_and_add_what_it_likes() {
        assert_eq!(taken(&header(0x20, 0x00, &[])), Ok(Some(Header::Local)));
        assert_eq!(taken(&header(0x20, 0x11, &V4)), Ok(Some(Header::Local)));
        let with_more = [&V4[..], &[0x04, 0, 3, 1, 2, 3, 0xea, 0, 1, 9]].concat();
        assert_eq!(
            taken(&header(0x21, 0x11, &with_more)),
            Ok(Some(client("192.0.2.9:49153", "198.51.100.1:3478")))
        );
    }

    #[test]
    fn anything_else_is_malformed() {
        let cut = [&V4[..], &[0x04, 0, 9, 1]].concat();
        for bytes in [
            header(0x11, 0x11, &V4),
            header(0x22, 0x11, &V4),
            header(0x21, 0x12, &V4),
            header(0x21, 0x41, &V4),
            header(0x21, 0x31, &[0; 216]),
            header(0x21, 0x00, &[]),
            header(0x21, 0x11, &V4[..11]),
            header(0x21, 0x11, &cut),
            header(0x21, 0x11, &[0; LONGEST]),
            b"PROXY TCP4 192.0.2.9 198.51.100.1 1 2\r\n".to_vec(),
            vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42],
        ] {
            assert_eq!(taken(&bytes), Err(Malformed), "{bytes:02x?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(cut in 1usize..40, more in prop::collection::vec(any::<u8>(), 0..40)) {
            let bytes = [header(0x21, 0x11, &V4), more.clone()].concat();
            let (mut begun, mut found, mut left) = (Vec::new(), None, Vec::<u8>::new());
            for mut piece in bytes.chunks(cut) {
                if found.is_none() {
                    found = take(&mut begun, &mut piece).expect("good");
                }
                left.extend(piece);
            }
            prop_assert_eq!(Ok(found), taken(&bytes));
            prop_assert_eq!(left, more);
        }

        #[test]
        fn no_bytes_break_it(
            version_command in prop::sample::select(vec![0x20u8, 0x21, 0x2f]),
            family in any::<u8>(),
            payload in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let _ = taken(&header(version_command, family, &payload));
            let _ = taken(&payload);
        }
    }
}
