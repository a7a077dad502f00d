//! Forwarding does not touch the heap: a counting allocator around an engine that forwards bursts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use channel_proto::dialect::json::decode_request;
use channel_proto::srtp_parameters::SrtpCryptoSuite;
use serde_json::{Value, json};
use worker::engine::outbox::{ChannelMessage, Outbox, Run};
use worker::engine::ports::{BindError, Ports, SocketId};
use worker::engine::{Config, Datagram, Engine};
use worker::rtcp::TransportFeedbackBuilder;
use worker::rtp::packet::RtpHeader;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: hands everything to the system allocator.
#[allow(unsafe_code, reason = "an allocator is unsafe by nature")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Sockets that only count, and know the last number that the first receiver got.
#[derive(Default)]
struct Network {
    sockets: u16,
    datagrams: usize,
    last: [u8; 2],
    /// Transport-wide number of the last packet to the first consumer.
    number: u16,
}

impl Ports for Network {
    fn open_udp(&mut self, ip: IpAddr, _: u16) -> Result<(SocketId, SocketAddr), BindError> {
        self.sockets += 1;
        Ok((
            SocketId(self.sockets.into()),
            SocketAddr::new(ip, 20_000 + self.sockets),
        ))
    }

    fn open_tcp(&mut self, ip: IpAddr, port: u16) -> Result<(SocketId, SocketAddr), BindError> {
        self.open_udp(ip, port)
    }

    fn close(&mut self, _: SocketId) {}

    fn transmit(&mut self, runs: &[Run], arena: &[u8]) {
        for run in runs.iter().filter(|run| run.destination.port() == RECEIVERS) {
            for packet in arena[run.start..run.start + run.length].chunks(run.segment) {
                if let [_, 101 | 0xe5, high, low, ..] = packet {
                    self.last = [*high, *low];
                }
                if let Ok(header) = RtpHeader::parse(packet)
                    && let Some(&[high, low]) = header.extension(packet, 5)
                {
                    self.number = u16::from_be_bytes([high, low]);
                }
            }
        }
        self.datagrams += runs.iter().map(|run| run.length.div_ceil(run.segment)).sum::<usize>();
    }
}

/// Port of the first receiver.
const RECEIVERS: u16 = 40_000;
const TRANSPORT_CC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
const CONSUMERS: usize = 10;
const BURST: usize = 10;

fn request(engine: &mut Engine, network: &mut Network, method: &str, internal: Value, data: Value) {
    let frame = json!({"id": 1, "method": method, "internal": internal, "data": data}).to_string();
    let mut outbox = Outbox::new();
    engine.handle_request(1, decode_request(frame.as_bytes()).unwrap(), network, &mut outbox);
    let accepted =
        |message: &ChannelMessage| matches!(message, ChannelMessage::Response(answer) if answer.result.is_ok());
    assert!(outbox.channel.iter().any(accepted), "{method}: {:?}", outbox.channel);
}

/// What a receiver reports: so many packets from a number on arrived.
fn report(number: u16, count: u16, burst: u64) -> Vec<u8> {
    let mut message = Vec::new();
    let arrivals = (0..u64::from(count)).map(|index| Some(burst * 33_000 + 20_000 + index * 10));
    TransportFeedbackBuilder::new().write(&mut message, 1, burst as u8, number, arrivals, 1000);
    message
}

/// `layered`: simulcast consumers that leave out a temporal layer, so that they renumber what they send, and ask for some
/// of it again by RTX. `counted`: receivers report what arrives instead.
fn forwarding_allocates_nothing(suite: Option<SrtpCryptoSuite>, layered: bool, counted: bool) {
    let mut engine = Engine::new(Config {
        pid: 1,
        seed: [7; 32],
        unix_offset: 0,
        certificate: std::rc::Rc::new(worker::dtls::Certificate::generate().expect("a certificate")),
        pacing: worker::bwe::pacer::Pacing::default(),
    });
    let mut network = Network::default();
    let vp8 = |payload_type: u8| {
        let media = json!({"mimeType": "video/VP8", "payloadType": payload_type, "clockRate": 90000,
            "rtcpFeedback": [{"type": "nack"}]});
        let rtx = json!({"mimeType": "video/rtx", "payloadType": payload_type + 1, "clockRate": 90000,
            "parameters": {"apt": payload_type}});
        if layered { json!([media, rtx]) } else { json!([media]) }
    };
    request(
        &mut engine,
        &mut network,
        "worker.createRouter",
        json!({"routerId": "r"}),
        json!({}),
    );
    let input = json!({"routerId": "r", "transportId": "in", "producerId": "p"});
    let listen = json!({"listenIp": {"ip": "127.0.0.1"}, "comedia": true});
    request(
        &mut engine,
        &mut network,
        "router.createPlainTransport",
        input.clone(),
        listen,
    );
    let encodings = |count: usize| {
        (5..)
            .take(count)
            .map(|ssrc| json!({"ssrc": ssrc, "rtx": {"ssrc": ssrc + 50}, "scalabilityMode": "L1T2"}))
    };
    let (kind, mode, count) = if layered {
        ("simulcast", "S2T2", 2)
    } else {
        ("simple", "L1T1", 1)
    };
    let encodings: Vec<_> = match count {
        1 => vec![json!({"ssrc": 5})],
        count => encodings(count).collect(),
    };
    let mapped: Vec<_> = (5..)
        .take(count)
        .map(|ssrc| json!({"ssrc": ssrc, "mappedSsrc": ssrc + 1}))
        .collect();
    let consumable: Vec<_> = (6..).take(count).map(|ssrc| json!({"ssrc": ssrc})).collect();
    let produce = json!({"kind": "video", "rtpParameters": {"codecs": vp8(96), "encodings": encodings},
        "rtpMapping": {"codecs": [{"payloadType": 96, "mappedPayloadType": 101}, {"payloadType": 97, "mappedPayloadType": 102}],
            "encodings": mapped}});
    request(&mut engine, &mut network, "transport.produce", input, produce);
    for index in 0..CONSUMERS {
        let output = json!({"routerId": "r", "transportId": format!("t{index}"), "consumerId": "c", "producerId": "p"});
        let mut create = json!({"listenIp": {"ip": "127.0.0.1"}, "initialAvailableOutgoingBitrate": 5_000_000});
        let mut connect = json!({"ip": "127.0.0.1", "port": usize::from(RECEIVERS) + index});
        if let Some(suite) = suite {
            let key = STANDARD.encode(vec![1; suite.master_length()]);
            create["enableSrtp"] = true.into();
            create["srtpCryptoSuite"] = suite.as_str().into();
            connect["srtpParameters"] = json!({"cryptoSuite": suite.as_str(), "keyBase64": key});
        }
        request(
            &mut engine,
            &mut network,
            "router.createPlainTransport",
            output.clone(),
            create,
        );
        request(&mut engine, &mut network, "transport.connect", output.clone(), connect);
        let mut encoding = json!({"ssrc": 100 + index, "scalabilityMode": mode});
        if layered {
            encoding["rtx"] = json!({"ssrc": 200 + index});
        }
        let (mut codecs, mut extensions) = (vp8(101), json!([]));
        if counted {
            codecs[0]["rtcpFeedback"] = json!([{"type": "nack"}, {"type": "transport-cc"}]);
            extensions = json!([{"uri": TRANSPORT_CC, "id": 5}]);
        }
        let consume = json!({"kind": "video", "type": kind, "consumableRtpEncodings": consumable,
            "preferredLayers": {"spatialLayer": 0, "temporalLayer": 0}, "rtpParameters": {"codecs": codecs,
                "encodings": [encoding], "headerExtensions": extensions}});
        request(&mut engine, &mut network, "transport.consume", output, consume);
    }

    // One of them asks for its last packet again, each time.
    let asks = layered && suite.is_none() && !counted;
    let mut outbox = Outbox::new();
    let mut sequence = 1_u16;
    let mut packets = vec![vec![0_u8; 1100]; BURST];
    let mut reported = 0_u16;
    // Returns the allocations of forwarding, and of taking reports.
    let mut forward = |engine: &mut Engine, network: &mut Network, burst: u64| {
        for (index, packet) in packets.iter_mut().enumerate() {
            packet[..2].copy_from_slice(&[0x80, 96]);
            packet[2..4].copy_from_slice(&sequence.to_be_bytes());
            packet[4..8].copy_from_slice(&(burst as u32 * 3000).to_be_bytes());
            packet[8..12].copy_from_slice(&5_u32.to_be_bytes());
            // A key frame begins with each burst; with layers, with every other one.
            let start = if index == 0 { 0x10 } else { 0 };
            if layered {
                let (picture_id, layer) = ((burst & 0x7fff) as u16 | 0x8000, (burst % 2) as u8);
                let [high, low] = picture_id.to_be_bytes();
                let descriptor = [
                    0x80 | start,
                    0xe0,
                    high,
                    low,
                    (burst / 2) as u8,
                    layer << 6 | 0x20,
                    layer,
                ];
                packet[12..19].copy_from_slice(&descriptor);
            } else {
                packet[12] = start;
            }
            sequence = sequence.wrapping_add(1);
        }
        let source = SocketAddr::from(([127, 0, 0, 1], 9));
        let mut packets = packets.iter_mut();
        let mut datagrams: [Datagram<'_>; BURST] = std::array::from_fn(|_| Datagram {
            source,
            bytes: packets.next().unwrap(),
        });
        let before = ALLOCATIONS.get();
        engine.handle_datagrams(burst * 33_000, SocketId(1), &mut datagrams, network, &mut outbox);
        outbox.flush(network);
        let mut allocations = ALLOCATIONS.get() - before;
        if asks {
            let mut request = [0x81, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 100, 0, 0, 0, 0];
            request[12..14].copy_from_slice(&network.last);
            let source = SocketAddr::from(([127, 0, 0, 1], RECEIVERS));
            let mut datagrams = [Datagram {
                source,
                bytes: &mut request,
            }];
            let before = ALLOCATIONS.get();
            engine.handle_datagrams(burst * 33_000 + 1, SocketId(2), &mut datagrams, network, &mut outbox);
            outbox.flush(network);
            allocations += ALLOCATIONS.get() - before;
        }
        if counted {
            // What waits leaves; regular reports, which are made of vectors, are not counted.
            while let Some(at) = engine.next_timeout().filter(|at| *at < burst * 33_000 + 30_000) {
                engine.handle_timeout(at.max(burst * 33_000), network, &mut outbox);
                outbox.flush(network);
            }
            // All consumers are sent the same.
            let message = report(reported.wrapping_add(1), network.number.wrapping_sub(reported), burst);
            reported = network.number;
            for index in 0..CONSUMERS as u16 {
                let mut bytes = message.clone();
                let source = SocketAddr::from(([127, 0, 0, 1], RECEIVERS + index));
                let mut datagrams = [Datagram {
                    source,
                    bytes: &mut bytes,
                }];
                let socket = SocketId(2 + u32::from(index));
                let before = ALLOCATIONS.get();
                engine.handle_datagrams(burst * 33_000 + 30_000, socket, &mut datagrams, network, &mut outbox);
                outbox.flush(network);
                allocations += ALLOCATIONS.get() - before;
            }
        }
        allocations
    };
    let settled = if counted {
        2000
    } else if layered {
        600
    } else {
        100
    };
    for burst in 1..settled {
        forward(&mut engine, &mut network, burst);
    }
    let sent = network.datagrams;
    assert!(ALLOCATIONS.get() > 0, "setting up allocates, so the counter counts");
    let allocations = (settled..settled + 200).map(|burst| forward(&mut engine, &mut network, burst));
    let allocations: usize = allocations.sum();
    let media = if layered { 100 } else { 200 } * BURST * CONSUMERS;
    let more = network.datagrams - sent - media;
    // Those who ask are sent packets again; those who report are sent reports too, and padding.
    assert!(
        match (asks, counted) {
            (true, _) => (90..=110).contains(&more),
            (_, true) => more > 0,
            _ => more == 0,
        },
        "all packets go to all consumers, apart from the layer that is left out; {more} more"
    );
    assert_eq!(allocations, 0, "{suite:?}");
    assert!(engine.planned_wakes() < 10 * (CONSUMERS + 1), "wake-ups do not pile up");
}

#[test]
fn in_the_clear() {
    forwarding_allocates_nothing(None, false, false);
}

#[test]
fn with_every_srtp_suite() {
    for suite in SrtpCryptoSuite::ALL {
        forwarding_allocates_nothing(Some(suite), false, false);
    }
}

#[test]
fn with_layers() {
    forwarding_allocates_nothing(None, true, false);
    forwarding_allocates_nothing(Some(SrtpCryptoSuite::AeadAes128Gcm), true, false);
}

#[test]
fn with_estimation_of_bandwidth() {
    forwarding_allocates_nothing(None, false, true);
    forwarding_allocates_nothing(None, true, true);
}
