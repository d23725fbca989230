//! From a steered name to one client's answer: which region, which variant.

use credentials::UnixTime;
use credentials::label::{Label, LabelKeys, Lane};
use hickory_proto::rr::RecordType;
use ipnet::IpNet;

use super::client::Client;
use super::{Complaint, Steered};
use crate::explain::{LabelUse, RegionBy};
use crate::names::Owner;
use crate::paths::Transport;
use crate::snapshot::Snapshot;
use crate::spread::{hash, mix};
use crate::steer::{Choice, RegionPlan, Spill, Tier, Variant};

/// Keeps who spills apart from who gets which variant.
const SPILL_SEED: u64 = 0x7370_696c_6c00_0000;
/// The same for who keeps the variant drawn.
const KEEP_SEED: u64 = 0x6b65_6570_0000_0000;
/// Most variants drawn for one client; nearly all have kept one long before.
const DRAWS: usize = 16;

/// How a steered name is answered to one client.
pub(super) struct Steering<'a> {
    pub(super) region: usize,
    pub(super) region_by: RegionBy,
    /// What the client speaks, where the name or the label says.
    pub(super) transport: Option<Transport>,
    pub(super) label: LabelUse,
    pub(super) avoid: Avoid,
    pub(super) complaint: Option<Complaint>,
    pub(super) plan: &'a RegionPlan,
    pub(super) index: usize,
    pub(super) variant: &'a Variant,
    pub(super) scope: u8,
    /// The region that takes this client although it is not the first in order.
    pub(super) spilled_to: Option<usize>,
    /// Seconds the answer may be cached.
    pub(super) ttl: u32,
    pub(super) lane: Option<Lane>,
}

/// The relays that a client is to be kept off.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Avoid {
    relays: [u16; 2],
    count: usize,
}

impl Avoid {
    fn new(snapshot: &Snapshot, label: Option<&Label>) -> Self {
        let mut avoid = Self::default();
        let tags = label.into_iter().flat_map(|label| label.avoid);
        for relay in tags.filter_map(|tag| snapshot.relay_by_tag(tag?)) {
            avoid.relays[avoid.count] = relay;
            avoid.count += 1;
        }
        avoid
    }
}

impl std::ops::Deref for Avoid {
    type Target = [u16];

    fn deref(&self) -> &[u16] {
        &self.relays[..self.count]
    }
}

impl Steering<'_> {
    /// The relays to answer with.
    pub(super) fn choice(&self) -> &Choice {
        self.variant.choice(self.lane)
    }

    /// What is counted of an answer of this type.
    #[inline]
    pub(super) fn counted(&self, record_type: RecordType) -> Option<Steered> {
        let choice = self.choice();
        let first = match record_type {
            RecordType::A => choice.ipv4.first().copied(),
            RecordType::AAAA => choice.ipv6.first().copied(),
            _ => choice.relays().next(),
        };
        let region = u16::try_from(self.region).ok()?;
        Some(Steered { region, first })
    }

    /// Whether its relays are none that are known to work now.
    pub(super) fn is_stale(&self) -> bool {
        self.plan.tier >= Tier::LastKnownGood
    }
}

/// Steers a name; `None` for names that answer everybody alike.
pub(super) fn steer<'a>(
    snapshot: &'a Snapshot,
    keys: &LabelKeys,
    now: UnixTime,
    client: &Client,
    owner: Owner,
    label: Option<&[u8]>,
) -> Option<Steering<'a>> {
    let (lane, transport) = owner.steering()?;
    let opened = lane
        .zip(label)
        .and_then(|(lane, label)| keys.open(label, lane, now));
    let by_label = opened.as_ref().and_then(|label| label.transport);
    let transport = transport.or_else(|| by_label.map(Transport::from));
    let (region, region_by) = match owner {
        Owner::Region(region) => (region, RegionBy::Name),
        _ => region(snapshot, opened.as_ref(), client),
    };
    let home = snapshot.regions.get(region)?.plan(transport);
    let draw = opened.as_ref().map_or_else(
        || hash_network(client.network),
        |label| mix(label.draw.into()),
    );
    let spilled_to = spill(home, draw);
    let spilled = spilled_to.and_then(|to| snapshot.regions.get(to));
    let plan = spilled.map_or(home, |region| region.plan(transport));
    let avoid = Avoid::new(snapshot, opened.as_ref());
    let against = opened.as_ref().filter(|label| label.avoid[0].is_some());
    let complaint = against.map(|label| Complaint {
        relays: label.avoid,
        tenant: label.tenant,
        network: hash_network(client.network),
    });
    let (index, variant) = variant(plan, draw, &avoid)?;
    let by_place = !matches!(region_by, RegionBy::Label | RegionBy::Name);
    let by_draw = opened.is_none() && !(home.alike && home.spill.is_empty());
    let scope = [
        (by_place && snapshot.regions.len() > 1, client.bits),
        (by_draw, client.network_bits),
    ];
    let scope = scope.into_iter().filter(|(matters, _)| *matters);
    let scope = scope.map(|(_, bits)| bits).max().unwrap_or_default();
    let least = snapshot.policy.ttl_min;
    let label = match (label, &opened) {
        (None, _) => LabelUse::None,
        (Some(_), Some(_)) => LabelUse::Opened,
        (Some(_), None) => LabelUse::Ignored,
    };
    Some(Steering {
        region,
        region_by,
        transport,
        label,
        avoid,
        complaint,
        plan,
        index,
        variant,
        scope,
        spilled_to,
        ttl: home.ttl_at(now, least).min(plan.ttl_at(now, least)),
        lane,
    })
}

/// The region that a client of this draw spills to. The same clients go first whatever the share,
/// so that nobody is sent to and fro while it moves.
fn spill(home: &RegionPlan, draw: u64) -> Option<usize> {
    let goes = |spill: &&Spill| {
        let place = mix(draw ^ mix(spill.to as u64 ^ SPILL_SEED)) % 1000;
        place < u64::from(spill.permille)
    };
    home.spill.iter().find(goes).map(|spill| spill.to)
}

fn region(snapshot: &Snapshot, label: Option<&Label>, client: &Client) -> (usize, RegionBy) {
    let by_label = label.and_then(|label| snapshot.region_by_tag(label.region?));
    by_label
        .map(|region| (region, RegionBy::Label))
        .or_else(|| client.region.map(|region| (region, client.by)))
        .unwrap_or((snapshot.default_region, RegionBy::Default))
}

/// Of a network that has been cut (`Client::network`).
fn hash_network(network: IpNet) -> u64 {
    let bits = match network {
        IpNet::V4(v4) => hash(&v4.addr().octets()),
        IpNet::V6(v6) => hash(&v6.addr().octets()),
    };
    mix(bits ^ u64::from(network.prefix_len()))
}

/// The variant for a draw: the first from its place on that names no relay to avoid in either
/// lane, detours last; where all do, the one that names them least, and least of all first.
fn variant<'a>(plan: &'a RegionPlan, draw: u64, avoid: &[u16]) -> Option<(usize, &'a Variant)> {
    let count = plan.variants.len();
    let turn = |count: usize| place(draw, count);
    let start = start(plan, draw)?;
    if avoid.is_empty() {
        return Some((start, plan.variants.get(start)?));
    }
    let detour = turn(plan.detours.len())?;
    let usual = (start..count).chain(0..start);
    let detours = (count + detour..count + plan.detours.len()).chain(count..count + detour);
    let at = |index: usize| {
        plan.variants
            .get(index)
            .or_else(|| plan.detours.get(index - count))
    };
    // `min_by_key` takes the first of equals.
    let found = usual
        .chain(detours)
        .filter_map(|index| Some((index, at(index)?)));
    found.min_by_key(|(_, variant)| harm(variant, avoid))
}

fn place(draw: u64, count: usize) -> Option<usize> {
    usize::try_from(draw % u64::try_from(count).ok()?.max(1)).ok()
}

/// The variant that a draw leads to: variants are not used alike (`Variant::keeps`).
fn start(plan: &RegionPlan, mut draw: u64) -> Option<usize> {
    for _ in 0..DRAWS {
        let start = place(draw, plan.variants.len())?;
        let variant = plan.variants.get(start)?;
        draw = mix(draw ^ KEEP_SEED);
        if variant.keeps(draw) {
            return Some(start);
        }
    }
    place(draw, plan.variants.len())
}

/// How much a variant would hurt a client that wants to avoid some relays: how many lists begin
/// with one of them, then how often they are named.
fn harm(variant: &Variant, avoid: &[u16]) -> (usize, usize) {
    let lists = || {
        variant
            .lanes
            .iter()
            .flat_map(|lane| [&lane.ipv4, &lane.ipv6])
    };
    let firsts = lists()
        .filter_map(|list| list.first())
        .filter(|r| avoid.contains(r))
        .count();
    let all = lists()
        .flat_map(|list| list.iter())
        .filter(|r| avoid.contains(r))
        .count();
    (firsts, all)
}
