//! What holds for every credential and every label.

use std::net::IpAddr;

use credentials::label::{LABEL_LEN, Label, LabelKey, LabelKeys, Lane, Tag, TenantTag, Transport};
use credentials::{
    Refused, Secret, SecretRing, TtlPolicy, UnixTime, candidate_passwords, check_expiry, issue,
    limits, parse_username, password,
};
use data_encoding::BASE32HEX_NOPAD;
use proptest::prelude::*;

/// What user ids look like, colons, at signs and all.
const USER_ID: &str = "[a-z0-9:@._é-]{1,40}";

fn secret() -> impl Strategy<Value = Secret> {
    prop::collection::vec(any::<u8>(), 16..100)
        .prop_map(|bytes| Secret::new(bytes).expect("long enough"))
}

fn ring(current: &Secret, previous: &[&Secret]) -> SecretRing {
    let previous = previous.iter().copied().cloned().collect();
    SecretRing::new(current.clone(), previous).expect("a short ring")
}

fn accepts(ring: &SecretRing, username: &str, password: &str) -> bool {
    candidate_passwords(ring, username).any(|candidate| *candidate == password)
}

/// 2024-01-01.
const EPOCH: u64 = 1_704_067_200;

/// Labels that expire at a whole minute, as all do that have travelled.
fn label() -> impl Strategy<Value = Label> {
    let tag = || prop::option::of((1..=u32::MAX).prop_map(Tag));
    let tenant = prop::option::of((1..=u16::MAX).prop_map(TenantTag));
    let transport = prop::option::of(prop::sample::select(&Transport::ALL[..]));
    let minutes = 1..1_u64 << 24;
    (
        any::<u32>(),
        tag(),
        [tag(), tag()],
        tenant,
        transport,
        minutes,
    )
        .prop_map(|(draw, region, avoid, tenant, transport, minutes)| Label {
            draw,
            region,
            avoid,
            tenant,
            transport,
            expires: UnixTime(EPOCH + minutes * 60),
        })
}

fn keys(byte: u8, previous: &[u8]) -> LabelKeys {
    let key = |byte: &u8| LabelKey::new([*byte; 64]);
    LabelKeys::new(key(&byte), previous.iter().map(key).collect()).expect("a short ring")
}

proptest! {
    #[test]
    fn what_is_issued_is_accepted_until_its_second(
        secret in secret(), id in prop::option::of(USER_ID), ttl in 1..u32::MAX, now in 1..1_u64 << 40,
    ) {
        let ring = ring(&secret, &[]);
        let issued = issue(&ring, id.as_deref(), ttl, UnixTime(now)).expect("a right user id");
        let username = parse_username(&issued.username).expect("our own");
        prop_assert_eq!(username.user_id(), id.as_deref());
        prop_assert_eq!(username.as_str(), &issued.username);
        prop_assert!(accepts(&ring, &issued.username, &issued.password));
        let end = now + u64::from(ttl);
        prop_assert_eq!(username.expiry(), UnixTime(end));
        prop_assert_eq!(check_expiry(&username, UnixTime(end - 1)), Ok(()));
        prop_assert_eq!(check_expiry(&username, UnixTime(end)), Err(Refused::Expired));
        prop_assert_eq!(check_expiry(&username, UnixTime(end + 1)), Err(Refused::Expired));
    }

    #[test]
    fn a_changed_user_name_or_password_is_refused(
        secret in secret(), other in secret(), id in USER_ID, at in any::<prop::sample::Index>(), change in 1..128_u8,
    ) {
        let ring = ring(&secret, &[]);
        let issued = issue(&ring, Some(&id), 60, UnixTime(1)).expect("a right user id");
        let changed = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            String::from_utf8_lossy(&bytes).into_owned()
        };
        prop_assert!(!accepts(&ring, &changed(&issued.username), &issued.password));
        prop_assert!(!accepts(&ring, &issued.username, &changed(&issued.password)));
        prop_assert!(!accepts(&ring, &issued.username, &password(&other, &issued.username)));
    }

    #[test]
    fn a_secret_is_accepted_as_long_as_it_is_in_the_ring(
        secrets in prop::array::uniform5(secret()),
    ) {
        let [a, b, c, d, e] = &secrets;
        let issued = issue(&ring(a, &[]), Some("alice"), 60, UnixTime(1)).expect("a right user id");
        for (ring, accepted) in [
            (ring(a, &[b]), true), // spread everywhere first …
            (ring(b, &[a]), true), // … then made current
            (ring(c, &[b, a]), true),
            (ring(d, &[c, b, a]), true),
            (ring(e, &[d, c, b]), false),
        ] {
            prop_assert_eq!(accepts(&ring, &issued.username, &issued.password), accepted);
        }
        let four = vec![a.clone(), b.clone(), c.clone(), d.clone()];
        prop_assert!(SecretRing::new(e.clone(), four).is_err());
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC{0,20}|[0-9:+ -]{0,24}|[0-9]{1,21}:\\PC{0,600}") {
        if let Ok(username) = parse_username(&text) {
            prop_assert_eq!(username.as_str(), &text);
            let expiry = username.expiry().to_string();
            let rest = text.strip_prefix(&expiry).expect("it begins with its expiry");
            prop_assert!(rest.is_empty() || rest.starts_with(':'));
            prop_assert_eq!(username.user_id().unwrap_or_default(), rest.strip_prefix(':').unwrap_or_default());
            prop_assert!(text.len() <= limits::USERNAME_BYTES);
        }
    }

    #[test]
    fn a_life_is_within_the_policy(asked in prop::option::of(any::<u32>()), min: u32, default: u32, max: u32) {
        let life = TtlPolicy { min, default, max }.clamp(asked);
        prop_assert!(life <= max);
        prop_assert!(life >= min.min(max));
        let wanted = asked.unwrap_or(default);
        prop_assert!(life == wanted || wanted < min || wanted > max);
    }

    #[test]
    fn a_label_opens_in_any_case_until_its_second(label in label(), cases: u64) {
        let keys = keys(1, &[]);
        for lane in Lane::ALL {
            let text = keys.seal(&label, lane);
            prop_assert_eq!(text.len(), LABEL_LEN);
            prop_assert!(text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'v')));
            let mixed: Vec<u8> = text.bytes().enumerate().map(|(at, byte)| {
                if cases >> at & 1 == 1 { byte.to_ascii_uppercase() } else { byte }
            }).collect();
            let end = label.expires;
            prop_assert_eq!(keys.open(&mixed, lane, end.saturating_sub(1)), Some(label));
            prop_assert_eq!(keys.open(&mixed, lane, end), None);
            prop_assert_eq!(keys.open(&mixed, lane, UnixTime(u64::MAX)), None);
        }
    }

    #[test]
    fn an_expiry_travels_as_a_whole_minute_that_is_not_earlier(label in label(), early in 0..60_u64) {
        let keys = keys(1, &[]);
        let asked = Label { expires: label.expires.saturating_sub(early), ..label };
        let text = keys.seal(&asked, Lane::A);
        let before = label.expires.saturating_sub(1);
        prop_assert_eq!(keys.open(text.as_bytes(), Lane::A, before), Some(label));
    }

    #[test]
    fn labels_of_other_lanes_keys_and_shapes_open_to_nothing(
        label in label(), at in 0..LABEL_LEN, symbol: u8, noise in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let (keys, now) = (keys(1, &[2, 3, 4]), UnixTime(0));
        let text = keys.seal(&label, Lane::A).into_bytes();
        prop_assert_eq!(keys.open(&text, Lane::B, now), None);
        for byte in 5..=20 {
            let other = LabelKeys::new(LabelKey::new([byte; 64]), Vec::new()).expect("a short ring");
            prop_assert_eq!(other.open(&text, Lane::A, now), None);
        }
        let mut changed = text.clone();
        changed[at] = symbol;
        let same = changed.eq_ignore_ascii_case(&text);
        prop_assert_eq!(keys.open(&changed, Lane::A, now), same.then_some(label));
        prop_assert_eq!(keys.open(&text[1..], Lane::A, now), None);
        prop_assert_eq!(keys.open(&[&text[..], b"0"].concat(), Lane::A, now), None);
        prop_assert_eq!(keys.open(&noise, Lane::A, now), None);
    }

    #[test]
    fn every_flipped_bit_closes_a_label(label in label()) {
        let keys = keys(1, &[2, 3, 4]);
        let text = keys.seal(&label, Lane::A).to_ascii_uppercase();
        let wire = BASE32HEX_NOPAD.decode(text.as_bytes()).expect("base32hex");
        for bit in 0..wire.len() * 8 {
            let mut flipped = wire.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let flipped = BASE32HEX_NOPAD.encode(&flipped);
            prop_assert_eq!(keys.open(flipped.as_bytes(), Lane::A, UnixTime(0)), None, "bit {}", bit);
        }
    }

    #[test]
    fn a_label_opens_as_long_as_its_key_is_in_the_ring(label in label()) {
        let text = keys(1, &[]).seal(&label, Lane::B).into_bytes();
        for (ring, opened) in [
            (keys(2, &[1]), Some(label)),
            (keys(4, &[3, 2, 1]), Some(label)),
            (keys(5, &[4, 3, 2]), None),
        ] {
            prop_assert_eq!(ring.open(&text, Lane::B, UnixTime(0)), opened);
        }
    }
}

#[test]
fn expiries_that_the_wire_does_not_reach() {
    let keys = keys(1, &[]);
    let opened = |expires, now| {
        let label = Label {
            draw: 0,
            region: None,
            avoid: [None; 2],
            tenant: None,
            transport: None,
            expires: UnixTime(expires),
        };
        let text = keys.seal(&label, Lane::A);
        let opened = keys.open(text.as_bytes(), Lane::A, UnixTime(now));
        opened.map(|label| label.expires.0)
    };
    let last = EPOCH + 60 * ((1 << 24) - 1);
    for end in [last, last + 1, u64::MAX] {
        assert_eq!(opened(end, last - 1), Some(last));
        assert_eq!(opened(end, last), None);
    }
    for end in [0, EPOCH] {
        assert_eq!(opened(end, EPOCH - 1), Some(EPOCH), "nothing ends earlier");
        assert_eq!(opened(end, EPOCH), None);
    }
}

#[test]
fn user_names_that_are_none() {
    for text in [
        "",
        ":",
        ":alice",
        "alice:1800000000",
        "+5:a",
        "-5:a",
        " 5:a",
        "5 :a",
        "05:a",
        "0",
        "0x5:a",
        "5\u{0}:a",
        "5:a\nb",
        "18446744073709551616",
        "٣:a",
    ] {
        assert_eq!(parse_username(text), Err(Refused::Malformed), "{text:?}");
    }
    let longest = format!("5:{}", "x".repeat(limits::USERNAME_BYTES - 2));
    assert!(parse_username(&longest).is_ok());
    assert_eq!(
        parse_username(&format!("{longest}x")),
        Err(Refused::Malformed)
    );
    assert_eq!(parse_username("5:").expect("a bare expiry").user_id(), None);
    assert_eq!(
        parse_username("18446744073709551615")
            .expect("the end")
            .expiry(),
        UnixTime(u64::MAX)
    );
}

#[test]
fn what_cannot_be_issued() {
    let secret = Secret::new(vec![7; 16]).expect("long enough");
    let ring = ring(&secret, &[]);
    for id in ["a\nb", "a\u{0}", &"x".repeat(507)] {
        assert!(issue(&ring, Some(id), 60, UnixTime(1)).is_err(), "{id:?}");
    }
    assert!(issue(&ring, None, 60, UnixTime(u64::MAX - 59)).is_err());
    assert!(issue(&ring, None, 60, UnixTime(u64::MAX - 60)).is_ok());
    assert_eq!(
        issue(&ring, Some(""), 60, UnixTime(1))
            .expect("no user")
            .username,
        "61"
    );
    assert!(Secret::new(vec![7; 15]).is_err());
}

#[test]
fn tags_of_one_thing_written_differently() {
    let address = |text: &str| Tag::of_addr(text.parse::<IpAddr>().expect("an address"));
    assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
    assert_ne!(address("192.0.2.1"), address("192.0.2.2"));
    assert_ne!(address("2001:db8::1"), address("2001:db8::2"));
    assert_eq!(Tag::of_name("EU-West"), Tag::of_name("eu-west"));
    assert_ne!(Tag::of_name("eu"), Tag::of_name("us"));
    assert_eq!(TenantTag::of_key("demo"), TenantTag::of_key("demo"));
    assert_ne!(TenantTag::of_key("demo"), TenantTag::of_key("other"));
}

#[test]
fn nothing_secret_is_printed() {
    let secret = Secret::new(b"hunter22 hunter22".to_vec()).expect("long enough");
    let ring = ring(&secret, &[&secret]);
    let issued = issue(&ring, Some("alice"), 60, UnixTime(1)).expect("a right user id");
    let labels = LabelKeys::derive(&ring);
    let shown = format!(
        "{secret:?} {ring:#?} {issued:#?} {labels:#?} {:?}",
        LabelKey::derive(&secret)
    );
    assert!(shown.contains("alice"), "{shown}");
    // Neither as text nor as a list of bytes ("hu" is 104, 117).
    for needle in ["hunter", "104,", &issued.password[..]] {
        assert!(!shown.contains(needle), "{shown}");
    }
}
