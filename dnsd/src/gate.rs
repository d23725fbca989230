//! Which authentic reports are worth the control loop's time.
//!
//! A datagram that was recorded can be sent again at any rate and to any acknowledgement's address.
//! Copies end here; the fleet stays the judge of what passes.

use std::collections::HashMap;
use std::time::Instant;

use dnsd_core::inventory::{Inventory, RelayEntry};
use liveness::{KeyId, RelayId, ReplayGuard, Replayed, Report, RevocationsAsk};

use crate::limits::{JOIN_INTERVAL, STALE_INTERVAL};
use crate::metrics::ReportOutcome;

/// What is remembered of each relay of the fleet, and of all others together.
#[derive(Debug, Default)]
pub struct Gate {
    relays: HashMap<RelayId, Entry>,
    /// The keys that relays may join with, and when one that is none of the fleet last passed.
    joining: HashMap<KeyId, Option<Instant>>,
}

#[derive(Debug, Default)]
struct Entry {
    keys: Vec<KeyId>,
    newest: ReplayGuard,
    /// Its requests for revocations, which count by themselves.
    asked: ReplayGuard,
    /// The last report under an old boot id that passed: when, its boot id and sequence.
    stale: Option<(Instant, u64, u64)>,
}

impl Gate {
    /// A gate for the relays of `inventory`, which has seen nothing.
    pub fn new(inventory: &Inventory) -> Self {
        let mut gate = Self::default();
        gate.reload(inventory);
        gate
    }

    /// Takes other relays and keys over. What was seen of relays that stay is kept, as the fleet
    /// keeps it.
    pub fn reload(&mut self, inventory: &Inventory) {
        let mut before = std::mem::take(&mut self.relays);
        let entry = |relay: &RelayEntry| {
            let mut entry = before.remove(&relay.id).unwrap_or_default();
            entry.keys.clone_from(&relay.keys);
            (relay.id, entry)
        };
        self.relays = inventory.relays().iter().map(entry).collect();
        let before = std::mem::take(&mut self.joining);
        let rules = inventory.enrolments().iter().map(|rule| rule.key);
        let last = |key| (key, before.get(&key).copied().flatten());
        self.joining = rules.map(last).collect();
    }

    /// Whether the control loop should see a report signed with `key`: a new one always, one
    /// under an old boot id once per [`STALE_INTERVAL`], for its relay may have to be told the
    /// floor, and neither a copy nor one that is nobody's. What may be from a relay that wants to join
    /// passes once per [`JOIN_INTERVAL`] and key.
    pub fn admit(
        &mut self,
        now: Instant,
        key: KeyId,
        report: &Report,
    ) -> Result<(), ReportOutcome> {
        let entry = self.relays.get_mut(&report.relay);
        if entry.is_none() {
            let last = self.joining.get_mut(&key).ok_or(ReportOutcome::Relay)?;
            let soon = |at: Instant| now.saturating_duration_since(at) < JOIN_INTERVAL;
            if last.is_some_and(soon) {
                return Err(ReportOutcome::Relay);
            }
            *last = Some(now);
            return Ok(());
        }
        let entry = entry.filter(|entry| entry.keys.contains(&key));
        let entry = entry.ok_or(ReportOutcome::Relay)?;
        let (boot, sequence) = (report.boot, report.sequence);
        match entry.newest.accept(boot, sequence) {
            Ok(()) => Ok(()),
            Err(Replayed::StaleSequence { .. }) => Err(ReportOutcome::Replay),
            Err(Replayed::StaleBoot { .. }) => {
                let passes = entry.stale.is_none_or(|(at, last_boot, last_sequence)| {
                    now.saturating_duration_since(at) >= STALE_INTERVAL
                        && (boot, sequence) != (last_boot, last_sequence)
                });
                if !passes {
                    return Err(ReportOutcome::Replay);
                }
                entry.stale = Some((now, boot, sequence));
                Ok(())
            }
        }
    }
}

impl Gate {
    /// Whether a request for revocations that was signed with `key` is answered: one of a relay of
    /// the fleet, and each once.
    pub fn admit_ask(&mut self, key: KeyId, ask: &RevocationsAsk) -> Result<(), ReportOutcome> {
        let entry = self.relays.get_mut(&ask.relay);
        let entry = entry.filter(|entry| entry.keys.contains(&key));
        let entry = entry.ok_or(ReportOutcome::Relay)?;
        let new = entry.asked.accept(ask.boot, ask.sequence);
        new.map_err(|_| ReportOutcome::Replay)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use dnsd_core::inventory::Enrolment;
    use liveness::{Load, State, Transports};

    use super::*;
    use crate::config::Config;

    fn inventory() -> Inventory {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wrong/right.toml");
        Config::read(&path).expect("a right file").inventory
    }

    fn report(relay: RelayId, boot: u64, sequence: u64) -> Report {
        Report {
            relay,
            boot,
            sequence,
            sent_at_ms: 0,
            state: State::Serving,
            load: Load {
                sessions: 0,
                sessions_max: 1,
                bits_per_second: 0,
                bits_per_second_max: 1,
                cpu_permille: 0,
            },
            ipv4: None,
            ipv6: None,
            transports: Transports::UDP,
            workers: 1,
            configuration: 1,
            revocations: 0,
        }
    }

    #[test]
    fn copies_end_here_and_old_boots_pass_now_and_then() {
        let inventory = inventory();
        let (relay, key) = (inventory.relays()[0].id, inventory.relays()[0].keys[0]);
        let mut gate = Gate::new(&inventory);
        let begun = Instant::now();
        let admit = |gate: &mut Gate, ms, boot, sequence| {
            let now = begun + std::time::Duration::from_millis(ms);
            gate.admit(now, key, &report(relay, boot, sequence)).is_ok()
        };
        assert!(admit(&mut gate, 0, 9, 5));
        assert!(!admit(&mut gate, 0, 9, 5), "a copy");
        assert!(!admit(&mut gate, 0, 9, 4), "overtaken");
        assert!(admit(&mut gate, 0, 8, 5), "an old boot");
        assert!(!admit(&mut gate, 999, 8, 6), "too soon");
        assert!(!admit(&mut gate, 1000, 8, 5), "a copy of what passed");
        assert!(admit(&mut gate, 1000, 8, 6));
        assert!(admit(&mut gate, 1000, 9, 6), "new ones are not held up");
        gate.reload(&inventory);
        assert!(!admit(&mut gate, 1001, 9, 6), "kept over a reload");
    }

    #[test]
    fn who_may_join_passes_now_and_then() {
        let rule = Enrolment {
            key: KeyId(9),
            networks: vec!["10.0.0.0/8".parse().expect("network")],
            region: inventory().regions()[0].id.clone(),
            zone: "zone".into(),
            vendor: "vendor".into(),
            weight: 1,
            standby: false,
            most: 1,
        };
        let inventory = inventory()
            .with_enrolments(vec![rule])
            .expect("a right rule");
        let mut gate = Gate::new(&inventory);
        let begun = Instant::now();
        let mut admit = |ms, key, id: &str| {
            let now = begun + std::time::Duration::from_millis(ms);
            let stranger: RelayId = id.parse().expect("id");
            gate.admit(now, KeyId(key), &report(stranger, 1, 1)).is_ok()
        };
        assert!(admit(0, 9, "asg-1"));
        assert!(!admit(99, 9, "asg-2"), "too soon");
        assert!(admit(100, 9, "asg-2"));
        assert!(!admit(1000, 1, "asg-2"), "no rule for this key");
        assert_eq!(gate.relays.len(), inventory.relays().len());
    }

    #[test]
    fn nobodys_reports_and_those_under_anothers_key_leave_no_trace() {
        let inventory = inventory();
        let (relay, key) = (inventory.relays()[0].id, inventory.relays()[0].keys[0]);
        let mut gate = Gate::new(&inventory);
        let now = Instant::now();
        let stranger: RelayId = "nobody".parse().expect("id");
        assert!(gate.admit(now, key, &report(stranger, 1, 1)).is_err());
        let other = KeyId(u32::MAX);
        assert!(gate.admit(now, other, &report(relay, 9, 9)).is_err());
        assert_eq!(gate.relays.len(), inventory.relays().len());
        assert!(gate.admit(now, key, &report(relay, 1, 1)).is_ok());
    }

    #[test]
    fn a_request_for_revocations_passes_once_and_only_from_a_relay_of_the_fleet() {
        let mut gate = Gate::new(&inventory());
        let ask = |relay: &str, boot, sequence| RevocationsAsk {
            relay: relay.parse().expect("id"),
            boot,
            sequence,
            page: 0,
        };
        let key = KeyId(1);
        assert_eq!(gate.admit_ask(key, &ask("fra-1", 5, 1)), Ok(()));
        let replay = Err(ReportOutcome::Replay);
        assert_eq!(gate.admit_ask(key, &ask("fra-1", 5, 1)), replay);
        assert_eq!(gate.admit_ask(key, &ask("fra-1", 4, 9)), replay);
        assert_eq!(gate.admit_ask(key, &ask("fra-1", 5, 2)), Ok(()));
        assert_eq!(gate.admit_ask(key, &ask("fra-1", 6, 1)), Ok(()));
        let nobodys = Err(ReportOutcome::Relay);
        assert_eq!(gate.admit_ask(KeyId(9), &ask("fra-1", 7, 1)), nobodys);
        assert_eq!(gate.admit_ask(key, &ask("fra-7", 7, 1)), nobodys);
    }
}
