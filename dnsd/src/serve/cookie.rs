//! DNS cookies (RFC 7873), made as RFC 9018 says so that every nameserver of the fleet knows them:
//! who shows one has been where it says it is.

use std::fmt;
use std::hash::Hasher as _;
use std::net::IpAddr;

use credentials::{SecretRing, UnixTime};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use siphasher::sip::SipHasher24;
use siphasher::sip128::{Hasher128 as _, SipHasher24 as SipHasher128};
use zeroize::Zeroizing;

use crate::metrics::Cookie;

/// Length of a client cookie (RFC 7873 section 4.1).
const CLIENT: usize = 8;
/// Length of a server cookie of ours (RFC 9018 section 4).
pub(super) const SERVER: usize = 16;
/// How an option begins that shows a cookie of ours, by its code and length, and how long it is with
/// these four bytes.
pub(super) const HEAD: [u8; 4] = [0, 10, 0, (CLIENT + SERVER) as u8];
pub(super) const OPTION: usize = HEAD.len() + CLIENT + SERVER;
/// Lengths of what a client may show: its own, and a server cookie of 8 to 32 bytes behind it.
const SHOWN: std::ops::RangeInclusive<usize> = CLIENT + 8..=CLIENT + 32;
/// The version of the construction, and its reserved bytes as we send them (RFC 9018 section 4.2).
const VERSION: [u8; 4] = [1, 0, 0, 0];
/// How old a cookie may be, and how far ahead of this clock, in seconds (RFC 9018 section 4.3).
const OLDEST: u32 = 3600;
const NEWEST: u32 = 300;
/// How long one secret makes cookies, in seconds: it is said by the cookie's own time, so that all
/// nameservers change it at one moment and nobody has to tell them.
const EPOCH: u32 = 24 * 3600;

/// What the COOKIE option of a query says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Of a length that cannot be: FORMERR (RFC 7873 section 5.2.2).
    Malformed,
    /// The client's own only, or beside it one that was not made here, or not lately.
    Client([u8; CLIENT]),
    /// A good one: this address has been answered before.
    Good([u8; CLIENT]),
}

impl From<Option<Shown>> for Cookie {
    fn from(shown: Option<Shown>) -> Self {
        match shown {
            None => Self::None,
            Some(Shown::Good(_)) => Self::Good,
            Some(Shown::Client(_) | Shown::Malformed) => Self::Client,
        }
    }
}

/// The keys that cookies' secrets are drawn from: the current one makes and all judge.
#[derive(Clone)]
pub struct Cookies(Vec<Zeroizing<[u8; 16]>>);

impl fmt::Debug for Cookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookies(..)")
    }
}

impl Cookies {
    /// The keys that belong to the fleet's shared secrets, of each
    /// `HMAC-SHA256(secret, "turnfleet dns cookie key 1")`, the first half.
    pub fn derive(secrets: &SecretRing) -> Self {
        let key = |secret: &credentials::Secret| {
            let mac = Hmac::<Sha256>::new_from_slice(secret.expose());
            // HMAC takes keys of every length (RFC 2104, 2).
            let mac = mac
                .expect("any key length")
                .chain_update(b"turnfleet dns cookie key 1");
            let mut key = Zeroizing::new([0; 16]);
            key.copy_from_slice(&mac.finalize().into_bytes()[..16]);
            key
        };
        Self(secrets.iter().map(key).collect())
    }

    /// Judges the content of a COOKIE option.
    pub(super) fn judge(&self, option: &[u8], client: IpAddr, now: UnixTime) -> Shown {
        let Some((own, server)) = option.split_first_chunk::<CLIENT>() else {
            return Shown::Malformed;
        };
        if server.is_empty() {
            return Shown::Client(*own);
        }
        if !SHOWN.contains(&option.len()) {
            return Shown::Malformed;
        }
        if self.made(*own, server, client, now) {
            Shown::Good(*own)
        } else {
            Shown::Client(*own)
        }
    }

    /// Whether a message ends with a cookie that looks like one of ours and is not good. It costs
    /// little: nothing else of the message is read.
    pub(super) fn refute(&self, message: &[u8], client: IpAddr, now: UnixTime) -> bool {
        let shown = message.last_chunk::<OPTION>();
        let shown = shown.and_then(|option| option.strip_prefix(&HEAD));
        shown.is_some_and(|shown| !matches!(self.judge(shown, client, now), Shown::Good(_)))
    }

    /// The server cookie for a client, as of now.
    pub(super) fn make(&self, own: [u8; CLIENT], client: IpAddr, now: UnixTime) -> [u8; SERVER] {
        let time = now.0 as u32;
        let mut cookie = [0; SERVER];
        cookie[..4].copy_from_slice(&VERSION);
        cookie[4..8].copy_from_slice(&time.to_be_bytes());
        let secret = self.0.first().map(|key| secret(key, time));
        let hash = hash(&secret.unwrap_or_default(), own, &cookie[..8], client);
        cookie[8..].copy_from_slice(&hash);
        cookie
    }

    /// Whether it was made for this client by whoever knows the keys, and lately.
    fn made(&self, own: [u8; CLIENT], server: &[u8], client: IpAddr, now: UnixTime) -> bool {
        let Ok(server) = <[u8; SERVER]>::try_from(server) else {
            return false;
        };
        let [version, _, _, _, t0, t1, t2, t3, ..] = server;
        let time = u32::from_be_bytes([t0, t1, t2, t3]);
        // RFC 9018 section 4.3: in serial number arithmetic.
        let age = (now.0 as u32).wrapping_sub(time).cast_signed();
        let lately = age <= OLDEST.cast_signed() && age >= -NEWEST.cast_signed();
        let by = |key: &Zeroizing<[u8; 16]>| {
            let hash = hash(&secret(key, time), own, &server[..8], client);
            subtle::ConstantTimeEq::ct_eq(&hash[..], &server[8..]).into()
        };
        version == VERSION[0] && lately && self.0.iter().any(by)
    }
}

/// The secret that a key gives for the epoch a time lies in.
fn secret(key: &[u8; 16], time: u32) -> [u8; 16] {
    let mut hasher = SipHasher128::new_with_key(key);
    hasher.write(&(time / EPOCH).to_be_bytes());
    hasher.finish128().as_bytes()
}

/// The hash of RFC 9018 section 4.4: over the client cookie, the first eight bytes of the server
/// cookie, and the client's address.
fn hash(secret: &[u8; 16], own: [u8; CLIENT], head: &[u8], client: IpAddr) -> [u8; 8] {
    let mut hasher = SipHasher24::new_with_key(secret);
    hasher.write(&own);
    hasher.write(head);
    match client {
        IpAddr::V4(v4) => hasher.write(&v4.octets()),
        IpAddr::V6(v6) => hasher.write(&v6.octets()),
    }
    hasher.finish().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use credentials::Secret;

    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes());
        bytes.expect("hex").try_into().expect("the length")
    }

    /// RFC 9018 appendix A: secret, client, its cookie, the server cookie's first half and hash.
    #[test]
    fn the_vectors_of_the_rfc() {
        for (secret, client, own, cookie) in [
            (
                "e5e973e5a6b2a43f48e7dc849e37bfcf",
                "198.51.100.100",
                "2464c4abcf10c957",
                "010000005cf79f111f8130c3eee29480",
            ),
            (
                "e5e973e5a6b2a43f48e7dc849e37bfcf",
                "198.51.100.100",
                "2464c4abcf10c957",
                "010000005cf7a871d4a564a1442aca77",
            ),
            (
                "e5e973e5a6b2a43f48e7dc849e37bfcf",
                "203.0.113.203",
                "fc93fc62807ddb86",
                "01abcdef5cf78f71a314227b6679ebf5",
            ),
            (
                "e5e973e5a6b2a43f48e7dc849e37bfcf",
                "203.0.113.203",
                "fc93fc62807ddb86",
                "010000005cf7a9acf73a7810aca2381e",
            ),
            (
                "dd3bdf9344b678b185a6f5cb60fca715",
                "2001:db8:220:1:59de:d0f4:8769:82b8",
                "22681ab97d52c298",
                "010000005cf7c57926556bd0934c72f8",
            ),
            (
                "445536bcd2513298075a5d379663c962",
                "2001:db8:220:1:59de:d0f4:8769:82b8",
                "22681ab97d52c298",
                "010000005cf7c609a6bb79d16625507a",
            ),
        ] {
            let cookie: [u8; SERVER] = bytes(cookie);
            let client = client.parse().expect("an address");
            let hash = hash(&bytes(secret), bytes(own), &cookie[..8], client);
            assert_eq!(hash, cookie[8..]);
        }
    }

    const NOW: UnixTime = UnixTime(1_800_000_000);
    const OWN: [u8; CLIENT] = *b"a client";

    fn cookies(secrets: &[&str]) -> Cookies {
        let secret = |text: &&str| Secret::new(text.as_bytes().to_vec()).expect("long enough");
        let (current, previous) = secrets.split_first().expect("one");
        let ring = SecretRing::new(secret(current), previous.iter().map(secret).collect());
        Cookies::derive(&ring.expect("short"))
    }

    fn shown(by: &Cookies, made_at: UnixTime, client: IpAddr) -> Vec<u8> {
        [&OWN[..], &by.make(OWN, client, made_at)].concat()
    }

    #[test]
    fn a_cookie_is_good_for_an_hour_and_its_client_on_every_nameserver() {
        let (one, other) = (
            cookies(&["a secret of the fleet"]),
            cookies(&["a secret of the fleet"]),
        );
        let client = IpAddr::from([192, 0, 2, 1]);
        let good = |at: u64, now: u64, from| {
            let shown = shown(&one, UnixTime(at), client);
            other.judge(&shown, from, UnixTime(now)) == Shown::Good(OWN)
        };
        let at = NOW.0;
        assert!(good(at, at, client) && good(at, at + 3600, client));
        assert!(!good(at, at + 3601, client));
        assert!(good(at, at - 300, client) && !good(at, at - 301, client));
        assert!(!good(at, at, IpAddr::from([192, 0, 2, 2])));
        // Over the change of the day's secret, and of the century's seconds.
        let midnight = at - at % u64::from(EPOCH);
        assert!(good(midnight - 1, midnight + 1, client));
        assert!(good((1 << 32) - 1, (1 << 32) + 1, client));
    }

    #[test]
    fn only_what_ends_with_a_wrong_cookie_is_refuted() {
        let all = cookies(&["a secret of the fleet"]);
        let client = IpAddr::from([192, 0, 2, 1]);
        let good = [b"a query", &HEAD[..], &shown(&all, NOW, client)].concat();
        let refuted = |message: &[u8], from| all.refute(message, from, NOW);
        assert!(!refuted(&good, client));
        assert!(refuted(&good, IpAddr::from([192, 0, 2, 2])));
        for bit in (good.len() - CLIENT - SERVER) * 8..good.len() * 8 {
            let mut wrong = good.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(refuted(&wrong, client), "{bit}");
        }
        // No such cookie, or not at the end: nothing is said of it.
        let other = IpAddr::from([192, 0, 2, 2]);
        assert!(!refuted(&good[..good.len() - 1], other));
        assert!(!refuted(&[&good[..], &[0]].concat(), other));
        assert!(!refuted(&good[8..], other) && !refuted(&[], other));
    }

    #[test]
    fn secrets_change_with_the_day_and_with_the_fleets() {
        let client = IpAddr::from([192, 0, 2, 1]);
        let cookies_of =
            |at: u64| cookies(&["a secret of the fleet"]).make(OWN, client, UnixTime(at));
        let key = [7; 16];
        assert_eq!(secret(&key, 0), secret(&key, EPOCH - 1));
        assert_ne!(secret(&key, 0), secret(&key, EPOCH));
        assert_eq!(cookies_of(NOW.0)[..4], VERSION);
        let old = cookies(&["a secret of the fleet"]);
        let new = cookies(&["the next secret of it", "a secret of the fleet"]);
        let alien = cookies(&["another secret than it"]);
        let is_good = |by: &Cookies, of: &Cookies| {
            by.judge(&shown(of, NOW, client), client, NOW) == Shown::Good(OWN)
        };
        assert!(is_good(&new, &old) && is_good(&new, &new) && is_good(&old, &old));
        assert!(!is_good(&old, &new) && !is_good(&alien, &old));
    }

    #[test]
    fn lengths_are_those_of_the_rfc_and_every_bit_counts() {
        let all = cookies(&["a secret of the fleet"]);
        let client = IpAddr::from([192, 0, 2, 1]);
        for length in 0..=48 {
            let shown = all.judge(&vec![1; length], client, NOW);
            let malformed = !matches!(length, 8 | 16..=40);
            assert_eq!(shown == Shown::Malformed, malformed, "{length}");
        }
        let good = shown(&all, NOW, client);
        for bit in 0..good.len() * 8 {
            let mut wrong = good.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            let own = wrong[..8].try_into().expect("eight");
            assert_eq!(all.judge(&wrong, client, NOW), Shown::Client(own), "{bit}");
        }
    }
}
