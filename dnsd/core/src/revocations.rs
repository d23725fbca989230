//! Whose credentials no longer count: users and whole tenants that people revoked, the same list at
//! every nameserver, for the relays to ask for.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use credentials::{PROBE_USER, UnixTime};
use liveness::{NodeId, RevocationTag};
use serde::{Deserialize, Serialize};

use crate::limits::{REVOCATIONS_MAX, SUBJECT_MAX, WHO_MAX, WHY_MAX};
use crate::newest::{Dated, Newest};

pub use crate::newest::Merged;

/// The longest time that one holds: as long as any relay's configuration lets a session of a
/// credential last.
pub const LONGEST: Duration = Duration::from_hours(8760 + 744);

/// Who is revoked. As text `user:shop/ann`, `tenant:shop`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Subject {
    /// A user id, as it stands behind the first colon of a username.
    User(String),
    /// All user ids that begin with this and a slash.
    Tenant(String),
}

/// Not somebody to revoke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongSubject {
    /// Neither kind, or empty, or longer than any username.
    #[error("write user:ID or tenant:ID, as in user:shop/ann")]
    Form,
    /// The nameservers' own.
    #[error("that is who the nameservers probe as: without it no relay would be found up")]
    Probe,
}

impl FromStr for Subject {
    type Err = WrongSubject;

    fn from_str(text: &str) -> Result<Self, WrongSubject> {
        let (kind, id) = text.split_once(':').ok_or(WrongSubject::Form)?;
        if id.is_empty() || id.len() > SUBJECT_MAX || id.chars().any(char::is_control) {
            return Err(WrongSubject::Form);
        }
        match kind {
            "user" if id == PROBE_USER => Err(WrongSubject::Probe),
            "user" => Ok(Self::User(id.to_owned())),
            "tenant" if !id.contains('/') => Ok(Self::Tenant(id.to_owned())),
            _ => Err(WrongSubject::Form),
        }
    }
}

impl TryFrom<String> for Subject {
    type Error = WrongSubject;

    fn try_from(text: String) -> Result<Self, WrongSubject> {
        text.parse()
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.to_string()
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user:{id}"),
            Self::Tenant(id) => write!(f, "tenant:{id}"),
        }
    }
}

/// Names people.
impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User(_) => "User(..)",
            Self::Tenant(_) => "Tenant(..)",
        })
    }
}

impl Subject {
    /// What relays know it by.
    pub fn tag(&self) -> RevocationTag {
        match self {
            Self::User(id) => RevocationTag::user(id),
            Self::Tenant(id) => RevocationTag::tenant(id),
        }
    }
}

/// One revocation, or its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Who.
    pub subject: Subject,
    /// False lifts the one before.
    pub revoked: bool,
    /// When it runs out, in seconds since 1970.
    pub until: u64,
    /// Why: at most [`WHY_MAX`] bytes.
    pub why: String,
    /// Whose decision it is: 1 to [`WHO_MAX`] bytes.
    pub who: String,
    /// When it was made, in milliseconds since 1970 by the clock of `node`, but later than the one
    /// before.
    pub at_ms: u64,
    /// The nameserver it was made at.
    pub node: String,
}

impl Entry {
    /// Whether it is in force.
    pub fn holds(&self, unix: UnixTime) -> bool {
        self.revoked && unix.0 < self.until
    }
}

impl Dated for Entry {
    type Key = Subject;

    fn key(&self) -> &Subject {
        &self.subject
    }

    fn version(&self) -> impl Ord {
        let content = (
            self.revoked,
            self.until,
            &self.why,
            &self.who,
            &self.subject,
        );
        (self.at_ms, &self.node, content)
    }

    fn at_ms(&self) -> u64 {
        self.at_ms
    }

    fn ended(&self) -> Option<u64> {
        Some(if self.revoked {
            self.until
        } else {
            self.at_ms / 1000
        })
    }

    fn is_well_formed(&self) -> bool {
        let longest = self.at_ms / 1000 + LONGEST.as_secs();
        self.until <= longest
            && self.why.len() <= WHY_MAX
            && (1..=WHO_MAX).contains(&self.who.len())
            && self.node.parse::<NodeId>().is_ok()
    }
}

/// The list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocations {
    entries: Newest<Entry>,
    /// The time, as last told.
    unix: UnixTime,
    /// Of those in force, in order.
    tags: Vec<RevocationTag>,
    generation: u64,
}

impl Default for Revocations {
    fn default() -> Self {
        Self {
            entries: Newest::new(REVOCATIONS_MAX),
            unix: UnixTime::default(),
            tags: Vec::new(),
            generation: 0,
        }
    }
}

impl Revocations {
    /// As it was kept by [`entries`](Self::entries).
    pub fn restored(unix: UnixTime, entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut revocations = Self::default();
        for entry in entries {
            revocations.entries.merge(unix, entry);
        }
        revocations.tell_time(unix);
        revocations
    }

    /// Takes an entry of a person here.
    pub fn merge(&mut self, unix: UnixTime, entry: Entry) -> Merged {
        let merged = self.entries.merge(unix, entry);
        if merged == Merged::News {
            self.tell_time(unix);
        }
        merged
    }

    /// Takes entries from another nameserver; those that are news. Who is revoked is put together
    /// once for all of them.
    pub fn merge_all(&mut self, unix: UnixTime, mut entries: Vec<Entry>) -> Vec<Entry> {
        entries.retain(|entry| self.entries.merge(unix, entry.clone()) == Merged::News);
        if !entries.is_empty() {
            self.tell_time(unix);
        }
        entries
    }

    /// Lets time pass; true if others are in force than before.
    pub fn tell_time(&mut self, unix: UnixTime) -> bool {
        self.unix = unix;
        self.entries.tell_time(unix);
        let tags: BTreeSet<_> = self.holds().map(|entry| entry.subject.tag()).collect();
        let tags = tags.into_iter().collect();
        let before = std::mem::replace(&mut self.tags, tags);
        self.generation = liveness::generation(&self.tags);
        before != self.tags
    }

    /// What it has alike with every list that revokes the same; 0 for nobody.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What relays know those by that are revoked, in order.
    pub fn tags(&self) -> &[RevocationTag] {
        &self.tags
    }

    /// The newest entry about somebody, whether it holds or not.
    pub fn get(&self, subject: &Subject) -> Option<&Entry> {
        self.entries.get(subject)
    }

    /// Whether an entry about one more would push out one that holds.
    pub fn is_full(&self) -> bool {
        let oldest = self.entries.in_the_way();
        oldest.is_some_and(|oldest| oldest.holds(self.unix))
    }

    /// Every entry, those that were lifted or have run out included.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Those that hold.
    pub fn holds(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.holds(self.unix))
    }
}
