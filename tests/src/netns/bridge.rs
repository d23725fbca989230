//! Hosts on one bridge, each a network namespace with an IPv4 and an IPv6 address, and what can
//! happen to their network.
//!
//! The bridge is in a namespace of its own: two labs never meet, whatever addresses they use.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU8, Ordering};

use super::Namespace;
use crate::tools;

/// The bridge.
#[derive(Debug)]
pub struct Bridge {
    namespace: Namespace,
    ports: AtomicU8,
}

/// A machine on the bridge.
#[derive(Debug, Clone)]
pub struct Host {
    /// Where its sockets are.
    pub namespace: Namespace,
    /// Its IPv4 address.
    pub ipv4: Ipv4Addr,
    /// Its IPv6 address.
    pub ipv6: Ipv6Addr,
    bridge: Namespace,
    port: String,
}

/// Which way of a host's traffic is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// What comes in.
    In,
    /// What goes out.
    Out,
    /// Both.
    Both,
}

impl Bridge {
    /// Builds one; `None` where that is not possible, with the reason printed.
    ///
    /// # Panics
    /// When it is not possible and [`tools::REQUIRE`] is set.
    pub fn new(test: &str) -> Option<Self> {
        if !super::are_possible(test) {
            return None;
        }
        let namespace = match Namespace::new() {
            Ok(namespace) => namespace,
            Err(error) => {
                tools::skip(test, &format!("cannot make a network namespace: {error}"));
                return None;
            }
        };
        // Without snooping the first neighbour solicitations are not lost.
        namespace.ip("link add bridge type bridge mcast_snooping 0");
        namespace.ip("link set bridge up");
        Some(Self {
            namespace,
            ports: AtomicU8::new(1),
        })
    }

    /// Puts another machine on it, whose addresses end in `number`.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn host(&self, number: u8) -> Host {
        let namespace = Namespace::new().expect("it could be made for the bridge");
        let port = format!("port{}", self.ports.fetch_add(1, Ordering::Relaxed));
        self.namespace.join(&port, &namespace, "eth0");
        self.namespace.ip(&format!("link set {port} master bridge"));
        // Globally reachable addresses, as the peer filter wants them; nothing leaves this machine.
        let ipv4 = Ipv4Addr::new(45, 80, 3, number);
        let ipv6 = Ipv6Addr::new(0x2a0f, 0x80, 3, 0, 0, 0, 0, number.into());
        let commands = format!(
            "address add {ipv4}/24 dev eth0\naddress add {ipv6}/64 dev eth0 nodad\n\
             route add default via 45.80.3.1\n"
        );
        namespace.command("ip", "-batch -", &commands);
        Host {
            namespace,
            ipv4,
            ipv6,
            bridge: self.namespace.clone(),
            port,
        }
    }
}

impl Host {
    /// Pulls the cable: the machine lives, nobody hears of it.
    pub fn unplug(&self) {
        self.bridge.ip(&format!("link set {} down", self.port));
    }

    /// Puts it back.
    pub fn plug(&self) {
        self.bridge.ip(&format!("link set {} up", self.port));
    }

    /// Loses a share of all packets, in percent, by chance.
    pub fn lose(&self, percent: u8, way: Way) {
        let chance = match percent {
            100.. => String::new(),
            _ => format!("numgen random mod 100 < {percent}"),
        };
        self.block(&chance, way);
    }

    /// Loses what `rule` matches: an nftables rule without its verdict, such as `udp dport 53`;
    /// everything if it is empty.
    pub fn block(&self, rule: &str, way: Way) {
        let rule = format!("{rule} drop\n");
        let when = |applies| if applies { &*rule } else { "" };
        self.filter(when(way != Way::Out), when(way != Way::In));
    }

    /// Cuts it from these others, both ways.
    pub fn cut<'a>(&self, others: impl IntoIterator<Item = &'a Self>) {
        let [mut incoming, mut outgoing] = [String::new(), String::new()];
        for other in others {
            let (ipv4, ipv6) = (other.ipv4, other.ipv6);
            let _ = writeln!(incoming, "ip saddr {ipv4} drop\nip6 saddr {ipv6} drop");
            let _ = writeln!(outgoing, "ip daddr {ipv4} drop\nip6 daddr {ipv6} drop");
        }
        self.filter(&incoming, &outgoing);
    }

    /// Lets everything pass again.
    pub fn mend(&self) {
        self.plug();
        self.filter("", "");
    }

    /// Its address of the family of `like`.
    pub fn address(&self, like: IpAddr) -> IpAddr {
        match like {
            IpAddr::V4(_) => self.ipv4.into(),
            IpAddr::V6(_) => self.ipv6.into(),
        }
    }

    /// Both its addresses.
    pub fn addresses(&self) -> [IpAddr; 2] {
        [self.ipv4.into(), self.ipv6.into()]
    }

    /// Replaces all rules. What goes out is lost on the bridge: were it lost on the machine itself,
    /// its processes would hear of it. Neighbours are found all the same.
    fn filter(&self, incoming: &str, outgoing: &str) {
        let port = &self.port;
        let spared = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept";
        let inside = format!(
            "table inet fault\ndelete table inet fault\ntable inet fault {{\nchain input {{\n\
             type filter hook input priority 0\niif lo accept\n{spared}\n{incoming}}}\n}}\n"
        );
        self.namespace.command("nft", "-f -", &inside);
        let outside = format!(
            "table netdev {port}\ndelete table netdev {port}\ntable netdev {port} {{\nchain out {{\n\
             type filter hook ingress device \"{port}\" priority 0\nmeta protocol arp accept\n\
             {spared}\n{outgoing}}}\n}}\n"
        );
        self.bridge.command("nft", "-f -", &outside);
    }
}
