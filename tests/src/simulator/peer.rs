//! A WebRTC endpoint that is not ours: str0m.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use str0m::bwe::Bitrate;
use str0m::channel::{ChannelConfig, ChannelId};
use str0m::crypto::Fingerprint;
use str0m::ice::IceCreds;
use str0m::media::{MediaKind, Mid, Pt};
use str0m::net::{Protocol as Str0mProtocol, Receive, TcpType};
use str0m::rtp::{RtpWrite, Ssrc};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc};

use super::network::{Arrival, Protocol};

/// Payload type of Opus in str0m.
pub const OPUS: u8 = 111;
/// The media that all peers send and receive.
const MID: &str = "aud";

/// An RTP packet that a peer received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// SSRC.
    pub ssrc: u32,
    /// Sequence number, extended.
    pub sequence_number: u64,
    /// Payload.
    pub payload: Vec<u8>,
}

/// A peer.
pub struct Peer {
    rtc: Rtc,
    /// Where its socket is bound.
    pub address: SocketAddr,
    /// Where others see it: another address behind a NAT.
    pub public_address: SocketAddr,
    protocol: Protocol,
    active: bool,
    epoch: Instant,
    deadline: Option<Instant>,
    /// Whether DTLS is done.
    pub connected: bool,
    /// State of ICE.
    pub ice: IceConnectionState,
    /// What arrived.
    pub received: Vec<Received>,
    /// Messages that arrived: stream, whether binary, bytes.
    pub messages: Vec<(u16, bool, Vec<u8>)>,
    /// Streams of its data channels.
    channels: Vec<(u16, ChannelId)>,
    /// Streams of data channels that are open, and of those that were closed.
    pub open: Vec<u16>,
    /// See `open`.
    pub closed: Vec<u16>,
    out: Vec<Arrival>,
    sequence_number: u64,
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Peer")
            .field("address", &self.address)
            .field("connected", &self.connected)
            .field("ice", &self.ice)
            .field("received", &self.received.len())
            .finish_non_exhaustive()
    }
}

impl Peer {
    /// A peer at this address; `active` begins the DTLS handshake. `epoch` is the zero of virtual time.
    pub fn new(address: SocketAddr, protocol: Protocol, active: bool, epoch: Instant, now: u64) -> Self {
        str0m::crypto::from_feature_flags().install_process_default();
        let mut rtc = Rtc::builder()
            .set_rtp_mode(true)
            .build(epoch + Duration::from_micros(now));
        let candidate = match protocol {
            Protocol::Udp => Candidate::builder().udp().host(address).build(),
            Protocol::Tcp => Candidate::builder()
                .tcp()
                .host(address)
                .tcptype(TcpType::Active)
                .build(),
        };
        rtc.add_local_candidate(candidate.expect("a candidate"));
        let mut api = rtc.direct_api();
        api.set_ice_controlling(true);
        api.declare_media(Mid::from(MID), MediaKind::Audio);
        Self {
            rtc,
            address,
            public_address: address,
            protocol,
            active,
            epoch,
            deadline: None,
            connected: false,
            ice: IceConnectionState::New,
            received: Vec::new(),
            messages: Vec::new(),
            channels: Vec::new(),
            open: Vec::new(),
            closed: Vec::new(),
            out: Vec::new(),
            sequence_number: 65_000,
        }
    }

    /// The argument of `transport.connect` for it.
    pub fn dtls_parameters(&mut self) -> Value {
        let fingerprint = self.rtc.direct_api().local_dtls_fingerprint().to_string();
        let (algorithm, value) = fingerprint.split_once(' ').expect("algorithm and value");
        let role = if self.active { "client" } else { "server" };
        serde_json::json!({ "role": role, "fingerprints": [{ "algorithm": algorithm, "value": value }] })
    }

    /// Learns the dump of its transport and begins.
    pub fn connect(&mut self, dump: &Value) {
        self.set_ice_parameters(&dump["iceParameters"]);
        let wanted = match self.protocol {
            Protocol::Udp => "udp",
            Protocol::Tcp => "tcp",
        };
        for candidate in dump["iceCandidates"].as_array().into_iter().flatten() {
            if candidate["protocol"] == wanted {
                let address = address(candidate);
                let candidate = match self.protocol {
                    Protocol::Udp => Candidate::builder().udp().host(address).build(),
                    Protocol::Tcp => Candidate::builder()
                        .tcp()
                        .host(address)
                        .tcptype(TcpType::Passive)
                        .build(),
                };
                self.rtc.add_remote_candidate(candidate.expect("a candidate"));
            }
        }
        let fingerprints = dump["dtlsParameters"]["fingerprints"].as_array().expect("fingerprints");
        let fingerprint = fingerprints
            .iter()
            .find(|fingerprint| fingerprint["algorithm"] == "sha-256");
        let value = fingerprint.and_then(|fingerprint| fingerprint["value"].as_str());
        let text = format!("sha-256 {}", value.expect("a fingerprint"));
        let mut api = self.rtc.direct_api();
        api.set_remote_fingerprint(text.parse::<Fingerprint>().expect("a fingerprint"));
        api.start_dtls(self.active).expect("a start");
    }

    /// Uses other remote credentials, after a restart of ICE with new ones of its own.
    pub fn restart_ice(&mut self, parameters: &Value) {
        let mut api = self.rtc.direct_api();
        api.set_local_ice_credentials(IceCreds::new());
        self.set_ice_parameters(parameters);
    }

    fn set_ice_parameters(&mut self, parameters: &Value) {
        let text = |key: &str| parameters[key].as_str().expect("credentials").to_owned();
        self.rtc.direct_api().set_remote_ice_credentials(IceCreds {
            ufrag: text("usernameFragment"),
            pass: text("password"),
        });
    }

    /// Will send media under this SSRC.
    pub fn declare_sending(&mut self, ssrc: u32) {
        let mut api = self.rtc.direct_api();
        api.declare_stream_tx(Ssrc::from(ssrc), None, Mid::from(MID), None);
    }

    /// Expects media under this SSRC.
    pub fn declare_receiving(&mut self, ssrc: u32) {
        let mut api = self.rtc.direct_api();
        api.expect_stream_rx(Ssrc::from(ssrc), None, Mid::from(MID), None);
    }

    /// Tells the sender of media that are expected under this SSRC what it can take, in bits per second (REMB).
    pub fn limit(&mut self, ssrc: u32, bitrate: u64, now: u64) {
        let mut api = self.rtc.direct_api();
        let stream = api.stream_rx(&Ssrc::from(ssrc)).expect("an expected stream");
        stream.request_remb(Bitrate::bps(bitrate));
        self.handle_timeout(now);
    }

    /// Sends the next packet.
    pub fn send(&mut self, ssrc: u32, payload: &[u8], now: u64) {
        let wallclock = self.instant(now);
        self.sequence_number += 1;
        let (sequence_number, time) = (self.sequence_number.into(), self.sequence_number as u32 * 960);
        let mut api = self.rtc.direct_api();
        let stream = api.stream_tx(&Ssrc::from(ssrc)).expect("a declared stream");
        stream.write_rtp(RtpWrite::new(
            Pt::from(OPUS),
            sequence_number,
            time,
            wallclock,
            payload.to_vec(),
        ));
        self.poll(now);
    }

    /// Waits for the worker's SCTP, and opens a data channel on each of these streams, agreed on out of band.
    pub fn open_channels(&mut self, streams: &[u16]) {
        let mut api = self.rtc.direct_api();
        api.start_sctp(false);
        for stream in streams {
            let id = api.create_data_channel(ChannelConfig {
                negotiated: Some(*stream),
                ..ChannelConfig::default()
            });
            self.channels.push((*stream, id));
        }
    }

    /// Sends a message on the data channel of a stream; false if its buffer is full.
    pub fn send_message(&mut self, stream: u16, binary: bool, payload: &[u8], now: u64) -> bool {
        let id = self.channel(stream);
        let mut channel = self.rtc.channel(id).expect("an open channel");
        let sent = channel.write(binary, payload).expect("a write");
        self.poll(now);
        sent
    }

    /// Closes the data channel of a stream.
    pub fn close_channel(&mut self, stream: u16, now: u64) {
        let id = self.channel(stream);
        self.rtc.direct_api().close_data_channel(id);
        self.handle_timeout(now);
    }

    fn channel(&self, stream: u16) -> ChannelId {
        let found = self.channels.iter().find(|(of, _)| *of == stream);
        found.expect("a channel").1
    }

    fn stream(&self, channel: ChannelId) -> u16 {
        let found = self.channels.iter().find(|(_, id)| *id == channel);
        found.expect("a channel of ours").0
    }

    fn instant(&self, now: u64) -> Instant {
        self.epoch + Duration::from_micros(now)
    }

    /// When it wants to be woken, in microseconds.
    pub fn deadline(&self) -> Option<u64> {
        let deadline = self.deadline?;
        Some(deadline.saturating_duration_since(self.epoch).as_micros() as u64 + 1)
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: u64) {
        let _ = self.rtc.handle_input(Input::Timeout(self.instant(now)));
        self.poll(now);
    }

    /// Takes a packet.
    pub fn handle(&mut self, arrival: &Arrival, now: u64) {
        let protocol = match arrival.protocol {
            Protocol::Udp => Str0mProtocol::Udp,
            Protocol::Tcp => Str0mProtocol::Tcp,
        };
        if let Ok(receive) = Receive::new(protocol, arrival.from, self.address, &arrival.bytes) {
            let input = Input::Receive(self.instant(now), receive);
            if self.rtc.accepts(&input) {
                let _ = self.rtc.handle_input(input);
            }
        }
        self.poll(now);
    }

    /// Packets that it wants to send.
    pub fn take_output(&mut self) -> Vec<Arrival> {
        std::mem::take(&mut self.out)
    }

    /// Goes on until there is nothing to do but to wait.
    pub fn poll(&mut self, now: u64) {
        let _ = now;
        while self.rtc.is_alive() {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(deadline)) => {
                    self.deadline = Some(deadline);
                    return;
                }
                Ok(Output::Transmit(transmit)) => self.out.push(Arrival {
                    from: self.public_address,
                    to: transmit.destination,
                    protocol: self.protocol,
                    bytes: transmit.contents.to_vec(),
                }),
                Ok(Output::Event(Event::Connected)) => self.connected = true,
                Ok(Output::Event(Event::IceConnectionStateChange(state))) => self.ice = state,
                Ok(Output::Event(Event::RtpPacket(packet))) => self.received.push(Received {
                    ssrc: *packet.header.ssrc,
                    sequence_number: *packet.seq_no,
                    payload: packet.payload.to_vec(),
                }),
                Ok(Output::Event(Event::ChannelOpen(id, _))) => self.open.push(self.stream(id)),
                Ok(Output::Event(Event::ChannelClose(id))) => self.closed.push(self.stream(id)),
                Ok(Output::Event(Event::ChannelData(message))) => {
                    let stream = self.stream(message.id);
                    self.messages.push((stream, message.binary, message.data));
                }
                Ok(Output::Event(_)) => {}
                Err(error) => panic!("str0m: {error}"),
            }
        }
        self.deadline = None;
    }

    /// Disappears without a word.
    pub fn disconnect(&mut self) {
        self.rtc.disconnect();
        self.deadline = None;
    }
}

fn address(candidate: &Value) -> SocketAddr {
    let ip = candidate["ip"]
        .as_str()
        .and_then(|ip| ip.parse().ok())
        .expect("an address");
    SocketAddr::new(ip, candidate["port"].as_u64().expect("a port") as u16)
}
