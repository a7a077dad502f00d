//! What the reference worker said in the recorded conversations is read and written again without a loss.

use std::fs;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::shapes::parsed;
use crate::dialect::json::{Incoming, decode_incoming, encode_notification};
use crate::event::{
    DominantSpeaker, DtlsStateChange, Event, IceSelectedTuple, IceStateChange, Notification, ProducerScore,
    RemoteRtcpTuple, RemoteTuple, SctpStateChange, Trace, VideoOrientation, Volume,
};
use crate::reply::{
    BufferedAmount, Connected, Consumed, ConsumerDump, ConsumerScore, DataConsumerDump, DataConsumerStats,
    DataProducerDump, DataProducerStats, IceRestarted, Priority, Produced, ProducerDump, ResourceUsage, RouterDump,
    RtpStreamStats, TransportDump, TransportStats, WebRtcConnected, WebRtcServerDump, WorkerDump,
};
use crate::rtp_parameters::ConsumerLayers;

/// Steps of all recordings.
fn steps() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors");
    let mut steps = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path
            .file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with(|first: char| first.is_ascii_digit())
        {
            continue;
        }
        for line in fs::read_to_string(path).unwrap().lines() {
            steps.push(serde_json::from_str(line).unwrap());
        }
    }
    steps
}

fn again<T: DeserializeOwned + Serialize>(data: &Value) -> Value {
    let read: T = serde_json::from_value(data.clone()).unwrap_or_else(|error| panic!("{error}: {data}"));
    serde_json::to_value(read).unwrap()
}

#[test]
fn answers_are_read_and_written_without_a_loss() {
    let mut methods = std::collections::BTreeSet::new();
    for step in steps() {
        let (Some(method), Some(data)) = (step["of"].as_str(), step.get("data")) else {
            continue;
        };
        if step["step"] != "response" || step["accepted"] != true {
            continue;
        }
        let again = match method {
            "worker.dump" => again::<WorkerDump>(data),
            "worker.getResourceUsage" => again::<ResourceUsage>(data),
            "webRtcServer.dump" => again::<WebRtcServerDump>(data),
            "router.dump" => again::<RouterDump>(data),
            "router.createWebRtcTransport"
            | "router.createWebRtcTransportWithServer"
            | "router.createPlainTransport"
            | "router.createPipeTransport"
            | "router.createDirectTransport"
            | "transport.dump" => again::<TransportDump>(data),
            "transport.getStats" => again::<[TransportStats; 1]>(data),
            "transport.connect" if data.get("dtlsLocalRole").is_some() => again::<WebRtcConnected>(data),
            "transport.connect" => again::<Connected>(data),
            "transport.restartIce" => again::<IceRestarted>(data),
            "transport.produce" => again::<Produced>(data),
            "transport.consume" => again::<Consumed>(data),
            "producer.dump" => again::<ProducerDump>(data),
            "producer.getStats" | "consumer.getStats" => again::<Vec<RtpStreamStats>>(data),
            "consumer.dump" => again::<ConsumerDump>(data),
            "consumer.setPreferredLayers" => again::<ConsumerLayers>(data),
            "consumer.setPriority" => again::<Priority>(data),
            "transport.produceData" | "dataProducer.dump" => again::<DataProducerDump>(data),
            "transport.consumeData" | "dataConsumer.dump" => again::<DataConsumerDump>(data),
            "dataProducer.getStats" => again::<[DataProducerStats; 1]>(data),
            "dataConsumer.getStats" => again::<[DataConsumerStats; 1]>(data),
            "dataConsumer.getBufferedAmount" => again::<BufferedAmount>(data),
            other => panic!("{other} has data: {data}"),
        };
        assert_eq!(again, *data, "{method}");
        methods.insert(method.to_owned());
    }
    assert_eq!(methods.len(), 28, "{methods:?}");
}

/// The event of this name, as a client reads it.
fn event(name: &str, data: &crate::dialect::json::Data, list: bool) -> Result<Event, serde_json::Error> {
    Ok(match name {
        "iceselectedtuplechange" => Event::IceSelectedTupleChange(data.parse::<IceSelectedTuple>()?),
        "icestatechange" => Event::IceStateChange(data.parse::<IceStateChange>()?),
        "dtlsstatechange" => Event::DtlsStateChange(data.parse::<DtlsStateChange>()?),
        "sctpstatechange" => Event::SctpStateChange(data.parse::<SctpStateChange>()?),
        "tuple" => Event::Tuple(data.parse::<RemoteTuple>()?),
        "rtcptuple" => Event::RtcpTuple(data.parse::<RemoteRtcpTuple>()?),
        "score" if list => Event::ProducerScore(data.parse::<Vec<ProducerScore>>()?),
        "score" => Event::ConsumerScore(data.parse::<ConsumerScore>()?),
        "videoorientationchange" => Event::VideoOrientationChange(data.parse::<VideoOrientation>()?),
        "producerclose" => Event::ProducerClose,
        "producerpause" => Event::ProducerPause,
        "producerresume" => Event::ProducerResume,
        "layerschange" => Event::LayersChange(data.parse()?),
        "dataproducerclose" => Event::DataProducerClose,
        "sctpsendbufferfull" => Event::SctpSendBufferFull,
        "bufferedamountlow" => Event::BufferedAmountLow(data.parse()?),
        "volumes" => Event::Volumes(data.parse::<Vec<Volume>>()?),
        "silence" => Event::Silence,
        "dominantspeaker" => Event::DominantSpeaker(data.parse::<DominantSpeaker>()?),
        "trace" => Event::Trace(data.parse::<Trace>()?),
        other => panic!("{other} is not an event"),
    })
}

#[test]
fn events_are_read_and_written_without_a_loss() {
    let mut names = std::collections::BTreeSet::new();
    for step in steps() {
        if step["step"] != "notification" || step["event"] == "running" {
            continue;
        }
        let (name, target) = (step["event"].as_str().unwrap(), step["targetId"].as_str().unwrap());
        let mut frame = json!({"event": name, "targetId": target});
        if let Some(data) = step.get("data") {
            frame["data"] = data.clone();
        }
        let Ok(Incoming::Notification { data, .. }) = decode_incoming(frame.to_string().as_bytes()) else {
            panic!("{frame}")
        };
        let list = step.get("data").is_some_and(Value::is_array);
        let event = event(name, &data, list).unwrap_or_else(|error| panic!("{error}: {frame}"));
        let target_id = target.to_owned();
        let written = encode_notification(&Notification::Entity { target_id, event });
        assert_eq!(parsed(&written), frame);
        names.insert(name.to_owned());
    }
    assert_eq!(names.len(), 19, "{names:?}");
}
