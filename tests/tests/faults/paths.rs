//! What happens to one way to a relay, by transport or address family, while the others work.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use cluster_tests::fleet::Fleet;
use cluster_tests::fleet::plan::{Plan, TURN, TURNS, ZONE};
use cluster_tests::fleet::witness::Round;
use cluster_tests::netns::bridge::Way;
use cluster_tests::subject::certificate::Certificate;
use nix::sys::signal::Signal;

/// From the moment a path answers wrongly, or not at all, to the last answer that leads there.
const WRONG: Duration = Duration::from_secs(16);
const SILENT: Duration = Duration::from_secs(24);
/// From a reload to the same, where the relay says itself that the path is gone.
const SAID: Duration = Duration::from_secs(2);
/// From the moment it works again to the first answers that lead there.
const BACK: Duration = Duration::from_mins(1);

/// Which answers are concerned.
#[derive(Clone, Copy)]
enum Broken {
    Transport(&'static str),
    Ipv6,
}

impl Broken {
    /// The addresses among the answers that `self` is about, or the others.
    fn answers<'a>(self, fleet: &'a Fleet, round: &'a Round, about: bool) -> Vec<&'a IpAddr> {
        let named = round.answers.iter().zip(&fleet.names);
        let named = named.flat_map(|(addresses, (_, by))| addresses.iter().map(move |a| (a, *by)));
        let concerned = |(address, by): &(&IpAddr, Option<&str>)| match self {
            Self::Transport(transport) => *by == Some(transport),
            Self::Ipv6 => address.is_ipv6(),
        };
        let chosen = named.filter(|named| concerned(named) == about);
        chosen.map(|(address, _)| address).collect()
    }
}

/// The relay that a client uses has one path broken; within `limit` the answers of that path go
/// without it, and those of no other do; when all is mended it comes back.
fn course(
    name: &'static str,
    broken: Broken,
    limit: Duration,
    harm: impl Fn(&Fleet, usize),
    mend: impl Fn(&Fleet, usize),
) {
    let plan = Plan {
        tls: true,
        ..Plan::new(name, 1)
    };
    let Some(fleet) = Fleet::start(plan) else {
        return;
    };
    let relay = fleet.favourite();
    let own = fleet.relays[relay].host.addresses();
    let names = |round: &Round, about: bool| {
        let answers = broken.answers(&fleet, round, about);
        answers.iter().any(|address| own.contains(address))
    };
    // Each asker has answers of one family.
    let concerned = |round: &Round| !broken.answers(&fleet, round, true).is_empty();
    let begun = Instant::now();
    fleet.settles(&format!("{name}-before"), begun, BACK, |round| {
        !concerned(round) || names(round, true)
    });
    let since = Instant::now();
    harm(&fleet, relay);
    fleet.settles(name, since, limit, |round| !names(round, true));
    let rounds = fleet.witness.rounds(since);
    let elsewhere = |round: &&Round| !broken.answers(&fleet, round, false).is_empty();
    for round in rounds.iter().filter(elsewhere) {
        assert!(names(round, false), "it stays in other answers: {round:#?}");
    }
    fleet.lanes_are_apart();
    mend(&fleet, relay);
    let mended = Instant::now();
    fleet.settles(&format!("{name}-return"), mended, BACK, |round| {
        !concerned(round) || names(round, true)
    });
    fleet.nothing_else(since, &[]);
}

/// A relay shows a certificate for the name that no issuer stands behind.
pub(crate) fn a_foreign_certificate() {
    certificate("tls-foreign", None);
}

/// A relay shows a certificate that expires sooner than clients may come.
pub(crate) fn a_certificate_that_expires() {
    certificate("tls-expires", Some(Duration::from_mins(30)));
}

fn certificate(name: &'static str, lives: Option<Duration>) {
    let harm = |fleet: &Fleet, relay: usize| {
        let dir = fleet.relays[relay].dir.join("other");
        std::fs::create_dir_all(&dir).unwrap();
        fleet.certify(relay, &Certificate::named(&dir, ZONE, lives));
    };
    let mend = |fleet: &Fleet, relay: usize| fleet.certify(relay, &fleet.certificate());
    course(name, Broken::Transport("tls"), WRONG, harm, mend);
}

/// A relay takes a configuration without TLS over: its reports say so.
pub(crate) fn tls_is_served_no_more() {
    let take = |fleet: &Fleet, relay: usize, tls: bool| {
        let plan = Plan {
            tls,
            ..fleet.plan.clone()
        };
        let daemon = &fleet.relays[relay];
        daemon.configure(&plan.turnd(relay, &daemon.dir));
        daemon.signal(Signal::SIGHUP);
    };
    course(
        "tls-removed",
        Broken::Transport("tls"),
        SAID,
        |fleet, relay| take(fleet, relay, false),
        |fleet, relay| take(fleet, relay, true),
    );
}

pub(crate) fn tls_is_blocked() {
    blocked(
        "tls-blocked",
        Broken::Transport("tls"),
        format!("tcp dport {TURNS}"),
    );
}

pub(crate) fn tcp_is_blocked() {
    blocked(
        "tcp-blocked",
        Broken::Transport("tcp"),
        format!("tcp dport {TURN}"),
    );
}

pub(crate) fn ipv6_is_broken() {
    blocked("ipv6-broken", Broken::Ipv6, "meta nfproto ipv6".to_owned());
}

fn blocked(name: &'static str, broken: Broken, rule: String) {
    let harm = move |fleet: &Fleet, relay: usize| {
        fleet.relays[relay].host.block(&rule, Way::In);
    };
    let mend = |fleet: &Fleet, relay: usize| fleet.relays[relay].host.mend();
    course(name, broken, SILENT, harm, mend);
}
