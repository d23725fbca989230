//! The rules for peers once more, slow and obvious: addresses are numbers, networks are ranges of
//! them, and none of the code is used that it judges.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use crate::registries::{DENIED_V6, number_v4, number_v6, slow_denies_v4};

/// Where clouds answer a machine's questions about itself, with all of link-local: first address
/// and the logarithm of the number of addresses.
const METADATA_V4: [(&str, u32); 4] = [
    ("169.254.0.0", 16),
    ("100.100.100.200", 0),
    ("168.63.129.16", 0),
    ("192.0.0.192", 0),
];
const METADATA_V6: [(&str, u32); 4] = [
    ("fe80::", 118),
    ("fd00:ec2::", 96),
    ("fd20:ce::254", 0),
    ("fd00:42::42", 0),
];

/// What the operator and the relay's own addresses add to the built-in rules.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// First and last address of a range, by family.
    pub(crate) allow: Vec<(IpAddr, IpAddr)>,
    pub(crate) deny: Vec<(IpAddr, IpAddr)>,
    pub(crate) control: Vec<SocketAddr>,
    pub(crate) own: Vec<IpAddr>,
    pub(crate) relay_ports: RangeInclusive<u16>,
}

/// Which rule denies a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ruling {
    Allowed,
    Control,
    Metadata,
    Configured,
    Own,
    Special,
}

impl Rules {
    /// Judges a transport address and all that it may stand for; the first denial counts.
    pub(crate) fn judge(&self, peer: SocketAddr) -> Ruling {
        let all = std::iter::once(peer.ip()).chain(hidden(peer.ip()));
        all.map(|address| self.judge_one(address, peer.port()))
            .find(|ruling| *ruling != Ruling::Allowed)
            .unwrap_or(Ruling::Allowed)
    }

    fn judge_one(&self, address: IpAddr, port: u16) -> Ruling {
        let own = self.own.contains(&address);
        let loopback = match address {
            IpAddr::V4(v4) => v4.octets()[0] == 127,
            IpAddr::V6(v6) => u128::from(v6) == 1,
        };
        let controls = |control: &SocketAddr| {
            let plain = unmapped(control.ip());
            let anywhere = plain == IpAddr::from([0; 4]) || plain == IpAddr::from([0; 16]);
            control.port() == port && (plain == address || anywhere && (loopback || own))
        };
        if self.control.iter().any(controls) {
            Ruling::Control
        } else if is_metadata(address) {
            Ruling::Metadata
        } else if within(&self.deny, address) {
            Ruling::Configured
        } else if own && self.relay_ports.contains(&port) || within(&self.allow, address) {
            Ruling::Allowed
        } else if own {
            Ruling::Own
        } else if is_special(address) {
            Ruling::Special
        } else {
            Ruling::Allowed
        }
    }
}

fn within(ranges: &[(IpAddr, IpAddr)], address: IpAddr) -> bool {
    ranges.iter().any(|(first, last)| {
        first.is_ipv4() == address.is_ipv4() && (*first..=*last).contains(&address)
    })
}

fn unmapped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) if u128::from(v6) >> 32 == 0xffff => {
            IpAddr::V4(Ipv4Addr::from(u128::from(v6) as u32))
        }
        plain => plain,
    }
}

fn is_metadata(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => METADATA_V4.iter().any(|(first, log)| {
            let first = number_v4(first);
            u64::from(u32::from(v4)) >> log == first >> log
        }),
        IpAddr::V6(v6) => METADATA_V6
            .iter()
            .any(|(first, log)| u128::from(v6) >> log == number_v6(first) >> log),
    }
}

/// Without what it may hide, which is judged by itself.
fn is_special(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => slow_denies_v4(u32::from(v4).into()),
        IpAddr::V6(v6) => {
            let number = u128::from(v6);
            number >> 125 != 1
                || DENIED_V6.iter().any(|(first, log)| {
                    let first = number_v6(first);
                    number >= first && number - first < 1 << log
                })
        }
    }
}

/// Every IPv4 address that something on the way could make of `address`, from the texts of the
/// RFCs: octets are counted from 0, as they print them.
fn hidden(address: IpAddr) -> Vec<IpAddr> {
    let IpAddr::V6(v6) = address else {
        return Vec::new();
    };
    let o = v6.octets();
    let at = |places: [usize; 4]| IpAddr::from(places.map(|place| o[place]));
    let last = at([12, 13, 14, 15]);
    let starts = |prefix: &[u8]| o.starts_with(prefix);
    if o == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1] {
        return Vec::new();
    }
    // Compatible, mapped, translated, and the well-known prefix of NAT64.
    if starts(&[0; 12])
        || starts(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff])
        || starts(&[0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0])
        || starts(&[0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0])
    {
        return vec![last];
    }
    // RFC 6052 section 2.2 leaves out octet 8.
    if starts(&[0, 0x64, 0xff, 0x9b, 0, 1]) {
        return vec![
            at([6, 7, 9, 10]),
            at([7, 9, 10, 11]),
            at([9, 10, 11, 12]),
            last,
        ];
    }
    let mut found = Vec::new();
    if starts(&[0x20, 0x02]) {
        found.push(at([2, 3, 4, 5]));
    } else if starts(&[0x20, 0x01, 0, 0]) {
        found.push(at([4, 5, 6, 7]));
        found.push(IpAddr::from([12, 13, 14, 15].map(|place: usize| !o[place])));
    }
    if [[0, 0, 0x5e, 0xfe], [2, 0, 0x5e, 0xfe]].contains(&[o[8], o[9], o[10], o[11]]) {
        found.push(last);
    }
    found
}
