//! What dumps, answers and events look like.

use serde_json::{Value, json};

use super::decode;
use crate::command::Command;
use crate::dialect::json::{
    Incoming, IncomingPayload, decode_incoming, decode_incoming_payload, encode_notification,
    encode_payload_notification, encode_response,
};
use crate::event::{Event, Notification, PayloadEvent, PayloadNotification, ProducerScore};
use crate::reply::{
    ConsumerLayersDump, ConsumerScore, Decision, DecisionBandwidth, DecisionKind, DecisionReason, Failure, FailureKind,
    PacingDump, Reply, Response, RouterDump, TransportDump, TransportKindDump,
};
use crate::rtp_parameters::{ConsumerLayers, RtpParameters};
use crate::transport_parameters::{Protocol, TransportTuple};

pub(super) fn parsed(frame: &[u8]) -> Value {
    serde_json::from_slice(frame).unwrap()
}

#[test]
fn encodings_show_only_what_is_set() {
    let full = json!({"ssrc": 1, "rid": "r", "rtx": {"ssrc": 2}, "maxBitrate": 5, "maxFramerate": 30, "dtx": true,
        "codecPayloadType": 100, "scalabilityMode": "L2T3_KEYX"});
    let bare = json!({"ssrc": 0, "rid": "", "rtx": {}, "maxBitrate": 0, "maxFramerate": 0, "dtx": false,
        "scalabilityMode": "chicken"});
    for (given, expected) in [
        (
            full,
            json!({"ssrc": 1, "rid": "r", "rtx": {"ssrc": 2}, "maxBitrate": 5, "maxFramerate": 30.0, "dtx": true,
                "codecPayloadType": 100, "scalabilityMode": "L2T3_KEYX", "spatialLayers": 2, "temporalLayers": 3,
                "ksvc": true}),
        ),
        (bare, json!({"rtx": {}, "codecPayloadType": 100})),
    ] {
        let request = json!({"id": 1, "method": "transport.produce", "data": {"kind": "video",
            "rtpParameters": {"codecs": [{"mimeType": "video/vp9", "payloadType": 100, "clockRate": 90000,
                "channels": 1, "rtcpFeedback": [{"type": "nack", "parameter": ""},
                    {"type": "nack", "parameter": "pli"}]}], "encodings": [given]},
            "rtpMapping": {"codecs": [], "encodings": [{"rid": "r", "mappedSsrc": 3}]}}});
        let Command::TransportProduce(Ok(produce)) = decode(&request).unwrap().command else {
            panic!("{given}")
        };
        let dump = serde_json::to_value(&produce.rtp_parameters).unwrap();
        let codec = json!({"mimeType": "video/VP9", "payloadType": 100, "clockRate": 90000, "parameters": {},
            "rtcpFeedback": [{"type": "nack"}, {"type": "nack", "parameter": "pli"}]});
        assert_eq!(
            dump,
            json!({"codecs": [codec], "headerExtensions": [], "encodings": [expected], "rtcp": {}})
        );
        let mapping = serde_json::to_value(&produce.rtp_mapping).unwrap();
        assert_eq!(
            mapping,
            json!({"codecs": [], "encodings": [{"rid": "r", "ssrc": null, "mappedSsrc": 3}]})
        );
        let read: RtpParameters = serde_json::from_value(dump).unwrap();
        assert_eq!(read, produce.rtp_parameters);
    }
}

#[test]
fn rtcp_settings_default_to_reduced_size() {
    let read = |rtcp: Value| {
        let text = json!({"codecs": [], "rtcp": rtcp});
        serde_json::to_value(serde_json::from_value::<RtpParameters>(text).unwrap()).unwrap()["rtcp"].take()
    };
    assert_eq!(read(json!({})), json!({}));
    assert_eq!(read(json!({"cname": "c"})), json!({"cname": "c", "reducedSize": true}));
    assert_eq!(read(json!({"reducedSize": false})), json!({"reducedSize": false}));
}

#[test]
fn a_transport_adds_the_keys_of_its_kind() {
    let mut dump = TransportDump {
        id: "t".to_owned(),
        direct: true,
        producer_ids: Vec::new(),
        consumer_ids: Vec::new(),
        map_ssrc_consumer_id: [(5, "c".to_owned())].into(),
        map_rtx_ssrc_consumer_id: Default::default(),
        data_producer_ids: Vec::new(),
        data_consumer_ids: Vec::new(),
        recv_rtp_header_extensions: Default::default(),
        rtp_listener: Default::default(),
        max_message_size: 262_144,
        sctp: None,
        trace_event_types: String::new(),
        decisions: Vec::new(),
        pacing: None,
        kind: TransportKindDump::Direct {},
    };
    let common = json!({"id": "t", "direct": true, "producerIds": [], "consumerIds": [],
        "mapSsrcConsumerId": {"5": "c"}, "mapRtxSsrcConsumerId": {}, "dataProducerIds": [], "dataConsumerIds": [],
        "recvRtpHeaderExtensions": {}, "rtpListener": {"ssrcTable": {}, "midTable": {}, "ridTable": {}},
        "maxMessageSize": 262_144, "traceEventTypes": ""});
    let direct = serde_json::to_value(&dump).unwrap();
    assert_eq!(direct, common);
    assert_eq!(serde_json::from_value::<TransportDump>(direct).unwrap(), dump);
    dump.kind = TransportKindDump::Plain {
        rtcp_mux: true,
        comedia: false,
        tuple: TransportTuple {
            local_ip: "127.0.0.1".to_owned(),
            local_port: 5,
            remote_ip: None,
            remote_port: None,
            protocol: Protocol::Udp,
        },
        rtcp_tuple: None,
        srtp_parameters: None,
    };
    let plain = serde_json::to_value(&dump).unwrap();
    let mut expected = common;
    expected["rtcpMux"] = json!(true);
    expected["comedia"] = json!(false);
    expected["tuple"] = json!({"localIp": "127.0.0.1", "localPort": 5, "protocol": "udp"});
    assert_eq!(plain, expected);
    assert_eq!(serde_json::from_value::<TransportDump>(plain).unwrap(), dump);
    dump.pacing = Some(PacingDump {
        max_delay: 100,
        longest_wait: 40,
        packets: 7,
    });
    dump.decisions = vec![Decision {
        timestamp: 1,
        until: 2,
        count: 3,
        what: DecisionKind::Probe { bitrate: 900_000 },
        why: DecisionReason::Desired,
        preferred_layers: None,
        target_layers: None,
        current_layers: None,
        streams: Vec::new(),
        bandwidth: Some(DecisionBandwidth::default()),
    }];
    let told = serde_json::to_value(&dump).unwrap();
    expected["pacing"] = json!({"maxDelay": 100, "longestWait": 40, "packets": 7});
    expected["decisions"] = json!([{"timestamp": 1, "until": 2, "count": 3, "what": "probe", "bitrate": 900_000,
        "why": "desired", "bandwidth": {"before": 0, "estimate": 0, "available": 0, "desired": 0, "allocated": 0, "lost": 0}}]);
    assert_eq!(told, expected);
    assert_eq!(serde_json::from_value::<TransportDump>(told).unwrap(), dump);
}

#[test]
fn layers_lie_flat_in_a_consumer_dump() {
    let layers = ConsumerLayersDump {
        preferred_spatial_layer: 2,
        target_spatial_layer: -1,
        current_spatial_layer: -1,
        preferred_temporal_layer: 0,
        target_temporal_layer: -1,
        current_temporal_layer: -1,
    };
    #[derive(serde::Serialize)]
    struct Part {
        #[serde(flatten)]
        layers: Option<ConsumerLayersDump>,
    }
    let flat = serde_json::to_value(Part { layers: Some(layers) }).unwrap();
    assert_eq!(flat["preferredSpatialLayer"], json!(2));
    assert_eq!(flat["currentTemporalLayer"], json!(-1));
    assert_eq!(serde_json::to_value(Part { layers: None }).unwrap(), json!({}));
}

#[test]
fn a_client_reads_what_a_worker_answers() {
    let layers = ConsumerLayers {
        spatial_layer: 2,
        temporal_layer: Some(0),
    };
    let frame = encode_response(&Response {
        id: 7,
        result: Ok(Reply::PreferredLayers(layers)),
    });
    let expected = json!({"accepted": true, "id": 7, "data": {"spatialLayer": 2, "temporalLayer": 0}});
    assert_eq!(parsed(&frame), expected);
    let Ok(Incoming::Response {
        id: 7,
        result: Ok(data),
    }) = decode_incoming(&frame)
    else {
        panic!()
    };
    assert_eq!(data.parse::<ConsumerLayers>().unwrap(), layers);
    assert!(data.parse::<RouterDump>().is_err());

    let failure = Failure::type_error("missing kind [method:transport.produce]");
    let frame = encode_response(&Response {
        id: 8,
        result: Err(failure.clone()),
    });
    let expected = json!({"error": "TypeError", "id": 8, "reason": "missing kind [method:transport.produce]"});
    assert_eq!(parsed(&frame), expected);
    let response = Incoming::Response {
        id: 8,
        result: Err(failure),
    };
    assert_eq!(decode_incoming(&frame).unwrap(), response);
    let other = decode_incoming(br#"{"id":8,"error":"Chicken","reason":"x"}"#).unwrap();
    assert!(matches!(other, Incoming::Response { result: Err(failure), .. } if failure.kind == FailureKind::Error));
}

#[test]
fn a_client_reads_what_a_worker_tells() {
    let running = decode_incoming(&encode_notification(&Notification::Running { pid: 5 })).unwrap();
    assert!(matches!(running, Incoming::Notification { target_id, event, data }
        if target_id == "5" && event == "running" && data.parse::<Option<u8>>().unwrap().is_none()));
    let producer = Event::ProducerScore(vec![ProducerScore {
        encoding_idx: 0,
        ssrc: 5,
        rid: None,
        score: 10,
    }]);
    let consumer = Event::ConsumerScore(ConsumerScore {
        score: 10,
        producer_score: 0,
        producer_scores: vec![0],
    });
    for (event, data) in [
        (producer, json!([{"encodingIdx": 0, "ssrc": 5, "score": 10}])),
        (
            consumer,
            json!({"score": 10, "producerScore": 0, "producerScores": [0]}),
        ),
    ] {
        let target_id = "x".to_owned();
        let frame = encode_notification(&Notification::Entity { target_id, event });
        assert_eq!(parsed(&frame), json!({"event": "score", "targetId": "x", "data": data}));
    }
    for (event, expected) in [
        (PayloadEvent::Rtp, json!({"event": "rtp", "targetId": "c"})),
        (PayloadEvent::Rtcp, json!({"event": "rtcp", "targetId": "c"})),
        (
            PayloadEvent::Message { ppid: 51 },
            json!({"event": "message", "targetId": "c", "data": {"ppid": 51}}),
        ),
    ] {
        let target_id = "c".to_owned();
        let notification = PayloadNotification { target_id, event };
        let frame = encode_payload_notification(&notification);
        assert_eq!(parsed(&frame), expected);
        let read = decode_incoming_payload(&frame).unwrap();
        assert_eq!(read, IncomingPayload::Notification(notification));
    }
}
