//! DNSSEC: every RRset that can be answered is signed when answers are compiled.
//!
//! ```text
//!  keys ─► pen (what is signed, and what was signed before)
//!            ├─► fixed   (what everybody gets alike: made anew with the configuration, or by the hour)
//!            └─► steered (every set of relays that a name can be answered with)
//!                  └─► signatures (look-up by name, type and relays) ─► answer
//!            └─► static_zone (a zone that is the same for everybody, for secondaries)
//! ```
//!
//! Algorithm 13, ECDSA over P-256 (RFC 6605). Denial is a chain of NSEC records: the names of a zone
//! are few and no secret. The key itself is the shell's; here it is a [`Signer`].

mod chain;
mod fixed;
mod keys;
mod pen;
mod signatures;
mod static_zone;
mod steered;
mod window;

pub use keys::{Key, KeyProblem, Keys, Signer, Timing, ZoneKeys};
pub use pen::Cache;
pub use signatures::Signatures;
pub(crate) use signatures::{Proof, SignedZone, record as rrsig_record};
pub(crate) use static_zone::Signing;
pub use window::{due, least_left};

/// Seconds that DNSKEY, CDS and CDNSKEY records may be cached.
pub const KEY_TTL: u32 = 3600;
