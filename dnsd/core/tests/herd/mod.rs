//! Clients in calls over relays with room for only so many, when one of three vendors is lost: how
//! they come by other relays where names are answered in turn, and where they are steered.
//!
//! A client holds two allocations, as a browser does that was given two addresses to try, and its
//! media goes over the first of them that it got. When that ends it notices after some seconds,
//! gathers anew, and begins again when nothing came of it, with the times measured at browsers.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

pub mod naming;

use super::sim::queue::{Queue, Random};
use super::sim::size::Size;
use super::sim::{Fate, MS, Sim, VENDORS};
use naming::{Caches, Names};

pub const SECOND: u64 = 1000 * MS;
/// From the end of media to a restart of ICE.
const NOTICE: u64 = 5 * SECOND;
const NOTICE_SPREAD: u64 = 3 * SECOND;
/// Until an Allocate that nobody answers is given up.
const SILENT: u64 = 9500 * MS;
const SILENT_SPREAD: u64 = 1500 * MS;
/// From a refusal to the next restart.
const REFUSED: u64 = 5 * SECOND;
const REFUSED_SPREAD: u64 = 3 * SECOND;
/// Getting credentials, asking for the names, allocating, checking pairs.
const SETUP: u64 = 500 * MS;
const SETUP_SPREAD: u64 = 500 * MS;
/// What a resolver takes to find that a nameserver is gone.
const NAMESERVER_GONE: u64 = SECOND;
/// How long calls last.
const CALL: u64 = 60 * SECOND;
const CALL_SPREAD: u64 = 600 * SECOND;
/// Until as many come as go, and the vendor is lost.
const BEFORE: u64 = 400 * SECOND;
pub const RELAYS: usize = 18;

/// Who comes to relays of which size.
#[derive(Clone, Copy)]
pub struct Setting {
    /// Clients of each region.
    pub clients: [usize; 2],
    /// Allocations that a relay takes; nine relays stand in each region.
    pub capacity: u32,
}

/// What became of the clients that lost their relay, and of the relays that were left.
pub struct Fared {
    /// How many lost theirs.
    pub lost: usize,
    /// Until half of them, and 99 of a hundred, had another, in milliseconds.
    pub half: Option<u64>,
    pub nearly_all: Option<u64>,
    /// The most that a relay carried afterwards, in thousandths of its capacity.
    pub highest: u32,
    /// Allocates answered with 508.
    pub refused: u64,
    /// Allocates that nobody answered.
    pub unanswered: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    Begin,
    Restart,
}

struct Step {
    client: usize,
    call: u32,
    moment: Moment,
}

pub struct Client {
    pub region: usize,
    pub resolver: usize,
    /// Keeps the first address of a name for a minute.
    pub browser: bool,
    /// Has fixed names in its configuration, and not what an API hands out.
    pub by_hand: bool,
    /// What it keeps of fixed names, and until when.
    pub kept: [Option<(usize, u64)>; 2],
    /// The relays that failed it last.
    pub failed: [Option<usize>; 2],
    held: [Option<usize>; 2],
    /// Since when its media is gone because the vendor was lost.
    lost: Option<u64>,
    call: u32,
}

#[derive(Clone, Copy, Default)]
struct Seat {
    sessions: u32,
    dead: bool,
}

pub struct Herd {
    setting: Setting,
    names: Names,
    caches: Caches,
    queue: Queue<Step>,
    random: Random,
    relays: Vec<Seat>,
    clients: Vec<Client>,
    took: Vec<u64>,
    highest: u32,
    refused: u64,
    unanswered: u64,
}

impl Herd {
    /// Clients that are steered, or, unless `steered`, get a region's relays in turn.
    pub fn new(setting: Setting, steered: bool, seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let names = if steered {
            let size = Size {
                relays: RELAYS,
                nodes: 3,
                clients: 0,
            };
            Names::steered(Sim::with(
                naming::inventory(),
                size,
                Random(random.next() | 1),
            ))
        } else {
            Names::InTurn
        };
        let mut herd = Self {
            setting,
            names,
            caches: Caches::new(setting.clients.iter().sum::<usize>() / 8, &mut random),
            queue: Queue::default(),
            random,
            relays: vec![Seat::default(); RELAYS],
            clients: Vec::new(),
            took: Vec::new(),
            highest: 0,
            refused: 0,
            unanswered: 0,
        };
        for relay in 0..RELAYS {
            herd.names.tell(relay, 0, setting.capacity);
        }
        for (region, clients) in setting.clients.into_iter().enumerate() {
            for _ in 0..clients {
                herd.arrive(region);
            }
        }
        herd
    }

    fn arrive(&mut self, region: usize) {
        let client = self.clients.len();
        self.clients.push(Client {
            region,
            resolver: self.random.below(self.caches.len() as u64) as usize,
            browser: self.random.below(4) > 0,
            by_hand: self.random.below(10) == 0,
            kept: [None; 2],
            failed: [None; 2],
            held: [None; 2],
            lost: None,
            call: 0,
        });
        self.after(client, (20 * SECOND, 120 * SECOND), Moment::Begin);
    }

    /// Lets the world go its way, loses the first vendor, and looks on for `seconds`.
    pub fn lose_a_vendor(mut self, seconds: u64) -> Fared {
        self.run_until(BEFORE);
        self.highest = 0;
        (self.refused, self.unanswered) = (0, 0);
        let now = self.queue.now();
        for relay in (0..RELAYS).filter(|relay| relay % VENDORS.len() == 0) {
            self.relays[relay] = Seat {
                sessions: 0,
                dead: true,
            };
            self.names.kill(relay);
        }
        // Its nameserver goes with it.
        self.names.lose_nameserver(0);
        let mut lost = 0;
        for client in 0..self.clients.len() {
            let one = &mut self.clients[client];
            let Some(media) = one.held.into_iter().flatten().next() else {
                continue;
            };
            for held in &mut one.held {
                *held = held.filter(|relay| !self.relays[*relay].dead);
            }
            if self.relays[media].dead {
                lost += 1;
                one.lost = Some(now);
                one.failed = [Some(media), None];
                one.call += 1;
                self.after(client, (NOTICE, NOTICE_SPREAD), Moment::Restart);
            }
        }
        self.run_until(BEFORE + seconds * SECOND);
        self.took.sort_unstable();
        let until = |permille: usize| {
            let place = (lost * permille).div_ceil(1000) - 1;
            self.took.get(place).map(|took| took / MS)
        };
        Fared {
            lost,
            half: until(500),
            nearly_all: until(990),
            highest: self.highest,
            refused: self.refused,
            unanswered: self.unanswered,
        }
    }

    fn run_until(&mut self, end: u64) {
        while let Some(step) = self.queue.pop_until(end) {
            self.names.run_until(self.queue.now());
            if self.clients[step.client].call == step.call {
                self.attempt(step.client, step.moment);
            }
        }
        self.names.run_until(end);
    }

    fn after(&mut self, client: usize, (least, spread): (u64, u64), moment: Moment) {
        let call = self.clients[client].call;
        let wait = least + self.random.below(spread);
        let step = Step {
            client,
            call,
            moment,
        };
        self.queue.push(wait, step);
    }

    /// A client gathers: it asks for its names and allocates at what it gets.
    fn attempt(&mut self, client: usize, moment: Moment) {
        let now = self.queue.now();
        if moment == Moment::Begin {
            self.clients[client].failed = [None; 2];
            // A call that had lost its media and found none has come to its end all the same.
            self.release(client);
        }
        let one = &mut self.clients[client];
        let asked = self
            .names
            .resolve(now, one, &mut self.caches, &mut self.random);
        let mut silent = None;
        let got = asked.relays.map(|relay| {
            let seat = &mut self.relays[relay];
            if seat.dead {
                self.unanswered += 1;
                silent = Some(relay);
                return None;
            }
            if seat.sessions >= self.setting.capacity {
                self.refused += 1;
                return None;
            }
            seat.sessions += 1;
            self.highest = self
                .highest
                .max(seat.sessions * 1000 / self.setting.capacity);
            self.names.tell(relay, seat.sessions, self.setting.capacity);
            Some(relay)
        });
        self.clients[client].call += 1;
        if got == [None; 2] {
            let wait = match silent {
                Some(_) => (SILENT, SILENT_SPREAD),
                None => (REFUSED, REFUSED_SPREAD),
            };
            let [first, second] = self.clients[client].failed;
            self.clients[client].failed = [silent.or(first), silent.and(first).or(second)];
            self.after(client, wait, Moment::Restart);
            return;
        }
        self.release(client);
        let one = &mut self.clients[client];
        one.held = got;
        if let Some(lost) = one.lost.take() {
            let gone = if asked.nameserver_gone {
                NAMESERVER_GONE
            } else {
                0
            };
            let setup = SETUP + self.random.below(SETUP_SPREAD) + gone;
            self.took.push(now + setup - lost);
        }
        self.after(client, (CALL, CALL_SPREAD), Moment::Begin);
    }

    fn release(&mut self, client: usize) {
        for relay in std::mem::take(&mut self.clients[client].held)
            .into_iter()
            .flatten()
        {
            self.relays[relay].sessions -= 1;
            self.names
                .tell(relay, self.relays[relay].sessions, self.setting.capacity);
        }
    }
}

/// What befalls the relays of the lost vendor: their machines are gone.
pub const LOST: Fate = Fate::Hung;
