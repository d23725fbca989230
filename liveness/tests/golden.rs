//! The wire bytes are frozen: every build writes and reads exactly these, and OpenSSL agrees on the MAC.

#![allow(clippy::unwrap_used)]

mod common;

use common::{ack, bare, bytes_of, failing, key, ring};
use liveness::{
    ACK_LEN, ASK_LEN, Ack, KeyId, REPORT_LEN, Report, RevocationTag, RevocationsAsk,
    RevocationsPage, generation,
};

const REPORT_FAILING: &str = include_str!("golden/report-failing.hex");
const REPORT_BARE: &str = include_str!("golden/report-bare.hex");
const ACK: &str = include_str!("golden/ack.hex");
const ASK: &str = include_str!("golden/ask.hex");
/// Made by another program: SHA-256, HMAC and ChaCha20-Poly1305 of a library, `HChaCha20` by hand.
const PAGE: &str = include_str!("golden/page.hex");
/// The key of the golden files as OpenSSL takes it.
const HEX_KEY: &str = "404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f";

#[test]
fn reports_have_their_frozen_bytes() {
    for (golden, id, report) in [(REPORT_FAILING, 7, failing()), (REPORT_BARE, 1, bare())] {
        let bytes = bytes_of(golden);
        assert_eq!(bytes.len(), REPORT_LEN);
        assert_eq!(report.encode(KeyId(id), &key()), bytes[..]);
        assert_eq!(
            Report::decode(&bytes, &ring(&[1, 7])),
            Ok((report, KeyId(id)))
        );
    }
}

#[test]
fn acknowledgements_have_their_frozen_bytes() {
    let bytes = bytes_of(ACK);
    assert_eq!(bytes.len(), ACK_LEN);
    assert_eq!(ack().encode(KeyId(7), &key()), bytes[..]);
    assert_eq!(Ack::decode(&bytes, &ring(&[7])), Ok((ack(), KeyId(7))));
}

#[test]
fn revocations_have_their_frozen_bytes() {
    let ask = RevocationsAsk {
        relay: "fra-1".parse().unwrap(),
        boot: 0x0000_019a_0000_0001,
        sequence: 43,
        page: 2,
    };
    let bytes = bytes_of(ASK);
    assert_eq!(bytes.len(), ASK_LEN);
    assert_eq!(ask.encode(KeyId(7), &key()), bytes[..]);
    let read = RevocationsAsk::decode(&bytes, &ring(&[7]));
    assert_eq!(read, Ok((ask, KeyId(7))));
    let mut tags = [
        RevocationTag::user("shop/ann"),
        RevocationTag::tenant("shop"),
    ];
    tags.sort();
    let first = RevocationsAsk { page: 0, ..ask };
    let generation = generation(&tags);
    let node = "ns1".parse().unwrap();
    let page = RevocationsPage::answer(&first, node, generation, &tags);
    let bytes = bytes_of(PAGE);
    let nonce = std::array::from_fn(|n| 0xa0 + n as u8);
    assert_eq!(page.seal(KeyId(7), &key(), nonce), Some(bytes.clone()));
    let opened = RevocationsPage::open(&bytes, &ring(&[7]));
    assert_eq!(opened, Ok((page, KeyId(7))));
}

#[test]
#[allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the crate is pure, this test asks another program"
)]
fn openssl_computes_the_same_mac() {
    use std::io::Write;
    use std::process::{Command, Stdio};

    for golden in [REPORT_FAILING, REPORT_BARE, ACK, ASK] {
        let bytes = bytes_of(golden);
        let (body, mac) = bytes.split_at(bytes.len() - 32);
        let child = Command::new("openssl")
            .args([
                "dgst",
                "-sha256",
                "-mac",
                "HMAC",
                "-macopt",
                &format!("hexkey:{HEX_KEY}"),
            ])
            .arg("-binary")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            assert!(
                std::env::var_os("TURNFLEET_REQUIRE_TOOLS").is_none_or(|v| v != "1"),
                "openssl not installed"
            );
            println!("SKIP openssl_computes_the_same_mac: openssl not installed");
            return;
        };
        child.stdin.take().unwrap().write_all(body).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!(output.stdout, mac);
    }
}
