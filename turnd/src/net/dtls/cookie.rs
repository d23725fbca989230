//! Cookies that are not stored: a MAC over where the client is and what it said, under a key that
//! only this process has, good for the period it was made in and the next.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use turnd_core::FiveTuple;
use zeroize::Zeroizing;

use super::hello::Hello;

/// A cookie.
pub type Cookie = [u8; 32];

/// A cookie is good for one to two of these.
const PERIOD: Duration = Duration::from_secs(30);

/// Makes cookies and knows them again.
#[derive(Clone)]
pub struct Cookies {
    key: Zeroizing<[u8; 32]>,
    start: Instant,
}

impl std::fmt::Debug for Cookies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cookies(..)")
    }
}

impl Cookies {
    /// Under `key`, which must come from the system's random source; periods count from `start`.
    pub fn new(key: [u8; 32], start: Instant) -> Self {
        Self {
            key: Zeroizing::new(key),
            start,
        }
    }

    /// The cookie of a client for its hello.
    pub fn make(&self, now: Instant, tuple: &FiveTuple, hello: &Hello<'_>) -> Cookie {
        let mac = self.mac(self.period(now), tuple, hello);
        mac.finalize().into_bytes().into()
    }

    /// The cookie in a hello, if it was made for this client not long ago.
    pub fn verify(&self, now: Instant, tuple: &FiveTuple, hello: &Hello<'_>) -> Option<Cookie> {
        let cookie = Cookie::try_from(hello.cookie).ok()?;
        let period = self.period(now);
        let good = [Some(period), period.checked_sub(1)]
            .into_iter()
            .flatten()
            .any(|period| self.mac(period, tuple, hello).verify_slice(&cookie).is_ok());
        good.then_some(cookie)
    }

    fn period(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs() / PERIOD.as_secs()
    }

    fn mac(&self, period: u64, tuple: &FiveTuple, hello: &Hello<'_>) -> Hmac<Sha256> {
        let mac = Hmac::<Sha256>::new_from_slice(&*self.key);
        // HMAC takes keys of every length (RFC 2104, section 2).
        let mut mac = mac.expect("any key length");
        mac.update(&period.to_be_bytes());
        for address in [tuple.client, tuple.server] {
            mac.update(&bytes(address));
        }
        mac.update(hello.random);
        // Of no fixed length, and therefore the last.
        mac.update(hello.session_id);
        mac
    }
}

/// An address in as many bytes as any other; IPv4 and its mapping into IPv6 never meet on a socket.
fn bytes(address: SocketAddr) -> [u8; 18] {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut bytes = [0; 18];
    bytes[..16].copy_from_slice(&ip.octets());
    bytes[16..].copy_from_slice(&address.port().to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use turnd_core::Transport;

    use super::super::hello::first_hello;
    use super::*;
    use crate::clock;

    fn tuple() -> FiveTuple {
        FiveTuple {
            client: "192.0.2.1:5000".parse().expect("an address"),
            server: "198.51.100.1:3478".parse().expect("an address"),
            transport: Transport::Dtls,
        }
    }

    /// The second hello: the first one with a cookie.
    fn returned(cookie: &[u8]) -> Vec<u8> {
        let mut bytes = first_hello();
        let at = 13 + 12 + 2 + 32 + 1;
        bytes[at] = cookie.len() as u8;
        bytes.splice(at + 1..=at, cookie.iter().copied());
        let length = (bytes.len() - 13) as u16;
        bytes[11..13].copy_from_slice(&length.to_be_bytes());
        bytes
    }

    #[test]
    fn a_cookie_is_good_for_its_client_its_hello_and_a_while() {
        let start = clock::instant();
        let cookies = Cookies::new([7; 32], start);
        let first = first_hello();
        let made_at = start + Duration::from_secs(100);
        let hello = Hello::read(&first).expect("a hello");
        let cookie = cookies.make(made_at, &tuple(), &hello);
        let second = returned(&cookie);
        let hello = Hello::read(&second).expect("a hello");
        let good = |now, tuple: &FiveTuple, hello: &Hello<'_>| cookies.verify(now, tuple, hello);
        assert_eq!(good(made_at, &tuple(), &hello), Some(cookie));
        assert_eq!(good(made_at + PERIOD, &tuple(), &hello), Some(cookie));
        // Expired, and from a time that has not come.
        assert_eq!(good(made_at + 2 * PERIOD, &tuple(), &hello), None);
        assert_eq!(good(start, &tuple(), &hello), None);
        // Another port, another address, another server, another key.
        for change in 0..3 {
            let mut other = tuple();
            match change {
                0 => other.client.set_port(5001),
                1 => other
                    .client
                    .set_ip("192.0.2.2".parse().expect("an address")),
                _ => other.server.set_port(5349),
            }
            assert_eq!(good(made_at, &other, &hello), None, "{other:?}");
        }
        assert_eq!(
            Cookies::new([8; 32], start).verify(made_at, &tuple(), &hello),
            None
        );
        // Another random, a session id, a bit of the cookie, half of it.
        let mut random = [0; 32];
        random[31] = 1;
        assert_eq!(
            good(
                made_at,
                &tuple(),
                &Hello {
                    random: &random,
                    ..hello
                }
            ),
            None
        );
        assert_eq!(
            good(
                made_at,
                &tuple(),
                &Hello {
                    session_id: &[0],
                    ..hello
                }
            ),
            None
        );
        let mut flipped = cookie;
        flipped[31] ^= 1;
        for wrong in [&flipped[..], &cookie[..16], &[]] {
            assert_eq!(
                good(
                    made_at,
                    &tuple(),
                    &Hello {
                        cookie: wrong,
                        ..hello
                    }
                ),
                None
            );
        }
    }
}
