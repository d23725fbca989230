//! Revocations in the control loop: made here, heard from other nameservers, kept, and passed on to
//! them and to the relays.

use std::net::SocketAddr;
use std::time::Duration;

use dnsd_core::limits::WHY_MAX;
use dnsd_core::revocations::{Entry, LONGEST, Merged, Subject};
use serde_json::{Value, json};

use crate::clock;
use crate::control::Control;
use crate::limits::REVOCATION_DATAGRAMS;
use crate::share::entries::{self, BUCKETS, Digests};

/// What somebody wants.
#[derive(Debug)]
pub struct Wish {
    /// Whom it is about.
    pub subject: Subject,
    /// False to lift a revocation.
    pub revoked: bool,
    /// For how long, in seconds; without it, as long as is configured.
    pub seconds: Option<u64>,
    /// Why.
    pub why: String,
    /// Who wants it.
    pub who: String,
}

/// What the control loop remembers for it.
#[derive(Debug)]
pub struct Revoking {
    /// How long a revocation holds when nothing else is said.
    pub lasting: Duration,
    /// Of the list as it is now, once it was needed.
    digests: Option<Box<Digests>>,
}

impl Revoking {
    /// With a list that has yet to be compared.
    pub fn new(lasting: Duration) -> Self {
        Self {
            lasting,
            digests: None,
        }
    }
}

impl Control {
    /// Revokes somebody, or lifts that.
    ///
    /// # Errors
    /// Why it is not done, for people.
    pub(crate) fn revoke(&mut self, wish: Wish) -> Result<Value, String> {
        let unix = clock::unix();
        if wish.why.len() > WHY_MAX {
            return Err(format!("the reason has at most {WHY_MAX} bytes"));
        }
        if wish.seconds == Some(0) {
            return Err("it would be over at once: write at least one second".to_owned());
        }
        let list = self.fleet.revocations();
        let before = list.get(&wish.subject);
        let held = before.is_some_and(|entry| entry.holds(unix));
        if !wish.revoked && !held {
            return Err(format!("{} is not revoked", wish.subject));
        }
        if before.is_none() && list.is_full() {
            let why = "there are too many revocations: lift some, or revoke a whole tenant";
            return Err(why.to_owned());
        }
        let earlier = before.map_or(0, |entry| entry.at_ms);
        let seconds = wish.seconds.unwrap_or(self.revoking.lasting.as_secs());
        let entry = Entry {
            subject: wish.subject,
            revoked: wish.revoked,
            until: unix.0 + seconds.min(LONGEST.as_secs()),
            why: wish.why,
            who: wish.who,
            // Whatever the clocks say, what is decided last holds.
            at_ms: clock::unix_millis().max(earlier + 1),
            node: self.node.to_string(),
        };
        match self.fleet.take_revocation(unix, entry.clone()) {
            Merged::News => {}
            Merged::Known | Merged::Over | Merged::Crowded => {
                return Err("a newer decision is known".to_owned());
            }
            Merged::Malformed => {
                return Err("this clock is more than a day behind the last decision".to_owned());
            }
        }
        record(&entry);
        self.revocations_changed();
        if let Some(wire) = &self.wire {
            wire.announce_revocation(&entry);
        }
        Ok(json!({ "entry": entry }))
    }

    /// Takes revocations that another nameserver knows of.
    pub(crate) fn hear_revocations(&mut self, entries: Vec<Entry>) {
        let news = self.fleet.take_revocations(clock::unix(), entries);
        if !news.is_empty() {
            news.iter().for_each(record);
            self.revocations_changed();
        }
    }

    /// Lets revocations run out, and the other nameservers compare what they know.
    pub(crate) fn look_at_revocations(&mut self) {
        if self.fleet.pass_revocations(clock::unix()) {
            tracing::info!(target: "audit", "revocations ran out");
            self.revocations_changed();
        }
        let behind = self.fleet.behind(clock::now()).len();
        let count = self.fleet.revocations().tags().len();
        self.served.metrics.others().revocations(count, behind);
        let digests = self.digests();
        if let Some(wire) = &self.wire {
            wire.compare_revocations(&digests);
        }
    }

    /// Sends whoever knows others what this node knows, as much as fits a turn. It does the same.
    pub(crate) fn compared_revocations(&mut self, theirs: &Digests, from: SocketAddr) {
        let ours = self.digests();
        let differs = |bucket: usize| ours[bucket] != theirs[bucket];
        if !(0..BUCKETS).any(differs) {
            return;
        }
        let list = self.fleet.revocations();
        // Each turn begins elsewhere: no part of the list waits for another for ever.
        let begin = clock::unix().0 as usize;
        let entries = (0..BUCKETS)
            .map(|step| (begin + step) % BUCKETS)
            .filter(|bucket| differs(*bucket))
            .flat_map(|bucket| {
                list.entries()
                    .filter(move |entry| bucket_of(entry) == bucket)
            });
        if let Some(wire) = &self.wire {
            wire.revocations(from, entries, REVOCATION_DATAGRAMS);
        }
    }

    /// Every revocation that holds, and the relays that apply others.
    pub(crate) fn revocations(&self) -> Value {
        let list = self.fleet.revocations();
        json!({
            "unix": clock::unix().0,
            "generation": format!("{:016x}", list.generation()),
            "revoked": list.holds().collect::<Vec<_>>(),
            "behind": self.fleet.behind(clock::now()),
        })
    }

    /// Has the relays told, and the list kept.
    pub(crate) fn revocations_changed(&mut self) {
        self.revoking.digests = None;
        self.intake.revocations(self.fleet.revocations());
        self.keep();
    }

    fn digests(&mut self) -> Box<Digests> {
        let list = self.fleet.revocations();
        let made = || {
            let entries = list.entries().map(|entry| (bucket_of(entry), entry));
            Box::new(entries::digests(entries))
        };
        self.revoking.digests.get_or_insert_with(made).clone()
    }
}

/// Records it; whom it is about stands in the list and in no log.
fn record(entry: &Entry) {
    tracing::info!(
        target: "audit",
        kind = match entry.subject {
            Subject::User(_) => "user",
            Subject::Tenant(_) => "tenant",
        },
        revoked = entry.revoked,
        until = entry.until,
        why = entry.why,
        who = entry.who,
        node = entry.node,
        at_ms = entry.at_ms,
        "revocation"
    );
}

fn bucket_of(entry: &Entry) -> usize {
    usize::from(entry.subject.tag().bytes()[0]) % BUCKETS
}
