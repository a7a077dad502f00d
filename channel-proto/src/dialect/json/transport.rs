//! Arguments that create transports and WebRtcServers.

use serde_json::Value;

use super::fields::{Fields, invalid};
use crate::command::{
    Arguments, CreateDirectTransport, CreatePipeTransport, CreatePlainTransport, CreateWebRtcServer,
    CreateWebRtcTransport, SctpOptions, TransportOptions,
};
use crate::srtp_parameters::SrtpCryptoSuite;
use crate::transport_parameters::{ListenInfo, ListenIp, NumSctpStreams, Protocol};

const DEFAULT_MAX_MESSAGE_SIZE: u64 = 262_144;
const DEFAULT_SCTP_SEND_BUFFER_SIZE: u64 = 262_144;
const MAX_SCTP_SEND_BUFFER_SIZE: u64 = 268_435_456;
const MAX_LISTENERS: usize = 8;

/// How the methods word what is wrong with an address; parents see these texts.
struct Words {
    entry: &'static str,
    wrong_ip: &'static str,
    wrong_announced_ip: &'static str,
    too_many: &'static str,
}

const SERVER: Words = Words {
    entry: "listenInfo",
    wrong_ip: "wrong listenInfo.ip (not an string",
    wrong_announced_ip: "wrong listenInfo.announcedIp (not an string)",
    too_many: "too many entries",
};
const WEB_RTC: Words = Words {
    entry: "listenIp",
    wrong_ip: "wrong listenIp.ip (not an string",
    wrong_announced_ip: "wrong listenIp.announcedIp (not an string)",
    too_many: "too many IPs",
};
const PLAIN_AND_PIPE: Words = Words {
    entry: "listenIp",
    wrong_ip: "wrong listenIp.ip (not an string)",
    wrong_announced_ip: "wrong listenIp.announcedIp (not an string",
    too_many: "",
};

fn listen_ip(fields: Fields<'_>, words: &Words) -> Arguments<ListenIp> {
    let ip = match fields.get("ip") {
        None => return invalid(format!("missing {}.ip", words.entry)),
        Some(Value::String(_)) => fields.ip("ip")?,
        Some(_) => return invalid(words.wrong_ip),
    };
    let announced_ip = match fields.get("announcedIp") {
        None => None,
        Some(Value::String(text)) => Some(text.clone()).filter(|text| !text.is_empty()),
        Some(_) => return invalid(words.wrong_announced_ip),
    };
    Ok(ListenIp { ip, announced_ip })
}

/// The sole address of a transport.
fn sole_listen_ip(data: Fields<'_>) -> Arguments<ListenIp> {
    match data.get("listenIp") {
        None => invalid("missing listenIp"),
        Some(value) => listen_ip(Fields::named(value, || "wrong listenIp".to_owned())?, &PLAIN_AND_PIPE),
    }
}

/// 1 to 8 entries.
fn listeners<'a, T>(
    data: Fields<'a>,
    key: &str,
    words: &Words,
    read: impl Fn(Fields<'a>) -> Arguments<T>,
) -> Arguments<Vec<T>> {
    let entries = match data.get(key) {
        None => return invalid(format!("missing {key}")),
        Some(Value::Array(entries)) => entries,
        Some(_) => return invalid(format!("wrong {key} (not an array)")),
    };
    if entries.is_empty() {
        return invalid(format!("wrong {key} (empty array)"));
    }
    if entries.len() > MAX_LISTENERS {
        return invalid(format!("wrong {key} ({})", words.too_many));
    }
    entries
        .iter()
        .map(|entry| read(Fields::named(entry, || format!("wrong {}", words.entry))?))
        .collect()
}

pub(super) fn create_web_rtc_server(data: Fields<'_>) -> Arguments<CreateWebRtcServer> {
    let listen_infos = listeners(data, "listenInfos", &SERVER, |entry| {
        let protocol = match entry.get("protocol") {
            None => return invalid("missing listenInfo.protocol"),
            Some(Value::String(name)) if name.eq_ignore_ascii_case("udp") => Protocol::Udp,
            Some(Value::String(name)) if name.eq_ignore_ascii_case("tcp") => Protocol::Tcp,
            Some(Value::String(_)) => return invalid("invalid listenInfo.protocol (must be 'udp' or 'tcp'"),
            Some(_) => return invalid("wrong listenInfo.protocol (not an string"),
        };
        let ListenIp { ip, announced_ip } = listen_ip(entry, &SERVER)?;
        // Some clients leave out a port of 0.
        let port = match entry.get("port") {
            None => 0,
            Some(port) => match port.as_u64() {
                Some(port) => port as u16,
                None => return invalid("wrong listenInfo.port (not a positive number)"),
            },
        };
        Ok(ListenInfo {
            protocol,
            ip,
            announced_ip,
            port,
        })
    })?;
    Ok(CreateWebRtcServer { listen_infos })
}

/// What all transports take. A transport of any kind may be said to be `direct`, which only asks for more checks.
fn transport_options(data: Fields<'_>) -> Arguments<TransportOptions> {
    let direct = data.truth("direct") == Some(true);
    if direct && data.uint("maxMessageSize").is_none() {
        return invalid("wrong maxMessageSize (not a number)");
    }
    let initial_available_outgoing_bitrate = data
        .strict_uint("initialAvailableOutgoingBitrate", "not a number")?
        .map(|bitrate| bitrate as u32);
    let enable_sctp = data.truth("enableSctp") == Some(true);
    if enable_sctp && direct {
        return invalid("cannot enable SCTP in a direct Transport");
    }
    let sctp = if enable_sctp { Some(sctp_options(data)?) } else { None };
    Ok(TransportOptions {
        initial_available_outgoing_bitrate,
        sctp,
    })
}

fn sctp_options(data: Fields<'_>) -> Arguments<SctpOptions> {
    let Some(streams) = data.object("numSctpStreams") else {
        return invalid("wrong numSctpStreams (not an object)");
    };
    let (Some(os), Some(mis)) = (streams.uint("OS"), streams.uint("MIS")) else {
        return invalid("wrong numSctpStreams.OS and/or numSctpStreams.MIS (not a number)");
    };
    let Some(max_sctp_message_size) = data.uint("maxSctpMessageSize") else {
        return invalid("wrong maxSctpMessageSize (not a number)");
    };
    let sctp_send_buffer_size = data
        .strict_uint("sctpSendBufferSize", "not a number")?
        .unwrap_or(DEFAULT_SCTP_SEND_BUFFER_SIZE);
    if sctp_send_buffer_size > MAX_SCTP_SEND_BUFFER_SIZE {
        return invalid("wrong sctpSendBufferSize (maximum value exceeded)");
    }
    Ok(SctpOptions {
        enable_sctp: true,
        num_sctp_streams: NumSctpStreams {
            os: os as u16,
            mis: mis as u16,
        },
        max_sctp_message_size,
        sctp_send_buffer_size,
        is_data_channel: data.truth("isDataChannel").unwrap_or(false),
    })
}

fn port(data: Fields<'_>) -> Arguments<Option<u16>> {
    let port = data.strict_uint("port", "not a positive number")?;
    Ok(port.map(|port| port as u16))
}

pub(super) fn create_web_rtc_transport(data: Fields<'_>, own_sockets: bool) -> Arguments<CreateWebRtcTransport> {
    let options = transport_options(data)?;
    let enable_udp = data.strict_bool("enableUdp", true)?;
    let enable_tcp = data.strict_bool("enableTcp", false)?;
    let prefer_udp = data.strict_bool("preferUdp", false)?;
    let prefer_tcp = data.strict_bool("preferTcp", false)?;
    let (listen_ips, port) = if own_sockets {
        let listen_ips = listeners(data, "listenIps", &WEB_RTC, |entry| listen_ip(entry, &WEB_RTC))?;
        (listen_ips, port(data)?)
    } else {
        (Vec::new(), None)
    };
    Ok(CreateWebRtcTransport {
        listen_ips,
        port,
        enable_udp,
        enable_tcp,
        prefer_udp,
        prefer_tcp,
        options,
    })
}

pub(super) fn create_plain_transport(data: Fields<'_>) -> Arguments<CreatePlainTransport> {
    let options = transport_options(data)?;
    let listen_ip = sole_listen_ip(data)?;
    let port = port(data)?;
    let rtcp_mux = data.strict_bool("rtcpMux", true)?;
    let comedia = data.strict_bool("comedia", false)?;
    let enable_srtp = data.truth("enableSrtp").unwrap_or(false);
    let srtp_crypto_suite = match data.str("srtpCryptoSuite") {
        _ if !enable_srtp => None,
        None => return invalid("missing srtpCryptoSuite)"),
        Some(name) => match SrtpCryptoSuite::from_name(name) {
            None => return invalid("invalid/unsupported srtpCryptoSuite"),
            suite => suite,
        },
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

pub(super) fn create_pipe_transport(data: Fields<'_>) -> Arguments<CreatePipeTransport> {
    let options = transport_options(data)?;
    Ok(CreatePipeTransport {
        listen_ip: sole_listen_ip(data)?,
        port: port(data)?,
        enable_rtx: data.truth("enableRtx").unwrap_or(false),
        enable_srtp: data.truth("enableSrtp").unwrap_or(false),
        options,
    })
}

pub(super) fn create_direct_transport(data: Fields<'_>) -> Arguments<CreateDirectTransport> {
    transport_options(data)?;
    // Without the flag nothing asks for the size; the transport is direct all the same.
    let direct = data.truth("direct").unwrap_or(false);
    let max_message_size = data.uint("maxMessageSize").filter(|_| direct);
    Ok(CreateDirectTransport {
        direct,
        max_message_size: max_message_size.unwrap_or(DEFAULT_MAX_MESSAGE_SIZE),
    })
}
