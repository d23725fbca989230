//! Ballots as bytes: sorted by relay, each name without what it has in common with the one before,
//! so that the votes on two hundred relays fit one datagram.
//!
//! ```text
//!  | version | flags | generation 8 | length, vendor | length, region | count 2 | votes ... |
//!  | configuration 8 | serial of the zones 4 | hash of their content 8 |
//!  a vote: | vote and length of the rest of the name | common with the name before | rest |
//! ```
//!
//! What follows is not read, and what ends before the configuration or the serial is taken: later
//! versions append there what earlier ones can do without.

use dnsd_core::limits::{PLACE_MAX, RELAYS_MAX};
use dnsd_core::transfer::Edition;
use dnsd_core::votes::{Ballot, Domain, Observer, Vote};
use liveness::{NodeId, RelayId};

const VERSION: u8 = 1;
/// The observer distrusts itself.
const ISOLATED: u8 = 1;
/// Where the vote stands beside the length of a name's rest, which is 32 at most.
const VOTE: u32 = 6;

/// A ballot's bytes. Who casts it is not among them: the transport says that.
pub fn encode(ballot: &Ballot) -> Vec<u8> {
    let mut votes: Vec<_> = ballot
        .votes
        .iter()
        .filter_map(|(relay, vote)| {
            let code = match vote {
                Vote::Up => 1,
                Vote::Down => 2,
                Vote::Abstain => return None,
            };
            Some((relay.as_str(), code))
        })
        .collect();
    votes.sort_unstable();
    votes.truncate(RELAYS_MAX);
    let mut out = vec![VERSION, u8::from(ballot.isolated) * ISOLATED];
    out.extend(ballot.generation.to_be_bytes());
    for place in [
        &ballot.observer.domain.vendor,
        &ballot.observer.domain.region,
    ] {
        out.push(place.len() as u8);
        out.extend(place.as_bytes());
    }
    out.extend((votes.len() as u16).to_be_bytes());
    let mut before = "";
    for (name, code) in votes {
        let common = before
            .bytes()
            .zip(name.bytes())
            .take_while(|(a, b)| a == b)
            .count();
        let rest = &name[common..];
        out.extend([code << VOTE | rest.len() as u8, common as u8]);
        out.extend(rest.as_bytes());
        before = name;
    }
    out.extend(ballot.configuration.to_be_bytes());
    out.extend(ballot.zones.serial.to_be_bytes());
    out.extend(ballot.zones.content.to_be_bytes());
    out
}

/// Reads the ballot of `id`; `None` if it is none.
pub fn decode(id: NodeId, bytes: &[u8]) -> Option<Ballot> {
    let ([VERSION, flags], rest) = bytes.split_first_chunk()? else {
        return None;
    };
    let (generation, rest) = rest.split_first_chunk()?;
    let (vendor, rest) = place(rest)?;
    let (region, rest) = place(rest)?;
    let (count, mut rest) = rest.split_first_chunk()?;
    let count = usize::from(u16::from_be_bytes(*count));
    if count > RELAYS_MAX {
        return None;
    }
    let mut votes: Vec<(RelayId, Vote)> = Vec::with_capacity(count);
    for _ in 0..count {
        let ([head, common], after) = rest.split_first_chunk()?;
        let vote = match head >> VOTE {
            1 => Vote::Up,
            2 => Vote::Down,
            _ => return None,
        };
        let (end, after) = after.split_at_checked(usize::from(head & ((1 << VOTE) - 1)))?;
        let before = votes.last().map_or("", |(relay, _)| relay.as_str());
        let name = [before.as_bytes().get(..usize::from(*common))?, end].concat();
        votes.push((std::str::from_utf8(&name).ok()?.parse().ok()?, vote));
        rest = after;
    }
    let (configuration, rest) = rest
        .split_first_chunk()
        .map_or((0, rest), |(number, rest)| {
            (u64::from_be_bytes(*number), rest)
        });
    Some(Ballot {
        observer: Observer {
            id,
            domain: Domain { vendor, region },
        },
        generation: u64::from_be_bytes(*generation),
        configuration,
        zones: edition(rest).unwrap_or_default(),
        isolated: flags & ISOLATED != 0,
        votes,
    })
}

fn edition(bytes: &[u8]) -> Option<Edition> {
    let (serial, rest) = bytes.split_first_chunk()?;
    let content = rest.first_chunk()?;
    Some(Edition {
        serial: u32::from_be_bytes(*serial),
        content: u64::from_be_bytes(*content),
    })
}

fn place(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let name = std::str::from_utf8(name).ok()?;
    (name.len() <= PLACE_MAX).then(|| (name.to_owned(), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::share::frame::{MESSAGE_MAX, PAYLOAD_MAX};

    fn ballot(votes: Vec<(RelayId, Vote)>) -> Ballot {
        Ballot {
            observer: Observer {
                id: "ns1".parse().expect("id"),
                domain: Domain {
                    vendor: "v".repeat(PLACE_MAX),
                    region: "r".repeat(PLACE_MAX),
                },
            },
            generation: u64::MAX - 1,
            configuration: 7,
            zones: Edition {
                serial: 8,
                content: 9,
            },
            isolated: true,
            votes,
        }
    }

    fn id(text: &str) -> RelayId {
        text.parse().expect("id")
    }

    #[test]
    fn two_hundred_relays_fit_one_datagram_and_any_fleet_fits_a_message() {
        let cities = [
            "eu-central-fra",
            "eu-west-ams",
            "us-east-nyc",
            "ap-south-sin",
        ];
        let name = |n: usize| id(&format!("{}-turn-{:03}", cities[n % 4], n));
        let two_hundred = ballot((0..200).map(|n| (name(n), Vote::Up)).collect());
        let bytes = encode(&two_hundred);
        assert!(bytes.len() <= PAYLOAD_MAX, "{} bytes", bytes.len());
        println!("200 relays: {} bytes", bytes.len());
        // The least alike: a hash for a name.
        let odd = |n: u64| {
            id(&format!(
                "{:032x}",
                u128::from(n) * 0x9e37_79b9_7f4a_7c15_f39c
            ))
        };
        let all = ballot(
            (0..RELAYS_MAX as u64)
                .map(|n| (odd(n), Vote::Down))
                .collect(),
        );
        let bytes = encode(&all);
        assert!(bytes.len() <= MESSAGE_MAX, "{} bytes", bytes.len());
        println!("{RELAYS_MAX} relays named by hashes: {} bytes", bytes.len());
    }

    #[test]
    fn what_a_later_version_appends_does_no_harm() {
        let ballot = ballot(vec![(id("fra-1"), Vote::Up)]);
        let bytes = [encode(&ballot), vec![1, 2, 3]].concat();
        assert_eq!(decode(ballot.observer.id, &bytes), Some(ballot));
    }

    proptest! {
        #[test]
        fn a_ballot_comes_back_without_its_abstentions(
            votes in proptest::collection::btree_map("[a-d]{1,16}(-[0-9]{1,4})?", 0_u8..3, 0..60),
            generation: u64,
            isolated: bool,
        ) {
            let vote = |code| [Vote::Abstain, Vote::Up, Vote::Down][usize::from(code)];
            let votes = votes.iter().map(|(name, code)| (id(name), vote(*code)));
            let mut given = Ballot { generation, isolated, ..ballot(votes.collect()) };
            let bytes = encode(&given);
            given.votes.retain(|(_, vote)| *vote != Vote::Abstain);
            let id = given.observer.id;
            prop_assert_eq!(decode(id, &bytes), Some(given.clone()));
            let voted = bytes.len() - 20;
            for length in 0..voted {
                prop_assert_eq!(decode(id, &bytes[..length]), None);
            }
            let earlier = Ballot { zones: Edition::default(), ..given };
            prop_assert_eq!(decode(id, &bytes[..voted + 8]), Some(earlier.clone()));
            let earlier = Ballot { configuration: 0, ..earlier };
            prop_assert_eq!(decode(id, &bytes[..voted]), Some(earlier));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let bytes = [&[VERSION, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, b'v', 1, b'r', 0, 3], &bytes[..]].concat();
            let _ = decode("ns1".parse().expect("id"), &bytes);
        }
    }
}
