//! Tries now and then what every new session needs: a socket on the addresses that are relayed from.
//!
//! An address that has left the machine shows in no counter as long as nobody asks for a session,
//! and a relay that failed would never be asked again: so the relay asks itself.

use std::io;
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use liveness::Reason;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Looks in a row that have to fail before the relay calls itself failing.
const FAILURES: u32 = 2;

/// What the last looks found.
#[derive(Debug, Default)]
pub struct SelfCheck {
    looked: Option<Instant>,
    failures: u32,
    reason: Option<Reason>,
}

impl SelfCheck {
    /// Looks, when it is time to, and says why new sessions cannot be served; `None` when they can.
    pub fn look(
        &mut self,
        now: Instant,
        addresses: impl Iterator<Item = IpAddr>,
    ) -> Option<Reason> {
        if self.looked.is_some_and(|looked| now < looked + INTERVAL) {
            return self.reason;
        }
        self.looked = Some(now);
        let failed = addresses.into_iter().find_map(|ip| {
            let error = UdpSocket::bind((ip, 0)).err()?;
            Some((ip, error))
        });
        let Some((ip, error)) = failed else {
            self.failures = 0;
            self.reason = None;
            return None;
        };
        self.failures += 1;
        if self.failures >= FAILURES && self.reason.is_none() {
            tracing::error!(%error, %ip, "no socket on an address that is relayed from");
            self.reason = Some(reason(&error));
        }
        self.reason
    }
}

fn reason(error: &io::Error) -> Reason {
    use nix::libc::{EMFILE, ENFILE, ENOBUFS, ENOMEM};
    match error.raw_os_error() {
        Some(EMFILE | ENFILE | ENOBUFS | ENOMEM) => Reason::Descriptors,
        _ => Reason::RelaySockets,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn an_address_that_has_left_fails_the_second_time_and_recovers_at_once() {
        let gone = || std::iter::once(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
        let here = || std::iter::once(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let start = crate::clock::instant();
        let mut check = SelfCheck::default();
        assert_eq!(check.look(start, gone()), None);
        assert_eq!(check.look(start, gone()), None, "too early to look again");
        assert_eq!(
            check.look(start + INTERVAL, gone()),
            Some(Reason::RelaySockets)
        );
        assert_eq!(check.look(start + 2 * INTERVAL, here()), None);
    }
}
