//! Sharing with the other nameservers: what each sees, sealed from everybody else.
//!
//! Ballots go straight to all: they are worth nothing late, and each replaces the one before, so
//! nobody has to agree on who has which. Decisions of people have to arrive some time, even at a
//! node that was away, and after their author is gone: each goes to all at once, and then all
//! compare what they know once a second and send each other what they have where that differs. So it
//! is with revocations. What relays report goes on, as it came, to whoever says that it does not hear
//! them.

pub mod ballot;
pub mod entries;
pub mod frame;
pub mod hearsay;
pub mod refusals;
pub mod seal;
pub mod sessions;
pub mod wire;
