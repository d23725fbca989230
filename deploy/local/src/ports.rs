//! Whether every address the cluster needs is free, asked before anything is started.

use std::io::{self, ErrorKind};
use std::net::{SocketAddrV4, TcpListener, UdpSocket};

use crate::failure::Failure;
use crate::layout::Layout;

/// Binds every address once and lets go again; the first busy one is the error.
pub fn check(layout: &Layout) -> Result<(), Failure> {
    for relay in &layout.relays {
        udp(relay.turn)?;
        tcp(relay.rest)?;
        tcp(relay.admin)?;
    }
    for dnsd in &layout.dnsds {
        udp(dnsd.dns)?;
        tcp(dnsd.dns)?;
        udp(dnsd.reports)?;
        udp(dnsd.sharing)?;
        tcp(dnsd.admin)?;
    }
    Ok(())
}

fn udp(address: SocketAddrV4) -> Result<(), Failure> {
    UdpSocket::bind(address)
        .map(drop)
        .map_err(|error| busy(address, "udp", &error))
}

fn tcp(address: SocketAddrV4) -> Result<(), Failure> {
    TcpListener::bind(address)
        .map(drop)
        .map_err(|error| busy(address, "tcp", &error))
}

fn busy(address: SocketAddrV4, protocol: &str, error: &io::Error) -> Failure {
    let help = match error.kind() {
        ErrorKind::AddrInUse => format!(
            "find who holds it with `ss -lpn 'sport = :{}'` and stop that, \
             or use other addresses with --net 127.77 or other ports with --port-offset 100",
            address.port()
        ),
        ErrorKind::AddrNotAvailable => {
            "this system gives processes only 127.0.0.1; the local cluster needs the whole of \
             127.0.0.0/8, as Linux has it"
                .to_owned()
        }
        _ => "this user must be allowed to bind loopback addresses above port 1024".to_owned(),
    };
    Failure::new(format!("cannot use {address}/{protocol}: {error}"), help)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::options::Options;

    #[test]
    fn a_busy_port_is_named_with_a_way_out() {
        let offset = (1000 + std::process::id() % 30_000).to_string();
        let options = Options::parse_from([
            "local-cluster",
            "--net",
            "127.253",
            "--port-offset",
            &offset,
        ]);
        let layout = Layout::new(&options);
        check(&layout).unwrap();
        let _held = TcpListener::bind(layout.relays[3].rest).unwrap();
        let failure = check(&layout).unwrap_err();
        assert!(
            failure.message.contains(&layout.relays[3].rest.to_string()),
            "{failure}"
        );
        assert!(failure.help.contains("--net"), "{failure}");
    }
}
