//! Who may serve a region's clients: the healthy nearby, else ever more desperate choices.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use credentials::UnixTime;

use super::absence::Absence;
use super::{Seat, Standing, Tier, View};
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
    /// What the relays of each family were chosen by, and for whom.
    rules: [Rule; 2],
    region: usize,
    transport: Option<Transport>,
}

/// The tiers in the order they are tried, whether relays must have spoken for themselves lately,
/// and whether the worst serve as well: those that speak come first among the last-known-good, and
/// those that leave only when there are no others; likewise a region whose healthy relays are all
/// gray.
const STEPS: [(Tier, bool, bool); 7] = [
    (Tier::Healthy, false, false),
    (Tier::Healthy, false, true),
    (Tier::Full, false, false),
    (Tier::LastKnownGood, true, false),
    (Tier::LastKnownGood, false, false),
    (Tier::LastKnownGood, false, true),
    (Tier::Configured, false, true),
];

/// What a relay must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    Anything,
    /// An address of this family.
    Address(Family),
    /// The transport is served over some family.
    Served,
    /// The transport works over some family.
    Works,
    /// The transport works over this one.
    WorksBy(Family),
}

/// A choice of relays: each is in it that nothing keeps out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Choice {
    step: (Tier, bool, bool),
    /// The region whose relays serve; `None` where all regions' do.
    near: Option<usize>,
    want: Want,
    /// When the one was last healthy that was so most recently.
    newest: Option<Instant>,
    /// Whether the relays in reserve rest.
    resting: bool,
}

/// What a pool's relays of one family were chosen by: a choice, and what they must have besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    choice: Choice,
    want: Want,
}

/// Whose pool is made, from what.
#[derive(Clone, Copy)]
struct Scene<'a> {
    inventory: &'a Inventory,
    view: &'a View,
    region: usize,
    transport: Option<Transport>,
}

/// The pool of one region, for clients that want `transport`; without, for those that come over
/// each relay's main one. Never empty, because an inventory has relays and relays have addresses.
pub(crate) fn pool(
    inventory: &Inventory,
    view: &View,
    region: usize,
    transport: Option<Transport>,
) -> Pool {
    let scene = Scene {
        inventory,
        view,
        region,
        transport,
    };
    // The inventory's checks rule it out that nobody is there; then serve what there is.
    let plain = scene.choose(Want::Anything).unwrap_or(Choice {
        step: STEPS[6],
        near: None,
        want: Want::Anything,
        newest: None,
        resting: false,
    });
    let base = if transport.is_some() {
        // Relays in a worse way than serve already are no help, whatever they speak. Where nobody
        // speaks it, the name is answered all the same.
        let fit = |want| {
            scene
                .choose(want)
                .filter(|choice| choice.tier() <= plain.tier())
        };
        fit(Want::Works)
            .or_else(|| fit(Want::Served))
            .unwrap_or(plain)
    } else {
        plain
    };
    let rules = Family::ALL.map(|family| scene.rule(base, family));
    let [ipv4, ipv6] = Family::ALL.map(|family| {
        let within = |relay: &usize| scene.absence(rules[family as usize], *relay).is_none();
        (0..inventory.relays().len()).filter(within).collect()
    });
    let served_by = base.near.unwrap_or(region);
    // What becomes of a relay further off than the one that serves changes nothing.
    let reach = inventory.reach(region);
    let last = reach.iter().position(|near| *near == served_by);
    let looked_at = reach.get(..=last.unwrap_or_default()).unwrap_or(reach);
    let within = |relay: &usize| looked_at.contains(&inventory.home(*relay));
    let all = (0..view.seats.len()).filter(within);
    let ends = all.filter_map(|relay| view.seats[relay].ends).min();
    let near = |home: usize| home == region || home == served_by;
    let seats = view.seats.iter().enumerate();
    let doubt = view.cautious
        || base.tier() != Tier::Healthy
        || seats
            .into_iter()
            .any(|(relay, seat)| seat.doubt && near(inventory.home(relay)));
    Pool {
        tier: base.tier(),
        served_by,
        ipv4,
        ipv6,
        doubt,
        ends,
        rules,
        region,
        transport,
    }
}

impl Pool {
    /// The relays that answer at all, in the inventory's order.
    pub(super) fn relays(&self) -> Box<[u16]> {
        let all: BTreeSet<usize> = self.ipv4.iter().chain(&self.ipv6).copied().collect();
        all.into_iter().map(|relay| relay as u16).collect()
    }

    /// Why a relay does not answer with its address of a family, if it does not. To be asked with
    /// what the pool was made of.
    pub(crate) fn absence(
        &self,
        inventory: &Inventory,
        view: &View,
        relay: usize,
        family: Family,
    ) -> Option<Absence> {
        let scene = Scene {
            inventory,
            view,
            region: self.region,
            transport: self.transport,
        };
        scene.absence(self.rules[family as usize], relay)
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

impl Choice {
    fn tier(&self) -> Tier {
        self.step.0
    }

    /// Whether a relay of the region that serves does for the step.
    fn fits(&self, seat: &Seat, t: Duration) -> bool {
        let (tier, speaking, leaving) = self.step;
        let recent = |at: Instant| {
            self.newest
                .is_some_and(|newest| newest.duration_since(at) <= t)
        };
        match tier {
            Tier::Healthy => seat.standing.is_healthy(),
            Tier::Full => seat.standing == Standing::Full,
            Tier::LastKnownGood => {
                seat.last_good.is_some_and(recent)
                    && (seat.speaks || !speaking)
                    && (leaving || seat.standing != Standing::Leaving)
            }
            Tier::Configured => true,
        }
    }
}

impl Scene<'_> {
    fn has(&self, relay: usize, family: Family) -> bool {
        self.inventory.relays()[relay].has(family)
    }

    fn path(&self, relay: usize, family: Family) -> Path {
        let main = || self.inventory.relays()[relay].main_transport();
        Path {
            transport: self.transport.unwrap_or_else(main),
            family,
        }
    }

    /// What a relay lacks of what it must have.
    fn lacks(&self, relay: usize, want: Want) -> Option<Absence> {
        let seat = &self.view.seats[relay];
        let serves = |family: &Family| seat.served.has(self.path(relay, *family));
        let works =
            |family: &Family| self.has(relay, *family) && seat.works(self.path(relay, *family));
        let unserved = |families: &[Family]| {
            if families.iter().any(serves) {
                Absence::Withdrawn
            } else {
                Absence::NotServed
            }
        };
        let all = &Family::ALL;
        match want {
            Want::Anything => None,
            Want::Served => (!all.iter().any(serves)).then_some(Absence::NotServed),
            Want::Works => (!all.iter().any(works)).then(|| unserved(all)),
            Want::Address(family) | Want::WorksBy(family) if !self.has(relay, family) => {
                Some(Absence::NoAddress)
            }
            Want::Address(_) => None,
            Want::WorksBy(family) => (!works(&family)).then(|| unserved(&[family])),
        }
    }

    /// What keeps a relay out of a choice, if anything does.
    fn kept_out(&self, choice: &Choice, relay: usize) -> Option<Absence> {
        let Some(near) = choice.near else {
            return self.lacks(relay, choice.want);
        };
        let reach = self.inventory.reach(self.region);
        let place = |region| reach.iter().position(|other| *other == region);
        let (home, serving) = (place(self.inventory.home(relay)), place(near));
        let seat = &self.view.seats[relay];
        if home.is_none() {
            return Some(Absence::OutOfReach);
        }
        if home > serving {
            return Some(Absence::OtherRegion);
        }
        if let Some(lacking) = self.lacks(relay, choice.want) {
            return Some(lacking);
        }
        // Of a region that comes before the one that serves, nobody does.
        if home < serving || !choice.fits(seat, self.inventory.thresholds().last_known_good) {
            return Some(Absence::of_standing(seat));
        }
        let reserve = choice.resting && self.inventory.relays()[relay].standby;
        reserve.then_some(Absence::Standby)
    }

    /// What keeps a relay from serving by a rule, if anything does.
    fn absence(&self, rule: Rule, relay: usize) -> Option<Absence> {
        let kept_out = self.kept_out(&rule.choice, relay);
        kept_out.or_else(|| self.lacks(relay, rule.want))
    }

    /// The relays that a choice leaves.
    fn chosen<'a>(&'a self, choice: &'a Choice) -> impl Iterator<Item = usize> + 'a {
        let all = 0..self.inventory.relays().len();
        all.filter(|relay| self.kept_out(choice, *relay).is_none())
    }

    /// Whether the region's own relays, or those of the first region in its order that has any,
    /// are configured with this family: then its answers must never lack it.
    fn offers(&self, family: Family) -> bool {
        let inventory = self.inventory;
        let relays = || inventory.relays().iter().enumerate();
        let mut order = inventory.reach(self.region).iter();
        let first = order.find(|near| relays().any(|(relay, _)| inventory.home(relay) == **near));
        first.is_none_or(|first| {
            relays().any(|(relay, entry)| inventory.home(relay) == *first && entry.has(family))
        })
    }

    /// What the relays of one family are chosen by, where `base` serves.
    fn rule(&self, base: Choice, family: Family) -> Rule {
        let want = Want::WorksBy(family);
        if self
            .chosen(&base)
            .any(|relay| self.lacks(relay, want).is_none())
        {
            return Rule { choice: base, want };
        }
        // The relays that have this family here are gone; others in reach may have it. Worse ones
        // than serve already are no help: their addresses would be tried in vain.
        let further = self.offers(family).then(|| self.choose(want)).flatten();
        match further.filter(|further| further.tier() <= base.tier()) {
            Some(choice) => Rule { choice, want },
            // What may work is better than nothing.
            None => Rule {
                choice: base,
                want: Want::Address(family),
            },
        }
    }

    fn choose(&self, want: Want) -> Option<Choice> {
        let reach = self.inventory.reach(self.region);
        let in_reach: Vec<usize> = (0..self.inventory.relays().len())
            .filter(|relay| reach.contains(&self.inventory.home(*relay)))
            .filter(|relay| self.lacks(*relay, want).is_none())
            .collect();
        let newest = in_reach
            .iter()
            .filter_map(|relay| self.view.seats[*relay].last_good)
            .max();
        let t = self.inventory.thresholds().last_known_good;
        for step in STEPS {
            for near in reach {
                let mut choice = Choice {
                    step,
                    near: Some(*near),
                    want,
                    newest,
                    resting: false,
                };
                let own = in_reach
                    .iter()
                    .filter(|relay| self.inventory.home(**relay) == *near);
                let mut fitting = own.filter(|relay| choice.fits(&self.view.seats[**relay], t));
                let any = fitting.clone().any(|relay| {
                    let gray = self.view.seats[*relay].gray;
                    step != STEPS[0] || !gray
                });
                if !any {
                    continue;
                }
                // The relays in reserve rest while one of the others is up.
                let primary = |relay: &usize| {
                    let up = self.view.seats[*relay].standing == Standing::Up;
                    up && !self.inventory.relays()[*relay].standby
                };
                let idle = step.0 == Tier::Healthy && !self.view.is_reserve_called(*near);
                let resting = idle && fitting.any(primary);
                choice.resting = resting;
                return Some(choice);
            }
        }
        None
    }
}
