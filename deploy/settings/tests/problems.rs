//! What an operator reads when a file is wrong: the whole text, line and column included.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use insta::assert_snapshot;
use ipnet::IpNet;
use settings::{BitRate, File, PortRange, Table, load};

fn problems(text: &str, build: impl FnOnce(&mut Table<'_>) -> Option<()>) -> String {
    match load(&File::new("turnd.toml", text), build) {
        Ok(()) => "no problem".to_owned(),
        Err(errors) => errors.to_string(),
    }
}

#[test]
fn every_problem_is_told_at_once() {
    let text = r#"
# A comment moves lines on.
[relay]
id = 7
listen = ["127.0.0.1", "[::1]:3478", ":3478", "here"]
reaml = "turn.example"
relay_ports = "65535-49152"
workers = 999
drain_grace = 30

[peers]
deny = ["10.0.0.1/8", "192.0.2.1", true]

[limits]
bandwidth = "1 gbit/s"
sessions = "100"
sesions_per_user = 3

[colour]
"#;
    let shown = problems(text, |root| {
        let mut relay = root.required_table("relay")?;
        relay.required::<String>("id");
        relay.required_list::<SocketAddr>("listen");
        relay.required::<String>("realm");
        relay.optional::<PortRange>("relay_ports");
        relay.with_default_in("workers", 0u16, 0..=256);
        relay.with_default("drain_grace", Duration::from_hours(1));
        drop(relay);
        root.table_or_default("peers").list::<IpNet>("deny");
        let mut limits = root.table_or_default("limits");
        limits.optional::<BitRate>("bandwidth");
        limits.with_default("sessions", 10_000u32);
        limits.with_default("sessions_per_user", 100u32);
        drop(limits);
        root.required_table("secrets");
        Some(())
    });
    assert_snapshot!(shown, @r#"
    turnd.toml:1:1: the table `secrets` is missing
      write: [secrets]
    turnd.toml:3:1: `relay.realm` is missing
      expected: a text in quotes
      write: realm = "text"
    turnd.toml:4:6: `relay.id` is 7
      expected: a text in quotes
      write: id = "7"
    turnd.toml:5:12: `relay.listen[0]` is "127.0.0.1": the port is missing
      expected: an IP address and port in quotes
      write: "127.0.0.1:3478"
    turnd.toml:5:39: `relay.listen[2]` is ":3478": the address is missing
      expected: an IP address and port in quotes
      write: "[::]:3478"
    turnd.toml:5:48: `relay.listen[3]` is "here"
      expected: an IP address and port in quotes
      write: "192.0.2.1:3478"
    turnd.toml:6:1: unknown key `relay.reaml`
      help: did you mean `realm`?
    turnd.toml:7:16: `relay.relay_ports` is "65535-49152": it ends before it begins
      expected: a port range in quotes: first-last
      write: relay_ports = "49152-65535"
    turnd.toml:8:11: `relay.workers` is 999: out of range
      expected: 0 to 256
      write: workers = 256
    turnd.toml:9:15: `relay.drain_grace` is 30: the unit is missing
      expected: a duration in quotes: a whole number with us, ms, s, m, h or d
      write: drain_grace = "30s"
    turnd.toml:12:10: `peers.deny[0]` is "10.0.0.1/8": it has bits set beyond its prefix
      expected: a network in quotes: address/prefix length
      write: "10.0.0.0/8"
    turnd.toml:12:24: `peers.deny[1]` is "192.0.2.1": the prefix length is missing
      expected: a network in quotes: address/prefix length
      write: "192.0.2.1/32"
    turnd.toml:12:36: `peers.deny[2]` is true
      expected: a network in quotes: address/prefix length
      write: "192.0.2.0/24"
    turnd.toml:15:14: `limits.bandwidth` is "1 gbit/s": units are written with care for case
      expected: a bit rate in quotes: a whole number with bit/s, kbit/s, Mbit/s or Gbit/s
      write: bandwidth = "1 Gbit/s"
    turnd.toml:16:13: `limits.sessions` is "100": a number stands without quotes
      expected: a whole number from 0 to 4294967295
      write: sessions = 100
    turnd.toml:17:1: unknown key `limits.sesions_per_user`
      help: did you mean `sessions_per_user`?
    turnd.toml:19:2: unknown key `colour`
      help: known here: limits, peers, relay, secrets
    "#);
}

#[test]
fn a_caller_adds_what_only_it_knows() {
    let text = "[relay]\nlow = 10\nhigh = 5\n";
    let shown = problems(text, |root| {
        let mut relay = root.required_table("relay")?;
        let (low, high) = (relay.required::<u32>("low"), relay.required::<u32>("high"));
        let (low, high) = (low?, high?);
        if low.value > high.value {
            relay.error(
                high.span,
                "`relay.high` is below `relay.low`",
                "swap the two",
            );
        }
        Some(())
    });
    assert_snapshot!(shown, @r"
    turnd.toml:3:8: `relay.high` is below `relay.low`
      help: swap the two
    ");
}

#[test]
fn arrays_of_tables_are_named_by_index() {
    let text = "[[relays]]\nid = \"a\"\n[[relays]]\nid = \"b\"\nweigth = 3\n";
    let shown = problems(text, |root| {
        for mut relay in root.tables("relays") {
            relay.required::<String>("id");
            relay.with_default_in("weight", 100u32, 1..=1000);
            relay.required::<IpAddr>("address");
        }
        Some(())
    });
    assert_snapshot!(shown, @r#"
    turnd.toml:1:1: `relays[0].address` is missing
      expected: an IP address in quotes
      write: address = "192.0.2.1"
    turnd.toml:3:1: `relays[1].address` is missing
      expected: an IP address in quotes
      write: address = "192.0.2.1"
    turnd.toml:5:1: unknown key `relays[1].weigth`
      help: did you mean `weight`?
    "#);
}

#[test]
fn a_list_or_table_of_the_wrong_shape() {
    let text = "relay = 1\nlisten = \"127.0.0.1:1\"\n[relays]\nid = 1\n";
    let shown = problems(text, |root| {
        root.required_table("relay");
        root.list::<SocketAddr>("listen");
        root.tables("relays");
        Some(())
    });
    assert_snapshot!(shown, @r#"
    turnd.toml:1:9: `relay` is 1
      expected: a table
      write: [relay]
    turnd.toml:2:11: `listen` is "127.0.0.1:1"
      expected: a list
      write: listen = ["127.0.0.1:1"]
    turnd.toml:3:1: `relays` is a table
      expected: several tables
      write: [[relays]]
    "#);
}

#[test]
fn one_of_a_few_words() {
    let shown = problems("format = \"xml\"\nlevel = 3\n", |root| {
        root.one_of("format", &[("text", 1), ("json", 2)], 1);
        root.optional_parsed("level", "a level in quotes", "\"info\"", str::parse::<u8>);
        Some(())
    });
    assert_snapshot!(shown, @r#"
    turnd.toml:1:11: `format` is "xml": not one of them
      expected: one of "text", "json"
      write: format = "text"
    turnd.toml:2:9: `level` is 3
      expected: a level in quotes
      write: level = "info"
    "#);
}

#[test]
fn syntax_errors_have_a_place_too() {
    for (text, shown) in [
        ("a = 1\nb = \n", "turnd.toml:2:5: not valid TOML"),
        (
            "a = 1\na = 2\n",
            "turnd.toml:2:1: the key `a` is here for the second time",
        ),
        (
            "[a]\n[b]\n[a]\n",
            "turnd.toml:3:1: the table `a` is here for the second time",
        ),
        ("é = 1\n", "turnd.toml:1:1: not valid TOML"),
        ("a = \"é\" b\n", "turnd.toml:1:9: not valid TOML"),
        (
            "a = abc\n",
            "turnd.toml:1:5: not valid TOML: a text without quotes",
        ),
        ("a = \"abc\n", "turnd.toml:1:"),
        (
            "a.b = 1\n[a]\n",
            "turnd.toml:2:2: the key `a` is here for the second time",
        ),
    ] {
        let found = problems(text, |_| Some(()));
        assert!(found.starts_with(shown), "{text:?} gives {found}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let errors = File::read("/nonexistent/turnd.toml").expect_err("there is no such file");
    assert_snapshot!(errors.to_string(), @"/nonexistent/turnd.toml: cannot be read: No such file or directory (os error 2)");
    assert_eq!(errors.render(true), errors.to_string());
}

#[test]
fn a_terminal_sees_the_lines() {
    let text = "[relay]\nworkers = 999\nrealm = 3\n";
    let errors = load(&File::new("turnd.toml", text), |root| {
        let mut relay = root.required_table("relay")?;
        relay.with_default_in("workers", 0u16, 0..=256);
        relay.required::<String>("realm");
        relay.required::<String>("id");
        Some(())
    });
    let drawn = errors.expect_err("three problems").render(true);
    // Colours depend on the environment; the words do not.
    for words in [
        "turnd.toml: 3 problems",
        "turnd.toml:2:11",
        "workers = 999",
        "write: workers = 256",
    ] {
        assert!(drawn.contains(words), "{words:?} is not in\n{drawn}");
    }
}

#[test]
fn problems_are_capped_and_counted() {
    let text: Vec<String> = (0..250).map(|n| format!("k{n} = 1")).collect();
    let text = text.join("\n");
    let shown = problems(&text, |_| Some(()));
    assert_eq!(shown.lines().count(), settings::limits::PROBLEMS + 1);
    assert!(
        shown.ends_with("turnd.toml: and 150 more problems"),
        "{shown}"
    );
}

proptest::proptest! {
    /// A reload must survive whatever was saved: the parser and the reader never panic.
    #[test]
    fn no_text_panics(text in r#"([\[\]{}=.,#"'a-c1é\n -]|\[\[a\]\]\n|\[a\.b\]\n|a\.b=1\n|a=\{b=1\}\n|a=\[\{\}\]\n){0,40}"#) {
        let shown = problems(&text, |root| {
            let mut table = root.table_or_default("a");
            table.optional::<String>("b");
            table.secrets("c", 4);
            root.tables("b");
            Some(())
        });
        proptest::prop_assert!(!shown.is_empty());
    }
}

#[test]
fn every_place_is_in_the_file() {
    // Where the end of a header is missing, the parser points past the end of the text.
    for text in ["[peers\nid[", "[\u{20ac}", "a = \"\u{20ac}", "a = [1,"] {
        let file = File::new("turnd.toml", text);
        let errors = load(&file, |_| Some(())).expect_err("not valid");
        for problem in errors.problems() {
            let span = problem.span;
            assert!(span.start <= span.end && span.end <= text.len(), "{text}");
            assert!(errors.position(span.start).is_some(), "{text}");
        }
    }
}
