//! Tells secondaries that the zones have changed (RFC 1996), until they say that they heard.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use dnsd_core::transfer::Release;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use crate::clock;
use crate::limits::{NOTIFY_PATIENCE, NOTIFY_PAUSE, NOTIFY_PAUSE_MAX, PLAIN_PAYLOAD};
use crate::metrics::Metrics;
use crate::metrics::transfers::Told;
use crate::serve::Served;
use crate::serve::rules::Rules;
use crate::serve::transfer::Secondary;

/// What is given out, and who has to hear of it.
#[derive(Debug, Clone)]
pub struct News {
    release: Option<Arc<Release>>,
    /// Who may have it is among them.
    rules: Arc<Rules>,
    /// The addresses that secondaries know this nameserver by.
    pub from: Arc<[IpAddr]>,
}

impl News {
    /// What is given out now.
    pub fn of(served: &Served, from: &Arc<[IpAddr]>) -> Self {
        let published = served.published.load();
        Self {
            release: published.snapshot.release().cloned(),
            rules: Arc::clone(&published.rules),
            from: Arc::clone(from),
        }
    }

    /// Whether somebody has to hear of it who heard the other.
    pub fn differs(&self, other: &Self) -> bool {
        let serial = |news: &Self| {
            let release = news.release.as_ref();
            release.map(|release| release.edition().serial)
        };
        serial(self) != serial(other) || !Arc::ptr_eq(&self.rules, &other.rules)
    }
}

/// Starts to tell secondaries of what is given out, now and whenever the sender says so; this
/// nameserver listens there.
pub fn start(
    tasks: &mut JoinSet<()>,
    listen: &[SocketAddr],
    served: &Served,
) -> watch::Sender<News> {
    let from = listen.iter().map(SocketAddr::ip).collect();
    let (news, latest) = watch::channel(News::of(served, &from));
    tasks.spawn(run(latest, Arc::clone(&served.metrics)));
    news
}

/// Tells of the newest news, until there are no more.
async fn run(mut news: watch::Receiver<News>, metrics: Arc<Metrics>) {
    let mut telling = JoinSet::new();
    loop {
        // What somebody has not heard of yet is out of date.
        telling.shutdown().await;
        let newest = news.borrow_and_update().clone();
        metrics.transfers().forget_pending();
        let secondaries = &newest.rules.secondaries.all;
        for secondary in secondaries.iter().filter(|other| other.notify) {
            let release = newest.release.clone();
            if let Some((release, to)) = release.zip(secondary.address) {
                let telling_one = Telling {
                    release,
                    secondary: Arc::clone(secondary),
                    to,
                    from: Arc::clone(&newest.from),
                };
                telling.spawn(telling_one.run(Arc::clone(&metrics)));
            }
        }
        if news.changed().await.is_err() {
            return;
        }
    }
}

/// What one secondary is told.
struct Telling {
    release: Arc<Release>,
    secondary: Arc<Secondary>,
    to: SocketAddr,
    from: Arc<[IpAddr]>,
}

impl Telling {
    /// Tells of every zone, ever less often, until all are acknowledged.
    async fn run(self, metrics: Arc<Metrics>) {
        let Self {
            release, secondary, ..
        } = &self;
        let shown = metrics.transfers();
        let mut pending: Vec<&Name> = release.zones().collect();
        let mut pause = NOTIFY_PAUSE;
        loop {
            shown.pending(&secondary.name, pending.len());
            let mut answers = true;
            let mut left = Vec::new();
            for zone in pending {
                // Whoever is silent about one zone is not asked about all.
                let told = if answers { self.once(zone).await } else { None };
                if let Some(told) = told {
                    shown.told(&secondary.name, told);
                    answers = told != Told::Unanswered;
                }
                if told != Some(Told::Acknowledged) {
                    left.push(zone);
                }
                shown.pending(&secondary.name, left.len());
            }
            if left.is_empty() {
                let serial = release.edition().serial;
                tracing::debug!(
                    secondary = secondary.name,
                    serial,
                    "secondary knows of the change"
                );
                return;
            }
            pending = left;
            sleep(pause).await;
            pause = (pause * 2).min(NOTIFY_PAUSE_MAX);
        }
    }

    /// Tells of one zone once. `None` if this machine cannot send.
    async fn once(&self, zone: &Name) -> Option<Told> {
        let secondary = &self.secondary;
        let socket = match socket(&self.from, self.to).await {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!(secondary = secondary.name, %error, "cannot tell a secondary of a change");
                return None;
            }
        };
        let (bytes, id, mac) = self.message(zone)?;
        // An ICMP error of an earlier datagram, or silence: it is told again in any case.
        let _ = socket.send(&bytes).await;
        let until = Instant::now() + NOTIFY_PATIENCE;
        let mut buffer = [0; PLAIN_PAYLOAD as usize * 2];
        loop {
            // An error is the machine's refusal, most likely.
            let Ok(Ok(length)) = timeout_at(until, socket.recv(&mut buffer)).await else {
                return Some(Told::Unanswered);
            };
            let answer = &buffer[..length];
            let Ok(message) = Message::from_vec(answer) else {
                continue;
            };
            let ours = message.metadata.id == id
                && message.metadata.message_type == MessageType::Response
                && message.metadata.op_code == OpCode::Notify;
            let key = secondary.key.as_ref().zip(mac.as_ref());
            let signed = key.is_none_or(|(key, mac)| key.verifies(answer, mac, clock::unix()));
            // One that fails the signature may be anybody's, and an error may come without.
            if ours && signed && message.metadata.response_code == ResponseCode::NoError {
                return Some(Told::Acknowledged);
            }
            if ours && message.metadata.response_code != ResponseCode::NoError {
                return Some(Told::Refused);
            }
        }
    }

    /// The message about one zone, its id, and its MAC if it is signed.
    fn message(&self, zone: &Name) -> Option<(Vec<u8>, u16, Option<Vec<u8>>)> {
        let mut id = [0; 2];
        getrandom::fill(&mut id).ok()?;
        let id = u16::from_be_bytes(id);
        let mut message = Message::new(id, MessageType::Query, OpCode::Notify);
        message.metadata.authoritative = true;
        message.add_query(Query::query(zone.clone(), RecordType::SOA));
        message.answers.extend(self.release.soa(zone));
        let mac = match &self.secondary.key {
            Some(key) => Some(key.sign(&mut message, clock::unix())?),
            None => None,
        };
        Some((message.to_vec().ok()?, id, mac))
    }
}

/// A socket to a secondary, from the address that it knows this nameserver by.
async fn socket(from: &[IpAddr], to: SocketAddr) -> std::io::Result<UdpSocket> {
    let own = from.iter().find(|from| from.is_ipv4() == to.is_ipv4());
    let any = match to {
        SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((own.copied().unwrap_or(any), 0)).await?;
    socket.connect(to).await?;
    Ok(socket)
}
