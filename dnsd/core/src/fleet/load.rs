//! How full each relay is, smoothed, and what that does to answers.

use std::time::{Duration, Instant};

use liveness::Report;
use serde::{Deserialize, Serialize};

use super::{Fleet, Member};
use crate::inventory::Thresholds;
use crate::steer::{Carried, Standing, Strain};

/// One step of free capacity, in thousandths.
const STEP: u32 = 100;
/// How far from its step the free capacity must be before another step is taken: more than half of
/// one, so that it does not swing between two.
const SLACK: u32 = STEP * 3 / 4;
/// Millionths in a thousandth.
const FINE: i64 = 1000;
/// A longer time tells no more, in milliseconds.
const MS_MAX: u128 = 3_600_000;

/// One relay's load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// How much of its capacity is taken, in millionths, smoothed; when that was told, and by which
    /// boot.
    used: Option<(i64, Instant, u64)>,
    /// How much is free, in steps.
    free: u32,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            used: None,
            free: 1000,
        }
    }
}

/// One relay's load as it survives a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedLoad {
    /// In millionths.
    used: u32,
    /// In thousandths.
    free: u32,
    /// When it was told, in seconds since 1970.
    at: u64,
    boot: u64,
}

impl Load {
    /// As it stands, to be kept; `None` where nothing was told.
    pub(super) fn saved(&self, unix_of: impl Fn(Instant) -> u64) -> Option<SavedLoad> {
        let (used, at, boot) = self.used?;
        Some(SavedLoad {
            used: u32::try_from(used).unwrap_or_default(),
            free: self.free,
            at: unix_of(at),
            boot,
        })
    }

    /// As it was kept.
    pub(super) fn restored(saved: SavedLoad, instant_of: impl Fn(u64) -> Instant) -> Self {
        let used = i64::from(saved.used.min(1_000_000));
        Self {
            used: Some((used, instant_of(saved.at), saved.boot)),
            free: saved.free.clamp(STEP, 1000),
        }
    }

    /// Takes what a report says.
    pub(super) fn observe(&mut self, now: Instant, report: &Report, t: &Thresholds) {
        let told = used(report);
        let used = match self.used {
            Some((before, at, boot)) if boot == report.boot => {
                let weight = |span: Duration| span.as_millis().min(MS_MAX) as i64;
                let passed = weight(now.saturating_duration_since(at));
                let whole = (passed + weight(t.load_memory)).max(1);
                before + (told - before) * passed / whole
            }
            _ => told,
        };
        self.used = Some((used, now, report.boot));
    }

    /// How much of its capacity is taken, in thousandths.
    fn used(&self) -> u32 {
        let used = self.used.map_or(0, |(used, ..)| used + FINE / 2);
        u32::try_from(used / FINE).unwrap_or_default().min(1000)
    }

    /// How much is free, in steps of a tenth and never less than one.
    pub(super) fn free(&self) -> u32 {
        self.free
    }

    /// Takes another step if the load has moved far enough; true if so.
    fn step(&mut self) -> bool {
        let free = 1000 - self.used();
        let nearest = ((free + STEP / 2) / STEP * STEP).max(STEP);
        let moved = free.abs_diff(self.free) >= SLACK && nearest != self.free;
        if moved {
            self.free = nearest;
        }
        moved
    }
}

/// The scarcest of sessions, bandwidth and processor time, in millionths of what there is.
fn used(report: &Report) -> i64 {
    let load = report.load;
    let part = |used: u64, most: u64| {
        let part = u128::from(used) * 1_000_000 / u128::from(most.max(1));
        if most == 0 {
            0
        } else {
            part.min(1_000_000) as i64
        }
    };
    let sessions = part(load.sessions.into(), load.sessions_max.into());
    let bits = part(load.bits_per_second, load.bits_per_second_max);
    let busy = part(load.cpu_permille.into(), 1000);
    sessions.max(bits).max(busy)
}

impl Fleet {
    /// Weighs the loads anew; true if answers should follow.
    pub(super) fn weigh(&mut self, now: Instant) -> bool {
        let mut moved = false;
        for member in &mut self.members {
            moved |= member.load.step();
        }
        let t = self.inventory.thresholds();
        let carried: Vec<Carried> = self
            .members
            .iter()
            .map(|member| carried(now, member, t))
            .collect();
        let before = self.valves.flows(&self.inventory);
        self.valves.turn(now, &self.inventory, &carried);
        moved || before != self.valves.flows(&self.inventory)
    }

    /// Lets time pass for the loads, and for complaints: they are looked at together and not with
    /// every report, so that answers change seldom.
    pub(super) fn pass_load(&mut self, now: Instant) {
        if self.load_due <= now {
            self.load_due = now + self.inventory.thresholds().load_interval;
            self.set_pace(now);
            self.publish_wanted |= self.weigh(now);
            self.weigh_complaints(now);
        }
    }

    /// How strained each region is, in the inventory's order, as of the last look.
    pub fn strains(&self) -> Vec<Strain> {
        self.valves.strains(&self.inventory)
    }
}

/// What a relay carries. The clients of one that went down are on their way to others, and show in
/// no report yet.
fn carried(now: Instant, member: &Member, t: &Thresholds) -> Carried {
    let standing = member.standing();
    let used = member.load.used();
    let gone = now.saturating_duration_since(member.health.verdict().since);
    let left = t.orphans.saturating_sub(gone).as_millis();
    let used = match standing {
        Standing::Down => {
            let part = u128::from(used) * left / t.orphans.as_millis().max(1);
            u32::try_from(part).unwrap_or_default()
        }
        _ => used,
    };
    Carried {
        standing,
        gray: member.is_gray(),
        used,
    }
}
