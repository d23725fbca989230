//! What each nameserver says of revocations, learnt page by page; what counts is all of it together.
//!
//! Nothing flaps while nameservers know different things: somebody whom one of them revokes is
//! revoked here, and an old list stands until the new one is complete.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use liveness::{NodeId, PAGES_MAX, RevocationTag, RevocationsPage, generation};

use crate::limits::NAMESERVERS;

/// How long an answer may take; then the same page is asked for again.
const PATIENCE: Duration = Duration::from_millis(400);
/// What a nameserver said counts so long after it was last heard, while others are; if none is, for
/// ever.
const KEPT: Duration = Duration::from_mins(10);
/// A nameserver heard within this is there.
const LATELY: Duration = Duration::from_secs(10);

/// One nameserver's list.
#[derive(Debug)]
struct List {
    heard: Instant,
    /// Of the list that is complete; `None` until one is.
    generation: Option<u64>,
    tags: Vec<RevocationTag>,
    learning: Option<Learning>,
}

/// A list that is not complete yet.
#[derive(Debug)]
struct Learning {
    generation: u64,
    /// The page asked for, in the request of this number, at this time.
    page: u16,
    sequence: u64,
    asked: Instant,
    gathered: Vec<RevocationTag>,
}

/// What to ask a nameserver for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The number of the request.
    pub sequence: u64,
    /// The page.
    pub page: u16,
}

/// The lists of all nameservers.
#[derive(Debug, Default)]
pub struct RevocationLists {
    lists: BTreeMap<NodeId, List>,
    /// The number of the last request.
    sequence: u64,
    /// All of them together, and the generation of that.
    all: BTreeSet<RevocationTag>,
    generation: u64,
}

impl RevocationLists {
    /// Takes in that `node` knows the list of this generation; what to ask it for, if anything.
    pub fn told(&mut self, now: Instant, node: NodeId, generation: u64) -> Option<Wanted> {
        self.make_room(now, node);
        let list = self.lists.entry(node).or_insert_with(|| List {
            heard: now,
            generation: None,
            tags: Vec::new(),
            learning: None,
        });
        list.heard = now;
        if list.generation == Some(generation) {
            list.learning = None;
            return None;
        }
        if generation == 0 {
            list.complete(0, Vec::new());
            self.unite();
            return None;
        }
        let waits = |learning: &Learning| now.saturating_duration_since(learning.asked) < PATIENCE;
        if list.learning.as_ref().is_some_and(waits) {
            return None;
        }
        let before = list.learning.take();
        let same = before.filter(|before| before.generation == generation);
        let (page, gathered) = same.map_or((0, Vec::new()), |same| (same.page, same.gathered));
        self.ask(now, node, generation, page, gathered)
    }

    /// Takes a page in that was verified and meant for this relay and boot; what to ask for next.
    pub fn page(&mut self, now: Instant, page: &RevocationsPage) -> Option<Wanted> {
        let list = self.lists.get_mut(&page.node)?;
        let asked = |learning: &mut Learning| {
            learning.sequence == page.sequence && learning.page == page.page
        };
        let mut learning = list.learning.take_if(asked)?;
        if learning.generation != page.generation {
            // The list has changed meanwhile: from its beginning again, if that is not in hand.
            learning.gathered.clear();
            if page.page > 0 {
                return self.ask(now, page.node, page.generation, 0, Vec::new());
            }
        }
        learning.gathered.extend(&page.tags);
        let next = page.page + 1;
        if next < page.pages.min(PAGES_MAX) {
            return self.ask(now, page.node, page.generation, next, learning.gathered);
        }
        if generation(&learning.gathered) == page.generation {
            list.complete(page.generation, learning.gathered);
            self.unite();
        }
        None
    }

    /// Those who are revoked, in order.
    pub fn tags(&self) -> impl Iterator<Item = &RevocationTag> {
        self.all.iter()
    }

    /// The generation of all lists together.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    fn ask(
        &mut self,
        now: Instant,
        node: NodeId,
        generation: u64,
        page: u16,
        gathered: Vec<RevocationTag>,
    ) -> Option<Wanted> {
        self.sequence += 1;
        let sequence = self.sequence;
        self.lists.get_mut(&node)?.learning = Some(Learning {
            generation,
            page,
            sequence,
            asked: now,
            gathered,
        });
        Some(Wanted { sequence, page })
    }

    /// Forgets nameservers that are long gone, and the longest gone where there are too many.
    fn make_room(&mut self, now: Instant, node: NodeId) {
        let silence = |list: &List| now.saturating_duration_since(list.heard);
        let there = |list: &List| list.generation.is_some() && silence(list) <= LATELY;
        let before = self.lists.len();
        if self.lists.values().any(there) {
            self.lists.retain(|_, list| silence(list) < KEPT);
        }
        if !self.lists.contains_key(&node) && self.lists.len() >= NAMESERVERS {
            let longest = self.lists.iter().min_by_key(|(_, list)| list.heard);
            if let Some(node) = longest.map(|(node, _)| *node) {
                self.lists.remove(&node);
            }
        }
        if self.lists.len() != before {
            self.unite();
        }
    }

    fn unite(&mut self) {
        let tags = self.lists.values().flat_map(|list| &list.tags);
        self.all = tags.copied().collect();
        self.generation = generation(&self.all);
    }
}

impl List {
    fn complete(&mut self, generation: u64, tags: Vec<RevocationTag>) {
        (self.generation, self.tags) = (Some(generation), tags);
        self.learning = None;
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an arbitrary beginning of time")]
mod tests {
    use liveness::RevocationsAsk;

    use super::*;

    /// A nameserver that answers.
    struct Node {
        id: NodeId,
        tags: Vec<RevocationTag>,
    }

    impl Node {
        fn new(id: &str, users: std::ops::Range<u32>) -> Self {
            let tags: BTreeSet<_> = users
                .map(|user| RevocationTag::user(&user.to_string()))
                .collect();
            Self {
                id: id.parse().expect("id"),
                tags: tags.into_iter().collect(),
            }
        }

        fn generation(&self) -> u64 {
            generation(&self.tags)
        }

        fn answer(&self, wanted: Wanted) -> RevocationsPage {
            let ask = RevocationsAsk {
                relay: "fra-1".parse().expect("id"),
                boot: 1,
                sequence: wanted.sequence,
                page: wanted.page,
            };
            RevocationsPage::answer(&ask, self.id, self.generation(), &self.tags)
        }
    }

    /// Learns all that a node has to say; how many pages that took.
    fn learn(lists: &mut RevocationLists, now: Instant, node: &Node) -> usize {
        let mut wanted = lists.told(now, node.id, node.generation());
        let mut pages = 0;
        while let Some(asked) = wanted {
            pages += 1;
            wanted = lists.page(now, &node.answer(asked));
        }
        pages
    }

    fn revokes(lists: &RevocationLists, user: u32) -> bool {
        let tag = RevocationTag::user(&user.to_string());
        lists.tags().any(|one| *one == tag)
    }

    #[test]
    fn a_list_of_any_length_is_learnt_and_asked_for_once() {
        for (users, pages) in [(0, 0), (1, 1), (64, 1), (65, 2), (4096, 64)] {
            let (mut lists, now) = (RevocationLists::default(), Instant::now());
            let node = Node::new("a", 0..users);
            assert_eq!(learn(&mut lists, now, &node), pages);
            assert_eq!(lists.generation(), node.generation());
            assert_eq!(lists.tags().count(), users as usize);
            assert_eq!(lists.told(now, node.id, node.generation()), None);
        }
    }

    #[test]
    fn what_one_nameserver_knows_counts_whatever_the_others_do() {
        let (mut lists, now) = (RevocationLists::default(), Instant::now());
        let (one, other) = (Node::new("a", 0..100), Node::new("b", 50..70));
        learn(&mut lists, now, &one);
        for round in 0..20 {
            let now = now + Duration::from_secs(round);
            learn(&mut lists, now, &other);
            assert!(revokes(&lists, 3) && revokes(&lists, 60));
            learn(&mut lists, now, &one);
            assert_eq!(lists.generation(), one.generation());
        }
        // Lifted at both, and only then.
        learn(&mut lists, now, &Node::new("a", 1..100));
        assert!(!revokes(&lists, 0));
        learn(&mut lists, now, &Node::new("a", 0..0));
        assert!(revokes(&lists, 60) && !revokes(&lists, 3));
    }

    #[test]
    fn lost_strange_and_mixed_pages_bring_nothing_and_the_old_list_stands() {
        let (mut lists, now) = (RevocationLists::default(), Instant::now());
        let old = Node::new("a", 0..1);
        learn(&mut lists, now, &old);
        let new = Node::new("a", 0..200);
        let first = lists.told(now, new.id, new.generation()).expect("news");
        assert_eq!(lists.told(now, new.id, new.generation()), None, "patience");
        let strange = [
            RevocationsPage {
                sequence: 0,
                ..new.answer(first)
            },
            RevocationsPage {
                page: 1,
                ..new.answer(first)
            },
            RevocationsPage {
                node: "b".parse().expect("id"),
                ..new.answer(first)
            },
        ];
        for page in strange {
            assert_eq!(lists.page(now, &page), None);
        }
        let page = new.answer(first);
        let second = lists.page(now, &page).expect("more");
        assert_eq!(lists.page(now, &page), None, "a copy");
        // The answer to the second is lost.
        let later = now + PATIENCE;
        let again = lists.told(later, new.id, new.generation()).expect("again");
        assert_eq!(again.page, second.page);
        assert!(again.sequence > second.sequence);
        assert_eq!(lists.page(later, &new.answer(second)), None, "too late");
        assert_eq!(lists.generation(), old.generation());
        // Then the list changes, and begins anew.
        let newest = Node::new("a", 0..150);
        let mut wanted = lists.page(later, &newest.answer(again));
        assert_eq!(wanted.map(|wanted| wanted.page), Some(0));
        while let Some(asked) = wanted {
            wanted = lists.page(later, &newest.answer(asked));
        }
        assert_eq!(lists.generation(), newest.generation());
    }

    #[test]
    fn a_nameserver_that_is_gone_is_forgotten_only_when_another_is_there() {
        let (mut lists, now) = (RevocationLists::default(), Instant::now());
        let (gone, other) = (Node::new("a", 0..1), Node::new("b", 1..2));
        learn(&mut lists, now, &gone);
        let later = now + KEPT;
        lists.told(later, other.id, other.generation());
        assert!(revokes(&lists, 0), "nobody else has told a list yet");
        learn(&mut lists, later + PATIENCE, &other);
        learn(&mut lists, later + PATIENCE, &other);
        assert!(!revokes(&lists, 0) && revokes(&lists, 1));
        for number in 0..NAMESERVERS + 5 {
            let now = later + Duration::from_secs(1 + number as u64);
            learn(&mut lists, now, &Node::new(&format!("n{number}"), 0..1));
        }
        assert_eq!(lists.lists.len(), NAMESERVERS);
    }
}
