//! Header, question and OPT record of an ordinary query, read without a copy but of the name.

use hickory_proto::rr::RecordType;
use ipnet::IpNet;

use super::{COOKIE, OPT, SUBNET};

/// Length of a DNS header (RFC 1035 section 4.1.1).
pub(super) const HEADER: usize = 12;
/// Longest name, with the root (RFC 1035 section 2.3.4).
const NAME: usize = 255;
/// Longest label.
const LABEL: u8 = 63;
/// Class IN.
const IN: [u8; 2] = [0, 1];

/// Room for the name of a question, which would be dear to move about with it.
#[derive(Debug)]
pub struct Room([u8; NAME]);

impl Default for Room {
    fn default() -> Self {
        Self([0; NAME])
    }
}

/// What an ordinary query asks.
#[derive(Debug)]
pub struct Question<'m> {
    /// Header and question, as they came.
    pub bytes: &'m [u8],
    /// The type asked for; the class is IN.
    pub record_type: RecordType,
    /// Its OPT record, if it has one.
    pub edns: Option<Options<'m>>,
    /// The name asked for, in lower case.
    pub name: &'m [u8],
}

/// What its OPT record says (RFC 6891 section 6.1.2).
#[derive(Debug, Default)]
pub struct Options<'m> {
    /// The longest message that the client takes, in bytes, as it says.
    pub payload: u16,
    /// Whether it wants signatures (RFC 3225).
    pub dnssec: bool,
    /// The cookie option's data, of any length (RFC 7873).
    pub cookie: Option<&'m [u8]>,
    /// The client subnet option's data as it came (RFC 7871); it keeps all rules.
    pub subnet_option: Option<&'m [u8]>,
}

impl<'m> Question<'m> {
    /// Reads a message. `None`: it is no query, malformed, or out of the ordinary.
    #[inline]
    pub fn parse(message: &'m [u8], room: &'m mut Room) -> Option<Self> {
        let (header, body) = message.split_first_chunk::<HEADER>()?;
        let [_, _, flags, more, q0, q1, a0, a1, n0, n1, r0, additionals] = *header;
        // A query (QR 0, opcode 0) that sets no flags but RD, AD and CD.
        let ordinary = flags & !0x01 == 0 && more & !0x30 == 0;
        let one_question = [q0, q1, a0, a1, n0, n1, r0] == [0, 1, 0, 0, 0, 0, 0];
        if !ordinary || !one_question || additionals > 1 {
            return None;
        }
        let length = name_length(body)?;
        let (asked, behind) = body[length..].split_first_chunk::<4>()?;
        let [t0, t1, c0, c1] = *asked;
        if [c0, c1] != IN {
            return None;
        }
        let edns = match (additionals, behind) {
            (0, []) => None,
            (1, opt) => Some(Options::parse(opt)?),
            _ => return None,
        };
        let name = &mut room.0[..length];
        for (to, from) in name.iter_mut().zip(body) {
            // Lengths of labels lie below the letters.
            *to = from.to_ascii_lowercase();
        }
        Some(Self {
            bytes: &message[..HEADER + length + asked.len()],
            record_type: RecordType::from(u16::from_be_bytes([t0, t1])),
            edns,
            name,
        })
    }
}

/// How long the name is that `body` begins with; `None` also for one with a pointer.
fn name_length(body: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let length = *body.get(at)?;
        at += 1 + usize::from(length);
        if length > LABEL || at > NAME {
            return None;
        }
        if length == 0 {
            return Some(at);
        }
    }
}

impl<'m> Options<'m> {
    /// Reads an OPT record, which ends the message (RFC 6891 section 6.1.2).
    #[inline]
    fn parse(record: &'m [u8]) -> Option<Self> {
        let (fixed, mut rest) = record.split_first_chunk::<OPT>()?;
        let [root, t0, t1, p0, p1, rcode, version, dnssec, flags, l0, l1] = *fixed;
        let length = u16::from_be_bytes([l0, l1]);
        if [root, t0, t1] != [0, 0, 41]
            || [rcode, version, dnssec & !0x80, flags] != [0; 4]
            || rest.len() != usize::from(length)
        {
            return None;
        }
        let mut options = Self {
            payload: u16::from_be_bytes([p0, p1]),
            dnssec: dnssec != 0,
            ..Self::default()
        };
        while !rest.is_empty() {
            let (&[c0, c1, l0, l1], behind) = rest.split_first_chunk::<4>()?;
            let length = usize::from(u16::from_be_bytes([l0, l1]));
            let (option, behind) = behind.split_at_checked(length)?;
            rest = behind;
            match u16::from_be_bytes([c0, c1]) {
                COOKIE if options.cookie.is_none() => options.cookie = Some(option),
                SUBNET if options.subnet_option.is_none() => {
                    subnet(option)?;
                    options.subnet_option = Some(option);
                }
                _ => return None,
            }
        }
        Some(options)
    }

    /// The network that the client subnet option names. Read a second time: few queries have one, and
    /// all would have to carry the room for it.
    pub fn subnet(&self) -> Option<IpNet> {
        self.subnet_option.and_then(subnet)
    }
}

/// The network of a client subnet option that keeps all rules (RFC 7871 section 6).
fn subnet(option: &[u8]) -> Option<IpNet> {
    let (&[0, family, source, 0], address) = option.split_first_chunk::<4>()? else {
        return None;
    };
    if address.len() != usize::from(source).div_ceil(8) {
        return None;
    }
    let network = match family {
        1 => {
            let mut octets = [0; 4];
            octets.get_mut(..address.len())?.copy_from_slice(address);
            IpNet::new(octets.into(), source)
        }
        2 => {
            let mut octets = [0; 16];
            octets.get_mut(..address.len())?.copy_from_slice(address);
            IpNet::new(octets.into(), source)
        }
        _ => return None,
    };
    let network = network.ok()?;
    (network.trunc() == network).then_some(network)
}
