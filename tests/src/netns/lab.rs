//! A relay's host, its clients and the whole rest of the internet, in three namespaces.
//!
//! ```text
//!   clients 45.80.1.2 ── 45.80.1.1 relay 45.80.2.1 ── 45.80.2.2 the rest, behind the default route
//! ```
//!
//! The rest takes every address there is for its own: a packet that leaves the relay's host for
//! 10.0.0.1 or for `64:ff9b::a00:1` arrives. What a relay withholds, it withholds by itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Namespace;
use crate::tools;

/// The relay's addresses.
pub const RELAY: [IpAddr; 2] = [v4(1, 1), v6(1, 1)];
/// The clients' own addresses.
pub const CLIENT: [IpAddr; 2] = [v4(1, 2), v6(1, 2)];
/// Peers whom clients may reach.
pub const PEER: [IpAddr; 2] = [v4(2, 2), v6(2, 2)];

/// Where a name server would wait for the relay's reports.
pub const NAME_SERVER: SocketAddr = SocketAddr::new(v4(2, 9), 5301);

/// Globally reachable addresses, as the peer filter wants them; nothing leaves this machine.
const fn v4(net: u8, host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(45, 80, net, host))
}

const fn v6(net: u16, host: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x2a0f, 0x80, net, 0, 0, 0, 0, host))
}

/// The three namespaces.
#[derive(Debug)]
pub struct Lab {
    /// The relay's host.
    pub relay: Namespace,
    /// Where its clients are.
    pub clients: Namespace,
    /// Every other address.
    pub rest: Namespace,
}

impl Lab {
    /// Builds it; `None` where that is not possible, with the reason printed.
    ///
    /// # Panics
    /// When it is not possible and [`tools::REQUIRE`] is set.
    pub fn new(test: &str) -> Option<Self> {
        if !super::are_possible(test) {
            return None;
        }
        let made = [Namespace::new(), Namespace::new(), Namespace::new()];
        let [Ok(relay), Ok(clients), Ok(rest)] = made else {
            tools::skip(test, &format!("cannot make network namespaces: {made:?}"));
            return None;
        };
        relay.join("clients", &clients, "relay");
        relay.join("rest", &rest, "relay");
        let own = |net: u8| [v4(net, 1), v6(net.into(), 1)];
        address(&relay, "clients", RELAY);
        address(&relay, "rest", own(2));
        address(&clients, "relay", CLIENT);
        address(&rest, "relay", PEER);
        for (namespace, [via4, via6]) in [(&relay, PEER), (&clients, RELAY)] {
            namespace.ip(&format!("-4 route add default via {via4}"));
            namespace.ip(&format!("-6 route add default via {via6}"));
        }
        // After all other tables, so that the way back to the clients goes before.
        for (family, everything) in [("-4", "0.0.0.0/0"), ("-6", "::/0")] {
            rest.ip(&format!("{family} rule add pref 40000 lookup 100"));
            rest.ip(&format!(
                "{family} route add local {everything} dev lo table 100"
            ));
        }
        let [via4, via6] = own(2);
        rest.ip(&format!("-4 route add 45.80.0.0/16 via {via4}"));
        rest.ip(&format!("-6 route add 2a0f:80::/32 via {via6}"));
        Some(Self {
            relay,
            clients,
            rest,
        })
    }

    /// Gives the clients further addresses: all of 45.81.0.0/16 is theirs.
    pub fn many_clients(&self) {
        let [via4, _] = CLIENT;
        self.relay.ip(&format!("route add 45.81.0.0/16 via {via4}"));
        self.clients.ip("route add local 45.81.0.0/16 dev lo");
    }
}

fn address(namespace: &Namespace, interface: &str, [ipv4, ipv6]: [IpAddr; 2]) {
    namespace.ip(&format!("address add {ipv4}/24 dev {interface}"));
    // Without duplicate address detection it is there at once.
    namespace.ip(&format!("address add {ipv6}/64 dev {interface} nodad"));
}
