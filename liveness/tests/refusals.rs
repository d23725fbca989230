//! Nothing but the very bytes that were signed is believed, and nothing before the MAC is checked.

#![allow(clippy::unwrap_used)]

mod common;

use common::{ack, failing, key, ring};
use liveness::{ACK_LEN, Ack, BOOT_MAX, Key, KeyId, KeyRing, REPORT_LEN, Refused, Report};

fn flips(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..bytes.len() * 8).map(|bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        (bit, flipped)
    })
}

/// What a flipped bit must be refused for, by its place: the header says so itself, all else is
/// a matter of the MAC. Key ids other than 7 are not in the ring.
fn expected(bit: usize, flipped: &[u8]) -> Refused {
    match bit / 8 {
        0..4 => Refused::Magic,
        4 => Refused::Version(flipped[4]),
        5 => Refused::Kind(flipped[5]),
        8..12 => Refused::UnknownKey(KeyId(u32::from_be_bytes(
            flipped[8..12].try_into().unwrap(),
        ))),
        _ => Refused::Mac,
    }
}

#[test]
fn every_flipped_bit_of_a_report_is_refused() {
    let keys = ring(&[7]);
    for (bit, flipped) in flips(&failing().encode(KeyId(7), &key())) {
        assert_eq!(
            Report::decode(&flipped, &keys),
            Err(expected(bit, &flipped)),
            "bit {bit}"
        );
    }
}

#[test]
fn every_flipped_bit_of_an_acknowledgement_is_refused() {
    let keys = ring(&[7]);
    for (bit, flipped) in flips(&ack().encode(KeyId(7), &key())) {
        assert_eq!(
            Ack::decode(&flipped, &keys),
            Err(expected(bit, &flipped)),
            "bit {bit}"
        );
    }
}

#[test]
fn every_other_length_is_refused() {
    let keys = ring(&[7]);
    let report = failing().encode(KeyId(7), &key());
    let ack = ack().encode(KeyId(7), &key());
    for length in (0..=1500).filter(|length| *length != REPORT_LEN) {
        let mut bytes = report.to_vec();
        bytes.resize(length, 0);
        let expected = REPORT_LEN;
        assert_eq!(
            Report::decode(&bytes, &keys),
            Err(Refused::Length { length, expected })
        );
    }
    for length in (0..=1500).filter(|length| *length != ACK_LEN) {
        let mut bytes = ack.to_vec();
        bytes.resize(length, 0);
        let expected = ACK_LEN;
        assert_eq!(
            Ack::decode(&bytes, &keys),
            Err(Refused::Length { length, expected })
        );
    }
}

#[test]
fn another_key_under_the_same_id_is_refused() {
    let mut keys = KeyRing::new();
    keys.insert(KeyId(7), Key::new(vec![9; 32]).unwrap())
        .unwrap();
    assert_eq!(
        Report::decode(&failing().encode(KeyId(7), &key()), &keys),
        Err(Refused::Mac)
    );
    assert_eq!(
        Ack::decode(&ack().encode(KeyId(7), &key()), &keys),
        Err(Refused::Mac)
    );
}

/// Signs `bytes` again after `change`, as a peer that holds the key but speaks nonsense would.
fn resigned(bytes: &[u8], change: impl Fn(&mut [u8])) -> Vec<u8> {
    use hmac::{Hmac, KeyInit, Mac};
    let mut bytes = bytes.to_vec();
    change(&mut bytes);
    let end = bytes.len() - 32;
    let secret: Vec<u8> = (0x40..0x60).collect();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&secret).unwrap();
    mac.update(&bytes[..end]);
    bytes[end..].copy_from_slice(&mac.finalize().into_bytes());
    bytes
}

#[test]
fn signed_nonsense_is_named() {
    let keys = ring(&[7]);
    let report = failing().encode(KeyId(7), &key());
    for (at, value, field) in [
        (6, 0, "state"),
        (6, 6, "state"),
        (7, 0, "reason"),
        (7, 6, "reason"),
        (108, 0, "relay id"),
        (108, b'F', "relay id"),
        (139, b'-', "relay id"),
    ] {
        let bytes = resigned(&report, |bytes| bytes[at] = value);
        assert_eq!(
            Report::decode(&bytes, &keys),
            Err(Refused::Malformed(field)),
            "{at}={value}"
        );
    }
    let signed = ack().encode(KeyId(7), &key());
    for (at, value, field) in [
        (6, 3, "order"),
        (7, 0, "verdict"),
        (7, 6, "verdict"),
        (56, 0xff, "relay id"),
        (88, 0, "node id"),
    ] {
        let bytes = resigned(&signed, |bytes| bytes[at] = value);
        assert_eq!(
            Ack::decode(&bytes, &keys),
            Err(Refused::Malformed(field)),
            "{at}={value}"
        );
    }
}

#[test]
fn reserved_bytes_are_ignored() {
    let keys = ring(&[7]);
    let bytes = resigned(&failing().encode(KeyId(7), &key()), |bytes| {
        bytes[140..160].fill(0xa5);
    });
    assert_eq!(Report::decode(&bytes, &keys), Ok((failing(), KeyId(7))));
    let bytes = resigned(&ack().encode(KeyId(7), &key()), |bytes| {
        bytes[216..224].fill(0xa5);
    });
    assert_eq!(Ack::decode(&bytes, &keys), Ok((ack(), KeyId(7))));
}

#[test]
fn a_boot_id_in_the_top_half_is_refused_however_well_signed() {
    let keys = ring(&[7]);
    let at_most = Report {
        boot: BOOT_MAX,
        ..failing()
    };
    let bytes = at_most.encode(KeyId(7), &key());
    assert_eq!(Report::decode(&bytes, &keys), Ok((at_most, KeyId(7))));
    for boot in [BOOT_MAX + 1, u64::MAX] {
        let bytes = Report { boot, ..failing() }.encode(KeyId(7), &key());
        let expected = Refused::Malformed("boot id");
        assert_eq!(Report::decode(&bytes, &keys), Err(expected), "{boot}");
        let bytes = Ack {
            boot_floor: boot,
            ..ack()
        }
        .encode(KeyId(7), &key());
        assert_eq!(
            Ack::decode(&bytes, &keys),
            Err(Refused::Malformed("boot id"))
        );
    }
}
