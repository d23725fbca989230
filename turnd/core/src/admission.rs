//! Who may have one more allocation: the question the core asks, and the token of a yes.

use std::fmt;
use std::net::IpAddr;

/// Shared by all workers of a process, and asked once per new allocation and move.
/// [`Ledger`](crate::quota::Ledger) answers it; the shell adds the lock.
pub trait Admission: Send + Sync {
    /// Charges one allocation to `user` (the user id of the credential, else the whole username)
    /// and to the address `source`.
    fn charge(&self, user: &str, source: IpAddr) -> Result<Charge, Denied>;

    /// Charges to the address `source` what was charged to another one before, once its client has
    /// moved there. The user is the same, and draining does not matter. When denied, the charge
    /// stays what it was.
    fn transfer(&self, charge: &Charge, source: IpAddr) -> Result<(), Denied>;

    /// Gives back what was charged. The core hands back every charge exactly once, when the
    /// allocation is really gone.
    fn release(&self, charge: Charge);
}

/// Proof of one charge. Neither copied nor cloned: who holds it owes the release.
#[derive(PartialEq, Eq)]
#[must_use]
pub struct Charge(u64);

impl Charge {
    /// A charge that its maker knows by `token`.
    pub fn new(token: u64) -> Self {
        Self(token)
    }

    /// What it was made with.
    pub fn token(&self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Charge({:#x})", self.0)
    }
}

/// Why there is no charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The user has as many as allowed: 486.
    #[error("the user's quota is reached")]
    UserQuota,
    /// The source network has as many as allowed: 486.
    #[error("the source's quota is reached")]
    SourceQuota,
    /// The process has as many as allowed: 508.
    #[error("the relay is full")]
    TotalQuota,
    /// No new ones at all: 508.
    #[error("the relay is draining")]
    Draining,
}
