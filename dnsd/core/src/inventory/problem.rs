//! What is told of an inventory that cannot be used.

/// What a [`Problem`] is about; numbers are places in the lists given to `Inventory::new`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The zone's name or contact.
    Zone,
    /// A nameserver.
    Nameserver(usize),
    /// The regions as a whole.
    Regions,
    /// One region.
    Region(usize),
    /// The relays as a whole.
    Relays,
    /// One relay.
    Relay(usize),
    /// One rule by which relays may join.
    Enrolment(usize),
    /// The answer policy.
    Policy,
    /// The health thresholds.
    Thresholds,
    /// A zone besides the first.
    OtherZone(usize),
    /// A record of a zone's file; the zone is the first, or one of the others.
    Record {
        /// Which of the other zones; `None`: the first.
        zone: Option<usize>,
        /// The line of the file.
        line: u32,
    },
}

/// Something wrong with an inventory, in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// What it is about.
    pub subject: Subject,
    /// What is wrong, and what is expected.
    pub message: String,
}
