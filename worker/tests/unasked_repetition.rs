//! What a receiver reports to be lost is sent again, though it does not ask for it.

mod room;

use serde_json::json;
use worker::rtcp::{TransportFeedbackBuilder, generic_nack};
use worker::rtp::packet::{RtpHeader, is_rtcp};

use room::Room;

const SSRC: u32 = 100;
const RTX_SSRC: u32 = 101;
const SENDER: u16 = 9;
const RECEIVER: u16 = 40_000;
const TRANSPORT_CC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
const TRANSPORT_CC_ID: u8 = 5;

/// A packet that the receiver was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Packet {
    /// Its number among all that the receiver is sent.
    wide: u16,
    /// Its number in its stream; of a repetition, that of the packet which it repeats.
    number: u16,
    again: bool,
}

/// A sender of video and a receiver of it that reports arrivals.
struct Relay {
    room: Room,
    sent: u16,
    reports: u8,
}

impl Relay {
    fn new(rtx: bool) -> Self {
        let mut room = Room::new();
        let codecs = |payload_type: u8, rtx: bool| {
            let media = json!({"mimeType": "video/VP8", "payloadType": payload_type, "clockRate": 90000,
                "rtcpFeedback": [{"type": "nack"}, {"type": "transport-cc"}]});
            let repair = json!({"mimeType": "video/rtx", "payloadType": payload_type + 1, "clockRate": 90000,
                "parameters": {"apt": payload_type}});
            if rtx { json!([media, repair]) } else { json!([media]) }
        };
        room.request("worker.createRouter", json!({"routerId": "r"}), json!({}));
        let input = json!({"routerId": "r", "transportId": "in", "producerId": "p"});
        let listen = json!({"listenIp": {"ip": "127.0.0.1"}, "comedia": true});
        room.request("router.createPlainTransport", input.clone(), listen);
        let produce = json!({"kind": "video",
            "rtpParameters": {"codecs": codecs(96, true), "encodings": [{"ssrc": 5, "rtx": {"ssrc": 6}}],
                "headerExtensions": [{"uri": TRANSPORT_CC, "id": 8}]},
            "rtpMapping": {"codecs": [{"payloadType": 96, "mappedPayloadType": 101},
                    {"payloadType": 97, "mappedPayloadType": 102}],
                "encodings": [{"ssrc": 5, "mappedSsrc": 7}]}});
        room.request("transport.produce", input, produce);
        let output = json!({"routerId": "r", "transportId": "out", "consumerId": "c", "producerId": "p"});
        let listen = json!({"listenIp": {"ip": "127.0.0.1"}});
        room.request("router.createPlainTransport", output.clone(), listen);
        let connect = json!({"ip": "127.0.0.1", "port": RECEIVER});
        room.request("transport.connect", output.clone(), connect);
        let mut encoding = json!({"ssrc": SSRC});
        if rtx {
            encoding["rtx"] = json!({"ssrc": RTX_SSRC});
        }
        let consume = json!({"kind": "video", "type": "simple", "consumableRtpEncodings": [{"ssrc": 7}],
            "rtpParameters": {"codecs": codecs(101, rtx), "encodings": [encoding],
                "headerExtensions": [{"uri": TRANSPORT_CC, "id": TRANSPORT_CC_ID}]}});
        room.request("transport.consume", output, consume);
        Self {
            room,
            sent: 0,
            reports: 0,
        }
    }

    /// What the receiver is sent, but for padding.
    fn received(&mut self) -> Vec<Packet> {
        let mut packets = self.room.sent_to(RECEIVER);
        packets.retain(|packet| !is_rtcp(packet));
        let media = packets.iter().filter_map(|packet| {
            let header = RtpHeader::parse(packet).unwrap();
            let again = header.ssrc == RTX_SSRC;
            let original = header.payload(packet).first_chunk::<2>().copied();
            let wide = header.extension(packet, TRANSPORT_CC_ID).unwrap();
            (again || header.ssrc == SSRC).then(|| Packet {
                wide: u16::from_be_bytes(wide.try_into().unwrap()),
                number: if again {
                    u16::from_be_bytes(original.unwrap())
                } else {
                    header.sequence_number
                },
                again,
            })
        });
        media.collect()
    }

    /// The sender sends so many packets, 10 ms apart.
    fn send(&mut self, count: u16) -> Vec<Packet> {
        let mut received = Vec::new();
        for _ in 0..count {
            let mut packet = vec![0x80, 0xe0];
            packet.extend(self.sent.to_be_bytes());
            packet.extend((u32::from(self.sent) * 900).to_be_bytes());
            packet.extend(5_u32.to_be_bytes());
            packet.extend([0x10, u8::from(self.sent != 0)]);
            packet.extend([7; 298]);
            self.sent += 1;
            self.room.datagram(1, SENDER, packet);
            self.room.wait(10_000);
            received.extend(self.received());
        }
        received
    }

    /// The receiver reports on packets from a number on; returns what it is sent at once.
    fn report(&mut self, from: u16, arrived: &[bool]) -> Vec<Packet> {
        let mut message = Vec::new();
        let now = self.room.now;
        let arrivals = (0..)
            .zip(arrived)
            .map(|(index, arrived)| arrived.then_some(now + index));
        TransportFeedbackBuilder::new().write(&mut message, 1, self.reports, from, arrivals, 1000);
        self.reports = self.reports.wrapping_add(1);
        self.room.datagram(2, RECEIVER, message);
        self.received()
    }

    fn ask(&mut self, number: u16) -> Vec<Packet> {
        let mut request = Vec::new();
        generic_nack(&mut request, SSRC, &[number], 1000);
        self.room.datagram(2, RECEIVER, request);
        self.received()
    }
}

#[test]
fn a_packet_is_sent_again_until_it_arrives() {
    let mut relay = Relay::new(true);
    let sent = relay.send(5);
    let again = relay.report(sent[0].wide, &[true, true, false, true, true]);
    let [one] = again[..] else { panic!("{again:?}") };
    assert_eq!((one.number, one.again), (sent[2].number, true));
    // It is on its way: that it did not arrive the first time is no news, whoever says so.
    assert_eq!(relay.report(sent[0].wide, &[true, true, false, true, true]), []);
    assert_eq!(relay.ask(one.number), []);
    relay.send(3);
    let again = relay.report(one.wide, &[false, true, true, true]);
    let [two] = again[..] else { panic!("{again:?}") };
    assert_eq!((two.number, two.again), (one.number, true));
    assert_ne!(two.wide, one.wide);
    assert_eq!(relay.report(two.wide, &[true]), []);
}

#[test]
fn what_was_asked_for_is_sent_again_only_if_that_is_lost_too() {
    let mut relay = Relay::new(true);
    let sent = relay.send(5);
    let asked = relay.ask(sent[2].number);
    let [one] = asked[..] else { panic!("{asked:?}") };
    assert_eq!(relay.report(sent[0].wide, &[true, true, false, true, true]), []);
    relay.send(1);
    let again = relay.report(one.wide, &[false, true]);
    assert_eq!(
        again.iter().map(|packet| packet.number).collect::<Vec<_>>(),
        [one.number]
    );
}

/// Of a lost report only repetitions are taken for lost, until the path is known to lose much.
#[test]
fn a_lost_report_may_have_told_of_losses() {
    let mut relay = Relay::new(true);
    let sent = relay.send(5);
    let again = relay.report(sent[0].wide, &[true; 5]);
    assert_eq!(again, []);
    let sent = relay.send(5);
    let asked = relay.ask(sent[1].number);
    let [one] = asked[..] else { panic!("{asked:?}") };
    let next = relay.send(5);
    // All before that was told in a report that did not come.
    let again = relay.report(next[0].wide, &[true; 5]);
    assert_eq!(
        again.iter().map(|packet| packet.number).collect::<Vec<_>>(),
        [one.number]
    );
    // Half of what is sent is lost.
    relay.send(6);
    let again = relay.report(again[0].wide, &[true, false, true, false, true, false, true]);
    assert_eq!(again.len(), 3);
    let unknown = relay.send(4);
    let next = relay.send(2);
    let numbers: Vec<_> = relay
        .report(next[0].wide, &[true; 2])
        .iter()
        .map(|one| one.number)
        .collect();
    assert!(
        unknown.iter().all(|packet| numbers.contains(&packet.number)),
        "{numbers:?}"
    );
}

#[test]
fn what_would_come_too_late_is_not_sent_again() {
    let mut relay = Relay::new(true);
    let sent = relay.send(5);
    relay.room.wait(1_000_000);
    assert_eq!(relay.report(sent[0].wide, &[true, false, true, false, true]), []);
}

/// Such repetitions have the number of the first one: nothing is known of what becomes of them.
#[test]
fn without_rtx_nobody_gets_what_they_did_not_ask_for() {
    let mut relay = Relay::new(false);
    let sent = relay.send(5);
    assert_eq!(relay.report(sent[0].wide, &[true, false, true, false, true]), []);
}

#[test]
fn a_receiver_that_loses_everything_gets_a_bounded_share_on_top() {
    let mut relay = Relay::new(true);
    let (mut first, mut again, mut newest) = (0, 0, 0);
    for _ in 0..600 {
        let mut packets = relay.send(5);
        let from = newest + 1;
        newest = packets.iter().map(|packet| packet.wide).fold(newest, u16::max);
        // Some of it arrives, so that something is estimated.
        let arrived: Vec<_> = (from..=newest).map(|number| number == from).collect();
        packets.extend(relay.report(from, &arrived));
        newest = packets.iter().map(|packet| packet.wide).fold(newest, u16::max);
        first += packets.iter().filter(|packet| !packet.again).count();
        again += packets.iter().filter(|packet| packet.again).count();
    }
    assert!(
        again > first / 10 && again <= first / 4 + 128 * 1024 / 300,
        "{again} for {first}"
    );
}
