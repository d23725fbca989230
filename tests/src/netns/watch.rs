//! Counts in the kernel of what really left a namespace: a proof that no program can talk away.

use std::net::IpAddr;

use serde_json::Value;

use super::Namespace;

/// Packets and bytes, as IP counts them: with IP headers, without Ethernet's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl std::ops::Sub for Count {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            packets: self.packets - earlier.packets,
            bytes: self.bytes - earlier.bytes,
        }
    }
}

/// Named counters in one namespace.
#[derive(Debug)]
pub struct Watch<'a>(&'a Namespace);

impl<'a> Watch<'a> {
    /// Counters named in `rules`, which are those of an nftables table.
    ///
    /// # Panics
    /// When nft does not take them.
    pub fn new(namespace: &'a Namespace, rules: &str) -> Self {
        namespace.command(
            "nft",
            "-f -",
            &format!("table inet watch {{\n{rules}\n}}\n"),
        );
        Self(namespace)
    }

    /// Counters of all that leaves the relay's host over UDP or TCP, by where it goes: `allowed`
    /// to one of `peers`, `clients`, `hairpin` to its own relayed ports, and `strayed`
    /// anywhere else, loopback included.
    pub fn peers(namespace: &'a Namespace, peers: &[IpAddr], relay_ports: &str) -> Self {
        use super::lab::{CLIENT, NAME_SERVER, RELAY};
        let to = |ips: &[IpAddr], verdict: &str| -> String {
            let rule = |ip: &IpAddr| {
                let family = if ip.is_ipv4() { "ip" } else { "ip6" };
                format!("{family} daddr {ip} {verdict}\n")
            };
            ips.iter().map(rule).collect()
        };
        // Neighbour discovery and the like are the kernel's own. A report is told by its size.
        let (ip, port) = (NAME_SERVER.ip(), NAME_SERVER.port());
        let report = 8 + 192;
        let rules = format!(
            "counter strayed {{}}\n counter allowed {{}}\n
             counter clients {{}}\n counter hairpin {{}}\n
             chain out {{
                type filter hook output priority 0;
                meta l4proto != {{ tcp, udp }} return
                ip daddr {ip} udp dport {port} udp length {report} return
                {}{}{} counter name strayed

             }}",
            to(&CLIENT, "counter name clients return"),
            to(peers, "counter name allowed return"),
            to(
                &RELAY,
                &format!("udp dport {relay_ports} counter name hairpin return")
            ),
        );
        Self::new(namespace, &rules)
    }

    /// What the counter `name` shows.
    ///
    /// # Panics
    /// When there is none.
    pub fn count(&self, name: &str) -> Count {
        let text = self
            .0
            .command("nft", &format!("-j list counter inet watch {name}"), "");
        let json: Value = serde_json::from_str(&text).expect("nft writes JSON");
        let counter = json["nftables"]
            .as_array()
            .and_then(|all| all.iter().find_map(|one| one.get("counter")))
            .expect("the counter is there");
        let number = |key: &str| counter[key].as_u64().expect("a number");
        Count {
            packets: number("packets"),
            bytes: number("bytes"),
        }
    }
}
