//! Transaction signatures (RFC 8945): whose a message is, and what we say under our own.

use hickory_proto::op::Message;
use hickory_proto::rr::rdata::tsig::{
    TSIG, TsigAlgorithm, TsigError, make_tsig_record, signed_bitmessage_to_buf,
};
use hickory_proto::rr::{Name, Record, TSigner};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};

use credentials::UnixTime;

/// Seconds that clocks may differ, as far as our own signatures go (RFC 8945 section 10).
pub const FUDGE: u16 = 300;
/// Bytes of a TSIG record besides the key's name, at most.
const RECORD: usize = 160;

/// A key shared with a secondary.
#[derive(Clone)]
pub struct Key(TSigner);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.0.signer_name())
    }
}

impl Key {
    /// A key of HMAC-SHA256, -SHA384 or -SHA512. `None` for another algorithm.
    pub fn new(name: &Name, algorithm: TsigAlgorithm, secret: Vec<u8>) -> Option<Self> {
        let signer = TSigner::new(secret, algorithm, name.to_lowercase(), FUDGE);
        signer.ok().map(Self)
    }

    /// What both ends call it.
    pub fn name(&self) -> &Name {
        self.0.signer_name()
    }

    /// Signs a request. Returns the MAC, which the response has to follow; `None` if the message
    /// cannot be encoded.
    pub fn sign(&self, message: &mut Message, now: UnixTime) -> Option<Vec<u8>> {
        let (record, _) = self.0.sign_message(message, now.0).ok()?;
        let mac = record.data.mac.clone();
        message.set_signature(record);
        Some(mac)
    }

    /// Whether a response to a request with this MAC is signed with this key, now.
    pub fn verifies(&self, response: &[u8], request: &[u8], now: UnixTime) -> bool {
        let signed = signed_bitmessage_to_buf(response, Some(request), true);
        signed.is_ok_and(|(bytes, record)| {
            self.is(&record) && self.0.verify(&bytes, &record.data.mac).is_ok() && {
                in_time(&record.data, now)
            }
        })
    }

    fn is(&self, record: &Record<TSIG>) -> bool {
        record.name == *self.name() && record.data.algorithm == *self.0.algorithm()
    }
}

/// RFC 8945 section 5.2.3.
fn in_time(tsig: &TSIG, now: UnixTime) -> bool {
    now.0.abs_diff(tsig.time) <= u64::from(tsig.fudge)
}

/// How the response to a signed request is signed.
#[derive(Clone, Debug)]
pub struct Session {
    /// `None`: it carries a TSIG record that says what is wrong, and no MAC.
    key: Option<Key>,
    name: Name,
    algorithm: TsigAlgorithm,
    /// The MAC that the next message follows.
    previous: Vec<u8>,
    first: bool,
    /// What is wrong with the request's signature, and the time that it names.
    error: Option<(TsigError, u64)>,
    now: UnixTime,
}

impl Session {
    /// Judges a request's signature. `None`: it has none. `Err` signs the response, whose code is
    /// NOTAUTH.
    ///
    /// MACs that were cut are not taken (RFC 8945 section 5.2.4 leaves that to us), and count as
    /// wrong ones.
    ///
    /// # Errors
    /// An unknown key, a wrong signature, or a clock that is too far off (RFC 8945 section 5.2).
    pub fn check(
        bytes: &[u8],
        request: &Message,
        keys: &[Key],
        now: UnixTime,
    ) -> Result<Option<Self>, Box<Self>> {
        let Some(record) = request.signature() else {
            return Ok(None);
        };
        let key = keys.iter().find(|key| key.is(record));
        let session = Self {
            key: key.cloned(),
            name: record.name.clone(),
            algorithm: record.data.algorithm.clone(),
            previous: record.data.mac.clone(),
            first: true,
            error: None,
            now,
        };
        let wrong = |error, session: Self| {
            let error = Some((error, record.data.time));
            Err(Box::new(Self { error, ..session }))
        };
        let Some(key) = key else {
            return wrong(TsigError::BadKey, session);
        };
        let signed = signed_bitmessage_to_buf(bytes, None, true);
        if !signed.is_ok_and(|(signed, _)| key.0.verify(&signed, &record.data.mac).is_ok()) {
            return wrong(
                TsigError::BadSig,
                Self {
                    key: None,
                    ..session
                },
            );
        }
        if !in_time(&record.data, now) {
            return wrong(TsigError::BadTime, session);
        }
        Ok(Some(session))
    }

    /// The key that the request is proved to be signed with.
    pub fn key(&self) -> Option<&Name> {
        let proved = self.key.as_ref().filter(|_| self.error.is_none());
        proved.map(Key::name)
    }

    /// Bytes that a signature takes at most.
    pub fn room(&self) -> u16 {
        u16::try_from(self.name.len() + self.algorithm.to_name().len() + RECORD).unwrap_or(u16::MAX)
    }

    /// The signature of a response, of which these are the bytes without one (RFC 8945 sections
    /// 4.3 and 5.3). The next one of the same answer follows it. `None` if the library fails.
    pub fn sign(&mut self, response: &[u8], now: UnixTime) -> Option<Box<Record<TSIG>>> {
        let record = self.signature(response, now)?;
        self.previous.clone_from(&record.data.mac);
        self.first = false;
        Some(record)
    }

    fn signature(&self, response: &[u8], now: UnixTime) -> Option<Box<Record<TSIG>>> {
        let id = u16::from_be_bytes(*response.first_chunk()?);
        let (time, other) = match self.error {
            // The client's time, so that it can check the signature, and ours beside it.
            Some((TsigError::BadTime, theirs)) => (theirs, now.0.to_be_bytes()[2..].to_vec()),
            _ => (now.0, Vec::new()),
        };
        let error = self.error.map(|(error, _)| error);
        let algorithm = self.algorithm.clone();
        let mut tsig = TSIG::new(algorithm, time, FUDGE, Vec::new(), id, error, other);
        if let Some(key) = &self.key {
            let signed = self.signed(response, &tsig)?;
            tsig = tsig.set_mac(key.0.sign(&signed).ok()?);
        }
        Some(Box::new(make_tsig_record(self.name.clone(), tsig)))
    }

    /// What the MAC is made of: of all messages but the first, no more than the times.
    fn signed(&self, response: &[u8], tsig: &TSIG) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(response.len() + usize::from(self.room()));
        bytes.extend(u16::try_from(self.previous.len()).ok()?.to_be_bytes());
        bytes.extend(&self.previous);
        bytes.extend(response);
        if self.first {
            let mut variables = Vec::new();
            let mut encoder = BinEncoder::new(&mut variables);
            tsig.emit_tsig_for_mac(&mut encoder, &self.name).ok()?;
            bytes.extend(variables);
        } else {
            bytes.extend(&tsig.time.to_be_bytes()[2..]);
            bytes.extend(tsig.fudge.to_be_bytes());
        }
        Some(bytes)
    }

    /// The signature of a response that is all there is, of which these are the bytes without one.
    pub fn once(&self, response: &[u8]) -> Option<Box<Record<TSIG>>> {
        self.signature(response, self.now)
    }

    /// Adds it to the response. False if that cannot be done.
    pub fn append(&self, response: &mut Vec<u8>) -> bool {
        let bytes = self
            .once(response)
            .and_then(|record| record.to_bytes().ok());
        let (Some(bytes), Some(count)) = (bytes, response.get(10..12)) else {
            return false;
        };
        let count = u16::from_be_bytes([count[0], count[1]]) + 1;
        response[10..12].copy_from_slice(&count.to_be_bytes());
        response.extend(bytes);
        true
    }
}
