//! coturn's `turnutils_uclient` and `turnutils_peer`: a client and an echo peer not of our making.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::{Credential, Guard};

/// How long a relayed transport address stands when it is no probe's.
const LASTING: Duration = Duration::from_millis(700);

/// What one run of the client counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Messages sent to the peer.
    pub sent: u32,
    /// Messages that came back.
    pub received: u32,
    /// How long it took.
    pub took: Duration,
}

/// Starts the echo peer at `address`; it ends with the returned guard.
///
/// # Panics
/// When it does not start.
pub fn peer(address: SocketAddrV4) -> Guard {
    let child = Command::new("turnutils_peer")
        .args([
            "-L",
            &address.ip().to_string(),
            "-p",
            &address.port().to_string(),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("turnutils_peer runs");
    let guard = Guard::new(child);
    // It tells nobody when it listens; the kernel's table does.
    crate::timing::until("turnutils_peer listens", Duration::from_secs(5), || {
        udp_ports(*address.ip())
            .contains(&address.port())
            .then_some(())
    });
    guard
}

/// One client session under way.
#[derive(Debug)]
pub struct Session {
    child: Child,
    started: Instant,
}

/// Starts a session of `messages` messages, 20 ms apart, through `relay` to `peer`.
///
/// # Panics
/// When the client does not start.
pub fn start(
    relay: SocketAddrV4,
    peer: SocketAddrV4,
    credential: &Credential,
    messages: u32,
) -> Session {
    let child = Command::new("turnutils_uclient")
        .args(["-c", "-u", &credential.username, "-w", &credential.password])
        .args(["-n", &messages.to_string(), "-z", "20"])
        .args(["-e", &peer.ip().to_string(), "-r", &peer.port().to_string()])
        .args(["-p", &relay.port().to_string(), &relay.ip().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("turnutils_uclient runs");
    Session {
        child,
        started: Instant::now(),
    }
}

impl Session {
    /// Waits for the end and counts.
    ///
    /// # Panics
    /// When the client could not allocate or did not say what it counted.
    pub fn finish(self) -> Counted {
        let output = self
            .child
            .wait_with_output()
            .expect("turnutils_uclient ends");
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        let (sent, received) = counts(&text).unwrap_or_else(|| panic!("turnutils_uclient: {text}"));
        Counted {
            sent,
            received,
            took: self.started.elapsed(),
        }
    }
}

/// Runs a whole session of `messages` messages.
pub fn run(
    relay: SocketAddrV4,
    peer: SocketAddrV4,
    credential: &Credential,
    messages: u32,
) -> Counted {
    start(relay, peer, credential, messages).finish()
}

/// Runs the client with `arguments`, for `limit` at most.
///
/// # Errors
/// What it said, when it did not get to counting.
///
/// # Panics
/// When it does not start.
pub fn bounded(arguments: &[String], limit: Duration) -> Result<Counted, String> {
    let started = Instant::now();
    let mut child = Command::new("turnutils_uclient")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("turnutils_uclient runs");
    let mut output = child.stdout.take().expect("it is piped");
    let guard = Guard::new(child);
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        let _ = output.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    while !reader.is_finished() && started.elapsed() < limit {
        thread::sleep(Duration::from_millis(10));
    }
    let took = started.elapsed();
    drop(guard);
    let text = reader.join().expect("reading does not panic");
    let (sent, received) = counts(&text).ok_or(text)?;
    Ok(Counted {
        sent,
        received,
        took,
    })
}

/// The last pair of totals it printed.
fn counts(text: &str) -> Option<(u32, u32)> {
    if !text.contains("Total lost packets") {
        return None;
    }
    let line = text
        .lines()
        .rev()
        .find(|line| line.contains("tot_recv_msgs="))?;
    let number = |mark: &str| -> Option<u32> {
        let (_, rest) = line.split_once(mark)?;
        rest.split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse()
            .ok()
    };
    Some((number("tot_send_msgs=")?, number("tot_recv_msgs=")?))
}

/// Waits until a client's session is under way on `relay`: a relayed transport address that stays.
/// (Those of the name servers' echo probes are gone after a moment.)
///
/// # Panics
/// When there is none within `limit`.
pub fn wait_relayed(relay: SocketAddrV4, limit: Duration) {
    let mut seen = (Instant::now(), BTreeSet::new());
    crate::timing::until("a session is relayed", limit, || {
        let ports = udp_ports(*relay.ip());
        let lasting: BTreeSet<u16> = seen.1.intersection(&ports).copied().collect();
        if lasting.is_empty() {
            seen = (Instant::now(), ports);
            seen.1.remove(&relay.port());
            return None;
        }
        seen.1 = lasting;
        (seen.0.elapsed() >= LASTING).then_some(())
    });
}

/// The ports of all UDP sockets bound to `ip`, by the kernel's own table.
///
/// # Panics
/// When the table cannot be read.
pub fn udp_ports(ip: Ipv4Addr) -> BTreeSet<u16> {
    // Of the calling thread: a test may have put itself into a network namespace.
    let table = std::fs::read_to_string("/proc/thread-self/net/udp").expect("procfs");
    let address = format!("{:08X}", u32::from_ne_bytes(ip.octets()));
    let bound = table.lines().skip(1).filter_map(|line| {
        let (ip, port) = line.split_whitespace().nth(1)?.split_once(':')?;
        u16::from_str_radix(port, 16).ok().filter(|_| ip == address)
    });
    bound.collect()
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn reads_what_the_client_prints() {
        let text = "\
1: : start_mclient: msz=1, tot_send_msgs=0, tot_recv_msgs=0, tot_send_bytes ~ 0, tot_recv_bytes ~ 0
2: : start_mclient: tot_send_msgs=10, tot_recv_msgs=9
2: : start_mclient: tot_send_bytes ~ 1000, tot_recv_bytes ~ 900
2: : Total lost packets 1 (10.000000%), total send dropped 0 (0.000000%)
";
        assert_eq!(counts(text), Some((10, 9)));
        assert_eq!(counts("0: : ERROR: Cannot complete Allocation\n"), None);
    }

    #[test]
    fn finds_sockets_in_the_kernel_table() {
        let socket = UdpSocket::bind((Ipv4Addr::new(127, 252, 3, 4), 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let ip = Ipv4Addr::new(127, 252, 3, 4);
        assert!(udp_ports(ip).contains(&port));
        drop(socket);
        assert!(!udp_ports(ip).contains(&port));
    }
}
