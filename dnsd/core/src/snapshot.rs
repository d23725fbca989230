//! The compiled answers: immutable, complete, never empty.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use credentials::UnixTime;
use credentials::label::Tag;
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record};
use liveness::RelayId;

use crate::answer::fast::{Index, encode_soa};
use crate::dnssec::{Cache, Keys, Signatures};
use crate::inventory::{Inventory, Places, Policy, ServedZone};
use crate::paths::Transport;
use crate::steer::{Pause, Plans, RegionPlan, Seat, View, plan_pausing};
use crate::transfer::Release;

/// SOA timers for secondaries, in seconds (RFC 1035 section 3.3.13; values after RFC 1912
/// section 2.2, but for a zone that changes within seconds).
const REFRESH: i32 = 60;
const RETRY: i32 = 15;
/// How long a secondary serves what it has without hearing of us; signatures are good for longer.
pub(crate) const EXPIRE: i32 = 1_209_600;

/// A name with its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// The serial that its SOA records have.
    zone_serial: u32,
    release: Option<Arc<Release>>,
    pub(crate) zones: Arc<[ServedZone]>,
    pub(crate) index: Arc<Index>,
    /// By zone: its SOA record as it stands in messages, but for its owner name.
    pub(crate) soas: Vec<Box<[u8]>>,
    pub(crate) policy: Policy,
    /// Per transport: whether any relay is said to speak it.
    pub(crate) offered: [bool; 3],
    pub(crate) nameservers: Vec<Host>,
    pub(crate) relays: Vec<Host>,
    pub(crate) relay_ids: Vec<RelayId>,
    pub(crate) regions: Vec<RegionAnswers>,
    pub(crate) default_region: usize,
    pub(crate) places: Arc<Places>,
    region_tags: BTreeMap<Tag, usize>,
    /// What it was compiled from, to tell why it is so.
    basis: (Inventory, View),
    address_tags: BTreeMap<Tag, u16>,
    pub(crate) signatures: Signatures,
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
        Self::compile_pausing(inventory, view, serial, || {})
    }

    /// The same with pauses.
    pub(crate) fn compile_pausing(
        inventory: &Inventory,
        view: &View,
        serial: u32,
        pause: Pause,
    ) -> Self {
        Self::of(
            inventory,
            view,
            serial,
            plan_pausing(inventory, view, pause),
        )
    }

    /// The answers of these plans, one per region.
    pub(crate) fn of(inventory: &Inventory, view: &View, serial: u32, plans: Vec<Plans>) -> Self {
        let zone = inventory.zone();
        let mut region_tags = BTreeMap::new();
        for (index, region) in inventory.regions().iter().enumerate() {
            region_tags.insert(Tag::of_name(region.id.as_str()), index);
        }
        let mut address_tags = BTreeMap::new();
        for (index, relay) in inventory.relays().iter().enumerate() {
            for address in relay.addresses() {
                address_tags.insert(Tag::of_addr(address), index as u16);
            }
        }
        let regions = inventory.regions().iter().zip(plans);
        let mut snapshot = Self {
            serial,
            zone_serial: serial,
            release: None,
            zones: Arc::clone(inventory.zones()),
            index: Arc::clone(inventory.index()),
            soas: Vec::new(),
            policy: inventory.policy().clone(),
            offered: offered(view),
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
            places: Arc::clone(inventory.places()),
            region_tags,
            basis: (inventory.clone(), view.clone()),
            address_tags,
            signatures: Signatures::default(),
        };
        snapshot.encode_soas();
        snapshot
    }

    fn encode_soas(&mut self) {
        let encoded = |zone| encode_soa(self.policy.ttl_negative, &self.soa(zone));
        self.soas = self.zones.iter().map(encoded).collect();
    }

    /// The same with everything signed in the zones that have keys. `cache` is that of the snapshot
    /// before. To be signed anew, with another serial, at [`dnssec::due`](crate::dnssec::due).
    #[must_use]
    pub fn signed(self, keys: &Arc<Keys>, cache: &mut Cache, now: UnixTime) -> Self {
        let signatures = Signatures::compile(&self, keys, cache, now);
        Self { signatures, ..self }
    }

    /// The same, with what secondaries get meanwhile; SOA records have its serial.
    #[must_use]
    pub fn releasing(mut self, release: Arc<Release>) -> Self {
        self.zone_serial = release.edition().serial;
        self.release = Some(release);
        self.encode_soas();
        self
    }

    /// What secondaries get.
    pub fn release(&self) -> Option<&Arc<Release>> {
        self.release.as_ref()
    }

    /// The number of these answers; rises with every publication.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// The apex of the first zone.
    pub fn zone(&self) -> &Name {
        &self.basis.0.zone().name
    }

    /// The zone that a name lies in: of several the deepest.
    pub(crate) fn zone_of(&self, name: &Name) -> Option<&ServedZone> {
        let zones = self.zones.iter();
        zones
            .filter(|zone| zone.names.apex().zone_of(name))
            .max_by_key(|zone| zone.names.apex().num_labels())
    }

    /// The zone that delegates the one whose apex this is.
    pub(crate) fn zone_above(&self, apex: &Name) -> Option<&ServedZone> {
        let is = |zone: &&ServedZone| zone.names.apex() == apex;
        let mut zones = self.zones.iter();
        zones.find(is)?;
        (!apex.is_root()).then(|| self.zone_of(&apex.base_name()))?
    }

    /// The zone's SOA record data (RFC 1035 section 3.3.13).
    pub(crate) fn soa(&self, zone: &ServedZone) -> RData {
        self.soa_data(zone, self.zone_serial)
    }

    /// The zone's SOA record as if it had another serial.
    pub(crate) fn soa_numbered(&self, zone: &ServedZone, owner: Name, serial: u32) -> Record {
        Record::from_rdata(owner, self.policy.ttl_negative, self.soa_data(zone, serial))
    }

    fn soa_data(&self, zone: &ServedZone, serial: u32) -> RData {
        let primary = self.nameservers.first().map(|server| server.name.clone());
        RData::SOA(SOA::new(
            primary.unwrap_or_default(),
            zone.contact.clone(),
            serial,
            REFRESH,
            RETRY,
            EXPIRE,
            self.policy.ttl_negative,
        ))
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

    /// The ids of all regions, in the inventory's order.
    pub fn region_ids(&self) -> impl Iterator<Item = &str> {
        self.regions.iter().map(|region| region.id.as_str())
    }

    /// The ids of all relays, in the inventory's order.
    pub fn relay_ids(&self) -> impl Iterator<Item = &str> {
        self.relay_ids.iter().map(RelayId::as_str)
    }

    /// What it was compiled from.
    pub(crate) fn basis(&self) -> (&Inventory, &View) {
        (&self.basis.0, &self.basis.1)
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

/// Per transport: whether any relay is said to speak it.
pub(crate) fn offered(view: &View) -> [bool; 3] {
    let speaks = |seat: &Seat, transport| seat.served.iter().any(|p| p.transport == transport);
    Transport::ALL.map(|transport| view.seats.iter().any(|seat| speaks(seat, transport)))
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
