//! `[tls]`: the certificate that TLS and DTLS clients are shown, and its key.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use credentials::UnixTime;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use settings::{NamedFile, Spanned, Table};
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{DateTime, Decode};
use zeroize::Zeroizing;

use super::limits;
use crate::clock;

/// `check` and the log warn of a certificate that expires within this time.
const EXPIRES_SOON: Duration = Duration::from_hours(14 * 24);

/// Elliptic curve keys (RFC 5480, section 2.1.1).
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// The curves whose keys DTLS can sign with: P-256 and P-384 (RFC 5480, section 2.1.1.1).
const DTLS_CURVES: [ObjectIdentifier; 2] = [
    ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"),
    ObjectIdentifier::new_unwrap("1.3.132.0.34"),
];

/// The `[tls]` table: a certificate that is valid now, and the key that fits it.
#[derive(Clone)]
pub struct Tls {
    /// The chain, the server's own certificate first, and its key.
    pub certified: Arc<CertifiedKey>,
    /// The end of the server certificate's validity.
    pub expires: UnixTime,
    /// For DTLS, where the key is one that DTLS can sign with: ECDSA over P-256 or P-384.
    pub dtls: Option<DtlsIdentity>,
}

/// A certificate and its key in DER, for DTLS.
#[derive(Clone)]
pub struct DtlsIdentity {
    /// The server's own certificate.
    pub certificate: Vec<u8>,
    /// PKCS #8 or SEC 1.
    pub key: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("expires", &self.expires)
            .field("dtls", &self.dtls)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for DtlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DtlsIdentity(..)")
    }
}

/// What is wrong, and what to do about it.
type Wrong = (String, &'static str);

impl Tls {
    pub(super) fn build(table: &mut Table<'_>) -> Option<Self> {
        let certificate = table.required_file("certificate", limits::CERTIFICATE_FILE_BYTES);
        let key = table.required_secret_file("key");
        let chain =
            certificate.and_then(|file| Some((told(table, "certificate", &file, chain)?, file)));
        let key = key.and_then(|file| Some((told(table, "key", &file, private_key)?, file)));
        let ((chain, certificate), (key, key_file)) = (chain?, key?);
        let server = told(table, "certificate", &certificate, |_| valid_now(&chain))?;
        let certified = told(table, "key", &key_file, |_| {
            fit(chain, &key, &certificate.value)
        })?;
        let dtls = for_dtls(&server).then(|| DtlsIdentity {
            certificate: certified.cert[0].to_vec(),
            key: Zeroizing::new(key.secret_der().to_vec()),
        });
        Some(Self {
            certified: Arc::new(certified),
            expires: UnixTime(not_after(&server)),
            dtls,
        })
    }

    /// What an operator should know though it is no error.
    pub fn warnings(&self, now: UnixTime) -> Vec<String> {
        let left = self.expires.0.saturating_sub(now.0);
        let soon = (left < EXPIRES_SOON.as_secs()).then(|| {
            let days = left / Duration::from_hours(24).as_secs();
            format!(
                "`tls.certificate` expires in {days} days, on {}",
                date(self.expires.0)
            )
        });
        let plain = self.dtls.is_none().then(|| {
            "`tls.key` is not an ECDSA key over P-256 or P-384: DTLS is not served, TLS is"
                .to_owned()
        });
        soon.into_iter().chain(plain).collect()
    }
}

/// Judges what is in a file; what is wrong is recorded where the file is named.
fn told<T>(
    table: &Table<'_>,
    key: &str,
    file: &Spanned<NamedFile>,
    judge: impl FnOnce(&NamedFile) -> Result<T, Wrong>,
) -> Option<T> {
    judge(&file.value)
        .map_err(|(what, help)| {
            let what = format!("`tls.{key}`: {} {what}", file.value.path.display());
            table.error(file.span, what, help);
        })
        .ok()
}

/// The certificates of a PEM file, in its order.
fn chain(file: &NamedFile) -> Result<Vec<CertificateDer<'static>>, Wrong> {
    const HELP: &str = "name the PEM file with the server's certificate and, after it, those of \
                        its issuers";
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(file.text().as_bytes()).collect();
    let chain = read.map_err(|_| ("is not a PEM file".to_owned(), HELP))?;
    if chain.is_empty() {
        return Err(("holds no certificate".to_owned(), HELP));
    }
    if chain.len() > limits::CERTIFICATES {
        let what = format!("holds {} certificates", chain.len());
        return Err((
            what,
            "at most 10 are sent: leave out what is not in the chain",
        ));
    }
    Ok(chain)
}

fn private_key(file: &NamedFile) -> Result<PrivateKeyDer<'static>, Wrong> {
    const HELP: &str = "name the PEM file with the unencrypted key (PKCS #8, SEC 1 or PKCS #1)";
    PrivateKeyDer::from_pem_slice(file.text().as_bytes()).map_err(|error| match error {
        pem::Error::NoItemsFound => ("holds no private key".to_owned(), HELP),
        _ => ("is not a PEM file".to_owned(), HELP),
    })
}

/// The server's certificate, when it is valid now.
fn valid_now(chain: &[CertificateDer<'static>]) -> Result<Certificate, Wrong> {
    const HELP: &str = "make one with a tool of your own or an ACME client";
    let server = chain.first().map(|server| Certificate::from_der(server));
    let Some(Ok(server)) = server else {
        return Err(("holds a certificate that cannot be read".to_owned(), HELP));
    };
    let validity = server.tbs_certificate().validity();
    let now = clock::unix().0;
    if now < validity.not_before.to_unix_duration().as_secs() {
        let what = format!(
            "holds a certificate that is valid from {} on",
            validity.not_before
        );
        return Err((what, "wait, or set this machine's clock"));
    }
    if now >= not_after(&server) {
        let what = format!("holds a certificate that expired on {}", validity.not_after);
        return Err((what, "renew it"));
    }
    Ok(server)
}

/// Chain and key together, when the key is the one of the server's certificate.
fn fit(
    chain: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'static>,
    certificate: &NamedFile,
) -> Result<CertifiedKey, Wrong> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let Ok(key) = provider.key_provider.load_private_key(key.clone_key()) else {
        let what = "holds a private key of a kind that is not supported".to_owned();
        return Err((
            what,
            "use ECDSA over P-256 or P-384, or RSA with 2048 bits or more",
        ));
    };
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            let what = format!(
                "is not the key of the first certificate in {}",
                certificate.path.display()
            );
            Err((
                what,
                "name the two files that belong together; the server's certificate comes \
                        first, then its issuers'",
            ))
        }
        Err(error) => Err((
            format!("does not go with {}: {error}", certificate.path.display()),
            "make a new certificate (X.509 version 3)",
        )),
    }
}

fn not_after(certificate: &Certificate) -> u64 {
    let validity = certificate.tbs_certificate().validity();
    validity.not_after.to_unix_duration().as_secs()
}

fn for_dtls(certificate: &Certificate) -> bool {
    let algorithm = &certificate
        .tbs_certificate()
        .subject_public_key_info()
        .algorithm;
    let curve = algorithm.parameters.as_ref();
    let curve = curve.and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok());
    algorithm.oid == EC_PUBLIC_KEY && curve.is_some_and(|curve| DTLS_CURVES.contains(&curve))
}

fn date(unix: u64) -> String {
    DateTime::from_unix_duration(Duration::from_secs(unix))
        .map_or_else(|_| format!("{unix} (unix time)"), |date| date.to_string())
}
