//! When this node itself is the one that is cut off: it keeps what was known, and says so.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::SocketAddrV4;

use common::panel::{LONG, Panel, observer};
use common::world::{Fate, World};
use common::{HOUR, MS, SECOND, six, three};
use dnsd_core::health::{Spared, State};
use dnsd_core::inventory::Inventory;
use dnsd_core::votes::{Cause, Vote};
use liveness::State as Claim;

fn cause(panel: &Panel) -> Option<Cause> {
    panel.fleet.isolation().map(|isolation| isolation.cause)
}

fn all(panel: &Panel, state: State) -> bool {
    (0..panel.relays.len()).all(|relay| panel.state(relay) == state)
}

#[test]
fn many_relays_silent_together_that_others_hear_are_kept_as_they_were() {
    let mut panel = Panel::settled(six(), 1, &["beta", "gamma"]);
    panel.befall(5, Fate::Muted);
    panel.run(LONG);
    assert_eq!(panel.state(5), State::Suspect);
    panel.world.log.clear();
    for relay in 0..4 {
        panel.befall(relay, Fate::Unheard);
    }
    panel.run(SECOND * 5);
    assert_eq!(cause(&panel), Some(Cause::Relays));
    assert!(panel.own().1, "and it says so");
    assert_eq!(panel.explain(0).isolated, Some(Cause::Relays));
    assert_eq!(panel.explain(0).spared, Some(Spared::Isolated));
    // Far beyond its patience: it hears less than half.
    panel.run(HOUR / 12);
    assert!(cause(&panel).is_some());
    let states = [0, 1, 2, 3, 4, 5].map(|relay| panel.state(relay));
    assert_eq!(states[..5], [State::Up; 5]);
    assert_eq!(states[5], State::Suspect, "as before");
    let doubts: Vec<_> = panel
        .log
        .iter()
        .filter(|(_, _, to)| *to != State::Up)
        .collect();
    assert!(doubts.len() <= 1, "{doubts:?}");
    // A word that does arrive counts.
    panel.claim(4, Claim::Draining);
    panel.run(SECOND);
    assert_eq!(panel.state(4), State::Draining);
    for relay in 0..4 {
        panel.befall(relay, Fate::Alive);
    }
    let took = panel.run_for(LONG, |world| world.fleet.isolation().is_none());
    assert!(
        (SECOND * 3..SECOND * 5).contains(&took.unwrap()),
        "{took:?}"
    );
    assert!((0..4).all(|relay| panel.explain(relay).flaps == 0));
    assert!((0..4).all(|relay| panel.state(relay) == State::Up));
}

#[test]
fn a_node_that_cannot_even_send_distrusts_itself() {
    let mut panel = Panel::settled(six(), 12, &["beta", "gamma"]);
    panel.world.offline = true;
    panel.run(SECOND * 3);
    assert_eq!(cause(&panel), Some(Cause::Relays));
    panel.run(LONG);
    assert!(all(&panel, State::Up));
    panel.world.offline = false;
    let took = panel.run_for(LONG, |world| world.fleet.isolation().is_none());
    assert!(took.unwrap() <= SECOND * 5, "{took:?}");
}

#[test]
fn an_outage_that_others_confirm_is_an_outage() {
    for isolated in [false, true] {
        let mut panel = Panel::settled(six(), 2, &["beta", "gamma"]);
        for relay in 0..3 {
            panel.befall(relay, Fate::Hung);
        }
        panel.run(MS * 1700);
        assert_eq!(
            cause(&panel),
            Some(Cause::Relays),
            "nobody has confirmed it yet"
        );
        // They doubt themselves for the same reason, and still say what they see.
        for relay in 0..3 {
            panel.say(relay, Vote::Down);
        }
        panel.others[0].isolated = isolated;
        panel.others[1].isolated = isolated;
        panel.run(MS * 200);
        assert_eq!(cause(&panel), None);
        for other in &mut panel.others {
            other.isolated = false;
        }
        panel.run(MS * 200);
        assert!((0..3).all(|relay| panel.state(relay) == State::Down));
        assert!((3..6).all(|relay| panel.state(relay) == State::Up));
    }
}

#[test]
fn all_relays_of_two_vendors_are_many() {
    let mut panel = Panel::settled(three(), 3, &["beta", "gamma"]);
    panel.befall(0, Fate::Unheard);
    panel.befall(1, Fate::Unheard);
    panel.run(SECOND * 3);
    assert_eq!(cause(&panel), Some(Cause::Vendors));
    assert!(all(&panel, State::Up));
}

#[test]
fn silences_that_begin_apart_are_not_this_nodes() {
    let mut panel = Panel::settled(six(), 4, &["beta", "gamma"]);
    for relay in 0..4 {
        panel.befall(relay, Fate::Unheard);
        panel.run(SECOND * 10);
        assert_eq!(cause(&panel), None, "{relay}");
        assert_eq!(panel.state(relay), State::Suspect);
    }
}

#[test]
fn refusals_are_answers() {
    let mut panel = Panel::settled(six(), 5, &["beta", "gamma"]);
    for relay in 0..5 {
        panel.befall(relay, Fate::Killed);
    }
    for _ in 0..30 {
        panel.run(MS * 100);
        assert_eq!(cause(&panel), None);
    }
    assert!((0..5).all(|relay| panel.state(relay) == State::Suspect));
}

#[test]
fn observers_silent_together_freeze_for_as_long_as_they_may_come_back() {
    let mut panel = Panel::settled(six(), 6, &["beta", "gamma", "delta"]);
    panel.others[0].gone = true;
    panel.run(LONG);
    assert_eq!(cause(&panel), None, "one of three");
    panel.others[1].gone = true;
    panel.others[2].gone = true;
    panel.run(SECOND * 4);
    assert_eq!(cause(&panel), Some(Cause::Peers));
    panel.befall(0, Fate::Killed);
    panel.run(SECOND * 5);
    assert_eq!(panel.state(0), State::Up, "frozen");
    // They do not come back: then this node decides alone.
    let took = panel.run_for(SECOND * 60, |world| world.state(0) == State::Down);
    assert!(
        (SECOND * 20..SECOND * 26).contains(&took.unwrap()),
        "{took:?}"
    );
    assert_eq!(cause(&panel), None);
}

#[test]
fn a_node_that_hears_most_relays_distrusts_itself_only_for_a_while() {
    let mut panel = Panel::settled(six(), 7, &["beta", "gamma"]);
    for relay in 0..3 {
        panel.befall(relay, Fate::Unheard);
    }
    panel.run(SECOND * 20);
    assert!(cause(&panel).is_some());
    panel.run(SECOND * 20);
    assert_eq!(cause(&panel), None);
    assert!(
        (0..3).all(|relay| panel.state(relay) == State::Suspect),
        "the votes keep them"
    );
    // And what dies elsewhere is seen again.
    panel.befall(5, Fate::Hung);
    panel.say(5, Vote::Down);
    panel.run(SECOND * 3);
    assert_eq!(panel.state(5), State::Down);
}

#[test]
fn one_that_loses_its_only_peer_with_the_relays_keeps_what_was_known() {
    let mut panel = Panel::settled(six(), 8, &["beta"]);
    panel.others[0].gone = true;
    for relay in 0..6 {
        panel.befall(relay, Fate::Unheard);
    }
    panel.run(HOUR / 6);
    assert!(cause(&panel).is_some());
    assert!(all(&panel, State::Up));
    // Losing the peer alone freezes nothing.
    let mut panel = Panel::settled(six(), 8, &["beta"]);
    panel.others[0].gone = true;
    panel.run(SECOND * 4);
    panel.befall(0, Fate::Hung);
    panel.run(SECOND * 3);
    assert_eq!((panel.state(0), cause(&panel)), (State::Down, None));
}

#[test]
fn alone_there_is_nobody_to_ask_and_an_outage_is_acted_on() {
    let mut world = World::new(six(), 9);
    let me = observer("ns0", "alpha", "eu");
    world.fleet.join(world.now, world.unix(), me);
    world.run(SECOND * 200);
    for relay in 0..3 {
        world.befall(relay, Fate::Hung);
    }
    world.run(SECOND * 3);
    assert!((0..3).all(|relay| world.state(relay) == State::Down));
    assert!(world.fleet.isolation().is_none());
}

#[test]
fn what_was_quiet_at_another_address_is_forgotten() {
    let mut panel = Panel::settled(six(), 10, &["beta", "gamma"]);
    for relay in 0..2 {
        panel.befall(relay, Fate::Unheard);
    }
    panel.run(MS * 1300);
    let six = six();
    let mut relays = six.relays().to_vec();
    for relay in &mut relays[..2] {
        relay.ipv4 = relay.ipv4.map(|at| SocketAddrV4::new(*at.ip(), 3479));
    }
    let moved = Inventory::new(
        six.zone().clone(),
        six.regions().to_vec(),
        relays,
        six.policy().clone(),
        six.thresholds().clone(),
    );
    let now = panel.now;
    panel.fleet().reconfigure(now, moved.unwrap());
    // With each input it is checked how many are quiet.
    panel.run(SECOND * 5);
    assert!((0..2).all(|relay| panel.state(relay) == State::Unknown));
    assert!((2..6).all(|relay| panel.state(relay) == State::Up));
    assert_eq!(cause(&panel), None);
}
