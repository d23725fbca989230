//! What hickory-server asks for each message of a connection: the same answer as over UDP.

use std::sync::Arc;

use async_trait::async_trait;
use hickory_proto::op::{Header, HeaderCounts};
use hickory_proto::serialize::binary::{BinDecoder, BinEncoder};
use hickory_server::net::runtime::Time;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::Queries;

use super::clients::{Client, Clients};
use crate::clock;
use crate::metrics::{Drop, Tally, Transport};
use crate::serve::Served;
use crate::serve::reply::Reply;
use crate::serve::wire::{self, Judged};

/// Answers the messages of the private connections.
///
/// hickory-server decodes first: what it cannot decode it answers with FORMERR itself, and what is
/// a response it passes over.
#[derive(Debug, Clone)]
pub(super) struct Handler {
    pub(super) clients: Arc<Clients>,
    pub(super) served: Arc<Served>,
}

impl Handler {
    /// Judges a query, and counts what becomes of it.
    fn judge(
        &self,
        request: &Request,
        client: Option<Client>,
        tally: &mut Tally,
    ) -> Option<Box<Reply>> {
        let Some((client, transport)) = client else {
            tally.drop(Drop::Source);
            return None;
        };
        let (published, now) = (self.served.published.load(), clock::unix());
        match wire::judge(request.as_slice(), client, transport, &published, now) {
            Judged::Reply(reply) => {
                let shares = &published.shares;
                self.served.count(&reply.answered(), shares, now, tally);
                Some(reply)
            }
            Judged::Dropped(reason) => {
                tally.drop(reason);
                None
            }
        }
    }
}

#[async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        sender: R,
    ) -> ResponseInfo {
        let mut tally = Tally::default();
        let mut sent = None;
        let client = self.clients.get(request.src().port());
        let transport = client.map_or(Transport::Tcp, |(_, transport)| transport);
        let reply = self.judge(request, client, &mut tally);
        let transfers = &self.served.transfers;
        if let Some(mut reply) =
            reply.and_then(|reply| transfers.carry_out(reply, request, &sender))
        {
            sent = send(&mut reply, request, sender).await;
            if sent.is_none() {
                tally.drop(Drop::Send);
            }
        }
        self.served.metrics.fold(transport, &mut tally);
        sent.unwrap_or_else(|| unsent(request))
    }
}

/// What was sent is only for those who would log it.
fn unsent(request: &Request) -> ResponseInfo {
    ResponseInfo::from(Header {
        metadata: request.metadata,
        counts: HeaderCounts::default(),
    })
}

/// Sends `reply`. Returns nothing if the connection is gone.
async fn send<R: ResponseHandler>(
    reply: &mut Reply,
    request: &Request,
    mut sender: R,
) -> Option<ResponseInfo> {
    let nothing = Queries::read(&mut BinDecoder::new(&[]), 0).ok()?;
    let questions = if reply.has_question() {
        &request.queries
    } else {
        &nothing
    };
    if reply.padded {
        let mut bytes = Vec::new();
        let mut encoder = BinEncoder::new(&mut bytes);
        let response = reply.response(questions);
        response.destructive_emit(&mut encoder).ok()?;
        reply.pad(bytes.len());
    }
    sender.send_response(reply.response(questions)).await.ok()
}
