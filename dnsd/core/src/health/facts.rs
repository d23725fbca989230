//! One relay's evidence as plain data.

use std::time::Instant;

use super::evidence::ms;
use super::machine::Health;
use super::track::Track;
use crate::explain::{ComplaintFacts, Explanation, PastVerdict, ProbeFacts, ReportFacts};
use crate::inventory::{RelayEntry, Thresholds};
use crate::votes::Tally;

impl Health {
    /// Everything known about the relay.
    pub fn explain(&self, now: Instant, entry: &RelayEntry, t: &Thresholds) -> Explanation {
        let addresses = entry
            .ipv4
            .map(Into::into)
            .into_iter()
            .chain(entry.ipv6.map(Into::into));
        Explanation {
            relay: entry.id.to_string(),
            region: entry.region.to_string(),
            zone: entry.zone.clone(),
            vendor: entry.vendor.clone(),
            addresses: addresses.collect(),
            weight: entry.weight,
            state: self.verdict.state,
            reason: self.verdict.reason,
            for_ms: ms(now.saturating_duration_since(self.verdict.since)),
            evidence: self.verdict.evidence,
            finding: self.finding,
            accused: self.accused,
            spared: self.spared,
            share_permille: self.share(now, t),
            free_permille: 1000,
            complaints: ComplaintFacts::default(),
            // These four are the fleet's to say.
            votes: Tally::default(),
            ballots: Vec::new(),
            isolated: None,
            joined: false,
            twins: false,
            paths: Vec::new(),
            decision: self.decision,
            flaps: self.flaps,
            hold_ms: ms(self.hold(t)),
            report: self.report_facts(now, entry),
            stun: probe_facts(now, &self.stun),
            echo: probe_facts(now, &self.echo),
            history: self
                .history
                .iter()
                .map(|past| PastVerdict {
                    state: past.state,
                    reason: past.reason,
                    began_ms_ago: ms(now.saturating_duration_since(past.since)),
                    evidence: past.evidence,
                })
                .collect(),
        }
    }

    fn report_facts(&self, now: Instant, entry: &RelayEntry) -> Option<ReportFacts> {
        let (at, report) = self.last.as_ref()?;
        Some(ReportFacts {
            ago_ms: ms(now.saturating_duration_since(*at)),
            state: format!("{:?}", report.state).to_lowercase(),
            boot: report.boot,
            sequence: report.sequence,
            sessions: report.load.sessions,
            sessions_max: report.load.sessions_max,
            bits_per_second: report.load.bits_per_second,
            cpu_permille: report.load.cpu_permille,
            workers: report.workers,
            configuration: report.configuration,
            claims_other_addresses: !entry.agrees_with(report),
        })
    }
}

pub(super) fn probe_facts(now: Instant, track: &Track) -> ProbeFacts {
    ProbeFacts {
        last_ok_ms: track
            .last_ok()
            .map(|at| ms(now.saturating_duration_since(at))),
        points: track.points(),
        rtt_us: track
            .rtt()
            .map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
        last_failure: track.last_failure().map(str::to_owned),
    }
}
