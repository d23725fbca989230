//! ICMP messages about datagrams sent from a relayed socket, as the kernel keeps them.
//!
//! With `IP_RECVERR` they wait in a queue of their own, each with the destination of the datagram
//! it is about. Until they are read one of them also fails the next send or receive, once.

use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use nix::cmsg_space;
use nix::libc::{SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
use turnd_core::Icmp;

use super::udp::Udp;

/// Most messages that are read at once; the rest waits for the next.
const MOST: usize = 256;

/// Room for control messages: the error, and those the batching library asks for with every
/// datagram. Short of room the kernel leaves some out.
const CONTROL: usize = 256;

/// The ICMP messages that wait at a socket: for which destination, and what they say.
pub fn waiting(udp: &Udp) -> impl Iterator<Item = (SocketAddr, Icmp)> {
    let entries = std::iter::from_fn(|| next(udp)).take(MOST);
    entries.filter_map(|(peer, icmp)| peer.zip(icmp))
}

/// The next entry of the queue; not all are ICMP messages.
fn next(udp: &Udp) -> Option<(Option<SocketAddr>, Option<Icmp>)> {
    // The payload of the datagram comes along and is of no interest.
    let mut payload = [0; 1];
    let mut parts = [IoSliceMut::new(&mut payload)];
    let mut space = cmsg_space!([u8; CONTROL]);
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let fd = udp.socket.as_raw_fd();
    let message = recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut space), flags).ok()?;
    let peer = message.address.as_ref().and_then(address);
    let icmp = message
        .cmsgs()
        .ok()
        .into_iter()
        .flatten()
        .find_map(|control| icmp(&control));
    Some((peer, icmp))
}

fn address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address
        .as_sockaddr_in()
        .map(|v4| SocketAddr::V4((*v4).into()));
    v4.or_else(|| {
        address
            .as_sockaddr_in6()
            .map(|v6| SocketAddr::V6((*v6).into()))
    })
}

fn icmp(control: &ControlMessageOwned) -> Option<Icmp> {
    let (error, origin) = match control {
        ControlMessageOwned::Ipv4RecvErr(error, _) => (error, SO_EE_ORIGIN_ICMP),
        ControlMessageOwned::Ipv6RecvErr(error, _) => (error, SO_EE_ORIGIN_ICMP6),
        _ => return None,
    };
    // Others are of this machine itself.
    (error.ee_origin == origin).then_some(Icmp {
        kind: error.ee_type,
        code: error.ee_code,
        mtu: error.ee_info,
    })
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
    use std::time::Duration;

    use super::super::mmsg::Message;
    use super::super::udp::{Buffers, Envelope, Sharing};
    use super::*;

    /// Sends to a port nobody has and to one that is there; what is said of the first.
    fn told(ip: IpAddr) -> Vec<(SocketAddr, Icmp)> {
        let buffers = Buffers {
            receive: 1 << 16,
            send: 1 << 16,
        };
        let any = SocketAddr::new(ip, 0);
        let udp = Udp::bind(any, Sharing::Exclusive, buffers).expect("a socket");
        udp.keep_errors().expect("the option is known");
        let closed = UdpSocket::bind(any).expect("a socket");
        let nobody = closed.local_addr().expect("an address");
        drop(closed);
        let open = UdpSocket::bind(any).expect("a socket");
        open.set_read_timeout(Some(Duration::from_secs(10)))
            .expect("a timeout");
        let send = |to| {
            let envelope = Envelope {
                to,
                from: None,
                ecn: None,
                dont_fragment: false,
            };
            udp.send(std::iter::once(Message {
                envelope: &envelope,
                bytes: b"x",
                segment: None,
            }))
        };
        assert_eq!(send(nobody), Ok(1));
        // On loopback its answer is there already, and would fail this one.
        let address = open.local_addr().expect("an address");
        assert_eq!(send(address), Ok(1));
        assert_eq!(open.recv(&mut [0; 8]).expect("a datagram"), 1);
        let found: Vec<_> = waiting(&udp).collect();
        assert!(found.iter().all(|(peer, _)| *peer == nobody), "{found:?}");
        assert_eq!(waiting(&udp).count(), 0, "each is told once");
        found
    }

    #[test]
    fn a_closed_port_is_told_with_its_address() {
        let told = |ip| {
            let icmps = told(ip).into_iter().map(|(_, icmp)| icmp);
            icmps.map(|icmp| (icmp.kind, icmp.code)).collect::<Vec<_>>()
        };
        assert_eq!(told(Ipv4Addr::LOCALHOST.into()), [(3, 3)]);
        if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            assert_eq!(told(Ipv6Addr::LOCALHOST.into()), [(1, 4)]);
        }
    }
}
