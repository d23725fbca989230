//! The filter for peers against a second one, made of ranges of numbers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use turnd_core::{Denial, PeerFilter, RelayAddresses};

use crate::rules::{Rules, Ruling};

/// Most rules of one input.
const RULES: usize = 16;

/// Rules, each told by its first byte, and then one peer, judged by both.
pub fn peer_filter(input: &[u8]) {
    let mut input = Bytes(input);
    let mut rules = Rules {
        allow: Vec::new(),
        deny: Vec::new(),
        control: Vec::new(),
        own: Vec::new(),
        relay_ports: 50_000..=50_099,
    };
    let mut own = RelayAddresses::default();
    let (mut allow, mut deny) = (Vec::new(), Vec::new());
    for _ in 0..input.byte() % RULES as u8 {
        match input.byte() % 6 {
            0 => range(&mut input, &mut allow, &mut rules.allow),
            1 => range(&mut input, &mut deny, &mut rules.deny),
            2 | 3 => rules.control.push(input.peer()),
            4 => own.v4 = Some(input.v4()),
            _ => own.v6 = Some(input.v6()),
        }
    }
    rules.own.extend(own.v4.map(IpAddr::V4));
    rules.own.extend(own.v6.map(IpAddr::V6));
    let filter = PeerFilter::new(own, rules.relay_ports.clone())
        .allow(allow)
        .deny(deny)
        .control(rules.control.iter().copied());
    let peer = input.peer();
    let ruling = match filter.check(peer) {
        Ok(()) => Ruling::Allowed,
        Err(Denial::Control) => Ruling::Control,
        Err(Denial::Metadata) => Ruling::Metadata,
        Err(Denial::Configured) => Ruling::Configured,
        Err(Denial::Own) => Ruling::Own,
        Err(Denial::Special) => Ruling::Special,
    };
    assert_eq!(ruling, rules.judge(peer), "{peer} under {rules:?}");
}

/// A network, once as such and once as its first and last address.
fn range(input: &mut Bytes<'_>, nets: &mut Vec<IpNet>, ranges: &mut Vec<(IpAddr, IpAddr)>) {
    let length = input.byte();
    if length & 0x80 == 0 {
        let (address, host) = (u128::from(input.v6()), length % 129);
        let mask = 1_u128.checked_shl(host.into()).map_or(u128::MAX, |n| n - 1);
        let (first, last) = (address & !mask, address | mask);
        let first = Ipv6Addr::from(first);
        nets.push(IpNet::V6(Ipv6Net::new_assert(first, 128 - host)));
        ranges.push((first.into(), Ipv6Addr::from(last).into()));
    } else {
        let (address, host) = (u32::from(input.v4()), length % 33);
        let mask = 1_u32.checked_shl(host.into()).map_or(u32::MAX, |n| n - 1);
        let (first, last) = (address & !mask, address | mask);
        let first = Ipv4Addr::from(first);
        nets.push(IpNet::V4(Ipv4Net::new_assert(first, 32 - host)));
        ranges.push((first.into(), Ipv4Addr::from(last).into()));
    }
}

/// The input, with zeros after its end.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    fn v4(&mut self) -> Ipv4Addr {
        Ipv4Addr::from(self.take())
    }

    fn v6(&mut self) -> Ipv6Addr {
        Ipv6Addr::from(self.take::<16>())
    }

    fn peer(&mut self) -> SocketAddr {
        let address = if self.byte() & 1 == 0 {
            IpAddr::V6(self.v6())
        } else {
            IpAddr::V4(self.v4())
        };
        SocketAddr::new(address, u16::from_be_bytes(self.take()))
    }
}
