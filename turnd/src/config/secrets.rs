//! `[secrets]`: what credentials, nonces and labels are made with. The same on the whole fleet.

use credentials::label::{LabelKey, LabelKeys};
use credentials::limits::{PREVIOUS, SECRET_BYTES};
use credentials::{Secret, SecretRing};
use hmac::{Hmac, KeyInit, Mac};
use settings::{SecretText, Spanned, Table};
use sha2::Sha256;
use turnd_core::{NonceKey, NonceKeys};

/// The `[secrets]` table.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// Credentials are issued with the current one and accepted with all.
    pub ring: SecretRing,
    /// Keys of nonces: derived from the secrets where the file has none.
    pub nonces: NonceKeys,
    /// Keys of labels: likewise.
    pub labels: LabelKeys,
}

impl Secrets {
    pub(super) fn build(table: &mut Table<'_>) -> Option<Self> {
        let current = table.required_secret("current", SECRET_BYTES);
        let previous = table.secrets("previous", SECRET_BYTES);
        let nonce_key = table.optional_secret("nonce_key", SECRET_BYTES);
        let label_key = table.optional_secret("label_key", SECRET_BYTES);
        if let Some(beyond) = previous.get(PREVIOUS) {
            table.error(
                beyond.span,
                format!("`secrets.previous` has {} entries", previous.len()),
                format!("at most {PREVIOUS} are accepted: remove the oldest"),
            );
        }
        let current = current?;
        if let Some(same) = previous
            .iter()
            .find(|previous| previous.value == current.value)
        {
            let what = "a previous secret is the same as `secrets.current`";
            table.error(
                same.span,
                what,
                "make a new current one with: openssl rand -base64 48",
            );
        }
        let current = secret(&current)?;
        let previous: Option<Vec<_>> = previous.iter().map(secret).collect();
        let ring = SecretRing::new(current, previous?).ok()?;
        let nonces = match nonce_key {
            Some(key) => NonceKeys {
                current: nonce(&secret(&key)?),
                previous: None,
            },
            None => NonceKeys {
                current: nonce(ring.current()),
                previous: ring.iter().nth(1).map(nonce),
            },
        };
        let labels = match label_key {
            Some(key) => LabelKeys::new(LabelKey::derive(&secret(&key)?), Vec::new()).ok()?,
            None => LabelKeys::derive(&ring),
        };
        Some(Self {
            ring,
            nonces,
            labels,
        })
    }
}

/// The reader has checked its length.
fn secret(text: &Spanned<SecretText>) -> Option<Secret> {
    Secret::new(text.value.expose().as_bytes().to_vec()).ok()
}

/// The nonce key that belongs to a secret: `HMAC-SHA256(secret, "turnfleet nonce key 1")`.
fn nonce(secret: &Secret) -> NonceKey {
    let mac = Hmac::<Sha256>::new_from_slice(secret.expose());
    // HMAC takes keys of every length (RFC 2104, section 2).
    let mac = mac
        .expect("any key length")
        .chain_update(b"turnfleet nonce key 1");
    NonceKey::new(&mac.finalize().into_bytes().into())
}
