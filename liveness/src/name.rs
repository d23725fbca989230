//! The names of relays and nameserver nodes: short DNS labels that fit the wire as they are.

use std::fmt;
use std::str::FromStr;

/// Longest identifier, in bytes.
pub const ID_MAX: usize = 32;

/// Why a text is no identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Empty, or longer than [`ID_MAX`] bytes.
    #[error("must have 1 to 32 characters")]
    Length,
    /// A character other than `a`-`z`, `0`-`9` and `-`.
    #[error("may only contain a-z, 0-9 and '-'")]
    Character,
    /// The first or the last character is `-`.
    #[error("must not begin or end with '-'")]
    Hyphen,
}

fn check(text: &[u8]) -> Result<(), IdError> {
    if text.is_empty() || text.len() > ID_MAX {
        return Err(IdError::Length);
    }
    if !text
        .iter()
        .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    {
        return Err(IdError::Character);
    }
    if text.starts_with(b"-") || text.ends_with(b"-") {
        return Err(IdError::Hyphen);
    }
    Ok(())
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// 1 to [`ID_MAX`] characters of `a`-`z`, `0`-`9`, `-`, not beginning or ending with `-`,
        /// so that it is also a DNS label (RFC 1123 section 2.1). Ordered as its text.
        // Padded with zeros, which no identifier contains: the derived order is that of the text.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; ID_MAX]);

        impl $name {
            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                let len = self.0.iter().position(|b| *b == 0).unwrap_or(ID_MAX);
                // Every constructor checks for ASCII, so this never falls back.
                std::str::from_utf8(&self.0[..len]).unwrap_or_default()
            }

            pub(crate) const fn to_wire(self) -> [u8; ID_MAX] {
                self.0
            }

            pub(crate) fn from_wire(padded: [u8; ID_MAX]) -> Result<Self, IdError> {
                let len = padded.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
                check(&padded[..len])?;
                Ok(Self(padded))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                check(text.as_bytes())?;
                let mut padded = [0; ID_MAX];
                padded[..text.len()].copy_from_slice(text.as_bytes());
                Ok(Self(padded))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.as_str())
            }
        }
    };
}

identifier! {
    /// Names a relay, fleet-wide and for its whole life.
    RelayId
}

identifier! {
    /// Names a nameserver node (one dnsd).
    NodeId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dns_labels_are_identifiers() {
        for good in ["a", "fra-1", "0", &"x".repeat(32)] {
            assert_eq!(good.parse::<RelayId>().unwrap().as_str(), good);
        }
        let long = "x".repeat(33);
        for (bad, why) in [
            ("", IdError::Length),
            (long.as_str(), IdError::Length),
            ("Fra", IdError::Character),
            ("a.b", IdError::Character),
            ("a\0b", IdError::Character),
            ("ä", IdError::Character),
            ("-a", IdError::Hyphen),
            ("a-", IdError::Hyphen),
        ] {
            assert_eq!(bad.parse::<RelayId>(), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn the_order_is_that_of_the_text() {
        let mut texts = ["b", "a-1", "a", "a0", "ab", "a-10", "a-2"];
        let mut ids = texts.map(|text| text.parse::<NodeId>().unwrap());
        texts.sort_unstable();
        ids.sort_unstable();
        assert_eq!(ids.map(|id| id.to_string()), texts);
    }

    #[test]
    fn wire_bytes_with_a_hole_are_refused() {
        let mut padded = [0; ID_MAX];
        padded[0] = b'a';
        padded[2] = b'b';
        assert_eq!(RelayId::from_wire(padded), Err(IdError::Character));
        assert_eq!(RelayId::from_wire([0; ID_MAX]), Err(IdError::Length));
    }
}
