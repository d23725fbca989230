//! The compiled answers: immutable, complete, never empty.

mod networks;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use credentials::UnixTime;
use credentials::label::{Lane, Tag};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData};
use liveness::RelayId;

use crate::inventory::{Inventory, Policy, Zone};
use crate::paths::Transport;
use crate::steer::{Plans, RegionPlan, View, plan};
use networks::Networks;

/// SOA timers for secondaries, in seconds (RFC 1035 section 3.3.13; values after RFC 1912
/// section 2.2, but for a zone that changes within seconds).
const REFRESH: i32 = 60;
const RETRY: i32 = 15;
const EXPIRE: i32 = 1_209_600;

/// What a name in the zone stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Apex,
    /// All relays of one transport.
    Transport(Transport),
    /// A lane, as a whole or of one transport.
    Lane(Lane, Option<Transport>),
    Api,
    Region(usize),
    Relay(usize),
    Nameserver(usize),
}

/// A name with its addresses.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) name: Name,
    pub(crate) ipv4: Option<Ipv4Addr>,
    pub(crate) ipv6: Option<Ipv6Addr>,
}

/// A region as answers need it.
#[derive(Clone, Debug)]
pub(crate) struct RegionAnswers {
    pub(crate) id: String,
    pub(crate) plans: Plans,
}

impl RegionAnswers {
    /// The answers for clients that want a transport, or do not say which.
    pub(crate) fn plan(&self, transport: Option<Transport>) -> &RegionPlan {
        match transport {
            None => &self.plans.main,
            Some(transport) => &self.plans.by_transport[transport as usize],
        }
    }
}

/// Every answer the zone gives, until the next change.
#[derive(Debug)]
pub struct Snapshot {
    serial: u32,
    pub(crate) zone: Name,
    pub(crate) policy: Policy,
    pub(crate) soa: RData,
    pub(crate) nameservers: Vec<Host>,
    pub(crate) relays: Vec<Host>,
    pub(crate) relay_ids: Vec<RelayId>,
    pub(crate) regions: Vec<RegionAnswers>,
    pub(crate) default_region: usize,
    pub(crate) networks: Networks,
    /// The names one label below the zone, in lower case.
    names: BTreeMap<Box<[u8]>, Owner>,
    region_tags: BTreeMap<Tag, usize>,
    /// What it was compiled from, to tell why it is so.
    basis: (Inventory, View),
    address_tags: BTreeMap<Tag, u16>,
}

/// The zone's serial after `previous` (0: none yet): the time where that is ahead, so that serials
/// rise across restarts and roughly agree between nodes; else one more (RFC 1982 section 3).
pub fn next_serial(previous: u32, unix: UnixTime) -> u32 {
    let by_time = unix.0 as u32;
    let ahead = by_time.wrapping_sub(previous);
    let next = if previous == 0 || (1..1 << 31).contains(&ahead) {
        by_time
    } else {
        previous.wrapping_add(1)
    };
    next.max(1)
}

impl Snapshot {
    /// Compiles all answers.
    pub fn compile(inventory: &Inventory, view: &View, serial: u32) -> Self {
        let zone = inventory.zone();
        let mut names = BTreeMap::from([
            (Box::from(*b"api"), Owner::Api),
            (Box::from(*b"a"), Owner::Lane(Lane::A, None)),
            (Box::from(*b"b"), Owner::Lane(Lane::B, None)),
        ]);
        let transports = Transport::ALL.into_iter();
        names.extend(transports.map(|transport| {
            let name = transport.as_str().as_bytes();
            (Box::from(name), Owner::Transport(transport))
        }));
        let below = |label: &str| label.as_bytes().to_ascii_lowercase().into_boxed_slice();
        let mut region_tags = BTreeMap::new();
        for (index, region) in inventory.regions().iter().enumerate() {
            names.insert(below(region.id.as_str()), Owner::Region(index));
            region_tags.insert(Tag::of_name(region.id.as_str()), index);
        }
        let mut address_tags = BTreeMap::new();
        for (index, relay) in inventory.relays().iter().enumerate() {
            names.insert(below(relay.id.as_str()), Owner::Relay(index));
            for address in relay.addresses() {
                address_tags.insert(Tag::of_addr(address), index as u16);
            }
        }
        for (index, server) in zone.nameservers.iter().enumerate() {
            if let Some(label) = server
                .name
                .iter()
                .next()
                .filter(|_| zone.name.zone_of(&server.name))
            {
                names.insert(label.to_ascii_lowercase().into(), Owner::Nameserver(index));
            }
        }
        let regions = inventory.regions().iter().zip(plan(inventory, view));
        let networks = inventory.regions().iter().enumerate();
        Self {
            serial,
            zone: zone.name.clone(),
            policy: inventory.policy().clone(),
            soa: soa(zone, serial, inventory.policy()),
            nameservers: zone
                .nameservers
                .iter()
                .map(|s| Host {
                    name: s.name.clone(),
                    ipv4: s.ipv4,
                    ipv6: s.ipv6,
                })
                .collect(),
            relays: relay_hosts(inventory),
            relay_ids: inventory.relays().iter().map(|relay| relay.id).collect(),
            regions: regions
                .map(|(region, plans)| RegionAnswers {
                    id: region.id.to_string(),
                    plans,
                })
                .collect(),
            default_region: inventory.default_region(),
            networks: networks
                .flat_map(|(index, region)| region.clients.iter().map(move |net| (*net, index)))
                .collect(),
            names,
            region_tags,
            basis: (inventory.clone(), view.clone()),
            address_tags,
        }
    }

    /// The zone's serial (RFC 1035 section 3.3.13); rises with every publication.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// The zone's apex.
    pub fn zone(&self) -> &Name {
        &self.zone
    }

    /// How each region is served where no transport is asked for, in the inventory's order.
    pub fn plans(&self) -> impl Iterator<Item = (&str, &RegionPlan)> {
        self.regions
            .iter()
            .map(|region| (region.id.as_str(), region.plan(None)))
    }

    /// By region, where no transport is asked for: the region that serves its clients, and the
    /// relays that do.
    pub fn pools(&self) -> impl Iterator<Item = (String, (String, BTreeSet<String>))> {
        self.regions.iter().map(|region| {
            let plan = region.plan(None);
            let id = |relay: &u16| self.relay_ids.get(usize::from(*relay));
            let by = self.regions.get(plan.served_by).unwrap_or(region);
            let relays = plan.relays.iter().filter_map(id);
            let relays = relays.map(ToString::to_string).collect();
            (region.id.clone(), (by.id.clone(), relays))
        })
    }

    /// What it was compiled from.
    pub(crate) fn basis(&self) -> (&Inventory, &View) {
        (&self.basis.0, &self.basis.1)
    }

    /// What the name with this one label below the zone stands for; any case.
    pub(crate) fn owner(&self, label: &[u8]) -> Option<Owner> {
        let mut lower = [0; 63];
        let lower = lower.get_mut(..label.len())?;
        lower.copy_from_slice(label);
        lower.make_ascii_lowercase();
        self.names.get(&*lower).copied()
    }

    pub(crate) fn region_by_tag(&self, tag: Tag) -> Option<usize> {
        self.region_tags.get(&tag).copied()
    }

    /// The relay that has an address with this tag.
    pub fn relay_tagged(&self, tag: Tag) -> Option<RelayId> {
        let index = self.relay_by_tag(tag)?;
        self.relay_ids.get(usize::from(index)).copied()
    }

    pub(crate) fn relay_by_tag(&self, tag: Tag) -> Option<u16> {
        self.address_tags.get(&tag).copied()
    }
}

fn relay_hosts(inventory: &Inventory) -> Vec<Host> {
    let relays = inventory.relays().iter();
    relays
        .map(|relay| Host {
            // The id is a valid label and the zone leaves room for it.
            name: inventory
                .zone()
                .name
                .prepend_label(relay.id.as_str())
                .unwrap_or_default(),
            ipv4: relay.ipv4.map(|a| *a.ip()),
            ipv6: relay.ipv6.map(|a| *a.ip()),
        })
        .collect()
}

fn soa(zone: &Zone, serial: u32, policy: &Policy) -> RData {
    let primary = zone
        .nameservers
        .first()
        .map_or_else(|| zone.name.clone(), |s| s.name.clone());
    RData::SOA(SOA::new(
        primary,
        zone.contact.clone(),
        serial,
        REFRESH,
        RETRY,
        EXPIRE,
        policy.ttl_negative,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_rise_in_the_arithmetic_of_rfc_1982() {
        let at = |unix: u64| UnixTime(unix);
        assert_eq!(next_serial(0, at(1_800_000_000)), 1_800_000_000);
        assert_eq!(next_serial(1_800_000_000, at(1_800_000_007)), 1_800_000_007);
        assert_eq!(next_serial(1_800_000_007, at(1_800_000_007)), 1_800_000_008);
        // A clock that went back: still rising.
        assert_eq!(next_serial(1_800_000_007, at(1_000_000_000)), 1_800_000_008);
        // Past 2^32: wraps, and 0 is left out because it stands for none.
        assert_eq!(next_serial(u32::MAX, at(1_000_000_000)), 1_000_000_000);
        assert_eq!(next_serial(u32::MAX, at(u64::from(u32::MAX))), 1);
        assert_eq!(next_serial(u32::MAX - 5, at((1 << 32) + 3)), 3);
    }
}
