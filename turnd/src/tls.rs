//! What TLS and DTLS clients are served with: made from the configuration, shared by the workers, exchanged
//! by a reload.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;

use crate::config::Tls;
use crate::net::dtls::identity::Identity;

/// The protocols a client may name (RFC 7443, section 3); one that names none is served, too.
const ALPN: [&[u8]; 2] = [b"stun.turn", b"stun.nat-discovery"];

/// What clients are served with by one certificate.
#[derive(Debug)]
pub struct Served {
    tls: Arc<ServerConfig>,
    dtls: Option<Arc<Identity>>,
}

/// What new TLS connections and DTLS sessions are accepted with. A running one keeps what it began
/// with.
#[derive(Debug, Default)]
pub struct Certificates {
    tls: ArcSwapOption<ServerConfig>,
    dtls: ArcSwapOption<Identity>,
}

impl Certificates {
    /// Serves with this, or neither TLS nor DTLS.
    pub fn new(served: Option<Served>) -> Self {
        let certificates = Self::default();
        certificates.exchange(served);
        certificates
    }

    /// What a connection that begins now is accepted with; `None` when TLS is not served.
    pub fn server_config(&self) -> Option<Arc<ServerConfig>> {
        self.tls.load_full()
    }

    /// What a DTLS session that begins now is accepted with; `None` when DTLS is not served.
    pub fn dtls(&self) -> Option<Arc<Identity>> {
        self.dtls.load_full()
    }

    /// DTLS alone, for the tests of its sessions.
    #[cfg(test)]
    pub(crate) fn serve_dtls(&self, identity: Identity) {
        self.dtls.store(Some(Arc::new(identity)));
    }

    /// New connections and sessions are accepted with this from now on.
    pub fn exchange(&self, served: Option<Served>) {
        let (tls, dtls) = served.map_or((None, None), |served| (Some(served.tls), served.dtls));
        self.tls.store(tls);
        self.dtls.store(dtls);
    }
}

/// What is made of the certificate of a configuration.
///
/// # Errors
/// When a library cannot use it, or the system has no randomness.
pub fn served(tls: &Tls) -> io::Result<Served> {
    let identity = tls.dtls.as_ref().map(Identity::new).transpose();
    Ok(Served {
        tls: server_config(tls).map_err(io::Error::other)?,
        dtls: identity.map_err(io::Error::other)?.map(Arc::new),
    })
}

/// TLS 1.2 and 1.3 with the certificate of `tls`. Sessions are resumed by tickets, so that nothing
/// is kept for a client that has gone.
fn server_config(tls: &Tls) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from((*tls.certified).clone())));
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(Arc::new(config))
}
