//! What relays say of themselves, translated into verdict reasons and back.

use liveness::{Reason as Word, State as Claim};

use super::{Reason, State};

/// States in which clients are sent to a relay.
pub(super) fn is_good(state: State) -> bool {
    matches!(state, State::Up | State::Suspect | State::ForcedUp)
}

/// Why a relay takes nobody by its own word; `None` when it serves.
pub(super) fn word_out(claim: Claim) -> Option<Reason> {
    match claim {
        Claim::Serving => None,
        Claim::Starting => Some(Reason::Starting),
        Claim::Full => Some(Reason::Full),
        Claim::Draining => Some(Reason::Draining),
        Claim::Failing(word) => Some(reason_of(word)),
    }
}

pub(super) fn reason_of(word: Word) -> Reason {
    match word {
        Word::WorkerStuck => Reason::WorkerStuck,
        Word::RelaySockets => Reason::RelaySockets,
        Word::Descriptors => Reason::Descriptors,
        Word::Configuration => Reason::Configuration,
        Word::Other => Reason::FailingOtherwise,
    }
}

/// The claim behind a restored verdict of a relay that was out by its own word.
pub(super) fn claim_of(reason: Reason) -> Claim {
    match reason {
        Reason::Starting => Claim::Starting,
        Reason::Full => Claim::Full,
        Reason::Draining => Claim::Draining,
        Reason::WorkerStuck => Claim::Failing(Word::WorkerStuck),
        Reason::RelaySockets => Claim::Failing(Word::RelaySockets),
        Reason::Descriptors => Claim::Failing(Word::Descriptors),
        Reason::Configuration => Claim::Failing(Word::Configuration),
        _ => Claim::Failing(Word::Other),
    }
}
