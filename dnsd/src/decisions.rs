//! People's decisions in the control loop: made here behind a guard, heard from other nameservers,
//! obeyed, kept, passed on, and recorded.

use std::fmt::Write as _;
use std::net::SocketAddr;

use dnsd_core::fleet::Foresight;
use dnsd_core::health::Override;
use dnsd_core::limits::WHY_MAX;
use dnsd_core::overrides::{Entry, Merged, Scope};
use serde::Serialize;
use serde_json::{Value, json};

use crate::clock;
use crate::control::Control;
use crate::history::Event;
use crate::share::entries;

/// What somebody wants.
#[derive(Debug)]
pub struct Wish {
    /// About what.
    pub scope: Scope,
    /// What; `None` to lift what was decided.
    pub decision: Option<Override>,
    /// For how long, in seconds; without it, until it is lifted.
    pub seconds: Option<u64>,
    /// Why.
    pub why: String,
    /// Who wants it.
    pub who: String,
    /// Even if fewer relays are left than should be.
    pub insisted: bool,
}

/// A decision that is not made.
#[derive(Debug)]
pub struct Unmade {
    /// Why, for people.
    pub why: String,
    /// What it would do, if that is the reason.
    pub foresight: Option<Foresight>,
}

impl From<String> for Unmade {
    fn from(why: String) -> Self {
        let foresight = None;
        Self { why, foresight }
    }
}

/// A decision that was made.
#[derive(Debug, Serialize)]
pub struct Made {
    /// It.
    pub entry: Entry,
    /// What it does.
    pub foresight: Foresight,
    /// The relays it is about to which another one applies, with that one's scope.
    pub otherwise: Vec<(String, String)>,
}

impl Control {
    /// Makes a decision.
    ///
    /// # Errors
    /// Why it is not made.
    pub(crate) fn decide(&mut self, wish: Wish) -> Result<Made, Unmade> {
        let (now, unix) = (clock::now(), clock::unix());
        if wish.why.is_empty() || wish.why.len() > WHY_MAX {
            return Err(format!("the reason has 1 to {WHY_MAX} bytes").into());
        }
        let before = self.fleet.overrides().get(&wish.scope);
        if !wish.scope.is_in(self.fleet.inventory()) && before.is_none() {
            return Err(format!("no relay is of {}", wish.scope).into());
        }
        if before.is_none() && self.fleet.overrides().is_full() {
            return Err("there are too many decisions: lift some first"
                .to_owned()
                .into());
        }
        let earlier = before.map_or(0, |entry| entry.at_ms);
        let entry = Entry {
            scope: wish.scope,
            decision: wish.decision,
            until: wish.seconds.map(|seconds| unix.0.saturating_add(seconds)),
            why: wish.why,
            who: wish.who,
            // Whatever the clocks say, what is decided last holds.
            at_ms: clock::unix_millis().max(earlier + 1),
            node: self.node.to_string(),
        };
        let foresight = self.fleet.foresee(unix, entry.clone());
        if !wish.insisted && foresight.below_floor().next().is_some() {
            return Err(Unmade {
                why: danger(&foresight),
                foresight: Some(foresight),
            });
        }
        match self.fleet.take_override(now, unix, entry.clone()) {
            Merged::News => {}
            Merged::Known | Merged::Over | Merged::Crowded => {
                return Err("a newer decision is known".to_owned().into());
            }
            Merged::Malformed => {
                let why = "this clock is more than a day behind the last decision";
                return Err(why.to_owned().into());
            }
        }
        self.made(&entry);
        if let Some(wire) = &self.wire {
            wire.announce(&entry);
        }
        let covered = self.fleet.inventory().relays().iter();
        let covered = covered.filter(|relay| entry.scope.covers(relay));
        let otherwise = covered.filter_map(|relay| {
            let holding = self.fleet.overrides().holding(relay)?;
            (holding.scope != entry.scope)
                .then(|| (relay.id.to_string(), holding.scope.to_string()))
        });
        Ok(Made {
            otherwise: otherwise.collect(),
            entry,
            foresight,
        })
    }

    /// Takes a decision that another nameserver knows of.
    pub(crate) fn hear(&mut self, entry: &Entry) {
        let (now, unix) = (clock::now(), clock::unix());
        match self.fleet.take_override(now, unix, entry.clone()) {
            Merged::News => self.made(entry),
            Merged::Malformed => {
                tracing::debug!(node = entry.node, scope = %entry.scope, "decision not understood");
            }
            Merged::Known | Merged::Over | Merged::Crowded => {}
        }
    }

    /// Lets decisions run out.
    pub(crate) fn expire(&mut self) {
        let unix = clock::unix();
        for entry in self.fleet.pass_overrides(clock::now(), unix) {
            let (scope, decision) = (&entry.scope, word(entry.decision));
            let again = entry.holds(unix);
            let event = Event::RanOut {
                scope: scope.to_string(),
                decision,
                again,
            };
            self.chronicle
                .cause(event, &format!("{decision} {scope} ended"));
            if again {
                tracing::info!(target: "audit", %scope, decision, "the clock went back: holds again");
            } else {
                tracing::info!(target: "audit", %scope, decision, "ran out");
            }
        }
    }

    /// Lets the other nameservers compare what they know with what this one does.
    pub(crate) fn compare(&self) {
        if let Some(wire) = &self.wire {
            wire.compare(self.digest());
        }
    }

    /// Sends whoever knows something else all that this node knows. It does the same.
    pub(crate) fn compared(&self, digest: u64, from: SocketAddr) {
        if let Some(wire) = self.wire.as_ref().filter(|_| digest != self.digest()) {
            wire.table(from, self.fleet.overrides().entries());
        }
    }

    fn digest(&self) -> u64 {
        entries::digest(self.fleet.overrides().entries())
    }

    /// Every decision that holds, and what was decided before.
    pub(crate) fn decisions(&self) -> Value {
        json!({
            "unix": clock::unix().0,
            "holding": self.fleet.overrides().holds().collect::<Vec<_>>(),
            "journal": self.fleet.overrides().journal().collect::<Vec<_>>(),
        })
    }

    /// Records a new decision.
    fn made(&mut self, entry: &Entry) {
        tracing::info!(
            target: "audit",
            scope = %entry.scope,
            decision = word(entry.decision),
            until = entry.until,
            why = entry.why,
            who = entry.who,
            node = entry.node,
            at_ms = entry.at_ms,
            "decided"
        );
        let event = Event::Decided {
            scope: entry.scope.to_string(),
            decision: word(entry.decision),
            until: entry.until,
            why: entry.why.clone(),
            who: entry.who.clone(),
            node: entry.node.clone(),
        };
        let words = format!("{} {}", word(entry.decision), entry.scope);
        self.chronicle.cause(event, &words);
        self.keep();
    }
}

/// A decision as people say it.
pub fn word(decision: Option<Override>) -> &'static str {
    match decision {
        Some(Override::Up) => "force up",
        Some(Override::Down) => "force down",
        Some(Override::Drain) => "drain",
        None => "lift",
    }
}

/// Why it had better not be done.
fn danger(foresight: &Foresight) -> String {
    let mut text = "too few relays would be left:\n".to_owned();
    for reserve in foresight.below_floor() {
        let _ = writeln!(
            text,
            "  clients of {}: {} of {} relays up, now {}; {} should be",
            reserve.region, reserve.would_be_up, reserve.relays, reserve.up, reserve.floor
        );
    }
    let _ = write!(
        text,
        "relays concerned: {}\n--yes-i-mean-it (over HTTP: \"confirm\": true) does it all the same",
        foresight.relays.join(", ")
    );
    text
}
