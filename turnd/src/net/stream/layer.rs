//! What lies between a connection's bytes and its messages: a proxy's header, then TLS or nothing.
//!
//! TLS and plain clients share a port: a TLS record of a handshake begins with 22, which neither STUN
//! nor ChannelData does.

use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};
use turnd_core::Transport;

use super::counters::End;
use super::frame;
use super::limits::{GATHERED, HANDSHAKE_BYTES};
use super::proxy::{self, Header};

/// The content type of a TLS record that carries a handshake (RFC 8446 section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// Most bytes under one TLS record (RFC 8446 section 5.1).
const RECORD: usize = 16 << 10;

/// So many messages leave as a record each: there are clients that look at one message per record.
/// More than these are a burst, which fills records: sealing one costs as much as two kilobytes do.
const FEW: usize = 4;

/// How far a connection has come.
#[derive(Debug)]
pub enum Layer {
    /// A proxy's header comes first; this much of it has come.
    Proxied(Vec<u8>),
    /// The first byte tells.
    Unknown,
    /// Messages.
    Plain,
    /// Messages under TLS.
    Tls(Box<Tls>),
}

/// A TLS connection.
#[derive(Debug)]
pub struct Tls {
    session: ServerConnection,
    /// Bytes received before the handshake was done.
    before: usize,
}

impl Layer {
    /// What is carried; `None` as long as it is not known.
    pub fn transport(&self) -> Option<Transport> {
        match self {
            Self::Proxied(_) | Self::Unknown => None,
            Self::Plain => Some(Transport::Tcp),
            Self::Tls(_) => Some(Transport::Tls),
        }
    }

    /// Takes a proxy's header from the front of `bytes`. `None` when it is not whole yet.
    pub fn unwrap(&mut self, bytes: &mut &[u8]) -> Result<Option<Header>, End> {
        let Self::Proxied(begun) = self else {
            return Ok(None);
        };
        let header = proxy::take(begun, bytes).map_err(|_| End::Proxy)?;
        if header.is_some() {
            *self = Self::Unknown;
        }
        Ok(header)
    }

    /// Decides by the first byte. `config` is what TLS is served with, where it is.
    pub fn decide(
        &mut self,
        bytes: &[u8],
        config: impl FnOnce() -> Option<Arc<ServerConfig>>,
    ) -> Result<(), End> {
        let (Self::Unknown, Some(first)) = (&self, bytes.first()) else {
            return Ok(());
        };
        let config = (*first == TLS_HANDSHAKE).then(config).flatten();
        *self = match config {
            Some(config) => Self::Tls(Box::new(Tls::new(config)?)),
            None => Self::Plain,
        };
        Ok(())
    }
}

impl Tls {
    fn new(config: Arc<ServerConfig>) -> Result<Self, End> {
        let mut session = ServerConnection::new(config).map_err(|_| End::Tls)?;
        // What is written is bounded by whoever writes, and has to be taken as whole messages.
        session.set_buffer_limit(None);
        Ok(Self { session, before: 0 })
    }

    /// Opens what has come: takes records from the front of `bytes` and returns how much of `plain`
    /// it has filled; `None` when `bytes` are used up.
    pub fn open(&mut self, bytes: &mut &[u8], plain: &mut [u8]) -> Result<Option<usize>, End> {
        loop {
            match self.session.reader().read(plain) {
                // The client said that it is done.
                Ok(0) => return Err(End::Client),
                Ok(count) => return Ok(Some(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(End::Tls),
            }
            if bytes.is_empty() {
                return Ok(None);
            }
            let taken = self.session.read_tls(bytes).map_err(|_| End::Tls)?;
            if self.session.is_handshaking() {
                self.before += taken;
                if self.before > HANDSHAKE_BYTES {
                    return Err(End::TooLong);
                }
            }
            // An alert that says why is left to be sent.
            self.session.process_new_packets().map_err(|_| End::Tls)?;
        }
    }

    /// Whether records wait to be sent.
    pub fn wants_write(&self) -> bool {
        self.session.wants_write()
    }

    /// Says that nothing more will be sent.
    pub fn close(&mut self) {
        self.session.send_close_notify();
    }

    /// The bytes written to it go to `socket` under TLS, cut anywhere.
    pub fn raw<'a, W: Write>(&'a mut self, socket: &'a mut W) -> Raw<'a, W> {
        Raw { tls: self, socket }
    }

    fn flush(&mut self, socket: &mut impl Write) -> io::Result<()> {
        while self.session.wants_write() {
            self.session.write_tls(&mut Together(socket))?;
        }
        Ok(())
    }

    /// What is written to it goes to `socket` under TLS.
    pub fn over<'a, W: Write>(&'a mut self, socket: &'a mut W) -> Sealed<'a, W> {
        Sealed { tls: self, socket }
    }
}

/// Several records leave with one call, and a single one with the cheaper kind of call.
struct Together<'a, W>(&'a mut W);

impl<W: Write> Write for Together<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn write_vectored(&mut self, records: &[IoSlice<'_>]) -> io::Result<usize> {
        match records {
            [record] => self.0.write(record),
            records => self.0.write_vectored(records),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Where whole messages are written to that leave as records.
#[derive(Debug)]
pub struct Sealed<'a, W> {
    tls: &'a mut Tls,
    socket: &'a mut W,
}

impl<W: Write> Write for Sealed<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Records wait only when the kernel is full, so that what is late is noticed.
        self.flush()?;
        let is_burst = frame::messages(bytes).nth(FEW).is_some();
        let most = if is_burst { RECORD } else { 0 };
        let mut rest = bytes;
        while !rest.is_empty() && bytes.len() - rest.len() < GATHERED {
            let (record, later) = rest.split_at(frame::fitting(rest, most));
            self.tls.session.writer().write_all(record)?;
            rest = later;
        }
        Ok(bytes.len() - rest.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tls.flush(self.socket)
    }
}

/// Where bytes are written to that are no messages.
#[derive(Debug)]
pub struct Raw<'a, W> {
    tls: &'a mut Tls,
    socket: &'a mut W,
}

impl<W: Write> Write for Raw<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Records wait only when the kernel is full, so that no more than one write does.
        self.flush()?;
        let now = bytes.get(..GATHERED).unwrap_or(bytes);
        self.tls.session.writer().write_all(now)?;
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tls.flush(self.socket)
    }
}

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs;
    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::super::output::{Kind, Output};
    use super::*;

    /// What a kernel takes: so much with a call, until it is full.
    struct Wire {
        bytes: Vec<u8>,
        room: usize,
        most: usize,
        /// Calls for one piece, and for several.
        calls: [usize; 2],
    }

    impl Wire {
        fn new(room: usize, most: usize) -> Self {
            Self {
                bytes: Vec::new(),
                room,
                most,
                calls: [0; 2],
            }
        }

        fn take(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let now = bytes.len().min(self.most).min(self.room);
            if now == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.room -= now;
            self.bytes.extend(&bytes[..now]);
            Ok(now)
        }
    }

    impl Write for Wire {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.calls[0] += 1;
            self.take(bytes)
        }

        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            self.calls[1] += 1;
            let all: Vec<_> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            self.take(&all)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Both ends of a connection whose handshake is done.
    fn connected() -> (Tls, ClientConnection) {
        let made = rcgen::generate_simple_self_signed(["turn.example".to_owned()]).expect("made");
        let certificate = made.cert.der().clone();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                let builder = builder.with_no_client_auth();
                builder.with_single_cert(vec![certificate.clone()], key)
            });
        let mut trusted = RootCertStore::empty();
        trusted.add(certificate).expect("trusted");
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(trusted)
            .with_no_client_auth();
        let name = ServerName::try_from("turn.example").expect("a name");
        let mut client = ClientConnection::new(Arc::new(client), name).expect("a client");
        let mut tls = Tls::new(Arc::new(server.expect("a configuration"))).expect("a session");
        while tls.session.is_handshaking() || tls.session.wants_write() {
            let (mut there, mut back) = (Vec::new(), Wire::new(ALL, ALL));
            while client.wants_write() {
                client.write_tls(&mut there).expect("sent");
            }
            let opened = tls.open(&mut &there[..], &mut [0; 100]);
            assert_eq!(opened, Ok(None));
            tls.over(&mut back).flush().expect("sent");
            receive(&mut client, &back.bytes);
        }
        (tls, client)
    }

    fn receive(client: &mut ClientConnection, mut bytes: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        while !bytes.is_empty() {
            client.read_tls(&mut bytes).expect("received");
            client.process_new_packets().expect("good records");
            let end = client
                .reader()
                .read_to_end(&mut plain)
                .map_err(|e| e.kind());
            assert_eq!(end, Err(io::ErrorKind::WouldBlock));
        }
        plain
    }

    /// Lengths of the records that `bytes` are.
    fn records(mut bytes: &[u8]) -> Vec<usize> {
        let mut lengths = Vec::new();
        while let &[_, _, _, high, low, ..] = bytes {
            let length = usize::from(u16::from_be_bytes([high, low]));
            lengths.push(length);
            bytes = &bytes[5 + length..];
        }
        lengths
    }

    /// The content type and the tag of a record in TLS 1.3.
    const SEAL: usize = 17;
    const ALL: usize = usize::MAX;

    /// ChannelData with so many bytes in all, which tell its number.
    fn message(number: u8, length: u16) -> Vec<u8> {
        let [high, low] = (length - 4).to_be_bytes();
        let data = vec![number; usize::from(length) - 4];
        [vec![0x40, 0, high, low], data].concat()
    }

    fn gathered(messages: &[Vec<u8>]) -> Output {
        let mut output = Output::default();
        for message in messages {
            output.push(message, Kind::Media, false);
        }
        output
    }

    #[test]
    fn few_messages_are_a_record_each_and_a_burst_fills_records() {
        let (mut tls, mut client) = connected();
        let several = [0, 1];
        for (count, length, expected, calls) in [
            (1, 1000, vec![1000], [1, 0]),
            (4, 1000, vec![1000; 4], several),
            (5, 1000, vec![5000], [1, 0]),
            (40, 1000, vec![16_000, 16_000, 8000], several),
            (6, 8192, vec![16_384; 3], several),
            // What no record holds is cut.
            (1, 40_000, vec![16_384, 16_384, 7232], several),
        ] {
            let messages: Vec<_> = (0..count).map(|number| message(number, length)).collect();
            let mut wire = Wire::new(ALL, ALL);
            let mut output = gathered(&messages);
            output.write(&mut tls.over(&mut wire)).expect("written");
            let expected: Vec<_> = expected.into_iter().map(|length| length + SEAL).collect();
            assert_eq!((records(&wire.bytes), wire.calls), (expected, calls));
            assert_eq!(receive(&mut client, &wire.bytes), messages.concat());
        }
    }

    #[test]
    fn what_a_kernel_takes_in_part_arrives_whole_and_once() {
        let (mut tls, mut client) = connected();
        let messages: Vec<_> = (0..200).map(|number| message(number, 1000)).collect();
        let mut output = gathered(&messages);
        let mut received = Vec::new();
        let mut wire = Wire::new(30_000, 777);
        output.write(&mut tls.over(&mut wire)).expect("written");
        // Sealed is what was under way, the rest may still go another way.
        assert!(output.is_blocked());
        assert_eq!(output.waiting(), 200_000 - 4 * 16_000 - 16_000);
        received.extend(receive(&mut client, &wire.bytes));
        assert!(received.len() < 30_000);
        while output.is_blocked() {
            wire = Wire::new(10_001, 777);
            output.write(&mut tls.over(&mut wire)).expect("written");
            received.extend(receive(&mut client, &wire.bytes));
        }
        assert_eq!(output.waiting(), 0);
        assert!(received == messages.concat(), "{}", received.len());
    }
}
