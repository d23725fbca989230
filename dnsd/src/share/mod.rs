//! Sharing with the other nameservers: what each sees, sealed from everybody else.
//!
//! Ballots go straight to all: they are worth nothing late, and each replaces the one before, so
//! nobody has to agree on who has which.

pub mod ballot;
pub mod frame;
pub mod refusals;
pub mod seal;
pub mod sessions;
pub mod wire;
