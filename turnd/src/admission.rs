//! One ledger of allocations for all workers: the core's, behind a lock.
//!
//! Taken once when an allocation begins, moves or ends, never on the packet path.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use turnd_core::quota::{Ledger, Quotas};
use turnd_core::{Admission, Charge, Denied};

use crate::config::Limits;

/// The shared ledger.
#[derive(Debug)]
pub struct Gate(Mutex<Ledger>);

impl Gate {
    /// An empty ledger with these quotas.
    pub fn new(limits: &Limits) -> Self {
        Self(Mutex::new(Ledger::new(quotas(limits))))
    }

    /// Other quotas for what is asked from now on.
    pub fn limit(&self, limits: &Limits) {
        self.lock().set_quotas(quotas(limits));
    }

    /// Whether everything is denied.
    pub fn drain(&self, draining: bool) {
        self.lock().set_draining(draining);
    }

    /// Allocations charged now.
    pub fn total(&self) -> usize {
        self.lock().total()
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admission for Gate {
    fn charge(&self, user: &str, source: IpAddr) -> Result<Charge, Denied> {
        self.lock().charge(user, source)
    }

    fn transfer(&self, charge: &Charge, source: IpAddr) -> Result<(), Denied> {
        self.lock().transfer(charge, source)
    }

    fn release(&self, charge: Charge) {
        self.lock().release(charge);
    }
}

fn quotas(limits: &Limits) -> Quotas {
    Quotas {
        total: limits.sessions as usize,
        per_user: limits.sessions_per_user,
        per_source: limits.sessions_per_source,
    }
}
