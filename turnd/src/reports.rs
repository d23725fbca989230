//! Sends liveness reports to every nameserver and takes their acknowledgements.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use liveness::{
    ACK_LEN, Ack, KeyRing, Neighbour, NodeId, Order, PAGE_LEN_MAX, Refused, RelayId, Report,
    RevocationTag, RevocationsAsk, RevocationsPage,
};
use tokio::net::UdpSocket;
use turnd_core::{RevocationLists, Wanted};

use crate::config::Liveness;

/// Acknowledgements older than this many reports are not believed: a recorded one cannot be played
/// back later.
const SEQUENCES_BACK: u64 = 20;

/// What a nameserver said longer ago is no longer believed of its neighbours.
const SAID_FOR: Duration = Duration::from_secs(10);

/// What came of sending one report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Nameservers it went to.
    pub sent: u64,
    /// Nameservers the kernel would not send to.
    pub failed: u64,
}

/// Why an acknowledgement is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Disbelief {
    /// Its bytes or its MAC.
    #[error("{0}")]
    Refused(#[from] Refused),
    /// It answers another relay, or an earlier run.
    #[error("it answers another relay or an earlier run")]
    NotOurs,
    /// It answers a report that is long past, one that was never sent, or one already answered.
    #[error("it answers a report that is long past or not sent yet")]
    Stale,
}

/// What a nameserver last said.
#[derive(Debug, Clone, Copy)]
struct Said {
    at: Instant,
    boot: u64,
    sequence: u64,
    order: Order,
    neighbours: [Neighbour; liveness::NEIGHBOURS_MAX],
}

/// What a datagram of a nameserver changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct News {
    /// An order that this node did not give before.
    pub order: Option<Order>,
    /// The boot id has to be above this.
    pub boot_floor: u64,
    /// Whether the neighbours are others than before.
    pub neighbours: bool,
    /// Whether others are revoked than before.
    pub revocations: bool,
}

/// The sockets and the memory of what was acknowledged.
#[derive(Debug)]
pub struct Reports {
    relay: RelayId,
    liveness: Liveness,
    keys: KeyRing,
    ipv4: UdpSocket,
    /// Absent where the system has no IPv6.
    ipv6: Option<UdpSocket>,
    said: BTreeMap<NodeId, Said>,
    revoked: RevocationLists,
    /// Boot id and sequence of the last report.
    last: (u64, u64),
}

impl Reports {
    /// Opens the sockets; must be called inside the control thread's runtime.
    ///
    /// # Errors
    /// When the system gives no socket.
    pub async fn open(relay: RelayId, liveness: Liveness) -> io::Result<Self> {
        let ipv4 = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        let ipv6 = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).await.ok();
        let keys = keys(&liveness);
        Ok(Self {
            relay,
            liveness,
            keys,
            ipv4,
            ipv6,
            said: BTreeMap::new(),
            revoked: RevocationLists::default(),
            last: (0, 0),
        })
    }

    /// Reports to other nameservers, or with another key, from now on.
    pub fn reconfigure(&mut self, liveness: Liveness) {
        self.keys = keys(&liveness);
        self.liveness = liveness;
        self.said.clear();
    }

    /// Sends a report to every nameserver, never waiting for one of them.
    pub fn send(&mut self, report: &Report) -> Sent {
        self.last = (report.boot, report.sequence);
        let bytes = report.encode(self.liveness.key_id, &self.liveness.key);
        let mut outcome = Sent::default();
        for to in &self.liveness.dnsd {
            match self
                .socket(*to)
                .map(|socket| socket.try_send_to(&bytes, *to))
            {
                Some(Ok(_)) => outcome.sent += 1,
                Some(Err(error)) => {
                    outcome.failed += 1;
                    tracing::debug!(%error, %to, "a report was not sent");
                }
                None => outcome.failed += 1,
            }
        }
        outcome
    }

    fn socket(&self, to: SocketAddr) -> Option<&UdpSocket> {
        if to.is_ipv4() {
            Some(&self.ipv4)
        } else {
            self.ipv6.as_ref()
        }
    }

    /// Waits for a datagram from a nameserver; errors on a socket are not an end.
    pub async fn receive(&self) -> Option<(Vec<u8>, SocketAddr)> {
        // One byte more than the longest, so that a longer datagram shows as such.
        let (mut four, mut six) = ([0; PAGE_LEN_MAX + 1], [0; PAGE_LEN_MAX + 1]);
        let six_arrives = async {
            match &self.ipv6 {
                Some(socket) => socket.recv_from(&mut six).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            got = self.ipv4.recv_from(&mut four) => {
                let (len, from) = got.ok()?;
                Some((four[..len].to_vec(), from))
            }
            got = six_arrives => {
                let (len, from) = got.ok()?;
                Some((six[..len].to_vec(), from))
            }
        }
    }

    /// Judges a datagram that came at `now`, and asks for revocations that are news.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn take(
        &mut self,
        bytes: &[u8],
        from: SocketAddr,
        now: Instant,
    ) -> Result<News, Disbelief> {
        let before = self.revoked.generation();
        let (news, wanted) = if bytes.len() == ACK_LEN {
            let (news, ack) = self.judge(bytes, now)?;
            (news, self.revoked.told(now, ack.node, ack.revocations))
        } else {
            let (page, _) = RevocationsPage::open(bytes, &self.keys)?;
            if page.relay != self.relay || page.boot != self.last.0 {
                return Err(Disbelief::NotOurs);
            }
            (News::default(), self.revoked.page(now, &page))
        };
        if let Some(wanted) = wanted {
            self.ask(wanted, from);
        }
        Ok(News {
            revocations: self.revoked.generation() != before,
            ..news
        })
    }

    /// Asks for a page of revocations. If it is lost, the next acknowledgement leads to another.
    fn ask(&self, Wanted { sequence, page }: Wanted, to: SocketAddr) {
        let ask = RevocationsAsk {
            relay: self.relay,
            boot: self.last.0,
            sequence,
            page,
        };
        let bytes = ask.encode(self.liveness.key_id, &self.liveness.key);
        if let Some(Err(error)) = self.socket(to).map(|socket| socket.try_send_to(&bytes, to)) {
            tracing::debug!(%error, %to, "a request for revocations was not sent");
        }
    }

    /// Those whom nameservers revoke, and the generation of that.
    pub fn revoked(&self) -> (Vec<RevocationTag>, u64) {
        let tags = self.revoked.tags().copied().collect();
        (tags, self.revoked.generation())
    }

    /// Judges an acknowledgement that came at `now`. Of more nodes than nameservers are configured
    /// those that spoke last are remembered: a replaced one has another name.
    ///
    /// # Errors
    /// Why it is not believed.
    fn judge(&mut self, bytes: &[u8], now: Instant) -> Result<(News, Ack), Disbelief> {
        let (ack, _) = Ack::decode(bytes, &self.keys)?;
        let (boot, sequence) = self.last;
        if ack.relay != self.relay || ack.boot != boot {
            return Err(Disbelief::NotOurs);
        }
        let before = self
            .said
            .get(&ack.node)
            .filter(|said| said.boot == ack.boot);
        let past = before.is_some_and(|said| ack.sequence <= said.sequence);
        if past || ack.sequence > sequence || sequence - ack.sequence > SEQUENCES_BACK {
            return Err(Disbelief::Stale);
        }
        if !self.said.contains_key(&ack.node) && self.said.len() >= self.liveness.dnsd.len() {
            let stalest = self.said.iter().min_by_key(|(_, said)| said.at);
            if let Some(node) = stalest.map(|(node, _)| *node) {
                self.said.remove(&node);
            }
        }
        let said = Said {
            at: now,
            boot: ack.boot,
            sequence: ack.sequence,
            order: ack.order,
            neighbours: ack.neighbours,
        };
        let before = self.said.insert(ack.node, said);
        let order_before = before.map_or(Order::None, |said| said.order);
        let news = News {
            order: (ack.order != order_before).then_some(ack.order),
            boot_floor: ack.boot_floor,
            neighbours: before.is_none_or(|said| said.neighbours != ack.neighbours),
            revocations: false,
        };
        Ok((news, ack))
    }

    /// Healthy relays that the nameservers named lately, each once.
    pub fn neighbours(&self, now: Instant) -> Vec<SocketAddr> {
        let mut found = Vec::new();
        let lately = |said: &&Said| now.saturating_duration_since(said.at) <= SAID_FOR;
        let said = self.said.values().filter(lately);
        for neighbour in said.flat_map(|said| said.neighbours) {
            let four = neighbour.ipv4.map(SocketAddr::V4);
            let six = neighbour.ipv6.map(SocketAddr::V6);
            for address in four.into_iter().chain(six) {
                if !found.contains(&address) {
                    found.push(address);
                }
            }
        }
        found
    }
}

fn keys(liveness: &Liveness) -> KeyRing {
    let mut keys = KeyRing::new();
    // An empty ring takes its first key.
    let _ = keys.insert(liveness.key_id, liveness.key.clone());
    keys
}

#[cfg(test)]
mod tests {
    use liveness::{Key, KeyId, Seen};

    use super::*;

    fn key() -> Key {
        Key::new(b"a key that is long enough to sign".to_vec()).expect("long enough")
    }

    /// What `node` says to the report with this sequence: one neighbour, at `port`.
    fn ack(node: &str, sequence: u64, port: u16) -> [u8; ACK_LEN] {
        let mut ack = Ack {
            relay: "fra-1".parse().expect("an id"),
            boot: 1,
            sequence,
            node: node.parse().expect("an id"),
            sent_at_ms: 0,
            boot_floor: 0,
            order: Order::None,
            seen: Seen::Up,
            revocations: 0,
            neighbours: Default::default(),
        };
        let address = std::net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        ack.neighbours[0].ipv4 = Some(address);
        ack.encode(KeyId(1), &key())
    }

    #[tokio::test]
    async fn a_replaced_nameserver_is_heard_and_old_words_expire() {
        let liveness = Liveness {
            key_id: KeyId(1),
            key: key(),
            dnsd: vec![SocketAddr::from(([127, 0, 0, 1], 1))],
            state_file: None,
        };
        let relay = "fra-1".parse().expect("an id");
        let mut reports = Reports::open(relay, liveness).await.expect("sockets");
        reports.last = (1, 9);
        let start = crate::clock::instant();
        let ports = |reports: &Reports, seconds| -> Vec<u16> {
            let now = start + Duration::from_secs(seconds);
            let found = reports.neighbours(now);
            found.into_iter().map(|address| address.port()).collect()
        };
        reports.judge(&ack("a", 8, 1001), start).expect("an ack");
        assert_eq!(ports(&reports, 10), [1001]);
        assert!(ports(&reports, 11).is_empty());
        reports.judge(&ack("b", 9, 1002), start).expect("an ack");
        assert_eq!(ports(&reports, 0), [1002]);
    }
}
