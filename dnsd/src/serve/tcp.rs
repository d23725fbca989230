//! DNS over TCP (RFC 7766): framing, and limits on everything a client can hold.
//!
//! hickory-server's accept loop has no bound, and a daemon out of file descriptors can no longer
//! probe; hence a loop of our own around the same answers as over UDP.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::Served;
use super::wire::{self, Judged};
use crate::limits::{TCP_CONNECTIONS, TCP_IDLE, TCP_PER_NETWORK, TCP_QUERIES, TCP_WRITE};
use crate::metrics::{Drop, Tally, Transport};

/// The connections open now, shared by every TCP listener of the daemon.
#[derive(Debug)]
pub struct Connections {
    all: Arc<Semaphore>,
    networks: Mutex<HashMap<IpAddr, usize>>,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(TCP_CONNECTIONS)),
            networks: Mutex::default(),
        }
    }
}

/// One connection's place in [`Connections`]; given back when dropped.
struct Place {
    connections: Arc<Connections>,
    network: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    fn enter(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        let permit = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let network = network(client);
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        let count = networks.entry(network).or_default();
        if *count >= TCP_PER_NETWORK {
            return None;
        }
        *count += 1;
        Some(Place {
            connections: Arc::clone(self),
            network,
            _permit: permit,
        })
    }
}

impl std::ops::Drop for Place {
    fn drop(&mut self) {
        let networks = &self.connections.networks;
        let mut networks = networks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = networks.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                networks.remove(&self.network);
            }
        }
    }
}

/// The /24 or /56 an address belongs to, by its first address.
fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(v4) => IpAddr::V4((u32::from(v4) & 0xffff_ff00).into()),
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & (!0 << 72)).into()),
    }
}

/// Accepts connections until the task is dropped.
pub async fn serve(listener: TcpListener, connections: Arc<Connections>, served: Arc<Served>) {
    loop {
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: waiting lets connections end.
                tracing::warn!(%error, "accepting a DNS connection failed");
                sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        if let Some(place) = connections.enter(client.ip().to_canonical()) {
            let served = Arc::clone(&served);
            tokio::spawn(async move {
                let _place = place;
                // A client that goes away is not an event.
                let _ = converse(stream, client, &served).await;
            });
        } else {
            let mut tally = Tally::default();
            tally.drop(Drop::Connections);
            served.metrics.fold(Transport::Tcp, &mut tally);
        }
    }
}

async fn converse(mut stream: TcpStream, client: SocketAddr, served: &Served) -> io::Result<()> {
    let mut query = Vec::new();
    let mut reply = Vec::new();
    for _ in 0..TCP_QUERIES {
        timeout(TCP_IDLE, read(&mut stream, &mut query)).await??;
        let mut tally = Tally::default();
        let judged = {
            let published = served.published.load();
            wire::judge(
                &query,
                client,
                Transport::Tcp,
                &published,
                crate::clock::unix(),
            )
        };
        let encoded = match judged {
            Judged::Reply(answer) => {
                tally.answer(answer.kind(), answer.code());
                answer.encode(&mut reply)
            }
            Judged::Dropped(reason) => {
                tally.drop(reason);
                false
            }
        };
        served.metrics.fold(Transport::Tcp, &mut tally);
        if !encoded {
            return Ok(());
        }
        let length = u16::try_from(reply.len()).map_err(io::Error::other)?;
        // One write, so that length and message leave in one segment (RFC 7766 section 8).
        reply.splice(0..0, length.to_be_bytes());
        timeout(TCP_WRITE, stream.write_all(&reply)).await??;
    }
    Ok(())
}

async fn read(stream: &mut TcpStream, query: &mut Vec<u8>) -> io::Result<()> {
    let length = stream.read_u16().await?;
    query.resize(usize::from(length), 0);
    stream.read_exact(query).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_cannot_take_all_places_and_gives_them_back() {
        let connections = Arc::new(Connections::default());
        let address = |host: u8| IpAddr::from([192, 0, 2, host]);
        let held: Vec<_> = (0..TCP_PER_NETWORK)
            .filter_map(|i| connections.enter(address(i as u8)))
            .collect();
        assert_eq!(held.len(), TCP_PER_NETWORK);
        assert!(connections.enter(address(200)).is_none());
        assert!(connections.enter([198, 51, 100, 1].into()).is_some());
        drop(held);
        assert!(connections.enter(address(200)).is_some());
        assert_eq!(connections.all.available_permits(), TCP_CONNECTIONS);
    }

    #[test]
    fn the_total_is_bounded() {
        let connections = Arc::new(Connections::default());
        let held: Vec<_> = (0..2000u32)
            .filter_map(|i| connections.enter(IpAddr::V4((i << 8).into())))
            .collect();
        assert_eq!(held.len(), TCP_CONNECTIONS);
    }

    #[test]
    fn clients_of_one_site_share_a_network() {
        let of = |text: &str| network(text.parse().expect("address"));
        assert_eq!(of("2001:db8:0:aa01::1"), of("2001:db8:0:aaff::2"));
        assert_ne!(of("2001:db8:0:ab00::1"), of("2001:db8:0:aaff::2"));
        assert_eq!(of("192.0.2.1"), of("192.0.2.254"));
    }
}
