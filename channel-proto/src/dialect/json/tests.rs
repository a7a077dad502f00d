mod leniency;
mod media;
mod properties;
mod recorded;
mod shapes;

use serde_json::{Value, json};

use super::*;
use crate::command::{Command, PayloadCommand, Request, Target};
use crate::event::{Event, Notification};
use crate::reply::{Reply, Response};

fn decode(request: &Value) -> Result<Request, RequestError> {
    decode_request(request.to_string().as_bytes())
}

fn audio_produce() -> Value {
    json!({"id": 29, "method": "transport.produce",
        "internal": {"routerId": "r1", "transportId": "t1", "producerId": "p1"},
        "data": {"kind": "audio", "paused": false,
            "rtpParameters": {"mid": "AUDIO",
                "codecs": [{"mimeType": "Audio/OPUS", "payloadType": 111, "clockRate": 48000, "channels": 2,
                    "parameters": {"useinbandfec": 1, "drop": null, "f": 2.5}, "rtcpFeedback": []}],
                "headerExtensions": [{"uri": "URN:ietf:params:rtp-hdrext:sdes:mid", "id": 10}],
                "encodings": [{"ssrc": 11111111, "dtx": false}]},
            "rtpMapping": {"codecs": [{"payloadType": 111, "mappedPayloadType": 100}],
                "encodings": [{"ssrc": 11111111, "mappedSsrc": 500000001}]}}})
}

#[test]
fn parameters_are_brought_to_normal_form() {
    let request = decode(&audio_produce()).unwrap();
    let Command::TransportProduce(Ok(produce)) = request.command else {
        panic!("{request:?}")
    };
    let dump = serde_json::to_value(&produce.rtp_parameters).unwrap();
    let expected = json!({"mid": "AUDIO",
        "codecs": [{"mimeType": "audio/opus", "payloadType": 111, "clockRate": 48000, "channels": 2,
            "parameters": {"useinbandfec": 1, "f": 2.5}, "rtcpFeedback": []}],
        "headerExtensions": [{"uri": "urn:ietf:params:rtp-hdrext:sdes:mid", "id": 10, "encrypt": false,
            "parameters": {}}],
        "encodings": [{"codecPayloadType": 111, "ssrc": 11111111}], "rtcp": {}});
    assert_eq!(dump, expected);
    let mapping = serde_json::to_value(&produce.rtp_mapping).unwrap();
    assert_eq!(
        mapping["encodings"][0],
        json!({"rid": null, "ssrc": 11111111, "mappedSsrc": 500000001})
    );
}

#[test]
fn a_wrong_field_is_named() {
    for (pointer, wrong, named) in [
        ("/data/kind", json!("smell"), "kind"),
        ("/data/rtpParameters/codecs", json!([]), "codecs"),
        ("/data/rtpParameters/codecs/0/payloadType", json!(1.0), "payloadType"),
        ("/data/rtpParameters/codecs/0/mimeType", json!("opus"), "MIME"),
        ("/data/rtpParameters/headerExtensions/0/id", json!(0), "id"),
        ("/data/rtpMapping/encodings", json!([]), "encodings"),
        ("/data/rtpMapping", json!(7), "rtpMapping"),
    ] {
        let mut request = audio_produce();
        *request.pointer_mut(pointer).unwrap() = wrong;
        let Command::TransportProduce(Err(error)) = decode(&request).unwrap().command else {
            panic!("{pointer}")
        };
        assert!(error.reason.contains(named), "{pointer}: {error}");
    }
}

#[test]
fn the_envelope_is_as_lenient_as_clients_need() {
    for nothing in [json!(null), json!([]), json!(3)] {
        let request = json!({"id": 0, "method": "worker.createRouter", "internal": nothing, "data": nothing});
        let request = decode(&request).unwrap();
        assert_eq!(
            request,
            Request {
                id: 0,
                target: Target::default(),
                command: Command::WorkerCreateRouter
            }
        );
    }
    for id in [json!(1.0), json!(-1), json!("1"), json!(null)] {
        assert_eq!(
            decode(&json!({"id": id, "method": "worker.dump"})),
            Err(RequestError::NotARequest)
        );
    }
    assert_eq!(decode(&json!([1])), Err(RequestError::NotARequest));
    assert!(matches!(
        decode_request(b"{\"id\":1,\xff}"),
        Err(RequestError::NotJson(_))
    ));
    let unknown = RequestError::UnknownMethod {
        id: 7,
        method: "x".to_owned(),
    };
    assert_eq!(decode(&json!({"id": 7, "method": "x"})), Err(unknown));
}

#[test]
fn every_method_is_known() {
    assert_eq!(Command::METHODS.len(), 57);
    for method in Command::METHODS {
        let request = decode(&json!({"id": 1, "method": method})).unwrap();
        assert_eq!(request.command.method(), *method);
    }
}

#[test]
fn ids_and_ppids_are_found_where_go_puts_them() {
    let data = base64_of(r#"{"ppid":"51"}"#);
    for data in [
        json!({"ppid": 51}),
        json!({"ppid": "51"}),
        json!({"ppid": [51]}),
        json!(data),
    ] {
        let header = json!({"event": "dataProducer.send", "internal": {"dataProducerId": "d"}, "data": data});
        let command = decode_payload_header(header.to_string().as_bytes()).unwrap();
        assert!(matches!(command, PayloadCommand::DataProducerSend(_, Ok(51))), "{data}");
    }
    let request = json!({"id": 1, "method": "rtpObserver.addProducer", "internal": {"producerId": "p"}});
    let Command::RtpObserverAddProducer(Ok(observed)) = decode(&request).unwrap().command else {
        panic!()
    };
    assert_eq!(observed.producer_id.as_deref(), Some("p"));
}

fn base64_of(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[test]
fn answers_and_events_have_data_only_if_there_is_some() {
    let response = encode_response(&Response {
        id: 4,
        result: Ok(Reply::None),
    });
    assert_eq!(
        serde_json::from_slice::<Value>(&response).unwrap(),
        json!({"accepted": true, "id": 4})
    );
    let event = Notification::Entity {
        target_id: "c1".to_owned(),
        event: Event::ProducerClose,
    };
    let event: Value = serde_json::from_slice(&encode_notification(&event)).unwrap();
    assert_eq!(event, json!({"event": "producerclose", "targetId": "c1"}));
    let running = encode_notification(&Notification::Running { pid: 5 });
    assert_eq!(
        serde_json::from_slice::<Value>(&running).unwrap(),
        json!({"event": "running", "targetId": 5})
    );
}

#[test]
fn what_a_client_sends_is_what_a_worker_reads() {
    let mut produce = audio_produce();
    produce["data"]["rtpParameters"]["rtcp"] = json!({"cname": "c"});
    let request = decode(&produce).unwrap();
    assert_eq!(decode_request(&encode_request(&request)), Ok(request));
    let connect = json!({"id": 3, "method": "transport.connect", "internal": {"routerId": "r", "transportId": "t"},
        "data": {"ip": "127.0.0.1", "port": 4000, "rtcpPort": 4001}});
    let connect = decode(&connect).unwrap();
    assert_eq!(decode_request(&encode_request(&connect)), Ok(connect));
}
