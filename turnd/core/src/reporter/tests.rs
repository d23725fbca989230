//! The reporter against a clock that the tests turn.

use super::*;

struct Clock(Instant);

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "an arbitrary beginning of time")]
    fn new() -> Self {
        Self(Instant::now())
    }

    fn at(&self, millis: u64) -> Instant {
        self.0 + Duration::from_millis(millis)
    }
}

fn reporter(clock: &Clock, capacity: Capacity) -> Reporter {
    let identity = Identity {
        relay: "fra-1".parse().unwrap(),
        boot: 7,
        ipv4: Some("192.0.2.1:3478".parse().unwrap()),
        ipv6: None,
        transports: Transports::UDP,
    };
    Reporter::new(identity, capacity, clock.at(0))
}

/// When reports went out, by asking every ten milliseconds.
fn sent(reporter: &mut Reporter, clock: &Clock, from: u64, to: u64) -> Vec<(u64, State)> {
    (from..to)
        .step_by(10)
        .filter_map(|t| reporter.due(clock.at(t), t).map(|r| (t, r.state)))
        .collect()
}

fn worker(turns: u64, sessions: u32) -> WorkerSnapshot {
    WorkerSnapshot {
        turns,
        sessions,
        ..WorkerSnapshot::default()
    }
}

#[test]
fn two_a_second_and_three_copies_at_once_when_the_state_changes() {
    let clock = Clock::new();
    let mut reporter = reporter(&clock, Capacity::new(100, 0));
    let starting = sent(&mut reporter, &clock, 0, 1100);
    assert_eq!(starting, [0, 500, 1000].map(|t| (t, State::Starting)));
    reporter.set_ready(true);
    let serving = sent(&mut reporter, &clock, 1100, 2300);
    assert_eq!(
        serving,
        [1100, 1150, 1200, 1700, 2200].map(|t| (t, State::Serving))
    );
    reporter.set_draining(true);
    let draining = sent(&mut reporter, &clock, 2310, 2500);
    assert_eq!(draining, [2310, 2360, 2410].map(|t| (t, State::Draining)));
    assert_eq!(reporter.poll_timeout(), clock.at(2910));
}

#[test]
fn a_report_says_who_how_much_and_in_what_order() {
    let clock = Clock::new();
    let mut reporter = reporter(&clock, Capacity::new(100, 8_000_000));
    reporter.set_ready(true);
    reporter.set_configuration(5);
    reporter.set_revocations(6);
    let workers = |bytes: u64, turns: u64| {
        [
            WorkerSnapshot {
                turns,
                sessions: 3,
                relayed_bytes: bytes,
                cpu_permille: 100,
            },
            WorkerSnapshot {
                turns,
                sessions: 4,
                relayed_bytes: bytes,
                cpu_permille: 300,
            },
        ]
    };
    reporter.observe(clock.at(0), &workers(1000, 1));
    reporter.observe(clock.at(1000), &workers(100_000, 2));
    reporter.observe(clock.at(2000), &workers(251_000, 3));
    let report = reporter.due(clock.at(2000), 1234).unwrap();
    assert_eq!(report.relay.as_str(), "fra-1");
    assert_eq!(
        (report.boot, report.sequence, report.sent_at_ms),
        (7, 1, 1234)
    );
    assert_eq!(
        (report.workers, report.configuration, report.revocations),
        (2, 5, 6)
    );
    // 500 000 bytes in two seconds.
    let load = Load {
        sessions: 7,
        sessions_max: 100,
        bits_per_second: 2_000_000,
        bits_per_second_max: 8_000_000,
        cpu_permille: 300,
    };
    assert_eq!(report.load, load);
    assert_eq!(reporter.due(clock.at(2050), 1284).unwrap().sequence, 2);
}

#[test]
fn a_worker_that_does_not_turn_is_stuck_until_it_turns() {
    let clock = Clock::new();
    let mut reporter = reporter(&clock, Capacity::new(100, 0));
    reporter.set_ready(true);
    for t in 0..3 {
        reporter.observe(clock.at(t * 500), &[worker(t, 0), worker(7, 0)]);
    }
    assert_eq!(reporter.state(), State::Serving);
    // Found out even if nobody observes any more.
    assert!(reporter.due(clock.at(1990), 0).is_some());
    assert_eq!(reporter.state(), State::Serving);
    let report = reporter.due(clock.at(2000), 0).unwrap();
    assert_eq!(report.state, State::Failing(Reason::WorkerStuck));
    reporter.set_draining(true);
    assert_eq!(reporter.state(), State::Failing(Reason::WorkerStuck));
    reporter.observe(clock.at(2100), &[worker(9, 0), worker(8, 0)]);
    assert_eq!(reporter.state(), State::Draining);
}

#[test]
fn full_begins_at_the_high_mark_and_ends_below_the_low_one() {
    let clock = Clock::new();
    let mut reporter = reporter(&clock, Capacity::new(100, 0));
    reporter.set_ready(true);
    let states = [89, 90, 85, 80, 79, 85, 90].map(|sessions| {
        reporter.observe(clock.at(0), &[worker(1, sessions)]);
        reporter.state() == State::Full
    });
    assert_eq!(states, [false, true, true, true, false, false, true]);
    reporter.set_capacity(Capacity::new(1000, 0));
    reporter.observe(clock.at(0), &[worker(1, 90)]);
    assert_eq!(reporter.state(), State::Serving);
    // Processor time counts as well, and no capacity at all is full.
    let busy = WorkerSnapshot {
        cpu_permille: 950,
        ..worker(1, 0)
    };
    reporter.observe(clock.at(0), &[busy]);
    assert_eq!(reporter.state(), State::Full);
    reporter.set_capacity(Capacity::new(0, 0));
    reporter.observe(clock.at(0), &[worker(1, 0)]);
    assert_eq!(reporter.state(), State::Full);
}

#[test]
fn traffic_makes_full_too() {
    let clock = Clock::new();
    let mut reporter = reporter(&clock, Capacity::new(100, 1_000_000));
    reporter.set_ready(true);
    let at_rate = |turns, relayed_bytes| {
        [WorkerSnapshot {
            relayed_bytes,
            ..worker(turns, 0)
        }]
    };
    reporter.observe(clock.at(0), &at_rate(1, 0));
    reporter.observe(clock.at(2000), &at_rate(2, 225_000));
    assert_eq!(reporter.state(), State::Full);
}

#[test]
fn what_the_shell_knows_comes_first() {
    let clock = Clock::new();
    let mut reporter = reporter(&clock, Capacity::new(100, 0));
    reporter.set_draining(true);
    reporter.set_failing(Some(Reason::Descriptors));
    assert_eq!(reporter.state(), State::Failing(Reason::Descriptors));
    reporter.set_failing(None);
    assert_eq!(reporter.state(), State::Draining);
    reporter.set_draining(false);
    assert_eq!(reporter.state(), State::Starting);
}

#[test]
fn a_stuck_worker_comes_before_all_else() {
    let clock = Clock::new();
    let mut reporter = reporter(&clock, Capacity::new(100, 0));
    reporter.set_failing(Some(Reason::RelaySockets));
    reporter.observe(clock.at(0), &[worker(1, 0)]);
    reporter.observe(clock.at(2000), &[worker(1, 0)]);
    assert_eq!(reporter.state(), State::Failing(Reason::WorkerStuck));
}

#[test]
fn a_higher_boot_id_changes_nothing_else() {
    let clock = Clock::new();
    let mut reporter = reporter(&clock, Capacity::new(100, 0));
    reporter.set_ready(true);
    reporter.observe(clock.at(0), &[worker(1, 95)]);
    let before = reporter.due(clock.at(0), 0).unwrap();
    reporter.set_boot(9);
    let after = reporter.due(clock.at(500), 500).unwrap();
    assert_eq!((after.boot, after.sequence), (9, 1));
    assert_eq!(after.state, State::Full);
    assert_eq!((after.load, after.workers), (before.load, before.workers));
}
