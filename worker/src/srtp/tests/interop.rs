//! Round trips, with ourselves and with an independent implementation, in both directions.

use super::{SrtpReceiver, SrtpSender, master, open, open_rtcp, pair, rtcp, rtp};
use channel_proto::srtp_parameters::SrtpCryptoSuite;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;

fn oracle(suite: SrtpCryptoSuite) -> Context {
    let profile = match suite {
        SrtpCryptoSuite::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
        SrtpCryptoSuite::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        SrtpCryptoSuite::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        SrtpCryptoSuite::AesCm128HmacSha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
    };
    let provider = rtc_srtp::crypto::default_provider().unwrap();
    let master = master(suite);
    let (key, salt) = master.split_at(profile.key_len());
    Context::new(key, salt, profile, None, None, provider.crypto()).unwrap()
}

/// Sequence numbers that cross a rollover.
fn sequences() -> impl Iterator<Item = u16> {
    (0..200u16).map(|step| 65_400u16.wrapping_add(step))
}

#[test]
fn rtp_to_the_oracle() {
    for suite in SrtpCryptoSuite::ALL {
        let (mut sender, _) = pair(suite);
        let mut oracle = oracle(suite);
        for sequence in sequences() {
            let (plain, header) = rtp(0xCAFE_F00D, sequence, usize::from(sequence % 300));
            let mut packet = plain.clone();
            sender.protect_rtp(&mut packet, 0, header).unwrap();
            assert_eq!(packet.len(), plain.len() + sender.rtp_overhead());
            assert_eq!(oracle.decrypt_rtp(&packet).unwrap(), plain, "{suite:?} {sequence}");
        }
    }
}

#[test]
fn rtp_from_the_oracle() {
    for suite in SrtpCryptoSuite::ALL {
        let (_, mut receiver) = pair(suite);
        let mut oracle = oracle(suite);
        for sequence in sequences() {
            let (plain, _) = rtp(0xCAFE_F00D, sequence, usize::from(sequence % 300));
            let packet = oracle.encrypt_rtp(&plain).unwrap();
            assert_eq!(open(&mut receiver, &packet).unwrap(), plain, "{suite:?} {sequence}");
        }
    }
}

#[test]
fn rtcp_to_and_from_the_oracle() {
    for suite in SrtpCryptoSuite::ALL {
        let (mut sender, mut receiver) = pair(suite);
        let (mut decrypting, mut encrypting) = (oracle(suite), oracle(suite));
        for blocks in (0..31).chain(0..31) {
            let plain = rtcp(0xCAFE_F00D, blocks);
            let mut packet = plain.clone();
            sender.protect_rtcp(&mut packet, 0).unwrap();
            assert_eq!(packet.len(), plain.len() + sender.rtcp_overhead());
            assert_eq!(decrypting.decrypt_rtcp(&packet).unwrap(), plain, "{suite:?}");
            let packet = encrypting.encrypt_rtcp(&plain).unwrap();
            assert_eq!(open_rtcp(&mut receiver, &packet).unwrap(), plain, "{suite:?}");
        }
    }
}

#[test]
fn round_trip_of_every_payload_length() {
    for suite in SrtpCryptoSuite::ALL {
        let (mut sender, mut receiver) = pair(suite);
        for length in 0..1500 {
            let (plain, header) = rtp(7, length as u16, length);
            let mut packet = plain.clone();
            sender.protect_rtp(&mut packet, 0, header).unwrap();
            assert_eq!(&packet[..header], &plain[..header], "the header stays readable");
            assert_eq!(open(&mut receiver, &packet).unwrap(), plain);
        }
    }
}

/// With an in-place sender the packet may follow other bytes, such as the length of a TCP frame.
#[test]
fn bytes_before_the_start_are_left_alone() {
    for suite in SrtpCryptoSuite::ALL {
        let (mut sender, mut receiver) = pair(suite);
        let (plain, header) = rtp(7, 1, 50);
        let mut buffer = vec![0xAB; 9];
        buffer.extend(&plain);
        sender.protect_rtp(&mut buffer, 9, header).unwrap();
        assert_eq!(buffer[..9], [0xAB; 9]);
        assert_eq!(open(&mut receiver, &buffer[9..]).unwrap(), plain);

        let plain = rtcp(7, 2);
        let mut buffer = vec![0xAB; 9];
        buffer.extend(&plain);
        sender.protect_rtcp(&mut buffer, 9).unwrap();
        assert_eq!(buffer[..9], [0xAB; 9]);
        assert_eq!(open_rtcp(&mut receiver, &buffer[9..]).unwrap(), plain);
    }
}

#[test]
fn overheads() {
    let expected = [(16, 20), (16, 20), (10, 14), (4, 14)];
    for (suite, expected) in SrtpCryptoSuite::ALL.into_iter().zip(expected) {
        let (sender, _) = pair(suite);
        assert_eq!((sender.rtp_overhead(), sender.rtcp_overhead()), expected, "{suite:?}");
    }
}

/// The engine moves transports between owners, and logs them.
#[test]
fn both_halves_are_send_and_their_debug_output_shows_no_key() {
    fn is_send<T: Send>() {}
    is_send::<SrtpSender>();
    is_send::<SrtpReceiver>();
    let (sender, receiver) = pair(SrtpCryptoSuite::AeadAes128Gcm);
    assert_eq!(format!("{sender:?}"), "SrtpSender { suite: AeadAes128Gcm, streams: 0 }");
    assert_eq!(
        format!("{receiver:?}"),
        "SrtpReceiver { suite: AeadAes128Gcm, streams: 0 }"
    );
}
