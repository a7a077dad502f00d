//! Protocols with state: the input also decides what happens to packets on their way between two good ends.

use std::rc::Rc;

use channel_proto::srtp_parameters::SrtpCryptoSuite;
use worker::dtls::{self, Certificate, Role};
use worker::rtp::packet::RtpHeader;
use worker::sctp::chunks::write_checksum;
use worker::sctp::{self, Delivery, Output, Settings};
use worker::srtp::{SrtpReceiver, SrtpSender};

use crate::cursor::Cursor;

/// Packets in the air at once; more are lost, so that no input runs for long.
const MAX_IN_AIR: usize = 64;
/// Most steps of an input.
const MAX_STEPS: usize = 256;

/// SRTP and SRTCP: nothing forged is accepted, what was protected comes back as it was, once.
pub fn srtp(data: &[u8]) {
    let mut input = Cursor(data);
    let choice = input.byte();
    let suites = SrtpCryptoSuite::ALL;
    let suite = suites[usize::from(choice >> 1) % suites.len()];
    let (key, position, bit) = (vec![9; suite.master_length()], input.short(), input.byte() % 8);
    let mut receiver = SrtpReceiver::new(suite, &key).expect("a key of the right length");
    let mut sender = SrtpSender::new(suite, &key).expect("a key of the right length");
    let packet = input.0;
    let rtcp = choice & 1 != 0;
    let header = RtpHeader::parse_encrypted(packet)
        .ok()
        .map(|header| header.payload_offset);
    let open = |receiver: &mut SrtpReceiver, packet: &mut Vec<u8>| {
        let length = match (rtcp, header) {
            (true, _) => receiver.unprotect_rtcp(packet).ok()?,
            (false, header) => receiver.unprotect_rtp(packet, header.unwrap_or(12)).ok()?,
        };
        packet.truncate(length);
        Some(())
    };
    // The shortest tag of RTP has 32 bits, which a fuzzer does not hit.
    assert!(open(&mut receiver, &mut packet.to_vec()).is_none(), "forged");
    let mut protected = packet.to_vec();
    let done = match (rtcp, header) {
        (true, _) => sender.protect_rtcp(&mut protected, 0),
        (false, Some(header)) => sender.protect_rtp(&mut protected, 0, header),
        (false, None) => return,
    };
    if done.is_err() {
        return;
    }
    let mut forged = protected.clone();
    let at = usize::from(position) % forged.len();
    forged[at] ^= 1 << bit;
    // A bit of the header can move where it ends, so the receiver is told again.
    let moved = RtpHeader::parse_encrypted(&forged)
        .ok()
        .map(|header| header.payload_offset);
    if rtcp || moved == header {
        assert!(
            open(&mut receiver, &mut forged).is_none(),
            "bit {bit} of byte {at} does not count"
        );
    }
    assert!(open(&mut receiver, &mut protected.clone()).is_some(), "our own");
    assert!(open(&mut receiver, &mut protected).is_none(), "replayed");
}

/// What becomes of a packet.
fn travel(packet: Vec<u8>, input: &mut Cursor<'_>, way: &mut Vec<Vec<u8>>, sound: impl Fn(&mut Vec<u8>)) {
    if way.len() >= MAX_IN_AIR {
        return;
    }
    // An input that has ended is a network without faults.
    match input.byte() {
        1 => {}
        2 => way.extend([packet.clone(), packet]),
        3 => way.insert(0, packet),
        4 => {
            let mut changed = packet;
            let at = usize::from(input.short()) % changed.len().max(1);
            let value = input.byte();
            if let Some(byte) = changed.get_mut(at) {
                *byte ^= value;
            }
            sound(&mut changed);
            way.push(changed);
        }
        5 => {
            let mut cut = packet;
            cut.truncate(usize::from(input.short()));
            sound(&mut cut);
            way.push(cut);
        }
        6 => {
            let mut strange = input.piece().to_vec();
            sound(&mut strange);
            way.extend([strange, packet]);
        }
        _ => way.push(packet),
    }
}

thread_local! {
    static CERTIFICATES: [Rc<Certificate>; 2] =
        [(); 2].map(|()| Rc::new(Certificate::generate().expect("a certificate")));
}

/// Two ends of DTLS and a network that the input controls: both only ever agree on the same keys.
pub fn dtls(data: &[u8]) {
    connect(data);
}

/// Whether both ends have connected.
fn connect(data: &[u8]) -> bool {
    let mut input = Cursor(data);
    let mut now = 1_000_000;
    let [one, other] = CERTIFICATES.with(Clone::clone);
    let mut ends = [
        dtls::Association::new(one, Role::Client, now),
        dtls::Association::new(other, Role::Server, now),
    ];
    let mut ways = [Vec::new(), Vec::new()];
    let mut keys: [Option<(Vec<u8>, Vec<u8>)>; 2] = [None, None];
    for _ in 0..MAX_STEPS {
        let mut quiet = true;
        for side in 0..2 {
            while let Some(packet) = ends[side].poll_output() {
                travel(packet, &mut input, &mut ways[1 - side], |_| {});
            }
            for packet in std::mem::take(&mut ways[side]) {
                quiet = false;
                ends[side].handle(&packet, now);
            }
            while let Some(event) = ends[side].poll_event() {
                match event {
                    dtls::Event::Connected(connected) => {
                        assert!(keys[side].is_none(), "connected twice");
                        keys[side] = Some((
                            connected.local_key.as_ref().to_vec(),
                            connected.remote_key.as_ref().to_vec(),
                        ));
                        ends[side].send(b"data", now);
                    }
                    dtls::Event::Data(_) => assert!(keys[side].is_some(), "data before the handshake"),
                    dtls::Event::Closed | dtls::Event::Failed => {}
                }
            }
        }
        if quiet {
            let Some(deadline) = ends.iter().filter_map(dtls::Association::deadline).min() else {
                break;
            };
            now = now.max(deadline);
            ends.iter_mut().for_each(|end| end.handle_timeout(now));
        }
    }
    let [Some(one), Some(other)] = &keys else {
        return false;
    };
    assert_eq!((&one.0, &one.1), (&other.1, &other.0));
    true
}

/// Two ends of SCTP and a network that the input controls; checksums are made right, so that changes get through.
pub fn sctp(data: &[u8]) {
    exchange(data);
}

/// How many messages came through.
fn exchange(data: &[u8]) -> usize {
    let mut input = Cursor(data);
    let mut now = 1_000_000;
    let mut ends = [1, 2].map(|seed| {
        let settings = Settings {
            max_message_size: 100_000,
            send_buffer_size: 200_000,
            over_dtls: false,
            secret: [seed; 32],
            seed: seed.into(),
        };
        sctp::Association::new(settings, now)
    });
    ends.iter_mut().for_each(|end| end.connect(now));
    let mut ways = [Vec::new(), Vec::new()];
    let mut messages = 0;
    let clean_start = input.byte() & 1 != 0;
    let mut nothing = Cursor(&[]);
    for step in 0..MAX_STEPS {
        let connected = ends.iter().all(|end| end.state() == sctp::State::Connected);
        let input = if clean_start && !connected && step < 16 {
            &mut nothing
        } else {
            &mut input
        };
        let control = input.byte();
        let end = &mut ends[usize::from(control & 1)];
        match control >> 1 & 7 {
            1 => {
                let delivery = Delivery {
                    ordered: control & 0x10 != 0,
                    lifetime: (control & 0x20 != 0).then_some(50),
                    max_retransmissions: (control & 0x40 != 0).then_some(1),
                };
                let (stream, length) = (input.short(), usize::from(input.short()));
                let _ = end.send(now, stream % 8, 53, vec![7; length].into(), delivery);
            }
            2 => end.reset_stream(now, u16::from(control >> 4)),
            3 if control & 0xf0 == 0xf0 => end.abort(now),
            _ => {}
        }
        let mut quiet = true;
        for side in 0..2 {
            while let Some(output) = ends[side].poll() {
                match output {
                    Output::Packet(packet) => travel(packet, input, &mut ways[1 - side], |packet| {
                        if packet.len() >= 12 {
                            write_checksum(packet);
                        }
                    }),
                    Output::Message { payload, .. } => {
                        assert!(!payload.is_empty());
                        messages += 1;
                    }
                    Output::State(_) | Output::StreamsReset(_) => {}
                }
            }
            for packet in std::mem::take(&mut ways[side]) {
                quiet = false;
                ends[side].receive(now, &packet);
            }
        }
        if quiet {
            let deadlines = ends.iter().filter_map(sctp::Association::next_timeout);
            match deadlines.min() {
                Some(deadline) => now = now.max(deadline),
                None if input.is_empty() => break,
                None => {}
            }
            // Heartbeats go on for ever.
            if input.is_empty() && step > 128 {
                break;
            }
        }
        ends.iter_mut().for_each(|end| end.handle_timeout(now));
    }
    messages
}

#[cfg(test)]
mod tests {
    #[test]
    fn good_ends_meet() {
        for lost in 0..8 {
            assert!(super::connect(&vec![1; lost]), "{lost} packets lost");
        }
        for faults in [[2; 20].as_slice(), &[3, 0, 3, 0]] {
            assert!(super::connect(faults), "{faults:?}");
        }
        assert!(super::exchange(&[1, 2, 0, 1, 0, 100]) > 0);
    }
}
