//! Certificates for the relays under test, made by rcgen.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SignatureAlgorithm,
};

/// A certificate chain and its key, as PEM.
pub(crate) struct Pair {
    pub(crate) chain: String,
    pub(crate) key: String,
    /// The end of its validity, in seconds since 1970.
    pub(crate) expires: u64,
}

/// A day.
pub(crate) const DAY: Duration = Duration::from_hours(24);

/// Seconds since 1970.
pub(crate) fn unix() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

/// A certificate for `turn.example` by an issuer of its own, valid for `from..to` counted from now;
/// its chain holds both.
pub(crate) fn pair(algorithm: &'static SignatureAlgorithm, from: i64, to: i64) -> Pair {
    let now = i64::try_from(unix()).expect("a time");
    let time = |at: i64| {
        time::OffsetDateTime::from_unix_timestamp(now + at).expect("a time that can be written")
    };
    let mut issuer = CertificateParams::new([]).expect("parameters");
    // Of another name than the server's certificate, which would look self-signed.
    issuer.distinguished_name.push(DnType::CommonName, "issuer");
    issuer.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(issuer, KeyPair::generate().expect("a key"));
    let issuer = issuer.expect("an issuer");
    let mut server = CertificateParams::new(["turn.example".to_owned()]).expect("parameters");
    (server.not_before, server.not_after) = (time(from), time(to));
    let key = KeyPair::generate_for(algorithm).expect("a key");
    let certificate = server.signed_by(&key, &issuer).expect("a certificate");
    Pair {
        chain: certificate.pem() + &issuer.pem(),
        key: key.serialize_pem(),
        expires: u64::try_from(now + to).expect("after 1970"),
    }
}

/// A pair that DTLS can use, valid for a year.
pub(crate) fn ecdsa() -> Pair {
    let day = i64::try_from(DAY.as_secs()).expect("a number");
    pair(&rcgen::PKCS_ECDSA_P256_SHA256, -day, 365 * day)
}

/// Writes `text` where only its owner can read it.
pub(crate) fn write_secret(path: &Path, text: &str) {
    std::fs::write(path, text).expect("the file is written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("permissions");
}
