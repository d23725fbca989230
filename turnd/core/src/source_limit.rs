//! How many replies strangers get: token buckets per source prefix in a table that never grows.
//!
//! Whoever has not proved an address by returning a nonce may be lying about it, and the reply
//! goes to somebody else. Each reply needs a token of the address (IPv4 /32, IPv6 /64) and one of
//! its network (/24, /48). Where two prefixes meet in the table, the newcomer takes an entry that
//! has been idle long enough to be full anyway, else it shares: a flood from very many sources
//! costs strangers replies, never memory, and never those who hold a nonce.

use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use foldhash::fast::FixedState;

use crate::limits::{Limits, SOURCE_TABLE};

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// High half of the prefix's hash; 0 in a bucket nobody used.
    tag: u32,
    /// Milliseconds since the table was made, when `tokens` was right.
    at: u32,
    /// Thousandths of a token.
    tokens: u32,
}

/// Tokens of sources that proved nothing.
#[derive(Debug)]
pub(crate) struct SourceLimit {
    addresses: Table,
    networks: Table,
    /// Time zero; set by the first query.
    epoch: Option<Instant>,
}

impl SourceLimit {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            addresses: Table::new(seed, 32, 64),
            networks: Table::new(!seed, 24, 48),
            epoch: None,
        }
    }

    /// Entries, always twice [`SOURCE_TABLE`].
    pub(crate) fn len(&self) -> usize {
        self.addresses.buckets.len() + self.networks.buckets.len()
    }

    /// Takes a token for one reply to `source`; false when there is none.
    pub(crate) fn allow(&mut self, limits: &Limits, source: SocketAddr, now: Instant) -> bool {
        let epoch = *self.epoch.get_or_insert(now);
        // Wraps after 49 days; a bucket idle exactly that long merely counts as busy.
        let at = now.saturating_duration_since(epoch).as_millis() as u32;
        let source = source.ip().to_canonical();
        // Both are charged even if one refuses: a flood from one address weighs on its network.
        let of_address = self
            .addresses
            .take(limits.unverified_per_address, source, at);
        let of_network = self
            .networks
            .take(limits.unverified_per_network, source, at);
        of_address && of_network
    }
}

/// Buckets of prefixes of one length.
#[derive(Debug)]
struct Table {
    buckets: Box<[Bucket]>,
    hasher: FixedState,
    v4_bits: u32,
    v6_bits: u32,
}

impl Table {
    fn new(seed: u64, v4_bits: u32, v6_bits: u32) -> Self {
        Self {
            buckets: vec![Bucket::default(); SOURCE_TABLE].into_boxed_slice(),
            hasher: FixedState::with_seed(seed),
            v4_bits,
            v6_bits,
        }
    }

    fn take(&mut self, rate: u32, source: IpAddr, at: u32) -> bool {
        if rate == 0 {
            return true;
        }
        let full = rate.saturating_mul(2_000);
        let bucket = self.bucket(source, rate, full, at);
        bucket.tokens = bucket.refilled(rate, full, at);
        bucket.at = at;
        let granted = bucket.tokens >= 1_000;
        if granted {
            bucket.tokens -= 1_000;
        }
        granted
    }

    /// The bucket of a prefix: its own, or one that can be taken over, or a shared one.
    fn bucket(&mut self, source: IpAddr, rate: u32, full: u32, at: u32) -> &mut Bucket {
        let mut hasher = self.hasher.build_hasher();
        match source {
            IpAddr::V4(v4) => hasher.write_u32(v4.to_bits() >> (32 - self.v4_bits)),
            IpAddr::V6(v6) => hasher.write_u128(v6.to_bits() >> (128 - self.v6_bits)),
        }
        let hash = hasher.finish();
        let tag = (hash >> 32) as u32 | 1;
        let mask = self.buckets.len() - 1;
        let places = [hash as usize & mask, (hash >> 16) as usize & mask];
        let idle = |p: &usize| {
            let bucket = self.buckets[*p];
            bucket.tag == 0 || bucket.refilled(rate, full, at) >= full
        };
        if let Some(own) = places.into_iter().find(|p| self.buckets[*p].tag == tag) {
            return &mut self.buckets[own];
        }
        let Some(free) = places.into_iter().find(idle) else {
            return &mut self.buckets[places[0]];
        };
        let tokens = full;
        self.buckets[free] = Bucket { tag, at, tokens };
        &mut self.buckets[free]
    }
}

impl Bucket {
    fn refilled(self, rate: u32, full: u32, at: u32) -> u32 {
        // Thousandths per second are ones per millisecond.
        let earned = at.wrapping_sub(self.at).saturating_mul(rate);
        self.tokens.saturating_add(earned).min(full)
    }
}

const _: () = assert!(SOURCE_TABLE.is_power_of_two());

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an arbitrary beginning of time")]
mod tests {
    use super::*;
    use std::time::Duration;

    fn limits(address: u32, network: u32) -> Limits {
        Limits {
            unverified_per_address: address,
            unverified_per_network: network,
            ..Limits::default()
        }
    }

    fn source(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_burst_then_the_rate_and_a_neighbour_is_not_touched() {
        let start = Instant::now();
        let mut table = SourceLimit::new(1);
        let limits = limits(10, 1000);
        let (one, other) = (source("192.0.2.1:1"), source("192.0.2.2:1"));
        let granted = |table: &mut SourceLimit, who, at| {
            (0..100).filter(|_| table.allow(&limits, who, at)).count()
        };
        assert_eq!(granted(&mut table, one, start), 20);
        // Another port is the same source.
        assert_eq!(granted(&mut table, source("192.0.2.1:2"), start), 0);
        assert_eq!(granted(&mut table, other, start), 20);
        let later = start + Duration::from_secs(1);
        assert_eq!(granted(&mut table, one, later), 10);
        assert_eq!(
            granted(&mut table, one, start + Duration::from_hours(1)),
            20
        );
    }

    #[test]
    fn a_network_has_its_own_limit() {
        let start = Instant::now();
        let mut table = SourceLimit::new(1);
        let limits = limits(10, 30);
        let mut granted = 0;
        for host in 0..=255 {
            let one = SocketAddr::from(([192, 0, 2, host], 1));
            granted += (0..20).filter(|_| table.allow(&limits, one, start)).count();
        }
        assert_eq!(granted, 60);
        let six = |host: u16| SocketAddr::from(([0x2001, 0xdb8, 1, host, 0, 0, 0, 1], 1));
        let granted = (0..500)
            .filter(|h| table.allow(&limits, six(*h), start))
            .count();
        assert_eq!(granted, 60);
    }

    #[test]
    fn the_table_never_grows_and_recovers_from_a_flood() {
        let start = Instant::now();
        let mut table = SourceLimit::new(7);
        let limits = limits(100, 400);
        for n in 0..100_000_u32 {
            let flood = SocketAddr::from((n.wrapping_mul(2_654_435_761).to_be_bytes(), 1));
            let _ = table.allow(&limits, flood, start);
        }
        assert_eq!(table.len(), 2 * SOURCE_TABLE);
        let later = start + Duration::from_secs(3);
        assert!(table.allow(&limits, source("198.51.100.1:1"), later));
    }
}
