//! What sessions are made with: the certificate, the library's configuration, and the one door by
//! which a client comes in whose cookie was verified outside of the library.
//!
//! The library makes and verifies cookies with a secret of each connection, for which it would have
//! to keep something for every stranger. It takes the MAC of its cookies from a provider of ours:
//! while a datagram of a client is handled whose cookie is verified, that provider answers with this
//! very cookie, and the library finds it right.

use std::cell::Cell;
use std::sync::Arc;

use dimpl::crypto::{CryptoProvider, HashAlgorithm, HmacProvider, aws_lc_rs};
use dimpl::{Config, CryptoError, DtlsCertificate, Error};

use super::cookie::Cookie;
use super::limits::{FLIGHT, HANDSHAKE, HANDSHAKE_DATAGRAM, REORDERED};
use crate::config::DtlsIdentity;

thread_local! {
    /// The verified cookie of the client whose datagram this thread handles.
    static VERIFIED: Cell<Option<Cookie>> = const { Cell::new(None) };
}

/// Runs `work`, during which the library accepts `cookie` and no other.
pub(super) fn admitting<T>(cookie: Cookie, work: impl FnOnce() -> T) -> T {
    VERIFIED.set(Some(cookie));
    let done = work();
    VERIFIED.set(None);
    done
}

/// The standard HMAC, but for cookies.
#[derive(Debug)]
struct Door;

static DOOR: Door = Door;

impl HmacProvider for Door {
    /// The library asks for this length only to make or verify a cookie.
    fn hmac_sha256(&self, key: &[u8], data: &[u8]) -> Result<[u8; 32], CryptoError> {
        match VERIFIED.get() {
            Some(cookie) => Ok(cookie),
            None => aws_lc_rs::default_provider()
                .hmac_provider
                .hmac_sha256(key, data),
        }
    }

    fn hmac(
        &self,
        hash: HashAlgorithm,
        key: &[u8],
        data: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CryptoError> {
        let standard = aws_lc_rs::default_provider().hmac_provider;
        standard.hmac(hash, key, data, out)
    }
}

/// A certificate that sessions are begun with. A running one keeps what it began with.
#[derive(Debug)]
pub struct Identity {
    pub(super) config: Arc<Config>,
    pub(super) certificate: DtlsCertificate,
}

impl Identity {
    /// With the certificate of the configuration.
    ///
    /// # Errors
    /// When the library cannot use it.
    pub fn new(identity: &DtlsIdentity) -> Result<Self, Error> {
        let provider = CryptoProvider {
            hmac_provider: &DOOR,
            ..aws_lc_rs::default_provider()
        };
        // Otherwise the first session would find out.
        provider
            .key_provider
            .load_private_key(&identity.key)
            .map_err(Error::CryptoError)?;
        let config = Config::builder()
            .with_crypto_provider(provider)
            .require_client_certificate(false)
            .handshake_timeout(HANDSHAKE)
            .mtu(HANDSHAKE_DATAGRAM)
            .max_queue_rx(REORDERED)
            .max_queue_tx(FLIGHT)
            .build()?;
        Ok(Self {
            config: Arc::new(config),
            certificate: DtlsCertificate {
                certificate: identity.certificate.clone(),
                private_key: identity.key.to_vec(),
            },
        })
    }
}
