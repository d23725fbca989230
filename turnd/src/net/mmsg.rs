//! sendmmsg(2): many datagrams of one socket handed to the kernel with one system call.
//!
//! The safe libraries give every datagram of a call the same ancillary data; here a segmented train
//! stands beside single datagrams. The only module with `unsafe` code.
#![allow(unsafe_code, reason = "the system call takes raw pointers")]

use std::io;
use std::mem::{MaybeUninit, offset_of, size_of};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;
use quinn_udp::EcnCodepoint;

use super::udp::Envelope;

/// Most datagrams, or trains, in one call.
pub const MOST: usize = 64;

/// A datagram, or a train that the kernel takes apart into datagrams (UDP GSO).
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Where to, and how marked. Its ban on fragments is not looked at.
    pub envelope: &'a Envelope,
    /// The datagrams, one behind the other.
    pub bytes: &'a [u8],
    /// Length of each datagram but the last, in bytes, if there are several.
    pub segment: Option<u16>,
}

const FLAGS: libc::c_int = libc::MSG_DONTWAIT;

/// A socket address as the kernel reads it.
#[derive(Clone, Copy)]
#[repr(C)]
union Name {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

/// Room for the ancillary data of a message: segment length, source address, traffic class.
const CONTROL: usize = 24 + 40 + 24;

#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control {
    bytes: [MaybeUninit<u8>; CONTROL],
}

/// Hands messages to the kernel, in order, [`MOST`] at most. Returns how many it took: fewer than
/// given when the next one failed, whose error shows when it is given first.
///
/// # Errors
/// Why not even the first was taken, as sendmmsg(2) says.
pub fn send<'m>(
    socket: BorrowedFd<'_>,
    messages: impl Iterator<Item = Message<'m>>,
) -> io::Result<usize> {
    let mut names = [const { MaybeUninit::<Name>::uninit() }; MOST];
    let mut parts = [const { MaybeUninit::<libc::iovec>::uninit() }; MOST];
    let mut controls = [const { MaybeUninit::<Control>::uninit() }; MOST];
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; MOST];
    let mut count = 0;
    let rooms = names.iter_mut().zip(&mut parts).zip(&mut controls);
    let rooms = rooms.zip(&mut headers);
    for ((((name, part), control), header), message) in rooms.zip(messages) {
        let (name, name_length) = address(name, message.envelope.to);
        let part = part.write(libc::iovec {
            // Only read from.
            iov_base: message.bytes.as_ptr().cast_mut().cast(),
            iov_len: message.bytes.len(),
        });
        let (control, control_length) = ancillary(control, &message);
        header.write(libc::mmsghdr {
            msg_hdr: libc::msghdr {
                msg_name: name.cast(),
                msg_namelen: name_length,
                msg_iov: part,
                msg_iovlen: 1,
                msg_control: control.cast(),
                msg_controllen: control_length,
                msg_flags: 0,
            },
            msg_len: 0,
        });
        count += 1;
    }
    let socket = socket.as_raw_fd();
    let headers = headers.as_mut_ptr().cast::<libc::mmsghdr>();
    if count == 1 {
        // SAFETY: the first header is initialised and borrowed by nobody else.
        let header = unsafe { &(*headers).msg_hdr };
        // The kernel has less to read of a datagram without ancillary data.
        // SAFETY: as below; of the one part, the kernel gets what the header says.
        let sent = unsafe {
            if header.msg_control.is_null() {
                let part = &*header.msg_iov;
                let (name, length) = (header.msg_name.cast(), header.msg_namelen);
                libc::sendto(socket, part.iov_base, part.iov_len, FLAGS, name, length)
            } else {
                libc::sendmsg(socket, header, FLAGS)
            }
        };
        return usize::try_from(sent)
            .map(|_| 1)
            .map_err(|_| io::Error::last_os_error());
    }
    // SAFETY: the first `count` headers are initialised, and everything they point to (names, parts,
    // controls, the messages' bytes) outlives the call, which writes to the headers alone. The
    // descriptor is open, since it is borrowed.
    let sent = unsafe { libc::sendmmsg(socket, headers, count, FLAGS) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Writes `to` as the kernel reads it. Returns where it is, and its length in bytes.
fn address(name: &mut MaybeUninit<Name>, to: SocketAddr) -> (*mut Name, libc::socklen_t) {
    let length = match to {
        SocketAddr::V4(v4) => {
            let v4 = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: v4.ip().to_bits().to_be(),
                },
                sin_zero: [0; 8],
            };
            name.write(Name { v4 });
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            let v6 = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr {
                    s6_addr: v6.ip().octets(),
                },
                sin6_scope_id: v6.scope_id(),
            };
            name.write(Name { v6 });
            size_of::<libc::sockaddr_in6>()
        }
    };
    (name.as_mut_ptr(), length as libc::socklen_t)
}

/// Writes what is to be said beside the datagrams of `message`. Returns where it is, null if nothing
/// is, and its length in bytes. Nothing is the cheapest: the kernel then keeps its short way.
fn ancillary(room: &mut MaybeUninit<Control>, message: &Message<'_>) -> (*mut u8, usize) {
    let bytes: *mut u8 = room.as_mut_ptr().cast();
    // SAFETY: bytes that may be uninitialised are valid whatever they are, and the room is borrowed
    // exclusively.
    let room = unsafe { &mut room.assume_init_mut().bytes };
    let mut used = 0;
    let mut put = |level: libc::c_int, kind: libc::c_int, data: &[u8]| {
        let header = size_of::<libc::cmsghdr>();
        let entry = &mut room[used..];
        let length: usize = header + data.len();
        fill(
            entry,
            offset_of!(libc::cmsghdr, cmsg_len),
            &length.to_ne_bytes(),
        );
        fill(
            entry,
            offset_of!(libc::cmsghdr, cmsg_level),
            &level.to_ne_bytes(),
        );
        fill(
            entry,
            offset_of!(libc::cmsghdr, cmsg_type),
            &kind.to_ne_bytes(),
        );
        fill(entry, header, data);
        used += length.next_multiple_of(size_of::<usize>());
    };
    let envelope = message.envelope;
    if let Some(segment) = message.segment {
        put(libc::SOL_UDP, libc::UDP_SEGMENT, &segment.to_ne_bytes());
    }
    let mark = envelope
        .ecn
        .map_or(0, |ecn: EcnCodepoint| ecn as libc::c_int);
    if mark != 0 {
        let (level, kind) = match envelope.to {
            SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_TOS),
            SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
        };
        put(level, kind, &mark.to_ne_bytes());
    }
    match envelope.from {
        // in_pktinfo: interface 0, the source address, and one that is not looked at.
        Some(IpAddr::V4(v4)) => {
            let mut info = [0; size_of::<libc::in_pktinfo>()];
            let at = offset_of!(libc::in_pktinfo, ipi_spec_dst);
            info[at..at + 4].copy_from_slice(&v4.octets());
            put(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
        }
        // in6_pktinfo: the source address and interface 0.
        Some(IpAddr::V6(v6)) => {
            let mut info = [0; size_of::<libc::in6_pktinfo>()];
            let at = offset_of!(libc::in6_pktinfo, ipi6_addr);
            info[at..at + 16].copy_from_slice(&v6.octets());
            put(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
        }
        None => {}
    }
    if used == 0 {
        return (std::ptr::null_mut(), 0);
    }
    (bytes, used)
}

fn fill(room: &mut [MaybeUninit<u8>], at: usize, bytes: &[u8]) {
    for (to, from) in room[at..].iter_mut().zip(bytes) {
        to.write(*from);
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSliceMut;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use nix::sys::socket::setsockopt;
    use nix::sys::socket::sockopt::ReceiveTimestampns;
    use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};

    use super::*;

    /// What one receive at `socket` brings, as the batching library reads it.
    fn receive(socket: &UdpSocket, state: &UdpSocketState) -> Vec<(RecvMeta, Vec<u8>)> {
        let mut buffer = vec![0; 65_536];
        let mut meta = [RecvMeta::default()];
        // It does not block; on loopback everything sent is there already.
        let slots = &mut [IoSliceMut::new(&mut buffer)];
        let filled = state.recv(UdpSockRef::from(socket), slots, &mut meta);
        assert_eq!(filled.expect("a datagram"), 1);
        let [meta] = meta;
        if meta.len == 0 {
            return vec![(meta, Vec::new())];
        }
        let datagrams = buffer[..meta.len].chunks(meta.stride);
        datagrams
            .map(|datagram| (meta, datagram.to_vec()))
            .collect()
    }

    fn everything(any: SocketAddr, other_source: Option<IpAddr>) {
        let sender = UdpSocket::bind(any).expect("a socket");
        let receiver = UdpSocket::bind(any).expect("a socket");
        let state = UdpSocketState::new(UdpSockRef::from(&receiver)).expect("options");
        // With them the library's room for ancillary data does not do.
        setsockopt(&receiver, ReceiveTimestampns, &false).expect("an option");
        let port = receiver.local_addr().expect("an address").port();
        let home: IpAddr = match any {
            SocketAddr::V4(_) => [127, 0, 0, 1].into(),
            SocketAddr::V6(_) => [0, 0, 0, 0, 0, 0, 0, 1].into(),
        };
        let plain = Envelope {
            to: SocketAddr::new(home, port),
            from: None,
            ecn: None,
            dont_fragment: false,
        };
        let marked = Envelope {
            ecn: Some(EcnCodepoint::Ect0),
            from: other_source,
            ..plain
        };
        let train: Vec<u8> = [vec![1; 300], vec![2; 300], vec![3; 100]].concat();
        let messages = [
            (&plain, &b"one"[..], None),
            (&marked, &train[..], Some(300)),
            (&plain, &b""[..], None),
            (&marked, &b"four"[..], None),
        ]
        .map(|(envelope, bytes, segment)| Message {
            envelope,
            bytes,
            segment,
        });
        let expected: [(&Envelope, &[u8]); 6] = [
            (&plain, b"one"),
            (&marked, &train[..300]),
            (&marked, &train[300..600]),
            (&marked, &train[600..]),
            (&plain, b""),
            (&marked, b"four"),
        ];
        let check = |expected: &[(&Envelope, &[u8])]| {
            let mut got = Vec::new();
            while got.len() < expected.len() {
                got.extend(receive(&receiver, &state));
            }
            for ((envelope, bytes), (meta, datagram)) in expected.iter().zip(got) {
                assert_eq!(*bytes, datagram);
                assert_eq!(meta.ecn, envelope.ecn);
                assert_eq!(meta.addr.ip(), envelope.from.unwrap_or(home));
            }
        };
        let sent = send(sender.as_fd(), messages.iter().copied());
        assert_eq!(sent.expect("sent"), messages.len());
        check(&expected);
        // Alone each of them takes another way.
        for message in messages {
            let sent = send(sender.as_fd(), std::iter::once(message));
            assert_eq!(sent.expect("sent"), 1);
        }
        check(&expected);
    }

    #[test]
    fn trains_marks_and_source_addresses_arrive_as_said() {
        let other = IpAddr::from([127, 0, 0, 77]);
        everything(([0, 0, 0, 0], 0).into(), Some(other));
        if UdpSocket::bind("[::1]:0").is_ok() {
            let own = IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1_u16]);
            everything("[::]:0".parse().expect("an address"), Some(own));
        }
    }

    #[test]
    fn what_fails_is_the_first_of_the_next_call() {
        let sender = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let fine = Envelope {
            to: receiver.local_addr().expect("an address"),
            from: None,
            ecn: None,
            dont_fragment: false,
        };
        // Nothing is ever sent to port 0.
        let wrong = Envelope {
            to: ([127, 0, 0, 1], 0).into(),
            ..fine
        };
        let message = |envelope| Message {
            envelope,
            bytes: b"x",
            segment: None,
        };
        let messages = [
            message(&fine),
            message(&fine),
            message(&wrong),
            message(&fine),
        ];
        let rest = |from: usize| messages[from..].iter().copied();
        assert_eq!(send(sender.as_fd(), rest(0)).expect("sent"), 2);
        let refused = send(sender.as_fd(), rest(2)).expect_err("not sent");
        assert_eq!(refused.raw_os_error(), Some(libc::EINVAL));
        assert_eq!(send(sender.as_fd(), rest(3)).expect("sent"), 1);
    }
}
