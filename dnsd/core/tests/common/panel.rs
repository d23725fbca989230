//! A world with other observers, who say what the test has them say.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use dnsd_core::explain::Explanation;
use dnsd_core::fleet::Fleet;
use dnsd_core::inventory::Inventory;
use dnsd_core::transfer::Edition;
use dnsd_core::votes::{Ballot, Domain, Observer, Vote};

use super::world::World;
use super::{MS, SECOND};

/// Another observer.
pub struct Other {
    pub observer: Observer,
    pub generation: u64,
    pub isolated: bool,
    /// Says nothing at all.
    pub gone: bool,
    /// Per relay.
    pub says: Vec<Vote>,
}

pub struct Panel {
    pub world: World,
    pub others: Vec<Other>,
}

pub fn observer(id: &str, vendor: &str, region: &str) -> Observer {
    Observer {
        id: id.parse().unwrap(),
        domain: Domain {
            vendor: vendor.to_owned(),
            region: region.to_owned(),
        },
    }
}

/// Every how often the others speak.
const STEP: Duration = Duration::from_millis(100);

impl Panel {
    /// This node stands at alpha; the others where `vendors` says. All have seen all up for some
    /// minutes.
    pub fn settled(inventory: Inventory, seed: u64, vendors: &[&str]) -> Self {
        let mut world = World::new(inventory, seed);
        let me = observer("ns0", "alpha", "eu");
        world.fleet.join(world.now, world.unix(), me);
        let relays = world.relays.len();
        let others = vendors.iter().enumerate().map(|(index, vendor)| Other {
            observer: observer(&format!("ns{}", index + 1), vendor, "eu"),
            generation: 0,
            isolated: false,
            gone: false,
            says: vec![Vote::Up; relays],
        });
        let mut panel = Self {
            world,
            others: others.collect(),
        };
        panel.run(SECOND * 200);
        panel
    }

    /// All other observers say this of a relay.
    pub fn say(&mut self, relay: usize, vote: Vote) {
        for other in &mut self.others {
            other.says[relay] = vote;
        }
    }

    pub fn ballot(&mut self, other: usize) -> Ballot {
        let relays = self.world.relays.iter().map(|relay| relay.id);
        let other = &mut self.others[other];
        other.generation += 1;
        let votes = relays.zip(other.says.iter().copied());
        Ballot {
            observer: other.observer.clone(),
            generation: other.generation,
            configuration: 0,
            zones: Edition::default(),
            isolated: other.isolated,
            votes: votes.filter(|(_, vote)| *vote != Vote::Abstain).collect(),
        }
    }

    pub fn run(&mut self, duration: Duration) {
        self.run_for(duration, |_| false);
    }

    /// Runs until `done` or until `limit` has passed; says after how long, if done.
    pub fn run_for(&mut self, limit: Duration, done: impl Fn(&World) -> bool) -> Option<Duration> {
        let from = self.world.now;
        while self.world.now < from + limit {
            for other in 0..self.others.len() {
                if !self.others[other].gone {
                    let ballot = self.ballot(other);
                    let now = self.world.now;
                    self.world.fleet.handle_ballot(now, &ballot);
                }
            }
            self.world.settle();
            let rest = (from + limit).duration_since(self.world.now);
            if self.world.run_for(rest.min(STEP), &done).is_some() {
                return Some(self.world.now - from);
            }
        }
        None
    }

    pub fn explain(&self, relay: usize) -> Explanation {
        let id = self.world.relays[relay].id;
        self.world.fleet.explain(self.world.now, id).unwrap()
    }

    /// What this node says of the relays, and whether it distrusts itself.
    pub fn own(&mut self) -> (Vec<Vote>, bool) {
        let now = self.world.now;
        let ids: Vec<_> = self.world.relays.iter().map(|relay| relay.id).collect();
        let ballot = self.world.fleet.ballot(now).unwrap();
        let said = |id| ballot.votes.iter().find(|(relay, _)| *relay == id);
        let votes = ids
            .into_iter()
            .map(|id| said(id).map_or(Vote::Abstain, |(_, vote)| *vote));
        (votes.collect(), ballot.isolated)
    }

    pub fn fleet(&mut self) -> &mut Fleet {
        &mut self.world.fleet
    }
}

impl Deref for Panel {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl DerefMut for Panel {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.world
    }
}

/// Long enough for any verdict of the ordinary rules.
pub const LONG: Duration = Duration::from_secs(15);
/// From an event to Down where all see it.
pub const SOON: Duration = Duration::from_millis(2600);
/// Short enough that no silence has been noticed.
pub const AT_ONCE: Duration = MS.saturating_mul(50);
