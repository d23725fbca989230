//! Who asks: the user behind the control socket, as the kernel vouches for, or a token over HTTP.

use std::io;
use std::sync::Arc;

use axum::serve::Listener;
use dnsd_core::limits::WHO_MAX;
use nix::unistd::{Uid, User};
use tokio::net::{UnixListener, UnixStream};

/// Whoever is at the other end.
#[derive(Debug, Clone)]
pub enum Caller {
    /// A user of this machine; `None` if the kernel does not say which.
    User(Option<u32>),
    /// Whoever holds the token of this name.
    Token(Arc<str>),
}

impl Caller {
    /// Whether it may do whatever this daemon may: its own user, or the one who may do anything.
    pub(super) fn is_own(&self) -> bool {
        matches!(self, Self::User(Some(uid)) if *uid == 0 || *uid == Uid::effective().as_raw())
    }

    /// Who that is, for the record.
    pub(super) fn name(&self) -> String {
        let uid = match self {
            Self::Token(name) => return format!("http token {name}"),
            Self::User(None) => return "unknown".to_owned(),
            Self::User(Some(uid)) => *uid,
        };
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        let name = user.map(|user| format!("{} (uid {uid})", user.name));
        let name = name.filter(|name| name.len() <= WHO_MAX);
        name.unwrap_or_else(|| format!("uid {uid}"))
    }
}

/// The control socket, which knows who calls.
#[derive(Debug)]
pub struct Callers(pub UnixListener);

impl Listener for Callers {
    type Io = UnixStream;
    type Addr = Caller;

    async fn accept(&mut self) -> (UnixStream, Caller) {
        let (stream, _) = Listener::accept(&mut self.0).await;
        let caller = stream.peer_cred().ok().map(|peer| peer.uid());
        (stream, Caller::User(caller))
    }

    fn local_addr(&self) -> io::Result<Caller> {
        Ok(Caller::User(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_user_and_root_may_do_what_this_daemon_may() {
        let own = Uid::effective().as_raw();
        assert!(Caller::User(Some(own)).is_own() && Caller::User(Some(0)).is_own());
        for other in [
            Caller::User(Some(own.wrapping_add(12_345))),
            Caller::User(None),
            Caller::Token("deploy".into()),
        ] {
            assert!(!other.is_own(), "{other:?}");
        }
    }
}
