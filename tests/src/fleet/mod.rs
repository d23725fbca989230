//! Relays and name servers, each on a machine of its own, under faults: real processes, real
//! sockets, both IP protocols, in network namespaces that vanish with the test.

pub mod daemon;
pub mod plan;
pub mod witness;

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::binaries;
use crate::netns::bridge::{Bridge, Host};
use crate::subject::certificate::Certificate;
use crate::timing::until;
use daemon::Daemon;
use plan::{API_KEY, Place, Plan, ZONE};
use witness::{Round, Witness};

/// File name of a name server's control socket.
pub const CONTROL: &str = "control.sock";
/// How long a fleet may take to come up.
const DEADLINE: Duration = Duration::from_mins(1);
/// How long answers must stay as hoped to count.
const HOLD: Duration = Duration::from_secs(1);

/// A fleet that is up.
#[derive(Debug)]
pub struct Fleet {
    /// What it was built after.
    pub plan: Plan,
    /// All that the name servers answer and think. First, so that it ends before they do.
    pub witness: Witness,
    /// Its relays.
    pub relays: Vec<Daemon>,
    /// Its name servers.
    pub dnsds: Vec<Daemon>,
    /// A client's machine.
    pub client: Host,
    /// What they are all connected to.
    pub bridge: Bridge,
    /// The names that are asked for, and by which transport their relays are to work, if by one.
    pub names: Vec<(String, Option<&'static str>)>,
    dir: PathBuf,
    began: Instant,
}

impl Fleet {
    /// Builds and starts one, and waits until every name server calls every relay up; where clocks
    /// differ, that is left to the test. `None` where it is not possible here.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(plan: Plan) -> Option<Self> {
        let bridge = Bridge::new(plan.name)?;
        Some(Self::on(bridge, plan))
    }

    /// The same on a bridge that is there already.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn on(bridge: Bridge, plan: Plan) -> Self {
        let dir = binaries::scratch(&format!("faults-{}", plan.name));
        if plan.tls {
            let certificate = Certificate::named(&dir, ZONE, None);
            for place in &plan.relays {
                show(&certificate, &dir.join(&place.id));
            }
        }
        let clock = |id: &str| {
            let mut clocks = plan.clocks.iter();
            clocks.find(|(of, _)| of == id).map(|(_, offset)| *offset)
        };
        let relays = plan.relays.iter().enumerate().map(|(index, place)| {
            let (id, dir) = (&place.id, dir.join(&place.id));
            let host = bridge.host(Plan::relay_host(index));
            let config = plan.turnd(index, &dir);
            Daemon::new("turnd", id, host, dir, &config).with_clock(clock(id))
        });
        let relays: Vec<_> = relays.collect();
        let dnsds = (0..plan.dnsds).map(|index| {
            let id = Plan::dnsd_id(index);
            let (host, dir) = (bridge.host(Plan::dnsd_host(index)), dir.join(&id));
            let config = plan.dnsd(index, &dir);
            Daemon::new("dnsd", &id, host, dir, &config).with_clock(clock(&id))
        });
        let mut fleet = Self {
            names: Vec::new(),
            relays,
            dnsds: dnsds.collect(),
            client: bridge.host(2),
            witness: Witness::default(),
            bridge,
            plan,
            dir,
            began: Instant::now(),
        };
        fleet
            .relays
            .iter()
            .chain(&fleet.dnsds)
            .for_each(Daemon::start);
        for dnsd in &fleet.dnsds {
            fleet.witness.follow(&dnsd.id, dnsd.dir.join(CONTROL));
        }
        if fleet.plan.clocks.is_empty() {
            fleet.all_become("up", DEADLINE);
        }
        fleet.names = fleet.names();
        let names: Vec<_> = fleet.names.iter().map(|(name, _)| name.clone()).collect();
        for dnsd in &fleet.dnsds {
            for address in dnsd.host.addresses() {
                let from = fleet.client.address(address);
                let server = SocketAddr::new(address, 53);
                fleet
                    .witness
                    .ask(&fleet.client.namespace, server, from, &names);
            }
        }
        fleet
    }

    /// Waits until the name server `dnsd` sees a relay as `state`.
    ///
    /// # Panics
    /// When that takes longer than `limit`.
    pub fn becomes(&self, dnsd: usize, relay: usize, state: &str, limit: Duration) {
        let (dnsd, relay) = (&self.dnsds[dnsd].id, &self.relays[relay].id);
        until(&format!("{dnsd} sees {relay} {state}"), limit, || {
            (self.witness.state(dnsd, relay)? == state).then_some(())
        });
    }

    /// Waits until every name server sees every relay as `state`.
    ///
    /// # Panics
    /// When that takes longer than `limit`.
    pub fn all_become(&self, state: &str, limit: Duration) {
        let other = || {
            self.dnsds.iter().find_map(|dnsd| {
                self.relays.iter().find_map(|relay| {
                    let seen = self.witness.state(&dnsd.id, &relay.id);
                    (seen.as_deref() != Some(state)).then_some((&dnsd.id, &relay.id, seen))
                })
            })
        };
        let deadline = Instant::now() + limit;
        while let Some(other) = other() {
            assert!(Instant::now() < deadline, "not all {state}: {other:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Every steered name: the apex, both lanes, a region, where relays serve TLS those by transport,
    /// and the labels of a fresh credential; the two lanes last.
    fn names(&self) -> Vec<(String, Option<&'static str>)> {
        let mut names = vec![(ZONE.to_owned(), None)];
        names.extend(["a", "b", "us"].map(|label| (format!("{label}.{ZONE}"), None)));
        let credential = self.credential();
        if self.plan.tls {
            for transport in ["udp", "tcp", "tls"] {
                for below in ["", "a.", "b."] {
                    names.push((format!("{transport}.{below}{ZONE}"), Some(transport)));
                }
            }
            let urls = credential["iceServers"][0]["urls"].as_array();
            for url in urls.into_iter().flatten().filter_map(Value::as_str) {
                let transport = match url.split_once(':').map(|(scheme, _)| scheme) {
                    Some("turns") => "tls",
                    _ if url.ends_with("transport=tcp") => "tcp",
                    _ => "udp",
                };
                let host = url.split(':').nth(1).expect("a host");
                names.push((host.to_owned(), Some(transport)));
            }
        }
        let lane = |lane| {
            credential["lanes"][lane]
                .as_str()
                .expect("a name")
                .to_owned()
        };
        names.extend(["a", "b"].map(|name| (lane(name), None)));
        names
    }

    /// Gives a relay another certificate for the zone's name, which it takes over at once.
    pub fn certify(&self, relay: usize, certificate: &Certificate) {
        show(certificate, &self.relays[relay].dir);
        self.relays[relay].signal(Signal::SIGHUP);
    }

    /// The certificate that all relays begin with.
    pub fn certificate(&self) -> Certificate {
        Certificate {
            chain: self.dir.join("chain.pem"),
            key: self.dir.join("key.pem"),
        }
    }

    /// A credential, as an app's back end gets it from the first relay.
    fn credential(&self) -> Value {
        let url = format!(
            "http://{}:8080/v1/credentials?user=scenario",
            self.relays[0].host.ipv4
        );
        self.client.namespace.run(|| {
            until("a relay issues credentials", DEADLINE, || {
                let key = format!("Bearer {API_KEY}");
                let mut response = ureq::get(&url).header("Authorization", key).call().ok()?;
                response.body_mut().read_json().ok()
            })
        })
    }

    /// A metric of a name server, by its name with labels but without the prefix; 0 if it is not
    /// there.
    ///
    /// # Panics
    /// When the name server shows no metrics.
    pub fn metric(&self, dnsd: usize, name: &str) -> i64 {
        let text = self.dnsds[dnsd].host.namespace.run(|| {
            let mut page = ureq::get("http://127.0.0.1:9653/metrics")
                .call()
                .expect("it answers");
            page.body_mut().read_to_string().expect("text")
        });
        let name = format!("turnfleet_dnsd_{name} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        line.map_or(0, |value| value.trim().parse().expect("a number"))
    }

    /// Gives a name server another configuration and tells it to take that over.
    pub fn reconfigure(&self, dnsd: usize, plan: &Plan) {
        let daemon = &self.dnsds[dnsd];
        daemon.configure(&plan.dnsd(dnsd, &daemon.dir));
        daemon.signal(Signal::SIGHUP);
    }

    /// Where a relay stands.
    pub fn place(&self, relay: usize) -> &Place {
        &self.plan.relays[relay]
    }

    /// The relays that `which` picks.
    pub fn those(&self, which: impl Fn(&Place) -> bool) -> Vec<usize> {
        (0..self.relays.len())
            .filter(|relay| which(self.place(*relay)))
            .collect()
    }

    /// The relay that has an address.
    ///
    /// # Panics
    /// When none has.
    pub fn relay_at(&self, address: IpAddr) -> usize {
        let found = self
            .relays
            .iter()
            .position(|relay| relay.host.addresses().contains(&address));
        found.expect("an address of a relay")
    }

    /// The relay that the first client over IPv4 is sent to first, by the lane a of its credential.
    ///
    /// # Panics
    /// When there is no answer yet.
    pub fn favourite(&self) -> usize {
        let first = until("a first answer", DEADLINE, || {
            let round = self.witness.latest(0)?;
            round.answers.iter().rev().nth(1)?.first().copied()
        });
        self.relay_at(first)
    }

    /// How long after `since` everything that every name server answers was as `good` wants, and
    /// stayed so: the longest of all. Printed as `measured <label>: <seconds> s`.
    ///
    /// # Panics
    /// When it takes longer than `limit`.
    pub fn settles(
        &self,
        label: &str,
        since: Instant,
        limit: Duration,
        good: impl Fn(&Round) -> bool,
    ) -> Duration {
        let took = (0..self.witness.askers()).map(|asker| {
            loop {
                let rounds = self.witness.rounds(since);
                let own = || rounds.iter().filter(|round| round.asker == asker);
                let bad = own()
                    .filter(|round| !good(round))
                    .map(|round| round.ended)
                    .max();
                let first = own().find(|round| bad.is_none_or(|bad| round.begun >= bad));
                let last = own().next_back();
                if let (Some(first), Some(last)) = (first, last)
                    && last.ended - first.begun >= HOLD
                {
                    break first.ended - since;
                }
                assert!(
                    since.elapsed() <= limit + HOLD * 2,
                    "{label}: asker {asker} not within {limit:?}: {last:#?}"
                );
                thread::sleep(Duration::from_millis(20));
            }
        });
        let took = took.max().expect("an asker");
        println!("measured {label}: {:.2} s", took.as_secs_f64());
        assert!(took <= limit, "{label}: {took:?}, more than {limit:?}");
        took
    }

    /// How long after `since` no answer named any of `relays` any more.
    ///
    /// # Panics
    /// When that takes longer than `limit`.
    pub fn gone(&self, label: &str, relays: &[usize], since: Instant, limit: Duration) -> Duration {
        let addresses = self.addresses(relays);
        self.settles(label, since, limit, |round| !round.names_any(&addresses))
    }

    /// The addresses of some relays.
    pub fn addresses(&self, relays: &[usize]) -> Vec<IpAddr> {
        relays
            .iter()
            .flat_map(|relay| self.relays[*relay].host.addresses())
            .collect()
    }

    /// No name server gave a wrong or empty answer, or none, since `since`, and no relay but
    /// `harmed` was ever called down.
    ///
    /// # Panics
    /// When one did, or was.
    pub fn nothing_else(&self, since: Instant, harmed: &[usize]) {
        self.never_empty(since);
        let ids: Vec<_> = harmed.iter().map(|relay| &self.relays[*relay].id).collect();
        let down =
            |change: &witness::Change| change.state == "down" && !ids.contains(&&change.relay);
        let wrongly: Vec<_> = self
            .witness
            .changes(since)
            .into_iter()
            .filter(down)
            .collect();
        assert!(wrongly.is_empty(), "{wrongly:#?}");
    }

    /// No name server gave a wrong or empty answer, or none, since `since`.
    ///
    /// # Panics
    /// When one did.
    pub fn never_empty(&self, since: Instant) {
        let rounds = self.witness.rounds(since);
        assert!(!rounds.is_empty(), "nobody asked");
        let wrong: Vec<_> = rounds
            .iter()
            .filter_map(|round| round.wrong.as_ref())
            .collect();
        assert!(
            wrong.is_empty(),
            "{} wrong answers, first {:?}",
            wrong.len(),
            wrong[0]
        );
    }

    /// The two lanes of one client name no common vendor and no common zone, at any name server.
    ///
    /// # Panics
    /// When they do.
    pub fn lanes_are_apart(&self) {
        for asker in 0..self.witness.askers() {
            let round = self.witness.latest(asker).expect("an answer");
            let [.., a, b] = &round.answers[..] else {
                panic!("two lanes are asked for: {round:?}");
            };
            for pair in a.iter().flat_map(|a| b.iter().map(move |b| (*a, *b))) {
                let (a, b) = (
                    self.place(self.relay_at(pair.0)),
                    self.place(self.relay_at(pair.1)),
                );
                assert!(a.vendor != b.vendor && a.zone != b.zone, "{a:?} and {b:?}");
            }
        }
    }
}

/// Puts a certificate and its key where a relay looks for them.
fn show(certificate: &Certificate, dir: &Path) {
    fs::create_dir_all(dir).expect("a directory is made");
    for (from, to) in [
        (&certificate.chain, "chain.pem"),
        (&certificate.key, "key.pem"),
    ] {
        fs::copy(from, dir.join(to)).expect("a file is copied");
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!(
                "configuration files and logs are kept in {}",
                self.dir.display()
            );
            for change in self.witness.changes(self.began) {
                let ago = change.at.elapsed().as_secs_f64();
                eprintln!(
                    "{ago:.2} s ago {} {}: {} ({})",
                    change.dnsd, change.relay, change.state, change.reason
                );
            }
        } else {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}
