//! Where which transport is spoken, for clients that ask the DNS: NAPTR (RFC 5928) and SRV
//! (RFC 2782) records.

use hickory_proto::rr::rdata::{NAPTR, SRV};
use hickory_proto::rr::{Name, RData, Record};

use crate::inventory::{SERVICES, ServedZone};
use crate::paths::{Family, Path, Transport};
use crate::snapshot::Snapshot;
use crate::steer::Choice;

/// Distance between the priorities of two records: room for those that somebody adds elsewhere.
const STEP: u16 = 10;

/// The relays that speak a transport, best first; their names have the addresses.
pub(crate) fn srv(
    snapshot: &Snapshot,
    zone: &ServedZone,
    owner: &Name,
    transport: Transport,
    choice: &Choice,
    ttl: u32,
) -> Vec<Record> {
    let mut places: Vec<(u16, u16)> = Vec::new();
    for relay in choice.relays() {
        for port in ports(snapshot, relay, transport) {
            if !places.contains(&(relay, port)) {
                places.push((relay, port));
            }
        }
    }
    let record = |(place, (relay, port)): (usize, &(u16, u16))| {
        let id = snapshot.relay_ids.get(usize::from(*relay))?;
        let target = zone.names.apex().prepend_label(id.as_str()).ok()?;
        let priority = u16::try_from(place + 1).ok()?.saturating_mul(STEP);
        let data = RData::SRV(SRV::new(priority, 0, *port, target));
        Some(Record::from_rdata(owner.clone(), ttl, data))
    };
    places.iter().enumerate().filter_map(record).collect()
}

/// The ports of a relay, one as a rule: nothing keeps an operator from another per family.
fn ports(snapshot: &Snapshot, relay: u16, transport: Transport) -> impl Iterator<Item = u16> {
    let (inventory, _) = snapshot.basis();
    let entry = inventory.relays().get(usize::from(relay));
    let port = move |family| Some(entry?.address(Path { transport, family })?.port());
    Family::ALL.into_iter().filter_map(port)
}

/// The transports that relays speak, the one that serves clients best first.
pub(crate) fn naptr(snapshot: &Snapshot, owner: &Name, place: &Name) -> Vec<Record> {
    let offered = |transport: Transport| snapshot.offered[transport as usize];
    let turn = SERVICES
        .iter()
        .filter(|(name, ..)| name.starts_with("_turn"));
    let offered = turn.filter(|(.., transport)| offered(*transport));
    let record = |(index, (service, protocol, transport)): (usize, &(&str, &str, Transport))| {
        let replacement = place.prepend_label(protocol.as_bytes()).ok()?;
        let replacement = replacement.prepend_label(service.as_bytes()).ok()?;
        let data = NAPTR::new(
            STEP,
            u16::try_from(index + 1).ok()?.saturating_mul(STEP),
            Box::from(*b"s"),
            format!("RELAY:turn.{}", transport.as_str())
                .into_bytes()
                .into(),
            Box::default(),
            replacement,
        );
        let ttl = snapshot.policy.ttl_static;
        Some(Record::from_rdata(owner.clone(), ttl, RData::NAPTR(data)))
    };
    offered.enumerate().filter_map(record).collect()
}
