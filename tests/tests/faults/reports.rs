//! Reports that nobody should believe.

use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use cluster_tests::fleet::Fleet;
use cluster_tests::fleet::daemon::Daemon;
use cluster_tests::fleet::plan::{Plan, REPORTS, report_key};
use cluster_tests::netns::bridge::{Bridge, Host};
use cluster_tests::timing::until;
use liveness::{Key, KeyId, KeyRing, REPORT_LEN, Report, State};

/// Where somebody listens who should not.
const EAVESDROPPER: u8 = 66;
/// For how long what is false is told.
const TOLD: Duration = Duration::from_secs(6);
/// Between two lies.
const PAUSE: Duration = Duration::from_millis(5);
const DEADLINE: Duration = Duration::from_secs(20);

/// Somebody on the network who receives all reports, and can send.
struct Eavesdropper {
    socket: UdpSocket,
    dnsds: Vec<SocketAddr>,
}

impl Eavesdropper {
    fn new(host: &Host, dnsds: usize) -> Self {
        let socket = host
            .namespace
            .run(|| UdpSocket::bind((host.ipv4, REPORTS)).unwrap());
        socket.set_nonblocking(true).unwrap();
        let dnsds = (0..dnsds).map(|dnsd| ([45, 80, 3, Plan::dnsd_host(dnsd)], REPORTS).into());
        Self {
            socket,
            dnsds: dnsds.collect(),
        }
    }

    /// The reports that have come and nobody has taken, of one relay.
    fn heard(&self, relay: &str) -> Vec<[u8; REPORT_LEN]> {
        let mut buffer = [0; REPORT_LEN];
        let mut heard = Vec::new();
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let said = decoded(&buffer);
            if length == REPORT_LEN && said.relay.as_str() == relay {
                heard.push(buffer);
            }
        }
        heard
    }

    /// Tells all name servers these over and over.
    fn tell(&self, reports: &[[u8; REPORT_LEN]], duration: Duration) {
        assert!(!reports.is_empty(), "nothing to tell");
        let end = Instant::now() + duration;
        let mut all = reports.iter().cycle();
        while Instant::now() < end {
            let report = all.next().unwrap();
            for dnsd in &self.dnsds {
                let _ = self.socket.send_to(report, dnsd);
            }
            thread::sleep(PAUSE);
        }
    }
}

fn key(index: usize) -> Key {
    Key::new(report_key(index).into_bytes()).unwrap()
}

fn decoded(datagram: &[u8]) -> Report {
    let mut keys = KeyRing::default();
    for index in 0..6 {
        keys.insert(KeyId(index + 1), key(index as usize)).unwrap();
    }
    Report::decode(datagram, &keys).unwrap().0
}

/// A fleet, and somebody whom its relays report to as well.
fn overheard(name: &'static str) -> Option<(Fleet, Eavesdropper)> {
    let bridge = Bridge::new(name)?;
    let mut plan = Plan::new(name, 1);
    let host = bridge.host(EAVESDROPPER);
    plan.listeners.push((host.ipv4, REPORTS).into());
    let eavesdropper = Eavesdropper::new(&host, plan.dnsds);
    Some((Fleet::on(bridge, plan), eavesdropper))
}

/// How many reports a name server has refused for `outcome`.
fn refused(fleet: &Fleet, dnsd: usize, outcome: &str) -> i64 {
    fleet.metric(dnsd, &format!("reports_total{{outcome=\"{outcome}\"}}"))
}

/// Somebody says in a relay's name that it leaves: with no key, with a key of his own, with the
/// key of another relay.
pub(crate) fn forged() {
    let Some((fleet, eavesdropper)) = overheard("forged") else {
        return;
    };
    let victim = fleet.favourite();
    let other = (victim + 1) % fleet.relays.len();
    let genuine = until("a report", DEADLINE, || {
        eavesdropper.heard(&fleet.relays[victim].id).pop()
    });
    let mut lie = decoded(&genuine);
    lie.state = State::Draining;
    // As if it were the newest.
    lie.sequence += 1_000_000;
    let id = |index: usize| KeyId(u32::try_from(index + 1).unwrap());
    let own = Key::new(b"a-key-that-nobody-has-configured".to_vec()).unwrap();
    let mut patched = genuine;
    // The state, without a new MAC.
    patched[6] = lie.encode(id(victim), &own)[6];
    let forgeries = [
        ("mac", patched),
        ("mac", lie.encode(id(victim), &own)),
        ("unknown_key", lie.encode(KeyId(999), &own)),
        ("relay", lie.encode(id(other), &key(other))),
    ];
    let since = Instant::now();
    eavesdropper.tell(&forgeries.map(|(_, forgery)| forgery), TOLD);
    for (dnsd, (outcome, _)) in (0..fleet.dnsds.len()).flat_map(|d| forgeries.map(|f| (d, f))) {
        let refused = refused(&fleet, dnsd, outcome);
        println!(
            "measured forged ns{}: {refused} refused as {outcome}",
            dnsd + 1
        );
        assert!(refused > 10, "{outcome}: {refused}");
    }
    fleet.nothing_else(since, &[]);
    let changes = fleet.witness.changes(since);
    assert!(changes.is_empty(), "{changes:#?}");
}

/// Somebody repeats what a relay said: that it serves, when it has gone; that it leaves, when it
/// is back.
pub(crate) fn replayed() {
    let Some((fleet, eavesdropper)) = overheard("replayed") else {
        return;
    };
    let victim = fleet.favourite();
    let id = fleet.relays[victim].id.clone();
    let mut serving = Vec::new();
    until("reports", DEADLINE, || {
        serving.extend(eavesdropper.heard(&id));
        (serving.len() > 3).then_some(())
    });
    assert!(
        serving
            .iter()
            .all(|one| decoded(one).state == State::Serving)
    );
    let began = Instant::now();

    // It is gone; its words go on to be heard.
    let since = Instant::now();
    fleet.relays[victim].kill();
    eavesdropper.tell(&serving, TOLD);
    fleet.gone("replayed-serving", &[victim], since, Duration::from_secs(3));

    // Back, it leaves by its own word; back again, that word is repeated.
    fleet.relays[victim].start();
    fleet.all_become("up", DEADLINE);
    eavesdropper.heard(&id);
    fleet.relays[victim].signal(nix::sys::signal::Signal::SIGTERM);
    let draining = until("the word that it leaves", DEADLINE, || {
        let mut heard = eavesdropper.heard(&id);
        heard.retain(|one| decoded(one).state == State::Draining);
        Some(heard).filter(|heard| !heard.is_empty())
    });
    for dnsd in 0..fleet.dnsds.len() {
        fleet.becomes(dnsd, victim, "draining", DEADLINE);
    }
    fleet.relays[victim].kill();
    fleet.relays[victim].start();
    fleet.all_become("up", DEADLINE * 3);
    let since = Instant::now();
    eavesdropper.tell(&draining, TOLD);
    let left: Vec<_> = fleet.witness.changes(since);
    println!(
        "measured replayed-draining: {} changes in {} s",
        left.len(),
        TOLD.as_secs()
    );
    assert!(left.is_empty(), "{left:#?}");
    for dnsd in 0..fleet.dnsds.len() {
        let refused = refused(&fleet, dnsd, "replay");
        println!("measured replayed ns{}: {refused} refused", dnsd + 1);
        assert!(refused > 100, "{refused}");
    }
    fleet.nothing_else(began, &[victim]);
}

/// A machine was cloned, and both copies speak in one name: neither is believed, and the probes of
/// the address that is configured decide; no answer ever names the other.
pub(crate) fn twins() {
    let Some(fleet) = Fleet::start(Plan::sharing("twins", 1)) else {
        return;
    };
    let one = fleet.favourite();
    let host = fleet.bridge.host(EAVESDROPPER);
    let dir = fleet.relays[one].dir.with_file_name("twin");
    let config = fleet.plan.turnd_at(one, EAVESDROPPER, &dir);
    let other = Daemon::new("turnd", "twin", host, dir, &config);
    let since = Instant::now();
    other.start();
    for dnsd in 0..fleet.dnsds.len() {
        fleet.becomes(dnsd, one, "suspect", DEADLINE);
        assert!(refused(&fleet, dnsd, "twin") > 0, "not reported");
    }
    println!("measured twins: {:.2} s", since.elapsed().as_secs_f64());
    thread::sleep(TOLD);
    let addresses = other.host.addresses();
    let named = fleet.witness.rounds(since);
    let named = named.iter().find(|round| round.names_any(&addresses));
    assert!(named.is_none(), "{named:#?}");
    fleet.nothing_else(since, &[]);
    other.kill();
    let ended = Instant::now();
    fleet.all_become("up", DEADLINE * 3);
    println!(
        "measured twins-return: {:.2} s",
        ended.elapsed().as_secs_f64()
    );
    fleet.nothing_else(since, &[]);
}
