//! People's decisions and revocations as messages between nameservers. Each entry can be taken by itself, so what
//! was lost of a table costs only that, and the next comparison brings it.

use dnsd_core::limits::OVERRIDES_MAX;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::frame::PAYLOAD_MAX;

/// What stands between two entries: none contains it, JSON escapes it.
const BETWEEN: u8 = b'\n';

/// Into how many parts a long list is cut to be compared.
pub const BUCKETS: usize = 64;

/// One digest for each part.
pub type Digests = [u64; BUCKETS];

/// What two nodes have alike when they know the same.
pub fn digest<'a, E: Serialize + 'a>(entries: impl Iterator<Item = &'a E>) -> u64 {
    let mut hash = Sha256::new();
    entries.for_each(|entry| add(&mut hash, entry));
    first(hash)
}

/// The same for each part of a list; with each entry comes the number of its part.
pub fn digests<'a, E: Serialize + 'a>(entries: impl Iterator<Item = (usize, &'a E)>) -> Digests {
    let mut hashes: [Sha256; BUCKETS] = std::array::from_fn(|_| Sha256::new());
    for (bucket, entry) in entries {
        add(&mut hashes[bucket % BUCKETS], entry);
    }
    hashes.map(first)
}

fn add(hash: &mut Sha256, entry: &impl Serialize) {
    if let Some(line) = line(entry) {
        hash.update(line);
        hash.update([BETWEEN]);
    }
}

fn first(hash: Sha256) -> u64 {
    let hash: [u8; 32] = hash.finalize().into();
    hash.first_chunk()
        .map_or(0, |first| u64::from_be_bytes(*first))
}

/// The entries as messages, each of as many as one datagram holds.
pub fn encode<'a, E: Serialize + 'a>(entries: impl Iterator<Item = &'a E>) -> Vec<Vec<u8>> {
    let mut messages: Vec<Vec<u8>> = Vec::new();
    for line in entries.filter_map(line) {
        match messages.last_mut() {
            Some(last) if last.len() + 1 + line.len() <= PAYLOAD_MAX => {
                last.push(BETWEEN);
                last.extend(line);
            }
            _ => messages.push(line),
        }
    }
    messages
}

/// Reads a message. What a later version says in another way is passed over.
pub fn decode<E: DeserializeOwned>(message: &[u8]) -> Vec<E> {
    let lines = message.split(|byte| *byte == BETWEEN).take(OVERRIDES_MAX);
    lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect()
}

fn line(entry: &impl Serialize) -> Option<Vec<u8>> {
    serde_json::to_vec(entry).ok()
}

#[cfg(test)]
mod tests {
    use dnsd_core::health::Override;
    use dnsd_core::limits::{PLACE_MAX, WHO_MAX, WHY_MAX};
    use dnsd_core::overrides::Entry;
    use proptest::prelude::*;

    use super::*;
    use crate::share::frame::MESSAGE_MAX;

    fn entry(n: usize, why: &str) -> Entry {
        Entry {
            scope: format!("relay:r-{n}").parse().expect("scope"),
            decision: Some(Override::Drain),
            until: Some(u64::MAX),
            why: why.to_owned(),
            who: "someone\n\"else\"".to_owned(),
            at_ms: 7,
            node: "ns1".to_owned(),
        }
    }

    #[test]
    fn a_full_table_leaves_in_datagrams_and_the_longest_entry_fits_a_message() {
        let table: Vec<_> = (0..OVERRIDES_MAX).map(|n| entry(n, "a fire")).collect();
        let messages = encode(table.iter());
        assert!(messages.iter().all(|message| message.len() <= PAYLOAD_MAX));
        println!("{OVERRIDES_MAX} decisions: {} datagrams", messages.len());
        let back: Vec<_> = messages
            .iter()
            .flat_map(|message| decode::<Entry>(message))
            .collect();
        assert_eq!(back, table);
        // Each of these bytes is written as six.
        let longest = Entry {
            scope: format!("vendor:{}", "\u{1}".repeat(PLACE_MAX))
                .parse()
                .expect("scope"),
            who: "\u{1}".repeat(WHO_MAX),
            ..entry(0, &"\u{1}".repeat(WHY_MAX))
        };
        let [message] = &encode([&longest].into_iter())[..] else {
            panic!("one message");
        };
        assert!(message.len() <= MESSAGE_MAX);
        assert_eq!(decode::<Entry>(message), [longest]);
    }

    #[test]
    fn a_digest_tells_apart_what_differs() {
        let (a, b) = (entry(1, "a fire"), entry(1, "a flood"));
        assert_ne!(digest([&a].into_iter()), digest([&b].into_iter()));
        assert_ne!(digest([&a].into_iter()), digest::<Entry>([].into_iter()));
        assert_eq!(
            digest([&a].into_iter()),
            digest([&entry(1, "a fire")].into_iter())
        );
    }

    #[test]
    fn digests_of_parts_tell_which_part_differs() {
        let (a, b, c) = (entry(1, "x"), entry(2, "x"), entry(2, "y"));
        let of = |list: &[(usize, &Entry)]| digests(list.iter().copied());
        let (one, other) = (of(&[(3, &a), (9, &b)]), of(&[(3, &a), (9, &c)]));
        let differ: Vec<_> = (0..BUCKETS).filter(|n| one[*n] != other[*n]).collect();
        assert_eq!(differ, [9]);
        assert_eq!(one[3], digest([&a].into_iter()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_passed_over(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let known = entry(1, "a fire");
            let mut message = encode([&known].into_iter()).concat();
            message.push(BETWEEN);
            message.extend(bytes);
            let read: Vec<Entry> = decode(&message);
            prop_assert_eq!(read.first(), Some(&known));
        }
    }
}
