//! Operator-facing TOML files: spans, every error at once, rendering with file, line and column.
//!
//! A daemon reads its file with [`load`] and a closure that walks the [`Table`]s. Every problem is
//! recorded and reading goes on, so one run tells the operator everything that is wrong. A key
//! nobody asked for is a problem too, with the nearest known name as a suggestion. Therefore a
//! closure reads *all* keys of a table first and only then uses `?` on what it read:
//!
//! ```
//! use std::net::SocketAddr;
//! use std::time::Duration;
//!
//! struct Settings {
//!     listen: SocketAddr,
//!     grace: Duration,
//! }
//!
//! let file = settings::File::new("turnd.toml", "[relay]\nlisten = \"127.0.0.1:3478\"\n");
//! let read = settings::load(&file, |root| {
//!     let mut relay = root.required_table("relay")?;
//!     let listen = relay.required::<SocketAddr>("listen");
//!     let grace = relay.with_default("drain_grace", Duration::from_secs(3600));
//!     Some(Settings { listen: listen?.value, grace: grace.value })
//! })
//! .expect("the file is right");
//! assert_eq!(read.listen.port(), 3478);
//! assert_eq!(read.grace.as_secs(), 3600);
//! ```
#![forbid(unsafe_code)]

mod errors;
mod file;
mod identity;
mod named_file;
mod read;
mod secret;
mod table;
mod units;
mod value;

pub use errors::{Errors, Problem};
pub use file::File;
pub use identity::Identity;
pub use named_file::NamedFile;
pub use read::load;
pub use secret::SecretText;
pub use table::Table;
pub use toml_span::Span;
pub use units::{BitRate, PortRange};
pub use value::{Scalar, Spanned, Value, Wrong};

/// Hard caps on what one file may hold.
pub mod limits {
    /// Largest settings file read, in bytes.
    pub const FILE_BYTES: u64 = 1 << 20;
    /// Largest secret file read, in bytes.
    pub const SECRET_FILE_BYTES: u64 = 64 << 10;
    /// Largest certificate file read, in bytes.
    pub const CERTIFICATE_FILE_BYTES: u64 = 256 << 10;
    /// Most certificates of one chain.
    pub const CERTIFICATES: usize = 10;
    /// Most entries of one list or one array of tables.
    pub const LIST_ENTRIES: usize = 4096;
    /// Most problems kept of one file; the rest are only counted.
    pub const PROBLEMS: usize = 100;
}
