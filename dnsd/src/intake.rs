//! Liveness reports off the wire: authenticated here, judged by the control loop, acknowledged.
//!
//! Relays that are told of revocations ask for them here.
//!
//! A thread of its own, so that a flood of forged or repeated reports costs one core's share of
//! MACs and nothing else. What cannot be authenticated is counted and never answered, and copies
//! stop at the [gate](crate::gate).

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use dnsd_core::inventory::Inventory;
use dnsd_core::revocations::Revocations;
use liveness::{
    ASK_LEN, Ack, KeyId, KeyRing, NONCE_LEN, NodeId, REPORT_LEN, Refused, Report, RevocationTag,
    RevocationsAsk, RevocationsPage,
};
use tokio::sync::mpsc;

use crate::clock;
use crate::config::Config;
use crate::control::Input;
use crate::gate::Gate;
use crate::metrics::{Metrics, ReportOutcome};

/// How often the thread looks whether it should end.
const LOOK: Duration = Duration::from_millis(250);
/// How long an acknowledgement may wait for the socket; a later one makes up for it.
const SEND: Duration = Duration::from_millis(1);

/// The socket that reports come in and acknowledgements go out by.
#[derive(Debug)]
pub struct Intake {
    socket: UdpSocket,
    keys: ArcSwap<KeyRing>,
    gate: Mutex<Gate>,
    node: NodeId,
    /// Whose credentials no longer count, and the generation of that.
    revoked: ArcSwap<(u64, Vec<RevocationTag>)>,
    metrics: Arc<Metrics>,
    stop: AtomicBool,
}

impl Intake {
    /// Takes reports from `socket`.
    pub fn new(socket: UdpSocket, config: &Config, metrics: Arc<Metrics>) -> io::Result<Self> {
        socket.set_read_timeout(Some(LOOK))?;
        socket.set_write_timeout(Some(SEND))?;
        Ok(Self {
            socket,
            keys: ArcSwap::from_pointee(config.keys.clone()),
            gate: Mutex::new(Gate::new(&config.inventory)),
            node: config.node.id,
            revoked: ArcSwap::default(),
            metrics,
            stop: AtomicBool::new(false),
        })
    }

    /// Starts the thread. Authentic reports go to `inputs`.
    pub fn start(self: &Arc<Self>, inputs: mpsc::Sender<Input>) -> io::Result<JoinHandle<()>> {
        let intake = Arc::clone(self);
        std::thread::Builder::new()
            .name("reports".to_owned())
            .spawn(move || intake.receive(&inputs))
    }

    /// Accepts other keys from now on.
    pub fn reload(&self, config: &Config) {
        self.keys.store(Arc::new(config.keys.clone()));
    }

    /// Accepts the reports of other relays from now on.
    pub fn roster(&self, inventory: &Inventory) {
        self.gate().reload(inventory);
    }

    /// Reads a report that came by another way; `None` if it is not authentic.
    pub fn read(&self, datagram: &[u8]) -> Option<(Report, KeyId)> {
        Report::decode(datagram, &self.keys.load()).ok()
    }

    /// Tells relays of these from now on.
    pub fn revocations(&self, list: &Revocations) {
        let list = (list.generation(), list.tags().to_vec());
        self.revoked.store(Arc::new(list));
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the thread within [`LOOK`].
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Signs an acknowledgement with the key the report came under, and sends it.
    pub fn acknowledge(&self, ack: &Ack, key: KeyId, to: SocketAddr) {
        let keys = self.keys.load();
        if let Some(secret) = keys.get(key) {
            // A lost acknowledgement is followed by the next in half a second.
            let _ = self.socket.send_to(&ack.encode(key, secret), to);
        }
    }

    fn receive(&self, inputs: &mpsc::Sender<Input>) {
        // One byte more than a report, so that a longer datagram is seen as such.
        let mut buffer = [0; REPORT_LEN + 1];
        while !self.stop.load(Ordering::Acquire) {
            // Errors are the timeout, or ICMP about an acknowledgement: both mean read on.
            let Ok((length, from)) = self.socket.recv_from(&mut buffer) else {
                continue;
            };
            let outcome = self.judge(&buffer[..length], from, inputs);
            if let Some(outcome) = outcome {
                self.metrics.report(outcome);
            }
        }
    }

    /// Hands an authentic report on; what becomes of it then is counted by the control loop.
    fn judge(
        &self,
        datagram: &[u8],
        from: SocketAddr,
        inputs: &mpsc::Sender<Input>,
    ) -> Option<ReportOutcome> {
        if datagram.len() == ASK_LEN {
            return self.answer(datagram, from).err();
        }
        let keys = self.keys.load();
        let (report, key) = match Report::decode(datagram, &keys) {
            Ok(decoded) => decoded,
            Err(refused) => return Some(reason(&refused)),
        };
        // Room first: what the gate has admitted counts as seen.
        let Ok(room) = inputs.try_reserve() else {
            return Some(ReportOutcome::Overload);
        };
        if let Err(outcome) = self.gate().admit(clock::now(), key, &report) {
            return Some(outcome);
        }
        let Ok(datagram) = datagram.try_into() else {
            return Some(ReportOutcome::Format);
        };
        room.send(Input::Report {
            report: Box::new(report),
            datagram: Box::new(datagram),
            key,
            from,
        });
        None
    }
}

impl Intake {
    /// Answers a relay that asks for revocations, once.
    fn answer(&self, datagram: &[u8], from: SocketAddr) -> Result<(), ReportOutcome> {
        let keys = self.keys.load();
        let asked = RevocationsAsk::decode(datagram, &keys);
        let (ask, key) = asked.map_err(|refused| reason(&refused))?;
        self.gate().admit_ask(key, &ask)?;
        let list = self.revoked.load();
        let page = RevocationsPage::answer(&ask, self.node, list.0, &list.1);
        let mut nonce = [0; NONCE_LEN];
        let sealed = match (getrandom::fill(&mut nonce), keys.get(key)) {
            (Ok(()), Some(secret)) => page.seal(key, secret, nonce),
            _ => None,
        };
        if let Some(sealed) = sealed {
            // A lost page is asked for again.
            let _ = self.socket.send_to(&sealed, from);
        }
        Ok(())
    }
}

fn reason(refused: &Refused) -> ReportOutcome {
    match refused {
        Refused::UnknownKey(_) => ReportOutcome::UnknownKey,
        Refused::Mac => ReportOutcome::Mac,
        Refused::Malformed(_) => ReportOutcome::Malformed,
        Refused::Length { .. } | Refused::Magic | Refused::Version(_) | Refused::Kind(_) => {
            ReportOutcome::Format
        }
    }
}
