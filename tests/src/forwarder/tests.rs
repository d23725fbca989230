//! Datagrams pass whole and in order in every mode; sessions open, answer again, and close.

use std::{
    io::{ErrorKind, IoSlice},
    net::{SocketAddr, SocketAddrV4, UdpSocket},
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use super::{
    protocol::{Request, relay_address},
    *,
};

const MODES: [Mode; 3] = [Mode::Plain, Mode::Mmsg, Mode::Gso];
const ANYWHERE: SocketAddrV4 = SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0);

/// A forwarder in a thread of its own; ended when dropped.
struct Running {
    address: SocketAddr,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(mode: Mode) -> Self {
        let (tell, told) = mpsc::channel();
        let ends = Arc::new(AtomicBool::new(false));
        let until = ends.clone();
        let thread = thread::spawn(move || {
            let mut forwarder = Forwarder::bind(ANYWHERE, mode).unwrap();
            tell.send(forwarder.address().unwrap()).unwrap();
            while !until.load(Ordering::Relaxed) {
                forwarder.turn(EpollTimeout::from(10_u8)).unwrap();
            }
        });
        Self {
            address: told.recv().unwrap(),
            ends,
            thread: Some(thread),
        }
    }

    fn client(&self) -> UdpSocket {
        let client = socket();
        client.connect(self.address).unwrap();
        client
    }

    /// A client and its peer, connected through the forwarder.
    fn pair(&self) -> (UdpSocket, UdpSocket) {
        let (client, peer) = (self.client(), socket());
        peer.connect(forward(&client, &peer)).unwrap();
        (client, peer)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let ended = self.thread.take().unwrap().join();
        assert!(thread::panicking() || ended.is_ok());
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind(ANYWHERE).unwrap();
    let wait = Duration::from_secs(10);
    socket.set_read_timeout(Some(wait)).unwrap();
    socket
}

fn ask(client: &UdpSocket, request: Request) {
    client.send(request.to_string().as_bytes()).unwrap();
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 2048];
    let length = socket.recv(&mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

fn forward(client: &UdpSocket, peer: &UdpSocket) -> SocketAddr {
    let SocketAddr::V4(peer) = peer.local_addr().unwrap() else {
        panic!("IPv4 was asked for");
    };
    ask(client, Request::Forward(peer));
    relay_address(&receive(client)).unwrap()
}

fn wrapped(payload: &[u8]) -> Vec<u8> {
    let mut wrapped = vec![0x40, 0];
    wrapped.extend((payload.len() as u16).to_be_bytes());
    wrapped.extend(payload);
    wrapped
}

/// A payload that differs from those of other flows and numbers.
fn payload(flow: usize, number: usize, length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| (at * 7 + number * 3 + flow) as u8)
        .collect()
}

/// Runs of the same length, shorter ones, longer ones, and nothing at all.
fn length(number: usize) -> usize {
    match number % 8 {
        0..4 => 1100,
        4 => 160,
        5 => 0,
        6 => number % 1500,
        _ => 1100,
    }
}

#[test]
fn datagrams_pass_both_ways_whole_and_in_order() {
    for mode in MODES {
        let forwarder = Running::start(mode);
        let pairs: Vec<_> = (0..5).map(|_| forwarder.pair()).collect();
        // As many at a time as the smallest buffer on the way holds.
        for numbers in (0..400).collect::<Vec<_>>().chunks(40) {
            for &number in numbers {
                for (flow, (client, peer)) in pairs.iter().enumerate() {
                    let payload = payload(flow, number, length(number));
                    client.send(&wrapped(&payload)).unwrap();
                    peer.send(&payload).unwrap();
                }
            }
            for (flow, (client, peer)) in pairs.iter().enumerate() {
                for &number in numbers {
                    let payload = payload(flow, number, length(number));
                    assert!(receive(peer) == payload, "{mode:?} up {flow} {number}");
                    let down = receive(client);
                    assert!(down == wrapped(&payload), "{mode:?} down {flow} {number}");
                }
            }
        }
    }
}

/// Sends `bytes` as datagrams of `segment` bytes that travel as one.
fn send_train(socket: &UdpSocket, bytes: &[u8], segment: u16) {
    let told = [ControlMessage::UdpGsoSegments(&segment)];
    let (fd, slices) = (socket.as_raw_fd(), [IoSlice::new(bytes)]);
    let sent = sendmsg::<()>(fd, &slices, &told, MsgFlags::empty(), None).unwrap();
    assert_eq!(sent, bytes.len());
}

#[test]
fn trains_pass_both_ways_whole_and_in_order() {
    for mode in MODES {
        let forwarder = Running::start(mode);
        let (client, peer) = forwarder.pair();
        let lengths = [1200, 1200, 1200, 1200, 1200, 700];
        for round in 0..20 {
            let numbered = lengths.iter().enumerate();
            let payloads: Vec<_> = numbered
                .map(|(number, length)| payload(round, number, *length))
                .collect();
            let up: Vec<u8> = payloads.iter().flat_map(|one| wrapped(one)).collect();
            send_train(&client, &up, 1204);
            send_train(&peer, &payloads.concat(), 1200);
            for payload in &payloads {
                assert!(receive(&peer) == *payload, "{mode:?} up");
                assert!(receive(&client) == wrapped(payload), "{mode:?} down");
            }
        }
    }
}

#[test]
fn a_session_opens_once_for_a_peer_and_ends_when_told() {
    for mode in MODES {
        let forwarder = Running::start(mode);
        let (client, peer) = (forwarder.client(), socket());
        let relay = forward(&client, &peer);
        assert_eq!(relay, forward(&client, &peer), "{mode:?}");
        let other = socket();
        assert_ne!(relay, forward(&client, &other), "{mode:?}");
        ask(&client, Request::Close);
        // The next session is opened after that.
        let _ = forwarder.pair();
        client.send(&wrapped(b"nobody gets this")).unwrap();
        let _ = forwarder.pair();
        other
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let silent = other.recv(&mut [0; 100]).map_err(|error| error.kind());
        assert_eq!(silent, Err(ErrorKind::WouldBlock), "{mode:?}");
    }
}

#[test]
fn only_loopback_is_forwarded() {
    assert!(Forwarder::bind("192.0.2.1:0".parse().unwrap(), Mode::Mmsg).is_err());
    let forwarder = Running::start(Mode::Plain);
    let client = forwarder.client();
    ask(&client, Request::Forward("192.0.2.1:9".parse().unwrap()));
    assert_eq!(receive(&client), b"REFUSED loopback only");
}

#[test]
fn a_refusing_peer_keeps_nobody_from_the_next() {
    for mode in MODES {
        // In this thread, so that the refusal and the next datagram wait when it looks.
        let mut forwarder = Forwarder::bind(ANYWHERE, mode).unwrap();
        let long = EpollTimeout::from(10_000_u16);
        let (client, peer) = (socket(), socket());
        client.connect(forwarder.address().unwrap()).unwrap();
        let SocketAddr::V4(address) = peer.local_addr().unwrap() else {
            panic!("IPv4 was asked for");
        };
        ask(&client, Request::Forward(address));
        forwarder.turn(long).unwrap();
        let relay = relay_address(&receive(&client)).unwrap();
        drop(peer);
        // One: the next would take the refusal away.
        client.send(&wrapped(b"refused")).unwrap();
        forwarder.turn(long).unwrap();
        let peer = UdpSocket::bind(address).unwrap();
        peer.connect(relay).unwrap();
        peer.send(b"here again").unwrap();
        for wait in [long, EpollTimeout::ZERO, EpollTimeout::ZERO] {
            forwarder.turn(wait).unwrap();
        }
        assert_eq!(receive(&client), wrapped(b"here again"), "{mode:?}");
    }
}

#[test]
fn no_channel_data_is_taken_for_a_request() {
    for length in [0_usize, 1, 160, 1500] {
        for channel in [0x4000_u16, 0x464f, 0x434c, 0x4fff] {
            let mut message = wrapped(&vec![b'E'; length]);
            message[..2].copy_from_slice(&channel.to_be_bytes());
            assert_eq!(Request::read(&message), None);
        }
    }
}
