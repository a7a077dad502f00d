use std::net::SocketAddr;

use aws_lc_rs::hmac;
use proptest::prelude::*;

use super::Builder;
use crate::ice::stun::{Class, Message, StunError, addressed_fragment, is_stun};

const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

fn key(password: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes())
}

/// RFC 5769 section 2.1.
fn sample_request() -> Vec<u8> {
    hex::decode(concat!(
        "000100582112a442b7e7a701bc34d686fa87dfae",
        "802200105354554e207465737420636c69656e74",
        "002400046e0001ff",
        "80290008932ff9b151263b36",
        "000600096576746a3a68367659202020",
        "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2",
        "80280004e57a3bcf",
    ))
    .unwrap()
}

/// RFC 5769 sections 2.2 and 2.3: answer, and the address in it.
fn sample_answers() -> [(Vec<u8>, SocketAddr); 2] {
    let decode = |text: &str| hex::decode(text).unwrap();
    [
        (
            decode(concat!(
                "0101003c2112a442b7e7a701bc34d686fa87dfae",
                "8022000b7465737420766563746f7220",
                "002000080001a147e112a643",
                "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7",
                "80280004c07d4c96",
            )),
            "192.0.2.1:32853".parse().unwrap(),
        ),
        (
            decode(concat!(
                "010100482112a442b7e7a701bc34d686fa87dfae",
                "8022000b7465737420766563746f7220",
                "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9",
                "00080014a382954e4be67bf11784c97c8292c275bfe3ed41",
                "80280004c8fb0b4c",
            )),
            "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap(),
        ),
    ]
}

#[test]
fn rfc_5769_request() {
    let bytes = sample_request();
    assert!(is_stun(&bytes));
    assert_eq!(addressed_fragment(&bytes), Some("evtj"));
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.class, Class::Request);
    assert!(message.is_binding() && message.fingerprint && message.controlled && !message.use_candidate);
    assert_eq!(message.username, Some(&b"evtj:h6vY"[..]));
    assert_eq!(message.priority, Some(0x6e00_01ff));
    assert!(message.addresses("evtj") && !message.addresses("evt") && !message.addresses("evtj:h6vY"));
    assert!(message.verify(&key(PASSWORD)));
    assert!(!message.verify(&key("VOkJxbRl1RmTxUk/WvJxBu")));
}

#[test]
fn rfc_5769_answers() {
    let request = sample_request();
    let request = Message::parse(&request).unwrap();
    for (sample, address) in sample_answers() {
        let message = Message::parse(&sample).unwrap();
        assert_eq!(message.class, Class::Success);
        assert!(message.fingerprint && message.verify(&key(PASSWORD)));
        let mut answer = b"what was there".to_vec();
        request.write_success(address, &key(PASSWORD), &mut answer);
        assert_eq!(&answer[..14], b"what was there");
        let ours = Message::parse(&answer[14..]).unwrap();
        assert!(ours.is_binding() && ours.fingerprint && ours.verify(&key(PASSWORD)));
        // Ours has no SOFTWARE: header but for the length, then the same address.
        let address_end = if address.is_ipv4() { 32 } else { 44 };
        assert_eq!(answer[14 + 20..14 + address_end], sample[36..16 + address_end]);
        assert_eq!(answer[14 + 4..14 + 20], sample[4..20]);
    }
}

#[test]
fn a_broken_message_is_told_apart() {
    let good = || Builder::request().check("us:them").sign(PASSWORD);
    let parse = |bytes: &[u8]| Message::parse(bytes).err();
    assert_eq!(parse(&good().finish()), None);
    let mut wrong_fingerprint = good().finish();
    *wrong_fingerprint.last_mut().unwrap() ^= 1;
    assert_eq!(parse(&wrong_fingerprint), Some(StunError::Fingerprint));
    let repeated = Builder::request().attribute(0x0024, &[0; 4]).attribute(0x0024, &[0; 4]);
    assert_eq!(parse(&repeated.finish()), Some(StunError::Repeated));
    for (kind, length) in [
        (0x0008, 19),
        (0x0024, 5),
        (0x0025, 1),
        (0x802a, 7),
        (0xc001, 3),
        (0x0006, 514),
    ] {
        let odd = Builder::request().attribute(kind, &vec![0; length]).finish();
        assert_eq!(parse(&odd), Some(StunError::Attribute), "{kind:04x}");
    }
    // Its length, which the fingerprint covers, tells what follows.
    let mut behind = good().finish();
    behind.extend_from_slice(&[0, 0x24, 0, 4, 0, 0, 0, 1]);
    let (length, fingerprint) = (behind.len() - 20, behind.len() - 16);
    behind[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    let crc = crc32fast::hash(&behind[..fingerprint]) ^ 0x5354_554e;
    behind[fingerprint + 4..fingerprint + 8].copy_from_slice(&crc.to_be_bytes());
    assert_eq!(parse(&behind), Some(StunError::Order));
    let complete = good().finish();
    for length in 0..complete.len() {
        assert!(parse(&complete[..length]).is_some(), "{length}");
    }
}

#[test]
fn attributes_behind_the_integrity_do_not_count() {
    let bytes = Builder::request()
        .check("us:them")
        .sign(PASSWORD)
        .attribute(0x0025, &[])
        .attribute(0xc001, &[0, 0, 0, 9])
        .finish();
    let message = Message::parse(&bytes).unwrap();
    assert!(message.verify(&key(PASSWORD)));
    assert!(!message.use_candidate);
    assert_eq!(message.nomination, None);
    assert_eq!(addressed_fragment(&bytes), Some("us"));
    let unprotected_name = Builder::request().sign(PASSWORD).check("us:them").finish();
    assert_eq!(addressed_fragment(&unprotected_name), None);
}

#[test]
fn the_standard_number_of_a_nomination_comes_first() {
    for reversed in [false, true] {
        let (mut first, mut second) = ((0x0030, 7), (0xc001, 8));
        if reversed {
            std::mem::swap(&mut first, &mut second);
        }
        let bytes = Builder::request()
            .attribute(first.0, &[0, 0, 0, first.1])
            .attribute(second.0, &[0, 0, 0, second.1])
            .finish();
        assert_eq!(Message::parse(&bytes).unwrap().nomination, Some(7));
    }
}

#[test]
fn a_priority_of_zero_is_one() {
    let bytes = Builder::request().attribute(0x0024, &[0; 4]).finish();
    assert_eq!(Message::parse(&bytes).unwrap().priority, Some(0));
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Message::parse(&bytes).map(|message| message.verify(&key("x")));
        let _ = addressed_fragment(&bytes);
    }

    #[test]
    fn a_changed_message_is_not_authentic(at in 0usize..100, flip in 1u8..=255) {
        let mut bytes = sample_request();
        bytes[at] ^= flip;
        let authentic = Message::parse(&bytes).is_ok_and(|message| message.verify(&key(PASSWORD)));
        prop_assert!(!authentic);
    }

    #[test]
    fn any_attributes_are_survived(attributes in prop::collection::vec((any::<u16>(), 0usize..40), 0..20)) {
        let message = attributes
            .iter()
            .fold(Builder::request(), |message, (kind, length)| message.attribute(*kind, &vec![1; *length]));
        let bytes = message.finish();
        let _ = Message::parse(&bytes).map(|message| message.verify(&key("x")));
        let _ = addressed_fragment(&bytes);
    }
}
