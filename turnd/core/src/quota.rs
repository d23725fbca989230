//! The ledger of live allocations per user, per source network and in total.
//!
//! Pure; the shell shares one among its workers behind a lock and implements
//! [`Admission`](crate::Admission) with it. Charged when an allocation begins, released when it is
//! really gone, so that no way of ending one early gives a user more than the quota.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use crate::admission::{Charge, Denied};

/// How many allocations may live at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// In total, over all workers. Also the cap of the ledger's own memory.
    pub total: usize,
    /// Of one user.
    pub per_user: u32,
    /// From one source network: an IPv4 address, an IPv6 /64.
    pub per_source: u32,
}

/// Who holds how many.
#[derive(Debug)]
pub struct Ledger {
    quotas: Quotas,
    draining: bool,
    users: BTreeMap<Box<str>, u32>,
    sources: BTreeMap<IpAddr, u32>,
    /// Token to who was charged. Tokens are never used twice.
    charges: BTreeMap<u64, (Box<str>, IpAddr)>,
    next_token: u64,
}

impl Ledger {
    /// Nobody holds anything.
    pub fn new(quotas: Quotas) -> Self {
        Self {
            quotas,
            draining: false,
            users: BTreeMap::new(),
            sources: BTreeMap::new(),
            charges: BTreeMap::new(),
            next_token: 1,
        }
    }

    /// New quotas for what is asked from now on; nobody loses what is held.
    pub fn set_quotas(&mut self, quotas: Quotas) {
        self.quotas = quotas;
    }

    /// While draining every charge is denied.
    pub fn set_draining(&mut self, draining: bool) {
        self.draining = draining;
    }

    /// Allocations charged now.
    pub fn total(&self) -> usize {
        self.charges.len()
    }

    /// Charges one allocation to `user` and `source`.
    pub fn charge(&mut self, user: &str, source: IpAddr) -> Result<Charge, Denied> {
        let source = network(source);
        if self.draining {
            return Err(Denied::Draining);
        }
        if self.charges.len() >= self.quotas.total {
            return Err(Denied::TotalQuota);
        }
        if self.users.get(user).copied().unwrap_or(0) >= self.quotas.per_user {
            return Err(Denied::UserQuota);
        }
        if self.sources.get(&source).copied().unwrap_or(0) >= self.quotas.per_source {
            return Err(Denied::SourceQuota);
        }
        match self.users.get_mut(user) {
            Some(held) => *held += 1,
            None => {
                self.users.insert(user.into(), 1);
            }
        }
        *self.sources.entry(source).or_insert(0) += 1;
        let token = self.next_token;
        self.next_token += 1;
        self.charges.insert(token, (user.into(), source));
        Ok(Charge::new(token))
    }

    /// Moves a charge to `source`; it stays where it is if there is no place. One that this ledger
    /// did not make changes nothing.
    pub fn transfer(&mut self, charge: &Charge, source: IpAddr) -> Result<(), Denied> {
        let source = network(source);
        let Some((_, held_by)) = self.charges.get_mut(&charge.token()) else {
            debug_assert!(false, "{charge:?} is not of this ledger");
            return Ok(());
        };
        if *held_by == source {
            return Ok(());
        }
        if self.sources.get(&source).copied().unwrap_or(0) >= self.quotas.per_source {
            return Err(Denied::SourceQuota);
        }
        let left = std::mem::replace(held_by, source);
        decrement(&mut self.sources, &left);
        *self.sources.entry(source).or_insert(0) += 1;
        Ok(())
    }

    /// Takes a charge back. One that this ledger did not make changes nothing.
    #[expect(clippy::needless_pass_by_value, reason = "a charge is spent here")]
    pub fn release(&mut self, charge: Charge) {
        let Some((user, source)) = self.charges.remove(&charge.token()) else {
            debug_assert!(false, "{charge:?} is not of this ledger");
            return;
        };
        decrement(&mut self.users, user.as_ref());
        decrement(&mut self.sources, &source);
    }
}

fn decrement<K, Q>(held: &mut BTreeMap<K, u32>, key: &Q)
where
    K: Ord + std::borrow::Borrow<Q>,
    Q: Ord + ?Sized,
{
    if let Some(count) = held.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            held.remove(key);
        }
    }
}

/// What one subscriber usually has: an IPv4 address, an IPv6 /64.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !(u128::MAX >> 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const QUOTAS: Quotas = Quotas {
        total: 6,
        per_user: 2,
        per_source: 3,
    };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_charge_moves_within_the_source_quota_even_while_draining() {
        let mut ledger = Ledger::new(QUOTAS);
        let (here, there) = (ip("192.0.2.1"), ip("192.0.2.2"));
        let charge = |ledger: &mut Ledger, user, source| ledger.charge(user, source).unwrap();
        let moving = charge(&mut ledger, "a", here);
        let mut held = vec![charge(&mut ledger, "b", there)];
        ledger.set_draining(true);
        assert_eq!(ledger.transfer(&moving, there), Ok(()));
        ledger.set_draining(false);
        held.push(charge(&mut ledger, "c", there));
        let last = charge(&mut ledger, "d", here);
        assert_eq!(ledger.transfer(&last, there), Err(Denied::SourceQuota));
        // Within its network there is nothing to move.
        assert_eq!(ledger.transfer(&moving, there), Ok(()));
        assert_eq!(ledger.sources.get(&there), Some(&3));
        assert_eq!(ledger.sources.get(&here), Some(&1));
        held.extend([moving, last]);
        for charge in held {
            ledger.release(charge);
        }
        assert!(ledger.users.is_empty() && ledger.sources.is_empty());
    }

    #[test]
    fn each_quota_denies_by_its_name() {
        let mut ledger = Ledger::new(QUOTAS);
        let mut held = Vec::new();
        for (user, source) in [
            ("a", "192.0.2.1"),
            ("a", "192.0.2.2"),
            ("b", "192.0.2.1"),
            ("c", "192.0.2.1"),
        ] {
            held.push(ledger.charge(user, ip(source)).unwrap());
        }
        assert_eq!(ledger.charge("a", ip("192.0.2.9")), Err(Denied::UserQuota));
        assert_eq!(
            ledger.charge("d", ip("192.0.2.1")),
            Err(Denied::SourceQuota)
        );
        held.push(ledger.charge("d", ip("2001:db8::1")).unwrap());
        held.push(ledger.charge("d", ip("2001:db8::2")).unwrap());
        assert_eq!(ledger.charge("e", ip("192.0.2.9")), Err(Denied::TotalQuota));
        ledger.release(held.remove(0));
        held.push(ledger.charge("a", ip("2001:db8::3")).unwrap());
        ledger.release(held.remove(0));
        // Three from one /64 by now.
        assert_eq!(
            ledger.charge("e", ip("2001:db8::4")),
            Err(Denied::SourceQuota)
        );
        ledger.set_draining(true);
        assert_eq!(ledger.charge("e", ip("192.0.2.9")), Err(Denied::Draining));
        for charge in held {
            ledger.release(charge);
        }
        assert!(ledger.users.is_empty() && ledger.sources.is_empty() && ledger.total() == 0);
    }

    proptest! {
        /// Against counting the held charges one by one.
        #[test]
        fn agrees_with_counting(steps in prop::collection::vec((0_u8..3, 0_u8..4, 0_u8..4, 0_u8..4), 0..200)) {
            let mut ledger = Ledger::new(QUOTAS);
            let mut held: Vec<(u8, u8, Charge)> = Vec::new();
            for (what, user, source, other) in steps {
                let at = held.iter().position(|(u, s, _)| (*u, *s) == (user, source));
                if what == 0 {
                    if let Some(at) = at {
                        ledger.release(held.swap_remove(at).2);
                    }
                } else if what == 1 {
                    if let Some(at) = at {
                        let there = held.iter().filter(|(_, s, _)| *s == other).count();
                        let expected = other == source || there < 3;
                        let answer = ledger.transfer(&held[at].2, IpAddr::from([192, 0, 2, other]));
                        prop_assert_eq!(answer.is_ok(), expected);
                        if answer.is_ok() {
                            held[at].1 = other;
                        }
                    }
                } else {
                    let of_user = held.iter().filter(|(u, _, _)| *u == user).count();
                    let of_source = held.iter().filter(|(_, s, _)| *s == source).count();
                    let expected = held.len() < 6 && of_user < 2 && of_source < 3;
                    let answer = ledger.charge(&user.to_string(), IpAddr::from([192, 0, 2, source]));
                    prop_assert_eq!(answer.is_ok(), expected);
                    if let Ok(charge) = answer {
                        held.push((user, source, charge));
                    }
                }
                prop_assert_eq!(ledger.total(), held.len());
                let sources: u32 = ledger.sources.values().sum();
                prop_assert_eq!(sources as usize, held.len());
            }
        }
    }
}
