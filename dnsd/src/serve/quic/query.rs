//! One query of DNS over QUIC: a stream that carries it, the answer, and nothing else.

use std::net::SocketAddr;

use quinn::{Connection, ReadToEndError, RecvStream, SendStream};
use tokio::time::timeout;

use super::{Shared, code};
use crate::clock;
use crate::limits::{DOQ_QUERY, DOQ_READ, TCP_WRITE};
use crate::metrics::{Drop, Tally, Transport};
use crate::serve::admission::Place;
use crate::serve::wire::{self, Judged};

/// Bytes of the length in front of each message (RFC 9250 section 4.2).
const LENGTH: usize = 2;

/// Why a query gets no answer.
enum Failed {
    /// The client broke the rules: its connection ends (RFC 9250 section 4.3.3).
    Protocol(Drop),
    /// Something that concerns this stream alone.
    Stream(quinn::VarInt, Drop),
    /// The client took it back, or is gone.
    Gone,
}

impl Shared {
    /// Answers the query of one stream.
    pub(super) async fn query(
        &self,
        connection: &Connection,
        (mut answers, mut queries): (SendStream, RecvStream),
        client: SocketAddr,
        place: &Place,
    ) {
        let mut tally = Tally::default();
        let answered = match read(&mut queries).await {
            Ok(message) => {
                self.answer(&message, &mut answers, client, &mut tally)
                    .await
            }
            Err(failed) => Err(failed),
        };
        match answered {
            Ok(()) => place.answered(clock::now()),
            Err(Failed::Protocol(reason)) => {
                tally.drop(reason);
                connection.close(code::PROTOCOL_ERROR, b"");
            }
            Err(Failed::Stream(code, reason)) => {
                tally.drop(reason);
                // Fails where the stream has ended, which is what this asks for.
                let _ = answers.reset(code);
                let _ = queries.stop(code);
            }
            Err(Failed::Gone) => {}
        }
        self.served.metrics.fold(Transport::Quic, &mut tally);
    }

    async fn answer(
        &self,
        message: &[u8],
        answers: &mut SendStream,
        client: SocketAddr,
        tally: &mut Tally,
    ) -> Result<(), Failed> {
        let now = clock::unix();
        let published = self.served.published.load_full();
        let judged = wire::judge(message, client, Transport::Quic, &published, now);
        let mut reply = match judged {
            Judged::Reply(reply) => reply,
            // What would be passed over elsewhere: too short, a response, an option that must not be.
            Judged::Dropped(reason) => return Err(Failed::Protocol(reason)),
        };
        let shares = &published.shares;
        self.served.count(&reply.answered(), shares, now, tally);
        drop(published);
        let mut encoded = Vec::new();
        if reply.padded && reply.encode(&mut encoded) {
            reply.pad(encoded.len());
        }
        let length = reply
            .encode(&mut encoded)
            .then(|| u16::try_from(encoded.len()));
        let Some(Ok(length)) = length else {
            return Err(Failed::Stream(code::INTERNAL_ERROR, Drop::Encode));
        };
        let framed = [&length.to_be_bytes()[..], &encoded].concat();
        match timeout(TCP_WRITE, answers.write_all(&framed)).await {
            // Fails if the client has taken it back.
            Ok(Ok(())) => answers.finish().map_err(|_| Failed::Gone),
            Ok(Err(_)) => Err(Failed::Gone),
            Err(_) => Err(Failed::Stream(code::UNSPECIFIED_ERROR, Drop::Send)),
        }
    }
}

/// The one message of a stream, whole: its end says that no other follows.
async fn read(queries: &mut RecvStream) -> Result<Vec<u8>, Failed> {
    let read = timeout(DOQ_READ, queries.read_to_end(LENGTH + DOQ_QUERY)).await;
    let mut framed = match read {
        Ok(Ok(framed)) => framed,
        Ok(Err(ReadToEndError::Read(_))) => return Err(Failed::Gone),
        Ok(Err(ReadToEndError::TooLong)) | Err(_) => {
            return Err(Failed::Stream(code::UNSPECIFIED_ERROR, Drop::Receive));
        }
    };
    let whole = framed
        .first_chunk()
        .is_some_and(|length| usize::from(u16::from_be_bytes(*length)) + LENGTH == framed.len());
    // The stream says which answer is whose (RFC 9250 section 4.2.1).
    let anonymous = framed.get(LENGTH..LENGTH + 2) == Some(&[0, 0]);
    if !whole || !anonymous {
        return Err(Failed::Protocol(Drop::Protocol));
    }
    framed.drain(..LENGTH);
    Ok(framed)
}
