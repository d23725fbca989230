//! Plans: which are refused, and what follows from their numbers.

use std::collections::HashSet;

use super::*;

fn plan() -> Plan {
    Plan::new("127.0.0.1:3478".parse().unwrap(), None)
}

#[test]
fn clients_are_spread_evenly_over_as_many_loopback_addresses_as_asked_for() {
    assert_eq!(plan().source(7), IpAddr::from([127, 0, 0, 1]));
    for sources in [1, 3, 250, 251, MOST_SOURCES] {
        let plan = Plan { sources, ..plan() };
        let found: HashSet<_> = (0..2 * sources).map(|index| plan.source(index)).collect();
        assert_eq!(found.len(), sources);
        assert!(found.iter().all(IpAddr::is_loopback));
        let texts: Vec<_> = found.iter().map(IpAddr::to_string).collect();
        let networks = texts.iter().filter_map(|ip| ip.rsplit_once('.'));
        let networks: HashSet<_> = networks.map(|(network, _)| network).collect();
        assert_eq!(networks.len(), sources.min(31 * 256));
    }
}

fn burst(packets: u32, every_ms: u32) -> Pace {
    Pace::Burst { packets, every_ms }
}

#[test]
fn numbers_out_of_range_are_refused() {
    assert!(plan().check().is_ok());
    let wrong: [fn(&mut Plan); 21] = [
        |plan| plan.allocations = 0,
        |plan| plan.allocations = MOST_ALLOCATIONS + 1,
        |plan| plan.opening = 0,
        |plan| plan.opening = MOST_ALLOCATIONS + 1,
        |plan| plan.transport = Transport::Tcp,
        |plan| plan.sources = MOST_SOURCES + 1,
        |plan| plan.flows_per_peer = Some(0),
        |plan| plan.payload = payload::SHORTEST - 1,
        |plan| plan.payload = payload::LONGEST + 1,
        |plan| plan.time = LONGEST_RUN,
        |plan| plan.time = Duration::ZERO,
        |plan| plan.via = Via::Indication,
        |plan| plan.server = "[::1]:3478".parse().unwrap(),
        |plan| plan.pace = Pace::Window(0),
        |plan| plan.pace = Pace::Window(1025),
        |plan| plan.pace = Pace::InFlight(0),
        |plan| plan.pace = Pace::InFlight(100_001),
        |plan| plan.pace = Pace::Rate(0),
        |plan| plan.pace = burst(0, 20),
        |plan| plan.pace = burst(1, 0),
        |plan| plan.pace = burst(1025, 20),
    ];
    for spoil in wrong {
        let mut plan = plan();
        spoil(&mut plan);
        assert!(matches!(plan.check(), Err(LoadError::Range(_))), "{plan:?}");
    }
}

#[test]
fn only_what_travels_in_trains_is_collected() {
    let train = |pace, coalesce| {
        Plan {
            pace,
            coalesce,
            ..plan()
        }
        .train()
    };
    let burst = Pace::Burst {
        packets: 16,
        every_ms: 33,
    };
    assert_eq!(train(burst, false), Some(16));
    assert_eq!(train(Pace::Window(8), true), Some(8));
    assert_eq!(train(Pace::Window(8), false), None);
    assert_eq!(train(Pace::Rate(8), true), None);
}
