//! Bytes out per byte in: at most three for one packet, at most one for whoever goes on.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use cluster_tests::netns::lab::{CLIENT, Lab, RELAY};
use cluster_tests::netns::watch::{Count, Watch};
use cluster_tests::rogue::{Client, Transport};
use cluster_tests::turnd::{SECRET, Setup, TURN, Turnd, credential};

use crate::strangers::{Stranger, strangers};

/// How long each flood lasts after the burst that uses up what a source may have at once.
const FLOOD: Duration = Duration::from_secs(10);
/// Packets of that burst: more than what any of them is answered with in excess of its own bytes.
const BURST: u32 = 4000;
/// Packets at once, fewer than the relay's socket holds.
const AT_ONCE: u32 = 200;

/// A relay, and counters of what comes from each stranger and what goes to it.
struct Site {
    /// Killed with the site.
    _turnd: Turnd,
    lab: Lab,
    sources: Vec<Ipv4Addr>,
    probe: Mutex<Client>,
}

impl Site {
    fn new(test: &str, sources: usize) -> Option<Self> {
        let lab = Lab::new(test)?;
        lab.many_clients();
        let mut setup = Setup::new(test, &RELAY);
        (setup.relay, setup.log) = ("workers = 1".to_owned(), String::new());
        let turnd = lab.relay.run(|| setup.launch());
        lab.clients.run(|| turnd.wait_ready());
        let login = credential(SECRET, "ann");
        let open = || Client::open(Transport::Udp, turnd.turn(), Some(CLIENT[0]), login);
        let probe = Mutex::new(lab.clients.run(open).expect("a socket"));
        // Each in a network of its own, so that none uses up what is another's.
        let source = |index: usize| Ipv4Addr::new(45, 81, index as u8, 2);
        let sources = (0..sources).map(source).collect();
        Some(Self {
            _turnd: turnd,
            lab,
            sources,
            probe,
        })
    }

    fn watch(&self) -> Watch<'_> {
        let counter = |ip: &Ipv4Addr| {
            let [.., net, _] = ip.octets();
            format!("counter in{net} {{}}\ncounter out{net} {{}}\n")
        };
        let rule = |way: &str, direction: &str| -> String {
            let one = |ip: &Ipv4Addr| {
                let [.., net, _] = ip.octets();
                format!(
                    "ip {direction} {ip} udp {} {TURN} counter name {way}{net}\n",
                    if way == "in" { "dport" } else { "sport" }
                )
            };
            self.sources.iter().map(one).collect()
        };
        let counters: String = self.sources.iter().map(counter).collect();
        let (input, output) = (rule("out", "daddr"), rule("in", "saddr"));
        Watch::new(
            &self.lab.clients,
            &format!(
                "{counters}
             chain in {{ type filter hook input priority 0;\n{input} }}
             chain out {{ type filter hook output priority 0;\n{output} }}"
            ),
        )
    }

    fn socket(&self, index: usize) -> UdpSocket {
        let address = SocketAddr::from((self.sources[index], 4000));
        self.lab.clients.run(|| {
            let socket = UdpSocket::bind(address).expect("a socket");
            socket.connect((RELAY[0], TURN)).expect("connected");
            socket
        })
    }

    /// Waits until the relay has dealt with all that came before.
    fn settle(&self) {
        // Somebody known, so that answers are not limited; there is no allocation to refresh.
        let mut probe = self.probe.lock().expect("one at a time");
        assert_eq!(probe.refresh(600), 437);
    }
}

/// Bytes out per byte in since `before`.
fn ratio(watch: &Watch<'_>, index: usize, before: [Count; 2]) -> (f64, [Count; 2]) {
    let now = both(watch, index);
    let [received, sent] = [now[0] - before[0], now[1] - before[1]];
    // Counts of a test stay far below 2^32.
    let number = |count: Count| f64::from(u32::try_from(count.bytes).expect("few bytes"));
    (number(sent) / number(received), [received, sent])
}

fn both(watch: &Watch<'_>, index: usize) -> [Count; 2] {
    ["in", "out"].map(|way| watch.count(&format!("{way}{index}")))
}

#[test]
fn one_packet_brings_at_most_three_times_its_bytes() {
    let strangers = strangers();
    let Some(site) = Site::new("reflection_one_packet", strangers.len()) else {
        return;
    };
    let watch = site.watch();
    let mut answered = 0;
    for (index, stranger) in strangers.iter().enumerate() {
        site.socket(index).send(&stranger.packet).expect("sent");
    }
    site.settle();
    for (index, stranger) in strangers.iter().enumerate() {
        let (ratio, [received, sent]) = ratio(&watch, index, Default::default());
        println!(
            "measured reflection, one packet, {}: {} bytes in, {} out: {ratio:.2}",
            stranger.name, received.bytes, sent.bytes
        );
        assert_eq!(received.packets, 1);
        assert!(sent.packets <= 1 && ratio <= 3.0, "{}", stranger.name);
        answered += sent.packets;
    }
    // Silence would be easy.
    assert!(answered >= 6, "only {answered} are answered");
}

#[test]
fn a_flood_brings_at_most_its_own_bytes() {
    let strangers = strangers();
    let kinds = strangers.len();
    let Some(site) = Site::new("reflection_flood", 3 * kinds) else {
        return;
    };
    let watch = site.watch();
    let each = |rate: u32, first: usize| {
        strangers
            .iter()
            .enumerate()
            .map(move |(index, stranger)| (stranger, first + index, rate))
    };
    let slow: Vec<_> = each(50, 0).chain(each(1000, kinds)).collect();
    flood(&site, &watch, &slow);
    let fast: Vec<_> = each(20_000, 2 * kinds).collect();
    for two in fast.chunks(2) {
        flood(&site, &watch, two);
    }
}

/// Floods the relay from several sources at once: a stranger, its source's index, its rate.
fn flood(site: &Site, watch: &Watch<'_>, floods: &[(&Stranger, usize, u32)]) {
    let sockets: Vec<_> = floods
        .iter()
        .map(|(_, index, _)| site.socket(*index))
        .collect();
    for _ in 0..BURST / AT_ONCE {
        for (socket, (stranger, ..)) in sockets.iter().zip(floods) {
            for _ in 0..AT_ONCE {
                let _ = socket.send(&stranger.packet);
            }
            site.settle();
        }
    }
    let before: Vec<_> = floods
        .iter()
        .map(|(_, index, _)| both(watch, *index))
        .collect();
    let began = Instant::now();
    let mut sent = vec![0_u128; floods.len()];
    while began.elapsed() < FLOOD {
        let elapsed = began.elapsed().as_micros();
        for ((socket, (stranger, _, rate)), sent) in sockets.iter().zip(floods).zip(&mut sent) {
            let due = elapsed * u128::from(*rate) / 1_000_000;
            // What this machine cannot send in time is left out.
            for _ in *sent..due.min(*sent + 500) {
                let _ = socket.send(&stranger.packet);
            }
            *sent = due;
        }
        thread::sleep(Duration::from_millis(1));
    }
    site.settle();
    for ((stranger, index, rate), before) in floods.iter().zip(before) {
        let (sustained, [received, sent]) = ratio(watch, *index, before);
        let (all, _) = ratio(watch, *index, Default::default());
        println!(
            "measured reflection, {rate}/s for {} s, {}: {} packets in, {} out, bytes out per byte in \
             {sustained:.3}, with the first burst {all:.3}",
            FLOOD.as_secs(),
            stranger.name,
            received.packets,
            sent.packets
        );
        assert!(received.packets > 300, "the flood did not flow");
        assert!(
            sustained <= 1.0,
            "{} at {rate}/s: {sustained}",
            stranger.name
        );
    }
}
