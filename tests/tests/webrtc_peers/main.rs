//! Peers of an independent WebRTC implementation (str0m) talk through a worker process: ICE, DTLS, SRTP, RTP and RTCP
//! over UDP and TCP on loopback.

mod slow;
mod world;

use std::time::Duration;

use serde_json::{Value, json};
use str0m::media::MediaKind;
use str0m::net::Protocol;
use world::{World, credentials};

const AUDIO: &str = "22222222-0000-4000-8000-000000000001";
const VIDEO: &str = "22222222-0000-4000-8000-000000000002";
const AUDIO_CONSUMER: &str = "33333333-0000-4000-8000-000000000001";
const VIDEO_CONSUMER: &str = "33333333-0000-4000-8000-000000000002";
/// SSRCs of the publisher.
const AUDIO_IN: u32 = 1111;
const VIDEO_IN: u32 = 2222;
/// SSRCs between producer and consumer.
const AUDIO_MAPPED: u32 = 5111;
const VIDEO_MAPPED: u32 = 5222;
/// SSRCs to the subscriber.
const AUDIO_OUT: u32 = 7111;
const VIDEO_OUT: u32 = 7222;
/// Payload types that str0m gives to these codecs.
const OPUS: u8 = 111;
const VP8: u8 = 96;
const RTX: u8 = 97;
/// The SSRC of retransmissions is the next one.
const REPAIR: u32 = 1;

fn codecs(kind: MediaKind) -> Value {
    match kind {
        MediaKind::Audio => json!([
            {"mimeType": "audio/opus", "payloadType": OPUS, "clockRate": 48_000, "channels": 2, "parameters": {}},
        ]),
        MediaKind::Video => json!([
            {"mimeType": "video/VP8", "payloadType": VP8, "clockRate": 90_000, "parameters": {},
             "rtcpFeedback": [{"type": "nack"}, {"type": "nack", "parameter": "pli"}]},
            {"mimeType": "video/rtx", "payloadType": RTX, "clockRate": 90_000, "parameters": {"apt": VP8}},
        ]),
    }
}

fn encoding(kind: MediaKind, ssrc: u32) -> Value {
    match kind {
        MediaKind::Audio => json!({"ssrc": ssrc}),
        MediaKind::Video => json!({"ssrc": ssrc, "rtx": {"ssrc": ssrc + REPAIR}}),
    }
}

/// A producer of the first peer and a consumer of it at the second.
fn forward(world: &mut World, kind: MediaKind) {
    let (name, mid, producer, consumer, [from, mapped, to]) = match kind {
        MediaKind::Audio => ("audio", "a", AUDIO, AUDIO_CONSUMER, [AUDIO_IN, AUDIO_MAPPED, AUDIO_OUT]),
        MediaKind::Video => ("video", "v", VIDEO, VIDEO_CONSUMER, [VIDEO_IN, VIDEO_MAPPED, VIDEO_OUT]),
    };
    let repair = |ssrc: u32| (kind == MediaKind::Video).then_some(ssrc + REPAIR);
    world.peers[0].declare(kind, mid, from, repair(from));
    world.peers[1].expect(kind, mid, to, repair(to));
    let parameters = |ssrc: u32| {
        json!({
            "codecs": codecs(kind), "headerExtensions": [], "encodings": [encoding(kind, ssrc)],
            "rtcp": {"cname": "peer", "reducedSize": true},
        })
    };
    let payload_types = match kind {
        MediaKind::Audio => vec![OPUS],
        MediaKind::Video => vec![VP8, RTX],
    };
    let mapping: Vec<_> = payload_types
        .iter()
        .map(|number| json!({"payloadType": number, "mappedPayloadType": number}))
        .collect();
    let transports = [0, 1].map(|peer: usize| world.peers[peer].transport.clone());
    world.request(
        "transport.produce",
        json!({"transportId": transports[0], "producerId": producer}),
        json!({
            "kind": name, "rtpParameters": parameters(from),
            "rtpMapping": {"codecs": mapping, "encodings": [{"ssrc": from, "mappedSsrc": mapped}]},
        }),
    );
    world.request(
        "transport.consume",
        json!({"transportId": transports[1], "producerId": producer, "consumerId": consumer}),
        json!({
            "kind": name, "type": "simple", "rtpParameters": parameters(to),
            "consumableRtpEncodings": [{"ssrc": mapped}],
        }),
    );
}

/// A VP8 key frame in one packet: S bit and first partition, then a frame header with the P bit cleared (RFC 7741).
fn picture(number: u8) -> Vec<u8> {
    let mut payload = vec![0x10, 0x00, number];
    payload.resize(600, number);
    payload
}

fn sound(number: u8) -> Vec<u8> {
    vec![0x78, number, 1, 2, 3]
}

/// Sends pictures and sound with these numbers, and waits until the subscriber has them.
fn exchange(world: &mut World, numbers: std::ops::Range<u8>) {
    for number in numbers.clone() {
        let step = u32::from(number);
        let publisher = &mut world.peers[0];
        publisher.write(AUDIO_IN, OPUS, 5000 + u64::from(number), step * 960, &sound(number));
        publisher.write(VIDEO_IN, VP8, 9000 + u64::from(number), step * 3000, &picture(number));
        world.run_for(Duration::from_millis(10));
    }
    let last = numbers.end - 1;
    world.run_until("media", |world| {
        let subscriber = &world.peers[1];
        subscriber.payloads(AUDIO_OUT).last().copied() == Some(&sound(last))
            && subscriber.payloads(VIDEO_OUT).last().copied() == Some(&picture(last))
    });
}

fn connect(protocols: [Protocol; 2], active: [bool; 2]) -> World {
    let mut world = World::new();
    for (protocol, active) in protocols.into_iter().zip(active) {
        world.add_peer(protocol, active);
    }
    world.run_until("connections", |world| world.peers.iter().all(|peer| peer.connected));
    let connected = json!({"dtlsState": "connected"});
    for index in [0, 1] {
        let transport = world.peers[index].transport.clone();
        world.run_until("connected", |world| {
            world.was_told(&transport, "dtlsstatechange", &connected)
        });
    }
    forward(&mut world, MediaKind::Audio);
    forward(&mut world, MediaKind::Video);
    world
}

/// What was sent arrives, whole and in order.
fn assert_complete(world: &World, count: u8) {
    let subscriber = &world.peers[1];
    let sounds: Vec<_> = (0..count).map(sound).collect();
    let pictures: Vec<_> = (0..count).map(picture).collect();
    assert_eq!(subscriber.payloads(AUDIO_OUT), sounds);
    assert_eq!(subscriber.payloads(VIDEO_OUT), pictures);
}

fn relay(protocols: [Protocol; 2], active: [bool; 2]) {
    let mut world = connect(protocols, active);
    exchange(&mut world, 0..30);
    assert_complete(&world, 30);
    // Feedback goes the other way.
    let subscriber = world.peers[1].transport.clone();
    world.request(
        "consumer.requestKeyFrame",
        json!({"transportId": subscriber, "producerId": VIDEO, "consumerId": VIDEO_CONSUMER}),
        json!({}),
    );
    world.run_until("a request for a key frame", |world| {
        world.peers[0].key_frame_requests.contains(&"v".into())
    });
    for (index, protocol) in protocols.into_iter().enumerate() {
        let transport = world.peers[index].transport.clone();
        let stats = world.request("transport.getStats", json!({"transportId": transport}), json!({}));
        assert_eq!(stats[0]["dtlsState"], "connected");
        let name = if protocol == Protocol::Udp { "udp" } else { "tcp" };
        assert_eq!(stats[0]["iceSelectedTuple"]["protocol"], name);
    }
    // Who is closed is told so.
    world.request("transport.close", json!({"transportId": subscriber}), json!({}));
    world.run_until("the end", |world| world.peers[1].closed);
}

#[test]
fn media_over_udp() {
    relay([Protocol::Udp; 2], [true; 2]);
}

#[test]
fn media_over_udp_with_the_worker_as_dtls_client() {
    relay([Protocol::Udp; 2], [false; 2]);
}

#[test]
fn media_over_tcp() {
    relay([Protocol::Tcp; 2], [true, false]);
}

#[test]
fn media_from_tcp_to_udp() {
    relay([Protocol::Tcp, Protocol::Udp], [false, true]);
}

#[test]
fn media_goes_on_through_an_ice_restart() {
    let mut world = connect([Protocol::Udp; 2], [true, false]);
    exchange(&mut world, 0..5);
    for index in [0, 1] {
        let transport = world.peers[index].transport.clone();
        let answer = world.request("transport.restartIce", json!({"transportId": transport}), json!({}));
        world.peers[index].restart_ice(credentials(&answer["iceParameters"]));
    }
    let before: Vec<_> = world.peers.iter().map(|peer| peer.answers).collect();
    exchange(&mut world, 5..10);
    // Their checks with the new credentials are answered.
    world.run_until("answers after the restart", |world| {
        let answers = world.peers.iter().map(|peer| peer.answers);
        answers.zip(&before).all(|(now, before)| now >= before + 2)
    });
    exchange(&mut world, 10..20);
    assert_complete(&world, 20);
}

#[test]
fn a_peer_without_the_announced_certificate_gets_nothing() {
    let mut world = connect([Protocol::Udp; 2], [true, true]);
    let index = world.add_impostor(Protocol::Udp, true);
    let transport = world.peers[index].transport.clone();
    world.run_until("failure", |world| {
        world.was_told(&transport, "dtlsstatechange", &json!({"dtlsState": "failed"}))
    });
    assert!(!world.was_told(&transport, "dtlsstatechange", &json!({"dtlsState": "connected"})));
    // Others are not concerned.
    exchange(&mut world, 0..5);
    assert_complete(&world, 5);
}
