//! The certificate that clients of encrypted transports are shown; another can take its place
//! under them.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion};

/// What is in force. Connections that stand keep what they were shown.
pub struct Shown(ArcSwap<CertifiedKey>);

impl Shown {
    /// Shows `certified` to everybody.
    pub fn new(certified: Arc<CertifiedKey>) -> Self {
        Self(ArcSwap::new(certified))
    }

    /// Shows `certified` from the next handshake on.
    pub fn exchange(&self, certified: Arc<CertifiedKey>) {
        self.0.store(certified);
    }

    /// How DNS over TLS shakes hands (RFC 7858 section 3.2).
    ///
    /// # Errors
    /// As the library finds.
    pub fn over_tls(self: &Arc<Self>) -> Result<Arc<ServerConfig>, rustls::Error> {
        self.speaking(b"dot", rustls::ALL_VERSIONS)
    }

    /// How DNS over QUIC shakes hands (RFC 9250 section 4.1). Nothing is taken before the handshake
    /// is done: early data could be replayed, and a query answered to whoever repeats it.
    ///
    /// # Errors
    /// As the library finds.
    pub fn over_quic(self: &Arc<Self>) -> Result<Arc<ServerConfig>, rustls::Error> {
        self.speaking(b"doq", &[&rustls::version::TLS13])
    }

    fn speaking(
        self: &Arc<Self>,
        protocol: &[u8],
        versions: &[&'static SupportedProtocolVersion],
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let mut config = builder
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![protocol.to_vec()];
        config.max_early_data_size = 0;
        Ok(Arc::new(config))
    }
}

/// The key stays out of every log.
impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown(..)")
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}
