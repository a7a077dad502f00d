//! Nothing panics, and what a client writes is what a worker reads.

use std::net::IpAddr;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{audio_produce, decode};
use crate::command::{
    BufferedAmountLowThreshold, Command, Connect, CreateActiveSpeakerObserver, CreateAudioLevelObserver,
    CreateDirectTransport, CreatePipeTransport, CreatePlainTransport, CreateWebRtcServer, CreateWebRtcTransport,
    DataType, Field, LogLevel, MaxBitrate, ObservedProducer, PayloadCommand, ProduceData, Request, SctpOptions,
    SetPriority, Target, TraceEventTypes, TransportOptions, UpdateSettings,
};
use crate::dialect::json::{
    decode_incoming, decode_incoming_payload, decode_payload_header, decode_request, encode_payload_command,
    encode_request,
};
use crate::rtp_parameters::ConsumerLayers;
use crate::srtp_parameters::{SrtpCryptoSuite, SrtpParameters};
use crate::transport_parameters::{
    DtlsFingerprint, DtlsParameters, DtlsRole, FingerprintAlgorithm, ListenInfo, ListenIp, NumSctpStreams, Protocol,
    SctpStreamParameters,
};

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z/]{0,6}".prop_map(Value::from),
        Just(json!("S3T3")),
        Just(json!("127.0.0.1")),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let key = "(id|method|event|internal|data|kind|codecs|encodings|rtpParameters|ssrc|ip|port|ppid|targetId)";
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Pointers to everything inside.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(map) => map
            .iter()
            .for_each(|(key, value)| pointers(value, &format!("{at}/{key}"), found)),
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                pointers(value, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

fn read_everything(frame: &[u8]) {
    let _ = decode_request(frame);
    let _ = decode_payload_header(frame);
    let _ = decode_incoming(frame);
    let _ = decode_incoming_payload(frame);
}

fn consume() -> Value {
    json!({"id": 1, "method": "transport.consume", "internal": {"routerId": "r"},
        "data": {"kind": "video", "type": "simulcast", "preferredLayers": {"spatialLayer": 1},
            "consumableRtpEncodings": [{"ssrc": 1}, {"ssrc": 2}],
            "rtpParameters": {"codecs": [{"mimeType": "video/VP8", "payloadType": 101, "clockRate": 90000},
                {"mimeType": "video/rtx", "payloadType": 102, "clockRate": 90000, "parameters": {"apt": 101}}],
                "encodings": [{"ssrc": 7, "rtx": {"ssrc": 8}, "scalabilityMode": "S2T3"}]}}})
}

fn ip() -> impl Strategy<Value = IpAddr> {
    any::<IpAddr>()
}

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9 é-]{1,8}"
}

fn listen_ip() -> impl Strategy<Value = ListenIp> {
    (ip(), prop::option::of(name())).prop_map(|(ip, announced_ip)| ListenIp { ip, announced_ip })
}

prop_compose! {
    fn transport_options()(
        bitrate in any::<Option<u32>>(),
        sctp in any::<Option<(u16, u16, u64, bool)>>(),
        sctp_send_buffer_size in 0..=268_435_456_u64,
    ) -> TransportOptions {
        TransportOptions {
            initial_available_outgoing_bitrate: bitrate,
            sctp: sctp.map(|(os, mis, max_sctp_message_size, is_data_channel)| SctpOptions {
                enable_sctp: true,
                num_sctp_streams: NumSctpStreams { os, mis },
                max_sctp_message_size,
                sctp_send_buffer_size,
                is_data_channel,
            }),
        }
    }
}

prop_compose! {
    fn transports()(
        options in transport_options(),
        listen_ips in prop::collection::vec(listen_ip(), 1..=8),
        port in any::<Option<u16>>(),
        flags in any::<[bool; 4]>(),
        suite in prop::option::of(prop::sample::select(&SrtpCryptoSuite::ALL)),
        size in any::<u64>(),
        kind in 0..5,
    ) -> Command {
        let [a, b, c, d] = flags;
        let listen_ip = listen_ips[0].clone();
        let web_rtc = CreateWebRtcTransport {
            listen_ips, port, enable_udp: a, enable_tcp: b, prefer_udp: c, prefer_tcp: d, options: options.clone(),
        };
        match kind {
            0 => Command::RouterCreateWebRtcTransport(Ok(web_rtc)),
            1 => Command::RouterCreateWebRtcTransportWithServer(Ok(CreateWebRtcTransport {
                listen_ips: Vec::new(), port: None, ..web_rtc
            })),
            2 => Command::RouterCreatePlainTransport(Ok(CreatePlainTransport {
                listen_ip, port, rtcp_mux: a, comedia: b, enable_srtp: suite.is_some(), srtp_crypto_suite: suite, options,
            })),
            3 => Command::RouterCreatePipeTransport(Ok(CreatePipeTransport {
                listen_ip, port, enable_rtx: a, enable_srtp: b, options,
            })),
            _ => Command::RouterCreateDirectTransport(Ok(CreateDirectTransport {
                direct: true, max_message_size: size,
            })),
        }
    }
}

fn field<T: Clone + std::fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Field<T>> {
    prop::option::of(value).prop_map(|value| value.map_or(Field::Absent, Field::Present))
}

prop_compose! {
    fn connects()(
        role in prop::sample::select(&[DtlsRole::Auto, DtlsRole::Client, DtlsRole::Server]),
        dtls_parameters in field(name()),
        srtp_parameters in field((prop::sample::select(&SrtpCryptoSuite::ALL), name())),
        ip in field(ip()),
        port in field(any::<u16>()),
        rtcp_port in field(any::<u16>()),
    ) -> Command {
        let dtls_parameters = match dtls_parameters {
            Field::Present(value) => Field::Present(DtlsParameters {
                role,
                fingerprints: vec![DtlsFingerprint { algorithm: FingerprintAlgorithm::Sha384, value }],
            }),
            _ => Field::Absent,
        };
        let srtp_parameters = match srtp_parameters {
            Field::Present((crypto_suite, key_base64)) => Field::Present(SrtpParameters { crypto_suite, key_base64 }),
            _ => Field::Absent,
        };
        Command::TransportConnect(Ok(Connect { dtls_parameters, srtp_parameters, ip, port, rtcp_port }))
    }
}

fn data() -> impl Strategy<Value = ProduceData> {
    let limit = prop::option::of((1..=u16::MAX, any::<bool>()));
    let stream = (0..65535_u16, any::<bool>(), limit).prop_map(|(stream_id, ordered, limit)| SctpStreamParameters {
        stream_id,
        ordered: ordered && limit.is_none(),
        max_packet_life_time: limit.filter(|limit| limit.1).map(|limit| limit.0),
        // Zero is one too.
        max_retransmits: limit.filter(|limit| !limit.1).map(|limit| limit.0 - 1),
    });
    (prop::option::of(stream), name(), name()).prop_map(|(stream, label, protocol)| ProduceData {
        data_type: if stream.is_some() {
            DataType::Sctp
        } else {
            DataType::Direct
        },
        sctp_stream_parameters: stream,
        label,
        protocol,
    })
}

fn small() -> impl Strategy<Value = Command> {
    let info = (listen_ip(), any::<u16>(), any::<bool>()).prop_map(|(listen_ip, port, tcp)| ListenInfo {
        protocol: if tcp { Protocol::Tcp } else { Protocol::Udp },
        ip: listen_ip.ip,
        announced_ip: listen_ip.announced_ip,
        port,
    });
    let names = || prop::collection::vec(name(), 0..4);
    let level = prop::sample::select(&[LogLevel::Debug, LogLevel::Warn, LogLevel::Error, LogLevel::None]);
    prop_oneof![
        Just(Command::WorkerDump),
        Just(Command::ProducerPause),
        prop::collection::vec(info, 1..=8)
            .prop_map(|listen_infos| Command::WorkerCreateWebRtcServer(Ok(CreateWebRtcServer { listen_infos }))),
        (prop::option::of(level), prop::option::of(names())).prop_map(|(log_level, log_tags)| {
            Command::WorkerUpdateSettings(Ok(UpdateSettings { log_level, log_tags }))
        }),
        any::<u16>().prop_map(|interval| {
            Command::RouterCreateActiveSpeakerObserver(Ok(CreateActiveSpeakerObserver { interval }))
        }),
        (1..=u16::MAX, -127..=0_i8, any::<u16>()).prop_map(|(max_entries, threshold, interval)| {
            Command::RouterCreateAudioLevelObserver(Ok(CreateAudioLevelObserver {
                max_entries,
                threshold,
                interval,
            }))
        }),
        any::<u32>().prop_map(|bitrate| Command::TransportSetMaxIncomingBitrate(Ok(MaxBitrate { bitrate }))),
        names().prop_map(|types| Command::ProducerEnableTraceEvent(Ok(TraceEventTypes { types }))),
        (0..i16::MAX, prop::option::of(0..i16::MAX)).prop_map(|(spatial_layer, temporal_layer)| {
            Command::ConsumerSetPreferredLayers(Ok(ConsumerLayers {
                spatial_layer,
                temporal_layer,
            }))
        }),
        (1..=u8::MAX).prop_map(|priority| Command::ConsumerSetPriority(Ok(SetPriority { priority }))),
        any::<u32>().prop_map(|threshold| {
            Command::DataConsumerSetBufferedAmountLowThreshold(Ok(BufferedAmountLowThreshold { threshold }))
        }),
        name().prop_map(|id| Command::RtpObserverAddProducer(Ok(ObservedProducer { producer_id: Some(id) }))),
        data().prop_map(|data| Command::TransportProduceData(Ok(data))),
        data().prop_map(|data| Command::TransportConsumeData(Ok(data))),
    ]
}

fn target() -> impl Strategy<Value = Target> {
    prop::array::uniform8(prop::option::of(name())).prop_map(|[a, b, c, d, e, f, g, h]| Target {
        web_rtc_server_id: a,
        router_id: b,
        transport_id: c,
        producer_id: d,
        consumer_id: e,
        data_producer_id: f,
        data_consumer_id: g,
        rtp_observer_id: h,
    })
}

fn no_nulls(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(values) => values.iter().all(no_nulls),
        Value::Object(map) => map.values().all(no_nulls),
        _ => true,
    }
}

proptest! {
    #[test]
    fn nothing_panics_on_any_arguments(method in prop::sample::select(Command::METHODS), data in any_json()) {
        let request = json!({"id": 1, "method": method, "internal": data, "data": data});
        prop_assert!(decode(&request).is_ok());
    }

    #[test]
    fn nothing_panics_on_any_json(value in any_json()) {
        read_everything(value.to_string().as_bytes());
    }

    #[test]
    fn nothing_panics_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        read_everything(&bytes);
    }

    #[test]
    fn nothing_panics_on_requests_with_one_thing_changed(
        mut request in prop_oneof![Just(audio_produce()), Just(consume())],
        place in any::<prop::sample::Index>(),
        other in any_json(),
    ) {
        let mut places = Vec::new();
        pointers(&request, "", &mut places);
        let place: &String = place.get(&places);
        if let Some(found) = request.pointer_mut(place) {
            *found = other;
        }
        // Whatever is accepted in the end survives the way back.
        if let Ok(read) = decode(&request)
            && matches!(&read.command, Command::TransportProduce(Ok(_)) | Command::TransportConsume(Ok(_)))
        {
            let frame = encode_request(&read);
            prop_assert!(no_nulls(&serde_json::from_slice(&frame).unwrap()));
            prop_assert_eq!(decode_request(&frame), Ok(read));
        }
    }

    #[test]
    fn typed_requests_survive_the_way(
        id in any::<u32>(),
        target in target(),
        command in prop_oneof![transports(), connects(), small()],
    ) {
        let request = Request { id, target, command };
        let frame = encode_request(&request);
        prop_assert!(no_nulls(&serde_json::from_slice(&frame).unwrap()));
        prop_assert_eq!(decode_request(&frame), Ok(request));
    }

    #[test]
    fn typed_headers_survive_the_way(id in any::<u32>(), target in target(), ppid in any::<u32>(), kind in 0..4) {
        let command = match kind {
            0 => PayloadCommand::ProducerSend(target),
            1 => PayloadCommand::TransportSendRtcp(target),
            2 => PayloadCommand::DataProducerSend(target, Ok(ppid)),
            _ => PayloadCommand::DataConsumerSend(id, target, Ok(ppid)),
        };
        prop_assert_eq!(decode_payload_header(&encode_payload_command(&command)), Ok(command));
    }
}
