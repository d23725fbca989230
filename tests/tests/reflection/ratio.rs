//! Bytes out per byte in: at most three for one packet.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use cluster_tests::netns::lab::{CLIENT, Lab, RELAY};
use cluster_tests::netns::watch::{Count, Watch};
use cluster_tests::rogue::{Client, Transport};
use cluster_tests::turnd::{SECRET, Setup, TURN, Turnd, credential};

use crate::strangers::strangers;

/// A relay, and counters of what comes from each stranger and what goes to it.
struct Site {
    turnd: Turnd,
    lab: Lab,
    sources: Vec<Ipv4Addr>,
}

impl Site {
    fn new(test: &str, sources: usize) -> Option<Self> {
        let lab = Lab::new(test)?;
        lab.many_clients();
        let mut setup = Setup::new(test, &RELAY);
        (setup.relay, setup.log) = ("workers = 1".to_owned(), String::new());
        let turnd = lab.relay.run(|| setup.launch());
        lab.clients.run(|| turnd.wait_ready());
        // Each in a network of its own, so that none uses up what is another's.
        let source = |index: usize| Ipv4Addr::new(45, 81, index as u8, 2);
        let sources = (0..sources).map(source).collect();
        Some(Self {
            turnd,
            lab,
            sources,
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
        let login = credential(SECRET, "ann");
        let open = || Client::open(Transport::Udp, self.turnd.turn(), Some(CLIENT[0]), login);
        self.lab
            .clients
            .run(open)
            .expect("a socket")
            .allocated(RELAY[0]);
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
