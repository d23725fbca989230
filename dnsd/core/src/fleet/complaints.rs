//! What clients say of relays by the labels they ask with: weak evidence, which casts doubt where many
//! agree who have nothing to do with each other, and never more.
//!
//! A complaint counts once for each tenant and client network within a minute. Tenants are proved by
//! their labels, networks are not: whatever one tenant says, from however many networks, is worth one
//! voice. So for each sum below the tenant is left out without whom it is least.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use credentials::label::TenantTag;
use liveness::RelayId;

use super::Fleet;
use crate::explain::ComplaintFacts;
use crate::limits::COMPLAINING_TENANTS_MAX;
use crate::spread::mix;
use crate::steer::Standing;

/// How long a complaint counts; it may be half of that.
const WINDOW: Duration = Duration::from_mins(1);
/// Fewest tenants that must complain.
const TENANTS: usize = 3;
/// Fewest networks that must complain, whichever tenant is left out.
const NETWORKS: u32 = 8;
/// How many times as many must complain, for its weight, as of the median of the other relays of
/// the region that are up: of those, clients complain by chance.
const EXCESS: u64 = 4;
/// In how many looks in a row that must be so.
const LOOKS: u32 = 2;
/// At most one relay in so many is doubted at once.
const SHARE: usize = 4;
/// How long a relay stays in doubt at least; twice as long each time, to a maximum.
const HOLD: Duration = Duration::from_mins(2);
const HOLD_MAX: Duration = Duration::from_mins(16);
/// How long it must do without before that begins anew.
const MEMORY: Duration = Duration::from_hours(1);

/// Who complained about one relay, and what followed. Of bounded size, whoever complains.
#[derive(Debug, Default)]
pub(super) struct Voices {
    /// In the present half of the window, and in the one before.
    halves: [Vec<Heard>; 2],
    /// In how many looks in a row enough agreed.
    agreed: u32,
    /// Until when it is in doubt at least, while it is.
    until: Option<Instant>,
    /// How often it has been in doubt lately, and when it last ceased to be.
    times: u32,
    ended: Option<Instant>,
}

/// One tenant's complaints.
#[derive(Clone, Copy, Debug)]
struct Heard {
    tenant: Option<TenantTag>,
    /// A bit for each network, by its hash.
    networks: u128,
}

/// What complaints about a relay add up to.
#[derive(Clone, Copy, Debug)]
struct Sum {
    tenants: usize,
    networks: u32,
    /// How many networks there are without the tenant without whom there are fewest.
    apart: u32,
}

impl Voices {
    fn hear(&mut self, tenant: Option<TenantTag>, network: u64) {
        let networks = 1 << (mix(network) % 128);
        add(&mut self.halves[0], Heard { tenant, networks });
    }

    fn turn(&mut self) {
        self.halves.swap(0, 1);
        self.halves[0].clear();
    }

    fn is_silent(&self) -> bool {
        self.halves.iter().all(Vec::is_empty) && self.agreed == 0 && self.until.is_none()
    }

    fn sum(&self) -> Sum {
        let [mut all, before] = self.halves.clone();
        for heard in before {
            add(&mut all, heard);
        }
        let networks = |left_out: Option<usize>| {
            let told = all.iter().enumerate();
            let told = told.filter(|(index, _)| Some(*index) != left_out);
            told.fold(0, |sum, (_, heard)| sum | heard.networks)
                .count_ones()
        };
        let apart = (0..all.len()).map(|index| networks(Some(index))).min();
        Sum {
            tenants: all.len(),
            networks: networks(None),
            apart: apart.unwrap_or_default(),
        }
    }

    fn hold(&self) -> Duration {
        let growths = self.times.saturating_sub(1).min(16);
        HOLD.saturating_mul(1 << growths).min(HOLD_MAX)
    }

    /// Takes what a look found; true when the doubt ends.
    fn look(&mut self, now: Instant, agree: bool) -> bool {
        self.agreed = if agree {
            self.agreed.saturating_add(1)
        } else {
            0
        };
        if self.until.is_none_or(|until| now < until) {
            return false;
        }
        self.until = agree.then(|| now + self.hold());
        self.ended = Some(now);
        !agree
    }

    fn doubt(&mut self, now: Instant) {
        let long_ago = |ended| now.saturating_duration_since(ended) >= MEMORY;
        if self.ended.is_some_and(long_ago) {
            self.times = 0;
        }
        self.times = self.times.saturating_add(1);
        self.until = Some(now + self.hold());
    }

    /// What there is to show.
    pub(super) fn facts(&self, now: Instant) -> ComplaintFacts {
        let sum = self.sum();
        let left = |until: Instant| until.saturating_duration_since(now).as_millis();
        ComplaintFacts {
            tenants: sum.tenants,
            networks: sum.networks,
            networks_apart: sum.apart,
            doubted_ms: self.until.map(|until| left(until) as u64),
            times: self.times,
        }
    }
}

/// Adds complaints to those of the same tenant. Those of more tenants than are told apart say
/// nothing that the others have not said.
fn add(half: &mut Vec<Heard>, more: Heard) {
    let known = half.iter_mut().find(|heard| heard.tenant == more.tenant);
    if let Some(heard) = known {
        heard.networks |= more.networks;
    } else if half.len() < COMPLAINING_TENANTS_MAX {
        half.push(more);
    }
}

impl Fleet {
    /// Takes it that a client of `tenant`, in a network with this hash, asks for other relays than
    /// this one. Whatever comes of it comes with the next look at the loads.
    pub fn handle_complaint(&mut self, relay: RelayId, tenant: Option<TenantTag>, network: u64) {
        let index = self.inventory.relay_index(&relay);
        if let Some(member) = index.and_then(|index| self.members.get_mut(index)) {
            self.counters.complaints += 1;
            member.voices.hear(tenant, network);
        }
    }

    /// Whether clients' complaints cast doubt on a relay: never on the last that is up in a region.
    pub(super) fn is_complained_of(&self, index: usize) -> bool {
        self.members[index].voices.until.is_some() && self.has_another_up(index)
    }

    /// Looks at what clients have said, together for all relays.
    pub(super) fn weigh_complaints(&mut self, now: Instant) {
        if self.members.iter().all(|member| member.voices.is_silent()) {
            return;
        }
        if now.saturating_duration_since(self.hearing_since) >= WINDOW / 2 {
            self.hearing_since = now;
            self.members
                .iter_mut()
                .for_each(|member| member.voices.turn());
        }
        let sums: Vec<Sum> = self.members.iter().map(|m| m.voices.sum()).collect();
        for index in 0..self.members.len() {
            let agree = self.do_enough_complain(now, index, &sums);
            if self.members[index].voices.look(now, agree) {
                self.step(now, index);
            }
        }
        let agreed = |index: &usize| {
            let voices = &self.members[*index].voices;
            voices.agreed >= LOOKS && voices.until.is_none()
        };
        let mut new: Vec<usize> = (0..self.members.len()).filter(agreed).collect();
        new.sort_by_key(|index| Reverse(sums[*index].apart));
        for index in new {
            if self.may_be_doubted(index) {
                self.members[index].voices.doubt(now);
                self.counters.complained += 1;
                self.step(now, index);
            }
        }
    }

    /// Whether enough clients complain about a relay, and many more than about others.
    fn do_enough_complain(&self, now: Instant, index: usize, sums: &[Sum]) -> bool {
        let sum = sums[index];
        if sum.tenants < TENANTS || sum.apart < NETWORKS {
            return false;
        }
        let t = self.inventory.thresholds();
        let weight = |index: usize| {
            let weight = self.inventory.relays()[index].weight;
            u64::from(weight * self.members[index].health.share(now, t)).max(1)
        };
        let home = self.inventory.home(index);
        let others = (0..self.members.len()).filter(|other| {
            *other != index && self.inventory.home(*other) == home && self.is_up(*other)
        });
        // In complaints for the weight of all others, so that the fractions are whole.
        let mut others: Vec<(u64, u64)> = others
            .map(|other| (u64::from(sums[other].apart), weight(other)))
            .collect();
        others.sort_by(|a, b| (a.0 * b.1).cmp(&(b.0 * a.1)));
        let median = others.get(others.len() / 2);
        median.is_some_and(|(complaints, of)| {
            u64::from(sum.apart) * of >= EXCESS * complaints * weight(index)
        })
    }

    fn is_up(&self, index: usize) -> bool {
        let member = &self.members[index];
        member.standing() == Standing::Up && member.voices.until.is_none()
    }

    fn has_another_up(&self, index: usize) -> bool {
        let home = self.inventory.home(index);
        let mut others = (0..self.members.len()).filter(|other| *other != index);
        others.any(|other| {
            self.inventory.home(other) == home && self.members[other].standing() == Standing::Up
        })
    }

    fn may_be_doubted(&self, index: usize) -> bool {
        let members = || 0..self.members.len();
        let doubted = members().filter(|other| self.members[*other].voices.until.is_some());
        let doubted = doubted.count();
        let up = members().filter(|other| self.is_up(*other)).count();
        let home = self.inventory.home(index);
        let mut others = members().filter(|other| *other != index);
        self.is_up(index)
            && (doubted + 1) * SHARE <= up + doubted
            && others.any(|other| self.inventory.home(other) == home && self.is_up(other))
    }
}
