//! Parsers without state.

use aws_lc_rs::hmac;
use bytes::BytesMut;
use channel_proto::dialect::json;
use channel_proto::frame::FrameCodec;
use protoo::Message as Signal;
use tokio_util::codec::Decoder as _;
use worker::ice::stun::{self, ErrorCode, Message};
use worker::rtcp::{self, RtcpPacket, TransportFeedback};
use worker::rtp::codec::dependency::DependencyReader;
use worker::rtp::codec::svc_layers::{Layers, SvcLayers};
use worker::rtp::codec::vp8_layers::Vp8Layers;
use worker::rtp::codec::{Codec, Details, PayloadDescriptor, vp8};
use worker::rtp::packet::RtpHeader;

use crate::cursor::Cursor;

/// Frames of a pipe, cut at places that the first byte chooses: how a stream is cut changes nothing.
pub fn frames(data: &[u8]) {
    let Some((size, stream)) = data.split_first() else {
        return;
    };
    let decode = |size: usize| {
        let (mut codec, mut buffer, mut items) = (FrameCodec::default(), BytesMut::new(), Vec::new());
        for chunk in stream.chunks(size) {
            buffer.extend_from_slice(chunk);
            while let Ok(Some(item)) = codec.decode(&mut buffer) {
                items.push(item);
            }
        }
        items
    };
    assert_eq!(decode(usize::from(*size).max(1)), decode(stream.len().max(1)));
}

/// A frame as each of the readers of the JSON dialect may get it.
pub fn requests(data: &[u8]) {
    let _ = json::decode_request(data);
    let _ = json::decode_payload_header(data);
    let _ = json::decode_incoming(data);
    let _ = json::decode_incoming_payload(data);
}

/// A text of a signalling connection: what is a message has what its kind needs.
pub fn signalling(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(message) = Signal::parse(text) else { return };
    let read: serde_json::Value = serde_json::from_str(text).expect("a message is JSON");
    let same = |key: &str, value: &serde_json::Value| assert_eq!(read.get(key), Some(value));
    match message {
        Signal::Request(request) => {
            same("id", &request.id.into());
            same("method", &request.method.into());
        }
        Signal::Response { id, .. } => same("id", &id.into()),
        Signal::Notification(notification) => same("method", &notification.method.into()),
    }
}

/// An RTP packet: what was read lies within it.
pub fn rtp(data: &[u8]) {
    if let Ok(header) = RtpHeader::parse_encrypted(data) {
        assert_eq!(header.payload_offset + header.payload_length, data.len());
    }
    let Ok(header) = RtpHeader::parse(data) else { return };
    let length = header.payload_offset + header.payload_length + usize::from(header.padding_length);
    assert_eq!(length, data.len());
    assert_eq!(header.payload(data).len(), header.payload_length);
    for id in 0..=u8::MAX {
        if let Some(value) = header.extension(data, id) {
            assert!(!value.is_empty() && value.len() < header.payload_offset);
        }
    }
}

/// A compound of RTCP packets: every part of it can be walked through, and is not longer than what it came from.
pub fn rtcp(data: &[u8]) {
    let Some(compound) = rtcp::parse(data) else { return };
    let mut packets = 0;
    for packet in compound {
        packets += 1;
        let items = match packet {
            RtcpPacket::SenderReport { reports, .. } | RtcpPacket::ReceiverReport { reports, .. } => reports.count(),
            RtcpPacket::Nack { items, .. } => {
                assert!(items.packets() <= 17 * data.len() as u64 / 4);
                items.count()
            }
            RtcpPacket::ExtendedReport { blocks, .. } => blocks.count(),
            RtcpPacket::TransportFeedback { body, .. } => feedback(body),
            _ => 0,
        };
        assert!(items <= data.len().max(usize::from(u16::MAX)));
    }
    assert!(packets <= data.len() / 4);
}

fn feedback(body: &[u8]) -> usize {
    TransportFeedback::parse(body).map_or(0, |feedback| {
        let told = feedback.packets().count();
        assert!(told <= usize::from(feedback.status_count));
        told
    })
}

/// A STUN message. Its integrity is as good as the key, which the input does not know; answers are no amplification.
pub fn stun(data: &[u8]) {
    let _ = stun::is_stun(data);
    let fragment = stun::addressed_fragment(data);
    let Ok(message) = Message::parse(data) else { return };
    if let (Some(fragment), Some(_)) = (fragment, message.username) {
        let _ = message.addresses(fragment);
    }
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"a password that nobody knows");
    assert!(!message.verify(&key), "forged");
    if !message.is_binding() {
        return;
    }
    let mut answer = Vec::new();
    message.write_success(([1, 2, 3, 4], 5).into(), &key, &mut answer);
    let good = Message::parse(&answer).expect("our answer is a message");
    assert!(good.verify(&key) && good.fingerprint && good.method == message.method);
    answer.clear();
    message.write_error(ErrorCode::RoleConflict, &mut answer);
    assert!(Message::parse(&answer).is_ok_and(|answer| answer.class == stun::Class::Error));
}

/// Payloads of a stream of one codec, and what consumers make of their layers.
pub fn payloads(data: &[u8]) {
    let mut input = Cursor(data);
    let mime = ["video/VP8", "video/VP9", "video/H264", "audio/opus", "video/AV1"];
    let choice = input.byte();
    let codec = mime
        .get(usize::from(choice) % (mime.len() + 1))
        .map(|mime| Codec::from_mime_type(mime));
    let mut dependencies = DependencyReader::default();
    let mut temporal = Vp8Layers::new();
    let mut layers = SvcLayers::new(3, 3, choice & 0x80 != 0);
    while !input.is_empty() {
        let control = input.byte();
        let target = control >> 4 & 3;
        temporal.set_target(target);
        layers.set_target(Layers {
            spatial: control >> 2 & 3,
            temporal: target,
        });
        let payload = input.piece();
        let descriptor = match codec {
            Some(Codec::Av1) => {
                let again = dependencies.read_again(payload);
                let read = dependencies.read(payload);
                assert_eq!(read, again, "the same however often it is read");
                read.unwrap_or_default()
            }
            Some(codec) => codec.describe(payload),
            None => PayloadDescriptor::default().marked(payload),
        };
        match descriptor.details {
            Details::Vp8(found) => rewritten(&mut temporal, &found, payload),
            Details::Layered(packet) => {
                let _ = layers.process(&packet);
            }
            _ => {}
        }
    }
}

/// A rewritten VP8 descriptor is one, and leaves what follows it alone.
fn rewritten(layers: &mut Vp8Layers, found: &vp8::Descriptor, payload: &[u8]) {
    let Some(Some(rewrite)) = layers.process(found) else {
        return;
    };
    let mut out = Vec::new();
    rewrite.write(payload, &mut out);
    assert!(vp8::Descriptor::parse(&out).is_some());
    assert!(out.len() <= payload.len() + 1);
}
