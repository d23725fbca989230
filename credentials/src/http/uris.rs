//! The URIs of TURN and STUN servers (RFC 7064, RFC 7065).

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
    /// TURN URIs of these hosts, in the order clients should try them: UDP loses no time on what is
    /// lost, TCP passes most firewalls, TLS nearly all.
    pub fn turn(&self, hosts: &[String]) -> Vec<String> {
        let transports = [
            ("turn", Some(self.udp), "udp"),
            ("turn", self.tcp, "tcp"),
            ("turns", self.tls, "tcp"),
        ];
        let served = transports
            .into_iter()
            .filter_map(|(scheme, port, transport)| Some((scheme, port?, transport)));
        served
            .flat_map(|(scheme, port, transport)| {
                let uri =
                    move |host: &String| format!("{scheme}:{host}:{port}?transport={transport}");
                hosts.iter().map(uri)
            })
            .collect()
    }

    /// STUN URIs of these hosts.
    pub fn stun(&self, hosts: &[String]) -> Vec<String> {
        let uri = |host: &String| format!("stun:{host}:{}", self.udp);
        hosts.iter().map(uri).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_served_is_named() {
        let hosts = ["a.example".to_owned()];
        let mut ports = Ports {
            udp: 1,
            tcp: None,
            tls: None,
        };
        assert_eq!(ports.turn(&hosts), ["turn:a.example:1?transport=udp"]);
        ports.tls = Some(2);
        assert_eq!(
            ports.turn(&hosts),
            [
                "turn:a.example:1?transport=udp",
                "turns:a.example:2?transport=tcp"
            ]
        );
        assert_eq!(ports.stun(&hosts), ["stun:a.example:1"]);
    }
}
