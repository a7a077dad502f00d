//! The parent's side: what it sends, and what it gets.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::fields::Fields;
use crate::command::{Arguments, Command, Connect, Field, PayloadCommand, Request, Target};
use crate::event::{PayloadEvent, PayloadNotification};
use crate::reply::{Failure, FailureKind};

/// The `data` of a response or notification, not yet typed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Data(Value);

impl Data {
    /// Reads it as what the method or event says it is; absent data reads as none.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        T::deserialize(&self.0)
    }
}

/// A message of the Channel from the worker.
#[derive(Debug, Clone, PartialEq)]
pub enum Incoming {
    /// The answer to a request.
    Response {
        /// Its id.
        id: u32,
        /// Data, or why it was refused.
        result: Result<Data, Failure>,
    },
    /// Something happened.
    Notification {
        /// The entity; a number is turned into text.
        target_id: String,
        /// What happened.
        event: String,
        /// Details.
        data: Data,
    },
}

/// A header of the PayloadChannel from the worker.
#[derive(Debug, Clone, PartialEq)]
pub enum IncomingPayload {
    /// The answer to a request; no payload follows.
    Response {
        /// Its id.
        id: u32,
        /// Data, or why it was refused.
        result: Result<Data, Failure>,
    },
    /// Its payload is the next frame.
    Notification(PayloadNotification),
}

/// A frame from the worker that means nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IncomingError {
    /// Not JSON.
    #[error("not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// Neither a response nor a notification that is known.
    #[error("neither a response nor a notification")]
    Unknown,
}

/// A request as a frame. Absent arguments are left out, never null.
pub fn encode_request(request: &Request) -> Vec<u8> {
    let mut frame = Map::new();
    frame.insert("id".to_owned(), request.id.into());
    frame.insert("method".to_owned(), request.command.method().into());
    insert_object(&mut frame, "internal", value(&request.target));
    let mut data = data(&request.command);
    prune(&mut data);
    insert_object(&mut frame, "data", data);
    serde_json::to_vec(&frame).unwrap_or_default()
}

/// The header of a message on the PayloadChannel.
pub fn encode_payload_command(command: &PayloadCommand) -> Vec<u8> {
    let mut frame = Map::new();
    let mut header = |name: &str, what: &str, target: &Target, ppid: Option<&Arguments<u32>>| {
        frame.insert(name.to_owned(), what.into());
        insert_object(&mut frame, "internal", value(target));
        if let Some(Ok(ppid)) = ppid {
            frame.insert("data".to_owned(), serde_json::json!({ "ppid": ppid }));
        }
    };
    match command {
        PayloadCommand::ProducerSend(target) => header("event", "producer.send", target, None),
        PayloadCommand::TransportSendRtcp(target) => header("event", "transport.sendRtcp", target, None),
        PayloadCommand::DataProducerSend(target, ppid) => header("event", "dataProducer.send", target, Some(ppid)),
        PayloadCommand::DataConsumerSend(id, target, ppid) => {
            header("method", "dataConsumer.send", target, Some(ppid));
            frame.insert("id".to_owned(), (*id).into());
        }
    }
    serde_json::to_vec(&frame).unwrap_or_default()
}

/// Dumps have keys that requests leave out: null where a mapping names no stream, `rtcp` where none was given.
fn prune(value: &mut Value) {
    match value {
        Value::Object(map) => {
            let no_rtcp = |key: &str, value: &Value| key == "rtcp" && value.as_object().is_some_and(Map::is_empty);
            map.retain(|key, value| !value.is_null() && !no_rtcp(key, value));
            map.values_mut().for_each(prune);
        }
        Value::Array(values) => values.iter_mut().for_each(prune),
        _ => {}
    }
}

fn insert_object(frame: &mut Map<String, Value>, key: &str, value: Value) {
    if value.as_object().is_some_and(|map| !map.is_empty()) {
        frame.insert(key.to_owned(), value);
    }
}

fn value(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn data(command: &Command) -> Value {
    fn of<T: Serialize>(arguments: &Arguments<T>) -> Value {
        arguments.as_ref().map(value).unwrap_or_default()
    }
    match command {
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
        Command::TransportConnect(arguments) => arguments.as_ref().map(connect).unwrap_or_default(),
        Command::TransportSetMaxIncomingBitrate(arguments) | Command::TransportSetMaxOutgoingBitrate(arguments) => {
            of(arguments)
        }
        Command::TransportProduce(arguments) => of(arguments),
        Command::TransportConsume(arguments) => of(arguments),
        Command::TransportProduceData(arguments) | Command::TransportConsumeData(arguments) => of(arguments),
        Command::TransportEnableTraceEvent(arguments)
        | Command::ProducerEnableTraceEvent(arguments)
        | Command::ConsumerEnableTraceEvent(arguments) => of(arguments),
        Command::ConsumerSetPreferredLayers(arguments) => of(arguments),
        Command::ConsumerSetPriority(arguments) => of(arguments),
        Command::DataConsumerSetBufferedAmountLowThreshold(arguments) => of(arguments),
        Command::RtpObserverAddProducer(arguments) | Command::RtpObserverRemoveProducer(arguments) => of(arguments),
        _ => Value::Null,
    }
}

fn connect(connect: &Connect) -> Value {
    fn put<T: Serialize>(map: &mut Map<String, Value>, key: &str, field: &Field<T>) {
        if let Field::Present(present) = field {
            map.insert(key.to_owned(), value(present));
        }
    }
    let mut map = Map::new();
    put(&mut map, "dtlsParameters", &connect.dtls_parameters);
    put(&mut map, "srtpParameters", &connect.srtp_parameters);
    put(&mut map, "ip", &connect.ip);
    put(&mut map, "port", &connect.port);
    put(&mut map, "rtcpPort", &connect.rtcp_port);
    Value::Object(map)
}

fn response(fields: Fields<'_>) -> Option<(u32, Result<Data, Failure>)> {
    let id = fields.uint("id")? as u32;
    if fields.truth("accepted") == Some(true) {
        return Some((id, Ok(Data(fields.get("data").cloned().unwrap_or_default()))));
    }
    let kind = if fields.str("error") == Some("TypeError") {
        FailureKind::TypeError
    } else {
        FailureKind::Error
    };
    let reason = fields
        .text("reason")
        .unwrap_or_else(|| "neither accepted nor refused".to_owned());
    Some((id, Err(Failure { kind, reason })))
}

fn target_id(fields: Fields<'_>) -> Option<String> {
    match fields.get("targetId")? {
        Value::String(id) => Some(id.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Reads a JSON frame of the Channel (log frames begin with another byte).
///
/// # Errors
/// It is neither a response nor a notification.
pub fn decode_incoming(frame: &[u8]) -> Result<Incoming, IncomingError> {
    let value: Value = serde_json::from_slice(frame)?;
    let fields = Fields::of(Some(&value));
    if let Some((id, result)) = response(fields) {
        return Ok(Incoming::Response { id, result });
    }
    let (Some(target_id), Some(event)) = (target_id(fields), fields.text("event")) else {
        return Err(IncomingError::Unknown);
    };
    Ok(Incoming::Notification {
        target_id,
        event,
        data: Data(fields.get("data").cloned().unwrap_or_default()),
    })
}

/// Reads a header frame of the PayloadChannel.
///
/// # Errors
/// It is neither a response nor a notification that is known.
pub fn decode_incoming_payload(frame: &[u8]) -> Result<IncomingPayload, IncomingError> {
    let value: Value = serde_json::from_slice(frame)?;
    let fields = Fields::of(Some(&value));
    if let Some((id, result)) = response(fields) {
        return Ok(IncomingPayload::Response { id, result });
    }
    let event = match fields.str("event") {
        Some("rtp") => PayloadEvent::Rtp,
        Some("rtcp") => PayloadEvent::Rtcp,
        Some("message") => {
            let ppid = fields
                .object("data")
                .and_then(|data| data.uint("ppid"))
                .unwrap_or_default();
            PayloadEvent::Message { ppid: ppid as u32 }
        }
        _ => return Err(IncomingError::Unknown),
    };
    let target_id = target_id(fields).ok_or(IncomingError::Unknown)?;
    Ok(IncomingPayload::Notification(PayloadNotification { target_id, event }))
}
