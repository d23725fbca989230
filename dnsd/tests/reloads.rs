//! Another configuration under traffic: taken, refused, looked at beforehand.

mod common;

use std::time::Duration;

use common::dnsd::{Listed, Server, listed};
use common::wait_for;
use nix::sys::signal::Signal;

fn two() -> Vec<Listed> {
    vec![
        listed("fra-1", "eu-a", "alpha", 1),
        listed("ams-1", "eu-b", "beta", 2),
    ]
}

#[test]
fn a_reload_takes_a_good_file_and_leaves_everything_for_a_bad_one() {
    if !common::has("reload", "dig") {
        return;
    }
    let server = Server::new(47, two()).start();
    let reload_ok = || server.metric("turnfleet_dnsd_config_reload_ok");
    let reloaded = |what: &str| {
        let before = server.log().len();
        server.signal(Signal::SIGHUP);
        wait_for(what, Duration::from_secs(5), || {
            let log = server.log();
            log.get(before..)
                .filter(|news| news.contains(what))
                .map(str::to_owned)
        })
    };
    assert_eq!(reload_ok(), Some(1.0));
    let good = server.config();
    let file = server.path("dnsd.toml");

    common::write(
        &file,
        &good.replace("region = \"eu\"", "region = \"nowhere\""),
    );
    let news = reloaded("configuration not reloaded");
    assert!(news.contains("there is no region \"nowhere\""), "{news}");
    assert_eq!(reload_ok(), Some(0.0));
    assert_eq!(server.short("fra-1.turn.example", "A"), ["127.0.77.1"]);

    common::write(
        &file,
        &good
            .replace("[[keys]]", "[log]\nlevel = \"debug\"\n[[keys]]")
            .replace("\"ns1\"\nlisten", "\"ns7\"\nlisten"),
    );
    let news = reloaded("configuration not reloaded");
    assert!(
        news.contains("changed, but fixed until a restart: node.id, log"),
        "{news}"
    );
    assert_eq!(reload_ok(), Some(0.0));

    // Both relays would go at once: by a signal alone they do not.
    let other = good.replace("127.0.77.2:3478", "127.0.77.9:3478");
    common::write(&file, &other.replace("fra-1", "par-1"));
    let news = reloaded("configuration not reloaded");
    for part in ["2 of the 2 relays", "would go: ams-1, fra-1"] {
        assert!(news.contains(part), "{news}");
    }
    assert_eq!(server.short("fra-1.turn.example", "A"), ["127.0.77.1"]);
    let output = server.cli(&["reload"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(reload_ok(), Some(0.0));
    let output = server.cli(&["reload", "--yes-i-mean-it"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(reload_ok(), Some(1.0));
    assert_eq!(server.short("ams-1.turn.example", "A"), ["127.0.77.9"]);
    assert_eq!(server.short("par-1.turn.example", "A"), ["127.0.77.1"]);
    let gone = server.dig(&["fra-1.turn.example", "A"]);
    assert!(gone.contains("NXDOMAIN"), "{gone}");
    let metrics = server.http("/metrics").expect("metrics");
    assert!(
        metrics.contains("relay=\"par-1\"") && !metrics.contains("relay=\"fra-1\""),
        "{metrics}"
    );
}

#[test]
fn what_a_file_would_take_away_is_shown_beforehand_and_changes_nothing() {
    let relays = ["a-1", "b-1", "c-1", "d-1"];
    let relays = relays
        .into_iter()
        .zip(1..)
        .map(|(id, host)| listed(id, id, id, host));
    let server = Server::new(48, relays.collect()).start();
    let good = server.config();
    let new = server.path("new.toml");
    let diff = |text: &str| {
        common::write(&new, text);
        let output = server.cli(&["diff", &new.display().to_string(), "--json"]);
        let value: serde_json::Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| format!("{output:?}").into());
        (output.status.code(), value)
    };
    let cut = |text: &str, ids: &[&str]| {
        let mut parts = text.split("[[relays]]\n");
        let first = parts.next().map(str::to_owned);
        let kept = parts.filter(|part| {
            !ids.iter()
                .any(|id| part.contains(&format!("id = \"{id}\"")))
        });
        let kept: Vec<_> = first.into_iter().chain(kept.map(str::to_owned)).collect();
        kept.join("[[relays]]\n")
    };
    let (code, value) = diff(&good);
    assert_eq!((code, value["taken"].as_bool()), (Some(0), Some(true)));
    let (code, value) = diff(&cut(&good, &["a-1"]));
    assert_eq!(code, Some(0), "{value}");
    assert_eq!(value["difference"]["removed"], serde_json::json!(["a-1"]));
    let (code, value) = diff(&cut(&good, &["a-1", "c-1"]));
    assert_eq!(code, Some(1), "{value}");
    assert_eq!(
        value["difference"]["removed"],
        serde_json::json!(["a-1", "c-1"])
    );
    assert_eq!(value["objections"].as_array().map(Vec::len), Some(1));
    // The guard that runs counts, not the one that is offered.
    let lax = good.clone() + "[reload]\nremoval_percent = 100\n";
    let (code, _) = diff(&cut(&lax, &["a-1", "c-1"]));
    assert_eq!(code, Some(1));
    let (code, _) = diff(&good.replace("default = true", "default = maybe"));
    assert_eq!(code, Some(78));
    assert_eq!(
        server.json(&["status"])["relays"].as_array().map(Vec::len),
        Some(4)
    );
    let people = server.cli(&["diff", &server.path("dnsd.toml").display().to_string()]);
    let said = String::from_utf8_lossy(&people.stdout).into_owned();
    assert!(said.contains("a reload takes this over"), "{said}");

    common::write(&server.path("dnsd.toml"), &lax);
    assert!(server.cli(&["reload"]).status.success());
    let (code, value) = diff(&cut(&lax, &["a-1", "c-1"]));
    assert_eq!(code, Some(0), "{value}");
}

#[test]
fn an_old_file_is_refused_however_much_it_is_meant() {
    let mut server = Server::new(49, two()).start();
    let numbered = |generation: u64| format!("generation = {generation}\n");
    let good = server.config();
    let file = server.path("dnsd.toml");
    let shown = |server: &Server| {
        ["", "newest_"]
            .map(|which| server.metric(&format!("turnfleet_dnsd_config_{which}generation")))
    };
    assert_eq!(shown(&server), [Some(0.0); 2]);
    common::write(&file, &(numbered(8) + &good));
    let output = server.cli(&["reload"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(shown(&server), [Some(8.0); 2]);
    common::write(&file, &(numbered(7) + &good));
    let output = server.cli(&["reload", "--yes-i-mean-it"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("its generation is 7, and 8 has been in force"),
        "{said}"
    );
    assert_eq!(shown(&server), [Some(8.0); 2]);
    // A start takes what there is, and says so.
    server.signal(Signal::SIGTERM);
    assert_eq!(server.ended(), Some(0));
    server.spawn();
    server.wait_ready();
    assert_eq!(shown(&server), [Some(7.0), Some(8.0)]);
    assert!(
        server.log().contains("older than one that was in force"),
        "{}",
        server.log()
    );
    assert_eq!(server.cli(&["reload"]).status.code(), Some(1));
    common::write(&file, &(numbered(9) + &good));
    assert!(server.cli(&["reload"]).status.success());
    assert_eq!(shown(&server), [Some(9.0); 2]);
}
