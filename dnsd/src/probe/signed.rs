//! A Binding request that proves who sends it, so that a relay short of replies keeps some for us.
//!
//! A relay answers strangers sparingly, and anybody can send in a nameserver's name: a flood of
//! forged requests would use up what the relay has for our address, and silence would be taken for
//! death. So probes are signed under the fleet's secret with the short-term mechanism (RFC 8489
//! section 9.1.2): no challenge comes before it. Relays that know nothing of it see a Binding
//! request with attributes they need not understand.

use credentials::Credential;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use stun_types::attribute::Username;
use stun_types::message::{
    BINDING, Message, MessageClass, MessageType, MessageWrite as _, MessageWriteExt as _,
    MessageWriteVec, TransactionId,
};

/// Length of the header (RFC 8489 section 5).
const HEADER: usize = 20;
/// MESSAGE-INTEGRITY with its own header (RFC 8489 section 14.5).
const INTEGRITY: [u8; 4] = [0x00, 0x08, 0x00, 0x14];

/// A Binding request with USERNAME and MESSAGE-INTEGRITY of `credential`.
///
/// The codec could sign, too, but shows keys in its trace spans.
pub(super) fn binding(transaction: TransactionId, credential: &Credential) -> Vec<u8> {
    let kind = MessageType::from_class_method(MessageClass::Request, BINDING);
    let mut message = Message::builder(kind, transaction, MessageWriteVec::new());
    if let Ok(username) = Username::new(&credential.username) {
        // A credential's user name fits, as its issuer has checked.
        let _ = message.add_attribute(&username);
    }
    let mut bytes = message.finish();
    // The length counts MESSAGE-INTEGRITY itself.
    let length = bytes.len() - HEADER + INTEGRITY.len() + 20;
    bytes[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    // HMAC takes keys of every length (RFC 2104 section 2).
    let mac = Hmac::<Sha1>::new_from_slice(credential.password.as_bytes()).expect("any key length");
    let tag = mac.chain_update(&bytes).finalize().into_bytes();
    bytes.extend_from_slice(&INTEGRITY);
    bytes.extend_from_slice(&tag);
    bytes
}

#[cfg(test)]
mod tests {
    use credentials::{Secret, SecretRing, UnixTime};
    use stun_types::message::{
        IntegrityAlgorithm, MessageIntegrityCredentials, ShortTermCredentials,
    };

    use super::*;

    #[test]
    fn another_codec_finds_it_signed_with_the_password() {
        let secret = Secret::new(b"a secret of some length".to_vec()).expect("long enough");
        let ring = SecretRing::new(secret, Vec::new()).expect("short enough");
        let credential =
            credentials::issue(&ring, Some("probe"), 600, UnixTime(1_800_000_000)).expect("issued");
        let bytes = binding(7.into(), &credential);
        let message = Message::from_bytes(&bytes).expect("STUN");
        assert!(message.has_class(MessageClass::Request) && message.has_method(BINDING));
        assert_eq!(message.transaction_id(), 7.into());
        let username = message.attribute::<Username>().expect("a user name");
        assert_eq!(username.username(), credential.username);
        let signed = |password: &str| {
            let key = ShortTermCredentials::new(password.to_owned());
            message.validate_integrity(&MessageIntegrityCredentials::ShortTerm(key))
        };
        let with = signed(&credential.password);
        assert!(matches!(with, Ok(IntegrityAlgorithm::Sha1)), "{with:?}");
        assert!(signed("another").is_err());
    }
}
