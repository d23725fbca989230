//! The certificate of the servers under test: made by the test, for their addresses.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair, SanType};

use super::REALM;

/// A self-signed certificate and its key, as PEM files.
#[derive(Debug)]
pub struct Certificate {
    /// The certificate; whoever trusts it trusts the server.
    pub chain: PathBuf,
    /// Its private key, ECDSA over P-256.
    pub key: PathBuf,
}

impl Certificate {
    /// Makes one for `addresses` in `directory`.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn make(directory: &Path, addresses: &[IpAddr]) -> Self {
        let mut parameters = CertificateParams::new([REALM.to_owned()]).expect("a name");
        Self::of(directory, addresses, &mut parameters)
    }

    /// Makes one for a name, that lives for so long if it is not to outlive every test.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn named(directory: &Path, name: &str, lives: Option<Duration>) -> Self {
        let mut parameters = CertificateParams::new([name.to_owned()]).expect("a name");
        if let Some(lives) = lives {
            parameters.not_after = (SystemTime::now() + lives).into();
        }
        Self::of(directory, &[], &mut parameters)
    }

    fn of(directory: &Path, addresses: &[IpAddr], parameters: &mut CertificateParams) -> Self {
        let addresses = addresses.iter().copied().map(SanType::IpAddress);
        parameters.subject_alt_names.extend(addresses);
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.self_signed(&key).expect("a certificate");
        let made = Self {
            chain: directory.join("chain.pem"),
            key: directory.join("key.pem"),
        };
        fs::write(&made.chain, certificate.pem()).expect("the certificate is written");
        fs::write(&made.key, key.serialize_pem()).expect("the key is written");
        // A key that others can read is none.
        let owner = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&made.key, owner).expect("it is its owner's");
        made
    }
}
