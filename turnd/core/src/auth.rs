//! The long-term credential mechanism with time-limited credentials (RFC 8489 section 9.2).
//!
//! The nonce is judged before anything is computed from a secret: who has not shown that replies
//! reach the address it sends from costs one MAC. This swaps two checks of section 9.2.4 and
//! changes no answer to an honest client.
//!
//! USERHASH (section 14.4) is understood and names nobody: usernames of time-limited credentials
//! are not known beforehand, so there is nothing to look a hash up in. Hence the bit for username
//! anonymity is never set, and no client may send one.

use credentials::{PROBE_USER, UnixTime, candidate_passwords, check_expiry, parse_username};

use crate::address::{FiveTuple, Now};
use crate::allocation::Owner;
use crate::config::Config;
use crate::nonce::Freshness;
use crate::wire::attribute::{
    LIFETIME, NONCE, PASSWORD_ALGORITHM, PASSWORD_ALGORITHMS, REALM, USERHASH, USERNAME,
};
use crate::wire::integrity::{Algorithm, Integrity, Key};
use crate::wire::message::Message;
use crate::wire::method;

/// Who sent an authentic request.
#[derive(Debug)]
pub(crate) struct Caller<'a> {
    pub(crate) username: &'a str,
    /// Signs the reply.
    pub(crate) key: Key,
    /// When the credential's time is over, where nothing may be granted beyond it.
    pub(crate) ends: Option<UnixTime>,
}

impl Caller<'_> {
    /// Whom quotas are charged to: the user id, so that fresh credentials give no fresh quota.
    pub(crate) fn quota_name(&self) -> &str {
        user_id(self.username)
    }
}

/// What stands behind the first colon of a username, or all of it where that is nothing.
pub(crate) fn user_id(username: &str) -> &str {
    match username.split_once(':') {
        Some((_, id)) if !id.is_empty() => id,
        _ => username,
    }
}

/// Why a request is not authentic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// 400: signed, but without USERNAME, REALM or NONCE, or by other password algorithms than
    /// those offered.
    BadRequest,
    /// 401: not signed, not by anyone known, or with a credential whose time is over or that is
    /// revoked.
    Unauthorized,
    /// 438: the nonce is too old, or not ours, or another address's.
    StaleNonce,
}

/// Finds out who sent `message`. `owner` finds whoever made the allocation that it is about, and is
/// asked only once the address is proved.
pub(crate) fn authenticate<'a, 'o>(
    config: &Config,
    now: Now,
    tuple: &FiveTuple,
    message: &Message<'a>,
    owner: impl FnOnce() -> Option<&'o Owner>,
) -> Result<Caller<'a>, Challenge> {
    let (_, integrity) = message.integrity().ok_or(Challenge::Unauthorized)?;
    let name = message.attribute(USERNAME);
    name.or_else(|| message.attribute(USERHASH))
        .ok_or(Challenge::BadRequest)?;
    let nonce = message.attribute(NONCE).ok_or(Challenge::BadRequest)?;
    message.attribute(REALM).ok_or(Challenge::BadRequest)?;

    let lifetime = config.lifetimes.nonce;
    let freshness = config
        .nonce_keys
        .judge(nonce, tuple.client, now.unix, lifetime);
    match freshness {
        Freshness::Fresh => {}
        // Firefox deletes its allocation once, and does not try again with a fresh nonce.
        Freshness::Stale if is_deletion(message) => {}
        Freshness::Stale | Freshness::Foreign => return Err(Challenge::StaleNonce),
    }

    let owner = owner();
    let chosen = chosen_algorithm(message)?;
    let algorithm = chosen.unwrap_or(Algorithm::Md5);
    // Who does not know of password algorithms gets the older MAC. The others ought to send the
    // newer one; one that does not would not understand it in the reply.
    let integrity = chosen.map_or(Integrity::Sha1, |_| integrity);

    let username = name.and_then(|name| std::str::from_utf8(name).ok());
    let username = username.ok_or(Challenge::Unauthorized)?;
    let is_owner = owner.is_some_and(|owner| *owner.username == *username);
    let judges_expiry = match message.method() {
        // Whoever already has an allocation gets a replay or 437, and needs no valid credential.
        method::ALLOCATE => !is_owner,
        _ => config.strict_expiry && !is_deletion(message),
    };
    let mut ends = None;
    if !is_owner || judges_expiry {
        let parsed = parse_username(username).map_err(|_| Challenge::Unauthorized)?;
        if judges_expiry {
            check_expiry(&parsed, now.unix).map_err(|_| Challenge::Unauthorized)?;
            ends = config.strict_expiry.then(|| parsed.expiry());
        }
    }
    let key = owner
        .filter(|_| is_owner)
        .and_then(|owner| owner.key(algorithm))
        .filter(|key| key.verifies(message))
        .map(|key| key.clone().signing_with(integrity))
        .or_else(|| key_of(config, algorithm, integrity, username, message))
        .ok_or(Challenge::Unauthorized)?;
    if config.revoked.cover(user_id(username)) && !is_deletion(message) {
        return Err(Challenge::Unauthorized);
    }
    Ok(Caller {
        username,
        key,
        ends,
    })
}

/// What the client says it makes its key with; `None` from one that knows of no choice. Every
/// nonce of ours says that there is one, so whoever was shown another offer, or none, is told
/// so here (RFC 8489 sections 9.2.1 and 9.2.4).
fn chosen_algorithm(message: &Message<'_>) -> Result<Option<Algorithm>, Challenge> {
    let offer = message.attribute(PASSWORD_ALGORITHMS);
    match (offer, message.attribute(PASSWORD_ALGORITHM)) {
        (None, None) => Ok(None),
        (Some(offer), Some(choice)) if offer == Algorithm::OFFER => {
            let choice = Algorithm::read(choice).ok_or(Challenge::BadRequest)?;
            Ok(Some(choice))
        }
        _ => Err(Challenge::BadRequest),
    }
}

/// The key of whichever accepted secret the message was signed under. All are computed with this
/// server's realm: a client that used another has another key.
fn key_of(
    config: &Config,
    algorithm: Algorithm,
    integrity: Integrity,
    username: &str,
    message: &Message<'_>,
) -> Option<Key> {
    let realm = config.realm.as_str();
    candidate_passwords(&config.secrets, username)
        .map(|password| Key::long_term(algorithm, integrity, username, realm, &password))
        .find(|key| key.verifies(message))
}

/// Whether a Binding request shows, by the short-term mechanism (RFC 8489 section 9.1), that it
/// comes from a nameserver of the fleet: nobody else is issued a credential for that user.
pub(crate) fn is_probe(config: &Config, now: Now, message: &Message<'_>) -> bool {
    let name = message.attribute(USERNAME).map(std::str::from_utf8);
    let Some(Ok(username)) = name.filter(|_| message.integrity().is_some()) else {
        return false;
    };
    // First what costs strangers' requests next to nothing.
    user_id(username) == PROBE_USER
        && parse_username(username).is_ok_and(|parsed| check_expiry(&parsed, now.unix).is_ok())
        && candidate_passwords(&config.secrets, username).any(|password| {
            Key::short_term(password.as_bytes()).is_some_and(|k| k.verifies(message))
        })
}

fn is_deletion(message: &Message<'_>) -> bool {
    message.method() == method::REFRESH && message.fixed(LIFETIME) == Ok(Some([0; 4]))
}
