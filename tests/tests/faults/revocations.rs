//! Users and tenants that are revoked at one name server.

use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cluster_tests::binaries;
use cluster_tests::client::{Client, allocate, refresh};
use cluster_tests::fleet::plan::{Plan, SECRET, TURN};
use cluster_tests::fleet::{CONTROL, Fleet};
use cluster_tests::link::Link;
use cluster_tests::stun::rest_password_bytes;
use cluster_tests::subject::{Login, unix_time};
use cluster_tests::timing::until;

/// From the word of a person to the last relay that acts on it.
const KNOWN: Duration = Duration::from_secs(5);
/// For what was not running to run and to know.
const BACK: Duration = Duration::from_secs(20);

/// Every relay ends the sessions of a user revoked at one name server and takes no more of them; so
/// it does when that name server is dead, when the relay has started anew, and for what is revoked
/// elsewhere meanwhile; and whoever comes back learns of it.
pub(crate) fn everywhere() {
    let Some(fleet) = Fleet::start(Plan::sharing("revoked", 1)) else {
        return;
    };
    let relays = 0..fleet.relays.len();
    let mut sessions: Vec<_> = relays
        .clone()
        .flat_map(|relay| ["shop/ann", "shop/eve", "other/ben"].map(|user| (relay, user)))
        .map(|(relay, user)| {
            let mut client = client(&fleet, relay, user);
            client.ask(allocate()).must_succeed();
            (user, client)
        })
        .collect();
    let mut refreshed = |user: &str, code: Option<u16>| {
        let mut asked = sessions.iter_mut().filter(|(of, _)| *of == user);
        asked.all(|(_, client)| client.ask(refresh(600)).message().error_code() == code)
    };
    assert!(refreshed("shop/ann", None));

    let said = Instant::now();
    order(&fleet, 0, &["revoke", "user:shop/ann", "--why", "stolen"]);
    until("every relay refuses the user", KNOWN, || {
        refreshed("shop/ann", Some(401)).then_some(())
    });
    println!("measured revoked: {:.2} s", said.elapsed().as_secs_f64());
    for relay in relays.clone() {
        until("the session ends", KNOWN, || {
            (revoked(&fleet, relay) == 1).then_some(())
        });
        client(&fleet, relay, "shop/ann")
            .ask(allocate())
            .must_be(401);
    }
    assert!(refreshed("shop/eve", None) && refreshed("other/ben", None));
    until("nobody is behind", KNOWN, || {
        let list = order(&fleet, 1, &["revocations", "--json"]);
        let one = list.contains("user:shop/ann") && list.contains("\"behind\": []");
        one.then_some(())
    });

    // The name server it was told is dead, and a relay begins anew and knows nothing.
    fleet.dnsds[0].kill();
    fleet.relays[0].kill();
    fleet.relays[0].start();
    until("the new relay refuses the user", BACK, || {
        refused(&fleet, 0, "shop/ann")
    });
    client(&fleet, 0, "other/ben")
        .ask(allocate())
        .must_succeed();

    // A whole tenant, elsewhere.
    order(&fleet, 1, &["revoke", "tenant:shop", "--for", "1h"]);
    until("the tenant is refused", KNOWN, || {
        let mut all = relays
            .clone()
            .map(|relay| refused(&fleet, relay, "shop/eve"));
        all.all(|refused| refused.is_some()).then_some(())
    });
    client(&fleet, 1, "shopping/eve")
        .ask(allocate())
        .must_succeed();

    // Who was away learns of it, and what is lifted there is lifted everywhere.
    fleet.dnsds[0].start();
    until("the first one knows the tenant", BACK, || {
        order_if(&fleet, 0, &["revocations"])?
            .contains("tenant:shop")
            .then_some(())
    });
    for whom in ["tenant:shop", "user:shop/ann"] {
        order(&fleet, 0, &["reinstate", whom, "--why", "found"]);
    }
    until("everybody is served again", KNOWN, || {
        let mut all = relays
            .clone()
            .map(|relay| refused(&fleet, relay, "shop/ann"));
        all.all(|refused| refused.is_none()).then_some(())
    });
    for daemon in fleet.dnsds.iter().chain(&fleet.relays) {
        assert!(
            !daemon.log().contains("shop/"),
            "{} names people",
            daemon.id
        );
    }
}

fn client(fleet: &Fleet, relay: usize, user: &str) -> Client {
    let server = (fleet.relays[relay].host.ipv4, TURN).into();
    let from = fleet.client.ipv4.into();
    let link = fleet.client.namespace.run(|| Link::udp_from(from, server));
    let mut client = Client::over(link);
    let username = format!("{}:{user}", unix_time() + 3600);
    let password = STANDARD.encode(rest_password_bytes(SECRET.as_bytes(), &username));
    client.login = Login { username, password };
    client
}

/// Whether a relay that answers refuses a new session of a user.
fn refused(fleet: &Fleet, relay: usize, user: &str) -> Option<()> {
    let mut client = client(fleet, relay, user);
    let request = allocate().unsigned();
    client.link.send(&request).ok()?;
    // One that has just been started may not listen yet.
    let challenge = client.link.receive(Duration::from_millis(500)).ok()?;
    client.learn(&cluster_tests::client::Reply::new(challenge));
    let answer = client.ask(allocate());
    (answer.message().error_code() == Some(401)).then_some(())
}

/// How many sessions a relay has ended because their owner was revoked.
fn revoked(fleet: &Fleet, relay: usize) -> u64 {
    let text = fleet.relays[relay].host.namespace.run(|| {
        let mut page = ureq::get("http://127.0.0.1:9641/metrics").call();
        let page = page.as_mut().expect("it answers");
        page.body_mut().read_to_string().expect("text")
    });
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let line = lines.find(|line| line.contains("allocations_revoked"));
    let value = line.and_then(|line| line.rsplit(' ').next());
    value.expect("it is counted").parse().expect("a number")
}

fn order(fleet: &Fleet, dnsd: usize, args: &[&str]) -> String {
    order_if(fleet, dnsd, args).unwrap_or_else(|| panic!("{args:?} failed"))
}

/// What `dnsd` prints when it is called with these; `None` if it fails.
fn order_if(fleet: &Fleet, dnsd: usize, args: &[&str]) -> Option<String> {
    let output = Command::new(binaries::directory().join("dnsd"))
        .args(args)
        .arg("--control")
        .arg(fleet.dnsds[dnsd].dir.join(CONTROL))
        .output()
        .expect("dnsd runs");
    let text = String::from_utf8(output.stdout).expect("text");
    output.status.success().then_some(text)
}
