//! Sharing with the other nameservers: what each sees, sealed from everybody else.
//!
//! Ballots go straight to all: they are worth nothing late, and each replaces the one before, so
//! nobody has to agree on who has which. Decisions of people have to arrive some time, even at a
//! node that was away, and after their author is gone: each goes to all at once, and then all
//! compare what they know once a second and send each other what they have where that differs.

pub mod ballot;
pub mod entries;
pub mod frame;
pub mod refusals;
pub mod seal;
pub mod sessions;
pub mod wire;
