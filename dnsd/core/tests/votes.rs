//! Several observers: nobody condemns alone, nobody is believed who is blind, nobody is fooled.
#![allow(clippy::unwrap_used)]

mod common;

use common::panel::{AT_ONCE, LONG, Panel, SOON, observer};
use common::world::{EPOCH, Fate, World};
use common::{HOUR, MS, SECOND, six, start};
use credentials::UnixTime;
use dnsd_core::fleet::Fleet;
use dnsd_core::health::{Override, Reason, Spared, State};
use dnsd_core::limits;
use dnsd_core::transfer::Edition;
use dnsd_core::votes::{Ballot, BallotOutcome, Vote};
use liveness::State as Claim;

fn reason(panel: &Panel, relay: usize) -> Reason {
    panel.fleet.verdict(panel.relays[relay].id).unwrap().reason
}

#[test]
fn one_observer_that_cannot_hear_a_relay_makes_it_suspect_and_never_down() {
    let mut panel = Panel::settled(six(), 1, &["beta", "gamma"]);
    panel.befall(0, Fate::Unheard);
    panel
        .run_for(SECOND * 3, |world| world.state(0) == State::Suspect)
        .unwrap();
    panel.world.log.clear();
    panel.run(HOUR / 6);
    assert_eq!(panel.state(0), State::Suspect);
    assert!(panel.log.is_empty(), "{:?}", panel.log);
    assert_eq!(panel.own().0[0], Vote::Down);
    let explained = panel.explain(0);
    assert_eq!(explained.spared, Some(Spared::NotAgreed));
    assert_eq!(explained.accused, Some(Reason::Unreachable));
    let votes = explained.votes;
    assert_eq!((votes.observers, votes.up, votes.down), (3, 2, 1));
    assert_eq!((votes.domains, votes.down_domains), (3, 1));
    assert_eq!(explained.ballots.len(), 2);
    assert!(explained.ballots.iter().all(|said| said.vote == Vote::Up));
}

#[test]
fn what_all_see_dead_is_down_with_the_vote_that_decides() {
    let mut panel = Panel::settled(six(), 2, &["beta", "gamma"]);
    panel.befall(0, Fate::Hung);
    panel.run(MS * 2100);
    assert_eq!(panel.state(0), State::Suspect);
    panel.say(0, Vote::Down);
    let took = panel.run_for(SOON, |world| world.state(0) == State::Down);
    assert!(took.unwrap() <= AT_ONCE, "{took:?}");
    let evidence = panel.explain(0).evidence.unwrap();
    assert_eq!(evidence.accused, Some(Reason::Unreachable));
    assert!(evidence.silent_ms >= 1000 && evidence.stun.points >= 6);
    assert_eq!(evidence.finding, Vote::Down);
    let votes = evidence.votes;
    assert_eq!((votes.observers, votes.down, votes.down_domains), (3, 2, 2));
    assert_eq!(evidence.spared, None);
}

#[test]
fn a_third_that_see_it_do_not_save_it_and_more_than_a_third_do() {
    for (up, state) in [(0, State::Down), (1, State::Down), (2, State::Suspect)] {
        let mut panel = Panel::settled(six(), 3, &["beta", "gamma"]);
        panel.befall(0, Fate::Hung);
        panel.say(0, Vote::Down);
        for other in 0..up {
            panel.others[other].says[0] = Vote::Up;
        }
        panel.run(LONG);
        assert_eq!(panel.state(0), state, "{up} of 3 see it");
    }
}

#[test]
fn one_failure_domain_condemns_nobody_where_there_are_two() {
    // Two nodes at one vendor see it dead; the third elsewhere does not know.
    let mut panel = Panel::settled(six(), 4, &["alpha", "beta"]);
    panel.befall(0, Fate::Hung);
    panel.say(0, Vote::Down);
    panel.others[1].says[0] = Vote::Abstain;
    panel.run(LONG);
    assert_eq!(panel.state(0), State::Suspect);
    panel.others[1].says[0] = Vote::Down;
    panel
        .run_for(SECOND, |world| world.state(0) == State::Down)
        .unwrap();
    // Where there is but one domain, it has to do.
    let mut panel = Panel::settled(six(), 4, &["alpha"]);
    panel.befall(0, Fate::Hung);
    panel.say(0, Vote::Down);
    panel
        .run_for(SOON, |world| world.state(0) == State::Down)
        .unwrap();
}

#[test]
fn those_that_distrust_themselves_do_not_count() {
    let mut panel = Panel::settled(six(), 5, &["beta", "gamma"]);
    panel.befall(0, Fate::Hung);
    panel.run(LONG);
    assert_eq!(panel.state(0), State::Suspect);
    for other in &mut panel.others {
        other.isolated = true;
    }
    panel.run(SECOND);
    assert_eq!(panel.state(0), State::Down, "one observer is left");
    assert_eq!(panel.explain(0).votes.observers, 1);
}

#[test]
fn votes_expire() {
    let mut panel = Panel::settled(six(), 6, &["beta"]);
    panel.befall(0, Fate::Hung);
    panel.run(LONG);
    assert_eq!(panel.state(0), State::Suspect);
    panel.others[0].gone = true;
    let took = panel.run_for(LONG, |world| world.state(0) == State::Down);
    let took = took.unwrap();
    assert!((MS * 2800..=MS * 3100).contains(&took), "{took:?}");
}

#[test]
fn a_signed_word_and_a_persons_decision_need_no_votes() {
    let mut panel = Panel::settled(six(), 7, &["beta", "gamma"]);
    for claim in [
        Claim::Draining,
        Claim::Full,
        Claim::Failing(liveness::Reason::WorkerStuck),
    ] {
        panel.claim(1, claim);
        let took = panel.run_for(SECOND, |world| world.state(1) == State::Draining);
        assert!(took.unwrap() <= AT_ONCE, "{claim:?}");
        assert_eq!(panel.own().0[1], Vote::Abstain, "it speaks for itself");
        panel.claim(1, Claim::Serving);
        panel.run(LONG);
        assert_eq!(panel.state(1), State::Up);
    }
    panel.say(0, Vote::Down);
    let (now, id) = (panel.now, panel.relays[0].id);
    common::force(panel.fleet(), now, id, Some(Override::Up));
    panel.befall(0, Fate::Hung);
    panel.run(LONG);
    assert_eq!(panel.state(0), State::ForcedUp);
    let now = panel.now;
    common::force(panel.fleet(), now, id, Some(Override::Down));
    panel.befall(0, Fate::Alive);
    panel.say(0, Vote::Up);
    panel.run(LONG);
    assert_eq!(panel.state(0), State::ForcedDown);
}

#[test]
fn the_others_cannot_take_out_what_this_node_sees_well() {
    let mut panel = Panel::settled(six(), 8, &["beta", "gamma"]);
    panel.say(0, Vote::Down);
    panel.run(SECOND);
    assert_eq!(
        (panel.state(0), reason(&panel, 0)),
        (State::Suspect, Reason::Disputed)
    );
    assert_eq!(panel.own().0[0], Vote::Up);
    panel.world.log.clear();
    panel.run(HOUR / 6);
    assert!(panel.log.is_empty(), "{:?}", panel.log);
    panel.say(0, Vote::Up);
    panel.run(SECOND * 5);
    assert_eq!(panel.state(0), State::Up);
}

#[test]
fn the_others_condemn_and_restore_what_this_node_cannot_tell() {
    let mut panel = Panel::settled(six(), 9, &["beta", "gamma"]);
    // Its reports are lost here and its answers are not: that says neither.
    panel.befall(0, Fate::Muted);
    panel.run(LONG);
    assert_eq!(panel.own().0[0], Vote::Abstain);
    assert_eq!(panel.state(0), State::Suspect);
    panel.say(0, Vote::Down);
    panel.run(SECOND);
    assert_eq!(
        (panel.state(0), reason(&panel, 0)),
        (State::Down, Reason::Voted)
    );
    assert_eq!(panel.explain(0).evidence.unwrap().accused, None);
    // Now it is not heard at all, and the others see it come back.
    panel.befall(0, Fate::Unheard);
    panel.run(LONG);
    assert_eq!(reason(&panel, 0), Reason::Unreachable);
    panel.say(0, Vote::Up);
    let took = panel.run_for(LONG, |world| world.state(0) == State::Suspect);
    assert!(took.unwrap() >= SECOND * 2, "held: {took:?}");
    panel.world.log.clear();
    panel.run(HOUR / 6);
    assert!(panel.log.is_empty(), "{:?}", panel.log);
}

#[test]
fn after_a_start_nothing_is_taken_out_before_the_others_had_time_to_speak() {
    let mut world = World::new(six(), 10);
    world
        .fleet
        .join(world.now, world.unix(), observer("ns0", "alpha", "eu"));
    world.befall(0, Fate::Hung);
    world.befall(1, Fate::Killed);
    world.run(MS * 2900);
    assert!((0..2).all(|relay| world.state(relay) != State::Down));
    world.run(MS * 200);
    assert!((0..2).all(|relay| world.state(relay) == State::Down));
}

fn ballot(id: &str, generation: u64) -> Ballot {
    Ballot {
        observer: observer(id, "beta", "us"),
        generation,
        configuration: 0,
        zones: Edition::default(),
        isolated: false,
        votes: Vec::new(),
    }
}

#[test]
fn ballots_are_taken_once_and_in_order_and_only_from_others() {
    let now = start();
    let mut fleet = Fleet::new(six(), None, now, UnixTime(EPOCH));
    assert_eq!(
        fleet.handle_ballot(now, &ballot("ns1", 5)),
        BallotOutcome::NotJoined
    );
    assert_eq!(fleet.ballot(now), None);
    fleet.join(now, UnixTime(EPOCH), observer("ns0", "alpha", "eu"));
    assert_eq!(
        fleet.handle_ballot(now, &ballot("ns0", 5)),
        BallotOutcome::Own
    );
    assert_eq!(
        fleet.handle_ballot(now, &ballot("ns1", 5)),
        BallotOutcome::Counted
    );
    for old in [5, 4] {
        let outcome = fleet.handle_ballot(now, &ballot("ns1", old));
        assert_eq!(outcome, BallotOutcome::Stale { newest: 5 });
    }
    assert_eq!(
        fleet.handle_ballot(now, &ballot("ns1", 6)),
        BallotOutcome::Counted
    );
    let id = six().relays()[0].id;
    let long = Ballot {
        votes: vec![(id, Vote::Down); limits::RELAYS_MAX + 1],
        ..ballot("ns1", 7)
    };
    assert_eq!(fleet.handle_ballot(now, &long), BallotOutcome::TooLong);
    let far = Ballot {
        observer: observer("ns1", "beta", &"x".repeat(limits::PLACE_MAX + 1)),
        ..ballot("ns1", 7)
    };
    assert_eq!(fleet.handle_ballot(now, &far), BallotOutcome::TooLong);
    for other in 2..=limits::OBSERVERS_MAX {
        let outcome = fleet.handle_ballot(now, &ballot(&format!("ns{other}"), 1));
        assert_eq!(outcome, BallotOutcome::Counted);
    }
    assert_eq!(
        fleet.handle_ballot(now, &ballot("late", 1)),
        BallotOutcome::Crowded
    );
    let counters = fleet.counters();
    assert_eq!(counters.ballots, 1 + limits::OBSERVERS_MAX as u64);
    assert_eq!(counters.ballots_refused, 5);
    // Those that have gone make room.
    let later = now + SECOND * 31;
    assert_eq!(
        fleet.handle_ballot(later, &ballot("late", 1)),
        BallotOutcome::Counted
    );
}

#[test]
fn a_held_relay_that_goes_again_is_voted_down_as_soon_as_any() {
    let mut panel = Panel::settled(six(), 11, &["beta", "gamma"]);
    // Held for half a minute after the second time; the others may have it up long before.
    for _ in 0..2 {
        panel.befall(0, Fate::Hung);
        panel.say(0, Vote::Down);
        panel.run(SECOND * 5);
        panel.befall(0, Fate::Alive);
        panel.say(0, Vote::Up);
        panel.run(SECOND * 10);
    }
    assert_eq!(panel.state(0), State::Down);
    assert_eq!(panel.own().0[0], Vote::Up);
    panel.befall(0, Fate::Hung);
    panel.run(SOON);
    assert_eq!(panel.own().0[0], Vote::Down);
}

#[test]
fn generations_rise_across_restarts_and_clocks_that_step_back() {
    let now = start();
    let me = || observer("ns0", "alpha", "eu");
    let mut fleet = Fleet::new(six(), None, now, UnixTime(EPOCH));
    fleet.join(now, UnixTime(EPOCH), me());
    let first = fleet.ballot(now).unwrap().generation;
    let second = fleet.ballot(now).unwrap().generation;
    assert!(second > first);
    let text = serde_json::to_string(&fleet.saved(now, UnixTime(EPOCH))).unwrap();
    let saved = serde_json::from_str(&text).unwrap();
    let early = UnixTime(EPOCH - 100_000);
    let mut fleet = Fleet::new(six(), Some(&saved), now, early);
    fleet.join(now, early, me());
    assert!(fleet.ballot(now).unwrap().generation > second);
    // The state is lost, the clock was set back: told by whoever knows better.
    let mut fleet = Fleet::new(six(), None, now, early);
    fleet.join(now, early, me());
    assert!(fleet.ballot(now).unwrap().generation < first);
    fleet.outrun(second);
    assert!(fleet.ballot(now).unwrap().generation > second);
}
