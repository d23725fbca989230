//! Stateless nonces: a time and a MAC over it and the client's address. Nothing is stored.
//!
//! ```text
//!   unix seconds, 4 bytes | HMAC-SHA256(key, label | seconds | client ip as v6 | port), 12 bytes
//! ```
//!
//! as 22 characters of unpadded base64url, which RFC 8489 section 14.10 allows in a quoted string,
//! behind the 13 characters of the nonce cookie (section 9.2). They say that this server offers
//! password algorithms: whoever hid the offer from a client would have to change the nonce, too.
//! Every relay of a fleet has the same keys, so a client sent from one to another (300) may go on
//! with the nonce it has.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use credentials::UnixTime;
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

const TIME: usize = 4;
const TAG: usize = 12;
const RAW: usize = TIME + TAG;

/// The nonce cookie: a constant, then the 24 security features in base64, counted from the left
/// (RFC 8489 sections 9.2 and 18.1). Bit 0, password algorithms, is set; bit 1, username
/// anonymity, is not, see [`crate::auth`].
const COOKIE: &[u8; 13] = b"obMatJos2gAAA";

/// Length of a nonce on the wire.
pub(crate) const NONCE_LEN: usize = COOKIE.len() + 22;

/// How far into the future another relay's clock may lie.
const SKEW: u64 = 60;

/// Separates this use of the key from any other.
const LABEL: &[u8] = b"turnfleet nonce 1";

/// A nonce key of 32 bytes; wiped when dropped, never printed.
#[derive(Clone)]
pub struct NonceKey(Hmac<Sha256>);

impl NonceKey {
    /// Takes the key.
    pub fn new(key: &[u8; 32]) -> Self {
        // HMAC pads its key to a block with zeros (RFC 2104 section 2); done here, nothing can fail.
        let mut block = Zeroizing::new([0; 64]);
        block[..key.len()].copy_from_slice(key);
        // The state after the key is absorbed; saves two blocks per nonce.
        Self(Hmac::new((&*block).into()).chain_update(LABEL))
    }

    /// Hides the worker in a reservation's token, and with it the slot in a mobility ticket. These
    /// differ in length, and have fewer bytes than any nonce, so that none is another.
    pub(crate) fn mask(&self, random: &[u8]) -> u64 {
        let mac = self.0.clone().chain_update(random).finalize().into_bytes();
        mac.first_chunk().copied().map_or(0, u64::from_be_bytes)
    }

    fn tag(&self, seconds: u32, client: SocketAddr) -> Hmac<Sha256> {
        let address = match client {
            SocketAddr::V4(v4) => v4.ip().to_ipv6_mapped(),
            SocketAddr::V6(v6) => *v6.ip(),
        };
        self.0
            .clone()
            .chain_update(seconds.to_be_bytes())
            .chain_update(address.octets())
            .chain_update(client.port().to_be_bytes())
    }
}

impl fmt::Debug for NonceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NonceKey(..)")
    }
}

/// The key new nonces are made with, and the one before it, which is still accepted.
#[derive(Clone, Debug)]
pub struct NonceKeys {
    /// Makes and accepts.
    pub current: NonceKey,
    /// Accepts.
    pub previous: Option<NonceKey>,
}

/// What a nonce turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// Ours, for this client, and recent.
    Fresh,
    /// Ours and for this client, but too old.
    Stale,
    /// Not ours, or made for another address.
    Foreign,
}

impl NonceKeys {
    /// A nonce for `client`.
    pub(crate) fn issue(&self, client: SocketAddr, now: UnixTime) -> [u8; NONCE_LEN] {
        // Seconds wrap in 2106; only differences below a day matter.
        let seconds = now.0 as u32;
        let mut raw = [0; RAW];
        raw[..TIME].copy_from_slice(&seconds.to_be_bytes());
        let tag = self.current.tag(seconds, client).finalize().into_bytes();
        raw[TIME..].copy_from_slice(&tag[..TAG]);
        let mut text = [0; NONCE_LEN];
        text[..COOKIE.len()].copy_from_slice(COOKIE);
        BASE64URL_NOPAD.encode_mut(&raw, &mut text[COOKIE.len()..]);
        text
    }

    /// Judges the NONCE a client sent.
    pub(crate) fn judge(
        &self,
        nonce: &[u8],
        client: SocketAddr,
        now: UnixTime,
        lifetime: Duration,
    ) -> Freshness {
        let Some((seconds, tag)) = decode(nonce) else {
            return Freshness::Foreign;
        };
        let authentic =
            |key: &NonceKey| key.tag(seconds, client).verify_truncated_left(&tag).is_ok();
        if !authentic(&self.current) && !self.previous.as_ref().is_some_and(authentic) {
            return Freshness::Foreign;
        }
        let age = (now.0 as u32).wrapping_sub(seconds);
        let ahead = u64::from(age.wrapping_neg());
        if u64::from(age) <= lifetime.as_secs() || ahead <= SKEW {
            Freshness::Fresh
        } else {
            Freshness::Stale
        }
    }
}

fn decode(nonce: &[u8]) -> Option<(u32, [u8; TAG])> {
    let nonce = nonce.strip_prefix(COOKIE)?;
    if nonce.len() != NONCE_LEN - COOKIE.len() {
        return None;
    }
    let mut raw = [0; RAW];
    let length = BASE64URL_NOPAD.decode_mut(nonce, &mut raw).ok()?;
    let (time, tag) = raw.get(..length)?.split_first_chunk::<TIME>()?;
    Some((u32::from_be_bytes(*time), tag.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn keys(current: u8, previous: Option<u8>) -> NonceKeys {
        NonceKeys {
            current: NonceKey::new(&[current; 32]),
            previous: previous.map(|k| NonceKey::new(&[k; 32])),
        }
    }

    #[test]
    fn a_nonce_is_good_for_its_client_and_its_time_only() {
        let client: SocketAddr = "192.0.2.7:5000".parse().unwrap();
        let keys = keys(1, None);
        let at = |s: u64| UnixTime(1_700_000_000 + s);
        let nonce = keys.issue(client, at(0));
        let judge = |client, now| keys.judge(&nonce, client, now, HOUR);
        assert_eq!(judge(client, at(0)), Freshness::Fresh);
        assert_eq!(judge(client, at(3600)), Freshness::Fresh);
        assert_eq!(judge(client, at(3601)), Freshness::Stale);
        let other_port = "192.0.2.7:5001".parse().unwrap();
        let other_address = "192.0.2.8:5000".parse().unwrap();
        assert_eq!(judge(other_port, at(0)), Freshness::Foreign);
        assert_eq!(judge(other_address, at(0)), Freshness::Foreign);
        // Made by a relay whose clock runs ahead.
        assert_eq!(
            judge(client, UnixTime(1_700_000_000 - 60)),
            Freshness::Fresh
        );
        assert_eq!(
            judge(client, UnixTime(1_700_000_000 - 61)),
            Freshness::Stale
        );
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let client: SocketAddr = "[2001:db8::1]:5000".parse().unwrap();
        let keys = keys(1, None);
        let nonce = keys.issue(client, UnixTime(1_700_000_000));
        for i in 0..nonce.len() {
            let mut forged = nonce;
            forged[i] = if forged[i] == b'A' { b'B' } else { b'A' };
            let verdict = keys.judge(&forged, client, UnixTime(1_700_000_000), HOUR);
            assert_eq!(verdict, Freshness::Foreign, "character {i}");
        }
        for length in 0..nonce.len() {
            let verdict = keys.judge(&nonce[..length], client, UnixTime(1_700_000_000), HOUR);
            assert_eq!(verdict, Freshness::Foreign);
        }
    }

    #[test]
    fn the_previous_key_is_accepted_and_an_older_one_is_not() {
        let client: SocketAddr = "192.0.2.7:5000".parse().unwrap();
        let now = UnixTime(1_700_000_000);
        let nonce = keys(1, None).issue(client, now);
        assert_eq!(
            keys(2, Some(1)).judge(&nonce, client, now, HOUR),
            Freshness::Fresh
        );
        assert_eq!(
            keys(3, Some(2)).judge(&nonce, client, now, HOUR),
            Freshness::Foreign
        );
        assert!(!format!("{:?}", keys(1, Some(2))).contains('['));
    }
}
