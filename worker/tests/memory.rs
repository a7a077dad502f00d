//! What a consumer of video takes, in bytes that the engine holds. Cipher contexts of the C library do not count.

mod room;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use channel_proto::srtp_parameters::SrtpCryptoSuite;
use room::Room;
use serde_json::{Value, json};

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: hands everything to the system allocator.
#[allow(unsafe_code, reason = "an allocator is unsafe by nature")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.set(HELD.get() + layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.set(HELD.get() - layout.size() as isize);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SENDER: u16 = 9;
/// Port of the first receiver.
const RECEIVERS: u16 = 10_000;
const CONSUMERS: u16 = 50;
/// Microseconds between frames.
const FRAME: u64 = 33_000;
/// Packets of a frame and bytes of their payload: 2.5 Mbit/s.
const PARTS: u16 = 10;
const PAYLOAD: usize = 1020;
/// What a consumer with its transport and its share of the packets that are kept may take.
const GOAL: isize = 32 * 1024;

fn codecs(payload_type: u8) -> Value {
    json!([
        {"mimeType": "video/VP8", "payloadType": payload_type, "clockRate": 90000,
            "rtcpFeedback": [{"type": "nack"}, {"type": "nack", "parameter": "pli"}]},
        {"mimeType": "video/rtx", "payloadType": payload_type + 1, "clockRate": 90000,
            "parameters": {"apt": payload_type}},
    ])
}

/// A producer of two streams, and a consumer of the higher one on each of so many transports with SRTP.
fn call(room: &mut Room) -> isize {
    let input = json!({"routerId": "r", "transportId": "in", "producerId": "p"});
    let listen = json!({"listenIp": {"ip": "127.0.0.1"}, "rtcpMux": true, "comedia": true});
    room.request("worker.createRouter", input.clone(), json!({}));
    room.request("router.createPlainTransport", input.clone(), listen);
    let encodings = [5, 7].map(|ssrc| json!({"ssrc": ssrc, "rtx": {"ssrc": ssrc + 1}}));
    let mapped = [5, 7].map(|ssrc| json!({"ssrc": ssrc, "mappedSsrc": ssrc + 100}));
    let types = [96, 97].map(|sent| json!({"payloadType": sent, "mappedPayloadType": sent + 5}));
    let produce = json!({"kind": "video", "rtpParameters": {"codecs": codecs(96), "encodings": encodings},
        "rtpMapping": {"codecs": types, "encodings": mapped}});
    room.request("transport.produce", input, produce);
    let before = HELD.get();
    let suite = SrtpCryptoSuite::AesCm128HmacSha1_80;
    for index in 0..CONSUMERS {
        let output = json!({"routerId": "r", "transportId": format!("t{index}"), "consumerId": "c", "producerId": "p"});
        let create = json!({"listenIp": {"ip": "127.0.0.1"}, "rtcpMux": true, "enableSrtp": true,
            "srtpCryptoSuite": suite.as_str()});
        room.request("router.createPlainTransport", output.clone(), create);
        let key = STANDARD.encode(vec![1; suite.master_length()]);
        let connect = json!({"ip": "127.0.0.1", "port": RECEIVERS + index,
            "srtpParameters": {"cryptoSuite": suite.as_str(), "keyBase64": key}});
        room.request("transport.connect", output.clone(), connect);
        let consume = json!({"kind": "video", "type": "simulcast",
            "consumableRtpEncodings": [{"ssrc": 105}, {"ssrc": 107}],
            "rtpParameters": {"codecs": codecs(101), "encodings": [
                {"ssrc": 1000 + 2 * index, "rtx": {"ssrc": 1001 + 2 * index}, "scalabilityMode": "S2T1"}]}});
        room.request("transport.consume", output, consume);
    }
    before
}

#[test]
fn a_consumer_of_video_takes_at_most_32_kib() {
    let mut room = Room::new();
    let before = call(&mut room);
    let (mut sequence, mut sent) = (0_u16, 0);
    for frame in 0..200_u32 {
        for part in 0..PARTS {
            let mut packet = vec![0x80, 96 | u8::from(part + 1 == PARTS) << 7];
            packet.extend(sequence.to_be_bytes());
            packet.extend((frame * 2970).to_be_bytes());
            packet.extend(5_u32.to_be_bytes());
            packet.extend([if part == 0 { 0x10 } else { 0 }, u8::from(frame % 100 > 0)]);
            packet.resize(packet.len() + PAYLOAD, 0);
            room.datagram(1, SENDER, packet);
            sequence = sequence.wrapping_add(1);
        }
        room.wait(FRAME);
        for index in 0..CONSUMERS {
            sent += room.sent_to(RECEIVERS + index).len();
        }
        room.sent_to(SENDER);
        room.told.clear();
    }
    assert!(sent >= 2000 * usize::from(CONSUMERS), "{sent} packets were sent");
    let each = (HELD.get() - before) / isize::try_from(CONSUMERS).expect("a number");
    println!("{each} bytes for each of {CONSUMERS} consumers");
    assert!(each <= GOAL, "{each} bytes");
    assert!(each > 5000, "{each} bytes: the packets that are kept alone are more");
}
