//! How clients log in.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::stun::rest_password_bytes;

/// Credentials for the clients of a run.
#[derive(Clone)]
pub enum Login {
    /// Time-limited credentials under the server's shared secret: a user of its own for each client.
    Secret {
        /// The shared secret.
        secret: String,
        /// When the credentials expire, in seconds since 1970.
        expires: u64,
    },
    /// One configured user for all clients.
    Password {
        /// The user name.
        username: String,
        /// The user's password.
        password: String,
    },
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Secret { expires, .. } => write!(f, "Secret(expires {expires})"),
            Self::Password { username, .. } => write!(f, "Password(of {username})"),
        }
    }
}

impl Login {
    /// User name and password of the client at `index`.
    pub(super) fn of(&self, index: usize) -> (String, String) {
        match self {
            Self::Secret { secret, expires } => {
                let username = format!("{expires}:load-{index}");
                let password = STANDARD.encode(rest_password_bytes(secret.as_bytes(), &username));
                (username, password)
            }
            Self::Password { username, password } => (username.clone(), password.clone()),
        }
    }
}
