//! Orders to a relay and to a zone, which relays hear in acknowledgements; and isolated regions.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::dnsd::{Server, listed};
use common::relay::Heartbeat;
use common::wait_for;
use liveness::{Order, Seen, State};

fn done(server: &Server, args: &[&str]) {
    let output = server.cli(args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
}

/// Waits until a relay is told so.
fn hears(beat: &Heartbeat, order: Order) -> Seen {
    let ack = || *beat.last_ack.lock().expect("ack");
    wait_for(&format!("{order:?}"), Duration::from_secs(5), || {
        ack().filter(|ack| ack.order == order)
    })
    .seen
}

#[test]
fn a_zone_or_a_relay_is_told_to_drain_and_to_serve_again_and_no_other_is() {
    let relays = vec![
        listed("fra-1", "eu-a", "alpha", 1),
        listed("fra-2", "eu-a", "beta", 2),
        listed("ams-1", "eu-b", "alpha", 3),
    ];
    let server = Server::new(119, relays).start();
    let reports = SocketAddr::from((server.ip, server.reports));
    let beat = |id| {
        let mut relays = server.relays.iter();
        let relay = relays.find(|relay| relay.id == id).expect("listed");
        Heartbeat::start(id, relay.address, reports)
    };
    let beats = ["fra-1", "fra-2", "ams-1"].map(beat);
    for (scope, of) in [("zone:eu-a", &[0, 1][..]), ("ams-1", &[2])] {
        done(
            &server,
            &["drain", scope, "--why", "a new kernel", "--yes-i-mean-it"],
        );
        for relay in of {
            assert_eq!(hears(&beats[*relay], Order::Drain), Seen::Forced);
            beats[*relay].say(State::Draining);
        }
        let heard = |beat: &Heartbeat| beat.last_ack.lock().expect("ack").map(|ack| ack.order);
        for relay in (0..3).filter(|relay| !of.contains(relay)) {
            assert_eq!(heard(&beats[relay]), Some(Order::None), "{scope}: {relay}");
        }
        done(&server, &["undrain", scope, "--why", "it runs"]);
        for relay in of {
            hears(&beats[*relay], Order::Undrain);
            // It is repeated until the relay says that it serves.
            beats[*relay].say(State::Serving);
            hears(&beats[*relay], Order::None);
        }
    }
}

#[test]
fn a_region_with_an_empty_list_of_fallbacks_is_served_by_nobody_else() {
    if !common::has("a_region_with_an_empty_list", "dig") {
        return;
    }
    let mut relays = vec![
        listed("fra-1", "eu-a", "alpha", 1),
        listed("nyc-1", "us-a", "beta", 2),
    ];
    relays[1].region = "us";
    let mut server = Server::new(120, relays);
    let places = [
        "latitude = 50.1\nlongitude = 8.7",
        "latitude = 40.7\nlongitude = -74.0",
    ];
    let text = server.config();
    let text = text.replace("fallback = [\"eu\"]", places[1]);
    let nearest = text.replace("fallback = [\"us\"]", places[0]);
    let alone = text.replace(
        "fallback = [\"us\"]",
        &format!("{}\nfallback = []", places[0]),
    );
    common::write(&server.path("dnsd.toml"), &alone);
    server.spawn();
    server.wait_ready();
    done(&server, &["force", "up", "nyc-1", "--why", "a test"]);
    let force = ["force", "down", "fra-1", "--why", "a test"];
    done(&server, &[&force[..], &["--yes-i-mean-it"]].concat());
    let answers = |name: &str| server.short(name, "A");
    assert_eq!(answers("us.turn.example"), ["127.0.77.2"]);
    assert_eq!(answers("eu.turn.example"), ["127.0.77.1"], "isolated");
    // Without the list, the nearest takes over.
    common::write(&server.path("dnsd.toml"), &nearest);
    done(&server, &["reload", "--yes-i-mean-it"]);
    assert_eq!(answers("eu.turn.example"), ["127.0.77.2"]);
}
