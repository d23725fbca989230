//! How many connections there may be, in total and from one source, over all workers.
//!
//! Asked when a connection begins and ends, never for a message.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;

use super::counters::Refused;

/// Who is counted as one: an IPv4 address, or an IPv6 /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source(IpAddr);

impl Source {
    /// The source that `address` counts for.
    pub fn of(address: IpAddr) -> Self {
        Self(match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        })
    }
}

/// The most of each, and who may speak for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Connections in total.
    pub total: u32,
    /// Connections of one source.
    pub per_source: u32,
    /// Where proxies are, which say first whom they speak for.
    pub proxies: Vec<IpNet>,
}

#[derive(Debug)]
struct Counts {
    policy: Policy,
    total: u32,
    sources: HashMap<Source, u32>,
}

/// The ledger of connections, shared by all workers.
#[derive(Debug, Clone)]
pub struct Caps(Arc<Mutex<Counts>>);

/// The right to one connection; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    caps: Caps,
    source: Option<Source>,
}

impl Caps {
    /// At most so many at a time.
    pub fn new(policy: Policy) -> Self {
        Self(Arc::new(Mutex::new(Counts {
            policy,
            total: 0,
            sources: HashMap::new(),
        })))
    }

    /// Another policy for what is asked from now on.
    pub fn exchange(&self, policy: Policy) {
        self.lock().policy = policy;
    }

    /// The most connections in total.
    pub fn total(&self) -> u32 {
        self.lock().policy.total
    }

    /// Whether a proxy is there, which says first whom it speaks for.
    pub fn is_proxy(&self, address: IpAddr) -> bool {
        let counts = self.lock();
        counts
            .policy
            .proxies
            .iter()
            .any(|net| net.contains(&address))
    }

    /// One more connection, whose source is known with [`Permit::charge`].
    pub fn take(&self) -> Result<Permit, Refused> {
        let mut counts = self.lock();
        if counts.total >= counts.policy.total {
            return Err(Refused::Total);
        }
        counts.total += 1;
        Ok(Permit {
            caps: self.clone(),
            source: None,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Counts the connection for `source` from now on.
    pub fn charge(&mut self, source: Source) -> Result<(), Refused> {
        let mut counts = self.caps.lock();
        let most = counts.policy.per_source;
        let count = counts.sources.get(&source).copied().unwrap_or_default();
        if count >= most {
            return Err(Refused::Source);
        }
        counts.sources.insert(source, count + 1);
        drop(counts);
        self.source = Some(source);
        Ok(())
    }

    /// Whom the connection is counted for.
    pub fn source(&self) -> Option<Source> {
        self.source
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.caps.lock();
        counts.total -= 1;
        if let Some(source) = self.source
            && let Some(count) = counts.sources.get_mut(&source)
        {
            *count -= 1;
            if *count == 0 {
                counts.sources.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::of(text.parse().expect("an address"))
    }

    #[test]
    fn a_source_is_an_address_or_half_of_one() {
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1:2:3"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
    }

    #[test]
    fn what_ends_makes_room_and_leaves_nothing() {
        let caps = Caps::new(Policy {
            total: 3,
            per_source: 2,
            proxies: Vec::new(),
        });
        let connect = |from| {
            let mut permit = caps.take()?;
            permit.charge(source(from))?;
            Ok(permit)
        };
        let first = connect("192.0.2.1").expect("one");
        let second = connect("192.0.2.1").expect("two");
        assert_eq!(connect("192.0.2.1").err(), Some(Refused::Source));
        let third = connect("192.0.2.2").expect("the refused one holds nothing");
        assert_eq!(connect("192.0.2.3").err(), Some(Refused::Total));
        drop(first);
        let again = connect("192.0.2.1").expect("there is room again");
        drop((second, third, again));
        let counts = caps.lock();
        assert!(counts.total == 0 && counts.sources.is_empty());
    }

    #[test]
    fn lower_limits_end_nothing() {
        let most = |total| Policy {
            total,
            per_source: 9,
            proxies: Vec::new(),
        };
        let caps = Caps::new(most(2));
        let _held = [caps.take().expect("one"), caps.take().expect("two")];
        caps.exchange(most(1));
        assert_eq!(caps.take().err(), Some(Refused::Total));
        caps.exchange(most(3));
        assert!(caps.take().is_ok());
    }
}
