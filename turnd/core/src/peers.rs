//! The permissions and channels of one allocation (RFC 8656 sections 9 and 12): pure rules.
//!
//! Both lists are short, capped and sorted: a packet finds its entry by binary search in memory
//! that lies together. The first entry of each, which is the only one of most clients, lies in the
//! allocation itself. What has expired is as good as absent even before it is purged.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use smallvec::SmallVec;

use crate::address::Family;
use crate::peer_filter::Scope;

/// Lets one peer address exchange data with the client.
#[derive(Clone, Copy, Debug)]
struct Permission {
    address: IpAddr,
    expires: Instant,
    scope: Scope,
}

/// Stands for one peer transport address.
#[derive(Clone, Copy, Debug)]
struct Channel {
    number: u16,
    peer: SocketAddr,
    expires: Instant,
    /// The expiry of the permission for the peer's address, so that a packet looks up one entry.
    permitted_until: Instant,
}

impl Channel {
    fn is_live(&self, now: Instant) -> bool {
        now < self.expires
    }

    fn carries(&self, now: Instant) -> bool {
        self.is_live(now) && now < self.permitted_until
    }
}

/// What changed, for whoever keeps a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Permitted(IpAddr),
    Forbidden(IpAddr),
    Bound(u16, SocketAddr),
    Unbound(u16, SocketAddr),
}

/// A channel number and a peer that are not bound to each other, but to others
/// (RFC 8656 section 12.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conflict;

/// So many channels are looked through for a peer one by one.
const FEW: usize = 8;

/// Permissions and channels.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Peers {
    /// Sorted by number.
    channels: SmallVec<[Channel; 1]>,
    /// Sorted by address.
    permissions: SmallVec<[Permission; 1]>,
    /// Indices into `channels`, sorted by peer; empty while these are [`FEW`].
    by_peer: Vec<u16>,
}

impl Peers {
    /// The peer that `number` stands for, if data may flow.
    pub(crate) fn peer_of(&self, number: u16, now: Instant) -> Result<SocketAddr, NoPeer> {
        let found = self.channels.binary_search_by_key(&number, |c| c.number);
        let channel = found.map_err(|_| NoPeer::NoChannel)?;
        let channel = self.channels.get(channel).ok_or(NoPeer::NoChannel)?;
        if channel.carries(now) {
            Ok(channel.peer)
        } else if channel.is_live(now) {
            Err(NoPeer::NoPermission)
        } else {
            Err(NoPeer::NoChannel)
        }
    }

    /// The channel that stands for `peer`, if data may flow.
    pub(crate) fn channel_to(&self, peer: SocketAddr, now: Instant) -> Option<u16> {
        let channel = self.channel_of(peer)?;
        channel.carries(now).then_some(channel.number)
    }

    fn channel_of(&self, peer: SocketAddr) -> Option<&Channel> {
        if self.channels.len() <= FEW {
            return self.channels.iter().find(|c| c.peer == peer);
        }
        let found = self
            .by_peer
            .binary_search_by_key(&peer, |i| self.channels[usize::from(*i)].peer);
        Some(&self.channels[usize::from(self.by_peer[found.ok()?])])
    }

    /// What the permission for `address` covers, if there is a live one.
    pub(crate) fn permission(&self, address: IpAddr, now: Instant) -> Option<Scope> {
        let found = self
            .permissions
            .binary_search_by_key(&address, |p| p.address);
        let permission = &self.permissions[found.ok()?];
        (now < permission.expires).then_some(permission.scope)
    }

    /// Permissions and channels held now, expired ones included until they are purged.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.permissions.len(), self.channels.len())
    }

    /// Installs or refreshes the permission for `address`.
    pub(crate) fn permit(
        &mut self,
        address: IpAddr,
        scope: Scope,
        expires: Instant,
    ) -> Option<Change> {
        for channel in &mut self.channels {
            if channel.peer.ip() == address {
                channel.permitted_until = expires;
            }
        }
        let permission = Permission {
            address,
            expires,
            scope,
        };
        match self
            .permissions
            .binary_search_by_key(&address, |p| p.address)
        {
            Ok(at) => {
                self.permissions[at] = permission;
                None
            }
            Err(at) => {
                self.permissions.insert(at, permission);
                Some(Change::Permitted(address))
            }
        }
    }

    /// Whether `number` may be bound to `peer`: `Ok(true)` if it already is.
    pub(crate) fn binds(&self, number: u16, peer: SocketAddr) -> Result<bool, Conflict> {
        let of_number = self
            .channels
            .binary_search_by_key(&number, |c| c.number)
            .map(|at| self.channels[at].peer);
        match (of_number, self.channel_of(peer)) {
            (Ok(bound), Some(_)) if bound == peer => Ok(true),
            (Err(_), None) => Ok(false),
            _ => Err(Conflict),
        }
    }

    /// Binds `number` to `peer`, or refreshes that binding. The permission must be there, and
    /// [`Self::binds`] must have allowed it.
    pub(crate) fn bind(
        &mut self,
        number: u16,
        peer: SocketAddr,
        expires: Instant,
        permitted_until: Instant,
    ) -> Option<Change> {
        let channel = Channel {
            number,
            peer,
            expires,
            permitted_until,
        };
        match self.channels.binary_search_by_key(&number, |c| c.number) {
            Ok(at) => {
                debug_assert_eq!(self.channels[at].peer, peer);
                self.channels[at] = channel;
                None
            }
            Err(at) => {
                self.channels.insert(at, channel);
                self.index();
                Some(Change::Bound(number, peer))
            }
        }
    }

    fn index(&mut self) {
        self.by_peer.clear();
        if self.channels.len() <= FEW {
            return;
        }
        self.by_peer.extend(0..self.channels.len() as u16);
        let channels = &self.channels;
        self.by_peer
            .sort_unstable_by_key(|i| channels[usize::from(*i)].peer);
    }

    /// Removes what has expired.
    pub(crate) fn purge(&mut self, now: Instant, mut changed: impl FnMut(Change)) {
        let before = self.channels.len();
        self.channels.retain(|channel| {
            let keep = channel.is_live(now);
            if !keep {
                changed(Change::Unbound(channel.number, channel.peer));
            }
            keep
        });
        if self.channels.len() != before {
            self.index();
        }
        self.permissions.retain(|permission| {
            let keep = now < permission.expires;
            if !keep {
                changed(Change::Forbidden(permission.address));
            }
            keep
        });
    }

    /// Removes everything of one family.
    pub(crate) fn drop_family(&mut self, family: Family, changed: impl FnMut(Change)) {
        let stays = |address| Family::of(address) != family;
        self.retain(
            |permission| stays(permission.address),
            |peer| stays(peer.ip()),
            changed,
        );
    }

    /// Judges everything again: `scope_of` says what a permission may cover now, if anything, and
    /// `passes` whether a channel's peer is still allowed.
    pub(crate) fn judge_again(
        &mut self,
        scope_of: impl Fn(IpAddr) -> Option<Scope>,
        passes: impl Fn(SocketAddr) -> bool,
        changed: impl FnMut(Change),
    ) {
        let permitted = |permission: &mut Permission| {
            let scope = scope_of(permission.address);
            permission.scope = scope.unwrap_or(permission.scope);
            scope.is_some()
        };
        self.retain(permitted, passes, changed);
    }

    fn retain(
        &mut self,
        mut permitted: impl FnMut(&mut Permission) -> bool,
        passes: impl Fn(SocketAddr) -> bool,
        mut changed: impl FnMut(Change),
    ) {
        self.permissions.retain_mut(|permission| {
            let keep = permitted(permission);
            if !keep {
                changed(Change::Forbidden(permission.address));
            }
            keep
        });
        let before = self.channels.len();
        self.channels.retain(|channel| {
            let keep = passes(channel.peer);
            if !keep {
                changed(Change::Unbound(channel.number, channel.peer));
            }
            keep
        });
        if self.channels.len() != before {
            self.index();
        }
    }

    /// When the next of them expires.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let permissions = self.permissions.iter().map(|p| p.expires);
        let channels = self.channels.iter().map(|c| c.expires);
        permissions.chain(channels).min()
    }

    /// Panics if the lists contradict each other.
    pub(crate) fn check_invariants(&self) {
        assert!(self.permissions.is_sorted_by(|a, b| a.address < b.address));
        assert!(self.channels.is_sorted_by(|a, b| a.number < b.number));
        let indexed = match self.channels.len() {
            0..=FEW => 0,
            many => many,
        };
        assert_eq!(self.by_peer.len(), indexed);
        let peer = |i: &u16| self.channels[usize::from(*i)].peer;
        assert!(self.by_peer.is_sorted_by(|a, b| peer(a) < peer(b)));
        for channel in &self.channels {
            assert!((0x4000..=0x7fff).contains(&channel.number));
            let permission = self
                .permissions
                .iter()
                .find(|p| p.address == channel.peer.ip());
            if let Some(permission) = permission {
                assert_eq!(permission.expires, channel.permitted_until);
            }
        }
    }
}

/// Why ChannelData goes nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPeer {
    NoChannel,
    NoPermission,
}
