//! A certificate and its key, as two files of a table name them: whether they are what they should be.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use crate::limits;
use crate::named_file::NamedFile;
use crate::table::Table;
use crate::value::Spanned;

/// A certificate that is valid now, and the key that fits it.
#[derive(Clone)]
pub struct Identity {
    /// The chain, the server's own certificate first, and its key.
    pub certified: Arc<CertifiedKey>,
    /// The server's own certificate.
    pub server: Certificate,
    /// The key alone.
    pub key: Arc<PrivateKeyDer<'static>>,
}

impl Identity {
    /// The end of the server certificate's validity, in unix seconds.
    pub fn expires(&self) -> u64 {
        let validity = self.server.tbs_certificate().validity();
        validity.not_after.to_unix_duration().as_secs()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("expires", &self.expires())
            .finish_non_exhaustive()
    }
}

/// What is wrong, and what to do about it.
type Unfit = (String, &'static str);

impl Table<'_> {
    /// What the keys `certificate` and `key` name: a chain in PEM whose first certificate is valid at
    /// `now` (unix seconds; `None` does not ask), and in a file that others cannot read its key.
    pub fn required_identity(&mut self, now: Option<u64>) -> Option<Identity> {
        let certificate = self.required_file("certificate", limits::CERTIFICATE_FILE_BYTES);
        let key = self.required_secret_file("key");
        let chain =
            certificate.and_then(|file| Some((self.told("certificate", &file, chain)?, file)));
        let key = key.and_then(|file| Some((self.told("key", &file, private_key)?, file)));
        let ((chain, certificate), (key, key_file)) = (chain?, key?);
        let server = self.told("certificate", &certificate, |_| valid_at(&chain, now))?;
        let certified = self.told("key", &key_file, |_| fit(chain, &key, &certificate.value))?;
        Some(Identity {
            certified: Arc::new(certified),
            server,
            key: Arc::new(key),
        })
    }

    /// Judges what is in a file; what is wrong is recorded where the file is named.
    fn told<T>(
        &self,
        key: &str,
        file: &Spanned<NamedFile>,
        judge: impl FnOnce(&NamedFile) -> Result<T, Unfit>,
    ) -> Option<T> {
        judge(&file.value)
            .map_err(|(what, help)| {
                let what = format!("`{}`: {} {what}", self.name(key), file.value.path.display());
                self.error(file.span, what, help);
            })
            .ok()
    }
}

/// The certificates of a PEM file, in its order.
fn chain(file: &NamedFile) -> Result<Vec<CertificateDer<'static>>, Unfit> {
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

fn private_key(file: &NamedFile) -> Result<PrivateKeyDer<'static>, Unfit> {
    const HELP: &str = "name the PEM file with the unencrypted key (PKCS #8, SEC 1 or PKCS #1)";
    PrivateKeyDer::from_pem_slice(file.text().as_bytes()).map_err(|error| match error {
        pem::Error::NoItemsFound => ("holds no private key".to_owned(), HELP),
        _ => ("is not a PEM file".to_owned(), HELP),
    })
}

/// The server's certificate, when it is valid at `now`.
fn valid_at(chain: &[CertificateDer<'static>], now: Option<u64>) -> Result<Certificate, Unfit> {
    const HELP: &str = "make one with a tool of your own or an ACME client";
    let server = chain.first().map(|server| Certificate::from_der(server));
    let Some(Ok(server)) = server else {
        return Err(("holds a certificate that cannot be read".to_owned(), HELP));
    };
    let Some(now) = now else {
        return Ok(server);
    };
    let validity = server.tbs_certificate().validity();
    if now < validity.not_before.to_unix_duration().as_secs() {
        let what = format!(
            "holds a certificate that is valid from {} on",
            validity.not_before
        );
        return Err((what, "wait, or set this machine's clock"));
    }
    if now >= validity.not_after.to_unix_duration().as_secs() {
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
) -> Result<CertifiedKey, Unfit> {
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
