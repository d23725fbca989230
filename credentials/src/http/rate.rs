//! How often a key may ask: one token bucket per API key.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::{ApiKey, limits};
use crate::UnixTime;

/// Whole requests left, and when that was so.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: u32,
    at: UnixTime,
}

/// The buckets of all keys that asked. Only known keys get one, so configuration bounds them;
/// all are forgotten when reloads have brought more than [`limits::API_KEYS`].
#[derive(Debug, Default)]
pub(super) struct Buckets(Mutex<BTreeMap<String, Bucket>>);

impl Buckets {
    /// Takes one request from a key's bucket; `false` when it is empty.
    pub(super) fn take(&self, key: &ApiKey, now: UnixTime) -> bool {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = Bucket {
            left: key.rate.burst.max(1),
            at: now,
        };
        if !buckets.contains_key(&key.id) && buckets.len() >= limits::API_KEYS {
            // Reloads exchanged that many keys; beginning anew is cheaper than knowing which.
            buckets.clear();
        }
        let bucket = buckets.entry(key.id.clone()).or_insert(full);
        let seconds = now.seconds_since(bucket.at);
        let new = seconds.saturating_mul(u64::from(key.rate.per_second.max(1)));
        let left = u64::from(bucket.left)
            .saturating_add(new)
            .min(u64::from(full.left));
        // The clock may have stepped back: then nothing is new, and counting goes on from there.
        let left = u32::try_from(left).unwrap_or(full.left);
        *bucket = Bucket {
            left: left.saturating_sub(1),
            at: now,
        };
        left > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::RateLimit;
    use crate::{Secret, TtlPolicy};

    fn key(id: &str) -> ApiKey {
        ApiKey {
            id: id.to_owned(),
            secret: Secret::new(id.repeat(16).into_bytes()).expect("long enough"),
            ttl: TtlPolicy {
                min: 1,
                default: 1,
                max: 1,
            },
            rate: RateLimit {
                per_second: 2,
                burst: 3,
            },
        }
    }

    #[test]
    fn a_bucket_empties_and_refills_and_survives_the_clock() {
        let (buckets, key, other) = (Buckets::default(), key("a"), key("b"));
        let take = |times: usize, at: u64| {
            (0..times)
                .filter(|_| buckets.take(&key, UnixTime(at)))
                .count()
        };
        assert_eq!(take(5, 100), 3, "the burst");
        assert!(buckets.take(&other, UnixTime(100)), "each key has its own");
        assert_eq!(take(5, 101), 2, "one second later");
        assert_eq!(take(5, 90), 0, "the clock stepped back");
        assert_eq!(take(5, 91), 2, "and goes on");
        assert_eq!(take(5, u64::MAX), 3, "never more than the burst");
    }

    #[test]
    fn buckets_of_keys_long_gone_are_swept() {
        let buckets = Buckets::default();
        for number in 0..limits::API_KEYS {
            assert!(buckets.take(&key(&number.to_string()), UnixTime(1)));
        }
        assert!(buckets.take(&key("new"), UnixTime(2)));
        assert_eq!(buckets.0.lock().expect("not poisoned").len(), 1);
    }
}
