//! How many bytes strangers get: token buckets per source prefix in a table that never grows.
//!
//! Whoever has not proved an address by returning a nonce may be lying about it, and the reply
//! goes to somebody else. So an address (IPv4 /32, IPv6 /64), and likewise its network (/24, /48),
//! is sent no more than a burst, seven eighths of what came from there, and a little that time
//! brings. In the long run a liar reaches a victim with less than by writing to it directly, and
//! whoever asks once a second is answered. Where two prefixes meet in the table, the newcomer
//! takes an entry that has been idle long enough to be full anyway, else it shares: a flood from
//! very many sources costs strangers replies, never memory, and never those who hold a nonce.
//!
//! Whoever then makes an allocation with the nonce of such a challenge has shown that it reached
//! them: it was no stranger's flood, and what it cost is given back, so that any number of honest
//! clients log in one after the other from behind one address. It gives a liar nothing:
//!
//! * A nonce is good for one address and port. Who does not read what is sent there has none, and
//!   gets nothing back.
//! * A nonce is good for an hour, so one client could make allocations with it again and again. Each
//!   earns at most the size of one challenge and never more than its request has. So all that goes
//!   out to strangers of an address or network stays below a burst, what time brings, seven eighths
//!   of what strangers sent from there, and what those with a credential did: still less than by
//!   writing to the victim directly, and only from its own network. Replayed and refused requests
//!   earn nothing.
//! * No bucket is ever more than full, so nothing can be saved up beyond one burst.

use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use foldhash::fast::FixedState;

use crate::limits::{Allowance, Limits, SOURCE_TABLE};

/// Thousandths of a byte, the unit of buckets, that each byte received earns.
const EARNED: u32 = 875;

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// High half of the prefix's hash; 0 in a bucket nobody used.
    tag: u32,
    /// Milliseconds since the table was made, when `spent` was right.
    at: u32,
    /// Thousandths of a byte that were sent and not earned since: what lacks to a full burst,
    /// however large one is by now.
    spent: u32,
}

/// What sources that proved nothing may be sent.
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

    /// Whether `source` may be sent a reply of `reply` bytes to a request of `received`, both with
    /// all headers. If so, it is charged.
    pub(crate) fn allow(
        &mut self,
        limits: &Limits,
        source: SocketAddr,
        now: Instant,
        received: usize,
        reply: usize,
    ) -> bool {
        let price = thousandths(reply, 1000);
        let earned = thousandths(received, EARNED);
        let [address, network] = self.credit(limits, source, now, earned);
        // Nobody pays for a reply that is not sent: a flood from one address leaves its network
        // what the others of it need.
        let granted = address.holds(limits.unverified_per_address, price)
            && network.holds(limits.unverified_per_network, price);
        if granted {
            address.spent = address.spent.saturating_add(price);
            network.spent = network.spent.saturating_add(price);
        }
        granted
    }

    /// Gives back the `bytes` of a challenge that `source` has shown to have received, all headers
    /// included.
    pub(crate) fn give_back(
        &mut self,
        limits: &Limits,
        source: SocketAddr,
        now: Instant,
        bytes: usize,
    ) {
        self.credit(limits, source, now, thousandths(bytes, 1000));
    }

    /// The buckets of an address and its network, with what time and `earned` thousandths of a byte
    /// have brought.
    fn credit(
        &mut self,
        limits: &Limits,
        source: SocketAddr,
        now: Instant,
        earned: u32,
    ) -> [&mut Bucket; 2] {
        let epoch = *self.epoch.get_or_insert(now);
        // Wraps after 49 days; a bucket idle exactly that long merely counts as busy.
        let at = now.saturating_duration_since(epoch).as_millis() as u32;
        let source = source.ip().to_canonical();
        let (address, network) = (limits.unverified_per_address, limits.unverified_per_network);
        [
            self.addresses.credit(address, source, at, earned),
            self.networks.credit(network, source, at, earned),
        ]
    }
}

fn thousandths(bytes: usize, each: u32) -> u32 {
    u32::try_from(bytes)
        .unwrap_or(u32::MAX)
        .saturating_mul(each)
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

    /// The bucket of a prefix, with what time and `earned` thousandths have brought.
    fn credit(
        &mut self,
        allowance: Allowance,
        source: IpAddr,
        at: u32,
        earned: u32,
    ) -> &mut Bucket {
        let bucket = self.bucket(source, allowance, at);
        bucket.spent = bucket.lacks(allowance, at).saturating_sub(earned);
        bucket.at = at;
        bucket
    }

    /// The bucket of a prefix: its own, or one that can be taken over, or a shared one.
    fn bucket(&mut self, source: IpAddr, allowance: Allowance, at: u32) -> &mut Bucket {
        let mut hasher = self.hasher.build_hasher();
        match source {
            IpAddr::V4(v4) => hasher.write_u32(v4.to_bits() >> (32 - self.v4_bits)),
            IpAddr::V6(v6) => hasher.write_u128(v6.to_bits() >> (128 - self.v6_bits)),
        }
        let hash = hasher.finish();
        let tag = (hash >> 32) as u32 | 1;
        let mask = self.buckets.len() - 1;
        let places = [hash as usize & mask, (hash >> 16) as usize & mask];
        let is_idle = |p: &usize| self.buckets[*p].lacks(allowance, at) == 0;
        if let Some(own) = places.into_iter().find(|p| self.buckets[*p].tag == tag) {
            return &mut self.buckets[own];
        }
        let Some(free) = places.into_iter().find(is_idle) else {
            return &mut self.buckets[places[0]];
        };
        self.buckets[free] = Bucket { tag, at, spent: 0 };
        &mut self.buckets[free]
    }
}

impl Bucket {
    /// What lacks to a full burst at `at`.
    fn lacks(self, allowance: Allowance, at: u32) -> u32 {
        // Bytes per second are thousandths per millisecond.
        let passed = at.wrapping_sub(self.at);
        let earned = passed.saturating_mul(allowance.per_second);
        // The burst may have been larger before.
        self.spent.min(allowance.full()).saturating_sub(earned)
    }

    /// Whether `price` may still be spent.
    fn holds(self, allowance: Allowance, price: u32) -> bool {
        allowance.burst == 0 || price <= allowance.full().saturating_sub(self.spent)
    }
}

impl Allowance {
    fn full(self) -> u32 {
        self.burst.saturating_mul(1000)
    }
}

const _: () = assert!(SOURCE_TABLE.is_power_of_two());

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an arbitrary beginning of time")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn limits(address: Allowance, network: Allowance) -> Limits {
        Limits {
            unverified_per_address: address,
            unverified_per_network: network,
            ..Limits::default()
        }
    }

    const fn bytes(burst: u32, per_second: u32) -> Allowance {
        Allowance { burst, per_second }
    }

    fn source(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// How many replies of `reply` bytes are granted, at most a thousand.
    fn granted(
        table: &mut SourceLimit,
        limits: &Limits,
        who: SocketAddr,
        at: Instant,
        (received, reply): (usize, usize),
    ) -> usize {
        let mut ask = || table.allow(limits, who, at, received, reply);
        (0..1000).filter(|_| ask()).count()
    }

    #[test]
    fn a_burst_then_what_time_brings_and_a_neighbour_is_not_touched() {
        let start = Instant::now();
        let mut table = SourceLimit::new(1);
        let limits = limits(bytes(2000, 100), bytes(1_000_000, 0));
        let (one, other) = (source("192.0.2.1:1"), source("192.0.2.2:1"));
        // Requests of no size earn nothing.
        let size = (0, 100);
        assert_eq!(granted(&mut table, &limits, one, start, size), 20);
        // Another port is the same source.
        let port = source("192.0.2.1:2");
        assert_eq!(granted(&mut table, &limits, port, start, size), 0);
        assert_eq!(granted(&mut table, &limits, other, start, size), 20);
        let mapped = source("[::ffff:192.0.2.1]:1");
        let later = start + Duration::from_secs(3);
        assert_eq!(granted(&mut table, &limits, mapped, later, size), 3);
        let later = start + Duration::from_hours(1);
        assert_eq!(granted(&mut table, &limits, one, later, size), 20);
    }

    #[test]
    fn a_burst_of_zero_is_no_limit() {
        let start = Instant::now();
        let mut table = SourceLimit::new(1);
        let limits = limits(bytes(0, 0), bytes(0, 0));
        for _ in 0..100 {
            let one = source("192.0.2.1:1");
            let all = granted(&mut table, &limits, one, start, (0, 1500));
            assert_eq!(all, 1000);
        }
    }

    #[test]
    fn another_burst_holds_at_once() {
        let start = Instant::now();
        let mut table = SourceLimit::new(1);
        let limits = |burst| limits(bytes(burst, 0), bytes(1_000_000, 0));
        let (one, size) = (source("192.0.2.1:1"), (0, 100));
        for (burst, more) in [(2000, 20), (5000, 30), (1000, 0), (1500, 5), (0, 1000)] {
            let got = granted(&mut table, &limits(burst), one, start, size);
            assert_eq!(got, more, "with a burst of {burst}");
        }
    }

    #[test]
    fn seven_eighths_of_what_came_may_go() {
        let start = Instant::now();
        let mut table = SourceLimit::new(1);
        let limits = limits(bytes(1000, 0), bytes(1_000_000, 0));
        let one = source("192.0.2.1:1");
        // The burst is ten, and what the first request would earn does not fit in; of the others
        // seven in eight earn a reply of their own size.
        assert_eq!(granted(&mut table, &limits, one, start, (100, 100)), 884);
        assert_eq!(granted(&mut table, &limits, one, start, (100, 100)), 875);
        // Three times as large, a third as many.
        assert_eq!(granted(&mut table, &limits, one, start, (100, 300)), 291);
    }

    #[test]
    fn a_network_has_its_own_limit_and_one_address_does_not_use_it_up() {
        let start = Instant::now();
        let mut table = SourceLimit::new(1);
        let both = limits(bytes(2000, 0), bytes(6000, 0));
        let size = (0, 100);
        let mut sum = 0;
        for host in 0..=255 {
            let one = SocketAddr::from(([192, 0, 2, host], 1));
            sum += granted(&mut table, &both, one, start, size);
        }
        assert_eq!(sum, 60);
        let six = |host: u16| SocketAddr::from(([0x2001, 0xdb8, 1, host, 0, 0, 0, 1], 1));
        let sum: usize = (0..500)
            .map(|host| granted(&mut table, &both, six(host), start, size))
            .sum();
        assert_eq!(sum, 60);
        // A flood that is refused costs the neighbours nothing.
        let loud = source("198.51.100.1:1");
        for _ in 0..100 {
            granted(&mut table, &both, loud, start, (50, 100));
        }
        let quiet = source("198.51.100.2:1");
        assert_eq!(granted(&mut table, &both, quiet, start, size), 20);
    }

    #[test]
    fn what_is_given_back_can_be_sent_again_but_never_more_than_a_burst() {
        let start = Instant::now();
        let mut table = SourceLimit::new(1);
        let limits = limits(bytes(2000, 0), bytes(3000, 0));
        let (one, other) = (source("192.0.2.1:1"), source("192.0.2.2:1"));
        let size = (0, 100);
        assert_eq!(granted(&mut table, &limits, one, start, size), 20);
        for _ in 0..3 {
            table.give_back(&limits, one, start, 100);
        }
        assert_eq!(granted(&mut table, &limits, one, start, size), 3);
        assert_eq!(granted(&mut table, &limits, other, start, size), 10);
        for _ in 0..1000 {
            table.give_back(&limits, one, start, 100);
        }
        // The network's bucket is full as well, and no more than that.
        assert_eq!(granted(&mut table, &limits, one, start, size), 20);
        assert_eq!(granted(&mut table, &limits, other, start, size), 10);
    }

    #[test]
    fn the_table_never_grows_and_recovers_from_a_flood() {
        let start = Instant::now();
        let mut table = SourceLimit::new(7);
        let limits = limits(bytes(2000, 1000), bytes(8000, 4000));
        for n in 0..100_000_u32 {
            let flood = SocketAddr::from((n.wrapping_mul(2_654_435_761).to_be_bytes(), 1));
            let _ = table.allow(&limits, flood, start, 48, 60);
        }
        assert_eq!(table.len(), 2 * SOURCE_TABLE);
        let later = start + Duration::from_secs(3);
        let late = source("198.51.100.1:1");
        assert_eq!(granted(&mut table, &limits, late, later, (0, 100)), 20);
    }

    proptest! {
        /// Whatever comes from one source and whenever: what goes back is bounded by its sum.
        #[test]
        fn never_more_goes_out_than_was_earned(
            packets in prop::collection::vec(
                (0..300_u64, 28..200_usize, 28..600_usize, prop::bool::weighted(0.2)),
                1..200,
            ),
            neighbour: bool,
        ) {
            let limits = limits(bytes(2000, 100), bytes(20_000, 1000));
            let (mut at, mut received, mut given_back, mut sent) = (Instant::now(), 0, 0, 0);
            let start = at;
            let mut table = SourceLimit::new(3);
            for (gap, request, reply, proves) in packets {
                at += Duration::from_millis(gap);
                if proves {
                    table.give_back(&limits, source("192.0.2.1:1"), at, request);
                    given_back += request as u64;
                    continue;
                }
                if neighbour {
                    table.allow(&limits, source("192.0.2.2:1"), at, 1000, 30);
                }
                received += request as u64;
                if table.allow(&limits, source("192.0.2.1:1"), at, request, reply) {
                    sent += reply as u64;
                }
                let Allowance { burst, per_second } = limits.unverified_per_address;
                let time = at.duration_since(start).as_millis() as u64;
                let most = 1000 * (u64::from(burst) + given_back)
                    + 875 * received
                    + u64::from(per_second) * time;
                prop_assert!(1000 * sent <= most, "{sent} sent");
            }
        }

        /// One who asks once a second is answered every time, for hours, by time alone: also with
        /// the largest challenge, which is three times the smallest Allocate.
        #[test]
        fn one_request_a_second_is_always_answered(
            sizes in prop::collection::vec(28..=168_usize, 1..20),
        ) {
            let limits = Limits::default();
            let mut at = Instant::now();
            let mut table = SourceLimit::new(3);
            for second in 0..10_000 {
                let reply = sizes[second % sizes.len()];
                prop_assert!(table.allow(&limits, source("192.0.2.1:1"), at, 0, reply));
                at += Duration::from_secs(1);
            }
        }
    }
}
