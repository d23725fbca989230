//! `[liveness]`: where the relay reports to, and with which key.

use std::net::SocketAddr;
use std::path::PathBuf;

use liveness::{KEY_MIN, Key, KeyId};
use settings::Table;

use super::limits;

/// The `[liveness]` table.
#[derive(Debug, Clone)]
pub struct Liveness {
    /// Says to the nameservers which key signed.
    pub key_id: KeyId,
    /// Signs reports, verifies acknowledgements.
    pub key: Key,
    /// The nameserver nodes that are reported to; never empty, all distinct.
    pub dnsd: Vec<SocketAddr>,
    /// Keeps the last boot id, so that it rises even when the clock falls back.
    pub state_file: Option<PathBuf>,
}

impl Liveness {
    pub(super) fn build(table: &mut Table<'_>) -> Option<Self> {
        let key_id = table.required::<u32>("key_id");
        let key = table.required_secret("key", KEY_MIN);
        let dnsd = table.required_list::<SocketAddr>("dnsd");
        let state_file = table.optional::<String>("state_file");
        let dnsd = dnsd.and_then(|list| destinations(table, &list));
        let key = Key::new(key?.value.expose().as_bytes().to_vec()).ok()?;
        Some(Self {
            key_id: KeyId(key_id?.value),
            key,
            dnsd: dnsd?,
            state_file: state_file.map(|path| path.value.into()),
        })
    }
}

fn destinations(
    table: &Table<'_>,
    list: &[settings::Spanned<SocketAddr>],
) -> Option<Vec<SocketAddr>> {
    let mut good = true;
    let mut wrong = |span, what: String, help: &str| {
        table.error(span, what, help);
        good = false;
    };
    if list.len() > limits::DNSD {
        let what = format!("`liveness.dnsd` has {} addresses", list.len());
        wrong(
            table.key_span("dnsd"),
            what,
            "at most 32 nameserver nodes are reported to",
        );
    }
    for (index, to) in list.iter().enumerate() {
        let address = to.value;
        if address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast() {
            wrong(
                to.span,
                format!("`liveness.dnsd[{index}]` cannot be sent to: {address}"),
                "name the address and port of `node.reports` in the nameserver's configuration",
            );
        }
        if list[..index].iter().any(|other| other.value == address) {
            let what = format!("`liveness.dnsd[{index}]` is in the list twice");
            wrong(to.span, what, "list each nameserver node once");
        }
    }
    good.then(|| list.iter().map(|to| to.value).collect())
}
