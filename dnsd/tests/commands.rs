//! What operators ask of the running daemon: exit codes, JSON, help, and what changed.

mod common;

use std::time::Duration;

use common::dnsd::{Listed, Server, listed};
use common::wait_for;
use serde_json::{Value, json};

fn two() -> Vec<Listed> {
    vec![
        listed("fra-1", "eu-a", "alpha", 1),
        listed("ams-1", "eu-b", "beta", 2),
    ]
}

/// Every command that asks the running daemon, in a form that can succeed.
fn asking(server: &Server) -> Vec<Vec<String>> {
    let file = server.path("dnsd.toml").display().to_string();
    [
        vec!["status"],
        vec!["explain", "fra-1"],
        vec!["overrides"],
        vec!["history"],
        vec!["history", "--for", "1h", "--relay", "fra-1"],
        vec!["answer", "b.turn.example", "--from", "203.0.113.7"],
        vec!["diff", &file],
        vec!["reload"],
        vec!["force", "up", "fra-1", "--why", "a test"],
        vec!["undrain", "fra-1", "--why", "its end", "--yes-i-mean-it"],
    ]
    .into_iter()
    .map(|args| args.into_iter().map(str::to_owned).collect())
    .collect()
}

fn words(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

#[test]
fn every_command_has_help_text_json_and_the_exit_codes_that_are_documented() {
    let server = Server::new(91, two());
    server.configure();
    for args in asking(&server) {
        let help = server.cli(&[args[0].as_str(), "--help"]);
        let text = String::from_utf8_lossy(&help.stdout).into_owned();
        assert!(
            help.status.success() && text.contains("Usage: dnsd"),
            "{text}"
        );
        assert!(
            text.contains("--json") && text.contains("--control"),
            "{text}"
        );
        for more in [&[][..], &["--json"]] {
            let none = server.cli(&[&words(&args), more].concat());
            let said = String::from_utf8_lossy(&none.stderr).into_owned();
            assert_eq!(none.status.code(), Some(1), "{args:?}: {said}");
            assert!(
                said.starts_with("dnsd: no dnsd is running behind "),
                "{said}"
            );
            assert!(none.stdout.is_empty());
        }
        let unknown = server.cli(&[args[0].as_str(), "--unknown"]);
        assert_eq!(unknown.status.code(), Some(2), "{args:?}");
    }
    let help = server.command(&["--help"]).output().expect("dnsd runs");
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(text.contains("78 wrong configuration"), "{text}");
    common::write(&server.path("dnsd.toml"), "node = 1\n");
    assert_eq!(server.cli(&["history"]).status.code(), Some(78));

    let server = server.start();
    for args in asking(&server) {
        let output = server.cli(&words(&args));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {said}");
        assert!(!output.stdout.is_empty() && said.is_empty(), "{args:?}");
        assert!(server.json(&words(&args)).is_object(), "{args:?}");
    }
    for (args, said) in [
        (&["explain", "fra-9"][..], "no relay fra-9 is configured"),
        (
            &["answer", "turn.example", "--relay", "fra-9"],
            "no relay fra-9 is configured",
        ),
        (
            &["answer", "turn.example", "--from", "here"],
            "is no IP address",
        ),
    ] {
        let output = server.cli(args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {error}");
        assert!(error.contains(said), "{args:?}: {error}");
    }
}

#[test]
fn each_relay_is_in_the_answer_or_the_reason_why_not_is_told() {
    let server = Server::new(92, two()).start();
    let drain = ["drain", "fra-1", "--why", "a test", "--yes-i-mean-it"];
    assert!(server.cli(&drain).status.success());
    assert!(
        server
            .cli(&["force", "up", "ams-1", "--why", "a test"])
            .status
            .success()
    );
    let ask = ["answer", "b.turn.example", "--from", "203.0.113.7"];
    // The answers are compiled after a decision was taken.
    wait_for("answers by both decisions", Duration::from_secs(10), || {
        let told = server.json(&ask);
        let relays = told["trace"]["steering"]["relays"].as_array();
        let facts = relays
            .expect("relays")
            .iter()
            .map(|relay| json!([&relay["relay"], &relay["place"], &relay["absence"]]));
        let expected = [
            json!(["fra-1", null, "forced_down"]),
            json!(["ams-1", 1, null]),
        ];
        facts.eq(expected).then_some(())
    });
    let one = server.json(&[&ask[..], &["--relay", "fra-1"]].concat());
    let relays = one["trace"]["steering"]["relays"]
        .as_array()
        .expect("relays");
    assert_eq!(relays.len(), 1);
    let output = server.cli(&ask);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("a person decided that it counts as down"),
        "{text}"
    );
}

/// The events of a kind.
fn events(told: &Value, kind: &str) -> Vec<Value> {
    let all = told["events"].as_array().into_iter().flatten();
    all.filter(|event| event["kind"] == kind).cloned().collect()
}

#[test]
fn what_changed_is_told_from_the_start_on() {
    let server = Server::new(93, two()).start();
    for args in [
        &["force", "up", "ams-1", "--why", "it stays"][..],
        &["force", "up", "fra-1", "--why", "a moment", "--for", "2s"],
    ] {
        assert!(server.cli(args).status.success());
    }
    wait_for("the end of the decision", Duration::from_secs(10), || {
        let told = server.json(&["history"]);
        (!events(&told, "ran_out").is_empty()).then_some(())
    });
    common::write(
        &server.path("dnsd.toml"),
        &server.config().replace("region = \"eu\"", "region = \"x\""),
    );
    let control = server.path("control").display().to_string();
    assert_eq!(
        server.cli(&["reload", "--control", &control]).status.code(),
        Some(1)
    );
    server.configure();
    assert!(server.cli(&["reload"]).status.success());

    let told = server.json(&["history"]);
    assert_eq!(told["events"][0]["kind"], "started");
    assert_eq!(told["lost"], 0);
    let decided = events(&told, "decided");
    assert_eq!(decided.len(), 2, "{told:#}");
    assert_eq!(decided[1]["why"], "a moment");
    assert_eq!(events(&told, "ran_out")[0]["scope"], "relay:fra-1");
    let verdicts = events(&told, "verdict");
    let forced = |verdict: &Value| verdict["relay"] == "fra-1" && verdict["to"] == "forced_up";
    assert!(verdicts.iter().any(forced), "{told:#}");
    let published = events(&told, "published");
    let cause = published.iter().find(|event| {
        let because = event["because"].as_array().into_iter().flatten();
        because
            .into_iter()
            .any(|cause| cause == "force up relay:ams-1")
    });
    let cause = cause.unwrap_or_else(|| panic!("{told:#}"));
    assert_eq!(
        cause["regions"][0]["left"],
        json!(["fra-1"]),
        "ams-1 alone is up"
    );
    let refused = events(&told, "reload_refused");
    assert!(
        refused[0]["why"]
            .as_str()
            .is_some_and(|why| why.contains("no region")),
        "{told:#}"
    );
    assert_eq!(events(&told, "reloaded").len(), 1);

    // Only what concerns one relay, and as people read it.
    let told = server.json(&["history", "--relay", "ams-1"]);
    assert_eq!(events(&told, "decided").len(), 1);
    assert!(events(&told, "started").is_empty());
    let output = server.cli(&["history"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in [
        "Z, ",
        "fra-1: ",
        "force up relay:ams-1, by ",
        "ran out",
        "configuration refused: ",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let admin = server.http("/api/history?relay=fra-1").expect("an answer");
    assert!(admin.contains("\"kind\":\"ran_out\""), "{admin}");
}
