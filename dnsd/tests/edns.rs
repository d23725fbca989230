//! EDNS options, cookies, rations and class CH, judged by `dig` and `kdig` and by the clock.

mod common;

use std::net::UdpSocket;
use std::time::Duration;

use common::dnsd::{Server, listed};

fn server(host: u8, dns: &str) -> Server {
    let mut server = Server::new(
        host,
        vec![
            listed("fra-1", "eu-a", "alpha", 1),
            listed("ams-1", "eu-b", "beta", 2),
        ],
    );
    server.more = format!("[dns]\n{dns}\n");
    server.start()
}

fn tools(test: &str) -> bool {
    common::has(test, "dig") && common::has(test, "kdig")
}

/// The rest of the line that begins so, without blanks around.
fn line<'a>(text: &'a str, mark: &str) -> &'a str {
    let mut lines = text.lines().map(|line| line.trim_start_matches("; "));
    lines
        .find_map(|line| line.strip_prefix(mark))
        .map_or("", str::trim)
}

#[test]
fn a_server_says_who_it_is_to_those_who_ask_and_only_what_is_configured() {
    if !tools("a_server_says_who_it_is") {
        return;
    }
    let chaos = "chaos_id = \"ns one\"\nchaos_version = \"turnfleet\"";
    let named = server(62, &format!("nsid = \"ns-7\"\n{chaos}"));
    let asked = named.dig(&["+nsid", "a.turn.example", "A"]);
    assert!(asked.contains("(\"ns-7\")"), "{asked}");
    let asked = named.kdig(&["+nsid", "a.turn.example", "A"]);
    assert!(asked.contains("\"ns-7\""), "{asked}");
    let unasked = named.dig(&["a.turn.example", "A"]);
    assert!(!unasked.contains("NSID"), "{unasked}");
    for (name, text) in [
        ("id.server", "\"ns one\""),
        ("hostname.bind", "\"ns one\""),
        ("VERSION.bind", "\"turnfleet\""),
        ("version.server", "\"turnfleet\""),
    ] {
        let told = named.dig(&["+short", name, "CH", "TXT"]);
        assert_eq!(told.trim(), text, "{name}");
        let record = named.kdig(&["+noall", "+answer", name, "CH", "TXT"]);
        assert!(record.contains("CH\tTXT"), "{record}");
    }
    let silent = server(63, "");
    for query in [
        ["version.bind", "CH", "TXT"],
        ["id.server", "CH", "TXT"],
        ["authors.bind", "CH", "TXT"],
    ] {
        assert!(silent.dig(&query).contains("status: REFUSED"), "{query:?}");
    }
    assert!(
        !silent
            .dig(&["+nsid", "a.turn.example", "A"])
            .contains("NSID")
    );
}

#[test]
fn why_an_answer_is_less_than_it_might_be() {
    if !tools("why_an_answer_is_less") {
        return;
    }
    let server = server(64, "");
    for (query, error) in [
        (["example.net", "IN", "A"], "20 (Not Authoritative)"),
        (["a.turn.example", "CH", "A"], "18 (Prohibited)"),
        // Nothing listens at its relays' addresses: they are all it has, and that is said.
        (["a.turn.example", "IN", "A"], "3 (Stale Answer)"),
    ] {
        let [name, class, kind] = query;
        let told = server.dig(&["+notcp", name, class, kind]);
        assert_eq!(line(&told, "EDE:"), error, "{told}");
        let plain = server.dig(&["+noedns", name, class, kind]);
        assert!(!plain.contains("EDE"), "{plain}");
    }
    let nodata = server.dig(&["a.turn.example", "TXT"]);
    assert!(!nodata.contains("EDE"), "{nodata}");
}

#[test]
fn idle_connections_are_told_how_long_they_may_be_idle() {
    if !common::has("idle_connections", "dig") {
        return;
    }
    let server = server(65, "");
    let ask = |more: &[&str]| server.dig(&[more, &["a.turn.example", "A"]].concat());
    let told = ask(&["+tcp", "+keepalive"]);
    assert!(line(&told, "TCP KEEPALIVE:").ends_with("secs"), "{told}");
    assert!(!ask(&["+tcp"]).contains("KEEPALIVE"));
    assert!(!ask(&["+notcp", "+keepalive"]).contains("KEEPALIVE"));
}

/// The COOKIE that dig shows, and what it says of it.
fn cookie(text: &str) -> (String, String) {
    let rest = line(text, "COOKIE:");
    let (cookie, verdict) = rest.split_once(' ').unwrap_or((rest, ""));
    (cookie.to_owned(), verdict.trim().to_owned())
}

#[test]
fn cookies_are_given_known_again_and_renewed() {
    if !tools("cookies_are_given") {
        return;
    }
    let server = server(66, "");
    let ask = |option: &str| server.dig(&[option, "a.turn.example", "A"]);
    let (first, verdict) = cookie(&ask("+cookie"));
    assert_eq!((first.len(), verdict.as_str()), (48, "(good)"), "{first}");
    let again = ask(&format!("+cookie={first}"));
    let (second, verdict) = cookie(&again);
    assert!(again.contains("ANSWER: 1"), "{again}");
    assert_eq!((&second[..16], verdict.as_str()), (&first[..16], "(good)"));
    let forged = format!("+cookie={}00000000", &first[..40]);
    assert!(ask(&forged).contains("status: NOERROR"));
    for malformed in ["0011223344556677889900", "00112233445566"] {
        let told = ask(&format!("+ednsopt=10:{malformed}"));
        assert!(told.contains("status: FORMERR"), "{told}");
    }
    let kdig = server.kdig(&["+cookie", "a.turn.example", "A"]);
    assert!(kdig.contains("COOKIE: "), "{kdig}");
    assert!(!server.dig(&["a.turn.example", "A"]).contains("COOKIE"));
    let count = |kind| {
        let name = format!("turnfleet_dnsd_cookies_total{{cookie=\"{kind}\",transport=\"udp\"}}");
        server.metric(&name).unwrap_or_default()
    };
    assert!(count("good") >= 1.0 && count("client") >= 2.0);
    assert!(count("none") >= 1.0);
}

/// `a.turn.example A` with an OPT record that has this COOKIE.
fn query(cookie: &[u8]) -> Vec<u8> {
    let mut query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x01a\x04turn\x07example\x00\
                      \x00\x01\x00\x01\x00\x00\x29\x04\xd0\x00\x00\x00\x00"
        .to_vec();
    let length = |length: usize| (length as u16).to_be_bytes();
    let options = if cookie.is_empty() {
        0
    } else {
        cookie.len() + 4
    };
    query.extend(length(options));
    if options > 0 {
        query.extend([0, 10]);
        query.extend(length(cookie.len()));
        query.extend(cookie);
    }
    query
}

#[test]
fn who_shows_no_cookie_is_rationed_and_can_always_come_by_tcp() {
    if !common::has("who_shows_no_cookie", "dig") {
        return;
    }
    let server = server(67, "responses_per_second = 10\nslip = 2");
    let given = cookie(&server.dig(&["+cookie", "a.turn.example", "A"])).0;
    let given: Vec<u8> = (0..given.len() / 2)
        .map(|i| u8::from_str_radix(&given[2 * i..2 * i + 2], 16).expect("hex"))
        .collect();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("socket");
    socket.connect((server.ip, server.dns)).expect("connect");
    let limit = Some(Duration::from_millis(500));
    socket.set_read_timeout(limit).expect("timeout");
    // How many of 100 queries are answered in full, and how many otherwise: TC or an extended
    // response code above 15, which is BADCOOKIE's only.
    let hundred = |query: &[u8]| {
        let (mut whole, mut truncated, mut refused) = (0, 0, 0);
        let mut sent = 0;
        for _ in 0..10 {
            for _ in 0..10 {
                socket.send(query).expect("send");
            }
            sent += 10;
            let mut reply = [0; 512];
            while whole + truncated + refused < sent {
                let Ok(length) = socket.recv(&mut reply) else {
                    break;
                };
                let bad = reply[3] & 0xf == 7 && length > 100;
                let counts = u16::from_be_bytes([reply[6], reply[7]]);
                match (counts, reply[2] & 2, bad) {
                    (1.., _, _) => whole += 1,
                    (0, 2, _) => truncated += 1,
                    _ => refused += 1,
                }
            }
        }
        (whole, truncated, refused)
    };
    let (whole, truncated, refused) = hundred(&query(&[]));
    assert!((15..=90).contains(&whole), "{whole}");
    assert!(truncated > 0 && refused == 0, "{truncated} {refused}");
    assert!(whole + truncated < 100, "nothing was withheld");
    // A client's own cookie gets it a good one instead of nothing.
    let (_, truncated, refused) = hundred(&query(&given[..8]));
    assert!(refused > 0 && truncated == 0, "{refused} {truncated}");
    assert_eq!(hundred(&query(&given)), (100, 0, 0));
    let tcp = server.dig(&["+tcp", "a.turn.example", "A"]);
    assert!(tcp.contains("ANSWER: 1"), "{tcp}");
    let name = "turnfleet_dnsd_drops_total{reason=\"ration\",transport=\"udp\"}";
    assert!(server.metric(name).unwrap_or_default() > 0.0);
}

#[test]
fn trusted_networks_get_all_they_ask_for() {
    let server = server(
        68,
        "responses_per_second = 1\nunlimited = [\"127.0.0.0/8\"]",
    );
    let socket = UdpSocket::bind("127.0.0.1:0").expect("socket");
    socket.connect((server.ip, server.dns)).expect("connect");
    let limit = Some(Duration::from_secs(2));
    socket.set_read_timeout(limit).expect("timeout");
    for _ in 0..50 {
        socket.send(&query(&[])).expect("send");
        let length = socket.recv(&mut [0; 512]).expect("an answer");
        assert!(length > 50);
    }
}
