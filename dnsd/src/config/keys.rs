//! `[secrets]` and `[[keys]]`.

use credentials::label::{LabelKey, LabelKeys};
use credentials::limits::SECRET_BYTES;
use credentials::{Secret, SecretRing};
use liveness::{KEY_MIN, Key, KeyId, KeyRing};
use settings::{SecretText, Spanned, Table};

/// The keys of `[[keys]]`.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// By id.
    pub(super) ring: KeyRing,
    /// A key could not be read: a reference to an unknown id is then no news.
    pub(super) incomplete: bool,
}

/// `current` and `previous` of a table, of at least `least` bytes each; `full` helps whoever keeps
/// too many.
pub(super) fn ring(table: &mut Table<'_>, least: usize, full: &str) -> Option<SecretRing> {
    let current = table.required_secret("current", least);
    let previous = table.secrets("previous", least);
    let current = secret(table, &current?)?;
    let previous: Option<Vec<_>> = previous.iter().map(|text| secret(table, text)).collect();
    match SecretRing::new(current, previous?) {
        Ok(ring) => Some(ring),
        Err(error) => {
            table.error(table.key_span("previous"), error.to_string(), full);
            None
        }
    }
}

pub(super) fn secrets(root: &mut Table<'_>) -> Option<(SecretRing, LabelKeys)> {
    let mut table = root.required_table("secrets")?;
    let full = "remove those that no credential is alive of";
    let ring = ring(&mut table, SECRET_BYTES, full);
    let label = table.optional_secret("label_key", SECRET_BYTES);
    // turnd has a nonce key in the same table; one file may serve both.
    let _ = table.optional_secret("nonce_key", SECRET_BYTES);
    let ring = ring?;
    let labels = match label {
        Some(label) => {
            LabelKeys::new(LabelKey::derive(&secret(&table, &label)?), Vec::new()).ok()?
        }
        None => LabelKeys::derive(&ring),
    };
    Some((ring, labels))
}

fn secret(table: &Table<'_>, text: &Spanned<SecretText>) -> Option<Secret> {
    match Secret::new(text.value.expose().as_bytes().to_vec()) {
        Ok(secret) => Some(secret),
        Err(error) => {
            table.error(
                text.span,
                error.to_string(),
                "make one with: openssl rand -base64 48",
            );
            None
        }
    }
}

pub(super) fn keys(root: &mut Table<'_>) -> Keys {
    let mut keys = Keys::default();
    let tables = root.tables("keys");
    if tables.is_empty() {
        let help =
            "add [[keys]] with id = 1 and key_file = \"path\"; relays sign their reports with it";
        root.error(root.key_span("keys"), "there are no keys", help);
        keys.incomplete = true;
    }
    for mut table in tables {
        let id = table.required::<u32>("id");
        let text = table.required_secret("key", KEY_MIN);
        let (Some(id), Some(text)) = (id, text) else {
            keys.incomplete = true;
            continue;
        };
        let key = match Key::new(text.value.expose().as_bytes().to_vec()) {
            Ok(key) => key,
            Err(error) => {
                table.error(
                    text.span,
                    error.to_string(),
                    "make one with: openssl rand -base64 48",
                );
                continue;
            }
        };
        if let Err(error) = keys.ring.insert(KeyId(id.value), key) {
            table.error(
                id.span,
                error.to_string(),
                "give every key an id of its own",
            );
        }
    }
    keys
}
