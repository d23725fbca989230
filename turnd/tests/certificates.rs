//! `[tls]`: which certificates and keys are taken, and what is said of those that are not.
#![allow(
    clippy::disallowed_methods,
    reason = "a test waits for the world in real time"
)]

mod support;

use std::path::Path;
use std::process::Command;

use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256};
use support::certificates::{DAY, Pair, ecdsa, pair, write_secret};
use support::{Setup, has_tool, wait_for};

const TLS: &str = "[tls]\ncertificate = \"chain.pem\"\nkey = \"key.pem\"\n";

/// A directory with a configuration and these files of its certificate.
fn directory(chain: &str, key: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let setup = Setup {
        sections: TLS.to_owned(),
        ..Setup::default()
    };
    std::fs::write(directory.path().join("turnd.toml"), setup.text()).expect("written");
    std::fs::write(directory.path().join("chain.pem"), chain).expect("written");
    write_secret(&directory.path().join("key.pem"), key);
    directory
}

/// Exit code and everything `turnd check` says.
fn check(directory: &Path) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_turnd"))
        .current_dir(directory)
        .args(["check", "--config", "turnd.toml"])
        .output()
        .expect("turnd starts");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8(text).expect("UTF-8"),
    )
}

fn check_pair(pair: &Pair) -> (Option<i32>, String) {
    check(directory(&pair.chain, &pair.key).path())
}

/// Where the value of `key` stands in the configuration.
fn place(key: &str) -> String {
    let text = Setup {
        sections: TLS.to_owned(),
        ..Setup::default()
    }
    .text();
    let assignment = format!("\n{key} = \"");
    let tls = text.find("[tls]").expect("the table");
    let at = tls + text[tls..].find(&assignment).expect("the key");
    let line = text[..=at].matches('\n').count() + 1;
    format!("turnd.toml:{line}:{}: `tls.{key}`: ", assignment.len())
}

fn refused(chain: &str, key: &str, of: &str, why: &str) {
    let (code, text) = check(directory(chain, key).path());
    assert_eq!(code, Some(78), "{text}");
    let line = place(of) + why;
    assert!(text.contains(&line), "{line} is not in:\n{text}");
    let base64 = key.lines().nth(1).unwrap_or("no key here");
    assert!(!text.contains(base64), "a key is shown:\n{text}");
}

fn days(count: i64) -> i64 {
    count * i64::try_from(DAY.as_secs()).expect("a number")
}

#[test]
fn keys_that_fit_are_taken_whatever_their_kind() {
    for (algorithm, dtls) in [
        (&PKCS_ECDSA_P256_SHA256, true),
        (&PKCS_ECDSA_P384_SHA384, true),
        (&PKCS_RSA_SHA256, false),
        (&PKCS_ED25519, false),
    ] {
        let (code, text) = check_pair(&pair(algorithm, days(-1), days(90)));
        assert_eq!(code, Some(0), "{algorithm:?}: {text}");
        assert_eq!(
            text.contains("DTLS is not served"),
            !dtls,
            "{algorithm:?}: {text}"
        );
        assert!(!text.contains("expires in"), "{text}");
    }
}

#[test]
fn keys_in_the_older_forms_of_openssl_are_taken() {
    if !has_tool("keys_in_the_older_forms_of_openssl_are_taken", "openssl") {
        return;
    }
    for (algorithm, header) in [
        (&PKCS_ECDSA_P256_SHA256, "BEGIN EC PRIVATE KEY"),
        (&PKCS_RSA_SHA256, "BEGIN RSA PRIVATE KEY"),
    ] {
        let pair = pair(algorithm, days(-1), days(90));
        let directory = directory(&pair.chain, &pair.key);
        let key = directory.path().join("key.pem");
        let converted = Command::new("openssl")
            .args(["pkey", "-traditional", "-in"])
            .arg(&key)
            .output()
            .expect("openssl runs");
        let text = String::from_utf8(converted.stdout).expect("UTF-8");
        assert!(text.contains(header), "{text}");
        write_secret(&key, &text);
        let (code, text) = check(directory.path());
        assert_eq!(code, Some(0), "{text}");
    }
}

#[test]
fn one_that_expires_soon_is_told() {
    let (code, text) = check_pair(&pair(&PKCS_ECDSA_P256_SHA256, days(-1), days(9) + 60));
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("warning: `tls.certificate` expires in 9 days, on 2"),
        "{text}"
    );
    let (_, text) = check_pair(&pair(&PKCS_ECDSA_P256_SHA256, days(-1), days(14) + 60));
    assert!(!text.contains("warning"), "{text}");
}

#[test]
fn one_that_is_not_valid_now_is_refused() {
    let past = pair(&PKCS_ECDSA_P256_SHA256, days(-2), -60);
    refused(
        &past.chain,
        &past.key,
        "certificate",
        "chain.pem holds a certificate that expired on 2",
    );
    let future = pair(&PKCS_ECDSA_P256_SHA256, days(1), days(2));
    let why = "chain.pem holds a certificate that is valid from 2";
    refused(&future.chain, &future.key, "certificate", why);
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (one, other) = (ecdsa(), ecdsa());
    let why = "key.pem is not the key of the first certificate in chain.pem";
    refused(&one.chain, &other.key, "key", why);
    // The chain in the wrong order: the issuer's certificate first.
    let end = "-----END CERTIFICATE-----\n";
    let (server, issuer) = one.chain.split_once(end).expect("two certificates");
    refused(&format!("{issuer}{server}{end}"), &one.key, "key", why);
}

#[test]
fn what_is_no_certificate_or_no_key_is_refused() {
    let good = ecdsa();
    let cut = good.chain.replace("-----END CERTIFICATE-----", "");
    refused(
        &cut,
        &good.key,
        "certificate",
        "chain.pem is not a PEM file",
    );
    refused(
        &good.key,
        &good.key,
        "certificate",
        "chain.pem holds no certificate",
    );
    let many = good.chain.repeat(6);
    refused(
        &many,
        &good.key,
        "certificate",
        "chain.pem holds 12 certificates",
    );
    let garbled = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    let why = "chain.pem holds a certificate that cannot be read";
    refused(garbled, &good.key, "certificate", why);
    refused(
        &good.chain,
        &good.chain,
        "key",
        "key.pem holds no private key",
    );
    let encrypted = good.key.replace("PRIVATE", "ENCRYPTED PRIVATE");
    refused(
        &good.chain,
        &encrypted,
        "key",
        "key.pem holds no private key",
    );
    let garbled = "-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n";
    let why = "key.pem holds a private key of a kind that is not supported";
    refused(&good.chain, garbled, "key", why);
}

#[test]
fn a_key_that_everybody_can_read_is_refused() {
    let good = ecdsa();
    let directory = directory(&good.chain, "");
    // Written without care, as by most tools.
    std::fs::remove_file(directory.path().join("key.pem")).expect("removed");
    std::fs::write(directory.path().join("key.pem"), &good.key).expect("written");
    let (code, text) = check(directory.path());
    assert_eq!(code, Some(78), "{text}");
    let line = place("key") + "key.pem is open to every user of this machine (mode 0644)";
    assert!(text.contains(&line), "{line} is not in:\n{text}");
}

#[test]
fn a_reload_takes_the_pair_that_fits_and_only_that() {
    let (first, second) = (ecdsa(), pair(&PKCS_ECDSA_P256_SHA256, days(-1), days(30)));
    let setup = Setup {
        sections: TLS.to_owned(),
        files: vec![
            ("chain.pem".to_owned(), first.chain.clone()),
            ("key.pem".to_owned(), first.key.clone()),
        ],
        ..Setup::default()
    };
    let relay = setup.start();
    let expiry = || relay.metric("certificate_expiry_timestamp_seconds");
    assert_eq!(expiry(), Some(first.expires));
    write_secret(&relay.directory().join("chain.pem"), &second.chain);
    relay.reload(&setup.text());
    wait_for("it is refused", || {
        (relay.metric("config_reload_ok") == Some(0)).then_some(())
    });
    let log = relay.log();
    assert!(
        log.contains("is not the key of the first certificate"),
        "{log}"
    );
    assert_eq!(expiry(), Some(first.expires));
    write_secret(&relay.directory().join("key.pem"), &second.key);
    relay.reload(&setup.text());
    wait_for("it is taken", || {
        (relay.metric("config_reload_ok") == Some(1)).then_some(())
    });
    assert_eq!(expiry(), Some(second.expires));
}
