//! The sockets of this daemon, by what they are for: got from another daemon or made, and kept for
//! the next.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Sockets by what they are for, as in `node.listen 203.0.113.1:53 (TCP)`. Several may be for the
/// same.
#[derive(Debug, Default)]
pub struct Sockets {
    /// There to be used.
    offered: Vec<(String, OwnedFd)>,
    /// Others of the same, for the next daemon.
    kept: Vec<(String, OwnedFd)>,
}

impl Sockets {
    /// Those that another daemon uses.
    pub(super) fn of(offered: Vec<(String, OwnedFd)>) -> Self {
        let kept = Vec::new();
        Self { offered, kept }
    }

    /// A socket for `purpose`: one that is there, or else a new one.
    ///
    /// # Errors
    /// What the system says against a new one.
    pub fn take<S: From<OwnedFd> + AsFd>(
        &mut self,
        purpose: String,
        bind: impl FnOnce() -> io::Result<S>,
    ) -> io::Result<S> {
        let mut names = self.offered.iter().map(|(name, _)| name);
        let socket = match names.position(|name| *name == purpose) {
            Some(index) => S::from(self.offered.remove(index).1),
            None => bind()?,
        };
        let same = socket.as_fd().try_clone_to_owned()?;
        self.kept.push((purpose, same));
        Ok(socket)
    }

    /// How many are there for `purpose` and have not been taken.
    #[must_use]
    pub fn waiting(&self, purpose: &str) -> usize {
        let names = self.offered.iter();
        names.filter(|(name, _)| name == purpose).count()
    }

    /// Closes what was there and nobody wanted.
    pub fn settle(&mut self) {
        self.offered.clear();
    }

    /// The same sockets, to be used again.
    ///
    /// # Errors
    /// If there are no descriptors left.
    pub fn again(&self) -> io::Result<Self> {
        let same = |(name, socket): &(String, OwnedFd)| Ok((name.clone(), socket.try_clone()?));
        let all = self.kept.iter().map(same);
        Ok(Self::of(all.collect::<io::Result<_>>()?))
    }

    /// What each that is in use is for.
    pub(super) fn purposes(&self) -> Vec<String> {
        self.kept.iter().map(|(name, _)| name.clone()).collect()
    }

    /// All that are in use, in the order of [`Sockets::purposes`].
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.kept.iter().map(|(_, socket)| socket.as_fd()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    fn bound(sockets: &mut Sockets, purpose: &str) -> UdpSocket {
        let bind = || UdpSocket::bind("127.0.0.1:0");
        sockets.take(purpose.to_owned(), bind).expect("a socket")
    }

    #[test]
    fn what_is_there_is_used_once_for_its_purpose_and_the_rest_is_made() {
        let mut first = Sockets::default();
        let port = |socket: &UdpSocket| socket.local_addr().expect("an address").port();
        let made: Vec<_> = ["a", "a", "b", "c"]
            .map(|purpose| port(&bound(&mut first, purpose)))
            .into();
        assert_eq!(first.purposes(), ["a", "a", "b", "c"]);
        let mut second = first.again().expect("descriptors");
        drop(first);
        let waiting = ["a", "b", "d"].map(|purpose| second.waiting(purpose));
        assert_eq!(waiting, [2, 1, 0]);
        let got = ["b", "a", "d", "a", "a"].map(|purpose| port(&bound(&mut second, purpose)));
        assert_eq!([got[0], got[1], got[3]], [made[2], made[0], made[1]]);
        assert!(!made.contains(&got[2]) && !made.contains(&got[4]));
        second.settle();
        assert_eq!(second.purposes(), ["b", "a", "d", "a", "a"]);
        assert!(
            UdpSocket::bind(("127.0.0.1", made[3])).is_ok(),
            "closed, for nobody wanted it"
        );
        assert!(
            UdpSocket::bind(("127.0.0.1", made[2])).is_err(),
            "still open"
        );
    }
}
