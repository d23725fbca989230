//! DNS over UDP: worker threads that read in batches and answer in place.
//!
//! No task, no allocation that outlives a datagram, no queue: what the workers cannot keep up with
//! stays in the kernel's socket buffer and is dropped there. The compiled answers are loaded once
//! per batch. Each worker has a socket of its own per listen address (`SO_REUSEPORT`).

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};

use super::Served;
use super::rate::Ruling;
use super::wire::{self, Judged};
use crate::limits::{BATCHES_PER_TURN, RECEIVE_BATCH, RECEIVE_BUFFER, RECEIVE_PAUSE, UDP_PAYLOAD};
use crate::metrics::{Cookie, Drop, Tally, Transport};

/// Token of the waker that makes a worker look whether it should end; listeners count up from 0.
const STOP: Token = Token(usize::MAX);

/// A UDP listener bound to one address, one of several when the address has several workers.
#[derive(Debug)]
pub struct Listener {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl Listener {
    /// Binds `address`, shared with the other workers' sockets for the same address.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        socket.set_reuse_port(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        let socket = UdpSocket::from(socket);
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Self { socket, state })
    }
}

/// The running worker threads.
#[derive(Debug)]
pub struct Workers {
    threads: Vec<(JoinHandle<()>, Waker)>,
    stop: Arc<AtomicBool>,
}

impl Workers {
    /// Starts one thread per entry of `workers`, each serving its listeners.
    pub fn start(workers: Vec<Vec<Listener>>, served: &Arc<Served>) -> io::Result<Self> {
        let mut threads = Vec::with_capacity(workers.len());
        let stop = Arc::new(AtomicBool::new(false));
        for (index, listeners) in workers.into_iter().enumerate() {
            let poll = Poll::new()?;
            let waker = Waker::new(poll.registry(), STOP)?;
            for (token, listener) in listeners.iter().enumerate() {
                let fd = listener.socket.as_raw_fd();
                let interest = Interest::READABLE;
                poll.registry()
                    .register(&mut SourceFd(&fd), Token(token), interest)?;
            }
            let mut worker = Worker::new(listeners, Arc::clone(served));
            let stop = Arc::clone(&stop);
            let thread = std::thread::Builder::new()
                .name(format!("dns-udp-{index}"))
                .spawn(move || worker.run(poll, &Asked(stop)))?;
            threads.push((thread, waker));
        }
        Ok(Self { threads, stop })
    }

    /// Ends the threads and waits for them.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Release);
        for (_, waker) in &self.threads {
            let _ = waker.wake();
        }
        for (thread, _) in self.threads {
            let _ = thread.join();
        }
    }
}

/// Whether the threads should end. One that ends unasked, by an error or a panic, takes the
/// process with it: the kernel would go on handing its share of the queries to its sockets, where
/// nobody reads them.
struct Asked(Arc<AtomicBool>);

impl Asked {
    fn asked(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl std::ops::Drop for Asked {
    fn drop(&mut self) {
        if !self.asked() {
            tracing::error!("a DNS thread ended, and dnsd with it");
            std::process::exit(1);
        }
    }
}

struct Worker {
    listeners: Vec<Listener>,
    served: Arc<Served>,
    buffers: Vec<Vec<u8>>,
    reply: Vec<u8>,
    tally: Tally,
}

impl Worker {
    fn new(listeners: Vec<Listener>, served: Arc<Served>) -> Self {
        Self {
            listeners,
            served,
            buffers: vec![vec![0; RECEIVE_BUFFER]; RECEIVE_BATCH],
            reply: Vec::with_capacity(usize::from(UDP_PAYLOAD)),
            tally: Tally::default(),
        }
    }

    fn run(&mut self, mut poll: Poll, stop: &Asked) {
        let mut events = Events::with_capacity(64);
        loop {
            match poll.poll(&mut events, None) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!(%error, "waiting for DNS queries failed");
                    return;
                }
            }
            if stop.asked() {
                return;
            }
            // Readiness is edge-triggered: every listener is read until it is empty, in turns.
            let mut ready = vec![true; self.listeners.len()];
            while ready.contains(&true) && !stop.asked() {
                for (index, ready) in ready.iter_mut().enumerate().filter(|(_, ready)| **ready) {
                    *ready = self.turn(index);
                }
                self.served.metrics.fold(Transport::Udp, &mut self.tally);
            }
        }
    }

    /// Reads and answers a bounded number of batches. Returns whether there may be more.
    fn turn(&mut self, index: usize) -> bool {
        let mut meta = [RecvMeta::default(); RECEIVE_BATCH];
        for _ in 0..BATCHES_PER_TURN {
            let listener = &self.listeners[index];
            let mut slices: Vec<IoSliceMut<'_>> = self
                .buffers
                .iter_mut()
                .map(|buffer| IoSliceMut::new(buffer))
                .collect();
            let socket = UdpSockRef::from(&listener.socket);
            match listener.state.recv(socket, &mut slices, &mut meta) {
                Ok(count) => self.batch(index, &meta[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(_) => {
                    self.tally.drop(Drop::Receive);
                    // Should the error stay, this thread must not take the core.
                    std::thread::sleep(RECEIVE_PAUSE);
                }
            }
        }
        true
    }

    fn batch(&mut self, index: usize, meta: &[RecvMeta]) {
        let published = self.served.published.load();
        let (now, moment) = (crate::clock::unix(), crate::clock::now());
        let rules = &*published.rules;
        let listener = &self.listeners[index];
        for (buffer, meta) in self.buffers.iter().zip(meta) {
            let train = &buffer[..meta.len.min(buffer.len())];
            for datagram in train.chunks(meta.stride.max(1)) {
                let judged = wire::judge(datagram, meta.addr, Transport::Udp, &published, now);
                let mut reply = match judged {
                    Judged::Reply(reply) => reply,
                    Judged::Dropped(reason) => {
                        self.tally.drop(reason);
                        continue;
                    }
                };
                let client = meta.addr.ip().to_canonical();
                if rules.limits(client) && reply.cookie() != Cookie::Good {
                    match self.served.limiter.judge(rules.ration, client, moment) {
                        Ruling::Send => {}
                        Ruling::Truncate => {
                            self.tally.drop(Drop::Truncated);
                            reply.withhold();
                        }
                        Ruling::Withhold => {
                            self.tally.drop(Drop::Ration);
                            continue;
                        }
                    }
                }
                self.tally.answer(reply.kind(), reply.code());
                if let Some(steered) = reply.steered {
                    self.tally.steered(&published.shares, steered);
                }
                if let Some(complaint) = reply.complaint {
                    self.served.complaints.note(complaint, now);
                }
                self.tally.cookie(reply.cookie());
                if !reply.encode(&mut self.reply) {
                    self.tally.drop(Drop::Encode);
                    continue;
                }
                let transmit = Transmit {
                    destination: meta.addr,
                    ecn: None,
                    contents: &self.reply,
                    segment_size: None,
                    src_ip: meta.dst_ip,
                };
                let socket = UdpSockRef::from(&listener.socket);
                if listener.state.try_send(socket, &transmit).is_err() {
                    self.tally.drop(Drop::Send);
                }
            }
        }
    }
}
