//! All DTLS sessions of one worker: found by their five-tuple, each with one deadline, and strangers
//! answered without being remembered.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use turnd_core::FiveTuple;

use super::cookie::Cookies;
use super::counters::{DtlsCounters, End};
use super::hello::Hello;
use super::limits::HANDSHAKES;
use super::session::{Out, Received, Session, Workbench};
use crate::net::stream::caps::{Caps, Permit, Source};
use crate::tls::Certificates;

/// A session is looked at no more often.
const RESOLUTION: Duration = Duration::from_millis(1);

/// A session in its place.
#[derive(Debug)]
struct Tenant {
    tuple: FiveTuple,
    session: Session,
    /// Its entry among the deadlines.
    armed: Instant,
    /// Its entry among the handshakes, by the order of their beginning.
    handshake: Option<u64>,
}

/// The sessions of a worker. Their number is capped by [`Caps`], those in their handshake by
/// [`HANDSHAKES`].
#[derive(Debug)]
pub struct Sessions {
    cookies: Cookies,
    certificates: Arc<Certificates>,
    caps: Caps,
    places: Vec<Option<Tenant>>,
    free: Vec<usize>,
    tuples: HashMap<FiveTuple, usize>,
    deadlines: BTreeSet<(Instant, usize)>,
    handshakes: BTreeMap<u64, usize>,
    /// Five-tuples of sessions that have ended, for the relay core to be told.
    ended: Vec<FiveTuple>,
    bench: Workbench,
    counters: DtlsCounters,
}

impl Sessions {
    /// None yet. They will be begun with what `certificates` hold at that time.
    pub fn new(cookies: Cookies, certificates: Arc<Certificates>, caps: Caps) -> Self {
        Self {
            cookies,
            certificates,
            caps,
            places: Vec::new(),
            free: Vec::new(),
            tuples: HashMap::new(),
            deadlines: BTreeSet::new(),
            handshakes: BTreeMap::new(),
            ended: Vec::new(),
            bench: Workbench::default(),
            counters: DtlsCounters::default(),
        }
    }

    /// What happened so far, and what there is.
    pub fn counters(&self) -> DtlsCounters {
        DtlsCounters {
            sessions: self.tuples.len(),
            handshakes: self.handshakes.len(),
            ..self.counters.clone()
        }
    }

    /// Takes a datagram of a client.
    pub fn receive(
        &mut self,
        now: Instant,
        tuple: FiveTuple,
        datagram: &[u8],
        out: &mut dyn FnMut(Out<'_>),
    ) {
        let hello = Hello::read(datagram);
        let known = self.tuples.get(&tuple).copied();
        // A hello that is not the session's own is a client that begins anew (RFC 6347, section
        // 4.2.8): a stranger, until its cookie says that it is at this address.
        let place = known.filter(|place| {
            let session = self.session(*place);
            hello.is_none_or(|hello| session.is_some_and(|s| s.began_with(&hello)))
        });
        match (place, hello) {
            (Some(place), _) => self.take(now, place, datagram, out),
            (None, Some(hello)) => self.greet(now, tuple, &hello, datagram, out),
            (None, None) => self.counters.strange += 1,
        }
    }

    /// Sends a message to a client.
    pub fn send(&mut self, tuple: &FiveTuple, message: &[u8], out: &mut dyn FnMut(Out<'_>)) {
        let place = self.tuples.get(tuple).copied();
        let tenant = place.and_then(|place| self.places.get_mut(place)?.as_mut());
        if !tenant.is_some_and(|tenant| tenant.session.send(message, &mut self.bench, out)) {
            self.counters.unsent += 1;
        }
    }

    /// When [`Self::pass_time`] wants to be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Does what is due at one session; false when nothing is. `serves`: whether a client has an
    /// allocation.
    pub fn pass_time(
        &mut self,
        now: Instant,
        serves: impl Fn(&FiveTuple) -> bool,
        out: &mut dyn FnMut(&FiveTuple, Out<'_>),
    ) -> bool {
        let due = self.deadlines.first().filter(|(at, _)| *at <= now);
        let Some(place) = due.map(|(_, place)| *place) else {
            return false;
        };
        let Some(tenant) = self.places.get_mut(place).and_then(Option::as_mut) else {
            return false;
        };
        let tuple = tenant.tuple;
        let mut out = |one: Out<'_>| out(&tuple, one);
        let passed = tenant
            .session
            .pass_time(now, serves(&tuple), &mut self.bench, &mut out);
        match passed {
            Ok(()) => self.arm(now, place),
            Err(why) => self.end(place, why, &mut out),
        }
        true
    }

    /// Ends the sessions whose five-tuples are `gone` with their listener.
    pub fn leave(
        &mut self,
        gone: impl Fn(&FiveTuple) -> bool,
        out: &mut dyn FnMut(&FiveTuple, Out<'_>),
    ) {
        for place in 0..self.places.len() {
            let tuple = self.places[place].as_ref().map(|tenant| tenant.tuple);
            if let Some(tuple) = tuple.filter(|tuple| gone(tuple)) {
                self.end(place, End::Listener, &mut |one| out(&tuple, one));
            }
        }
    }

    /// The five-tuple of a session that has ended, each once.
    pub fn ended(&mut self) -> Option<FiveTuple> {
        self.ended.pop()
    }

    /// Answers a stranger, and begins a session if its cookie came back.
    fn greet(
        &mut self,
        now: Instant,
        tuple: FiveTuple,
        hello: &Hello<'_>,
        datagram: &[u8],
        out: &mut dyn FnMut(Out<'_>),
    ) {
        let Some(identity) = self.certificates.dtls() else {
            return self.counters.strange += 1;
        };
        if !hello.is_current {
            self.counters.outdated += 1;
            return out(Out::Datagram(&hello.version_alert()));
        }
        let Some(cookie) = self.cookies.verify(now, &tuple, hello) else {
            self.counters.hellos += u64::from(hello.cookie.is_empty());
            self.counters.cookies_refused += u64::from(!hello.cookie.is_empty());
            let answer = hello.verify_request(&self.cookies.make(now, &tuple, hello));
            // Nobody is made to send more than was sent in his name.
            if answer.len() <= datagram.len() {
                out(Out::Datagram(&answer));
            }
            return;
        };
        if let Some(old) = self.tuples.get(&tuple).copied() {
            self.end(old, End::Replaced, out);
        }
        let Some(permit) = self.permit(&tuple) else {
            return self.counters.refused += 1;
        };
        if self.handshakes.len() >= HANDSHAKES
            && let Some((_, oldest)) = self.handshakes.first_key_value()
        {
            self.end(*oldest, End::Evicted, &mut |_| {});
        }
        self.counters.begun += 1;
        match Session::begin(now, &identity, hello, cookie, permit, &mut self.bench) {
            Ok(session) => {
                let place = self.insert(tuple, session, now);
                self.take(now, place, datagram, out);
            }
            Err(error) => {
                tracing::debug!(%error, "a DTLS session did not begin");
                self.counters.end(End::Failed);
            }
        }
    }

    fn permit(&self, tuple: &FiveTuple) -> Option<Permit> {
        let mut permit = self.caps.take().ok()?;
        permit.charge(Source::of(tuple.client.ip())).ok()?;
        Some(permit)
    }

    fn insert(&mut self, tuple: FiveTuple, session: Session, now: Instant) -> usize {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        let armed = session.deadline(now);
        let handshake = self.counters.begun;
        self.places[place] = Some(Tenant {
            tuple,
            session,
            armed,
            handshake: Some(handshake),
        });
        self.tuples.insert(tuple, place);
        self.deadlines.insert((armed, place));
        self.handshakes.insert(handshake, place);
        place
    }

    fn session(&self, place: usize) -> Option<&Session> {
        Some(&self.places.get(place)?.as_ref()?.session)
    }

    fn take(&mut self, now: Instant, place: usize, datagram: &[u8], out: &mut dyn FnMut(Out<'_>)) {
        let Some(tenant) = self.places.get_mut(place).and_then(Option::as_mut) else {
            return;
        };
        let received = tenant.session.receive(now, datagram, &mut self.bench, out);
        if tenant.session.is_established()
            && let Some(handshake) = tenant.handshake.take()
        {
            self.handshakes.remove(&handshake);
            self.counters.established += 1;
        }
        match received {
            Ok(()) => self.arm(now, place),
            Err(Received::Invalid) => {
                self.counters.invalid += 1;
                self.arm(now, place);
            }
            Err(Received::End(why)) => self.end(place, why, out),
        }
    }

    /// Registers a session's deadline anew, when it has come nearer or was due.
    fn arm(&mut self, now: Instant, place: usize) {
        let Some(tenant) = self.places.get_mut(place).and_then(Option::as_mut) else {
            return;
        };
        let deadline = tenant.session.deadline(now).max(now + RESOLUTION);
        if deadline < tenant.armed || tenant.armed <= now {
            self.deadlines.remove(&(tenant.armed, place));
            tenant.armed = deadline;
            self.deadlines.insert((deadline, place));
        }
    }

    fn end(&mut self, place: usize, why: End, out: &mut dyn FnMut(Out<'_>)) {
        let Some(mut tenant) = self.places.get_mut(place).and_then(Option::take) else {
            return;
        };
        tenant.session.close(&mut self.bench, out);
        self.free.push(place);
        self.tuples.remove(&tenant.tuple);
        self.deadlines.remove(&(tenant.armed, place));
        if let Some(handshake) = tenant.handshake {
            self.handshakes.remove(&handshake);
        }
        self.counters.end(why);
        self.ended.push(tenant.tuple);
    }
}

#[cfg(test)]
mod tests;
