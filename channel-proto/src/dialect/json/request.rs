//! Requests of the parent: envelope, then the arguments of the method.

use base64::Engine as _;
use serde_json::Value;

use super::fields::{Fields, invalid};
use super::{connect, media, transport};
use crate::command::{
    Arguments, BufferedAmountLowThreshold, Command, CreateActiveSpeakerObserver, CreateAudioLevelObserver, LogLevel,
    MaxBitrate, ObservedProducer, PayloadCommand, Request, Target, TraceEventTypes, UpdateSettings,
};

/// A frame that is not a request we can carry out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Not JSON. Not answered.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// No whole number `id` or no text `method`. Not answered.
    #[error("a request needs a whole number 'id' and a text 'method'")]
    NotARequest,
    /// To be answered with this reason.
    #[error("unknown method")]
    UnknownMethod {
        /// Id of the request.
        id: u32,
        /// Its method.
        method: String,
    },
}

/// A header frame of the PayloadChannel that is not one we know. Its payload frame follows all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadHeaderError {
    /// Not JSON.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// Neither `id` and `method` nor `event`.
    #[error("neither a request nor a notification")]
    NotAMessage,
    /// To be answered with this reason.
    #[error("unknown method")]
    UnknownMethod {
        /// Id of the request.
        id: u32,
        /// Its method.
        method: String,
    },
    /// Not answered.
    #[error("unknown event '{event}'")]
    UnknownEvent {
        /// The event.
        event: String,
    },
}

/// Reads a request.
///
/// # Errors
/// The frame is no request, or of a method that does not exist.
pub fn decode_request(frame: &[u8]) -> Result<Request, RequestError> {
    let value: Value = serde_json::from_slice(frame).map_err(|error| RequestError::NotJson(error.to_string()))?;
    let envelope = Fields::of(Some(&value));
    let (Some(id), Some(method)) = (envelope.uint("id"), envelope.str("method")) else {
        return Err(RequestError::NotARequest);
    };
    let id = id as u32;
    let data = Fields::of(envelope.get("data"));
    let mut target = target(Fields::of(envelope.get("internal")));
    let Some(command) = command(method, data, &mut target) else {
        return Err(RequestError::UnknownMethod {
            id,
            method: method.to_owned(),
        });
    };
    Ok(Request { id, target, command })
}

/// Reads a header of the PayloadChannel.
///
/// # Errors
/// It is no message, or an unknown one.
pub fn decode_payload_header(frame: &[u8]) -> Result<PayloadCommand, PayloadHeaderError> {
    let value: Value = serde_json::from_slice(frame).map_err(|error| PayloadHeaderError::NotJson(error.to_string()))?;
    let envelope = Fields::of(Some(&value));
    let target = target(Fields::of(envelope.get("internal")));
    let data = envelope.get("data");
    if let (Some(id), Some(method)) = (envelope.uint("id"), envelope.str("method")) {
        return match method {
            "dataConsumer.send" => Ok(PayloadCommand::DataConsumerSend(id as u32, target, ppid(data))),
            _ => Err(PayloadHeaderError::UnknownMethod {
                id: id as u32,
                method: method.to_owned(),
            }),
        };
    }
    match envelope.str("event") {
        Some("producer.send") => Ok(PayloadCommand::ProducerSend(target)),
        Some("transport.sendRtcp") => Ok(PayloadCommand::TransportSendRtcp(target)),
        Some("dataProducer.send") => Ok(PayloadCommand::DataProducerSend(target, ppid(data))),
        Some(event) => Err(PayloadHeaderError::UnknownEvent {
            event: event.to_owned(),
        }),
        None => Err(PayloadHeaderError::NotAMessage),
    }
}

fn target(internal: Fields<'_>) -> Target {
    Target {
        web_rtc_server_id: internal.text("webRtcServerId"),
        router_id: internal.text("routerId"),
        transport_id: internal.text("transportId"),
        producer_id: internal.text("producerId"),
        consumer_id: internal.text("consumerId"),
        data_producer_id: internal.text("dataProducerId"),
        data_consumer_id: internal.text("dataConsumerId"),
        rtp_observer_id: internal.text("rtpObserverId"),
    }
}

/// A PPID as clients spell it: a number, its decimal text, a list of one, or the whole object as base64.
fn ppid(data: Option<&Value>) -> Arguments<u32> {
    let unpacked = data.and_then(Value::as_str).and_then(|text| {
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
        serde_json::from_slice::<Value>(&bytes).ok()
    });
    let value = match Fields::of(unpacked.as_ref().or(data)).get("ppid") {
        Some(Value::Array(values)) => values.first(),
        value => value,
    };
    match value {
        Some(Value::Null) => Some(53),
        Some(Value::String(text)) => text.parse().ok(),
        value => value.and_then(Value::as_u64).map(|ppid| ppid as u32),
    }
    .map_or_else(|| invalid("invalid ppid"), Ok)
}

fn command(method: &str, data: Fields<'_>, target: &mut Target) -> Option<Command> {
    Some(match method {
        "worker.close" => Command::WorkerClose,
        "worker.dump" => Command::WorkerDump,
        "worker.getResourceUsage" => Command::WorkerGetResourceUsage,
        "worker.updateSettings" => Command::WorkerUpdateSettings(update_settings(data)),
        "worker.createWebRtcServer" => Command::WorkerCreateWebRtcServer(transport::create_web_rtc_server(data)),
        "worker.createRouter" => Command::WorkerCreateRouter,
        "webRtcServer.close" => Command::WebRtcServerClose,
        "webRtcServer.dump" => Command::WebRtcServerDump,
        "router.close" => Command::RouterClose,
        "router.dump" => Command::RouterDump,
        "router.createWebRtcTransport" => {
            Command::RouterCreateWebRtcTransport(transport::create_web_rtc_transport(data, true))
        }
        "router.createWebRtcTransportWithServer" => {
            // Some clients repeat the ids in `data` and leave this one out of `internal`.
            target.web_rtc_server_id = target.web_rtc_server_id.take().or_else(|| data.text("webRtcServerId"));
            Command::RouterCreateWebRtcTransportWithServer(transport::create_web_rtc_transport(data, false))
        }
        "router.createPlainTransport" => Command::RouterCreatePlainTransport(transport::create_plain_transport(data)),
        "router.createPipeTransport" => Command::RouterCreatePipeTransport(transport::create_pipe_transport(data)),
        "router.createDirectTransport" => {
            Command::RouterCreateDirectTransport(transport::create_direct_transport(data))
        }
        "router.createActiveSpeakerObserver" => {
            Command::RouterCreateActiveSpeakerObserver(number(data, "interval").map(|interval| {
                CreateActiveSpeakerObserver {
                    interval: interval as u16,
                }
            }))
        }
        "router.createAudioLevelObserver" => Command::RouterCreateAudioLevelObserver(audio_level_observer(data)),
        "transport.close" => Command::TransportClose,
        "transport.dump" => Command::TransportDump,
        "transport.getStats" => Command::TransportGetStats,
        "transport.connect" => Command::TransportConnect(Ok(connect::connect(data))),
        "transport.setMaxIncomingBitrate" => Command::TransportSetMaxIncomingBitrate(max_bitrate(data)),
        "transport.setMaxOutgoingBitrate" => Command::TransportSetMaxOutgoingBitrate(max_bitrate(data)),
        "transport.restartIce" => Command::TransportRestartIce,
        "transport.produce" => Command::TransportProduce(media::produce(data)),
        "transport.consume" => Command::TransportConsume(media::consume(data)),
        "transport.produceData" => Command::TransportProduceData(media::produce_data(data)),
        "transport.consumeData" => Command::TransportConsumeData(media::produce_data(data)),
        "transport.enableTraceEvent" => Command::TransportEnableTraceEvent(trace_event_types(data)),
        "producer.close" => Command::ProducerClose,
        "producer.dump" => Command::ProducerDump,
        "producer.getStats" => Command::ProducerGetStats,
        "producer.pause" => Command::ProducerPause,
        "producer.resume" => Command::ProducerResume,
        "producer.enableTraceEvent" => Command::ProducerEnableTraceEvent(trace_event_types(data)),
        "consumer.close" => Command::ConsumerClose,
        "consumer.dump" => Command::ConsumerDump,
        "consumer.getStats" => Command::ConsumerGetStats,
        "consumer.pause" => Command::ConsumerPause,
        "consumer.resume" => Command::ConsumerResume,
        "consumer.setPreferredLayers" => Command::ConsumerSetPreferredLayers(media::layers(data)),
        "consumer.setPriority" => Command::ConsumerSetPriority(media::priority(data)),
        "consumer.requestKeyFrame" => Command::ConsumerRequestKeyFrame,
        "consumer.enableTraceEvent" => Command::ConsumerEnableTraceEvent(trace_event_types(data)),
        "dataProducer.close" => Command::DataProducerClose,
        "dataProducer.dump" => Command::DataProducerDump,
        "dataProducer.getStats" => Command::DataProducerGetStats,
        "dataConsumer.close" => Command::DataConsumerClose,
        "dataConsumer.dump" => Command::DataConsumerDump,
        "dataConsumer.getStats" => Command::DataConsumerGetStats,
        "dataConsumer.getBufferedAmount" => Command::DataConsumerGetBufferedAmount,
        "dataConsumer.setBufferedAmountLowThreshold" => {
            Command::DataConsumerSetBufferedAmountLowThreshold(buffered_amount_low_threshold(data))
        }
        "rtpObserver.close" => Command::RtpObserverClose,
        "rtpObserver.pause" => Command::RtpObserverPause,
        "rtpObserver.resume" => Command::RtpObserverResume,
        "rtpObserver.addProducer" => Command::RtpObserverAddProducer(Ok(observed_producer(data, target))),
        "rtpObserver.removeProducer" => Command::RtpObserverRemoveProducer(Ok(observed_producer(data, target))),
        _ => return None,
    })
}

fn observed_producer(data: Fields<'_>, target: &Target) -> ObservedProducer {
    ObservedProducer {
        producer_id: data.text("producerId").or_else(|| target.producer_id.clone()),
    }
}

fn update_settings(data: Fields<'_>) -> Arguments<UpdateSettings> {
    let log_level = match data.str("logLevel") {
        None => None,
        Some(name) => match LogLevel::from_name(name) {
            Some(level) => Some(level),
            None => return invalid(format!("invalid value '{name}' for logLevel")),
        },
    };
    let texts = |values: &Vec<Value>| values.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    Ok(UpdateSettings {
        log_level,
        log_tags: data.array("logTags").map(texts),
    })
}

fn max_bitrate(data: Fields<'_>) -> Arguments<MaxBitrate> {
    Ok(MaxBitrate {
        bitrate: data.need_uint("bitrate")? as u32,
    })
}

fn trace_event_types(data: Fields<'_>) -> Arguments<TraceEventTypes> {
    let Some(types) = data.array("types") else {
        return invalid("wrong types (not an array)");
    };
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| invalid("wrong type (not a string)"), |t| Ok(t.to_owned()))
    };
    Ok(TraceEventTypes {
        types: types.iter().map(text).collect::<Arguments<_>>()?,
    })
}

fn buffered_amount_low_threshold(data: Fields<'_>) -> Arguments<BufferedAmountLowThreshold> {
    match data.uint("threshold") {
        Some(threshold) => Ok(BufferedAmountLowThreshold {
            threshold: threshold as u32,
        }),
        None => invalid("wrong bufferedAmountThreshold (not an unsigned number)"),
    }
}

/// A number of any kind; casts from it clamp to the range of the target.
fn number(data: Fields<'_>, key: &str) -> Arguments<f64> {
    data.get(key)
        .and_then(Value::as_f64)
        .map_or_else(|| invalid(format!("missing {key}")), Ok)
}

fn audio_level_observer(data: Fields<'_>) -> Arguments<CreateAudioLevelObserver> {
    let max_entries = data.need_uint("maxEntries")?;
    let Some(max_entries) = u16::try_from(max_entries).ok().filter(|entries| *entries > 0) else {
        return invalid(format!("invalid maxEntries value {max_entries}"));
    };
    let threshold = number(data, "threshold")?;
    if !(-127.0..=0.0).contains(&threshold) {
        return invalid(format!("invalid threshold value {threshold}"));
    }
    let interval = number(data, "interval")? as u16;
    Ok(CreateAudioLevelObserver {
        max_entries,
        threshold: threshold as i8,
        interval,
    })
}
