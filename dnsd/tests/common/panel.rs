//! Several nameservers of one test that share what they see.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::dnsd::{Listed, Server};
use super::{free_port, wait_for, write};

/// The cluster key of these tests.
pub(crate) const CLUSTER: &str = "the cluster key of these tests, long";

/// Nameservers `ns1`, `ns2`, … that know of each other.
pub(crate) struct Panel {
    pub(crate) servers: Vec<Server>,
    /// Where each shares.
    pub(crate) ports: Vec<(Ipv4Addr, u16)>,
}

const IDS: [&str; 3] = ["ns1", "ns2", "ns3"];
const REGIONS: [&str; 3] = ["eu", "us", "ap"];

/// `[sharing]` of node `n`.
fn sharing(n: usize, ports: &[(Ipv4Addr, u16)], keys: &str) -> String {
    let (ip, port) = ports[n];
    let mut text = format!(
        "[sharing]\nlisten = \"{ip}:{port}\"\nvendor = \"vendor-{n}\"\nregion = \"{}\"\n{keys}\npeers = [",
        REGIONS[n]
    );
    for (ip, port) in ports {
        let _ = write!(text, "\"{ip}:{port}\", ");
    }
    text + "]\n"
}

impl Panel {
    /// Three nameservers on `127.0.9.<host>` and the two above; `relays` are those that each knows.
    pub(crate) fn new(host: u8, relays: [Vec<Listed>; 3]) -> Self {
        let ports: Vec<_> = (0..3)
            .map(|n| {
                let ip = Ipv4Addr::new(127, 0, 9, host + n);
                (ip, free_port(ip))
            })
            .collect();
        let servers = relays.into_iter().enumerate().map(|(n, relays)| {
            let mut server = Server::new(host + n as u8, relays);
            server.id = IDS[n];
            server.more = sharing(n, &ports, &format!("current = \"{CLUSTER}\""));
            server
        });
        Self {
            servers: servers.collect(),
            ports,
        }
    }

    /// Gives node `n` other keys, for its next start or reload.
    pub(crate) fn rekey(&mut self, n: usize, keys: &str) {
        self.servers[n].more = sharing(n, &self.ports, keys);
    }

    /// Starts all that are not running.
    pub(crate) fn start(mut self) -> Self {
        for server in self.servers.iter_mut().filter(|s| s.running.is_none()) {
            server.configure();
            server.spawn();
        }
        self.servers.iter().for_each(Server::wait_ready);
        self
    }

    /// Has node `n` read its configuration again.
    pub(crate) fn reload(&self, n: usize) {
        let server = &self.servers[n];
        let before = server.log().len();
        write(&server.path("dnsd.toml"), &server.config());
        server.signal(Signal::SIGHUP);
        wait_for("a reload", Duration::from_secs(5), || {
            let log = server.log();
            log.get(before..)?
                .contains("configuration reloaded")
                .then_some(())
        });
    }

    /// The ids of the observers that count at node `n`.
    pub(crate) fn heard(&self, n: usize) -> Vec<String> {
        let status = self.servers[n].json(&["status"]);
        let observers = status["sharing"]["observers"].as_array();
        let fresh = observers
            .into_iter()
            .flatten()
            .filter(|o| o["fresh"] == true);
        fresh
            .map(|o| o["observer"].as_str().expect("id").to_owned())
            .collect()
    }

    /// Waits until node `n` hears exactly `others`.
    pub(crate) fn wait_heard(&self, n: usize, others: &[&str]) {
        let what = format!("{} to hear {others:?}", IDS[n]);
        wait_for(&what, Duration::from_secs(10), || {
            (self.heard(n) == others).then_some(())
        });
    }

    /// Waits until everybody hears everybody.
    pub(crate) fn wait_all_heard(&self) {
        for n in 0..3 {
            let others: Vec<_> = (0..3).filter(|other| *other != n).map(|o| IDS[o]).collect();
            self.wait_heard(n, &others);
        }
    }
}
