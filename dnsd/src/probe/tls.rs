//! TLS to a relay as its clients see it: the handshake, and whether they would take the certificate.
//!
//! The handshake itself takes every certificate, so that one that clients refuse can still be told
//! of, its end above all.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dnsd_core::health::Outcome;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature,
    verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::stream::Duplex;
use super::stun::heard;

/// What a relay's certificate must be good for.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Trust {
    /// The certificates that it must lead to, in DER; without any, every issuer is taken.
    pub roots: Vec<CertificateDer<'static>>,
    /// The name that it must be for; without, every name is taken.
    pub name: Option<ServerName<'static>>,
}

/// Makes TLS connections and judges the certificates seen there.
#[derive(Debug)]
pub struct Judge {
    client: Arc<ClientConfig>,
    algorithms: WebPkiSupportedAlgorithms,
    roots: Option<RootCertStore>,
    name: Option<ServerName<'static>>,
}

/// A certificate as a client sees it.
#[derive(Debug)]
pub(super) struct Seen {
    /// What is left of its life; `None` if it cannot be read.
    pub(super) left: Option<Duration>,
    /// Why clients refuse it, but for its age.
    pub(super) wrong: Option<String>,
}

impl Judge {
    /// A judge of what `trust` says.
    pub fn new(trust: &Trust) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let mut client = builder
            .with_safe_default_protocol_versions()
            .expect("the provider knows the default versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TakesAll(provider)))
            .with_no_client_auth();
        // A resumed session shows no certificate.
        client.resumption = Resumption::disabled();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(trust.roots.iter().cloned());
        Self {
            client: Arc::new(client),
            algorithms,
            roots: (!trust.roots.is_empty()).then_some(roots),
            name: trust.name.clone(),
        }
    }

    /// Shakes hands on `stream` with the relay at `ip`, and looks at its certificate.
    pub(super) async fn handshake<S: Duplex>(
        &self,
        stream: S,
        ip: IpAddr,
    ) -> Result<(TlsStream<S>, Seen), Outcome> {
        let name = self.name.clone();
        let name = name.unwrap_or_else(|| ServerName::IpAddress(ip.into()));
        let connector = TlsConnector::from(Arc::clone(&self.client));
        let connected = connector.connect(name, stream).await;
        let stream = connected.map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => heard(&error),
            _ => Outcome::Failed(format!("TLS: {error}")),
        })?;
        let (_, session) = stream.get_ref();
        let seen = self.look(session.peer_certificates().unwrap_or_default());
        Ok((stream, seen))
    }

    fn look(&self, chain: &[CertificateDer<'_>]) -> Seen {
        let own = chain.first().map(|own| Certificate::from_der(own));
        let Some(Ok(own)) = own else {
            return Seen {
                left: None,
                wrong: Some("the certificate cannot be read".to_owned()),
            };
        };
        let now = UnixTime::since_unix_epoch(SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default());
        let ends = own.tbs_certificate().validity().not_after;
        let left = ends
            .to_unix_duration()
            .saturating_sub(Duration::from_secs(now.as_secs()));
        let wrong = self.verify(chain, now, left.is_zero()).err();
        Seen {
            left: Some(left),
            wrong: wrong.map(|error| format!("certificate: {error}")),
        }
    }

    /// Name and chain, each where it is configured. That it has expired is told otherwise.
    fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
        expired: bool,
    ) -> Result<(), Error> {
        let Some((own, issuers)) = chain.split_first() else {
            return Err(Error::NoCertificatesPresented);
        };
        let own = ParsedCertificate::try_from(own)?;
        if let Some(name) = &self.name {
            verify_server_name(&own, name)?;
        }
        match &self.roots {
            Some(roots) if !expired => verify_server_cert_signed_by_trust_anchor(
                &own,
                roots,
                issuers,
                now,
                self.algorithms.all,
            ),
            _ => Ok(()),
        }
    }
}

/// Takes every certificate, and only what its key has signed.
#[derive(Debug)]
struct TakesAll(Arc<CryptoProvider>);

impl ServerCertVerifier for TakesAll {
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
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
