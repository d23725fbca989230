//! Revocations: one list everywhere, after the same news in any order.

use std::time::Duration;

use credentials::UnixTime;
use dnsd_core::limits::REVOCATIONS_MAX;
use dnsd_core::revocations::{Entry, LONGEST, Merged, Revocations, Subject, WrongSubject};
use proptest::prelude::*;

const NOW: UnixTime = UnixTime(1_800_000_000);

fn subject(text: &str) -> Subject {
    text.parse().expect("a subject")
}

fn entry(text: &str, revoked: bool, at_ms: u64) -> Entry {
    Entry {
        subject: subject(text),
        revoked,
        until: NOW.0 + 3600,
        why: String::new(),
        who: "ann".to_owned(),
        at_ms: NOW.0 * 1000 + at_ms,
        node: "ns1".to_owned(),
    }
}

fn after(entries: impl IntoIterator<Item = Entry>) -> Revocations {
    let mut list = Revocations::default();
    for entry in entries {
        list.merge(NOW, entry);
    }
    list
}

proptest! {
    /// The same news, in any order and however often, make the same list.
    #[test]
    fn all_nodes_end_with_the_same_list(
        news in proptest::collection::vec((0_u8..5, any::<bool>(), 0_u64..4, 0_u8..2), 1..30),
        swaps in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..30),
        again in proptest::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let entry = |(who, revoked, at, node): &(u8, bool, u64, u8)| Entry {
            node: format!("ns{node}"),
            ..entry(&format!("user:u{who}"), *revoked, *at)
        };
        let first: Vec<_> = news.iter().map(entry).collect();
        let mut second = first.clone();
        for (a, b) in &swaps {
            second.swap(a.index(first.len()), b.index(first.len()));
        }
        second.extend(again.iter().map(|index| index.get(&first).clone()));
        let first = after(first);
        let mut together = Revocations::default();
        let news = together.merge_all(NOW, second.clone());
        prop_assert!(second.starts_with(&news[..1]), "the first is always news");
        prop_assert_eq!(&together, &first);
        let second = after(second);
        prop_assert_eq!(first.generation(), second.generation());
        prop_assert_eq!(first, second);
    }
}

#[test]
fn the_newest_word_counts_and_an_old_one_does_not_come_back() {
    let mut list = after([entry("user:shop/ann", true, 1)]);
    let revoked = list.generation();
    assert_ne!(revoked, 0);
    assert_eq!(list.tags(), [subject("user:shop/ann").tag()]);
    assert_eq!(
        list.merge(NOW, entry("user:shop/ann", false, 2)),
        Merged::News
    );
    assert_eq!((list.generation(), list.tags().len()), (0, 0));
    assert_eq!(
        list.merge(NOW, entry("user:shop/ann", true, 1)),
        Merged::Known
    );
    assert_eq!(
        list.merge(NOW, entry("user:shop/ann", true, 3)),
        Merged::News
    );
    assert_eq!(
        list.generation(),
        revoked,
        "the same people, the same generation"
    );
    let kept = Revocations::restored(NOW, list.entries().cloned().collect::<Vec<_>>());
    assert_eq!(kept, list);
}

#[test]
fn a_revocation_runs_out_and_is_forgotten_later() {
    let mut list = after([entry("tenant:shop", true, 1)]);
    let end = UnixTime(NOW.0 + 3600);
    assert!(!list.tell_time(UnixTime(end.0 - 1)));
    assert!(list.tell_time(end));
    assert_eq!(
        (
            list.generation(),
            list.holds().count(),
            list.entries().count()
        ),
        (0, 0, 1)
    );
    list.tell_time(UnixTime(end.0 + Duration::from_hours(7 * 24).as_secs()));
    assert_eq!(list.entries().count(), 0);
    let eternal = Entry {
        until: NOW.0 + LONGEST.as_secs() + 1,
        ..entry("tenant:shop", true, 1)
    };
    assert_eq!(list.merge(NOW, eternal), Merged::Malformed);
}

#[test]
fn a_full_list_gives_up_its_oldest_wherever_it_is_known() {
    let all = (0..=REVOCATIONS_MAX).map(|n| entry(&format!("user:{n}"), true, n as u64));
    let list = after(all.clone());
    assert_eq!(list, after(all.collect::<Vec<_>>().into_iter().rev()));
    assert_eq!(list.tags().len(), REVOCATIONS_MAX);
    assert!(list.is_full() && list.get(&subject("user:0")).is_none());
}

#[test]
fn who_can_be_revoked_and_who_cannot() {
    for right in ["user:shop/ann", "user:a:b", "tenant:shop"] {
        assert_eq!(subject(right).to_string(), right);
    }
    let long = format!("user:{}", "x".repeat(509));
    for wrong in [
        "",
        "ann",
        "user:",
        "tenant:shop/ann",
        "group:x",
        "user:a\nb",
        &long,
    ] {
        assert_eq!(
            wrong.parse::<Subject>(),
            Err(WrongSubject::Form),
            "{wrong:?}"
        );
    }
    // Without their probes no nameserver would find a relay up.
    assert_eq!("user:probe".parse::<Subject>(), Err(WrongSubject::Probe));
    assert!(!format!("{:?}", subject("user:shop/ann")).contains("ann"));
}
