//! The cases: what clients do, with which server behind it.

use super::kinds::{ALL, Kind, SERVERS, SINGLE, TRAINS, TURN, TURND, USUAL, WEBRTC_RS};
use crate::load::plan::Via;

/// How fast packets are sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Pace {
    /// Packets of each allocation that are always on their way.
    Window(u32),
    /// Packets of all allocations together that are always on their way.
    InFlight(u32),
    /// Packets per second over all allocations; each is sent back.
    Rate(u32),
    /// The share of what the same subject relayed in another case.
    Share(f64, String),
    /// Packets each allocation sends at once, and milliseconds from one such train to the next.
    Trains(u32, u32),
}

/// How clients speak to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A connection.
    Tcp,
    /// An encrypted connection.
    Tls,
}

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// Who takes part.
    pub who: &'static [Kind],
    /// Clients, each with an allocation and a peer.
    pub allocations: usize,
    /// Bytes of payload.
    pub payload: usize,
    /// How payloads travel.
    pub via: Via,
    /// How fast.
    pub pace: Pace,
    /// Whether what is sent at once leaves in one piece.
    pub coalesce: bool,
    /// How clients speak to the server.
    pub transport: Transport,
    /// The server's threads.
    pub workers: u16,
    /// How long the relay may wait for more packets to send together; its own choice unless told.
    pub gather: Option<&'static str>,
    /// Allocations made at the same time, where it is them that are measured.
    pub opening: Option<u32>,
}

impl Case {
    fn new(name: impl Into<String>, allocations: usize, payload: usize, pace: Pace) -> Self {
        Self {
            name: name.into(),
            who: SERVERS,
            allocations,
            payload,
            via: Via::Channel,
            pace,
            coalesce: false,
            transport: Transport::Udp,
            workers: 1,
            gather: None,
            opening: None,
        }
    }

    /// Whether so much is on its way at any time that the server or the generator, whichever is slower,
    /// has no time to rest.
    pub fn saturates(&self) -> bool {
        let pieces = match self.pace {
            Pace::Window(_) if self.coalesce => self.allocations,
            Pace::Window(window) => self.allocations * window as usize,
            Pace::InFlight(packets) => packets as usize,
            Pace::Rate(_) | Pace::Share(..) | Pace::Trains(..) => 0,
        };
        pieces >= BUSY
    }
}

/// The name of the case of full load.
pub fn saturated(payload: usize, allocations: usize) -> String {
    format!("saturated-{payload}-x{allocations}")
}

/// The name of the case of full load without trains.
pub fn alone(payload: usize, allocations: usize) -> String {
    format!("alone-{payload}-x{allocations}")
}

/// Payloads of full load: audio, and a full datagram.
pub const PAYLOADS: [usize; 2] = [160, 1100];
/// Allocations and packets on their way that keep a server busy; as many for ten thousand as for a
/// hundred, for one of each would overrun every socket's buffer.
const LOADS: [(usize, Pace); 5] = [
    (1, Pace::Window(64)),
    (10, Pace::Window(16)),
    (100, Pace::Window(4)),
    (1000, Pace::Window(2)),
    (10_000, Pace::InFlight(400)),
];

/// The same with one packet of an allocation on its way at most, so that none shares a train, and only
/// the number of allocations differs.
const ALONE: [(usize, Pace); 3] = [
    (100, Pace::Window(1)),
    (1000, Pace::Window(1)),
    (10_000, Pace::InFlight(100)),
];

/// What is on its way in single pieces where nobody rests: those of one allocation are often moved all at
/// once, while the other side waits.
const BUSY: usize = 100;

/// All cases, in the order they are run.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for payload in PAYLOADS {
        cases.extend(LOADS.map(|(allocations, pace)| Case {
            who: if allocations == 100 { USUAL } else { SINGLE },
            ..Case::new(saturated(payload, allocations), allocations, payload, pace)
        }));
        cases.extend(ALONE.map(|(allocations, pace)| Case {
            who: SINGLE,
            ..Case::new(alone(payload, allocations), allocations, payload, pace)
        }));
        cases.push(Case {
            who: TURN,
            via: Via::Indication,
            ..Case::new(
                format!("indications-{payload}"),
                100,
                payload,
                Pace::Window(4),
            )
        });
        let name = format!("below-saturation-{payload}");
        // What is relayed under full load is as much as the generator can send and take: it has to have
        // much time to spare, or what is lost is lost to it.
        let pace = Pace::Share(0.3, saturated(payload, 100));
        cases.push(Case::new(name, 100, payload, pace));
    }
    let trains = |name, allocations, payload, pace, coalesce| Case {
        who: if coalesce { TRAINS } else { ALL },
        coalesce,
        ..Case::new(name, allocations, payload, pace)
    };
    cases.extend([
        trains("coalesced-x1", 1, 1200, Pace::Window(16), true),
        trains("coalesced-1100-x1", 1, 1100, Pace::Window(16), true),
        trains("coalesced-x100", 100, 1200, Pace::Window(16), true),
        trains("coalesced-33ms", 10, 1200, Pace::Trains(16, 33), true),
        trains("trains-33ms", 10, 1200, Pace::Trains(16, 33), false),
        trains("coalesced-33ms-x100", 100, 1200, Pace::Trains(16, 33), true),
        trains("trains-33ms-x100", 100, 1200, Pace::Trains(16, 33), false),
        Case::new("audio", 1000, 160, Pace::Trains(1, 20)),
        Case {
            who: USUAL,
            gather: Some("0s"),
            ..Case::new("paced", 100, 160, Pace::Rate(20_000))
        },
        Case {
            who: TURND,
            gather: Some("250us"),
            ..Case::new("paced-gather", 100, 160, Pace::Rate(20_000))
        },
    ]);
    let opening = |name, who, allocations| Case {
        who,
        opening: Some(64),
        ..Case::new(name, allocations, 160, Pace::Rate(1000))
    };
    cases.extend([
        opening("allocate", SERVERS, 10_000),
        opening("allocate-x2000", WEBRTC_RS, 2000),
    ]);
    // One packet at a time of each, so that only their number differs.
    cases.extend([100, 10_000].map(|allocations| Case {
        who: SINGLE,
        ..Case::new(
            format!("sparse-x{allocations}"),
            allocations,
            160,
            Pace::Rate(25_000),
        )
    }));
    cases.extend([1, 2].map(|workers| Case {
        workers,
        // Many allocations, so that the kernel spreads them evenly, which take turns, so that those of a
        // worker that shares its core with the generator send no less than the others.
        ..Case::new(format!("workers-{workers}"), 1000, 160, Pace::InFlight(400))
    }));
    let streams = [("tcp", Transport::Tcp), ("tls", Transport::Tls)];
    cases.extend(streams.map(|(name, transport)| Case {
        transport,
        ..Case::new(name, 100, 1100, Pace::Window(4))
    }));
    cases
}

/// The cases that `wanted` names, wholly or, where no name is the same, by a part of theirs, with
/// those they depend on; all when none is asked for.
///
/// # Errors
/// With the word that fits none.
pub fn select(wanted: &[String]) -> Result<Vec<Case>, String> {
    let all = all();
    let mut names: Vec<String> = Vec::new();
    for word in wanted {
        let exact: Vec<_> = all.iter().filter(|case| case.name == *word).collect();
        let part = all.iter().filter(|case| case.name.contains(word.as_str()));
        let chosen = if exact.is_empty() {
            part.collect()
        } else {
            exact
        };
        if chosen.is_empty() {
            return Err(format!("no case's name contains {word:?}"));
        }
        for case in chosen {
            names.push(case.name.clone());
            if let Pace::Share(_, of) = &case.pace {
                names.push(of.clone());
            }
        }
    }
    let asked = |case: &Case| wanted.is_empty() || names.contains(&case.name);
    Ok(all.into_iter().filter(asked).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own() {
        let names: HashSet<_> = all().into_iter().map(|case| case.name).collect();
        assert_eq!(names.len(), all().len());
    }

    #[test]
    fn a_share_comes_with_what_it_is_of_and_before_it() {
        let chosen = select(&["below-saturation-160".to_owned()]).unwrap();
        let names: Vec<_> = chosen.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names, ["saturated-160-x100", "below-saturation-160"]);
        assert_eq!(select(&["saturated-160".to_owned()]).unwrap().len(), 5);
        assert_eq!(select(&["saturated-160-x1".to_owned()]).unwrap().len(), 1);
        assert!(select(&["nothing".to_owned()]).is_err());
        assert_eq!(select(&[]).unwrap().len(), all().len());
    }
}
