//! coturn's own client, in every mode that a relay of ours is asked to serve.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use cluster_tests::client::Echo;
use cluster_tests::rules;
use cluster_tests::rules::{Case, Rule};
use cluster_tests::subject::{Kind, Login, SECRET, client_address};
use cluster_tests::{tools, uclient};

pub(crate) const RULES: &[Rule] = rules![
    channels_over_udp,
    send_indications_over_udp,
    with_a_user_name_and_a_password,
    padded_channel_data_over_udp,
    an_explicit_ipv4_relay,
    over_ipv6,
    an_ipv6_relay_for_an_ipv4_client,
    an_ipv4_relay_for_an_ipv6_client,
    between_two_clients,
    with_extra_requests,
    with_dont_fragment,
    with_pairs_of_ports,
    over_tcp,
    over_tcp_and_ipv6,
    between_two_clients_over_tcp,
    over_tls,
    over_tls_and_ipv6,
    over_dtls,
    over_dtls_and_ipv6,
    between_two_clients_over_dtls,
    tcp_allocations_over_tcp,
    tcp_allocations_over_tls,
    moving_to_other_ports,
];

/// Far longer than any of these takes.
const LIMIT: Duration = Duration::from_mins(1);
/// Messages each client sends.
const MESSAGES: u32 = 50;

/// Where the client goes and what it meets there.
struct Run<'a> {
    server: SocketAddr,
    peer: Option<IpAddr>,
    words: &'a [&'a str],
}

/// Runs the client: every message must come back.
fn relays(case: &Case<'_>, run: &Run<'_>) {
    if !tools::present("uclient", &["turnutils_uclient"]) {
        return case.not_run("turnutils_uclient not installed");
    }
    let mut words: Vec<String> = run.words.iter().map(|word| (*word).to_owned()).collect();
    let mut set = |name: &str, value: &dyn ToString| {
        words.extend([name.to_owned(), value.to_string()]);
    };
    let echo = run.peer.map(Echo::on);
    if let Some(echo) = &echo {
        set("-e", &echo.address().ip());
        set("-r", &echo.address().port());
    }
    if run.server.is_ipv4() {
        set("-L", &client_address());
    }
    set("-n", &MESSAGES);
    set("-z", &5);
    set("-p", &run.server.port());
    words.push(run.server.ip().to_string());
    // Our relay has to pass at the first attempt. coturn is here to show that what is asked for can
    // be done, and now and then, on a busy machine, its client does not get through to it over TLS.
    let attempts = match case.subject.kind {
        Kind::Turnd => 1,
        Kind::Coturn => 3,
    };
    let mut failed = Vec::new();
    while failed.len() < attempts {
        match attempt(&words) {
            Ok(messages) => {
                let (name, before) = (case.subject.kind.name(), failed.len());
                println!(
                    "uclient {name} {:?}: {messages} sent, 0 lost, {before} failed attempts before",
                    run.words
                );
                return;
            }
            Err(said) => failed.push(said),
        }
    }
    panic!("{}", failed.join("\n"));
}

/// One run of the client: how many messages were sent, all of which came back, or what went wrong.
fn attempt(words: &[String]) -> Result<u32, String> {
    let counted = uclient::bounded(words, LIMIT)?;
    let lost = counted.sent.saturating_sub(counted.received);
    if counted.sent >= MESSAGES && lost == 0 {
        Ok(counted.sent)
    } else {
        Err(format!("lost {lost} of {}", counted.sent))
    }
}

/// The usual run: IPv4, the shared secret, no RTCP pair.
fn usual(case: &Case<'_>, words: &[&str]) {
    relays(
        case,
        &Run {
            server: case.subject.v4(),
            peer: Some(client_address().into()),
            words: &[&["-c", "-W", SECRET], words].concat(),
        },
    );
}

fn channels_over_udp(case: &Case<'_>) {
    usual(case, &["-m", "4", "-l", "1000"]);
}

fn send_indications_over_udp(case: &Case<'_>) {
    usual(case, &["-s", "-m", "4", "-l", "1000"]);
}

fn with_a_user_name_and_a_password(case: &Case<'_>) {
    let login = Login::of("uclient");
    relays(
        case,
        &Run {
            server: case.subject.v4(),
            peer: Some(client_address().into()),
            words: &["-c", "-u", &login.username, "-w", &login.password],
        },
    );
}

fn padded_channel_data_over_udp(case: &Case<'_>) {
    usual(case, &["-D", "-l", "101"]);
}

fn an_explicit_ipv4_relay(case: &Case<'_>) {
    usual(case, &["-X"]);
}

fn over_ipv6(case: &Case<'_>) {
    for mode in [&["-x", "-c"][..], &["-x", "-c", "-s"]] {
        let words = &[mode, &["-W", SECRET]].concat();
        let (server, peer) = (case.subject.v6(), Some(Ipv6Addr::LOCALHOST.into()));
        relays(
            case,
            &Run {
                server,
                peer,
                words,
            },
        );
    }
}

fn an_ipv6_relay_for_an_ipv4_client(case: &Case<'_>) {
    let words = &["-x", "-c", "-W", SECRET];
    let (server, peer) = (case.subject.v4(), Some(Ipv6Addr::LOCALHOST.into()));
    relays(
        case,
        &Run {
            server,
            peer,
            words,
        },
    );
}

fn an_ipv4_relay_for_an_ipv6_client(case: &Case<'_>) {
    let words = &["-X", "-c", "-W", SECRET];
    let (server, peer) = (case.subject.v6(), Some(client_address().into()));
    relays(
        case,
        &Run {
            server,
            peer,
            words,
        },
    );
}

fn between_two_clients(case: &Case<'_>) {
    for mode in [&["-y", "-c"][..], &["-y", "-c", "-s"]] {
        let words = &[mode, &["-m", "4", "-W", SECRET]].concat();
        let (server, peer) = (case.subject.v4(), None);
        relays(
            case,
            &Run {
                server,
                peer,
                words,
            },
        );
    }
}

/// More permissions and channels than it needs.
fn with_extra_requests(case: &Case<'_>) {
    usual(case, &["-G"]);
}

fn over_tcp(case: &Case<'_>) {
    usual(case, &["-t", "-m", "4", "-l", "1000"]);
    usual(case, &["-t", "-s", "-m", "4", "-l", "1001"]);
}

fn over_tcp_and_ipv6(case: &Case<'_>) {
    let words = &["-t", "-x", "-c", "-W", SECRET];
    let (server, peer) = (case.subject.v6(), Some(Ipv6Addr::LOCALHOST.into()));
    relays(
        case,
        &Run {
            server,
            peer,
            words,
        },
    );
}

fn between_two_clients_over_tcp(case: &Case<'_>) {
    let words = &["-t", "-y", "-c", "-m", "4", "-W", SECRET];
    let (server, peer) = (case.subject.v4(), None);
    relays(
        case,
        &Run {
            server,
            peer,
            words,
        },
    );
}

/// The client checks the certificate.
fn over_tls(case: &Case<'_>) {
    let trusted = case.subject.certificate.chain.display().to_string();
    usual(case, &["-t", "-S", "-E", &trusted, "-m", "4", "-l", "1000"]);
    usual(case, &["-t", "-S", "-E", &trusted, "-s", "-l", "1001"]);
}

fn over_tls_and_ipv6(case: &Case<'_>) {
    let words = &["-t", "-S", "-x", "-c", "-W", SECRET];
    let (server, peer) = (case.subject.v6(), Some(Ipv6Addr::LOCALHOST.into()));
    relays(
        case,
        &Run {
            server,
            peer,
            words,
        },
    );
}

/// The client checks the certificate.
fn over_dtls(case: &Case<'_>) {
    let trusted = case.subject.certificate.chain.display().to_string();
    usual(case, &["-S", "-E", &trusted, "-m", "4", "-l", "1000"]);
    usual(case, &["-S", "-E", &trusted, "-s", "-l", "1001"]);
}

fn over_dtls_and_ipv6(case: &Case<'_>) {
    let words = &["-S", "-x", "-c", "-W", SECRET];
    let (server, peer) = (case.subject.v6(), Some(Ipv6Addr::LOCALHOST.into()));
    relays(
        case,
        &Run {
            server,
            peer,
            words,
        },
    );
}

fn between_two_clients_over_dtls(case: &Case<'_>) {
    let words = &["-S", "-y", "-c", "-m", "4", "-W", SECRET];
    let (server, peer) = (case.subject.v4(), None);
    relays(
        case,
        &Run {
            server,
            peer,
            words,
        },
    );
}

/// From relayed address to relayed address: each client asks the other's for a connection.
fn relaying_tcp(case: &Case<'_>, words: &[&str]) {
    let words = &[&["-T", "-m", "4", "-W", SECRET], words].concat();
    let (server, peer) = (case.subject.v4(), None);
    relays(
        case,
        &Run {
            server,
            peer,
            words,
        },
    );
}

fn tcp_allocations_over_tcp(case: &Case<'_>) {
    relaying_tcp(case, &[]);
}

/// The client checks the certificate.
fn tcp_allocations_over_tls(case: &Case<'_>) {
    let trusted = case.subject.certificate.chain.display().to_string();
    relaying_tcp(case, &["-S", "-E", &trusted]);
}

/// Each session moves once it has been made.
fn moving_to_other_ports(case: &Case<'_>) {
    usual(case, &["-M", "-m", "4", "-l", "1000"]);
    usual(case, &["-M", "-s", "-m", "4"]);
}

fn with_dont_fragment(case: &Case<'_>) {
    usual(case, &["-g"]);
    usual(case, &["-g", "-s"]);
}

/// Even ports, and the next ones by their tokens, for RTP and RTCP; the peer has a pair of its own.
fn with_pairs_of_ports(case: &Case<'_>) {
    let ip = IpAddr::from(client_address());
    let _peers = [3480, 3481].map(|port| Echo::at(SocketAddr::new(ip, port)));
    let words = &["-m", "4", "-e", &ip.to_string(), "-r", "3480", "-W", SECRET];
    let (server, peer) = (case.subject.v4(), None);
    relays(
        case,
        &Run {
            server,
            peer,
            words,
        },
    );
}
