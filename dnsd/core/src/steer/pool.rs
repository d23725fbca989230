//! Who may serve a region's clients: the healthy nearby, else ever more desperate choices.

use std::collections::BTreeSet;
use std::time::Instant;

use credentials::UnixTime;

use super::{Standing, Tier, View};
use crate::inventory::Inventory;
use crate::paths::{Family, Path, Transport};

/// The relays that serve one region's clients; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pool {
    pub(crate) tier: Tier,
    /// The region whose relays serve.
    pub(crate) served_by: usize,
    /// The relays that answer with IPv4 addresses, in the inventory's order.
    pub(crate) ipv4: Vec<usize>,
    /// The relays that answer with IPv6 addresses, in the inventory's order.
    pub(crate) ipv6: Vec<usize>,
    /// Whether the choice may soon be another.
    pub(crate) doubt: bool,
    /// When the choice may be another because a person's decision runs out.
    pub(crate) ends: Option<UnixTime>,
}

/// The tiers in the order they are tried, whether relays must have spoken for themselves lately,
/// and whether they may have said that they are leaving: those that speak come first among the
/// last-known-good, and those that leave only when there are no others.
const STEPS: [(Tier, bool, bool); 6] = [
    (Tier::Healthy, false, false),
    (Tier::Full, false, false),
    (Tier::LastKnownGood, true, false),
    (Tier::LastKnownGood, false, false),
    (Tier::LastKnownGood, false, true),
    (Tier::Configured, false, true),
];

struct Choice {
    tier: Tier,
    region: usize,
    relays: Vec<usize>,
}

/// The pool of one region, for clients that want `transport`; without, for those that come over
/// each relay's main one. Never empty, because an inventory has relays and relays have addresses.
pub(crate) fn pool(
    inventory: &Inventory,
    view: &View,
    region: usize,
    transport: Option<Transport>,
) -> Pool {
    let path = |relay: usize, family| Path {
        transport: transport.unwrap_or_else(|| inventory.relays()[relay].main_transport()),
        family,
    };
    let has = |relay: usize, family| inventory.relays()[relay].has(family);
    let served = |relay: usize, family| view.seats[relay].served.has(path(relay, family));
    let works =
        |relay: usize, family| has(relay, family) && view.seats[relay].works(path(relay, family));
    let plain = choose(inventory, view, region, &|_| true).unwrap_or_else(|| Choice {
        // The inventory's checks rule this out; serve what there is.
        tier: Tier::Configured,
        region,
        relays: (0..inventory.relays().len()).collect(),
    });
    let base = if transport.is_some() {
        // Relays in a worse way than serve already are no help, whatever they speak. Where nobody
        // speaks it, the name is answered all the same.
        let fit = |wanted: &dyn Fn(usize) -> bool| {
            choose(inventory, view, region, wanted).filter(|choice| choice.tier <= plain.tier)
        };
        fit(&|relay| Family::ALL.iter().any(|family| works(relay, *family)))
            .or_else(|| fit(&|relay| Family::ALL.iter().any(|family| served(relay, *family))))
            .unwrap_or(plain)
    } else {
        plain
    };
    let family = |family: Family| {
        let mut relays = base.relays.clone();
        relays.retain(|relay| works(*relay, family));
        if relays.is_empty() && offers(inventory, region, family) {
            // The relays that have this family here are gone; others in reach may have it. Worse
            // ones than serve already are no help: their addresses would be tried in vain.
            let further = choose(inventory, view, region, &|relay| works(relay, family));
            relays = further
                .filter(|f| f.tier <= base.tier)
                .map_or(relays, |f| f.relays);
        }
        if relays.is_empty() {
            // What may work is better than nothing.
            relays.extend(base.relays.iter().filter(|relay| has(**relay, family)));
        }
        relays
    };
    let (ipv4, ipv6) = (family(Family::Ipv4), family(Family::Ipv6));
    // What becomes of a relay further off than the one that serves changes nothing.
    let reach = inventory.reach(region);
    let last = reach.iter().position(|near| *near == base.region);
    let looked_at = reach.get(..=last.unwrap_or_default()).unwrap_or(reach);
    let within = |relay: &usize| looked_at.contains(&inventory.home(*relay));
    let all = (0..view.seats.len()).filter(within);
    let ends = all.filter_map(|relay| view.seats[relay].ends).min();
    let near = |home: usize| home == region || home == base.region;
    let seats = view.seats.iter().enumerate();
    let doubt = view.cautious
        || base.tier != Tier::Healthy
        || seats
            .into_iter()
            .any(|(relay, seat)| seat.doubt && near(inventory.home(relay)));
    Pool {
        tier: base.tier,
        served_by: base.region,
        ipv4,
        ipv6,
        doubt,
        ends,
    }
}

/// Every relay that serves some clients, as places in the inventory.
pub(crate) fn serving(inventory: &Inventory, view: &View) -> BTreeSet<usize> {
    let pools = (0..inventory.regions().len()).map(|region| pool(inventory, view, region, None));
    pools
        .flat_map(|pool| [pool.ipv4, pool.ipv6])
        .flatten()
        .collect()
}

/// Whether the region's own relays, or those of the first region in its order that has any, are
/// configured with this family: then its answers must never lack it.
fn offers(inventory: &Inventory, region: usize, family: Family) -> bool {
    let relays = || inventory.relays().iter().enumerate();
    let mut order = inventory.reach(region).iter();
    let first = order.find(|near| relays().any(|(relay, _)| inventory.home(relay) == **near));
    first.is_none_or(|first| {
        relays().any(|(relay, entry)| inventory.home(relay) == *first && entry.has(family))
    })
}

/// Leaves the relays in reserve out, while one of the others is up.
fn rest(inventory: &Inventory, view: &View, relays: &mut Vec<usize>) {
    let standby = |relay: &usize| inventory.relays()[*relay].standby;
    let up = |relay: &usize| view.seats[*relay].standing == Standing::Up;
    if relays.iter().any(|relay| !standby(relay) && up(relay)) {
        relays.retain(|relay| !standby(relay));
    }
}

fn choose(
    inventory: &Inventory,
    view: &View,
    region: usize,
    wanted: &dyn Fn(usize) -> bool,
) -> Option<Choice> {
    let reach = inventory.reach(region);
    let in_reach: Vec<usize> = (0..inventory.relays().len())
        .filter(|relay| reach.contains(&inventory.home(*relay)))
        .filter(|relay| wanted(*relay))
        .collect();
    let newest = in_reach
        .iter()
        .filter_map(|relay| view.seats[*relay].last_good)
        .max();
    let span = inventory.thresholds().last_known_good;
    let recent = |at: Instant| newest.is_some_and(|newest| newest.duration_since(at) <= span);
    for (tier, speaking, leaving) in STEPS {
        for near in reach {
            let fits = |relay: &usize| {
                let seat = view.seats[*relay];
                inventory.home(*relay) == *near
                    && match tier {
                        Tier::Healthy => seat.standing.is_healthy(),
                        Tier::Full => seat.standing == Standing::Full,
                        Tier::LastKnownGood => {
                            seat.last_good.is_some_and(recent)
                                && (seat.speaks || !speaking)
                                && (leaving || seat.standing != Standing::Leaving)
                        }
                        Tier::Configured => true,
                    }
            };
            let mut relays: Vec<usize> = in_reach.iter().copied().filter(fits).collect();
            if tier == Tier::Healthy && !view.is_reserve_called(*near) {
                rest(inventory, view, &mut relays);
            }
            if !relays.is_empty() {
                return Some(Choice {
                    tier,
                    region: *near,
                    relays,
                });
            }
        }
    }
    None
}
