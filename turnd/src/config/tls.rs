//! `[tls]`: the certificate that TLS and DTLS clients are shown, and its key.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use credentials::UnixTime;
use rustls::sign::CertifiedKey;
use settings::Table;
use x509_cert::Certificate;
use x509_cert::der::DateTime;
use x509_cert::der::asn1::ObjectIdentifier;
use zeroize::Zeroizing;

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

impl Tls {
    pub(super) fn build(table: &mut Table<'_>) -> Option<Self> {
        let identity = table.required_identity(Some(clock::unix().0))?;
        let dtls = for_dtls(&identity.server).then(|| DtlsIdentity {
            certificate: identity.certified.cert[0].to_vec(),
            key: Zeroizing::new(identity.key.secret_der().to_vec()),
        });
        Some(Self {
            expires: UnixTime(identity.expires()),
            certified: identity.certified,
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
