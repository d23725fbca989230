//! The cluster's secrets, drawn anew for every start.

use std::fmt;

use crate::failure::Failure;

/// Bytes of randomness in every secret; the report MAC asks for at least 32.
const SECRET_BYTES: usize = 32;

/// Every secret of one cluster, as the text that goes into the configuration files.
pub struct Keys {
    /// Shared secret of the relays, known to the name servers for their probes.
    pub shared: String,
    /// What the name servers seal with what they tell each other.
    pub cluster: String,
    /// Key of the one REST tenant.
    pub api: String,
    /// Report key of each relay, in layout order.
    pub reports: Vec<String>,
}

impl Keys {
    /// Draws the secrets for a cluster of `relays` relays.
    pub fn draw(relays: usize) -> Result<Self, Failure> {
        Ok(Self {
            shared: secret()?,
            cluster: secret()?,
            api: secret()?,
            reports: (0..relays).map(|_| secret()).collect::<Result<_, _>>()?,
        })
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// One random secret in letters and digits that need no quoting in a shell, URL or TOML file.
fn secret() -> Result<String, Failure> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| {
        Failure::new(
            format!("cannot draw random bytes: {error}"),
            "the kernel's random number source must be readable by this process",
        )
    })?;
    Ok(data_encoding::BASE32_NOPAD
        .encode(&bytes)
        .to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_never_show() {
        let keys = Keys::draw(2).unwrap();
        assert_ne!(keys.reports[0], keys.reports[1]);
        assert_ne!(keys.shared, keys.api);
        assert_ne!(keys.shared, keys.cluster);
        assert!(keys.shared.bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_eq!(format!("{keys:?}"), "Keys(..)");
    }
}
