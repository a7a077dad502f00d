//! Receivers ask for packets again: what they get, and how much of it.

mod room;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use channel_proto::reply::Reply;
use channel_proto::srtp_parameters::SrtpCryptoSuite;
use serde_json::json;
use worker::rtcp;
use worker::rtp::packet::{RtpHeader, is_rtcp};
use worker::srtp::{SrtpReceiver, SrtpSender};

use room::Room;

const SSRC: u32 = 100;
const RTX_SSRC: u32 = 101;
const SENDER: u16 = 9;
const RECEIVER: u16 = 40_000;

/// A worker with a sender of video and a receiver of it.
struct Relay {
    room: Room,
    /// Of the receiver, with SRTP.
    srtp: Option<(SrtpReceiver, SrtpSender)>,
}

impl Relay {
    fn new(suite: Option<SrtpCryptoSuite>, rtx: bool) -> Self {
        let mut relay = Self {
            room: Room::new(),
            srtp: None,
        };
        let room = &mut relay.room;
        let codecs = |payload_type: u8, rtx: bool| {
            let mut codecs = vec![
                json!({"mimeType": "video/VP8", "payloadType": payload_type, "clockRate": 90000,
                "rtcpFeedback": [{"type": "nack"}, {"type": "nack", "parameter": "pli"}]}),
            ];
            if rtx {
                codecs.push(
                    json!({"mimeType": "video/rtx", "payloadType": payload_type + 1, "clockRate": 90000,
                    "parameters": {"apt": payload_type}}),
                );
            }
            codecs
        };
        room.request("worker.createRouter", json!({"routerId": "r"}), json!({}));
        let input = json!({"routerId": "r", "transportId": "in", "producerId": "p"});
        let listen = json!({"listenIp": {"ip": "127.0.0.1"}, "comedia": true});
        room.request("router.createPlainTransport", input.clone(), listen);
        let produce = json!({"kind": "video", "rtpParameters": {"codecs": codecs(96, true),
                "encodings": [{"ssrc": 5, "rtx": {"ssrc": 6}}]},
            "rtpMapping": {"codecs": [{"payloadType": 96, "mappedPayloadType": 101},
                    {"payloadType": 97, "mappedPayloadType": 102}],
                "encodings": [{"ssrc": 5, "mappedSsrc": 7}]}});
        room.request("transport.produce", input, produce);
        let output = json!({"routerId": "r", "transportId": "out", "consumerId": "c", "producerId": "p"});
        let mut create = json!({"listenIp": {"ip": "127.0.0.1"}});
        let mut connect = json!({"ip": "127.0.0.1", "port": RECEIVER});
        if let Some(suite) = suite {
            create["enableSrtp"] = true.into();
            create["srtpCryptoSuite"] = suite.as_str().into();
            let key = vec![1; suite.master_length()];
            connect["srtpParameters"] = json!({"cryptoSuite": suite.as_str(), "keyBase64": STANDARD.encode(&key)});
        }
        room.request("router.createPlainTransport", output.clone(), create);
        let connected = room.request("transport.connect", output.clone(), connect);
        if let (Some(suite), Reply::Connected(connected)) = (suite, connected) {
            let key = STANDARD.decode(connected.srtp_parameters.unwrap().key_base64).unwrap();
            relay.srtp = Some((
                SrtpReceiver::new(suite, &key).unwrap(),
                SrtpSender::new(suite, &vec![1; suite.master_length()]).unwrap(),
            ));
        }
        let mut encoding = json!({"ssrc": SSRC});
        if rtx {
            encoding["rtx"] = json!({"ssrc": RTX_SSRC});
        }
        let consume = json!({"kind": "video", "type": "simple", "consumableRtpEncodings": [{"ssrc": 7}],
            "rtpParameters": {"mid": "0", "codecs": codecs(101, rtx), "encodings": [encoding]}});
        room.request("transport.consume", output, consume);
        relay
    }

    /// What the receiver gets, as on the wire, of a packet sent to it.
    fn media(&mut self, sequence_number: u16, padding: u8) -> Vec<Vec<u8>> {
        self.room
            .datagram(1, SENDER, media(96, 5, sequence_number, padding, None));
        self.received()
    }

    /// What the receiver gets when it asks for packets.
    fn nack(&mut self, sequence_numbers: &[u16]) -> Vec<Vec<u8>> {
        let mut nack = Vec::new();
        rtcp::generic_nack(&mut nack, SSRC, sequence_numbers, 10_000);
        if let Some((_, sender)) = &mut self.srtp {
            sender.protect_rtcp(&mut nack, 0).unwrap();
        }
        self.room.datagram(2, RECEIVER, nack);
        self.received()
    }

    fn received(&mut self) -> Vec<Vec<u8>> {
        let mut packets = self.room.sent_to(RECEIVER);
        packets.retain(|packet| !is_rtcp(packet));
        packets
    }

    /// Header and payload of a packet that the receiver got for the first time.
    fn open(&mut self, packet: &[u8]) -> (RtpHeader, Vec<u8>) {
        let mut packet = packet.to_vec();
        if let Some((receiver, _)) = &mut self.srtp {
            let header = RtpHeader::parse_encrypted(&packet).unwrap();
            let length = receiver.unprotect_rtp(&mut packet, header.payload_offset).unwrap();
            packet.truncate(length);
        }
        let header = RtpHeader::parse(&packet).unwrap();
        (header, header.payload(&packet).to_vec())
    }
}

/// A packet of a frame of its own; number 0 modulo 100 is a key frame.
fn media(payload_type: u8, ssrc: u32, sequence_number: u16, padding: u8, original: Option<u16>) -> Vec<u8> {
    let mut packet = vec![if padding > 0 { 0xa0 } else { 0x80 }, 0x80 | payload_type];
    packet.extend(sequence_number.to_be_bytes());
    let number = original.unwrap_or(sequence_number);
    packet.extend((u32::from(number) * 3000).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(original.iter().flat_map(|number| number.to_be_bytes()));
    packet.extend([0x10, u8::from(!number.is_multiple_of(100))]);
    packet.extend([number as u8; 998]);
    packet.extend((0..padding).map(|_| padding));
    packet
}

fn suites() -> impl Iterator<Item = Option<SrtpCryptoSuite>> {
    std::iter::once(None).chain(SrtpCryptoSuite::ALL.into_iter().map(Some))
}

#[test]
fn by_rtx_a_packet_comes_back_with_its_number_and_without_padding() {
    for suite in suites() {
        let mut relay = Relay::new(suite, true);
        let mut first = 0;
        let mut payloads = Vec::new();
        for number in 0..10 {
            let packets = relay.media(100 + number, if number == 3 { 7 } else { 0 });
            let [packet] = &packets[..] else { panic!("{packets:?}") };
            let (header, payload) = relay.open(packet);
            assert_eq!(
                (header.ssrc, header.padding_length),
                (SSRC, if number == 3 { 7 } else { 0 })
            );
            if number == 0 {
                first = header.sequence_number;
            }
            assert_eq!(header.sequence_number, first + number);
            payloads.push(payload);
        }
        let packets = relay.nack(&[first + 3, first + 4, first + 50]);
        let mut numbers = Vec::new();
        for (packet, index) in packets.iter().zip([3_u16, 4]) {
            let (header, payload) = relay.open(packet);
            let expected = (RTX_SSRC, 102, 0, u32::from(index + 100) * 3000);
            assert_eq!(
                (
                    header.ssrc,
                    header.payload_type,
                    header.padding_length,
                    header.timestamp
                ),
                expected
            );
            assert_eq!(payload[..2], (first + index).to_be_bytes());
            assert_eq!(payload[2..], payloads[usize::from(index)]);
            numbers.push(header.sequence_number);
        }
        assert_eq!((packets.len(), numbers[1]), (2, numbers[0] + 1));
        assert!(relay.nack(&[first + 3]).is_empty(), "once a round trip");
        relay.room.now += 100_000;
        assert_eq!(relay.nack(&[first + 3]).len(), 1);
        relay.room.now += 2_000_000;
        assert!(relay.nack(&[first + 5]).is_empty(), "too old");
    }
}

/// An SRTP index must not be used for two different packets: what is sent again without RTX is the same to the last bit.
#[test]
fn without_rtx_a_packet_comes_back_byte_by_byte() {
    for suite in suites() {
        let mut relay = Relay::new(suite, false);
        let packets: Vec<_> = (0..10).flat_map(|number| relay.media(100 + number, 0)).collect();
        let first = RtpHeader::parse_encrypted(&packets[0]).unwrap().sequence_number;
        for _ in 0..2 {
            relay.room.now += 500_000;
            assert_eq!(
                relay.nack(&[first + 2, first + 7]),
                [packets[2].clone(), packets[7].clone()]
            );
        }
        // Who missed it the first time can read it.
        assert_eq!(relay.open(&packets[2]).0.sequence_number, first + 2);
        // A packet that comes twice is not sent twice.
        assert!(relay.media(104, 0).is_empty());
    }
}

#[test]
fn a_flood_of_requests_is_bounded() {
    let mut relay = Relay::new(None, true);
    let first = relay.media(100, 0);
    let mut number = RtpHeader::parse(&first[0]).unwrap().sequence_number;
    let (mut media, mut again) = (0, 0);
    for step in 0..3000_u16 {
        relay.room.now += 10_000;
        media += relay.media(101 + step, 0).iter().map(Vec::len).sum::<usize>();
        number = number.wrapping_add(1);
        // The whole history, in every way that a receiver can make the round trip look short.
        let wanted: Vec<u16> = (0..600_u16).map(|back| number.wrapping_sub(600 - back)).collect();
        again += relay.nack(&wanted).iter().map(Vec::len).sum::<usize>();
    }
    assert!(
        again > 0 && again <= media / 4 + 128 * 1024,
        "{again} bytes for {media}"
    );
}

#[test]
fn a_paused_consumer_repeats_nothing() {
    let mut relay = Relay::new(None, true);
    let first = relay.media(100, 0);
    let number = RtpHeader::parse(&first[0]).unwrap().sequence_number;
    let consumer = json!({"routerId": "r", "transportId": "out", "consumerId": "c", "producerId": "p"});
    relay.room.request("consumer.pause", consumer.clone(), json!({}));
    assert!(relay.nack(&[number]).is_empty());
    relay.room.request("consumer.resume", consumer, json!({}));
    assert_eq!(relay.nack(&[number]).len(), 1);
}

/// The way in: what is missing is asked for, comes as RTX, and goes on as media in its place.
#[test]
fn losses_before_the_worker_are_repaired_for_the_receiver() {
    let mut relay = Relay::new(Some(SrtpCryptoSuite::AeadAes128Gcm), true);
    let first = relay.media(100, 0);
    let first = relay.open(&first[0]).0.sequence_number;
    relay.media(103, 0);
    relay.room.wait(40_000);
    let asked = relay.room.sent_to(SENDER);
    let asked = asked.last().unwrap();
    assert_eq!(hex::encode(asked), "81cd0003000000000000000500650001");
    relay.room.datagram(1, SENDER, media(97, 6, 9, 0, Some(102)));
    // One that comes twice is dropped.
    relay.room.datagram(1, SENDER, media(97, 6, 10, 0, Some(102)));
    relay.room.datagram(1, SENDER, media(97, 6, 11, 0, Some(101)));
    let repaired = relay.received();
    let numbers: Vec<u16> = repaired
        .iter()
        .map(|packet| relay.open(packet).0.sequence_number)
        .collect();
    assert_eq!(numbers, [first + 2, first + 1]);
    let stats = relay.room.request(
        "producer.getStats",
        json!({"routerId": "r", "transportId": "in", "producerId": "p"}),
        json!({}),
    );
    let Reply::RtpStreamStats(stats) = stats else {
        panic!("{stats:?}")
    };
    let stats = &stats[0];
    let figures = (
        stats.nack_count,
        stats.nack_packet_count,
        stats.packets_retransmitted,
        stats.packets_repaired,
    );
    assert_eq!(figures, (1, 2, 3, 2));
    assert_eq!((stats.packet_count, stats.rtx_ssrc), (4, Some(6)));
    // What came by RTX before it came at all goes on too.
    relay.room.datagram(1, SENDER, media(97, 6, 12, 0, Some(104)));
    let packets = relay.received();
    assert_eq!(relay.open(&packets[0]).0.sequence_number, first + 4);
    assert!(relay.media(104, 0).is_empty());
}

/// A simulcast consumer has timestamps and picture ids of its own: they come back as they were sent.
#[test]
fn what_layers_changed_is_repeated_as_it_was_sent() {
    let mut room = Room::new();
    let vp8 = |payload_type: u8| {
        json!([{"mimeType": "video/VP8", "payloadType": payload_type, "clockRate": 90000,
                "rtcpFeedback": [{"type": "nack"}, {"type": "nack", "parameter": "pli"}]},
            {"mimeType": "video/rtx", "payloadType": payload_type + 1, "clockRate": 90000,
                "parameters": {"apt": payload_type}}])
    };
    room.request("worker.createRouter", json!({"routerId": "r"}), json!({}));
    let input = json!({"routerId": "r", "transportId": "in", "producerId": "p"});
    let listen = json!({"listenIp": {"ip": "127.0.0.1"}, "comedia": true});
    room.request("router.createPlainTransport", input.clone(), listen);
    let produce = json!({"kind": "video",
        "rtpParameters": {"codecs": vp8(96), "encodings": [{"ssrc": 5, "scalabilityMode": "L1T2"},
            {"ssrc": 6, "scalabilityMode": "L1T2"}]},
        "rtpMapping": {"codecs": [{"payloadType": 96, "mappedPayloadType": 101},
                {"payloadType": 97, "mappedPayloadType": 102}],
            "encodings": [{"ssrc": 5, "mappedSsrc": 7}, {"ssrc": 6, "mappedSsrc": 8}]}});
    room.request("transport.produce", input, produce);
    let output = json!({"routerId": "r", "transportId": "out", "consumerId": "c", "producerId": "p"});
    room.request(
        "router.createPlainTransport",
        output.clone(),
        json!({"listenIp": {"ip": "127.0.0.1"}}),
    );
    room.request(
        "transport.connect",
        output.clone(),
        json!({"ip": "127.0.0.1", "port": RECEIVER}),
    );
    let consume = json!({"kind": "video", "type": "simulcast",
        "consumableRtpEncodings": [{"ssrc": 7, "scalabilityMode": "L1T2"}, {"ssrc": 8, "scalabilityMode": "L1T2"}],
        "preferredLayers": {"spatialLayer": 0, "temporalLayer": 0},
        "rtpParameters": {"codecs": vp8(101),
            "encodings": [{"ssrc": SSRC, "rtx": {"ssrc": RTX_SSRC}, "scalabilityMode": "L2T2"}]}});
    room.request("transport.consume", output, consume);
    let mut sent = Vec::new();
    for number in 0..40_u16 {
        let layer = (number % 2) as u8;
        let mut packet = vec![0x80, 0xe0];
        packet.extend((9000 + number).to_be_bytes());
        packet.extend((u32::from(number) * 1500 + 77_777).to_be_bytes());
        packet.extend(5_u32.to_be_bytes());
        // Extended, start; picture id, TL0PICIDX and layer; picture id of 7 or 15 bits.
        packet.extend([0x90, 0xe0]);
        if number < 20 {
            packet.push((100 + number as u8) & 0x7f);
        } else {
            packet.extend((0x8000 | (500 + number)).to_be_bytes());
        }
        packet.extend([(number / 2) as u8, (layer << 6) | 0x20, u8::from(number != 0)]);
        packet.extend([number as u8; 300]);
        room.datagram(1, SENDER, packet);
        room.now += 10_000;
        for packet in room.sent_to(RECEIVER) {
            if !is_rtcp(&packet) {
                let header = RtpHeader::parse(&packet).unwrap();
                sent.push((header, header.payload(&packet).to_vec()));
            }
        }
    }
    assert!(
        (18..=22).contains(&sent.len()),
        "{} of the lower temporal layer",
        sent.len()
    );
    let numbers: Vec<u16> = sent.iter().map(|(header, _)| header.sequence_number).collect();
    let mut nack = Vec::new();
    rtcp::generic_nack(&mut nack, SSRC, &numbers, 1000);
    room.datagram(2, RECEIVER, nack);
    let again = room.sent_to(RECEIVER);
    assert_eq!(again.len(), sent.len());
    for (packet, (first, payload)) in again.iter().zip(&sent) {
        let header = RtpHeader::parse(packet).unwrap();
        assert_eq!(
            (header.ssrc, header.timestamp, header.marker),
            (RTX_SSRC, first.timestamp, first.marker)
        );
        let repeated = header.payload(packet);
        assert_eq!(repeated[..2], first.sequence_number.to_be_bytes());
        assert_eq!(repeated[2..], payload[..]);
    }
}
