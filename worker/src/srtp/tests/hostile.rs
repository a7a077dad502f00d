//! Input from anyone on the network: nothing panics, nothing false is accepted, nothing false leaves a trace.

use super::super::{SrtpError, SrtpSender};
use super::{open, open_rtcp, pair, rtcp, rtp, sealed};
use channel_proto::srtp_parameters::SrtpCryptoSuite;
use proptest::prelude::*;

const SSRC: u32 = 0x0BAD_CAFE;

/// Every short SRTCP length, with the E flag set and clear where each suite looks for it.
#[test]
fn short_srtcp() {
    for suite in SrtpCryptoSuite::ALL {
        let (_, mut receiver) = pair(suite);
        for length in 0..=40 {
            for fill in [0x00, 0x7F, 0x80, 0xFF] {
                let mut packet = vec![fill; length];
                let result = receiver.unprotect_rtcp(&mut packet);
                let overhead = pair(suite).0.rtcp_overhead();
                let expected = match fill {
                    _ if length < 8 + overhead => SrtpError::TooShort,
                    0x00 | 0x7F => SrtpError::Unencrypted,
                    _ => SrtpError::Authentication,
                };
                assert_eq!(result, Err(expected), "{suite:?} {length} {fill}");
            }
        }
        assert_eq!(receiver.stream_count(), 0);
    }
}

/// A genuine packet in which only the E flag was cleared.
#[test]
fn srtcp_with_the_flag_cleared() {
    for suite in SrtpCryptoSuite::ALL {
        for blocks in 0..3 {
            let (mut sender, mut receiver) = pair(suite);
            let mut packet = rtcp(SSRC, blocks);
            sender.protect_rtcp(&mut packet, 0).unwrap();
            let from_end = if sender.rtp_overhead() == 16 { 4 } else { 14 };
            let at = packet.len() - from_end;
            packet[at] &= 0x7F;
            assert_eq!(open_rtcp(&mut receiver, &packet), Err(SrtpError::Unencrypted));
        }
    }
}

#[test]
fn short_srtp_with_any_header_length() {
    for suite in SrtpCryptoSuite::ALL {
        let (_, mut receiver) = pair(suite);
        for length in 0..=60 {
            for header in (0..=70).chain([usize::MAX - 1, usize::MAX]) {
                for fill in [0x00, 0x80, 0xFF] {
                    assert!(receiver.unprotect_rtp(&mut vec![fill; length], header).is_err());
                }
            }
        }
        assert_eq!(receiver.stream_count(), 0);
    }
}

#[test]
fn sender_refuses_what_is_not_a_packet() {
    for suite in SrtpCryptoSuite::ALL {
        let (mut sender, _) = pair(suite);
        for length in 0..12 {
            let result = sender.protect_rtp(&mut vec![0x80; length], 0, 12);
            assert_eq!(result, Err(SrtpError::TooShort));
        }
        for length in 0..8 {
            assert_eq!(
                sender.protect_rtcp(&mut vec![0x80; length], 0),
                Err(SrtpError::TooShort)
            );
        }
        for header in [0, 11, 21, usize::MAX] {
            let mut packet = vec![0x80; 20];
            assert_eq!(sender.protect_rtp(&mut packet, 0, header), Err(SrtpError::HeaderLength));
            assert_eq!(packet, [0x80; 20]);
        }
        for start in [20, 21, usize::MAX] {
            assert_eq!(
                sender.protect_rtp(&mut vec![0x80; 20], start, 12),
                Err(SrtpError::TooShort)
            );
            assert_eq!(
                sender.protect_rtcp(&mut vec![0x80; 20], start),
                Err(SrtpError::TooShort)
            );
        }
        for length in [65_530, 65_536, 2_000_000] {
            assert_eq!(sender.protect_rtcp(&mut vec![0x80; length], 0), Err(SrtpError::TooLong));
        }
        assert_eq!(
            sender.protect_rtp(&mut vec![0x80; 65_532], 0, 12),
            Err(SrtpError::TooLong)
        );
        assert_eq!(
            sender.resume_sequence(0x8080_8080),
            None,
            "a refused packet uses no index"
        );
    }
}

/// Every bit of a packet is authenticated; forged packets change nothing, and the genuine one still gets through.
#[test]
fn forgeries_leave_no_trace() {
    for suite in SrtpCryptoSuite::ALL {
        let (mut sender, mut receiver) = pair(suite);
        let genuine = sealed(&mut sender, SSRC, 65_534);
        let mut report = rtcp(SSRC, 1);
        sender.protect_rtcp(&mut report, 0).unwrap();
        for bit in 0..genuine.len() * 8 {
            let mut forged = genuine.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&mut receiver, &forged).is_err(), "{suite:?} bit {bit}");
        }
        for bit in 0..report.len() * 8 {
            let mut forged = report.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(open_rtcp(&mut receiver, &forged).is_err(), "{suite:?} bit {bit}");
        }
        assert_eq!(receiver.stream_count(), 0);
        open(&mut receiver, &genuine).unwrap();
        open_rtcp(&mut receiver, &report).unwrap();
        // Forged sequence numbers must not move the rollover counter or the window of a known stream.
        for sequence in (0..=65_535u16).step_by(97) {
            let mut forged = genuine.clone();
            forged[2..4].copy_from_slice(&sequence.to_be_bytes());
            assert!(open(&mut receiver, &forged).is_err());
        }
        for sequence in [65_535, 0, 1] {
            open(&mut receiver, &sealed(&mut sender, SSRC, sequence)).unwrap();
        }
        assert_eq!(receiver.stream_count(), 1);
    }
}

/// The key of the other direction or of another suite opens nothing.
#[test]
fn wrong_key() {
    for suite in SrtpCryptoSuite::ALL {
        let mut sender = pair(suite).0;
        let packet = sealed(&mut sender, SSRC, 1);
        for other in SrtpCryptoSuite::ALL {
            let mut master = super::master(other);
            master[3] ^= 0x40;
            let mut receiver = super::SrtpReceiver::new(other, &master).unwrap();
            assert!(open(&mut receiver, &packet).is_err());
        }
    }
}

fn suites() -> impl Strategy<Value = SrtpCryptoSuite> {
    prop::sample::select(SrtpCryptoSuite::ALL.to_vec())
}

proptest! {
    #[test]
    fn noise_is_refused(
        suite in suites(),
        mut packet in prop::collection::vec(any::<u8>(), 0..200),
        header in 0usize..220,
    ) {
        let (_, mut receiver) = pair(suite);
        prop_assert!(receiver.unprotect_rtp(&mut packet.clone(), header).is_err());
        prop_assert!(receiver.unprotect_rtcp(&mut packet).is_err());
        prop_assert_eq!(receiver.stream_count(), 0);
    }

    #[test]
    fn mutations_are_refused(
        suite in suites(),
        payload in 0usize..120,
        edits in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..6),
        cut in 0usize..8,
        grow in prop::collection::vec(any::<u8>(), 0..8),
        header in 0usize..200,
    ) {
        let (mut sender, mut receiver) = pair(suite);
        let (mut packet, plain_header) = rtp(SSRC, 7, payload);
        sender.protect_rtp(&mut packet, 0, plain_header).unwrap();
        let mut report = rtcp(SSRC, (payload / 24) as u8);
        sender.protect_rtcp(&mut report, 0).unwrap();
        for (is_report, original) in [(false, packet), (true, report)] {
            let mut mutated = original.clone();
            for (at, flip) in &edits {
                let at = at.index(mutated.len());
                mutated[at] ^= flip;
            }
            mutated.truncate(mutated.len() - cut);
            mutated.extend(&grow);
            prop_assume!(mutated != original);
            let result = if is_report {
                receiver.unprotect_rtcp(&mut mutated)
            } else {
                let _ = receiver.unprotect_rtp(&mut mutated.clone(), header);
                receiver.unprotect_rtp(&mut mutated, plain_header)
            };
            prop_assert!(result.is_err());
        }
        prop_assert_eq!(receiver.stream_count(), 0);
    }

    /// Any packet that the sender takes comes out as it went in.
    #[test]
    fn any_packet_survives(
        suite in suites(),
        plain in prop::collection::vec(any::<u8>(), 12..1500),
        header in 12usize..1500,
    ) {
        let (mut sender, mut receiver) = pair(suite);
        let header = header.min(plain.len());
        let mut packet = plain.clone();
        sender.protect_rtp(&mut packet, 0, header).unwrap();
        let length = receiver.unprotect_rtp(&mut packet, header).unwrap();
        prop_assert_eq!(&packet[..length], &plain[..]);
        let mut packet = plain.clone();
        sender.protect_rtcp(&mut packet, 0).unwrap();
        let length = receiver.unprotect_rtcp(&mut packet).unwrap();
        prop_assert_eq!(&packet[..length], &plain[..]);
    }
}

#[test]
fn only_the_same_bytes_are_protected_again() {
    for suite in SrtpCryptoSuite::ALL {
        let (mut sender, mut receiver) = pair(suite);
        let first = sealed(&mut sender, 5, 1000);
        let tail: [u8; 4] = *first.last_chunk().unwrap();
        let again = |sender: &mut SrtpSender, sequence: u16, change: usize, tail: [u8; 4]| {
            let (mut packet, header) = rtp(5, sequence, 100);
            if let Some(byte) = packet.get_mut(change) {
                *byte ^= 1;
            }
            sender.protect_rtp_again(&mut packet, 0, header, tail).map(|()| packet)
        };
        for sequence in 1001..1100 {
            sealed(&mut sender, 5, sequence);
        }
        // Byte for byte: one packet, however often it is sent.
        assert_eq!(again(&mut sender, 1000, usize::MAX, tail).unwrap(), first, "{suite:?}");
        assert!(open(&mut receiver, &again(&mut sender, 1000, usize::MAX, tail).unwrap()).is_ok());
        // Another timestamp, another extension, another payload, another tag.
        for change in [4, 20, 24, 100] {
            assert_eq!(
                again(&mut sender, 1000, change, tail),
                Err(SrtpError::IndexSpent),
                "{suite:?} {change}"
            );
        }
        assert_eq!(again(&mut sender, 1000, usize::MAX, [0; 4]), Err(SrtpError::IndexSpent));
        // Not sent yet; too long ago to tell.
        assert_eq!(again(&mut sender, 1100, usize::MAX, tail), Err(SrtpError::IndexSpent));
        sealed(&mut sender, 5, 2100);
        assert_eq!(again(&mut sender, 1000, usize::MAX, tail), Err(SrtpError::IndexSpent));
        sender.forget(5);
        let last = *sealed(&mut pair(suite).0, 5, 2100).last_chunk().unwrap();
        assert_eq!(
            again(&mut sender, 2100, usize::MAX, last),
            Err(SrtpError::IndexSpent),
            "of an earlier life"
        );
    }
}
