//! Relays' reports passed on between nameservers, as they came: asked for by whoever does not hear a
//! relay, answered by whoever does.

use std::net::SocketAddr;
use std::time::Duration;

use liveness::{REPORT_LEN, RelayId};

use super::Control;
use crate::clock;
use crate::limits::HEARSAY_RELAYS;
use crate::metrics::ReportOutcome;

/// A report older than this is no news of a relay.
const NEWS: Duration = Duration::from_millis(1500);

/// A report as it came.
pub type Datagram = [u8; REPORT_LEN];

impl Control {
    /// Asks the other nameservers for the reports of relays that are not heard; lets them ask again.
    pub(super) fn ask_around(&mut self) {
        self.answered.clear();
        let unheard = self.fleet.unheard(clock::now());
        // More than fit take turns.
        let mut turns = unheard.chunks(HEARSAY_RELAYS);
        let turn = clock::unix().0 as usize % turns.len().max(1);
        if let (Some(wire), Some(some)) = (&self.wire, turns.nth(turn)) {
            wire.ask_around(some);
        }
    }

    /// Passes on what relays reported just now that another nameserver does not hear; once between
    /// two of this node's own questions.
    pub(super) fn pass_on(&mut self, relays: &[RelayId], from: SocketAddr) {
        let Some(wire) = &self.wire else {
            return;
        };
        if !self.answered.insert(from) {
            return;
        }
        let now = clock::now();
        let newest = relays.iter().take(HEARSAY_RELAYS);
        let newest = newest.filter_map(|relay| self.newest.get(relay));
        let news = newest.filter(|(at, _)| now.saturating_duration_since(*at) < NEWS);
        wire.pass_on(from, news.map(|(_, datagram)| &**datagram));
    }

    /// Takes reports that another nameserver passed on: what their relays signed, nothing else.
    pub(super) fn hearsay(&mut self, datagrams: &[Datagram]) {
        for datagram in datagrams {
            let Some((report, key)) = self.intake.read(datagram) else {
                continue;
            };
            if self.fleet.handle_hearsay(clock::now(), key, &report) {
                self.served.metrics.report(ReportOutcome::Hearsay);
            }
        }
    }
}
