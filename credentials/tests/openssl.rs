//! The same bytes from OpenSSL: passwords, derived keys, tags, and whole labels by RFC 5297.

mod tools;

use credentials::label::{Label, LabelKey, LabelKeys, Lane, Tag, TenantTag, Transport};
use credentials::{Secret, SecretRing, UnixTime, password};

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec()).expect("long enough")
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// Secret, user name, password. Each password by:
/// `printf %s "$USERNAME" | openssl dgst -sha1 -hmac "$SECRET" -binary | base64`
const PASSWORDS: [(&str, &str, &str); 5] = [
    (
        "the shared secret",
        "1800000000",
        "ZQ6sAZrH8o/9t30FJfgn3tTkFOY=",
    ),
    (
        "the shared secret",
        "1800000000:alice",
        "Rq4kWgUggCFo0pZHUjLKSZug54o=",
    ),
    (
        "the shared secret",
        "1615800867:@user:server.example",
        "/nFwbndmaw8TyiBrhFkjhuZ7FaM=",
    ),
    (
        "the shared secret",
        "1681486023:",
        "xPFbc0yXngi+KFU6OpXAm0K0DcE=",
    ),
    (
        "a secret of more than sixty-four bytes, which HMAC must hash before it is of any use",
        "1800000000:zoë@example.org",
        "/OUGLVBzF6IcPNrvJ2iXeV80Rm0=",
    ),
];

#[test]
fn passwords() {
    for (shared, username, expected) in PASSWORDS {
        assert_eq!(*password(&secret(shared), username), expected, "{username}");
    }
}

#[test]
fn passwords_anew() {
    if !tools::installed("passwords_anew", &["openssl"]) {
        return;
    }
    for (shared, username, _) in PASSWORDS {
        let arguments = ["dgst", "-sha1", "-hmac", shared, "-binary"];
        let code = tools::output("openssl", &arguments, username.as_bytes());
        let expected = data_encoding::BASE64.encode(&code);
        assert_eq!(*password(&secret(shared), username), expected, "{username}");
    }
}

const SECRET: &str = "the shared secret of this fleet";

fn label() -> Label {
    Label {
        draw: 0x0102_0304,
        region: Some(Tag::of_name("eu")),
        avoid: [Some(Tag::of_addr([192, 0, 2, 1].into())), None],
        tenant: Some(TenantTag::of_key("demo")),
        transport: Some(Transport::Tls),
        expires: UnixTime(1_800_000_600),
    }
}

fn keys() -> LabelKeys {
    LabelKeys::new(LabelKey::derive(&secret(SECRET)), Vec::new()).expect("a short ring")
}

/// AES-CMAC (RFC 4493).
fn cmac(key: &[u8], message: &[u8]) -> u128 {
    let key = format!("hexkey:{}", hex(key));
    let options = [
        "mac",
        "-cipher",
        "AES-256-CBC",
        "-macopt",
        &key,
        "-binary",
        "CMAC",
    ];
    let code = tools::output("openssl", &options, message);
    u128::from_be_bytes(code.try_into().expect("16 bytes"))
}

/// Seals by RFC 5297, sections 2.4 to 2.6, with one string of associated data.
fn siv(key: &[u8], associated: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let (mac_key, cipher_key) = key.split_at(32);
    let zero = cmac(mac_key, &[0; 16]);
    let doubled = (zero << 1) ^ ((zero >> 127) * 0x87);
    let mixed = (doubled ^ cmac(mac_key, associated)).to_be_bytes();
    let mut last = plaintext.to_vec();
    let end = last.len() - 16;
    last[end..]
        .iter_mut()
        .zip(mixed)
        .for_each(|(byte, mix)| *byte ^= mix);
    let iv = cmac(mac_key, &last);
    let counter = iv & !(1 << 63 | 1 << 31);
    let (key, counter) = (hex(cipher_key), hex(&counter.to_be_bytes()));
    let arguments = ["enc", "-aes-256-ctr", "-K", &key, "-iv", &counter];
    let mut sealed = iv.to_be_bytes().to_vec();
    sealed.extend(tools::output("openssl", &arguments, plaintext));
    sealed
}

fn sha256(parts: &[&[u8]]) -> Vec<u8> {
    tools::output("openssl", &["dgst", "-sha256", "-binary"], &parts.concat())
}

#[test]
fn labels_anew() {
    if !tools::installed("labels_anew", &["openssl"]) {
        return;
    }
    let derive = ["dgst", "-sha512", "-hmac", SECRET, "-binary"];
    let key = tools::output("openssl", &derive, b"turnfleet label key 1");
    let header = 0x20 | sha256(&[b"turnfleet label hint 1", &key])[0] & 0x0f;
    let region = &sha256(&[b"turnfleet region tag 1", b"eu"])[..4];
    let relay = &sha256(&[b"turnfleet address tag 1", &[192, 0, 2, 1]])[..4];
    let tenant = &sha256(&[b"turnfleet tenant tag 1", b"demo"])[..2];
    // 1,598,890 minutes and 0 seconds after 2024-01-01T00:00:00Z.
    let expires = [0x18, 0x65, 0xaa];
    let content = [
        &[1, 2, 3, 4],
        region,
        relay,
        &[0; 4],
        tenant,
        &[3],
        &expires,
    ]
    .concat();
    for lane in Lane::ALL {
        let associated = [b"turnfleet label 2", lane.as_str().as_bytes(), &[header]].concat();
        let wire = [vec![header], siv(&key, &associated, &content)].concat();
        let text = data_encoding::BASE32HEX_NOPAD.encode(&wire);
        assert_eq!(keys().seal(&label(), lane), text.to_lowercase());
        assert_eq!(
            keys().open(text.as_bytes(), lane, UnixTime(1_800_000_000)),
            Some(label())
        );
    }
}

/// The wire as other versions of the fleet's daemons read it.
/// Made with Python's `cryptography` (`AESSIV`) by the steps of `labels_anew`.
#[test]
fn labels() {
    for (lane, text) in [
        (
            Lane::A,
            "5c422fos0c1a9gcddtpr5292gm1le6omngvrv4do3sm6q2lrl3noegh4oujer70",
        ),
        (
            Lane::B,
            "5fo23k6aup8f388h4aso7ohibg6i5167vrj03i5jm32ahijus8k1nnpfuubj560",
        ),
    ] {
        assert_eq!(keys().seal(&label(), lane), text);
        assert_eq!(
            keys().open(text.as_bytes(), lane, UnixTime(0)),
            Some(label())
        );
    }
}

#[test]
fn a_ring_of_secrets_gives_the_ring_of_their_keys() {
    let (old, new) = (secret("the secret of last month"), secret(SECRET));
    let ring = SecretRing::new(new, vec![old.clone()]).expect("a short ring");
    let before = LabelKeys::new(LabelKey::derive(&old), Vec::new()).expect("a short ring");
    let text = before.seal(&label(), Lane::A);
    let opened = LabelKeys::derive(&ring).open(text.as_bytes(), Lane::A, UnixTime(0));
    assert_eq!(opened, Some(label()));
    assert_eq!(
        LabelKeys::derive(&ring).seal(&label(), Lane::A),
        keys().seal(&label(), Lane::A)
    );
    assert_eq!(keys().open(text.as_bytes(), Lane::A, UnixTime(0)), None);
}
