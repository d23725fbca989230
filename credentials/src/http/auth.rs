//! Who asks: API keys found in constant time.

use axum::http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::ApiKey;
use super::error::ApiError;

/// A key with its hash: hashes have one length, so comparing them tells nothing about the keys'.
pub(super) struct Known {
    pub(super) key: ApiKey,
    hash: [u8; 32],
}

impl Known {
    pub(super) fn new(key: ApiKey) -> Self {
        let hash = Sha256::digest(key.secret.expose()).into();
        Self { key, hash }
    }

    pub(super) fn same_as(&self, other: &Self) -> bool {
        self.key.id == other.key.id || self.hash == other.hash
    }
}

/// The key in `Authorization: Bearer <key>` (RFC 6750, 2.1), if the header is there.
pub(super) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let key = value.to_str().ok().and_then(|value| value.split_once(' '));
    match key {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(key.trim())),
        _ => Err(ApiError::unauthorized(true)),
    }
}

/// The known key that was presented. Looks at every key, so that the time tells nothing.
pub(super) fn find<'a>(keys: &'a [Known], presented: Option<&str>) -> Option<&'a ApiKey> {
    let hash = Sha256::digest(presented?.as_bytes());
    let mut found = None;
    for known in keys {
        if known.hash.ct_eq(hash.as_slice()).into() {
            found = Some(&known.key);
        }
    }
    found
}
