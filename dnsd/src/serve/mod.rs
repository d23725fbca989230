//! Serving DNS: what every listener shares.

mod admission;
pub mod certificate;
pub mod complaints;
pub mod cookie;
mod edns;
pub mod fast;
pub mod quic;
pub mod rate;
pub mod reply;
pub mod rules;
pub mod tcp;
pub mod transfer;
pub mod udp;
pub mod wire;

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use credentials::UnixTime;
use credentials::label::LabelKeys;
use dnsd_core::answer::{Complaint, Steered};
use dnsd_core::snapshot::Snapshot;

use crate::metrics::{Code, Cookie, Drop, Kind, Metrics, Shares, Tally, Transport};
use rate::Limiter;
use rules::Rules;
use transfer::Transfers;

/// The answers in force and the keys that open the labels they are asked by.
#[derive(Debug)]
pub struct Published {
    /// The compiled answers.
    pub snapshot: Snapshot,
    /// Opens labels.
    pub labels: LabelKeys,
    /// How queries are treated.
    pub rules: Arc<Rules>,
    /// Where it is counted for whom steered names are answered, and with which relays.
    pub shares: Arc<Shares>,
}

/// What the listeners read and count. Swapped under them, never locked.
#[derive(Debug)]
pub struct Served {
    /// The answers in force.
    pub published: ArcSwap<Published>,
    /// Where labels that complain about relays are noted.
    pub complaints: complaints::Complaints,
    /// The daemon's metrics.
    pub metrics: Arc<Metrics>,
    /// Zones on their way to secondaries.
    pub transfers: Transfers,
    /// What each network has had.
    pub limiter: Limiter,
}

/// What is counted of a reply.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answered {
    /// The question's type.
    pub kind: Kind,
    /// The response code.
    pub code: Code,
    /// The cookie that the query came with.
    pub cookie: Cookie,
    /// What the label in the question says against relays.
    pub complaint: Option<Complaint>,
    /// For whom it is and which relay comes first, if its name is steered.
    pub steered: Option<Steered>,
}

impl Served {
    /// Counts a reply from the answers that `shares` belong to, and notes what its label says.
    fn count(&self, answered: &Answered, shares: &Arc<Shares>, now: UnixTime, tally: &mut Tally) {
        tally.answer(answered.kind, answered.code);
        tally.cookie(answered.cookie);
        if let Some(steered) = answered.steered {
            tally.steered(shares, steered);
        }
        if let Some(complaint) = answered.complaint {
            self.complaints.note(complaint, now);
        }
    }

    /// Counts something that is not answered, where it does not happen often.
    fn dropped(&self, reason: Drop, transport: Transport) {
        let mut tally = Tally::default();
        tally.drop(reason);
        self.metrics.fold(transport, &mut tally);
    }
}

/// The /24 or /56 an address belongs to, by its first address: whom one site can be.
fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(v4) => IpAddr::V4((u32::from(v4) & 0xffff_ff00).into()),
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & (!0 << 72)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_of_one_site_share_a_network() {
        let of = |text: &str| network(text.parse().expect("address"));
        assert_eq!(of("2001:db8:0:aa01::1"), of("2001:db8:0:aaff::2"));
        assert_ne!(of("2001:db8:0:ab00::1"), of("2001:db8:0:aaff::2"));
        assert_eq!(of("192.0.2.1"), of("192.0.2.254"));
    }
}
