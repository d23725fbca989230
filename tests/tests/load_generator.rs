//! The load generator against coturn: every packet comes back to where it belongs.

use std::{
    net::{SocketAddr, UdpSocket},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use cluster_tests::load::{
    self, LoadError,
    login::Login,
    plan::{Pace, Plan, Via},
};

const SECRET: &str = "a-secret-of-the-load-test";

/// A coturn process; ended when dropped.
struct Coturn {
    child: Child,
    address: SocketAddr,
    _database: tempfile::TempDir,
}

impl Coturn {
    /// Starts coturn on a free port of `ip`; `None` where it is not installed.
    fn start(test: &str, ip: &str) -> Option<Self> {
        let address = UdpSocket::bind((ip, 0))
            .and_then(|s| s.local_addr())
            .expect("a free port");
        let database = tempfile::tempdir().expect("a directory");
        let child = Command::new("turnserver")
            .args([
                "-n",
                "--no-cli",
                "--no-tls",
                "--no-dtls",
                "--use-auth-secret",
            ])
            .args([
                "--allow-loopback-peers",
                "--realm=load.test",
                "--log-file=/dev/null",
            ])
            .args(["--no-stdout-log", "--pidfile=/dev/null"])
            .arg(format!("--userdb={}/db", database.path().display()))
            .arg(format!("--static-auth-secret={SECRET}"))
            .arg(format!("--listening-ip={ip}"))
            .arg(format!("--relay-ip={ip}"))
            .arg(format!("--listening-port={}", address.port()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match child {
            Ok(child) => Some(Self {
                child,
                address,
                _database: database,
            }),
            Err(_) if std::env::var("TURNFLEET_REQUIRE_TOOLS").as_deref() != Ok("1") => {
                println!("SKIP {test}: coturn is not installed");
                None
            }
            Err(error) => panic!("turnserver: {error}"),
        }
    }

    fn plan(&self) -> Plan {
        let now = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .expect("a clock after 1970");
        let (secret, expires) = (SECRET.to_owned(), now.as_secs() + 600);
        Plan {
            peer_ip: self.address.ip(),
            allocations: 8,
            payload: 121,
            pace: Pace::Window(2),
            warmup: Duration::from_millis(100),
            time: Duration::from_millis(500),
            server_pid: Some(self.child.id()),
            ..Plan::new(self.address, Some(Login::Secret { secret, expires }))
        }
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a plan; coturn refuses while it starts, before it has read its secrets: tried for 10 s.
fn run(plan: &Plan) -> load::outcome::Outcome {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match load::run(plan) {
            Ok(outcome) => return outcome,
            Err(LoadError::Io(_) | LoadError::Silent | LoadError::Refused { code: 401, .. })
                if Instant::now() < deadline =>
            {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[track_caller]
fn all_came_back(outcome: &load::outcome::Outcome) {
    assert!(outcome.up.sent > 0, "{outcome}");
    assert_eq!(outcome.up.sent, outcome.up.received, "{outcome}");
    assert_eq!(outcome.down.sent, outcome.down.received, "{outcome}");
    assert_eq!((outcome.foreign, outcome.reordered), (0, 0), "{outcome}");
}

#[test]
fn channels_and_indications_lose_nothing_over_ipv4_and_ipv6() {
    for ip in ["127.0.0.1", "::1"] {
        let Some(coturn) = Coturn::start("load_generator", ip) else {
            return;
        };
        for via in [Via::Channel, Via::Indication] {
            let outcome = run(&Plan {
                via,
                ..coturn.plan()
            });
            all_came_back(&outcome);
            let server = outcome
                .server
                .as_ref()
                .expect("the server's process was named");
            assert!(server.rss_after > 1_000_000, "{outcome}");
        }
    }
}

#[test]
fn a_fixed_rate_is_kept() {
    let Some(coturn) = Coturn::start("load_generator", "127.0.0.1") else {
        return;
    };
    let (pace, time) = (Pace::Rate(400), Duration::from_secs(1));
    let outcome = run(&Plan {
        pace,
        time,
        ..coturn.plan()
    });
    all_came_back(&outcome);
    let sent = outcome.up.sent + outcome.skipped;
    assert!((390..=400).contains(&sent), "{outcome}");
}

#[test]
fn a_wrong_secret_and_targets_elsewhere_are_refused() {
    let Some(coturn) = Coturn::start("load_generator", "127.0.0.1") else {
        return;
    };
    run(&coturn.plan());
    let login = Login::Password {
        username: "nobody".to_owned(),
        password: "nothing".to_owned(),
    };
    let refused = load::run(&Plan {
        login: Some(login),
        ..coturn.plan()
    });
    assert!(
        matches!(refused, Err(LoadError::Refused { code: 401, .. })),
        "{refused:?}"
    );
    let server = SocketAddr::from(([192, 0, 2, 1], 3478));
    let refused = load::run(&Plan {
        server,
        ..coturn.plan()
    });
    assert!(
        matches!(refused, Err(LoadError::NotLoopback(_))),
        "{refused:?}"
    );
}
