//! What was deleted lately, so that a retransmitted deletion gets its answer once more.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::address::FiveTuple;
use crate::limits::DELETIONS;
use crate::wire::TransactionId;

/// How long a client may go on retransmitting one request (RFC 8489 section 6.2.1: 39.5 s).
const REMEMBERED: Duration = Duration::from_secs(40);

#[derive(Debug)]
struct Deletion {
    tuple: FiveTuple,
    transaction: TransactionId,
    username: Box<str>,
    until: Instant,
}

/// The last deletions of one worker, at most [`DELETIONS`]: of more the oldest are forgotten, and
/// their retransmissions get 437, which says as well that nothing is there any more.
#[derive(Debug)]
pub(crate) struct Deletions {
    /// By five-tuple and transaction.
    all: HashTable<Deletion>,
    /// Hash and end of each, oldest first.
    order: VecDeque<(u64, Instant)>,
    hasher: FixedState,
}

impl Deletions {
    /// None yet.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            all: HashTable::new(),
            order: VecDeque::new(),
            hasher: FixedState::with_seed(seed),
        }
    }

    fn hash(&self, tuple: &FiveTuple, transaction: &TransactionId) -> u64 {
        self.hasher.hash_one((tuple, transaction))
    }

    /// Notes that `transaction` of `username` deleted something on `tuple`.
    pub(crate) fn note(
        &mut self,
        now: Instant,
        tuple: FiveTuple,
        transaction: TransactionId,
        username: &str,
    ) {
        let is_over = |(_, until): &mut (u64, Instant)| *until <= now;
        while let Some(oldest) = self.order.pop_front_if(is_over) {
            self.forget(oldest);
        }
        if self.order.len() >= DELETIONS
            && let Some(oldest) = self.order.pop_front()
        {
            self.forget(oldest);
        }
        let hash = self.hash(&tuple, &transaction);
        let until = now + REMEMBERED;
        let deletion = Deletion {
            tuple,
            transaction,
            username: username.into(),
            until,
        };
        self.order.push_back((hash, until));
        let hasher = &self.hasher;
        let hash_of = |d: &Deletion| hasher.hash_one((&d.tuple, &d.transaction));
        self.all.insert_unique(hash, deletion, hash_of);
    }

    fn forget(&mut self, (hash, until): (u64, Instant)) {
        let found = self.all.find_entry(hash, |d| d.until == until);
        debug_assert!(found.is_ok(), "a deletion was lost");
        if let Ok(found) = found {
            found.remove();
        }
    }

    /// Whether just that was noted.
    pub(crate) fn has(
        &self,
        now: Instant,
        tuple: &FiveTuple,
        transaction: &TransactionId,
        username: &str,
    ) -> bool {
        let is_it = |deletion: &Deletion| {
            now < deletion.until
                && deletion.transaction == *transaction
                && deletion.tuple == *tuple
                && *deletion.username == *username
        };
        let hash = self.hash(tuple, transaction);
        self.all.find(hash, is_it).is_some()
    }

    /// How many are remembered.
    pub(crate) fn len(&self) -> usize {
        debug_assert_eq!(self.all.len(), self.order.len());
        self.order.len()
    }
}
