//! Test vectors of RFC 3711 appendix B and RFC 7714 sections 16 and 17.

use super::super::keys::{Derivation, Protection, SessionKeys};
use super::super::{SrtpError, SrtpReceiver, SrtpSender};
use channel_proto::srtp_parameters::SrtpCryptoSuite;
use hex::decode;

fn array<const N: usize>(text: &str) -> [u8; N] {
    decode(text).unwrap().try_into().unwrap()
}

#[test]
fn rfc3711_b2_keystream() {
    let key = array("2B7E151628AED2A6ABF7158809CF4F3C");
    let salt = array("F0F1F2F3F4F5F6F7F8F9FAFBFCFD");
    let protection = Protection::cm(&key, [0; 20], salt, 10).unwrap();
    // SSRC, rollover counter and sequence number are zero; a payload of zeros shows the bare keystream.
    let mut packet = vec![0; 12 + 0xFF02 * 16];
    protection.seal_rtp(&mut packet, 0, 12, 0, 0).unwrap();
    let block = |number: usize| hex::encode_upper(&packet[12 + number * 16..][..16]);
    assert_eq!(block(0x0000), "E03EAD0935C95E80E166B16DD92B4EB4");
    assert_eq!(block(0x0001), "D23513162B02D0F72A43A2FE4A5F97AB");
    assert_eq!(block(0x0002), "41E95B3BB0A2E8DD477901E4FCA894C0");
    assert_eq!(block(0xFEFF), "EC8CDF7398607CB0F2D21675EA9EA1E4");
    assert_eq!(block(0xFF00), "362B7C3C6773516318A077D7FC5073AE");
    assert_eq!(block(0xFF01), "6A2CC3787889374FBEB4C81B17BA6C44");
}

#[test]
fn rfc3711_b3_derivation() {
    let key = decode("E1F97A0D3E018BE0D64FA32C06DE4139").unwrap();
    let salt = decode("0EC675AD498AFEEBB6960B3AABE6").unwrap();
    let kdf = Derivation::new(&key, &salt).unwrap();
    assert_eq!(
        hex::encode_upper(kdf.output::<16>(0).unwrap()),
        "C61E7A93744F39EE10734AFE3FF7A087"
    );
    assert_eq!(
        hex::encode_upper(kdf.output::<14>(2).unwrap()),
        "30CBBC08863D8C85D49DB34A9AE1"
    );
    assert_eq!(
        hex::encode_upper(kdf.output::<94>(1).unwrap()),
        "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCEE049646C43D9327AD175578EF72270986371C10C9A36\
         9AC2F94A8C5FBCDDDC256D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2"
    );
}

const KEY_256: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const SALT: &str = "517569642070726f2071756f";
const RTP: &str =
    "8040f17b8041f8d35501a0b247616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573";
const RTCP: &str =
    "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef";

fn gcm(key_length: usize) -> Protection {
    Protection::gcm(&decode(KEY_256).unwrap()[..key_length], array(SALT)).unwrap()
}

#[test]
fn rfc7714_16_rtp() {
    let expected_128 = "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf\
                        8833899d7f27beb16a9152cf765ee4390cce";
    let expected_256 = "8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799\
                        b87b7aa3db36dfffd6b0f9bb7878d7a76c13";
    for (key_length, expected) in [(16, expected_128), (32, expected_256)] {
        let protection = gcm(key_length);
        let mut packet = decode(RTP).unwrap();
        protection.seal_rtp(&mut packet, 0, 12, 0x5501_a0b2, 0xf17b).unwrap();
        assert_eq!(hex::encode(&packet), expected);
        let length = protection.open_rtp(&mut packet, 12, 0x5501_a0b2, 0xf17b).unwrap();
        assert_eq!(hex::encode(&packet[..length]), RTP);
    }
}

#[test]
fn rfc7714_17_rtcp() {
    let expected_128 = "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded\
                        0bb9275bc84aa45896cf4d2fc5abf87245d9eade800005d4";
    let expected_256 = "81c8000d4d617273d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658c61de047\
                        6f1b6fad1d1eb30c4446839f57ff6f6cb26ac3be800005d4";
    for (key_length, expected) in [(16, expected_128), (32, expected_256)] {
        let protection = gcm(key_length);
        let mut packet = decode(RTCP).unwrap();
        protection.seal_rtcp(&mut packet, 0, 0x4d61_7273, 0x5d4).unwrap();
        assert_eq!(hex::encode(&packet), expected);
        let word = protection.srtcp_word(&packet).unwrap();
        assert_eq!(word, 0x8000_05d4);
        let length = protection.open_rtcp(&mut packet, 0x4d61_7273, word).unwrap();
        assert_eq!(hex::encode(&packet[..length]), RTCP);
    }
}

/// RFC 7714 section 17.3 is valid, but has the E flag clear; we do not take it.
#[test]
fn rfc7714_17_3_tag_without_encryption_is_refused() {
    let suite = SrtpCryptoSuite::AeadAes128Gcm;
    let mut receiver = SrtpReceiver::new(suite, &super::master(suite)).unwrap();
    let mut packet = decode(RTCP).unwrap();
    packet.extend(decode("841dd9683dd78ec92ae58790125f62b3000005d4").unwrap());
    assert_eq!(receiver.unprotect_rtcp(&mut packet), Err(SrtpError::Unencrypted));
}

#[test]
fn master_must_have_the_length_of_the_suite() {
    for suite in SrtpCryptoSuite::ALL {
        for got in (0..64).filter(|got| *got != suite.master_length()) {
            let error = SrtpError::KeyLength {
                expected: suite.master_length(),
                got,
            };
            assert_eq!(SrtpSender::new(suite, &vec![0; got]).unwrap_err(), error);
            assert_eq!(SrtpReceiver::new(suite, &vec![0; got]).unwrap_err(), error);
            assert_eq!(SessionKeys::derive(suite, &vec![0; got]).err(), Some(error));
        }
    }
}
