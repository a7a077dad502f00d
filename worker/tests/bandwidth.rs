//! Senders learn when their packets arrive, or what they can send; receivers get numbers to tell by.

mod room;

use serde_json::{Value, json};
use worker::rtcp::{self, RtcpPacket, TransportFeedback};
use worker::rtp::extensions::abs_send_time;
use worker::rtp::packet::RtpHeader;

use room::Room;

const SENDER: u16 = 9;
const RECEIVER: u16 = 40_000;
const TRANSPORT_CC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
const ABS_SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";

fn codecs(payload_type: u8, feedback: &str) -> Value {
    json!([{"mimeType": "video/VP8", "payloadType": payload_type, "clockRate": 90000,
        "rtcpFeedback": [{"type": "nack"}, {"type": feedback}]}])
}

/// A sender with an extension (id 8) and feedback, and a receiver.
fn relay(uri: &str, feedback: &str) -> Room {
    let mut room = Room::new();
    room.request("worker.createRouter", json!({"routerId": "r"}), json!({}));
    let input = json!({"routerId": "r", "transportId": "in", "producerId": "p"});
    let listen = json!({"listenIp": {"ip": "127.0.0.1"}, "comedia": true});
    room.request("router.createPlainTransport", input.clone(), listen);
    let produce = json!({"kind": "video",
        "rtpParameters": {"codecs": codecs(96, feedback), "encodings": [{"ssrc": 5}],
            "headerExtensions": [{"uri": uri, "id": 8}]},
        "rtpMapping": {"codecs": [{"payloadType": 96, "mappedPayloadType": 101}],
            "encodings": [{"ssrc": 5, "mappedSsrc": 7}]}});
    room.request("transport.produce", input, produce);
    let output = json!({"routerId": "r", "transportId": "out", "consumerId": "c", "producerId": "p"});
    let listen = json!({"listenIp": {"ip": "127.0.0.1"}});
    room.request("router.createPlainTransport", output.clone(), listen);
    room.request(
        "transport.connect",
        output.clone(),
        json!({"ip": "127.0.0.1", "port": RECEIVER}),
    );
    let consume = json!({"kind": "video", "type": "simple", "consumableRtpEncodings": [{"ssrc": 7}],
        "rtpParameters": {"codecs": codecs(101, feedback), "encodings": [{"ssrc": 100}],
            "headerExtensions": [{"uri": ABS_SEND_TIME, "id": 4}, {"uri": TRANSPORT_CC, "id": 5}]}});
    room.request("transport.consume", output, consume);
    room
}

fn media(number: u16, extension: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x90, 0xe0];
    packet.extend(number.to_be_bytes());
    packet.extend((u32::from(number) * 1800).to_be_bytes());
    packet.extend(5_u32.to_be_bytes());
    packet.extend([0xbe, 0xde, 0, 1]);
    let mut element = vec![0x80 | (extension.len() - 1) as u8];
    element.extend(extension);
    element.resize(4, 0);
    packet.extend(element);
    packet.extend([0x10, u8::from(number != 0)]);
    packet.extend([7; 400]);
    packet
}

#[test]
fn arrivals_are_reported_to_who_counts_its_packets() {
    let mut room = relay(TRANSPORT_CC, "transport-cc");
    let mut told = Vec::new();
    let mut messages = Vec::new();
    for number in 0..100_u16 {
        if number != 7 {
            room.datagram(
                1,
                SENDER,
                media(number, &(65_500_u16.wrapping_add(number)).to_be_bytes()),
            );
        }
        room.wait(20_000);
        for datagram in room.sent_to(SENDER) {
            for packet in rtcp::parse(&datagram).into_iter().flatten() {
                if let RtcpPacket::TransportFeedback { media_ssrc, body } = packet {
                    assert_eq!(media_ssrc, 5);
                    let feedback = TransportFeedback::parse(body).unwrap();
                    messages.push(feedback.message_count);
                    told.extend(feedback.packets().map(|(number, at)| (number, at.is_some())));
                }
            }
        }
    }
    room.wait(200_000);
    let expected: Vec<_> = (0..told.len() as u16)
        .map(|number| (65_500_u16.wrapping_add(number), number != 7))
        .collect();
    assert!(told.len() > 90, "{}", told.len());
    assert_eq!(told, expected);
    assert_eq!(messages, (0..messages.len() as u8).collect::<Vec<_>>());
    assert!((15..25).contains(&messages.len()), "about every 100 ms");
}

#[test]
fn a_receiver_that_reports_arrivals_gets_numbered_packets() {
    let mut room = relay(TRANSPORT_CC, "transport-cc");
    for number in 0..10_u16 {
        room.datagram(1, SENDER, media(number, &number.to_be_bytes()));
        let packets = room.sent_to(RECEIVER);
        let [packet] = &packets[..] else { panic!("{packets:?}") };
        let header = RtpHeader::parse(packet).unwrap();
        assert_eq!(header.extension(packet, 5), Some((number + 1).to_be_bytes().as_slice()));
        let time = abs_send_time(room.now).to_be_bytes();
        assert_eq!(header.extension(packet, 4), Some(&time[1..]));
        room.now += 20_000;
    }
    // One that does not report gets none.
    let mut room = relay(ABS_SEND_TIME, "goog-remb");
    room.datagram(1, SENDER, media(0, &[0, 0, 0]));
    let packets = room.sent_to(RECEIVER);
    let header = RtpHeader::parse(&packets[0]).unwrap();
    assert_eq!(header.extension(&packets[0], 5), Some([0, 0].as_slice()));
}

#[test]
fn a_rate_is_told_to_who_understands_that_and_a_limit_to_everybody() {
    for (uri, feedback) in [(ABS_SEND_TIME, "goog-remb"), (TRANSPORT_CC, "transport-cc")] {
        let mut room = relay(uri, feedback);
        let transport = json!({"routerId": "r", "transportId": "in"});
        let mut told = Vec::new();
        for number in 0..400_u16 {
            let time = abs_send_time(room.now).to_be_bytes();
            let wide = number.to_be_bytes();
            let extension = if feedback == "goog-remb" { &time[1..] } else { &wide };
            if number == 100 {
                room.request(
                    "transport.setMaxIncomingBitrate",
                    transport.clone(),
                    json!({"bitrate": 100_000}),
                );
            }
            if number == 300 {
                room.request(
                    "transport.setMaxIncomingBitrate",
                    transport.clone(),
                    json!({"bitrate": 0}),
                );
            }
            room.datagram(1, SENDER, media(number, extension));
            room.wait(20_000);
            for datagram in room.sent_to(SENDER) {
                let packets = rtcp::parse(&datagram).into_iter().flatten();
                told.extend(packets.filter_map(|packet| match packet {
                    RtcpPacket::MaximumBitrate { bitrate } => Some((number, bitrate)),
                    _ => None,
                }));
            }
        }
        let between = |from: u16, to: u16| told.iter().filter(move |(at, _)| (from..to).contains(at));
        assert!(between(110, 300).all(|(_, bitrate)| *bitrate == 100_000) && between(110, 300).count() > 1);
        assert_eq!(between(300, 400).map(|(_, bitrate)| *bitrate).min(), Some(0));
        let before = between(0, 100).count();
        if feedback == "goog-remb" {
            // 165 kbit/s come; half more may.
            assert!(before > 3 && between(0, 100).all(|(_, bitrate)| (150_000..400_000).contains(bitrate)));
        } else {
            assert_eq!(before, 0);
        }
    }
}
