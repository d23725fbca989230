//! How many responses a network gets that has not proved its address: what is asked in its name may
//! come from elsewhere, to have the responses flood it.
//!
//! One table of fixed size for all workers, without locks. A place holds a hash of the network and
//! the time at which its ration will be whole again (the generic cell rate algorithm). A network
//! that finds itself at neither of its two places takes the one that is nearer to being whole.

use std::hash::Hasher as _;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use siphasher::sip::SipHasher13;

use super::network;
use crate::clock;

/// Places of the table, half a megabyte.
const PLACES: usize = 1 << 16;
/// Ticks of the table's clock in a second. It goes round in 18 hours; a network that was silent for
/// just so long may wait two seconds once more.
const TICKS: u32 = 1 << 16;
/// The responses of so many ticks may leave at once.
const BURST: u32 = 2 * TICKS;

/// How much a network may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ration {
    /// Responses a second, up to 65,536; those of two seconds may leave at once. 0 is no limit.
    pub per_second: u32,
    /// Of so many responses that are withheld one leaves truncated, so that an honest client comes
    /// again over TCP; 0 is none.
    pub slip: u32,
}

/// What becomes of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// It leaves.
    Send,
    /// It leaves without its records, truncated.
    Truncate,
    /// It does not leave.
    Withhold,
}

/// The rations of all networks.
#[derive(Debug)]
pub struct Limiter {
    places: Box<[AtomicU64]>,
    key: [u8; 16],
    began: Instant,
    withheld: AtomicU64,
}

impl Limiter {
    /// An empty table, under a key that nobody knows: so nobody knows whose places are the same.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn start() -> io::Result<Self> {
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(io::Error::from)?;
        Ok(Self::new(key, clock::now()))
    }

    fn new(key: [u8; 16], now: Instant) -> Self {
        Self {
            places: (0..PLACES).map(|_| AtomicU64::new(0)).collect(),
            key,
            began: now,
            withheld: AtomicU64::new(0),
        }
    }

    /// Judges one response to a client.
    pub(super) fn judge(&self, ration: Ration, client: IpAddr, now: Instant) -> Ruling {
        if ration.per_second == 0 || self.admit(ration, client, now.duration_since(self.began)) {
            return Ruling::Send;
        }
        let turn = self.withheld.fetch_add(1, Ordering::Relaxed);
        match turn.checked_rem(u64::from(ration.slip)) {
            Some(0) => Ruling::Truncate,
            _ => Ruling::Withhold,
        }
    }

    fn admit(&self, ration: Ration, client: IpAddr, age: Duration) -> bool {
        let hash = self.hash(client);
        let tag = (hash >> 32) as u32;
        // Wraps, like everything here.
        let now = (age.as_nanos() * u128::from(TICKS) / 1_000_000_000) as u32;
        let cost = (TICKS / ration.per_second).max(1);
        let first = hash as usize % PLACES;
        let pair = [&self.places[first], &self.places[first ^ 1]];
        // How far a place is from being whole; what lies further ahead than a burst is from
        // another turn of the clock.
        let debt = |place: u64| {
            let ahead = (place as u32).wrapping_sub(now);
            if ahead > BURST + cost { 0 } else { ahead }
        };
        let seen = pair.map(|place| place.load(Ordering::Relaxed));
        let own = seen.iter().position(|place| (place >> 32) as u32 == tag);
        let (at, mut owed) = match own {
            Some(at) => (at, debt(seen[at])),
            None => (usize::from(debt(seen[1]) < debt(seen[0])), 0),
        };
        let mut old = seen[at];
        loop {
            if owed + cost > BURST {
                return false;
            }
            let new = u64::from(tag) << 32 | u64::from(now.wrapping_add(owed + cost));
            let swap =
                pair[at].compare_exchange_weak(old, new, Ordering::Relaxed, Ordering::Relaxed);
            match swap {
                Ok(_) => return true,
                Err(other) => old = other,
            }
            owed = if (old >> 32) as u32 == tag {
                debt(old)
            } else {
                0
            };
        }
    }

    fn hash(&self, client: IpAddr) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        match network(client) {
            IpAddr::V4(v4) => hasher.write(&v4.octets()),
            IpAddr::V6(v6) => hasher.write(&v6.octets()),
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATION: Ration = Ration {
        per_second: 100,
        slip: 2,
    };

    fn table() -> (Limiter, Instant) {
        let now = clock::now();
        (Limiter::new([7; 16], now), now)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// How many of so many responses leave, spread over a time.
    fn sent(table: &Limiter, client: &str, count: u32, from: Instant, over: Duration) -> u32 {
        let client = address(client);
        let leaves = |i: &u32| {
            let at = from + over * *i / count;
            table.judge(RATION, client, at) == Ruling::Send
        };
        (0..count).filter(leaves).count() as u32
    }

    #[test]
    fn a_network_gets_two_seconds_at_once_and_then_its_rate() {
        let (table, now) = table();
        assert_eq!(sent(&table, "192.0.2.1", 1000, now, Duration::ZERO), 200);
        // Its neighbours share what it has; others have their own.
        assert_eq!(sent(&table, "192.0.2.255", 10, now, Duration::ZERO), 0);
        assert_eq!(sent(&table, "192.0.3.1", 1000, now, Duration::ZERO), 200);
        let ten = sent(&table, "192.0.2.1", 5000, now, Duration::from_secs(10));
        assert!((998..=1002).contains(&ten), "{ten}");
        let later = now + Duration::from_secs(13);
        assert_eq!(sent(&table, "192.0.2.9", 1000, later, Duration::ZERO), 200);
    }

    #[test]
    fn half_of_what_is_withheld_sends_clients_to_tcp() {
        let (table, now) = table();
        let client = address("2001:db8:1:2::3");
        let rulings: Vec<_> = (0..300).map(|_| table.judge(RATION, client, now)).collect();
        let count = |ruling| rulings.iter().filter(|other| **other == ruling).count();
        assert_eq!(count(Ruling::Send), 200);
        assert_eq!(count(Ruling::Truncate), 50);
        let never = Ration { slip: 0, ..RATION };
        assert_eq!(table.judge(never, client, now), Ruling::Withhold);
        let none = Ration {
            per_second: 0,
            ..RATION
        };
        assert_eq!(table.judge(none, client, now), Ruling::Send);
    }

    #[test]
    fn the_clock_may_go_round() {
        let (table, now) = table();
        let round = Duration::from_secs(65_536);
        for turn in 0..3 {
            for seconds in [3, 30_000, 65_530] {
                let at = now + round * turn + Duration::from_secs(seconds);
                let all = sent(&table, "192.0.2.1", 1000, at, Duration::ZERO);
                assert_eq!(all, 200, "{turn} {seconds}");
            }
        }
    }

    #[test]
    fn many_networks_do_not_free_one_that_is_over_its_ration() {
        let (table, now) = table();
        assert_eq!(sent(&table, "192.0.2.1", 1000, now, Duration::ZERO), 200);
        let mut more = 0;
        for network in 0..20_000_u32 {
            let other = IpAddr::from((0x0a00_0000 + (network << 8)).to_be_bytes());
            let _ = table.judge(RATION, other, now);
            more += sent(&table, "192.0.2.1", 1, now, Duration::ZERO);
        }
        // It keeps its place, because the others of its two are nearer to being whole.
        assert_eq!(more, 0);
    }

    #[test]
    fn workers_share_a_ration() {
        let (table, now) = table();
        let all: u32 = std::thread::scope(|scope| {
            let one = || sent(&table, "192.0.2.1", 1000, now, Duration::ZERO);
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
            let joined = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
            joined.map(|sent| sent.expect("no panic")).sum()
        });
        assert_eq!(all, 200);
    }
}
