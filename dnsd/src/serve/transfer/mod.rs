//! Zone transfers out (RFC 5936, RFC 1995): who may have one, and of what.

mod stream;
#[cfg(test)]
mod tests;
pub mod tsig;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use dnsd_core::answer::Answer;
use dnsd_core::transfer::{Edition, Release};
use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use crate::metrics::Transport;
use tsig::Key;

pub use stream::Transfers;
pub(super) use stream::encoded;

/// A nameserver that may have the zones.
#[derive(Debug, Clone)]
pub struct Secondary {
    /// What it is called here.
    pub name: String,
    /// Where it asks from, and at which port it is told of changes; `None`: from anywhere, with its
    /// key.
    pub address: Option<SocketAddr>,
    /// Whether it is told of changes.
    pub notify: bool,
    /// What it must sign with, and is told of changes under.
    pub key: Option<Key>,
}

/// Everybody who may have the zones.
#[derive(Debug, Clone, Default)]
pub struct Secondaries {
    /// In the order of the configuration.
    pub all: Vec<Arc<Secondary>>,
    /// The keys that signatures are checked with.
    pub keys: Vec<Key>,
}

impl Secondaries {
    /// The secondary that asks from this address, with this key if any.
    fn find(&self, client: IpAddr, key: Option<&Name>) -> Option<&Arc<Secondary>> {
        let may = |secondary: &&Arc<Secondary>| {
            let address = secondary.address.map(|address| address.ip());
            let known = secondary.key.as_ref().map(Key::name);
            (address.is_some() || known.is_some())
                && address.is_none_or(|address| address == client)
                && known.is_none_or(|known| Some(known) == key)
        };
        self.all.iter().find(may)
    }
}

/// What becomes of a request for a zone.
#[derive(Debug, Clone)]
pub enum Transfer {
    /// It is not for whoever asks, or of no zone of ours.
    Refused,
    /// The secondary has it as it is, or is told which serial there is.
    Current(Arc<Secondary>),
    /// It gets the whole zone.
    Whole(Outgoing),
}

/// A zone on its way out.
#[derive(Debug, Clone)]
pub struct Outgoing {
    secondary: Arc<Secondary>,
    release: Arc<Release>,
    apex: Name,
}

/// Who asks for a zone, and how.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The question.
    pub question: &'a Query,
    /// The authority section: the serial that the client has.
    pub authorities: &'a [Record],
    /// From where.
    pub client: IpAddr,
    /// The key that the request is signed with.
    pub key: Option<&'a Name>,
    /// Over what.
    pub transport: Transport,
}

/// Judges a request for a zone: what becomes of it, and the answer unless it is refused as any
/// stranger's is. `None`: it is none.
pub fn judge(
    secondaries: &Secondaries,
    release: Option<&Arc<Release>>,
    asked: &Asked<'_>,
) -> Option<(Transfer, Option<Answer>)> {
    let question = asked.question;
    let kind = question.query_type();
    let wanted = matches!(kind, RecordType::AXFR | RecordType::IXFR);
    if !wanted || question.query_class() != DNSClass::IN {
        return None;
    }
    let Some((secondary, release)) = secondaries.find(asked.client, asked.key).zip(release) else {
        return Some((Transfer::Refused, None));
    };
    let secondary = Arc::clone(secondary);
    let Some(soa) = release.soa(question.name()) else {
        // RFC 5936 section 2.2.1.
        let mut answer = Answer::found(Vec::new());
        (answer.rcode, answer.authoritative) = (ResponseCode::NotAuth, false);
        return Some((Transfer::Refused, Some(answer)));
    };
    let incremental = kind == RecordType::IXFR;
    // Elsewhere nothing but the serial fits for sure (RFC 1995 section 2, RFC 5936 section 4.2), or a
    // query has one message for an answer.
    let streams = matches!(asked.transport, Transport::Tcp | Transport::Tls);
    if !streams && !incremental {
        return Some((Transfer::Refused, None));
    }
    let has = incremental.then(|| theirs(asked)).flatten();
    let fetches = has.is_none_or(|has| release.edition().is_newer_than(has));
    if incremental && !(fetches && streams) {
        return Some((Transfer::Current(secondary), Some(Answer::found(vec![soa]))));
    }
    let outgoing = Outgoing {
        secondary,
        release: Arc::clone(release),
        apex: question.name().clone(),
    };
    // Its header is that of every message.
    Some((Transfer::Whole(outgoing), Some(Answer::found(Vec::new()))))
}

/// The serial that the client says it has (RFC 1995 section 3).
fn theirs(asked: &Asked<'_>) -> Option<Edition> {
    asked
        .authorities
        .iter()
        .find_map(|record| match &record.data {
            RData::SOA(soa) => Some(Edition {
                serial: soa.serial,
                content: 0,
            }),
            _ => None,
        })
}
