//! What a relay ought to do, slow and obvious, and a run that holds the relay against it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use turnd_core::{AllocationId, Config, Drain, Family, OpenError};

use crate::codec::{
    ADDITIONAL_FAMILY, Build, EVEN_PORT, FAMILY, RELAYED, RESERVATION, channel_data,
};
use crate::step::{Step, Wish};
use crate::world::{Client, World, addr, config};

/// How many clients there are.
pub(crate) const CLIENTS: usize = 4;

/// Two ports of one address, other addresses, both families, one denied, one of the relay's own.
pub(crate) const PEERS: [&str; 8] = [
    "9.9.9.9:1",
    "9.9.9.9:2",
    "1.1.1.1:1",
    "9.9.9.8:1",
    "[2606:4700::1]:1",
    "[2606:4700::2]:2",
    "127.0.0.1:1",
    "8.8.4.4:50001",
];

/// Takes all `steps`, each held against the model, then lets everything come to its end.
pub(crate) fn run(steps: impl IntoIterator<Item = Step>) {
    let mut run = Run::new();
    for step in steps {
        run.take(step);
    }
    // Everything ends some day.
    run.world.advance_secs(2 * 3600);
    assert_eq!(run.world.relay.sessions(), 0);
    let footprint = run.world.relay.footprint();
    assert_eq!((footprint.ports, footprint.deadlines), (0, 0));
}

/// An allocation.
#[derive(Clone, Copy)]
struct Held {
    /// When its address of each family ends.
    ends: [Option<Duration>; 2],
    id: AllocationId,
}

/// What a client ought to have: slow and obvious.
#[derive(Default)]
struct Model {
    allocation: Option<Held>,
    permissions: BTreeMap<IpAddr, Duration>,
    channels: BTreeMap<u16, (SocketAddr, Duration)>,
}

impl Model {
    fn forget_expired(&mut self, now: Duration) {
        for family in Family::ALL {
            let held = self.allocation.as_ref();
            if held.is_some_and(|held| held.ends[family.index()].is_some_and(|end| end <= now)) {
                self.drop_family(family);
            }
        }
        self.permissions.retain(|_, end| now < *end);
        self.channels.retain(|_, (_, end)| now < *end);
    }

    fn drop_family(&mut self, family: Family) {
        if let Some(held) = &mut self.allocation {
            held.ends[family.index()] = None;
            if held.ends == [None; 2] {
                *self = Self::default();
            }
        }
        self.permissions.retain(|ip, _| Family::of(*ip) != family);
        self.channels
            .retain(|_, (peer, _)| Family::of(peer.ip()) != family);
    }

    /// Whether there is an allocation, with an address of the family of `peer`: `None` without one.
    fn fits(&self, peer: SocketAddr) -> Option<bool> {
        let family = Family::of(peer.ip());
        Some(self.allocation?.ends[family.index()].is_some())
    }

    fn permits(&self, peer: SocketAddr) -> bool {
        self.allocation.is_some() && self.permissions.contains_key(&peer.ip())
    }
}

/// The usual configuration without caps on how fast things happen: the model knows none.
pub(crate) fn unhurried() -> Config {
    let mut config = config();
    config.limits.new_peers = 0;
    config.limits.bandwidth = 0;
    config.limits.packets = 0;
    config
}

struct Run {
    world: World,
    clients: Vec<Client>,
    models: Vec<Model>,
    /// The token that was given last, and the port it stands for.
    token: Option<(Vec<u8>, SocketAddr)>,
    deny: bool,
    drain: Drain,
}

impl Run {
    fn new() -> Self {
        let mut world = World::with(unhurried());
        world.auto_open = false;
        let clients = (0..CLIENTS).map(|n| {
            let address = format!("192.0.2.{n}:5000");
            Client::with_credential(&address, "alice", 1_000_000, crate::world::SECRET)
        });
        Self {
            world,
            clients: clients.collect(),
            models: (0..CLIENTS).map(|_| Model::default()).collect(),
            token: None,
            deny: false,
            drain: Drain::Serving,
        }
    }

    /// Sends a signed request, with a nonce that is good, and gives the code of the reply: 0 is
    /// success, `None` no reply yet.
    fn ask(&mut self, client: usize, build: Build) -> Option<u16> {
        self.clients[client].learn_nonce(&mut self.world);
        self.note_granted();
        self.world.replies.clear();
        let (tuple, bytes) = {
            let client = &self.clients[client];
            (client.tuple, client.sign(build).bytes)
        };
        self.world.give(tuple, &bytes);
        // An earlier request may be answered now, because its socket took too long.
        let mut replies = self.world.replies.drain(..);
        let (to, reply) = replies.find(|(_, reply)| reply.transaction == bytes[8..20])?;
        assert_eq!(to, tuple);
        assert!(reply.is_signed(&self.clients[client].key));
        Some(reply.error().unwrap_or(0))
    }

    fn is_denied(&self, peer: SocketAddr) -> bool {
        peer.ip().is_loopback() || self.deny && peer.ip() == addr("9.9.9.9:1").ip()
    }

    /// Notes the allocations that were announced. Their sockets are open, and no others.
    fn note_granted(&mut self) {
        while let Some((at, tuple, reply)) = self.world.granted.pop_front() {
            let client = self.clients.iter().position(|c| c.tuple == tuple).unwrap();
            let told = reply.addresses(RELAYED);
            let id = self.world.id_of(told[0]);
            let open = self.world.sockets.iter().filter(|(key, _)| key.0 == id);
            let open: Vec<SocketAddr> = open.map(|(_, address)| *address).collect();
            assert_eq!(open, told);
            let mut ends = [None; 2];
            for address in &told {
                ends[Family::of(address.ip()).index()] = Some(at + Duration::from_mins(10));
            }
            self.models[client].allocation = Some(Held { ends, id });
            if let Some(token) = reply.get(RESERVATION) {
                let above = SocketAddr::new(told[0].ip(), told[0].port() + 1);
                self.token = Some((token.to_vec(), above));
            }
        }
    }

    fn take(&mut self, step: Step) {
        self.note_granted();
        let now = self.world.elapsed;
        for model in &mut self.models {
            model.forget_expired(now);
        }
        match step {
            Step::Allocate { client, wish } => self.allocate(client, wish),
            Step::Refresh {
                client,
                family,
                lifetime,
            } => self.refresh(client, family, lifetime),
            Step::Permit { client, peers } => self.permit(client, &peers),
            Step::Bind {
                client,
                channel,
                peer,
            } => self.bind(client, channel, addr(PEERS[peer])),
            Step::Send { client, peer } => {
                let bytes = self.clients[client].send(PEERS[peer], b"data");
                let peer = addr(PEERS[peer]);
                let expected = self.models[client]
                    .permits(peer)
                    .then(|| (peer, b"data".to_vec()));
                let tuple = self.clients[client].tuple;
                assert_eq!(self.world.data(tuple, &bytes), expected);
            }
            Step::ChannelData { client, channel } => {
                let model = &self.models[client];
                let bound = model.channels.get(&channel).map(|(peer, _)| *peer);
                let expected = bound.filter(|peer| model.permits(*peer));
                let tuple = self.clients[client].tuple;
                let frame = channel_data(channel, b"data");
                // Numbers below 0x4000 make it look like STUN, and are malformed there.
                let sent = self.world.data(tuple, &frame);
                assert_eq!(sent.map(|(peer, _)| peer), expected);
            }
            Step::FromPeer { slot, peer } => self.peer_sends(slot, addr(PEERS[peer])),
            Step::Answer { result } => self.answer(result),
            Step::Advance { seconds, handled } => {
                if handled {
                    self.world.advance_secs(seconds);
                } else {
                    self.world.elapsed += Duration::from_secs(seconds);
                }
            }
            Step::Gone { client } => {
                let (now, tuple) = (self.world.now(), self.clients[client].tuple);
                self.world.relay.client_gone(now, &tuple);
                self.world.drain();
                assert!(!self.world.relay.serves(&tuple));
                self.models[client] = Model::default();
            }
            Step::Unserve => {
                let server = self.clients[0].tuple.server;
                assert!(self.world.relay.unserve(|tuple| tuple.server == server));
                self.world.drain();
                assert_eq!(self.world.relay.sessions(), 0);
                self.models.fill_with(Model::default);
            }
            Step::Reconfigure { deny } => self.reconfigure(deny),
            Step::Drain { mode } => {
                self.drain = match mode {
                    0 => Drain::Draining {
                        alternates: turnd_core::Alternates::default(),
                    },
                    1 => Drain::RefuseRefresh {
                        alternates: turnd_core::Alternates::default(),
                    },
                    _ => Drain::Serving,
                };
                self.world.relay.drain_mode(self.drain.clone());
            }
            Step::Damage { client, at, with } => {
                let build = self.clients[client].refresh_request(Some(0));
                let mut bytes = self.clients[client].sign(build).bytes;
                let at = at % bytes.len();
                bytes[at] ^= with;
                self.world.replies.clear();
                self.world.give(self.clients[client].tuple, &bytes);
                // Damaged into a Binding request it is one.
                let replies = self.world.replies.iter().map(|(_, reply)| reply);
                // An earlier Allocate may be granted now, because one of its sockets took too long.
                let mut replies = replies.filter(|r| r.transaction == bytes[8..20]);
                let refused = replies.all(|r| !r.is_success() || r.kind == 0x0101);
                assert!(refused, "a damaged request was obeyed");
            }
            Step::Noise { client, bytes } => {
                let now = self.world.now();
                let tuple = self.clients[client].tuple;
                let _ = self.world.relay.handle_client(now, tuple, &bytes);
                self.world.drain();
            }
        }
    }

    fn allocate(&mut self, client: usize, wish: Wish) {
        let build = self.clients[client].allocate_request();
        let asked = self.world.asked.len();
        let (build, reserved) = match (wish, self.token.take()) {
            (Wish::Reserved, Some((token, address))) => {
                (build.attr(RESERVATION, &token), Some(address))
            }
            (Wish::Reserved, None) => (build, None),
            (Wish::One(family), token) => {
                self.token = token;
                let build = build.attr(FAMILY, &[family as u8 + 1, 0, 0, 0]);
                (build, None)
            }
            (Wish::Both, _) => (build.attr(ADDITIONAL_FAMILY, &[2, 0, 0, 0]), None),
            (Wish::Pair, _) => (build.attr(EVEN_PORT, &[0x80]), None),
        };
        let code = self.ask(client, build);
        if self.models[client].allocation.is_some() {
            assert_eq!(code, Some(437));
        } else if self.drain != Drain::Serving && code != Some(437) {
            assert_eq!(code, Some(508));
        } else if let Some(address) = reserved.filter(|_| code != Some(508)) {
            let is_asked = self.world.asked.back().is_some_and(|(_, a)| *a == address);
            assert!(is_asked || code == Some(437), "another port than reserved");
        } else {
            // Asked for a socket, or there is such a question already. A token may be too old.
            let refused = matches!(code, Some(437)) || reserved.is_some();
            assert!(code.is_none() || refused, "{code:?}");
            let sockets = if wish == Wish::Both { 2 } else { 1 };
            let more = self.world.asked.len() - asked.min(self.world.asked.len());
            assert!(code.is_some() || more <= sockets);
        }
    }

    fn answer(&mut self, result: Result<(), OpenError>) {
        let Some((id, _)) = self.world.asked.front().copied() else {
            return;
        };
        self.world.replies.clear();
        self.world.answer(result);
        if let Some((_, reply)) = self.world.replies.pop_front() {
            // One socket of two is enough.
            let open = self.world.sockets.keys().any(|(open, _)| *open == id);
            assert_eq!(reply.is_success(), open);
            assert!(!open || self.world.asked.iter().all(|(asked, _)| *asked != id));
        }
        self.note_granted();
    }

    fn refresh(&mut self, client: usize, family: Option<Family>, lifetime: Option<u32>) {
        let build = self.clients[client].refresh_request(lifetime);
        let build = match family {
            Some(family) => build.attr(FAMILY, &[family as u8 + 1, 0, 0, 0]),
            None => build,
        };
        let code = self.ask(client, build);
        let model = &mut self.models[client];
        let Some(held) = &mut model.allocation else {
            return assert_eq!(code, Some(437));
        };
        if family.is_some_and(|family| held.ends[family.index()].is_none()) {
            return assert_eq!(code, Some(443));
        }
        let families = Family::ALL.map(|f| family.is_none_or(|family| family == f));
        let of_them = || Family::ALL.into_iter().filter(|f| families[f.index()]);
        if lifetime == Some(0) {
            for family in of_them() {
                model.drop_family(family);
            }
        } else if matches!(self.drain, Drain::RefuseRefresh { .. }) {
            return assert_eq!(code, Some(437));
        } else {
            let most = if self.drain == Drain::Serving {
                3600
            } else {
                600
            };
            let seconds = lifetime.unwrap_or(600).clamp(600, most);
            let end = self.world.elapsed + Duration::from_secs(seconds.into());
            for family in of_them() {
                if let Some(held) = &mut held.ends[family.index()] {
                    *held = end;
                }
            }
        }
        assert_eq!(code, Some(0));
    }

    fn permit(&mut self, client: usize, peers: &[usize]) {
        let mut build = self.clients[client].request(crate::codec::CREATE_PERMISSION);
        for peer in peers {
            build = build.peer(addr(PEERS[*peer]));
        }
        let code = self.ask(client, build);
        let now = self.world.elapsed;
        if self.models[client].allocation.is_none() {
            return assert_eq!(code, Some(437));
        }
        let peers: Vec<SocketAddr> = peers.iter().map(|p| addr(PEERS[*p])).collect();
        let bad = peers.iter().find_map(|peer| {
            let fits = self.models[client].fits(*peer) == Some(true);
            let denied = self.is_denied(*peer).then_some(403);
            if fits { denied } else { Some(443) }
        });
        let expected = if peers.is_empty() { Some(400) } else { bad };
        assert_eq!(code, Some(expected.unwrap_or(0)));
        if expected.is_none() {
            for peer in peers {
                self.install(client, peer, now);
            }
        }
    }

    fn install(&mut self, client: usize, peer: SocketAddr, now: Duration) {
        let end = now + Duration::from_mins(5);
        self.models[client].permissions.insert(peer.ip(), end);
    }

    fn bind(&mut self, client: usize, channel: u16, peer: SocketAddr) {
        let mut number = channel.to_be_bytes().to_vec();
        number.extend([0, 0]);
        let build = self.clients[client].request(crate::codec::CHANNEL_BIND);
        let build = build.attr(crate::codec::CHANNEL_NUMBER, &number).peer(peer);
        let code = self.ask(client, build);
        let now = self.world.elapsed;
        let model = &self.models[client];
        let expected = if let Some(fits) = model.fits(peer) {
            let other = model
                .channels
                .get(&channel)
                .is_some_and(|(p, _)| *p != peer)
                || model
                    .channels
                    .iter()
                    .any(|(c, (p, _))| *p == peer && *c != channel);
            if !(0x4000..=0x7fff).contains(&channel) {
                400
            } else if !fits {
                443
            } else if self.is_denied(peer) {
                403
            } else if other {
                400
            } else {
                0
            }
        } else {
            437
        };
        assert_eq!(code, Some(expected));
        if expected == 0 {
            let end = now + Duration::from_mins(10);
            self.models[client].channels.insert(channel, (peer, end));
            self.install(client, peer, now);
        }
    }

    fn peer_sends(&mut self, slot: usize, peer: SocketAddr) {
        let Some((id, _)) = self.world.sockets.keys().nth(slot).copied() else {
            return;
        };
        let owns = |model: &Model| model.allocation.is_some_and(|held| held.id == id);
        let owner = self.models.iter().position(owns);
        let owner = owner.filter(|client| self.models[*client].permits(peer));
        let relayed = self.world.peer_sends(id, peer, b"data");
        assert_eq!(relayed.is_some(), owner.is_some());
        if let (Some((tuple, bytes)), Some(client)) = (relayed, owner) {
            assert_eq!(tuple, self.clients[client].tuple);
            let mut channels = self.models[client].channels.iter();
            match channels.find(|(_, (bound, _))| *bound == peer) {
                Some((number, _)) => assert_eq!(bytes, channel_data(*number, b"data")),
                None => assert_eq!(bytes[..2], [0x00, 0x17]),
            }
        }
    }

    fn reconfigure(&mut self, deny: bool) {
        // The one before has had its turn; what happens in between has not waited for that.
        let now = self.world.now();
        self.world.relay.handle_timeout(now);
        self.world.drain();
        self.deny = deny;
        let mut config = unhurried();
        if deny {
            config.peers = config.peers.deny(["9.9.9.9/32".parse().unwrap()]);
            for model in &mut self.models {
                model.permissions.remove(&addr("9.9.9.9:1").ip());
                model
                    .channels
                    .retain(|_, (peer, _)| peer.ip() != addr("9.9.9.9:1").ip());
            }
        }
        self.world.relay.reconfigure(config.into());
    }
}
