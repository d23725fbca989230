//! What was deleted lately, so that a retransmitted deletion gets its answer once more.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

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
#[derive(Debug, Default)]
pub(crate) struct Deletions(VecDeque<Deletion>);

impl Deletions {
    /// Notes that `transaction` of `username` deleted something on `tuple`.
    pub(crate) fn note(
        &mut self,
        now: Instant,
        tuple: FiveTuple,
        transaction: TransactionId,
        username: &str,
    ) {
        while self.0.pop_front_if(|oldest| oldest.until <= now).is_some() {}
        if self.0.len() >= DELETIONS {
            self.0.pop_front();
        }
        self.0.push_back(Deletion {
            tuple,
            transaction,
            username: username.into(),
            until: now + REMEMBERED,
        });
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
            deletion.transaction == *transaction
                && deletion.tuple == *tuple
                && *deletion.username == *username
        };
        let newest_first = self.0.iter().rev();
        newest_first
            .take_while(|deletion| now < deletion.until)
            .any(is_it)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
