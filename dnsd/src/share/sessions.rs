//! What is remembered of the other nameservers: which start of each is talking, what has been heard
//! of it, and messages whose parts have not all arrived.
//!
//! Only senders that hold the key and answer this very start of the daemon have a place here, so a
//! recorded datagram leaves nothing behind: one of an earlier start of this node echoes another
//! boot, one of an earlier start of its sender has a boot that has ended, and any other has a
//! sequence number that was seen.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use liveness::NodeId;

use super::frame::{Frame, Kind};
use crate::limits::{SHARE_ENDED, SHARE_FORGET, SHARE_PEERS};

/// Sequence numbers below the highest that may still arrive for the first time.
const WINDOW: u64 = u128::BITS as u64;

/// What a frame brings.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// A message is complete.
    Message(Vec<u8>),
    /// A part of one, or a hello.
    Nothing,
}

/// Why a frame is not taken although it is authentic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untaken {
    /// It was not made for this start of this node: its sender has to be told.
    Stranger,
    /// It was seen before, is too old to tell, or of a start of its sender that has ended.
    Replay,
    /// Under this node's own name: its echo, or two nodes with one name.
    Own,
    /// [`SHARE_PEERS`] others have been heard lately.
    Crowded,
}

/// The other nameservers.
#[derive(Debug)]
pub struct Sessions {
    me: NodeId,
    boot: u64,
    peers: BTreeMap<NodeId, Peer>,
}

#[derive(Debug)]
struct Peer {
    boot: u64,
    /// Boots that have ended, oldest first.
    ended: VecDeque<u64>,
    address: SocketAddr,
    heard: Instant,
    highest: u64,
    /// Which of the numbers up to the highest have been seen; bit 0 is the highest.
    seen: u128,
    /// By kind, the newest message of which parts are missing.
    partial: [Option<Partial>; Kind::ALL.len()],
}

#[derive(Debug)]
struct Partial {
    /// The sequence number of its first part.
    first: u64,
    parts: Vec<Option<Vec<u8>>>,
}

impl Sessions {
    /// Nobody is known to `me`, whose boot is `boot`.
    pub fn new(me: NodeId, boot: u64) -> Self {
        Self {
            me,
            boot,
            peers: BTreeMap::new(),
        }
    }

    /// The boot of whoever answers from `address`; 0 if that is not known.
    pub fn boot_at(&self, address: SocketAddr) -> u64 {
        let there = self.peers.values().filter(|peer| peer.address == address);
        let last = there.max_by_key(|peer| peer.heard);
        last.map_or(0, |peer| peer.boot)
    }

    /// Where those answer from that were heard within [`SHARE_FORGET`].
    pub fn addresses(&self, now: Instant) -> impl Iterator<Item = SocketAddr> {
        let lately = move |peer: &&Peer| now.saturating_duration_since(peer.heard) < SHARE_FORGET;
        self.peers.values().filter(lately).map(|peer| peer.address)
    }

    /// Takes a frame that came unsealed from `from`.
    pub fn take(&mut self, now: Instant, from: SocketAddr, frame: Frame) -> Result<Taken, Untaken> {
        if frame.sender == self.me {
            return Err(Untaken::Own);
        }
        if frame.echo != self.boot {
            return Err(Untaken::Stranger);
        }
        let peer = match self.peers.get_mut(&frame.sender) {
            Some(peer) => peer,
            None => self.admit(now, from, &frame).ok_or(Untaken::Crowded)?,
        };
        peer.accept(now, from, &frame).ok_or(Untaken::Replay)?;
        Ok(peer.assemble(frame).map_or(Taken::Nothing, Taken::Message))
    }

    fn admit(&mut self, now: Instant, from: SocketAddr, frame: &Frame) -> Option<&mut Peer> {
        if self.peers.len() >= SHARE_PEERS {
            let silent = |peer: &&Peer| now.saturating_duration_since(peer.heard) >= SHARE_FORGET;
            let silent = self.peers.iter().filter(|(_, peer)| silent(peer));
            let longest = *silent.min_by_key(|(_, peer)| peer.heard)?.0;
            self.peers.remove(&longest);
        }
        let peer = Peer {
            boot: frame.boot,
            ended: VecDeque::new(),
            address: from,
            heard: now,
            highest: 0,
            seen: 0,
            partial: Default::default(),
        };
        Some(self.peers.entry(frame.sender).or_insert(peer))
    }
}

impl Peer {
    /// Whether a frame is new; then it counts as seen.
    fn accept(&mut self, now: Instant, from: SocketAddr, frame: &Frame) -> Option<()> {
        if frame.boot != self.boot {
            if self.ended.contains(&frame.boot) {
                return None;
            }
            if self.ended.len() >= SHARE_ENDED {
                self.ended.pop_front();
            }
            self.ended.push_back(self.boot);
            (self.boot, self.highest, self.seen) = (frame.boot, 0, 0);
            self.partial = Default::default();
        }
        if frame.sequence > self.highest {
            let ahead = u32::try_from(frame.sequence - self.highest).ok();
            let shifted = ahead.and_then(|ahead| self.seen.checked_shl(ahead));
            self.seen = shifted.unwrap_or_default() | 1;
            self.highest = frame.sequence;
        } else {
            let behind = self.highest - frame.sequence;
            let bit = 1_u128 << behind.min(WINDOW - 1);
            if behind >= WINDOW || self.seen & bit != 0 {
                return None;
            }
            self.seen |= bit;
        }
        (self.address, self.heard) = (from, now);
        Some(())
    }

    /// Adds a part; the message, once it is complete.
    fn assemble(&mut self, frame: Frame) -> Option<Vec<u8>> {
        if frame.kind == Kind::Hello {
            return None;
        }
        if frame.parts == 1 {
            return Some(frame.payload);
        }
        let first = frame.sequence - u64::from(frame.part);
        let partial = &mut self.partial[frame.kind as usize];
        let same = |partial: &Partial| {
            partial.first == first && partial.parts.len() == usize::from(frame.parts)
        };
        // A newer message takes the place of one whose parts were lost.
        if partial
            .as_ref()
            .is_some_and(|partial| partial.first > first)
        {
            return None;
        }
        if !partial.as_ref().is_some_and(same) {
            *partial = Some(Partial {
                first,
                parts: vec![None; usize::from(frame.parts)],
            });
        }
        let parts = &mut partial.as_mut()?.parts;
        *parts.get_mut(usize::from(frame.part))? = Some(frame.payload);
        if parts.iter().any(Option::is_none) {
            return None;
        }
        let whole = partial.take()?.parts.into_iter().flatten();
        Some(whole.flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::share::frame::{PAYLOAD_MAX, parts};

    const ME: u64 = 77;
    const FROM: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5302);

    fn sessions() -> Sessions {
        Sessions::new("ns1".parse().expect("id"), ME)
    }

    fn frame(boot: u64, sequence: u64) -> Frame {
        Frame {
            sender: "ns2".parse().expect("id"),
            boot,
            echo: ME,
            sequence,
            kind: Kind::Ballot,
            part: 0,
            parts: 1,
            payload: sequence.to_be_bytes().to_vec(),
        }
    }

    #[test]
    fn what_was_not_made_for_this_start_leaves_no_trace() {
        let mut sessions = sessions();
        let now = Instant::now();
        for echo in [0, 1, ME + 1] {
            let old = Frame {
                echo,
                ..frame(5, 1)
            };
            assert_eq!(sessions.take(now, FROM, old), Err(Untaken::Stranger));
        }
        let own = Frame {
            sender: "ns1".parse().expect("id"),
            ..frame(5, 1)
        };
        assert_eq!(sessions.take(now, FROM, own), Err(Untaken::Own));
        assert!(sessions.peers.is_empty());
        assert_eq!(sessions.boot_at(FROM), 0);
        assert!(sessions.take(now, FROM, frame(5, 1)).is_ok());
        assert_eq!(sessions.boot_at(FROM), 5);
    }

    #[test]
    fn an_ended_start_of_a_sender_does_not_come_back() {
        let mut sessions = sessions();
        let now = Instant::now();
        assert!(sessions.take(now, FROM, frame(5, 1)).is_ok());
        assert!(sessions.take(now, FROM, frame(6, 1)).is_ok());
        assert_eq!(sessions.take(now, FROM, frame(5, 2)), Err(Untaken::Replay));
        assert!(sessions.take(now, FROM, frame(6, 2)).is_ok());
        assert_eq!(sessions.boot_at(FROM), 6);
    }

    #[test]
    fn only_so_many_others_have_a_place_and_the_silent_give_theirs_up() {
        let mut sessions = sessions();
        let begun = Instant::now();
        let named = |n: usize| Frame {
            sender: format!("other-{n}").parse().expect("id"),
            ..frame(1, 1)
        };
        for n in 0..SHARE_PEERS {
            assert!(sessions.take(begun, FROM, named(n)).is_ok());
        }
        let soon = begun + SHARE_FORGET.saturating_sub(Duration::from_millis(1));
        let crowded = Err(Untaken::Crowded);
        assert_eq!(sessions.take(soon, FROM, named(SHARE_PEERS)), crowded);
        assert!(
            sessions
                .take(begun + SHARE_FORGET, FROM, named(SHARE_PEERS))
                .is_ok()
        );
        assert_eq!(sessions.peers.len(), SHARE_PEERS);
    }

    #[test]
    fn a_message_in_parts_arrives_in_any_order_and_a_newer_one_replaces_it() {
        let mut sessions = sessions();
        let now = Instant::now();
        let message: Vec<u8> = (0..PAYLOAD_MAX * 3).map(|n| (n % 251) as u8).collect();
        let cut = |first: u64| {
            let parts = parts(&message).expect("fits");
            let count = parts.len() as u8;
            let frames = parts
                .into_iter()
                .zip(0..)
                .map(move |(payload, part)| Frame {
                    part,
                    parts: count,
                    payload: payload.to_vec(),
                    ..frame(5, first + u64::from(part))
                });
            frames.collect::<Vec<_>>()
        };
        let (old, new) = (cut(1), cut(4));
        // The old one's last part comes when it has been given up.
        for part in [&old[0], &new[2], &new[0], &old[2]] {
            let taken = sessions.take(now, FROM, part.clone());
            assert_eq!(taken, Ok(Taken::Nothing));
        }
        let last = sessions.take(now, FROM, new[1].clone());
        assert_eq!(last, Ok(Taken::Message(message)));
    }

    proptest! {
        /// Against a model that remembers every number: nothing twice, and whatever is new and
        /// within the window once.
        #[test]
        fn every_number_is_taken_once(steps in proptest::collection::vec(1_u64..400, 1..200)) {
            let mut sessions = sessions();
            let now = Instant::now();
            let mut seen = std::collections::BTreeSet::new();
            for sequence in steps {
                let highest = seen.last().copied().unwrap_or_default();
                let fits = sequence + WINDOW > highest;
                let expected = fits && seen.insert(sequence);
                let taken = sessions.take(now, FROM, frame(5, sequence));
                prop_assert_eq!(taken.is_ok(), expected, "{} of {}", sequence, highest);
            }
        }
    }
}
