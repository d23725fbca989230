//! Opens UDP sockets with the options a relay needs and no others: an allocation pays for each one.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::LazyLock;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6DontFrag, Ipv6RecvPacketInfo, UdpGroSegment};
use quinn_udp::{UdpSockRef, UdpSocketState};
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
};
use socket2::{Domain, Protocol, Socket, Type};

use super::udp::{Buffers, Sharing};

/// Opens and binds a socket.
pub(super) fn open(address: SocketAddr, sharing: Sharing, buffers: Buffers) -> io::Result<Socket> {
    let kind = Type::DGRAM.nonblocking();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::UDP))?;
    let is_wildcard = address.ip().is_unspecified();
    if sharing == Sharing::PerWorker {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() && is_wildcard {
        socket.set_only_v6(true)?;
    }
    // Before the rest, which is in vain where somebody else has the port.
    socket.bind(&address.into())?;
    // Best effort: a smaller buffer than asked for still works.
    let _ = socket.set_recv_buffer_size(buffers.receive);
    let _ = socket.set_send_buffer_size(buffers.send);
    // ECN marks are carried over (RFC 8656 section 15). Which address a datagram came to is a question
    // at a wildcard only.
    if address.is_ipv4() {
        socket.set_recv_tos_v4(true)?;
        allow_fragments(&socket, address)?;
        if is_wildcard {
            setsockopt(&socket, Ipv4PacketInfo, &true)?;
        }
    } else {
        socket.set_recv_tclass_v6(true)?;
        if is_wildcard {
            setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
        }
    }
    // Best effort: kernels before 5.0 merge nothing.
    let _ = setsockopt(&socket, UdpGroSegment, &true);
    Ok(socket)
}

/// Lets what is sent be fragmented rather than lost: a relayed datagram may grow by a header
/// (RFC 8656 section 15: the DF bit is clear unless the client asked for it). What IPv6 sockets begin
/// with.
pub(super) fn allow_fragments(socket: &impl AsFd, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv4() {
        // OMIT: DF clear, and a forged ICMP message cannot shrink the path MTU.
        set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::OMIT)?;
    } else {
        // Routers never fragment IPv6: the sender has to honour what the path reports.
        set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::WANT)?;
        setsockopt(socket, Ipv6DontFrag, &false)?;
    }
    Ok(())
}

/// What the batching library knows of this kernel.
///
/// It finds out with a socket on which it turns on what QUIC wants: twice the options, among them
/// receive timestamps, which make the kernel stamp every packet of the machine. So it is given one
/// that is closed again.
pub(super) fn kernel() -> io::Result<&'static UdpSocketState> {
    static KERNEL: LazyLock<io::Result<UdpSocketState>> = LazyLock::new(|| {
        let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        UdpSocketState::new(UdpSockRef::from(&socket))
    });
    KERNEL
        .as_ref()
        .map_err(|error| io::Error::from(error.kind()))
}
