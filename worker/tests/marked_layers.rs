//! Layers that header extensions tell: AV1 by its dependency descriptor, H.264 by frame marking.

mod room;

use room::Room;
use serde_json::{Value, json};

const SENDER: u16 = 9;
const RECEIVER: u16 = 10;

struct Call {
    room: Room,
    /// What the receiver got.
    received: Vec<Vec<u8>>,
}

impl Call {
    /// One producer and one consumer on plain transports.
    fn new(produce: Value, consume: Value) -> Self {
        let mut room = Room::new();
        let input = json!({"routerId": "r", "transportId": "in", "producerId": "p"});
        let output = json!({"routerId": "r", "transportId": "out", "consumerId": "c", "producerId": "p"});
        let listen = |comedia: bool| json!({"listenIp": {"ip": "127.0.0.1"}, "comedia": comedia});
        room.request("worker.createRouter", input.clone(), json!({}));
        room.request("router.createPlainTransport", input.clone(), listen(true));
        room.request("router.createPlainTransport", output.clone(), listen(false));
        room.request("transport.produce", input, produce);
        let address = json!({"ip": "127.0.0.1", "port": RECEIVER});
        room.request("transport.connect", output.clone(), address);
        room.request("transport.consume", output, consume);
        let received = Vec::new();
        Self { room, received }
    }

    /// Sends a packet with an extension of id 4; tells how many came out.
    fn send(&mut self, ssrc: u32, sequence: u16, timestamp: u32, extension: &[u8], payload: &[u8]) -> usize {
        let mut packet = vec![0x90, 96];
        packet.extend(sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(ssrc.to_be_bytes());
        let mut block = vec![4, extension.len() as u8];
        block.extend(extension);
        block.resize(block.len().next_multiple_of(4), 0);
        // Two-byte form, since a structure does not fit the other one.
        packet.extend([0x10, 0x00, 0, (block.len() / 4) as u8]);
        packet.extend(block);
        packet.extend(payload);
        self.room.now = u64::from(timestamp) * 11;
        self.room.datagram(1, SENDER, packet);
        let sent = self.room.sent_to(RECEIVER);
        let before = self.received.len();
        self.received
            .extend(sent.into_iter().filter(|packet| !(192..224).contains(&packet[1])));
        self.received.len() - before
    }

    fn numbers_are_consecutive(&self) -> bool {
        let number = |packet: &Vec<u8>| u16::from_be_bytes([packet[2], packet[3]]);
        let numbers: Vec<u16> = self.received.iter().map(number).collect();
        numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1))
    }
}

fn parameters(mime_type: &str, uri: &str, encodings: &Value) -> Value {
    json!({"codecs": [{"mimeType": mime_type, "payloadType": 96, "clockRate": 90000}],
        "headerExtensions": [{"uri": uri, "id": 4}], "encodings": encodings})
}

#[test]
fn av1_without_the_spatial_layer_that_is_not_preferred() {
    let uri = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";
    let encoding = |ssrc: u32| json!([{"ssrc": ssrc, "scalabilityMode": "L2T1"}]);
    let produce = json!({"kind": "video", "rtpParameters": parameters("video/AV1", uri, &encoding(5)),
        "rtpMapping": {"codecs": [{"payloadType": 96, "mappedPayloadType": 96}],
            "encodings": [{"ssrc": 5, "mappedSsrc": 6}]}});
    let consume = json!({"kind": "video", "type": "svc", "consumableRtpEncodings": [{"ssrc": 6}],
        "preferredLayers": {"spatialLayer": 0}, "rtpParameters": parameters("video/AV1", uri, &encoding(7))});
    let mut call = Call::new(produce, consume);
    // Two templates (0:0 and 1:0), one decode target; no frame differences, chains or resolutions.
    // 11 000000 n16 | 10000 | 000000 00000 10 11 | 10 10 | 0 0 | 0 | 0
    let key = |number: u8| [0xc0, 0, number, 0b1000_0000, 0b0000_0000, 0b1011_1010, 0];
    let of = |template: u8, number: u8| [0xc0 | template, 0, number];
    assert_eq!(call.send(5, 1, 0, &of(0, 1), b"before any structure"), 0);
    let mut sequence = 1;
    let mut number = 1;
    for frame in 1..20_u32 {
        for spatial in 0..2_u8 {
            (sequence, number) = (sequence + 1, number + 1);
            let came_out = if frame == 1 && spatial == 0 {
                call.send(5, sequence, frame * 3000, &key(number), b"key")
            } else {
                call.send(5, sequence, frame * 3000, &of(spatial, number), b"frame")
            };
            assert_eq!(came_out, usize::from(spatial == 0), "frame {frame}, layer {spatial}");
        }
    }
    assert!(call.numbers_are_consecutive());
    // The end of the lower layer is the end of the picture for this receiver.
    assert!(call.received.iter().all(|packet| packet[1] & 0x80 != 0));
}

#[test]
fn h264_without_the_temporal_layer_that_is_not_preferred() {
    let uri = "urn:ietf:params:rtp-hdrext:framemarking";
    let encodings = json!([{"ssrc": 5, "scalabilityMode": "L1T2"}, {"ssrc": 6, "scalabilityMode": "L1T2"}]);
    let produce = json!({"kind": "video", "rtpParameters": parameters("video/H264", uri, &encodings),
        "rtpMapping": {"codecs": [{"payloadType": 96, "mappedPayloadType": 96}],
            "encodings": [{"ssrc": 5, "mappedSsrc": 15}, {"ssrc": 6, "mappedSsrc": 16}]}});
    let encoding = json!([{"ssrc": 7, "scalabilityMode": "S2T2"}]);
    let consume = json!({"kind": "video", "type": "simulcast", "consumableRtpEncodings": [{"ssrc": 15}, {"ssrc": 16}],
        "preferredLayers": {"spatialLayer": 0, "temporalLayer": 0},
        "rtpParameters": parameters("video/H264", uri, &encoding)});
    let mut call = Call::new(produce, consume);
    assert_eq!(call.send(5, 1, 0, &[0xc0, 0, 0], &[0x61, 0]), 0);
    assert_eq!(call.send(5, 2, 3000, &[0xe0, 0, 0], &[0x67, 0]), 1);
    for frame in 1..20_u16 {
        let layer = (frame % 2) as u8;
        let marking = [0xc8 | layer, 0, 0];
        let came_out = call.send(5, 2 + frame, 3000 + u32::from(frame) * 3000, &marking, &[0x61, 0]);
        assert_eq!(came_out, usize::from(layer == 0), "frame {frame}");
    }
    assert!(call.numbers_are_consecutive());
}
