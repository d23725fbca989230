//! Relays that are not heard, and their reports passed on, as bytes.
//!
//! ```text
//!  Unheard:  name | LF | name ...
//!  Hearsay:  report 192 | report 192 ...
//! ```

use liveness::{REPORT_LEN, RelayId};

use crate::control::Datagram;
use crate::limits::{HEARSAY_RELAYS, HEARSAY_REPORTS};

/// The names of relays.
pub fn names(relays: &[RelayId]) -> Vec<u8> {
    let names: Vec<_> = relays.iter().map(RelayId::as_str).collect();
    names.join("\n").into_bytes()
}

/// Reads them; `None` if one is none.
pub fn read_names(bytes: &[u8]) -> Option<Vec<RelayId>> {
    let names = std::str::from_utf8(bytes).ok()?.split('\n');
    let relays: Option<Vec<RelayId>> = names
        .take(HEARSAY_RELAYS)
        .map(|name| name.parse().ok())
        .collect();
    relays
}

/// Reports as messages, each of as many as one datagram takes.
pub fn reports<'a>(datagrams: impl Iterator<Item = &'a Datagram>) -> Vec<Vec<u8>> {
    let all: Vec<_> = datagrams.collect();
    let messages = all.chunks(HEARSAY_REPORTS);
    messages
        .map(|some| some.iter().flat_map(|report| **report).collect())
        .collect()
}

/// Reads a message of reports; `None` if it is none.
pub fn read_reports(bytes: &[u8]) -> Option<Vec<Datagram>> {
    let (reports, []) = bytes.as_chunks::<REPORT_LEN>() else {
        return None;
    };
    (reports.len() <= HEARSAY_REPORTS).then(|| reports.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::share::frame::PAYLOAD_MAX;

    #[test]
    fn names_and_reports_come_back_and_reports_fit_datagrams() {
        let relays: Vec<RelayId> = (0..HEARSAY_RELAYS)
            .map(|n| format!("relay-{n}").parse().expect("id"))
            .collect();
        assert_eq!(read_names(&names(&relays)), Some(relays.clone()));
        let more = [relays, vec!["x".parse().expect("id")]].concat();
        let read = read_names(&names(&more)).map(|read| read.len());
        assert_eq!(read, Some(HEARSAY_RELAYS));
        assert_eq!(read_names(b"fra-1\nNot A Name"), None);
        assert_eq!(read_names(&[0xff]), None);
        let all: Vec<Datagram> = (0..12).map(|n| [n; REPORT_LEN]).collect();
        let messages = reports(all.iter());
        assert_eq!(messages.len(), 3);
        assert!(messages.iter().all(|message| message.len() <= PAYLOAD_MAX));
        let back: Vec<_> = messages
            .iter()
            .filter_map(|one| read_reports(one))
            .collect();
        assert_eq!(back.concat(), all);
        assert_eq!(read_reports(&[0; REPORT_LEN + 1]), None);
        assert_eq!(read_reports(&[0; (HEARSAY_REPORTS + 1) * REPORT_LEN]), None);
    }
}
