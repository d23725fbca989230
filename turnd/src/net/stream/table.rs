//! All connections of one worker: found by their place (for events) and by their five-tuple (for what
//! is to be sent), the oldest strangers first to go, each with one deadline.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Interest, Registry};
use turnd_core::{FiveTuple, Transport};

use super::Entrance;
use super::caps::{Permit, Source};
use super::connection::{Connection, Leaving, Whither};
use super::counters::{End, Refused, StreamCounters};
use super::layer::Layer;
use super::limits::{STRANGERS_DIVISOR, STRANGERS_MIN};
use super::output::{Kind, Pushed, Spares};
use super::proxy::Header;
use crate::net::tokens::Source as Event;

/// The connections of a worker. Their number is capped by [`Caps`](super::caps::Caps).
#[derive(Debug)]
pub struct Streams {
    places: Vec<Option<Connection>>,
    free: Vec<usize>,
    tuples: HashMap<FiveTuple, usize>,
    /// By the order of acceptance.
    strangers: BTreeMap<u64, usize>,
    deadlines: BTreeSet<(Instant, usize)>,
    /// Those that have something to send, or have to end.
    listed: Vec<usize>,
    spares: Spares,
    entrance: Entrance,
    accepted: u64,
    /// A connection has to end because another has its five-tuple now.
    replaced: bool,
    /// Of those that are open, those under TLS.
    tls: usize,
    counters: StreamCounters,
}

impl Streams {
    /// No connections yet.
    pub fn new(entrance: Entrance) -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            tuples: HashMap::new(),
            strangers: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            listed: Vec::new(),
            spares: Spares::default(),
            entrance,
            accepted: 0,
            replaced: false,
            tls: 0,
            counters: StreamCounters::default(),
        }
    }

    /// What happened so far, and what is open.
    pub fn counters(&self) -> StreamCounters {
        StreamCounters {
            tls: self.tls,
            tcp: self.places.len() - self.free.len() - self.tls,
            strangers: self.strangers.len(),
            accepted: self.accepted,
            ..self.counters.clone()
        }
    }

    /// The connection in a place.
    pub fn get_mut(&mut self, place: usize) -> Option<&mut Connection> {
        self.places.get_mut(place)?.as_mut()
    }

    /// The kernel failed to accept one.
    pub fn accept_failed(&mut self) {
        self.counters.accept_errors += 1;
    }

    /// Takes an accepted connection, or closes it and counts why. Where there are too many, the
    /// oldest stranger goes: the newest may well be an honest client, who needs only a moment.
    pub fn add(
        &mut self,
        registry: &Registry,
        socket: TcpStream,
        client: SocketAddr,
        server: SocketAddr,
        now: Instant,
    ) {
        self.accepted += 1;
        let tuple = FiveTuple {
            client,
            server,
            transport: Transport::Tcp,
        };
        match self.admit(registry, socket, tuple, now) {
            Ok(()) => {}
            Err(why) => self.counters.refuse(why),
        }
    }

    fn admit(
        &mut self,
        registry: &Registry,
        socket: TcpStream,
        tuple: FiveTuple,
        now: Instant,
    ) -> Result<(), Refused> {
        self.make_room();
        let mut permit = match self.entrance.caps.take() {
            Err(_) if self.evict(None) => self.entrance.caps.take(),
            taken => taken,
        }?;
        let layer = if self.entrance.caps.is_proxy(tuple.client.ip()) {
            Layer::Proxied(Vec::new())
        } else {
            self.charge(&mut permit, Source::of(tuple.client.ip()))?;
            Layer::Unknown
        };
        let descriptor = match self.entrance.descriptors.take() {
            None if self.evict(None) => self.entrance.descriptors.take(),
            taken => taken,
        };
        let descriptor = descriptor.ok_or(Refused::Total)?;
        let number = self.accepted;
        let connection = Connection::new(socket, tuple, layer, permit, descriptor, number, now);
        self.place(registry, connection).ok_or(Refused::Total)?;
        Ok(())
    }

    /// Lets old strangers go where there are too many.
    fn make_room(&mut self) {
        let workers = self.entrance.workers.max(1);
        let most = self.entrance.caps.total() as usize / STRANGERS_DIVISOR / workers;
        while self.strangers.len() >= most.max(STRANGERS_MIN) && self.evict(None) {}
    }

    /// Gives a stranger's connection a place. `None` when the system does not watch it.
    fn place(&mut self, registry: &Registry, mut connection: Connection) -> Option<usize> {
        let place = self.free.last().copied().unwrap_or(self.places.len());
        let token = Event::Stream(place).token();
        let both = Interest::READABLE | Interest::WRITABLE;
        let socket = &mut connection.socket;
        registry.register(socket, token, both).ok()?;
        self.strangers.insert(connection.number, place);
        self.deadlines.insert((connection.deadline, place));
        if self.free.pop().is_none() {
            self.places.push(None);
        }
        self.places[place] = Some(connection);
        Some(place)
    }

    /// Takes over a connection from another worker; returns its place.
    pub fn adopt(&mut self, registry: &Registry, mut connection: Connection) -> Option<usize> {
        self.make_room();
        self.accepted += 1;
        connection.number = self.accepted;
        connection.stranger = true;
        let tuple = connection.tuple;
        let Some(place) = self.place(registry, connection) else {
            self.counters.refuse(Refused::Total);
            return None;
        };
        self.tls += usize::from(tuple.transport == Transport::Tls);
        self.name(place, tuple);
        if let Some(connection) = self.places.get_mut(place).and_then(Option::as_mut) {
            list(&mut self.listed, connection, place);
        }
        Some(place)
    }

    /// Notes that the connection of `tuple` goes elsewhere; false when there is none.
    pub fn leave(&mut self, tuple: &FiveTuple, to: Whither) -> bool {
        let place = self.tuples.get(tuple).copied();
        let connection = place.and_then(|place| self.get_mut(place));
        let Some(connection) = connection else {
            return false;
        };
        connection.leaving = Some(Box::new(Leaving {
            to,
            unread: Vec::new(),
            ended: false,
        }));
        true
    }

    /// Takes out a connection that goes elsewhere.
    pub fn part(&mut self, place: usize) -> Option<(Connection, Leaving)> {
        let leaving = self.get_mut(place)?.leaving.take()?;
        let why = match leaving.to {
            Whither::Peer(_) => End::Joined,
            Whither::Worker(..) => End::Moved,
        };
        let mut connection = self.take(place, why)?;
        connection.listed = false;
        Some((connection, *leaving))
    }

    /// Takes from the front of `bytes` what comes before the first message, and says what carries the
    /// messages; `None` when more has to come.
    pub fn begin(&mut self, place: usize, bytes: &mut &[u8]) -> Result<Option<Transport>, End> {
        let Some(connection) = self.places.get_mut(place).and_then(Option::as_mut) else {
            return Ok(None);
        };
        if let Some(transport) = connection.layer.transport() {
            return Ok(Some(transport));
        }
        if let Some(header) = connection.layer.unwrap(bytes)? {
            self.identify(place, header)?;
        }
        let Some(connection) = self.places.get_mut(place).and_then(Option::as_mut) else {
            return Ok(None);
        };
        let certificates = &self.entrance.certificates;
        connection
            .layer
            .decide(bytes, || certificates.server_config())?;
        let Some(transport) = connection.layer.transport() else {
            return Ok(None);
        };
        self.tls += usize::from(transport == Transport::Tls);
        connection.tuple.transport = transport;
        let tuple = connection.tuple;
        self.name(place, tuple);
        Ok(Some(transport))
    }

    /// A proxy has said whom it speaks for: that is who is counted.
    fn identify(&mut self, place: usize, header: Header) -> Result<(), End> {
        let Some(mut connection) = self.places.get_mut(place).and_then(Option::take) else {
            return Ok(());
        };
        if let Header::Client { client, server } = header {
            connection.tuple.client = client;
            connection.tuple.server = server;
        }
        // Out of its place meanwhile, so that it does not make room for itself.
        let source = Source::of(connection.tuple.client.ip());
        let charged = self.charge(&mut connection.permit, source);
        self.places[place] = Some(connection);
        charged.map_err(|_| End::Source)
    }

    /// Opens what has come under TLS; see [`Tls::open`](super::layer::Tls::open).
    pub fn open(
        &mut self,
        place: usize,
        bytes: &mut &[u8],
        plain: &mut [u8],
    ) -> Result<Option<usize>, End> {
        let Some(connection) = self.places.get_mut(place).and_then(Option::as_mut) else {
            return Ok(None);
        };
        let Layer::Tls(tls) = &mut connection.layer else {
            return Ok(None);
        };
        let opened = tls.open(bytes, plain);
        // The handshake and its failure have something to send, too.
        if tls.wants_write() {
            list(&mut self.listed, connection, place);
        }
        opened
    }

    /// Counts a connection for its source; at the limit of that source its own oldest stranger goes.
    fn charge(&mut self, permit: &mut Permit, source: Source) -> Result<(), Refused> {
        match permit.charge(source) {
            Err(_) if self.evict(Some(source)) => permit.charge(source),
            charged => charged,
        }
    }

    /// Makes a connection the one that is meant by `tuple`. An older one of that name is dead,
    /// though its end has not been heard of.
    fn name(&mut self, place: usize, tuple: FiveTuple) {
        if let Some(older) = self.tuples.insert(tuple, place) {
            self.doom(older, End::Replaced);
            self.replaced = true;
        }
    }

    /// Whether [`Streams::doomed`] has something to tell before the next message is dealt with.
    pub fn take_replaced(&mut self) -> bool {
        std::mem::take(&mut self.replaced)
    }

    /// Closes the oldest stranger, of one source or of all. False if there is none.
    fn evict(&mut self, source: Option<Source>) -> bool {
        let of_source = |place: &usize| {
            let connection = self.places.get(*place).and_then(Option::as_ref);
            source.is_none() || connection.is_some_and(|c| c.permit.source() == source)
        };
        let oldest = self.strangers.values().copied().find(of_source);
        oldest.is_some_and(|place| self.remove(place, End::Evicted).is_some())
    }

    /// Closes a connection, and returns whose it was.
    fn remove(&mut self, place: usize, why: End) -> Option<FiveTuple> {
        self.get_mut(place)?.close();
        Some(self.take(place, why)?.tuple)
    }

    /// Takes a connection out of every table.
    fn take(&mut self, place: usize, why: End) -> Option<Connection> {
        let connection = self.places.get_mut(place)?.take()?;
        self.tls -= usize::from(connection.tuple.transport == Transport::Tls);
        self.free.push(place);
        self.strangers.remove(&connection.number);
        self.deadlines.remove(&(connection.deadline, place));
        self.counters.end(why);
        // Not when another connection has taken over the name.
        let named = self.tuples.get(&connection.tuple) == Some(&place);
        if named {
            self.tuples.remove(&connection.tuple);
        }
        Some(connection)
    }

    /// Notes that a connection has to end; [`Streams::doomed`] tells when it does.
    pub fn doom(&mut self, place: usize, why: End) {
        let Some(connection) = self.places.get_mut(place).and_then(Option::as_mut) else {
            return;
        };
        connection.doom.get_or_insert(why);
        list(&mut self.listed, connection, place);
    }

    /// Closes the next of those that have to end, and returns its five-tuple. What waits for them
    /// has been written by the [`Streams::flush`] before.
    pub fn doomed(&mut self) -> Option<FiveTuple> {
        while let Some(place) = self.listed.pop() {
            if let Some(connection) = self.get_mut(place) {
                connection.listed = false;
                if let Some(why) = connection.doom {
                    return self.remove(place, why);
                }
            }
        }
        None
    }

    /// A message of the connection has been dealt with: its client may have an allocation now.
    pub fn settle(&mut self, place: usize, has_allocation: impl FnOnce(&FiveTuple) -> bool) {
        if let Some(connection) = self.places.get_mut(place).and_then(Option::as_mut)
            && connection.stranger
            && has_allocation(&connection.tuple)
        {
            connection.stranger = false;
            self.strangers.remove(&connection.number);
        }
    }

    /// Sends `bytes`, one whole message, on the connection of `tuple`.
    pub fn send(&mut self, tuple: &FiveTuple, bytes: &[u8], kind: Kind) {
        let Some(&place) = self.tuples.get(tuple) else {
            return;
        };
        let Some(connection) = self.places.get_mut(place).and_then(Option::as_mut) else {
            return;
        };
        match connection.push(bytes, kind, &mut self.spares) {
            Pushed::Gathered => {}
            Pushed::Enough => connection.write(),
            Pushed::Dropped => return self.counters.late += 1,
            Pushed::Overflow => drop(connection.doom.get_or_insert(End::Overflow)),
        }
        list(&mut self.listed, connection, place);
    }

    /// The client of the connection in `place` sends nothing more, or it has failed.
    pub fn note_end(&mut self, place: usize) {
        if let Some(connection) = self.get_mut(place) {
            connection.ending = true;
        }
    }

    /// The connection's socket may take more, or it has failed.
    pub fn resume(&mut self, place: usize) {
        let Self {
            listed,
            places,
            spares,
            ..
        } = self;
        if let Some(connection) = places.get_mut(place).and_then(Option::as_mut)
            && connection.is_blocked()
        {
            connection.flush(spares);
            if connection.doom.is_some() {
                // No other event will tell of it.
                list(listed, connection, place);
            }
        }
    }

    /// Hands everything gathered to the kernel.
    pub fn flush(&mut self) {
        let Self {
            listed,
            places,
            spares,
            ..
        } = self;
        listed.retain(|&place| {
            let Some(connection) = places.get_mut(place).and_then(Option::as_mut) else {
                return false;
            };
            connection.flush(spares);
            connection.listed = connection.doom.is_some();
            connection.listed
        });
    }

    /// When a connection has to be looked at.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Looks at the next connection whose deadline has come; false when there is none.
    pub fn look(&mut self, now: Instant, has_allocation: impl Fn(&FiveTuple) -> bool) -> bool {
        let Some(&(at, place)) = self.deadlines.first().filter(|(at, _)| *at <= now) else {
            return false;
        };
        self.deadlines.remove(&(at, place));
        let Some(connection) = self.get_mut(place) else {
            return true;
        };
        let has_allocation = has_allocation(&connection.tuple);
        match connection.judge(now, has_allocation) {
            Ok(next) => {
                connection.deadline = next;
                // Whose allocation has ended is a stranger again.
                connection.stranger = !has_allocation;
                let number = connection.number;
                if has_allocation {
                    self.strangers.remove(&number);
                } else {
                    self.strangers.insert(number, place);
                }
                self.deadlines.insert((next, place));
            }
            Err(why) => self.doom(place, why),
        }
        true
    }
}

fn list(listed: &mut Vec<usize>, connection: &mut Connection, place: usize) {
    if !std::mem::replace(&mut connection.listed, true) {
        listed.push(place);
    }
}
