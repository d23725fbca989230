//! A whole zone on its way to a secondary: message after message, as fast as that reads and no
//! faster.
//!
//! hickory-server writes nothing to a connection while it waits for its handler, and keeps few
//! replies. So a transfer is a task of its own, which waits where the connection is full.

use std::iter::once;
use std::sync::Arc;

use hickory_proto::rr::Record;
use hickory_proto::serialize::binary::{BinDecoder, BinEncodable as _, BinEncoder};
use hickory_server::net::NetError;
use hickory_server::server::{Request, ResponseHandler};
use hickory_server::zone_handler::{MessageResponse, Queries};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

use super::{Outgoing, Transfer};
use crate::clock;
use crate::limits::{TRANSFER_BYTES, TRANSFER_PAUSE, TRANSFER_TIME, TRANSFERS};
use crate::metrics::Metrics;
use crate::metrics::transfers::Ended;
use crate::serve::reply::Reply;

/// Length of a DNS header (RFC 1035 section 4.1.1).
const HEADER: usize = 12;

/// The transfers under way.
#[derive(Debug)]
pub struct Transfers {
    room: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl Transfers {
    /// None yet.
    pub fn new(metrics: &Arc<Metrics>) -> Self {
        Self {
            room: Arc::new(Semaphore::new(TRANSFERS)),
            metrics: Arc::clone(metrics),
        }
    }

    /// Has the whole zone sent to those who get it, and counts. Gives the reply back for all
    /// others.
    pub(in crate::serve) fn carry_out<R: ResponseHandler>(
        &self,
        mut reply: Box<Reply>,
        request: &Request,
        sender: &R,
    ) -> Option<Box<Reply>> {
        let counts = self.metrics.transfers();
        match reply.transfer.take() {
            None => {}
            Some(Transfer::Refused) => counts.ended(Ended::Refused),
            Some(Transfer::Current(secondary)) => {
                counts.ended(Ended::Current);
                tracing::debug!(secondary = secondary.name, "secondary asks for the serial");
            }
            Some(Transfer::Whole(outgoing)) => {
                let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else {
                    counts.ended(Ended::Busy);
                    return Some(Box::new(reply.busy()));
                };
                let questions = request.as_slice().get(HEADER..).unwrap_or_default();
                let sending = Sending {
                    sender: sender.clone(),
                    reply,
                    outgoing,
                    questions: Queries::read(&mut BinDecoder::new(questions), 1).ok(),
                    until: Instant::now() + TRANSFER_TIME,
                };
                tokio::spawn(sending.run(Arc::clone(&self.metrics), permit));
                return None;
            }
        }
        Some(reply)
    }
}

/// One transfer.
struct Sending<R> {
    sender: R,
    reply: Box<Reply>,
    outgoing: Outgoing,
    /// For the first message; the others have none (RFC 5936 section 2.2.1).
    questions: Option<Queries>,
    until: Instant,
}

impl<R: ResponseHandler> Sending<R> {
    async fn run(mut self, metrics: Arc<Metrics>, _permit: OwnedSemaphorePermit) {
        let secondary = Arc::clone(&self.outgoing.secondary);
        let zone = self.outgoing.apex.clone();
        let serial = self.outgoing.release.edition().serial;
        let counts = metrics.transfers();
        let Some(messages) = self.send().await else {
            counts.ended(Ended::Aborted);
            tracing::warn!(secondary = secondary.name, %zone, serial, "transfer broken off");
            return;
        };
        counts.ended(Ended::Sent);
        counts.fetched(&secondary.name, serial);
        tracing::info!(secondary = secondary.name, %zone, serial, messages, "zone transferred");
    }

    /// Sends all messages; how many there were, unless the client went away or was too slow.
    async fn send(&mut self) -> Option<usize> {
        let release = Arc::clone(&self.outgoing.release);
        let apex = self.outgoing.apex.clone();
        let soa = release.soa(&apex)?;
        let records = release.records(&apex);
        let records = once(soa.clone()).chain(records).chain(once(soa));
        let mut records = records.peekable();
        let mut messages = 0;
        while records.peek().is_some() {
            self.message(&chunk(&mut records)).await?;
            messages += 1;
            // RFC 5936 section 2.2.5: only the first needs it.
            self.reply.edns = None;
            self.questions = None;
        }
        Some(messages)
    }

    /// Sends one message when there is room for it.
    async fn message(&mut self, answers: &[Record]) -> Option<()> {
        let none = Queries::read(&mut BinDecoder::new(&[]), 0).ok()?;
        let mut signature = None;
        if self.reply.tsig.is_some() {
            let questions = self.questions.as_ref().unwrap_or(&none);
            let bytes = encoded(self.reply.with_answers(questions, answers))?;
            let session = self.reply.tsig.as_mut()?;
            signature = Some(session.sign(&bytes, clock::unix())?);
        }
        let questions = self.questions.as_ref().unwrap_or(&none);
        loop {
            let mut response = self.reply.with_answers(questions, answers);
            if let Some(signature) = &signature {
                response.set_signature(signature.clone());
            }
            match self.sender.send_response(response).await {
                Ok(_) => return Some(()),
                Err(error) if is_gone(&error) || Instant::now() >= self.until => return None,
                Err(_) => sleep(TRANSFER_PAUSE).await,
            }
        }
    }
}

/// The records of one message, about [`TRANSFER_BYTES`] of them; one at least.
fn chunk(records: &mut impl Iterator<Item = Record>) -> Vec<Record> {
    let mut bytes = 0;
    let mut chunk = Vec::new();
    while bytes < TRANSFER_BYTES
        && let Some(record) = records.next()
    {
        // Names are compressed later, so it will be shorter.
        bytes += record
            .to_bytes()
            .map_or(TRANSFER_BYTES, |bytes| bytes.len());
        chunk.push(record);
    }
    chunk
}

/// Whether the connection is closed. hickory-server has no kind of error for it; should its words
/// be others one day, a transfer to nobody goes on until its time is up.
fn is_gone(error: &NetError) -> bool {
    error.to_string().contains("receiver is gone")
}

/// A response's bytes without a signature: what is signed.
pub(in crate::serve) fn encoded<'a, A, N, S, D>(
    response: MessageResponse<'_, 'a, A, N, S, D>,
) -> Option<Vec<u8>>
where
    A: Iterator<Item = &'a Record> + Send + 'a,
    N: Iterator<Item = &'a Record> + Send + 'a,
    S: Iterator<Item = &'a Record> + Send + 'a,
    D: Iterator<Item = &'a Record> + Send + 'a,
{
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_max_size(u16::MAX);
    response.destructive_emit(&mut encoder).ok()?;
    Some(bytes)
}
