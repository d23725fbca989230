//! Which transports the relay's reports name: those that it serves where clients are sent to.

use std::net::SocketAddr;

use liveness::Transports;

use crate::config::Config;
use crate::rest;

/// The transports that a relay of this configuration serves.
///
/// UDP; DTLS with a key that it can sign with. TCP where every address that clients are sent to has
/// a TCP listener, all at the ports of these addresses or all at the one that URLs name: a
/// nameserver looks at the first unless it is configured with the second. TLS likewise, with a
/// certificate.
pub fn served(config: &Config) -> Transports {
    let relay = &config.relay;
    let told = rest::ports(config);
    let addresses = [false, true].map(|ipv6| relay.advertised(ipv6));
    let addresses: Vec<SocketAddr> = addresses.into_iter().flatten().collect();
    let listens = |ip, port| relay.tcp_ports(ip).any(|own| own == port);
    let streams = |told: Option<u16>| {
        let at = |port: Option<u16>| {
            let mut all = addresses.iter();
            all.all(|address| listens(address.ip(), port.unwrap_or_else(|| address.port())))
        };
        !addresses.is_empty() && (at(None) || told.is_some() && at(told))
    };
    let dtls = config.tls.as_ref().is_some_and(|tls| tls.dtls.is_some());
    let all = [
        (Transports::UDP, true),
        (Transports::TCP, streams(told.tcp)),
        (Transports::TLS, config.tls.is_some() && streams(told.tls)),
        (Transports::DTLS, dtls),
    ];
    let served = all.into_iter().filter(|(_, served)| *served);
    served.fold(Transports::default(), |all, (transport, _)| {
        all.with(transport)
    })
}
