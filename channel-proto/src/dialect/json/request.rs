//! Requests of the parent: envelope, then the arguments of the method.

use base64::Engine as _;
use serde_json::Value;

use super::fields::{Fields, invalid};
use super::rtp;
use crate::command::{
    Arguments, BufferedAmountLowThreshold, Command, Connect, Consume, CreateActiveSpeakerObserver,
    CreateAudioLevelObserver, CreateDirectTransport, CreatePipeTransport, CreatePlainTransport, CreateWebRtcServer,
    CreateWebRtcTransport, DataType, Field, InvalidArguments, LogLevel, MaxBitrate, ObservedProducer, PayloadCommand,
    Produce, ProduceData, Request, SctpOptions, SetPriority, Target, TraceEventTypes, TransportOptions, UpdateSettings,
};
use crate::rtp_parameters::{ConsumerLayers, ConsumerType, producer_type};
use crate::srtp_parameters::{SrtpCryptoSuite, SrtpParameters};
use crate::transport_parameters::{
    DtlsFingerprint, DtlsParameters, DtlsRole, FingerprintAlgorithm, ListenInfo, ListenIp, NumSctpStreams, Protocol,
    SctpStreamParameters,
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
        "worker.createWebRtcServer" => Command::WorkerCreateWebRtcServer(create_web_rtc_server(data)),
        "worker.createRouter" => Command::WorkerCreateRouter,
        "webRtcServer.close" => Command::WebRtcServerClose,
        "webRtcServer.dump" => Command::WebRtcServerDump,
        "router.close" => Command::RouterClose,
        "router.dump" => Command::RouterDump,
        "router.createWebRtcTransport" => Command::RouterCreateWebRtcTransport(create_web_rtc_transport(data, true)),
        "router.createWebRtcTransportWithServer" => {
            // Some clients repeat the ids in `data` and leave this one out of `internal`.
            target.web_rtc_server_id = target.web_rtc_server_id.take().or_else(|| data.text("webRtcServerId"));
            Command::RouterCreateWebRtcTransportWithServer(create_web_rtc_transport(data, false))
        }
        "router.createPlainTransport" => Command::RouterCreatePlainTransport(create_plain_transport(data)),
        "router.createPipeTransport" => Command::RouterCreatePipeTransport(create_pipe_transport(data)),
        "router.createDirectTransport" => Command::RouterCreateDirectTransport(create_direct_transport(data)),
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
        "transport.connect" => Command::TransportConnect(Ok(connect(data))),
        "transport.setMaxIncomingBitrate" => Command::TransportSetMaxIncomingBitrate(max_bitrate(data)),
        "transport.setMaxOutgoingBitrate" => Command::TransportSetMaxOutgoingBitrate(max_bitrate(data)),
        "transport.restartIce" => Command::TransportRestartIce,
        "transport.produce" => Command::TransportProduce(produce(data)),
        "transport.consume" => Command::TransportConsume(consume(data)),
        "transport.produceData" => Command::TransportProduceData(produce_data(data)),
        "transport.consumeData" => Command::TransportConsumeData(produce_data(data)),
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
        "consumer.setPreferredLayers" => Command::ConsumerSetPreferredLayers(layers(data)),
        "consumer.setPriority" => Command::ConsumerSetPriority(priority(data)),
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
            Command::DataConsumerSetBufferedAmountLowThreshold(data.need_uint("threshold").map(|threshold| {
                BufferedAmountLowThreshold {
                    threshold: threshold as u32,
                }
            }))
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

fn announced_ip(fields: Fields<'_>) -> Arguments<Option<String>> {
    match fields.get("announcedIp") {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(_) => invalid("wrong announcedIp (not a string)"),
    }
}

fn listen_ip(fields: Fields<'_>) -> Arguments<ListenIp> {
    Ok(ListenIp {
        ip: fields.ip("ip")?,
        announced_ip: announced_ip(fields)?,
    })
}

/// 1 to 8 entries.
fn listeners<'a, T>(data: Fields<'a>, key: &str, read: impl Fn(Fields<'a>) -> Arguments<T>) -> Arguments<Vec<T>> {
    let entries = data.need_array(key)?;
    if entries.is_empty() {
        return invalid(format!("wrong {key} (empty array)"));
    }
    if entries.len() > 8 {
        return invalid(format!("wrong {key} (too many entries)"));
    }
    entries.iter().map(|entry| read(Fields::entry(entry)?)).collect()
}

fn create_web_rtc_server(data: Fields<'_>) -> Arguments<CreateWebRtcServer> {
    let listen_infos = listeners(data, "listenInfos", |entry| {
        let protocol = match entry.need_str("protocol")?.to_ascii_lowercase().as_str() {
            "udp" => Protocol::Udp,
            "tcp" => Protocol::Tcp,
            other => return invalid(format!("invalid protocol '{other}'")),
        };
        let ListenIp { ip, announced_ip } = listen_ip(entry)?;
        let port = entry.strict_uint("port")?.unwrap_or_default() as u16;
        Ok(ListenInfo {
            protocol,
            ip,
            announced_ip,
            port,
        })
    })?;
    Ok(CreateWebRtcServer { listen_infos })
}

fn transport_options(data: Fields<'_>) -> Arguments<TransportOptions> {
    let initial_available_outgoing_bitrate = data
        .strict_uint("initialAvailableOutgoingBitrate")?
        .map(|bitrate| bitrate as u32);
    let sctp = if data.truth("enableSctp") == Some(true) {
        let streams = data.need_object("numSctpStreams")?;
        let num_sctp_streams = NumSctpStreams {
            os: streams.need_uint("OS")? as u16,
            mis: streams.need_uint("MIS")? as u16,
        };
        let max_sctp_message_size = data.need_uint("maxSctpMessageSize")?;
        let sctp_send_buffer_size = data.strict_uint("sctpSendBufferSize")?.unwrap_or(262_144);
        if sctp_send_buffer_size > 268_435_456 {
            return invalid("wrong sctpSendBufferSize (maximum value exceeded)");
        }
        let is_data_channel = data.truth("isDataChannel").unwrap_or(false);
        Some(SctpOptions {
            enable_sctp: true,
            num_sctp_streams,
            max_sctp_message_size,
            sctp_send_buffer_size,
            is_data_channel,
        })
    } else {
        None
    };
    Ok(TransportOptions {
        initial_available_outgoing_bitrate,
        sctp,
    })
}

fn port(data: Fields<'_>) -> Arguments<Option<u16>> {
    Ok(data.strict_uint("port")?.map(|port| port as u16))
}

fn create_web_rtc_transport(data: Fields<'_>, own_sockets: bool) -> Arguments<CreateWebRtcTransport> {
    let options = transport_options(data)?;
    Ok(CreateWebRtcTransport {
        enable_udp: data.strict_bool("enableUdp", true)?,
        enable_tcp: data.strict_bool("enableTcp", false)?,
        prefer_udp: data.strict_bool("preferUdp", false)?,
        prefer_tcp: data.strict_bool("preferTcp", false)?,
        listen_ips: if own_sockets {
            listeners(data, "listenIps", listen_ip)?
        } else {
            Vec::new()
        },
        port: if own_sockets { port(data)? } else { None },
        options,
    })
}

fn suite(name: Option<&str>, missing: &str, unknown: &str) -> Arguments<SrtpCryptoSuite> {
    let Some(name) = name else { return invalid(missing) };
    SrtpCryptoSuite::from_name(name).map_or_else(|| invalid(unknown), Ok)
}

fn create_plain_transport(data: Fields<'_>) -> Arguments<CreatePlainTransport> {
    let options = transport_options(data)?;
    let listen_ip = listen_ip(data.need_object("listenIp")?)?;
    let port = port(data)?;
    let rtcp_mux = data.strict_bool("rtcpMux", true)?;
    let comedia = data.strict_bool("comedia", false)?;
    let enable_srtp = data.truth("enableSrtp").unwrap_or(false);
    let srtp_crypto_suite = if enable_srtp {
        let name = data.str("srtpCryptoSuite");
        Some(suite(
            name,
            "missing srtpCryptoSuite)",
            "invalid/unsupported srtpCryptoSuite",
        )?)
    } else {
        None
    };
    Ok(CreatePlainTransport {
        listen_ip,
        port,
        rtcp_mux,
        comedia,
        enable_srtp,
        srtp_crypto_suite,
        options,
    })
}

fn create_pipe_transport(data: Fields<'_>) -> Arguments<CreatePipeTransport> {
    let options = transport_options(data)?;
    Ok(CreatePipeTransport {
        listen_ip: listen_ip(data.need_object("listenIp")?)?,
        port: port(data)?,
        enable_rtx: data.truth("enableRtx").unwrap_or(false),
        enable_srtp: data.truth("enableSrtp").unwrap_or(false),
        options,
    })
}

fn create_direct_transport(data: Fields<'_>) -> Arguments<CreateDirectTransport> {
    let direct = data.truth("direct").unwrap_or(false);
    // Without the flag nothing asks for the size; the transport is direct all the same.
    let max_message_size = match data.uint("maxMessageSize") {
        Some(size) => size,
        None if direct => return invalid("wrong maxMessageSize (not a number)"),
        None => 262_144,
    };
    data.strict_uint("initialAvailableOutgoingBitrate")?;
    if direct && data.truth("enableSctp") == Some(true) {
        return invalid("cannot enable SCTP in a direct Transport");
    }
    Ok(CreateDirectTransport {
        direct,
        max_message_size: if direct { max_message_size } else { 262_144 },
    })
}

fn number(data: Fields<'_>, key: &str) -> Arguments<f64> {
    data.get(key)
        .and_then(Value::as_f64)
        .map_or_else(|| invalid(format!("missing {key}")), Ok)
}

fn audio_level_observer(data: Fields<'_>) -> Arguments<CreateAudioLevelObserver> {
    let max_entries = data.need_uint("maxEntries")?;
    if max_entries < 1 {
        return invalid("invalid maxEntries value");
    }
    let threshold = number(data, "threshold")?;
    if !(-127.0..=0.0).contains(&threshold) {
        return invalid(format!("invalid threshold value {threshold}"));
    }
    let interval = number(data, "interval")? as u16;
    Ok(CreateAudioLevelObserver {
        max_entries: max_entries.min(u64::from(u16::MAX)) as u16,
        threshold: threshold as i8,
        interval,
    })
}

/// Whether the key is there decides whether it may be there, so each field tells all three cases.
fn connect(data: Fields<'_>) -> Connect {
    fn field<T>(data: Fields<'_>, key: &str, read: impl Fn() -> Arguments<T>) -> Field<T> {
        match data.get(key) {
            None => Field::Absent,
            Some(_) => read().map_or_else(Field::Invalid, Field::Present),
        }
    }
    Connect {
        dtls_parameters: field(data, "dtlsParameters", || {
            dtls_parameters(data.need_object("dtlsParameters")?)
        }),
        srtp_parameters: field(data, "srtpParameters", || {
            let Some(fields) = data.object("srtpParameters") else {
                return invalid("missing srtpParameters (SRTP enabled)");
            };
            let name = fields.str("cryptoSuite");
            let (missing, unknown) = (
                "missing srtpParameters.cryptoSuite)",
                "invalid/unsupported srtpParameters.cryptoSuite",
            );
            let crypto_suite = suite(name, missing, unknown)?;
            let Some(key_base64) = fields.text("keyBase64") else {
                return invalid("missing srtpParameters.keyBase64)");
            };
            Ok(SrtpParameters {
                crypto_suite,
                key_base64,
            })
        }),
        ip: field(data, "ip", || data.ip("ip")),
        port: field(data, "port", || Ok(data.need_uint("port")? as u16)),
        rtcp_port: field(data, "rtcpPort", || match data.uint("rtcpPort") {
            Some(port) => Ok(port as u16),
            None => invalid("missing rtcpPort (required with rtcpMux disabled)"),
        }),
    }
}

fn dtls_parameters(fields: Fields<'_>) -> Arguments<DtlsParameters> {
    let Some(first) = fields.array("fingerprints").and_then(|entries| entries.first()) else {
        return invalid("missing dtlsParameters.fingerprints");
    };
    let first = Fields::entry(first)?;
    let algorithm = match first.str("algorithm") {
        Some("sha-1") => FingerprintAlgorithm::Sha1,
        Some("sha-224") => FingerprintAlgorithm::Sha224,
        Some("sha-256") => FingerprintAlgorithm::Sha256,
        Some("sha-384") => FingerprintAlgorithm::Sha384,
        Some("sha-512") => FingerprintAlgorithm::Sha512,
        Some(_) => return invalid("invalid fingerprint.algorithm value"),
        None => return invalid("missing fingerprint.algorithm"),
    };
    let Some(value) = first.text("value") else {
        return invalid("missing fingerprint.value");
    };
    let role = match fields.get("role").map(Value::as_str) {
        None => DtlsRole::Auto,
        Some(Some("auto")) => DtlsRole::Auto,
        Some(Some("client")) => DtlsRole::Client,
        Some(Some("server")) => DtlsRole::Server,
        Some(_) => return invalid("invalid dtlsParameters.role"),
    };
    Ok(DtlsParameters {
        role,
        fingerprints: vec![DtlsFingerprint { algorithm, value }],
    })
}

fn max_bitrate(data: Fields<'_>) -> Arguments<MaxBitrate> {
    Ok(MaxBitrate {
        bitrate: data.need_uint("bitrate")? as u32,
    })
}

fn produce(data: Fields<'_>) -> Arguments<Produce> {
    let kind = rtp::kind(data)?;
    let rtp_parameters = rtp::rtp_parameters(data)?;
    producer_type(&rtp_parameters)?;
    let rtp_mapping = rtp::rtp_mapping(data, &rtp_parameters)?;
    let delay = data
        .get("keyFrameRequestDelay")
        .and_then(Value::as_i64)
        .unwrap_or_default();
    let key_frame_request_delay = delay as u32;
    let paused = data.truth("paused").unwrap_or(false);
    Ok(Produce {
        kind,
        rtp_parameters,
        rtp_mapping,
        key_frame_request_delay,
        paused,
    })
}

fn consume(data: Fields<'_>) -> Arguments<Consume> {
    let consumer_type = match data.need_str("type")? {
        "simple" => ConsumerType::Simple,
        "simulcast" => ConsumerType::Simulcast,
        "svc" => ConsumerType::Svc,
        "pipe" => ConsumerType::Pipe,
        _ => return invalid("invalid type"),
    };
    let kind = rtp::kind(data)?;
    let rtp_parameters = rtp::rtp_parameters(data)?;
    for encoding in &rtp_parameters.encodings {
        if encoding.ssrc.is_none() {
            return invalid("wrong encoding in rtpParameters (missing ssrc)");
        }
        if encoding.rtx.is_some_and(|rtx| rtx.ssrc.is_none()) {
            return invalid("wrong rtx encoding in rtpParameters (missing ssrc)");
        }
    }
    let consumable = data.need_array("consumableRtpEncodings")?;
    if consumable.is_empty() {
        return invalid("empty consumableRtpEncodings");
    }
    let consumable_rtp_encodings = consumable
        .iter()
        .map(|entry| match rtp::encoding(Fields::entry(entry)?)? {
            encoding if encoding.ssrc.is_none() => invalid("wrong encoding in consumableRtpEncodings (missing ssrc)"),
            encoding => Ok(encoding),
        })
        .collect::<Arguments<Vec<_>>>()?;
    let first = rtp_parameters.encodings.first();
    let (spatial, temporal) = first.map_or((1, 1), |first| (first.spatial_layers(), first.temporal_layers()));
    let codec = first
        .and_then(|first| first.codec_payload_type)
        .and_then(|payload_type| {
            rtp_parameters
                .codecs
                .iter()
                .find(|codec| codec.payload_type == payload_type)
        })
        .map(|codec| codec.mime_type.as_str())
        .unwrap_or_default();
    let count = consumable_rtp_encodings.len();
    match consumer_type {
        ConsumerType::Simple if count != 1 => return invalid("invalid consumableRtpEncodings with size != 1"),
        ConsumerType::Simulcast if count <= 1 => return invalid("invalid consumableRtpEncodings with size <= 1"),
        ConsumerType::Simulcast if usize::from(spatial) != count => {
            return invalid("encoding.spatialLayers does not match number of consumableRtpEncodings");
        }
        ConsumerType::Simulcast if !matches!(codec, "video/VP8" | "video/H264") => {
            return invalid(format!("{codec} codec not supported for simulcast"));
        }
        ConsumerType::Svc if count != 1 => return invalid("invalid consumableRtpEncodings with size != 1"),
        ConsumerType::Svc if spatial < 2 && temporal < 2 => return invalid("invalid number of layers"),
        ConsumerType::Svc if !matches!(codec, "video/VP9" | "video/H264-SVC") => {
            return invalid(format!("{codec} codec not supported for svc"));
        }
        ConsumerType::Pipe if rtp_parameters.encodings.len() != count => {
            return invalid("number of rtpParameters.encodings and consumableRtpEncodings do not match");
        }
        _ => {}
    }
    let layered = matches!(consumer_type, ConsumerType::Simulcast | ConsumerType::Svc);
    let preferred_layers = match data.object("preferredLayers").filter(|_| layered) {
        Some(fields) => {
            Some(layers(fields).map_err(|_| InvalidArguments::new("missing preferredLayers.spatialLayer"))?)
        }
        None => None,
    };
    let paused = data.truth("paused").unwrap_or(false);
    Ok(Consume {
        kind,
        rtp_parameters,
        consumer_type,
        consumable_rtp_encodings,
        paused,
        preferred_layers,
    })
}

fn layers(fields: Fields<'_>) -> Arguments<ConsumerLayers> {
    let clamp = |layer: u64| layer.min(i16::MAX as u64) as i16;
    let spatial_layer = clamp(fields.need_uint("spatialLayer")?);
    Ok(ConsumerLayers {
        spatial_layer,
        temporal_layer: fields.uint("temporalLayer").map(clamp),
    })
}

fn priority(data: Fields<'_>) -> Arguments<SetPriority> {
    let Some(priority) = data.get("priority").and_then(Value::as_f64) else {
        return invalid("wrong priority (not a number)");
    };
    if !(1.0..256.0).contains(&priority) {
        return invalid("wrong priority (must be between 1 and 255)");
    }
    Ok(SetPriority {
        priority: priority as u8,
    })
}

fn produce_data(data: Fields<'_>) -> Arguments<ProduceData> {
    let data_type = match data.need_str("type")? {
        "sctp" => DataType::Sctp,
        "direct" => DataType::Direct,
        _ => return invalid("invalid type"),
    };
    let sctp_stream_parameters = match data_type {
        DataType::Direct => None,
        DataType::Sctp => Some(sctp_stream_parameters(data.need_object("sctpStreamParameters")?)?),
    };
    let text = |key: &str| data.text(key).unwrap_or_default();
    Ok(ProduceData {
        data_type,
        sctp_stream_parameters,
        label: text("label"),
        protocol: text("protocol"),
    })
}

fn sctp_stream_parameters(fields: Fields<'_>) -> Arguments<SctpStreamParameters> {
    let stream_id = fields.need_uint("streamId")? as u16;
    if stream_id == u16::MAX {
        return invalid("streamId must not be greater than 65534");
    }
    let limit = |key: &str| fields.uint(key).map(|value| value as u16).filter(|value| *value != 0);
    let (max_packet_life_time, max_retransmits) = (limit("maxPacketLifeTime"), limit("maxRetransmits"));
    if max_packet_life_time.is_some() && max_retransmits.is_some() {
        return invalid("cannot provide both maxPacketLifeTime and maxRetransmits");
    }
    let limited = max_packet_life_time.is_some() || max_retransmits.is_some();
    let ordered = match fields.truth("ordered") {
        Some(true) if limited => return invalid("cannot be ordered with maxPacketLifeTime or maxRetransmits"),
        Some(ordered) => ordered && !limited,
        None => !limited,
    };
    Ok(SctpStreamParameters {
        stream_id,
        ordered,
        max_packet_life_time,
        max_retransmits,
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
