//! Orders and views over HTTP, as `curl` asks for them of a real daemon.

mod common;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::Duration;

use common::dnsd::{Listed, Server, listed};
use common::{free_port, has, wait_for};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const TOKEN: &str = "the token of these tests, long enough";

fn two() -> Vec<Listed> {
    vec![
        listed("fra-1", "eu-a", "alpha", 1),
        listed("ams-1", "eu-b", "beta", 2),
    ]
}

/// A nameserver with the API, and the API's port.
fn start(host: u8) -> (Server, u16) {
    let mut server = Server::new(host, two());
    let port = free_port(server.ip);
    server.more = section(server.ip, port, TOKEN);
    (server.start(), port)
}

fn section(ip: Ipv4Addr, port: u16, token: &str) -> String {
    format!("[api]\nlisten = \"{ip}:{port}\"\n[[api.tokens]]\nname = \"ci\"\ntoken = \"{token}\"\n")
}

/// The status and body of what `curl` gets from `path`.
fn curl(server: &Server, port: u16, token: &str, path: &str, more: &[&str]) -> (u16, Value) {
    let output = Command::new("curl")
        .args(["-sS", "-m", "10", "-w", "\n%{http_code}"])
        .args(["-H", &format!("Authorization: Bearer {token}")])
        .args(more)
        .arg(format!("http://{}:{port}{path}", server.ip))
        .output()
        .expect("curl runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let (body, status) = text
        .trim()
        .rsplit_once('\n')
        .unwrap_or_else(|| ("", text.trim()));
    let body = serde_json::from_str(body).unwrap_or(Value::Null);
    (status.parse().expect("a status"), body)
}

fn post(server: &Server, port: u16, path: &str, body: &Value) -> (u16, Value) {
    let json = "Content-Type: application/json";
    let more = ["-X", "POST", "-H", json, "-d", &body.to_string()];
    curl(server, port, TOKEN, path, &more)
}

#[test]
fn everything_can_be_seen_and_ordered_behind_the_same_guard() {
    if !has("the HTTP API", "curl") {
        return;
    }
    let (server, port) = start(141);
    let get = |path: &str| curl(&server, port, TOKEN, path, &[]);
    let (status, all) = get("/v1/relays");
    assert_eq!((status, &all["node"]), (200, &json!("ns1")));
    let (status, one) = get("/v1/relays/fra-1");
    assert_eq!((status, &one["id"]), (200, &json!("fra-1")));
    let (status, answer) = get("/v1/answer?name=a.turn.example&from=10.1.2.3");
    assert_eq!((status, &answer["rcode"]), (200, &json!("NOERROR")));

    let drain = |scope: &str, confirm: bool| {
        let body =
            json!({ "scope": scope, "decision": "drain", "why": "racks", "confirm": confirm });
        post(&server, port, "/v1/overrides", &body)
    };
    for relay in ["fra-1", "ams-1"] {
        let body = json!({ "scope": relay, "decision": "up", "why": "no evidence here" });
        assert_eq!(post(&server, port, "/v1/overrides", &body).0, 200);
    }
    let (status, made) = drain("fra-1", false);
    assert_eq!(
        (status, &made["entry"]["who"]),
        (200, &json!("http token ci"))
    );
    let (status, refused) = drain("zone:eu-b", false);
    assert_eq!(status, 200, "that about the relay holds: {refused}");
    let (status, refused) = drain("ams-1", false);
    assert_eq!(status, 409);
    assert_eq!(refused["foresight"]["relays"], json!(["ams-1"]));
    assert_eq!(refused["foresight"]["regions"][0]["would_be_up"], 0);
    assert_eq!(server.verdict("ams-1"), "forced_up", "nothing was done");
    assert_eq!(drain("ams-1", true).0, 200);
    assert_eq!(server.verdict("ams-1"), "forced_down");
    let lift = json!({ "scope": "ams-1", "decision": null, "why": "done" });
    assert_eq!(post(&server, port, "/v1/overrides", &lift).0, 200);
    let (status, told) = get("/v1/history");
    assert_eq!(status, 200, "{told}");
    let (status, told) = get("/v1/overrides");
    assert_eq!((status, &told["journal"][5]["why"]), (200, &json!("done")));

    // A file that takes too much away is shown, refused, and taken when it is meant.
    let elsewhere = server.config().replace("127.0.77.", "127.0.78.");
    common::write(&server.path("dnsd.toml"), &elsewhere);
    let (status, seen) = get("/v1/diff");
    assert_eq!((status, &seen["taken"]), (200, &json!(false)), "{seen}");
    let (status, judged) = post(&server, port, "/v1/reload", &Value::Null);
    assert_eq!((status, &judged["taken"]), (409, &json!(false)), "{judged}");
    let (status, judged) = post(&server, port, "/v1/reload?confirm=true", &Value::Null);
    assert_eq!((status, &judged["taken"]), (200, &json!(true)), "{judged}");
    let log = server.log();
    for part in [
        "audit: decided",
        "who=\"http token ci\"",
        "audit: reload ordered",
    ] {
        assert!(log.contains(part), "{part} is not in {log}");
    }
    assert!(!log.contains(TOKEN), "{log}");
}

#[test]
fn whoever_has_no_token_or_means_somebody_else_gets_nothing() {
    if !has("the HTTP API", "curl") {
        return;
    }
    let (mut server, port) = start(142);
    let refused = |token: &str, path: &str, more: &[&str], expected: u16| {
        let (status, body) = curl(&server, port, token, path, more);
        assert_eq!(status, expected, "{path} {more:?}: {body}");
        assert!(body["error"].is_string(), "{path} {more:?}: {body}");
        body
    };
    refused("wrong", "/v1/relays", &[], 401);
    refused("wrong", "/v1/nothing", &[], 401);
    refused(TOKEN, "/v1/relays", &["-H", "Host: attacker.example"], 421);
    refused(TOKEN, "/v1/nothing", &[], 404);
    refused(TOKEN, "/v1/relays", &["-X", "DELETE"], 405);
    // Whatever a configuration refers to would be read with the daemon's rights.
    refused(TOKEN, "/v1/diff?name=x", &["-X", "POST", "-d", "x"], 405);
    let json = "Content-Type: application/json";
    refused(TOKEN, "/v1/overrides", &["-d", "{}"], 415);
    refused(
        TOKEN,
        "/v1/overrides",
        &["-H", json, "-d", "{\"scop\": 1}"],
        422,
    );
    let long = format!("\"{}\"", "x".repeat(20_000));
    refused(TOKEN, "/v1/overrides", &["-H", json, "-d", &long], 413);
    let output = Command::new("curl")
        .args([
            "-sSi",
            "-X",
            "OPTIONS",
            "-H",
            "Origin: https://attacker.example",
        ])
        .args(["-H", "Access-Control-Request-Method: POST"])
        .arg(format!("http://{}:{port}/v1/overrides", server.ip))
        .output()
        .expect("curl runs");
    let head = String::from_utf8_lossy(&output.stdout).to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 401"), "{head}");
    assert!(head.contains("www-authenticate: bearer"), "{head}");
    assert!(!head.contains("access-control"), "{head}");

    let last = wait_for("the end of guessing", Duration::from_secs(10), || {
        let (status, _) = curl(&server, port, "wrong", "/v1/relays", &[]);
        (status != 401).then_some(status)
    });
    assert_eq!(last, 429);
    wait_for("forgiveness", Duration::from_secs(10), || {
        (curl(&server, port, TOKEN, "/v1/relays", &[]).0 == 200).then_some(())
    });

    // Another token takes the place of this one without a restart; another address does not.
    let next = "the next token of these tests, long";
    server.more = section(server.ip, port, next);
    server.configure();
    server.signal(Signal::SIGHUP);
    wait_for("the next token", Duration::from_secs(10), || {
        (curl(&server, port, next, "/v1/relays", &[]).0 == 200).then_some(())
    });
    wait_for("the end of the first", Duration::from_secs(10), || {
        (curl(&server, port, TOKEN, "/v1/relays", &[]).0 == 401).then_some(())
    });
    let told = server.log();
    assert!(!told.contains(TOKEN) && !told.contains(next), "{told}");
}

#[test]
fn slow_and_many_strangers_leave_the_control_socket_alone() {
    let (server, port) = start(143);
    let mut crowd: Vec<TcpStream> = (0..dnsd::limits::HTTP_CONNECTIONS + 8)
        .map(|_| TcpStream::connect((server.ip, port)).expect("connects"))
        .collect();
    for stream in &mut crowd {
        let _ = stream.write_all(b"GET /v1/relays HTTP/1.1\r\n");
    }
    assert_eq!(server.json(&["status"])["node"], "ns1");
    // Their time ends, and the queue moves on.
    let mut first = crowd.remove(0);
    let limit = dnsd::limits::HTTP_TIMEOUT * 4;
    first.set_read_timeout(Some(limit)).expect("timeout");
    let mut rest = Vec::new();
    let _ = first.read_to_end(&mut rest);
    let answer = wait_for("a place", limit, || {
        let mut stream = TcpStream::connect((server.ip, port)).ok()?;
        stream.set_read_timeout(Some(limit)).ok()?;
        let head = format!(
            "GET /v1/relays HTTP/1.1\r\nHost: {}:{port}\r\n\r\n",
            server.ip
        );
        stream.write_all(head.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    });
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}
