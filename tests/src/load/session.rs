//! One client of the server: its way there, and its dance.

use std::net::SocketAddr;

use super::{LoadError, dance::Dance, link::Link, plan::Plan};

/// A client with, or about to have, an allocation and a peer.
#[derive(Debug)]
pub struct Session {
    /// Its way to the server.
    pub link: Link,
    /// What it asks for.
    pub dance: Dance,
}

impl Session {
    /// The client at `index` of a plan, connected, with its peer at `peer`.
    ///
    /// # Errors
    /// When it cannot connect.
    pub fn new(plan: &Plan, index: usize, peer: SocketAddr) -> Result<Self, LoadError> {
        let link = Link::open(plan, index)?;
        let dance = Dance::new(plan, index, peer);
        Ok(Self { link, dance })
    }

    /// Connects from another port.
    ///
    /// # Errors
    /// When it cannot.
    pub fn reopen(&mut self, plan: &Plan, index: usize) -> Result<(), LoadError> {
        self.link = Link::open(plan, index)?;
        Ok(())
    }
}
