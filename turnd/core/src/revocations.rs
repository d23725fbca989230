//! Whose credentials no longer count, however long they had to live: user ids and whole tenants.

use std::fmt;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashSet;
use liveness::RevocationTag;

use crate::limits::REVOCATIONS;

/// Names, hashed without a seed: the operator writes them, and only authentic ones are looked up.
type Names = HashSet<Box<str>, FixedState>;

/// Revoked user ids and tenants, at most [`REVOCATIONS`], and those that nameservers told. Cloning
/// shares them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Revocations {
    own: Arc<Lists>,
    told: Arc<HashSet<RevocationTag, FixedState>>,
}

#[derive(Default, PartialEq, Eq)]
struct Lists {
    users: Names,
    tenants: Names,
}

/// More than [`REVOCATIONS`] users and tenants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {REVOCATIONS} users and tenants are revoked")]
pub struct TooManyRevoked;

impl Revocations {
    /// Revokes `users`, each a user id as it stands behind the first colon of a username (or a
    /// whole username without one), and all users of `tenants`. A tenant is what stands before
    /// the first slash of a user id; an id without one has none.
    pub fn new<U, T>(
        users: impl IntoIterator<Item = U>,
        tenants: impl IntoIterator<Item = T>,
    ) -> Result<Self, TooManyRevoked>
    where
        U: Into<Box<str>>,
        T: Into<Box<str>>,
    {
        let mut lists = Lists::default();
        for user in users {
            lists.users.insert(user.into());
            lists.check()?;
        }
        for tenant in tenants {
            lists.tenants.insert(tenant.into());
            lists.check()?;
        }
        Ok(Self {
            own: Arc::new(lists),
            told: Arc::default(),
        })
    }

    /// The same, and in place of those that nameservers told before, these.
    #[must_use]
    pub fn told<'a>(&self, tags: impl IntoIterator<Item = &'a RevocationTag>) -> Self {
        Self {
            own: Arc::clone(&self.own),
            told: Arc::new(tags.into_iter().copied().collect()),
        }
    }

    /// Whether a credential of this user id is revoked.
    pub(crate) fn cover(&self, user_id: &str) -> bool {
        let tenant = user_id.split_once('/').map(|(tenant, _)| tenant);
        let own = &self.own;
        if own.users.contains(user_id) || tenant.is_some_and(|t| own.tenants.contains(t)) {
            return true;
        }
        let told = |tag| self.told.contains(&tag);
        !self.told.is_empty()
            && (told(RevocationTag::user(user_id))
                || tenant.is_some_and(|t| told(RevocationTag::tenant(t))))
    }
}

impl Lists {
    fn check(&self) -> Result<(), TooManyRevoked> {
        if self.users.len() + self.tenants.len() > REVOCATIONS {
            return Err(TooManyRevoked);
        }
        Ok(())
    }
}

/// Names people, so only how many there are is shown.
impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations")
            .field("users", &self.own.users.len())
            .field("tenants", &self.own.tenants.len())
            .field("told", &self.told.len())
            .finish()
    }
}
