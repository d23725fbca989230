//! What goes wrong: drawn from the seed, and each of it mended again.

use super::{Event, Fate, SERVING, Sim};

/// Something that happens to the world.
#[derive(Clone, Debug)]
pub enum Deed {
    Befall(Vec<usize>, Fate),
    Claim(usize, u8),
    /// Dies and comes back, over and over, until then.
    Flap(usize, u64),
    /// Cuts (or mends) reports and probes between a node and some relays.
    Cut {
        node: usize,
        relays: Vec<usize>,
        reports: bool,
        probes: bool,
        mend: bool,
    },
    /// Cuts (or mends) the ballots from some nodes to some others.
    Split {
        from: Vec<usize>,
        to: Vec<usize>,
        mend: bool,
    },
    Crash {
        node: usize,
        loses_disk: bool,
    },
    Boot(usize),
    Weather {
        loss: u64,
        jitter: u64,
    },
    Step {
        node: usize,
        ahead: i64,
    },
}

const SECOND: u64 = 1_000_000;

impl Sim {
    /// Plans troubles within the next `seconds`, all of them over by then.
    pub fn plan(&mut self, seconds: u64) {
        let troubles = 3 + self.random.below(10);
        for _ in 0..troubles {
            let begin = self.random.below(seconds - 5) * SECOND + self.random.below(SECOND);
            let rest = seconds * SECOND - begin;
            let lasting = [2, 8, 20, 90][self.random.below(4) as usize] * SECOND;
            let end = begin + (lasting / 2 + self.random.below(lasting)).min(rest);
            let (deed, undone) = self.trouble();
            self.queue.push(begin, Event::Chaos(deed));
            if let Some(undone) = undone {
                self.queue.push(end, Event::Chaos(undone));
            }
        }
    }

    fn some(&mut self, count: usize) -> usize {
        self.random.below(count as u64) as usize
    }

    fn trouble(&mut self) -> (Deed, Option<Deed>) {
        let relay = self.some(self.relays.len());
        let node = self.some(self.nodes.len());
        let everywhere: Vec<usize> = (0..self.relays.len()).collect();
        let of_vendor = |vendor: usize| everywhere.iter().copied().filter(move |r| r % 3 == vendor);
        let cut = |node, relays: Vec<usize>, reports, probes| {
            let deed = |mend| Deed::Cut {
                node,
                relays: relays.clone(),
                reports,
                probes,
                mend,
            };
            (deed(false), Some(deed(true)))
        };
        let all_of = |lost: Vec<usize>| {
            let back = Deed::Befall(lost.clone(), Fate::Alive);
            (Deed::Befall(lost, Fate::Hung), Some(back))
        };
        match self.random.below(20) {
            0 => (
                Deed::Befall(vec![relay], Fate::Killed),
                Some(Deed::Befall(vec![relay], Fate::Alive)),
            ),
            1 | 2 => (
                Deed::Befall(vec![relay], Fate::Hung),
                Some(Deed::Befall(vec![relay], Fate::Alive)),
            ),
            3 => (
                Deed::Befall(vec![relay], Fate::Gray),
                Some(Deed::Befall(vec![relay], Fate::Alive)),
            ),
            4 => (
                Deed::Befall(vec![relay], Fate::Slow),
                Some(Deed::Befall(vec![relay], Fate::Alive)),
            ),
            5 => (
                Deed::Befall(vec![relay], Fate::Lying),
                Some(Deed::Befall(vec![relay], Fate::Alive)),
            ),
            6 => {
                let vendor = self.some(3);
                all_of(of_vendor(vendor).collect())
            }
            7 => {
                let claim = 2 + self.random.below(2) as u8;
                (Deed::Claim(relay, claim), Some(Deed::Claim(relay, SERVING)))
            }
            8 => cut(node, everywhere, true, true),
            9 => {
                let vendor = self.some(3);
                let relays = of_vendor(vendor).collect();
                cut(node, relays, true, true)
            }
            10 => cut(node, vec![relay], self.random.below(2) == 0, true),
            11 => cut(node, vec![relay], true, false),
            12 => {
                let side: Vec<usize> = (0..self.nodes.len())
                    .filter(|_| self.random.below(2) == 0)
                    .collect();
                let other = (0..self.nodes.len())
                    .filter(|n| !side.contains(n))
                    .collect();
                // One way only, or, by the same draw turned round another time, the other.
                let deed = |mend| Deed::Split {
                    from: side.clone(),
                    to: Vec::clone(&other),
                    mend,
                };
                (deed(false), Some(deed(true)))
            }
            13 => {
                let loses_disk = self.random.below(3) == 0;
                (Deed::Crash { node, loses_disk }, Some(Deed::Boot(node)))
            }
            14 => {
                let (loss, jitter) = (self.random.below(200), self.random.below(300_000));
                let calm = Deed::Weather {
                    loss: 0,
                    jitter: self.network.jitter,
                };
                (Deed::Weather { loss, jitter }, Some(calm))
            }
            15 => {
                let region = self.some(2);
                let lost = everywhere.iter().copied().filter(|r| r % 2 == region);
                all_of(lost.collect())
            }
            16 => {
                // An availability zone is a vendor's in one region.
                let lost = everywhere.iter().copied().filter(|r| r % 6 == relay % 6);
                all_of(lost.collect())
            }
            17 if self.random.below(3) == 0 => all_of(everywhere),
            17 | 18 => {
                let until = self.queue.now() + (20 + self.random.below(100)) * SECOND;
                (Deed::Flap(relay, until), None)
            }
            _ => {
                let ahead = self.random.below(7200).cast_signed() - 3600;
                (Deed::Step { node, ahead }, None)
            }
        }
    }

    pub fn wreak(&mut self, deed: Deed) {
        let now = self.queue.now();
        match deed {
            Deed::Befall(relays, fate) => {
                for relay in relays {
                    self.befall(relay, fate);
                }
            }
            Deed::Claim(relay, claim) => self.claims(relay, claim),
            Deed::Flap(relay, until) => {
                let was = self.relays[relay].fate;
                let over = now >= until || !matches!(was, Fate::Alive | Fate::Killed);
                let fate = match was {
                    Fate::Alive if !over => Fate::Killed,
                    Fate::Killed => Fate::Alive,
                    other => other,
                };
                self.befall(relay, fate);
                if !over {
                    let spell = SECOND + self.random.below(6 * SECOND);
                    self.queue
                        .push(spell, Event::Chaos(Deed::Flap(relay, until)));
                }
            }
            Deed::Cut {
                node,
                relays,
                reports,
                probes,
                mend,
            } => {
                for relay in relays {
                    self.truth.unrest_of(relay, node, now);
                    let network = &mut self.network;
                    if reports {
                        count(&mut network.reports_cut[relay][node], mend);
                    }
                    if probes {
                        count(&mut network.probes_cut[relay][node], mend);
                    }
                }
            }
            Deed::Split { from, to, mend } => {
                self.truth.unrest(now);
                for from in &from {
                    for to in &to {
                        count(&mut self.network.ballots_cut[*from][*to], mend);
                    }
                }
            }
            Deed::Crash { node, loses_disk } => {
                self.truth.unrest(now);
                self.truth.forget(node);
                self.nodes[node].crash(loses_disk);
            }
            Deed::Boot(node) => {
                self.truth.unrest(now);
                if self.nodes[node].fleet.is_none() {
                    self.nodes[node].boot(now);
                    self.after_input(node);
                }
            }
            Deed::Weather { loss, jitter } => {
                self.truth.unrest(now);
                self.network.loss = loss;
                self.network.jitter = jitter;
            }
            Deed::Step { node, ahead } => self.nodes[node].ahead = ahead,
        }
    }

    /// Mends everything.
    pub fn heal(&mut self) {
        let now = self.queue.now();
        self.truth.unrest(now);
        self.network.loss = 0;
        for cuts in [
            &mut self.network.reports_cut,
            &mut self.network.probes_cut,
            &mut self.network.ballots_cut,
        ] {
            for row in cuts {
                row.fill(0);
            }
        }
        for node in 0..self.nodes.len() {
            self.wreak(Deed::Boot(node));
        }
        for relay in 0..self.relays.len() {
            if !self.is_healthy(relay) {
                self.relays[relay].claim = SERVING;
                self.befall(relay, Fate::Alive);
            }
        }
    }
}

fn count(cuts: &mut u32, mend: bool) {
    *cuts = if mend {
        cuts.saturating_sub(1)
    } else {
        *cuts + 1
    };
}
