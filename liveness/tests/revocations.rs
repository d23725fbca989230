//! Requests for revocations and their pages: what is not whole, not meant or not signed is refused.

#![allow(clippy::unwrap_used)]

mod common;

use common::{key, ring};
use liveness::{
    ASK_LEN, BOOT_MAX, KeyId, NONCE_LEN, PAGE_LEN_MAX, PAGE_TAGS_MAX, PAGES_MAX, REVOKED_MAX,
    Refused, RevocationTag, RevocationsAsk, RevocationsPage, generation,
};
use proptest::prelude::*;

fn ask(page: u16) -> RevocationsAsk {
    RevocationsAsk {
        relay: "fra-1".parse().unwrap(),
        boot: 5,
        sequence: 9,
        page,
    }
}

fn tags(count: usize) -> Vec<RevocationTag> {
    let mut tags: Vec<_> = (0..count)
        .map(|n| RevocationTag::user(&n.to_string()))
        .collect();
    tags.sort();
    tags
}

fn page(tags: &[RevocationTag], number: u16) -> RevocationsPage {
    let node = "ns1".parse().unwrap();
    RevocationsPage::answer(&ask(number), node, generation(tags), tags)
}

#[test]
fn the_longest_list_goes_in_pages_that_fit_a_datagram() {
    let all = tags(REVOKED_MAX);
    let mut back = Vec::new();
    for number in 0..PAGES_MAX {
        let page = page(&all, number);
        let bytes = page.seal(KeyId(1), &key(), [7; NONCE_LEN]).unwrap();
        assert_eq!(bytes.len(), PAGE_LEN_MAX);
        assert!(bytes.len() <= 1200);
        let (opened, _) = RevocationsPage::open(&bytes, &ring(&[1])).unwrap();
        assert_eq!((opened.pages, opened.page), (PAGES_MAX, number));
        back.extend(opened.tags);
    }
    assert_eq!(back, all);
    assert!(page(&all, PAGES_MAX).tags.is_empty(), "behind the last");
    let empty = page(&[], 0);
    assert_eq!((empty.generation, empty.pages), (0, 0));
    let long = RevocationsPage {
        tags: tags(PAGE_TAGS_MAX + 1),
        ..empty
    };
    assert_eq!(long.seal(KeyId(1), &key(), [7; NONCE_LEN]), None);
}

#[test]
fn no_changed_bit_is_overlooked_and_no_kind_taken_for_another() {
    let sealed = page(&tags(3), 0)
        .seal(KeyId(1), &key(), [7; NONCE_LEN])
        .unwrap();
    let signed = ask(0).encode(KeyId(1), &key());
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(
            RevocationsPage::open(&changed, &ring(&[1])).is_err(),
            "{bit}"
        );
    }
    for bit in 0..ASK_LEN * 8 {
        let mut changed = signed;
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(
            RevocationsAsk::decode(&changed, &ring(&[1])).is_err(),
            "{bit}"
        );
    }
    for length in 0..sealed.len() {
        let cut = RevocationsPage::open(&sealed[..length], &ring(&[1]));
        assert!(cut.is_err(), "{length}");
    }
    let other = RevocationsPage::open(&sealed, &ring(&[2]));
    assert_eq!(other, Err(Refused::UnknownKey(KeyId(1))));
    let kind = RevocationsPage::open(&signed, &ring(&[1]));
    assert_eq!(kind, Err(Refused::Kind(3)));
    let shown = format!("{:?} {:?}", RevocationTag::user("ann"), page(&tags(1), 0));
    let tag = RevocationTag::user("ann");
    assert!(!shown.contains(&format!("{:?}", tag.bytes())), "{shown}");
}

#[test]
fn a_boot_id_that_would_lock_a_relay_out_is_refused() {
    let ask = RevocationsAsk {
        boot: BOOT_MAX + 1,
        ..ask(0)
    };
    let bytes = ask.encode(KeyId(1), &key());
    let refused = RevocationsAsk::decode(&bytes, &ring(&[1]));
    assert_eq!(refused, Err(Refused::Malformed("boot id")));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..1300),
        begin: bool,
    ) {
        if begin && bytes.len() >= 12 {
            bytes[..12].copy_from_slice(&[b'T', b'F', b'L', b'V', 1, 4, 0, 0, 0, 0, 0, 1]);
        }
        prop_assert!(RevocationsPage::open(&bytes, &ring(&[1])).is_err());
        prop_assert!(RevocationsAsk::decode(&bytes, &ring(&[1])).is_err());
    }

    /// Two lists have one generation exactly if they are the same.
    #[test]
    fn the_generation_tells_lists_apart(
        a in proptest::collection::btree_set(0_u8..20, 0..6),
        b in proptest::collection::btree_set(0_u8..20, 0..6),
    ) {
        let of = |list: &std::collections::BTreeSet<u8>| {
            let tags: std::collections::BTreeSet<_> =
                list.iter().map(|n| RevocationTag::tenant(&n.to_string())).collect();
            generation(&tags)
        };
        prop_assert_eq!(of(&a) == of(&b), a == b);
        prop_assert_eq!(of(&a) == 0, a.is_empty());
    }
}
