//! The URIs of TURN and STUN servers (RFC 7064, RFC 7065).

use crate::label::{Lane, Transport};

/// The ports that relays serve on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// TURN over UDP.
    pub udp: u16,
    /// TURN over TCP, where it is served.
    pub tcp: Option<u16>,
    /// TURN over TLS over TCP, where it is served.
    pub tls: Option<u16>,
}

impl Ports {
    /// TURN URIs in the order clients should try them, lane a before lane b; `host` names the relays
    /// of a lane by a transport.
    pub fn turn(&self, host: impl Fn(Lane, Transport) -> String) -> Vec<String> {
        let uri = |transport: Transport| {
            let (scheme, port, over) = match transport {
                Transport::Udp => ("turn", self.udp, "udp"),
                Transport::Tcp => ("turn", self.tcp?, "tcp"),
                Transport::Tls => ("turns", self.tls?, "tcp"),
            };
            let host = &host;
            let uri =
                move |lane| format!("{scheme}:{}:{port}?transport={over}", host(lane, transport));
            Some(Lane::ALL.map(uri))
        };
        Transport::ALL
            .into_iter()
            .filter_map(uri)
            .flatten()
            .collect()
    }

    /// STUN URIs, lane a before lane b.
    pub fn stun(&self, host: impl Fn(Lane) -> String) -> Vec<String> {
        let uri = |lane| format!("stun:{}:{}", host(lane), self.udp);
        Lane::ALL.map(uri).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_served_is_named() {
        let host = |lane: Lane, transport| format!("{transport:?}.{}.example", lane.as_str());
        let mut ports = Ports {
            udp: 1,
            tcp: None,
            tls: None,
        };
        let udp = ["a", "b"].map(|lane| format!("turn:Udp.{lane}.example:1?transport=udp"));
        assert_eq!(ports.turn(host), udp);
        ports.tls = Some(2);
        let tls = ["a", "b"].map(|lane| format!("turns:Tls.{lane}.example:2?transport=tcp"));
        assert_eq!(ports.turn(host), [udp, tls].concat());
        let stun = ports.stun(|lane| host(lane, Transport::Udp));
        assert_eq!(stun, ["stun:Udp.a.example:1", "stun:Udp.b.example:1"]);
    }
}
