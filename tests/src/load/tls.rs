//! TLS to a server whose certificate nobody looks at: this measures, it trusts nobody.

use std::{
    io,
    net::{IpAddr, TcpStream},
    sync::{Arc, LazyLock},
};

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

/// One configuration for all clients.
static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let anybody = Arc::new(Anybody(provider.clone()));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider's own versions")
        .dangerous()
        .with_custom_certificate_verifier(anybody)
        .with_no_client_auth();
    // RFC 7443.
    config.alpn_protocols = vec![b"stun.turn".to_vec()];
    Arc::new(config)
});

/// Shakes hands over a connection that waits.
///
/// # Errors
/// When the server does not.
pub fn shake_hands(tcp: &mut TcpStream, server: IpAddr) -> io::Result<ClientConnection> {
    let name = ServerName::IpAddress(server.into());
    let mut tls = ClientConnection::new(CONFIG.clone(), name).map_err(io::Error::other)?;
    // A burst may be longer than the usual limit, and does not wait long.
    tls.set_buffer_limit(None);
    while tls.is_handshaking() {
        tls.complete_io(tcp)?;
    }
    Ok(tls)
}

/// Takes everybody's certificate.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
