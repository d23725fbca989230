//! How an answer came about, in words.

use credentials::UnixTime;
use credentials::label::{LabelKeys, Lane};
use hickory_proto::rr::{RData, RecordType};

use super::client::Client;
use super::locate::{End, locate};
use super::resolve::{Steering, steer};
use super::{Answer, Query, answer};
use crate::explain::{AnswerTrace, LabelUse, RegionBy, RelayTrace, SteeringTrace};
use crate::inventory::RelayEntry;
use crate::names::Owner;
use crate::paths::Family;
use crate::snapshot::Snapshot;
use crate::steer::{Absence, Asked, Choice, absences};

/// Says how [`answer`](super::answer()) comes to its answer. Takes the same path and adds words.
pub fn trace(
    snapshot: &Snapshot,
    keys: &LabelKeys,
    now: UnixTime,
    query: &Query<'_>,
) -> AnswerTrace {
    let answer = answer(snapshot, keys, now, query);
    let located = locate(snapshot, query.name, query.record_type);
    let client = Client::new(&snapshot.places, query.client, query.subnet);
    let steering = match located.end {
        End::Node { node, label, .. } if node.set(query.record_type).is_none() => node
            .owner
            .and_then(|owner| steer(snapshot, keys, now, &client, owner, label)),
        _ => None,
    };
    AnswerTrace {
        name: query.name.to_string(),
        record_type: query.record_type.to_string(),
        rcode: answer.rcode.to_string(),
        owner: describe(snapshot, &located.end),
        label: steering
            .as_ref()
            .map_or(LabelUse::None, |steering| steering.label),
        steering: steering.map(|steering| SteeringTrace {
            relays: describe_relays(snapshot, &steering, query.record_type),
            ..describe_steering(snapshot, query, &client, &steering, &answer)
        }),
        answers: answer.answers.iter().map(ToString::to_string).collect(),
        serial: snapshot.serial(),
    }
}

fn describe(snapshot: &Snapshot, end: &End<'_>) -> String {
    match end {
        End::Outside => "another zone".to_owned(),
        End::Missing(_) => "no such name".to_owned(),
        End::Cut(_, node) => format!("delegated at {}", node.name),
        End::Node { node, label, .. } => match node.owner {
            None => format!("records at {}", node.name),
            Some(owner) => describe_owner(snapshot, owner, label.is_some()),
        },
    }
}

fn describe_owner(snapshot: &Snapshot, owner: Owner, labelled: bool) -> String {
    match owner {
        Owner::Apex => "apex".to_owned(),
        Owner::Transport(transport) => format!("relays by {}", transport.as_str()),
        Owner::Lane(lane, None) if labelled => format!("label in lane {}", lane.as_str()),
        Owner::Lane(lane, None) => format!("lane {}", lane.as_str()),
        Owner::Lane(lane, Some(transport)) => {
            format!("lane {} by {}", lane.as_str(), transport.as_str())
        }
        Owner::Service(transport, None) => format!("where {} is spoken", transport.as_str()),
        Owner::Service(transport, Some(lane)) => {
            format!(
                "where {} is spoken in lane {}",
                transport.as_str(),
                lane.as_str()
            )
        }
        Owner::Api => "api".to_owned(),
        Owner::Region(index) => format!("region {}", region_name(snapshot, index)),
        Owner::Relay(index) => format!("relay {}", relay_name(snapshot, index)),
        Owner::Nameserver(index) => snapshot
            .nameservers
            .get(index)
            .map(|server| server.name.to_string())
            .unwrap_or_default(),
    }
}

fn describe_steering(
    snapshot: &Snapshot,
    query: &Query<'_>,
    client: &Client,
    steering: &Steering<'_>,
    answer: &Answer,
) -> SteeringTrace {
    let relays = |choice: &Choice| {
        let mut names: Vec<String> = Vec::new();
        for relay in choice.relays() {
            let name = relay_name(snapshot, usize::from(relay));
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    };
    let addresses = answer
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::A(a) => Some(a.0.into()),
            RData::AAAA(aaaa) => Some(aaaa.0.into()),
            _ => None,
        });
    let placed = match steering.region_by {
        RegionBy::Subnet => Some(client.network.addr()),
        RegionBy::Resolver => Some(query.client.to_canonical()),
        RegionBy::Name | RegionBy::Label | RegionBy::Default => None,
    };
    SteeringTrace {
        geoip: placed.is_some_and(|address| !snapshot.places.is_configured(address)),
        region: region_name(snapshot, steering.region),
        region_by: steering.region_by,
        transport: steering.transport,
        served_by: region_name(snapshot, steering.plan.served_by),
        tier: steering.plan.tier,
        spilled_to: steering.spilled_to.map(|to| region_name(snapshot, to)),
        ttl: steering.ttl,
        variant: steering.index,
        avoid: steering
            .avoid
            .iter()
            .map(|relay| relay_name(snapshot, usize::from(*relay)))
            .collect(),
        lanes: [
            relays(&steering.variant.lanes[0]),
            relays(&steering.variant.lanes[1]),
        ],
        apex: relays(&steering.variant.apex),
        addresses: addresses.collect(),
        relays: Vec::new(),
    }
}

/// What became of each relay.
fn describe_relays(
    snapshot: &Snapshot,
    steering: &Steering<'_>,
    record_type: RecordType,
) -> Vec<RelayTrace> {
    let (family, answered) = match record_type {
        RecordType::A => (Family::Ipv4, &steering.choice().ipv4),
        RecordType::AAAA => (Family::Ipv6, &steering.choice().ipv6),
        _ => return Vec::new(),
    };
    let (inventory, view) = snapshot.basis();
    let asked = Asked {
        region: steering.region,
        spilled_to: steering.spilled_to,
        transport: steering.transport,
        family,
        lane: steering.lane.map(|lane| usize::from(lane == Lane::B)),
        variant: steering.variant,
        avoid: &steering.avoid,
    };
    let absences = absences(inventory, view, &asked);
    let relays = inventory.relays().iter().zip(absences).enumerate();
    let trace = |(index, (entry, absence)): (usize, (&RelayEntry, Option<Absence>))| {
        let place = answered
            .iter()
            .position(|relay| usize::from(*relay) == index);
        debug_assert_eq!(
            place.is_some(),
            absence.is_none(),
            "{} {absence:?}",
            entry.id
        );
        RelayTrace {
            relay: entry.id.to_string(),
            region: entry.region.to_string(),
            zone: entry.zone.clone(),
            vendor: entry.vendor.clone(),
            place: place.map(|place| place + 1),
            absence,
            why: absence.map(|absence| absence.to_string()),
        }
    };
    relays.map(trace).collect()
}

fn relay_name(snapshot: &Snapshot, index: usize) -> String {
    let id = snapshot.relay_ids.get(index);
    id.map(ToString::to_string).unwrap_or_default()
}

fn region_name(snapshot: &Snapshot, index: usize) -> String {
    snapshot
        .regions
        .get(index)
        .map(|region| region.id.clone())
        .unwrap_or_default()
}
