//! One client's requests and what their answers mean: no socket, no clock.

use std::net::SocketAddr;

use super::{
    LoadError,
    plan::{Plan, Via},
};
use crate::stun::{Builder, Message, TransactionId, attribute, kind, long_term_key};

/// Lowest channel number (RFC 8656 section 12).
const FIRST_CHANNEL: u16 = 0x4000;
/// REQUESTED-TRANSPORT's value for UDP (RFC 8656 section 18.7).
const TRANSPORT_UDP: [u8; 4] = [17, 0, 0, 0];
/// REQUESTED-ADDRESS-FAMILY's value for IPv6 (RFC 8656 section 18.6).
const FAMILY_IPV6: [u8; 4] = [2, 0, 0, 0];
/// How often a request is written anew because of a challenge, or on another port.
const REPEATS: u32 = 3;

/// What a client wants of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// An allocation, from the first unsigned request to the success.
    Allocate,
    /// That its peer may send: by a channel, or by a mere permission where payloads travel in
    /// indications (a server uses a channel it has).
    Admit,
    /// To give the allocation back.
    Close,
}

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It answers nothing that was asked.
    Foreign,
    /// There is another request to send: a challenge was met.
    Again,
    /// The port was an earlier client's whose allocation the server still has (RFC 8656 section 7.4,
    /// error 437): the request has to be sent from another one.
    Elsewhere,
    /// The step is done.
    Done,
}

/// A client's side of the dance.
#[derive(Debug)]
pub struct Dance {
    /// The peer's address.
    pub peer: SocketAddr,
    via: Via,
    /// The channel for the peer; bound only where payloads travel by channel.
    pub channel: u16,
    /// The relayed address, once there is one: where the peer sends to.
    pub relayed: Option<SocketAddr>,
    /// `None` where the server is a bare forwarder.
    account: Option<Account>,
    step: Step,
    waits: bool,
    request: Vec<u8>,
    transaction: TransactionId,
    requests: u64,
    repeats: u32,
}

/// A client's credential and what the server told it.
#[derive(Debug)]
struct Account {
    username: String,
    password: String,
    realm: Vec<u8>,
    nonce: Vec<u8>,
    key: [u8; 16],
}

impl Dance {
    /// The client at `index` of a plan, with its peer at `peer`.
    pub fn new(plan: &Plan, index: usize, peer: SocketAddr) -> Self {
        let account = plan.login.as_ref().map(|login| {
            let (username, password) = login.of(index);
            let (realm, nonce, key) = (Vec::new(), Vec::new(), [0; 16]);
            Account {
                username,
                password,
                realm,
                nonce,
                key,
            }
        });
        // A bare forwarder knows one channel.
        let channel = match account {
            Some(_) => FIRST_CHANNEL + (index % 0x0fff) as u16,
            None => FIRST_CHANNEL,
        };
        Self {
            peer,
            via: plan.via,
            channel,
            relayed: None,
            account,
            step: Step::Allocate,
            waits: false,
            request: Vec::new(),
            transaction: TransactionId::default(),
            requests: (index as u64) << 32,
            repeats: 0,
        }
    }

    /// Begins a step; whether an answer will come. [`Self::request`] is to be sent, if not empty.
    pub fn begin(&mut self, step: Step) -> bool {
        (self.step, self.repeats) = (step, 0);
        self.write();
        self.waits
    }

    /// What to send, and to repeat while no answer comes.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Takes in a message from the server.
    ///
    /// # Errors
    /// When it refuses, or is an answer but not as it should be.
    pub fn answer(&mut self, message: &[u8]) -> Result<Progress, LoadError> {
        if !self.waits {
            return Ok(Progress::Foreign);
        }
        let progress = match self.account {
            Some(_) => self.answered(message)?,
            None => self.forwarded(message)?,
        };
        self.waits = progress != Progress::Done;
        Ok(progress)
    }

    fn answered(&mut self, bytes: &[u8]) -> Result<Progress, LoadError> {
        let message = Message::parse(bytes).filter(|m| m.transaction() == self.transaction);
        let Some(message) = message else {
            return Ok(Progress::Foreign);
        };
        let (method, step) = (self.method(), self.step);
        if message.kind() == method + kind::SUCCESS {
            if step == Step::Allocate {
                let relayed = message.address(attribute::XOR_RELAYED_ADDRESS);
                self.relay(relayed.ok_or(LoadError::Malformed)?)?;
            }
            return Ok(Progress::Done);
        }
        let code = message.error_code().ok_or(LoadError::Malformed)?;
        let account = self.account.as_mut().ok_or(LoadError::Malformed)?;
        let challenged = code == 438 || code == 401 && account.realm.is_empty();
        let elsewhere = code == 437 && step == Step::Allocate;
        self.repeats += 1;
        if self.repeats > REPEATS || !(challenged || elsewhere) {
            // What cannot be given back is gone.
            return match step {
                Step::Close => Ok(Progress::Done),
                _ => Err(LoadError::Refused { method, code }),
            };
        }
        if challenged {
            account.learn(message)?;
        }
        self.write();
        Ok(if challenged {
            Progress::Again
        } else {
            Progress::Elsewhere
        })
    }

    /// What a bare forwarder answers.
    fn forwarded(&mut self, message: &[u8]) -> Result<Progress, LoadError> {
        let text = String::from_utf8_lossy(message);
        match text.strip_prefix("FORWARDED ") {
            Some(address) => {
                self.relay(address.parse().map_err(|_| LoadError::Malformed)?)?;
                Ok(Progress::Done)
            }
            None if text.starts_with("REFUSED ") => Err(LoadError::NotForwarded(text.to_string())),
            None => Ok(Progress::Foreign),
        }
    }

    fn relay(&mut self, relayed: SocketAddr) -> Result<(), LoadError> {
        if !relayed.ip().is_loopback() {
            return Err(LoadError::NotLoopback(relayed));
        }
        self.relayed = Some(relayed);
        Ok(())
    }

    fn method(&self) -> u16 {
        match (self.step, self.via) {
            (Step::Allocate, _) => kind::ALLOCATE,
            (Step::Admit, Via::Channel) => kind::CHANNEL_BIND,
            (Step::Admit, Via::Indication) => kind::CREATE_PERMISSION,
            (Step::Close, _) => kind::REFRESH,
        }
    }

    /// Writes the step's request under a new transaction id; signed as soon as the realm is known.
    fn write(&mut self) {
        let Some(account) = &self.account else {
            (self.request, self.waits) = match self.step {
                Step::Allocate => (format!("FORWARD {}", self.peer).into_bytes(), true),
                Step::Admit => (Vec::new(), false),
                Step::Close => (b"CLOSE".to_vec(), false),
            };
            return;
        };
        self.requests += 1;
        self.transaction = *b"load\0\0\0\0\0\0\0\0";
        self.transaction[4..].copy_from_slice(&self.requests.to_be_bytes());
        let builder = Builder::new(self.method(), self.transaction);
        let builder = match (self.step, self.via) {
            (Step::Allocate, _) => {
                let builder = builder.attribute(attribute::REQUESTED_TRANSPORT, &TRANSPORT_UDP);
                match self.peer {
                    SocketAddr::V4(_) => builder,
                    SocketAddr::V6(_) => {
                        builder.attribute(attribute::REQUESTED_ADDRESS_FAMILY, &FAMILY_IPV6)
                    }
                }
            }
            (Step::Admit, Via::Channel) => {
                let mut number = [0; 4];
                number[..2].copy_from_slice(&self.channel.to_be_bytes());
                let builder = builder.attribute(attribute::CHANNEL_NUMBER, &number);
                builder.peer(self.peer)
            }
            (Step::Admit, Via::Indication) => builder.peer(self.peer),
            (Step::Close, _) => builder.attribute(attribute::LIFETIME, &[0; 4]),
        };
        self.request = account.sign(builder);
        self.waits = true;
    }
}

impl Account {
    /// Keeps realm and nonce of a challenge.
    fn learn(&mut self, challenge: Message<'_>) -> Result<(), LoadError> {
        let text = |number| challenge.get(number).ok_or(LoadError::Malformed);
        self.realm = text(attribute::REALM)?.to_vec();
        self.nonce = text(attribute::NONCE)?.to_vec();
        let realm = String::from_utf8_lossy(&self.realm);
        self.key = long_term_key(&self.username, &realm, &self.password);
        Ok(())
    }

    fn sign(&self, builder: Builder) -> Vec<u8> {
        if self.realm.is_empty() {
            return builder.unsigned();
        }
        builder
            .attribute(attribute::USERNAME, self.username.as_bytes())
            .attribute(attribute::REALM, &self.realm)
            .attribute(attribute::NONCE, &self.nonce)
            .signed(&self.key)
    }
}

#[cfg(test)]
mod tests;
