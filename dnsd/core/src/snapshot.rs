//! The compiled answers: immutable, complete, never empty.

/// Every answer the zone gives, until the next change.
#[derive(Debug)]
pub struct Snapshot {
    serial: u32,
}

impl Snapshot {
    /// The zone's serial (RFC 1035 section 3.3.13); rises with every publication.
    pub fn serial(&self) -> u32 {
        self.serial
    }
}
