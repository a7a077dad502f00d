//! What counts as absent, what is an error, and how the error reads.

use serde_json::{Value, json};

use super::{base64_of, decode};
use crate::command::{Arguments, Command, Field, LogLevel, PayloadCommand};
use crate::dialect::json::{
    IncomingError, PayloadHeaderError, RequestError, decode_incoming, decode_payload_header, decode_request,
};

pub(super) fn command(method: &str, data: &Value) -> Command {
    decode(&json!({"id": 1, "method": method, "data": data}))
        .unwrap()
        .command
}

/// The reason why these arguments are refused, or nothing.
pub(super) fn refused(method: &str, data: &Value) -> Option<String> {
    fn of<T>(arguments: Arguments<T>) -> Option<String> {
        arguments.err().map(|error| error.reason)
    }
    match command(method, data) {
        Command::WorkerUpdateSettings(arguments) => of(arguments),
        Command::WorkerCreateWebRtcServer(arguments) => of(arguments),
        Command::RouterCreateWebRtcTransport(arguments) | Command::RouterCreateWebRtcTransportWithServer(arguments) => {
            of(arguments)
        }
        Command::RouterCreatePlainTransport(arguments) => of(arguments),
        Command::RouterCreatePipeTransport(arguments) => of(arguments),
        Command::RouterCreateDirectTransport(arguments) => of(arguments),
        Command::RouterCreateActiveSpeakerObserver(arguments) => of(arguments),
        Command::RouterCreateAudioLevelObserver(arguments) => of(arguments),
        Command::TransportProduce(arguments) => of(arguments),
        Command::TransportConsume(arguments) => of(arguments),
        Command::TransportProduceData(arguments) => of(arguments),
        Command::TransportEnableTraceEvent(arguments) => of(arguments),
        Command::TransportSetMaxIncomingBitrate(arguments) => of(arguments),
        Command::ConsumerSetPriority(arguments) => of(arguments),
        Command::ConsumerSetPreferredLayers(arguments) => of(arguments),
        Command::DataConsumerSetBufferedAmountLowThreshold(arguments) => of(arguments),
        other => panic!("{other:?} is not in this table"),
    }
}

/// `base` with the members of `changes`; null there removes a member.
pub(super) fn with(base: &Value, changes: &Value) -> Value {
    let mut changed = base.clone();
    for (pointer, value) in changes.as_object().unwrap() {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = changed.pointer_mut(parent).unwrap();
        match parent {
            Value::Array(entries) => entries[key.parse::<usize>().unwrap()] = value.clone(),
            _ if value.is_null() => drop(parent.as_object_mut().unwrap().remove(key)),
            _ => parent[key] = value.clone(),
        }
    }
    changed
}

#[test]
fn transports_refuse_what_the_tables_say() {
    let ip = json!({"ip": "127.0.0.1"});
    let web_rtc = json!({"listenIps": [ip]});
    let plain = json!({"listenIp": ip});
    let sctp = json!({"listenIp": ip, "enableSctp": true, "numSctpStreams": {"OS": 1024, "MIS": 1024},
        "maxSctpMessageSize": 262_144});
    let nine = json!(vec![&ip; 9]);
    let (web, pla, pip) = (
        "router.createWebRtcTransport",
        "router.createPlainTransport",
        "router.createPipeTransport",
    );
    for (method, base, change, reason) in [
        (web, &web_rtc, json!({}), None),
        (web, &web_rtc, json!({"/listenIps": null}), Some("missing listenIps")),
        (
            web,
            &web_rtc,
            json!({"/listenIps": 5}),
            Some("wrong listenIps (not an array)"),
        ),
        (
            web,
            &web_rtc,
            json!({"/listenIps": []}),
            Some("wrong listenIps (empty array)"),
        ),
        (
            web,
            &web_rtc,
            json!({"/listenIps": nine}),
            Some("wrong listenIps (too many IPs)"),
        ),
        (
            web,
            &web_rtc,
            json!({"/listenIps/0": "::1"}),
            Some("wrong listenIp (not an object)"),
        ),
        (web, &web_rtc, json!({"/listenIps/0": {}}), Some("missing listenIp.ip")),
        (
            web,
            &web_rtc,
            json!({"/listenIps/0/ip": "localhost"}),
            Some("invalid IP 'localhost'"),
        ),
        (
            web,
            &web_rtc,
            json!({"/port": -1}),
            Some("wrong port (not a positive number)"),
        ),
        (
            web,
            &web_rtc,
            json!({"/enableUdp": 1}),
            Some("wrong enableUdp (not a boolean)"),
        ),
        (
            web,
            &web_rtc,
            json!({"/direct": true}),
            Some("wrong maxMessageSize (not a number)"),
        ),
        (web, &web_rtc, json!({"/direct": true, "/maxMessageSize": 5}), None),
        (web, &web_rtc, json!({"/enableSctp": "true", "/isDataChannel": 1}), None),
        (pla, &plain, json!({}), None),
        (
            pla,
            &plain,
            json!({"/listenIp": "::1"}),
            Some("wrong listenIp (not an object)"),
        ),
        (
            pla,
            &plain,
            json!({"/listenIp/ip": 5}),
            Some("wrong listenIp.ip (not an string)"),
        ),
        (
            pla,
            &plain,
            json!({"/comedia": "yes"}),
            Some("wrong comedia (not a boolean)"),
        ),
        (pla, &plain, json!({"/enableSrtp": 1, "/srtpCryptoSuite": 5}), None),
        (
            pla,
            &plain,
            json!({"/enableSrtp": true}),
            Some("missing srtpCryptoSuite)"),
        ),
        (pla, &sctp, json!({}), None),
        (
            pla,
            &sctp,
            json!({"/direct": true, "/maxMessageSize": 5}),
            Some("cannot enable SCTP in a direct Transport"),
        ),
        (
            pip,
            &sctp,
            json!({"/numSctpStreams": null}),
            Some("wrong numSctpStreams (not an object)"),
        ),
        (
            pip,
            &sctp,
            json!({"/maxSctpMessageSize": 1.0}),
            Some("wrong maxSctpMessageSize (not a number)"),
        ),
        (
            pip,
            &sctp,
            json!({"/sctpSendBufferSize": 268_435_457}),
            Some("wrong sctpSendBufferSize (maximum value exceeded)"),
        ),
        (
            pip,
            &plain,
            json!({"/initialAvailableOutgoingBitrate": "1"}),
            Some("wrong initialAvailableOutgoingBitrate (not a number)"),
        ),
        (
            "router.createDirectTransport",
            &json!({"direct": true}),
            json!({}),
            Some("wrong maxMessageSize (not a number)"),
        ),
        (
            "router.createWebRtcTransportWithServer",
            &json!({"listenIps": 5, "port": "x"}),
            json!({}),
            None,
        ),
    ] {
        let data = with(base, &change);
        assert_eq!(refused(method, &data).as_deref(), reason, "{method} {data}");
    }
    // A null is there, and is not a text.
    let null = json!({"listenIps": [{"ip": "127.0.0.1", "announcedIp": null}]});
    let reason = refused(web, &null);
    assert_eq!(reason.as_deref(), Some("wrong listenIp.announcedIp (not an string)"));
}

#[test]
fn numbers_are_cut_clamped_or_refused() {
    let port = command(
        "router.createPlainTransport",
        &json!({"listenIp": {"ip": "::1"}, "port": 65537}),
    );
    assert!(matches!(port, Command::RouterCreatePlainTransport(Ok(plain)) if plain.port == Some(1)));
    let out_of_range = "wrong priority (must be between 1 and 255)";
    for (given, read) in [
        (json!(1), Ok(1)),
        (json!(255), Ok(255)),
        (json!(2.9), Ok(2)),
        (json!(0.9), Err(out_of_range)),
        (json!(-1), Err(out_of_range)),
        (json!(256), Err(out_of_range)),
        (json!("1"), Err("wrong priority (not a number)")),
    ] {
        let Command::ConsumerSetPriority(priority) = command("consumer.setPriority", &json!({"priority": given}))
        else {
            panic!()
        };
        let priority = priority.map(|priority| priority.priority);
        assert_eq!(
            priority.map_err(|error| error.reason),
            read.map_err(str::to_owned),
            "{given}"
        );
    }
    for (interval, read) in [
        (json!(-5), 0),
        (json!(300), 300),
        (json!(1e9), u16::MAX),
        (json!(299.9), 299),
    ] {
        let data = json!({"interval": interval});
        let Command::RouterCreateActiveSpeakerObserver(Ok(observer)) =
            command("router.createActiveSpeakerObserver", &data)
        else {
            panic!("{data}")
        };
        assert_eq!(observer.interval, read, "{data}");
    }
    let level = json!({"maxEntries": 1, "threshold": -80, "interval": 1000});
    for (change, reason) in [
        (json!({}), None),
        (json!({"/maxEntries": 0}), Some("invalid maxEntries value 0")),
        (json!({"/maxEntries": -10}), Some("missing maxEntries")),
        (json!({"/threshold": "foo"}), Some("missing threshold")),
        (json!({"/threshold": -128}), Some("invalid threshold value -128")),
        (json!({"/interval": false}), Some("missing interval")),
    ] {
        let data = with(&level, &change);
        let found = refused("router.createAudioLevelObserver", &data);
        assert_eq!(found.as_deref(), reason, "{data}");
    }
}

#[test]
fn small_arguments_are_judged() {
    let threshold = "wrong bufferedAmountThreshold (not an unsigned number)";
    for (method, data, reason) in [
        (
            "worker.updateSettings",
            json!({"logLevel": "chicken"}),
            Some("invalid value 'chicken' for logLevel"),
        ),
        ("worker.updateSettings", json!({"logLevel": 5, "logTags": "ice"}), None),
        (
            "transport.enableTraceEvent",
            json!({"types": "rtp"}),
            Some("wrong types (not an array)"),
        ),
        (
            "transport.enableTraceEvent",
            json!({"types": ["rtp", 1]}),
            Some("wrong type (not a string)"),
        ),
        (
            "transport.setMaxIncomingBitrate",
            json!({"bitrate": 1.5}),
            Some("missing bitrate"),
        ),
        (
            "consumer.setPreferredLayers",
            json!({"temporalLayer": 1}),
            Some("missing spatialLayer"),
        ),
        (
            "consumer.setPreferredLayers",
            json!({"spatialLayer": 1, "temporalLayer": null}),
            None,
        ),
        (
            "dataConsumer.setBufferedAmountLowThreshold",
            json!({"threshold": -1}),
            Some(threshold),
        ),
        ("transport.produceData", json!({"type": "SCTP"}), Some("invalid type")),
        (
            "transport.produceData",
            json!({"type": "direct", "sctpStreamParameters": 5, "label": 5}),
            None,
        ),
        (
            "transport.produceData",
            json!({"type": "sctp"}),
            Some("missing sctpStreamParameters"),
        ),
        (
            "transport.produceData",
            json!({"type": "sctp", "sctpStreamParameters": {"streamId": 65535}}),
            Some("streamId must not be greater than 65534"),
        ),
    ] {
        assert_eq!(refused(method, &data).as_deref(), reason, "{method} {data}");
    }
    let Command::WorkerUpdateSettings(Ok(settings)) = command(
        "worker.updateSettings",
        &json!({"logLevel": "WARN", "logTags": ["ice", 5, "rtcp"]}),
    ) else {
        panic!()
    };
    assert_eq!(settings.log_level, Some(LogLevel::Warn));
    assert_eq!(settings.log_tags, Some(vec!["ice".to_owned(), "rtcp".to_owned()]));
}

#[test]
fn connect_tells_absent_from_unusable() {
    let Command::TransportConnect(Ok(connect)) = command(
        "transport.connect",
        &json!({"srtpParameters": null, "ip": "::FFFF", "port": "5"}),
    ) else {
        panic!()
    };
    assert_eq!(connect.dtls_parameters, Field::Absent);
    assert!(matches!(connect.srtp_parameters, Field::Invalid(_)));
    assert!(matches!(connect.ip, Field::Present(ip) if ip.to_string() == "::ffff"));
    assert!(matches!(connect.port, Field::Invalid(error) if error.reason == "missing port"));
    let good = json!({"algorithm": "sha-256", "value": "AA"});
    for (dtls, reason) in [
        (json!({"fingerprints": [good, 5], "role": "client"}), None),
        (json!({"fingerprints": {}}), Some("missing dtlsParameters.fingerprints")),
        (
            json!({"fingerprints": []}),
            Some("empty dtlsParameters.fingerprints array"),
        ),
        (
            json!({"fingerprints": [{"algorithm": "SHA-1"}]}),
            Some("invalid fingerprint.algorithm value"),
        ),
        (
            json!({"fingerprints": [{"algorithm": "sha-1"}]}),
            Some("missing fingerprint.value"),
        ),
        (
            json!({"fingerprints": [good], "role": null}),
            Some("wrong dtlsParameters.role (not a string)"),
        ),
        (
            json!({"fingerprints": [good], "role": ""}),
            Some("invalid dtlsParameters.role value"),
        ),
    ] {
        let Command::TransportConnect(Ok(connect)) = command("transport.connect", &json!({"dtlsParameters": dtls}))
        else {
            panic!()
        };
        let found = match connect.dtls_parameters {
            Field::Invalid(error) => Some(error.reason),
            _ => None,
        };
        assert_eq!(found.as_deref(), reason, "{dtls}");
    }
}

#[test]
fn what_clients_leave_out_or_misplace_is_found() {
    let server = command(
        "worker.createWebRtcServer",
        &json!({"listenInfos": [{"protocol": "UDP", "ip": "127.0.0.1"}]}),
    );
    assert!(matches!(server, Command::WorkerCreateWebRtcServer(Ok(server)) if server.listen_infos[0].port == 0));
    let method = "router.createWebRtcTransportWithServer";
    for (internal, data, found) in [
        (json!({}), json!({"webRtcServerId": "d"}), "d"),
        (json!({"webRtcServerId": "i"}), json!({"webRtcServerId": "d"}), "i"),
    ] {
        let request = decode(&json!({"id": 1, "method": method, "internal": internal, "data": data})).unwrap();
        assert_eq!(request.target.web_rtc_server_id.as_deref(), Some(found));
    }
    let send = |data: &Value| {
        let header = json!({"id": 1, "method": "dataConsumer.send", "data": data});
        match decode_payload_header(header.to_string().as_bytes()) {
            Ok(PayloadCommand::DataConsumerSend(1, _, ppid)) => ppid.ok(),
            other => panic!("{other:?}"),
        }
    };
    for (data, ppid) in [
        (json!({"ppid": null}), Some(53)),
        (json!({"ppid": 4_294_967_347_u64}), Some(51)),
        (json!({"ppid": -1}), None),
        (json!({"ppid": 51.0}), None),
        (json!({"ppid": []}), None),
        (json!({"ppid": {}}), None),
        (json!({}), None),
        (json!(null), None),
        (json!("not base64"), None),
        (json!(base64_of("not JSON")), None),
    ] {
        assert_eq!(send(&data), ppid, "{data}");
    }
}

#[test]
fn frames_that_are_no_messages_are_told_apart() {
    let deep = format!("{{\"id\":1,\"method\":\"worker.dump\",\"data\":{}", "[".repeat(100_000));
    for frame in [
        &b"{\"id\":1,\"method\":\"\xff\"}"[..],
        b"",
        b"{",
        b"{} x",
        b"1e999",
        deep.as_bytes(),
    ] {
        assert!(matches!(decode_request(frame), Err(RequestError::NotJson(_))));
        assert!(matches!(
            decode_payload_header(frame),
            Err(PayloadHeaderError::NotJson(_))
        ));
        assert!(matches!(decode_incoming(frame), Err(IncomingError::NotJson(_))));
    }
    let last_wins = decode_request(br#"{"id":125,"id":126,"method":"worker.dump"}"#).unwrap();
    assert_eq!(last_wins.id, 126);
    let cut = decode_request(br#"{"id":4294967297,"method":"worker.dump"}"#).unwrap();
    assert_eq!(cut.id, 1);
    let header = |text: &str| decode_payload_header(text.as_bytes()).unwrap_err();
    let unknown = PayloadHeaderError::UnknownEvent { event: "x".to_owned() };
    assert_eq!(header(r#"{"event":"x"}"#), unknown);
    let unknown = PayloadHeaderError::UnknownMethod {
        id: 4,
        method: "x".to_owned(),
    };
    assert_eq!(header(r#"{"id":4,"method":"x"}"#), unknown);
    for nothing in [
        "{}",
        "[]",
        r#"{"id":4}"#,
        r#"{"method":"dataConsumer.send"}"#,
        r#"{"event":5}"#,
    ] {
        assert_eq!(header(nothing), PayloadHeaderError::NotAMessage);
    }
}
