//! What TLS clients are served with: made from the configuration, shared by the workers, exchanged
//! by a reload.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;

use crate::config::Tls;

/// The protocols a client may name (RFC 7443, section 3); one that names none is served, too.
const ALPN: [&[u8]; 2] = [b"stun.turn", b"stun.nat-discovery"];

/// What new TLS connections are accepted with. A running one keeps what it began with.
#[derive(Debug)]
pub struct Certificates(ArcSwapOption<ServerConfig>);

impl Certificates {
    /// Serves with this, or no TLS at all.
    pub fn new(config: Option<Arc<ServerConfig>>) -> Self {
        Self(ArcSwapOption::new(config))
    }

    /// What a connection that begins now is accepted with; `None` when TLS is not served.
    pub fn server_config(&self) -> Option<Arc<ServerConfig>> {
        self.0.load_full()
    }

    /// New connections are accepted with this from now on.
    pub fn exchange(&self, config: Option<Arc<ServerConfig>>) {
        self.0.store(config);
    }
}

/// TLS 1.2 and 1.3 with the certificate of `tls`. Sessions are resumed by tickets, so that nothing
/// is kept for a client that has gone.
///
/// # Errors
/// When the system has no randomness for the tickets' key.
pub fn server_config(tls: &Tls) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from((*tls.certified).clone())));
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(Arc::new(config))
}
