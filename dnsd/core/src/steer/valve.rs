//! What follows from how full a region's relays are: who in reserve enters, and which share of the
//! clients goes to other regions.
//!
//! Everything here moves with hysteresis: up as soon as it is needed, back step by step, so that
//! answers follow the load and not its noise.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{Standing, View};
use crate::inventory::{Inventory, Thresholds};
use crate::limits::SPILL_STEPS;

/// One step of a spill, in thousandths of the clients.
const STEP: i64 = 1000 / SPILL_STEPS as i64;
/// How far under its present step the need must fall before a spill goes back by one.
const SLACK: i64 = STEP * 3 / 2;
/// Free capacity beyond the headroom, as a part of it, before the reserve rests again.
const RESERVE_SLACK: i64 = 4;

/// What one region does about its load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Whether its relays in reserve serve.
    pub reserve: bool,
    /// The regions that take some of its clients, nearest first.
    pub spill: Vec<Spill>,
}

/// A share of clients that goes to another region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Spill {
    /// Which, as a place in the inventory.
    pub to: usize,
    /// How many of the clients that are left, in thousandths.
    pub permille: u32,
}

/// How much of a region's capacity is taken, for people and metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Strain {
    /// The region.
    pub region: String,
    /// Free capacity of the relays that serve, in thousandths of theirs.
    pub free_permille: u32,
    /// Whether the relays in reserve serve.
    pub reserve: bool,
    /// Share of its clients that other regions take, in thousandths.
    pub spilled_permille: u32,
    /// How many more relays of the usual weight would bring the headroom back.
    pub relays_wanted: u32,
}

/// What one relay carries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Carried {
    pub(crate) standing: Standing,
    /// Whether it was found not to relay.
    pub(crate) gray: bool,
    /// How much of its capacity is taken, in thousandths: if it is down, by clients that are on
    /// their way to others.
    pub(crate) used: u32,
}

/// A region's weights added up; loads in thousandths of a weight.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    /// Capacity of the relays that always serve, and of those in reserve.
    primary: i64,
    reserve: i64,
    relays: i64,
    demand: i64,
    /// Of the demand, clients of relays that went down: they are on their way.
    orphans: i64,
    /// Whether any that may serve is healthy, and not known to relay nothing.
    healthy: bool,
    primary_up: bool,
}

impl Sum {
    fn capacity(&self, reserve: bool) -> i64 {
        self.primary + if reserve { self.reserve } else { 0 }
    }

    /// Free capacity in thousandths; negative where more is wanted than there is.
    fn free(&self, reserve: bool) -> i64 {
        match self.capacity(reserve) {
            0 => 0,
            capacity => 1000 - self.demand / capacity,
        }
    }

    /// How much demand would have to go to `other` for both to be equally full.
    fn surplus(&self, other: &Self) -> i64 {
        let (own, there) = (self.capacity(true), other.capacity(true));
        let whole = (own + there).max(1);
        (self.demand * there - other.demand * own) / whole
    }

    /// Relays of the usual weight that are missing to keep `headroom` thousandths free.
    fn wanted(&self, headroom: i64) -> i64 {
        let capacity = self.capacity(true);
        let needed = self.demand / (1000 - headroom).max(1) - capacity;
        let usual = (capacity / self.relays.max(1)).max(1);
        needed.max(0).saturating_add(usual - 1) / usual
    }
}

/// One quantity that rises at once and falls in steps.
#[derive(Clone, Copy, Debug, Default)]
struct Damped {
    value: i64,
    changed: Option<Instant>,
    /// Capacity of whoever takes what goes, when it was last set.
    room: Option<i64>,
}

impl Damped {
    fn set(&mut self, now: Instant, value: i64) {
        *self = Self {
            value,
            changed: Some(now),
            room: None,
        };
    }

    fn may_fall(&self, now: Instant, t: &Thresholds) -> bool {
        self.changed
            .is_none_or(|at| now.saturating_duration_since(at) >= t.ebb)
    }

    /// Follows `need`, in thousandths, where whoever takes what goes has a capacity of `room`. When
    /// relays are lost there, too, it was wrong to count on them: nothing waits then.
    fn follow(&mut self, now: Instant, need: i64, room: i64, t: &Thresholds) {
        if self.room.is_some_and(|before| room < before) && need < self.value {
            self.set(now, need.max(0) / STEP * STEP);
        } else if need >= self.value + STEP {
            self.set(now, (need / STEP * STEP).min(1000));
        } else if self.value > 0 && need <= self.value - SLACK && self.may_fall(now, t) {
            self.set(now, self.value - STEP);
        }
        self.room.get_or_insert(room);
    }
}

#[derive(Clone, Debug, Default)]
struct Valve {
    /// 1 while the relays in reserve serve.
    reserve: Damped,
    /// Per region of the reach behind the first.
    spill: Vec<Damped>,
}

/// One region's valve as it survives a restart, or other regions; by names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedValve {
    region: String,
    reserve: bool,
    /// To which regions, in thousandths of the clients that are left.
    spill: Vec<(String, u32)>,
}

/// All regions' valves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Valves {
    valves: Vec<Valve>,
    sums: Vec<Sum>,
}

impl Valves {
    /// Follows the loads; `carried` has the inventory's order.
    pub(crate) fn turn(&mut self, now: Instant, inventory: &Inventory, carried: &[Carried]) {
        let t = inventory.thresholds();
        let headroom = i64::from(inventory.policy().headroom_percent) * 10;
        let regions = inventory.regions().len();
        self.sums = sums(inventory, carried);
        self.valves.resize(regions, Valve::default());
        for (valve, sum) in self.valves.iter_mut().zip(&self.sums) {
            let wanted = headroom > 0 && sum.reserve > 0 && sum.free(false) < headroom;
            let idle = sum.free(false) >= headroom + headroom / RESERVE_SLACK && sum.primary_up;
            if valve.reserve.value == 0 && wanted {
                valve.reserve.set(now, 1);
            } else if valve.reserve.value == 1 && idle && valve.reserve.may_fall(now, t) {
                valve.reserve.set(now, 0);
            }
        }
        let reserve: Vec<bool> = self.valves.iter().map(Valve::is_reserve_called).collect();
        let free = |region: usize| {
            let sum = &self.sums[region];
            sum.free(reserve[region] || !sum.primary_up)
        };
        for region in 0..regions {
            let reach = inventory.reach(region);
            let serving = reach.iter().position(|near| self.sums[*near].healthy);
            let further = reach.len().saturating_sub(1);
            self.valves[region].spill.resize(further, Damped::default());
            let need = |near: usize| match headroom {
                0 => -1000,
                _ => (headroom - free(near)) * 1000 / headroom,
            };
            let mut left = serving.map_or(-1000, |serving| need(reach[serving]));
            let mut home = serving.map_or_else(Sum::default, |serving| self.sums[reach[serving]]);
            let spills = self.valves[region].spill.iter_mut();
            for (place, (near, spill)) in (1..).zip(reach.iter().copied().skip(1).zip(spills)) {
                if serving.is_none_or(|serving| place <= serving) || !self.sums[near].healthy {
                    *spill = Damped::default();
                    continue;
                }
                // It takes all while it has its own headroom, and nothing when half of that is gone.
                let willing = (1000 - need(near) * 2).clamp(0, 1000);
                let share = match willing {
                    0 => -1000,
                    _ if left < 0 => left,
                    _ => left.min(1000) * willing / 1000,
                };
                // Those on their way come all at once, before any load could tell that they are too
                // many: no more than what makes both regions equally full.
                let surplus = home.surplus(&self.sums[near]);
                let share = match home.orphans {
                    0 => share,
                    orphans => share.min(surplus.max(0) * 1000 / orphans),
                };
                spill.follow(now, share, self.sums[near].capacity(true), t);
                let took = spill.value.min(999);
                left = (left.min(1000) - took) * 1000 / (1000 - took);
                let gone = home.orphans * took / 1000;
                home.orphans -= gone;
                home.demand -= gone;
            }
        }
    }

    /// What follows for the answers, per region.
    pub(crate) fn flows(&self, inventory: &Inventory) -> Vec<Flow> {
        let flow = |(region, valve): (usize, &Valve)| {
            let further = inventory.reach(region).iter().skip(1);
            let spills = further.zip(&valve.spill).map(|(to, spill)| Spill {
                to: *to,
                permille: u32::try_from(spill.value).unwrap_or_default(),
            });
            Flow {
                reserve: valve.is_reserve_called(),
                spill: spills.filter(|spill| spill.permille > 0).collect(),
            }
        };
        self.valves.iter().enumerate().map(flow).collect()
    }

    /// As they stand, to be kept; those that are shut are left out.
    pub(crate) fn saved(&self, inventory: &Inventory) -> Vec<SavedValve> {
        let regions = inventory.regions();
        let flows = regions.iter().zip(self.flows(inventory));
        let open = flows.filter(|(_, flow)| flow.reserve || !flow.spill.is_empty());
        open.map(|(region, flow)| SavedValve {
            region: region.id.to_string(),
            reserve: flow.reserve,
            spill: flow
                .spill
                .iter()
                .map(|spill| (regions[spill.to].id.to_string(), spill.permille))
                .collect(),
        })
        .collect()
    }

    /// As they were kept. Nothing closes at once: the loads have yet to be heard.
    pub(crate) fn restored(now: Instant, inventory: &Inventory, saved: &[SavedValve]) -> Self {
        let regions = inventory.regions();
        let valve = |(region, entry): (usize, &crate::inventory::Region)| {
            let mut valve = Valve::default();
            let was = saved.iter().find(|was| was.region == entry.id.as_str());
            if was.is_some_and(|was| was.reserve) {
                valve.reserve.set(now, 1);
            }
            for near in inventory.reach(region).iter().skip(1) {
                let id = regions[*near].id.as_str();
                let spill = was.and_then(|was| was.spill.iter().find(|(to, _)| to == id));
                let mut damped = Damped::default();
                if let Some((_, permille)) = spill {
                    damped.set(now, i64::from(*permille).min(1000));
                }
                valve.spill.push(damped);
            }
            valve
        };
        Self {
            valves: regions.iter().enumerate().map(valve).collect(),
            sums: Vec::new(),
        }
    }

    /// How strained each region is, in the inventory's order.
    pub(crate) fn strains(&self, inventory: &Inventory) -> Vec<Strain> {
        let headroom = i64::from(inventory.policy().headroom_percent) * 10;
        let regions = inventory.regions().iter().zip(&self.sums);
        let strain = |(region, sum): (&crate::inventory::Region, &Sum), valve: &Valve| {
            let reserve = valve.is_reserve_called() || !sum.primary_up;
            let stays = valve.spill.iter().fold(1000, |stays, spill| {
                stays * (1000 - spill.value.clamp(0, 1000)) / 1000
            });
            let number = |value: i64| u32::try_from(value.max(0)).unwrap_or(u32::MAX);
            Strain {
                region: region.id.to_string(),
                free_permille: number(sum.free(reserve)),
                reserve: valve.is_reserve_called(),
                spilled_permille: number(1000 - stays),
                relays_wanted: number(sum.wanted(headroom)),
            }
        };
        regions
            .zip(&self.valves)
            .map(|(region, valve)| strain(region, valve))
            .collect()
    }
}

impl Valve {
    fn is_reserve_called(&self) -> bool {
        self.reserve.value > 0
    }
}

fn sums(inventory: &Inventory, carried: &[Carried]) -> Vec<Sum> {
    let mut sums = vec![Sum::default(); inventory.regions().len()];
    let relays = inventory.relays().iter().zip(carried).enumerate();
    for (index, (entry, carried)) in relays {
        let sum = &mut sums[inventory.home(index)];
        let weight = i64::from(entry.weight);
        let healthy = carried.standing.is_healthy();
        match carried.standing {
            Standing::Up | Standing::Suspect | Standing::Full => {
                let part = if entry.standby {
                    &mut sum.reserve
                } else {
                    &mut sum.primary
                };
                *part += weight;
                sum.relays += 1;
                sum.healthy |= healthy && !carried.gray;
                sum.primary_up |= carried.standing == Standing::Up && !entry.standby;
                // A full relay may be full of what no load shows: ports, descriptors.
                let used = if healthy { carried.used } else { 1000 };
                sum.demand += weight * i64::from(used);
            }
            Standing::Down => {
                sum.demand += weight * i64::from(carried.used);
                sum.orphans += weight * i64::from(carried.used);
            }
            Standing::Unknown | Standing::Leaving => {}
        }
    }
    sums
}

impl View {
    /// Whether the relays in reserve of a region serve beside the others.
    pub(crate) fn is_reserve_called(&self, region: usize) -> bool {
        self.flows.get(region).is_some_and(|flow| flow.reserve)
    }

    /// Where some of a region's clients go.
    pub(crate) fn spill(&self, region: usize) -> &[Spill] {
        self.flows
            .get(region)
            .map_or(&[], |flow| flow.spill.as_slice())
    }
}
