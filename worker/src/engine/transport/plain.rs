//! RTP over UDP with addresses that the parent tells, or that are learnt from the first packet (comedia).

use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use channel_proto::command::{Connect, CreatePlainTransport, Field};
use channel_proto::reply::{Connected, Failure, TransportKindDump, TransportStats};
use channel_proto::srtp_parameters::{SrtpCryptoSuite, SrtpParameters};
use channel_proto::transport_parameters::{ListenIp, Protocol, TransportTuple};
use rand::RngCore;

use super::outgoing::{Counter, Sent, hand_over, write_packet};
use crate::engine::mangle::{ForwardedPacket, Rewrite};
use crate::engine::outbox::Outbox;
use crate::engine::ports::{Ports, SocketId};
use crate::engine::sockets::{Owner, Sockets};
use crate::srtp::{SrtpReceiver, SrtpSender};

/// A socket and what peers are told about it.
#[derive(Debug)]
struct Local {
    socket: SocketId,
    address: SocketAddr,
    announced_ip: Option<String>,
}

impl Local {
    fn tuple(&self, remote: Option<SocketAddr>) -> TransportTuple {
        TransportTuple {
            local_ip: self
                .announced_ip
                .clone()
                .unwrap_or_else(|| self.address.ip().to_string()),
            local_port: self.address.port(),
            remote_ip: remote.map(|remote| remote.ip().to_string()),
            remote_port: remote.map(|remote| remote.port()),
            protocol: Protocol::Udp,
        }
    }
}

/// SRTP of one transport.
#[derive(Debug)]
struct Srtp {
    suite: SrtpCryptoSuite,
    local_key: Vec<u8>,
    sender: SrtpSender,
    /// Present once the peer's key is known.
    receiver: Option<SrtpReceiver>,
}

impl Srtp {
    fn new(suite: SrtpCryptoSuite, rng: &mut dyn RngCore) -> Result<Self, Failure> {
        let mut local_key = vec![0; suite.master_length()];
        rng.fill_bytes(&mut local_key);
        let sender = SrtpSender::new(suite, &local_key).map_err(|error| Failure::error(error.to_string()))?;
        Ok(Self {
            suite,
            local_key,
            sender,
            receiver: None,
        })
    }

    fn parameters(&self) -> SrtpParameters {
        SrtpParameters {
            crypto_suite: self.suite,
            key_base64: STANDARD.encode(&self.local_key),
        }
    }
}

/// A plain transport.
#[derive(Debug)]
pub struct Plain {
    rtcp_mux: bool,
    comedia: bool,
    local: Local,
    rtcp_local: Option<Local>,
    remote: Option<SocketAddr>,
    rtcp_remote: Option<SocketAddr>,
    connect_called: bool,
    /// Apart, for its keys are kilobytes that a transport in the clear does not need.
    srtp: Option<Box<Srtp>>,
}

/// What a source address means for a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The peer.
    Peer,
    /// The peer, known from now on for RTP.
    LearntRtp,
    /// The peer, known from now on for RTCP.
    LearntRtcp,
    /// Somebody else.
    Stranger,
}

/// How a transport is opened.
#[derive(Debug)]
pub(super) struct Opening<'a> {
    pub listen_ip: &'a ListenIp,
    pub port: Option<u16>,
    pub rtcp_mux: bool,
    pub comedia: bool,
    pub srtp_crypto_suite: Option<SrtpCryptoSuite>,
}

impl Plain {
    /// Opens the sockets.
    ///
    /// # Errors
    /// `Error` if a socket cannot be opened; nothing stays open then.
    pub fn open(options: &CreatePlainTransport, ports: &mut dyn Ports, rng: &mut dyn RngCore) -> Result<Self, Failure> {
        let opening = Opening {
            listen_ip: &options.listen_ip,
            port: options.port,
            rtcp_mux: options.rtcp_mux,
            comedia: options.comedia,
            srtp_crypto_suite: options.srtp_crypto_suite,
        };
        Self::open_as(&opening, ports, rng)
    }

    pub(super) fn open_as(
        options: &Opening<'_>,
        ports: &mut dyn Ports,
        rng: &mut dyn RngCore,
    ) -> Result<Self, Failure> {
        let srtp = options
            .srtp_crypto_suite
            .map(|suite| Srtp::new(suite, rng))
            .transpose()?;
        let ip = options.listen_ip.ip;
        let announced_ip = options.listen_ip.announced_ip.clone().filter(|ip| !ip.is_empty());
        let mut open = |port: u16| {
            let (socket, address) = ports
                .open_udp(ip, port)
                .map_err(|error| Failure::error(error.to_string()))?;
            Ok::<_, Failure>(Local {
                socket,
                address,
                announced_ip: announced_ip.clone(),
            })
        };
        let local = open(options.port.unwrap_or_default())?;
        let rtcp_local = if options.rtcp_mux {
            None
        } else {
            match open(0) {
                Ok(rtcp_local) => Some(rtcp_local),
                Err(error) => {
                    ports.close(local.socket);
                    return Err(error);
                }
            }
        };
        Ok(Self {
            rtcp_mux: options.rtcp_mux,
            comedia: options.comedia,
            local,
            rtcp_local,
            remote: None,
            rtcp_remote: None,
            connect_called: false,
            srtp: srtp.map(Box::new),
        })
    }

    /// Makes its sockets known.
    pub fn register(&self, owner: Owner, sockets: &mut Sockets) {
        for local in std::iter::once(&self.local).chain(&self.rtcp_local) {
            sockets.insert(local.socket, owner, local.address, Protocol::Udp);
        }
    }

    /// Closes its sockets.
    pub fn close(&self, sockets: &mut Sockets, ports: &mut dyn Ports) {
        for local in std::iter::once(&self.local).chain(&self.rtcp_local) {
            sockets.close(local.socket, ports);
        }
    }

    /// Whether there is somewhere to send to.
    pub fn is_connected(&self) -> bool {
        self.remote.is_some() && (self.connect_called || self.srtp.is_none())
    }

    /// `transport.connect`.
    ///
    /// # Errors
    /// `Error` the second time, `TypeError` for fields that are missing, wrong, or not for this transport. Nothing has
    /// changed then.
    pub fn connect(&mut self, connect: Connect, rng: &mut dyn RngCore) -> Result<Connected, Failure> {
        if self.connect_called {
            return Err(Failure::error("connect() already called"));
        }
        let srtp = self.connect_srtp(connect.srtp_parameters, rng)?;
        let mut addresses = None;
        if !self.comedia {
            let ip: IpAddr = required(connect.ip, "missing ip")?;
            let port = required(connect.port, "missing port")?;
            let rtcp = match (self.rtcp_mux, connect.rtcp_port) {
                (true, Field::Present(_)) => {
                    return Err(Failure::type_error("cannot set rtcpPort with rtcpMux enabled"));
                }
                (true, _) => None,
                (false, field) => {
                    let port = required(field, "missing rtcpPort (required with rtcpMux disabled)")?;
                    Some(SocketAddr::new(ip, port))
                }
            };
            addresses = Some((SocketAddr::new(ip, port), rtcp));
        }
        self.connect_called = true;
        if let Some((remote, rtcp_remote)) = addresses {
            self.remote = Some(remote);
            self.rtcp_remote = rtcp_remote;
        }
        if let Some(srtp) = srtp {
            self.srtp = Some(Box::new(srtp));
        }
        Ok(Connected {
            tuple: self.remote.map(|remote| self.local.tuple(Some(remote))),
            rtcp_tuple: self
                .rtcp_remote
                .and_then(|remote| self.rtcp_local.as_ref().map(|local| local.tuple(Some(remote)))),
            srtp_parameters: self.srtp_parameters(),
        })
    }

    /// The SRTP state with the peer's key; the local suite and key follow the peer's suite.
    fn connect_srtp(&self, parameters: Field<SrtpParameters>, rng: &mut dyn RngCore) -> Result<Option<Srtp>, Failure> {
        let Some(current) = &self.srtp else {
            return match parameters {
                Field::Absent => Ok(None),
                _ => Err(Failure::type_error("invalid srtpParameters (SRTP not enabled)")),
            };
        };
        let remote = required(parameters, "missing srtpParameters (SRTP enabled)")?;
        let key = STANDARD
            .decode(&remote.key_base64)
            .map_err(|_| Failure::type_error("invalid data"))?;
        let suite = remote.crypto_suite;
        if key.len() != suite.master_length() {
            return Err(Failure::type_error("invalid decoded SRTP key length"));
        }
        let receiver = SrtpReceiver::new(suite, &key).map_err(|error| Failure::type_error(error.to_string()))?;
        let mut srtp = if suite == current.suite {
            let failed = |error: crate::srtp::SrtpError| Failure::error(error.to_string());
            let sender = SrtpSender::new(suite, &current.local_key).map_err(failed)?;
            Srtp {
                suite,
                local_key: current.local_key.clone(),
                sender,
                receiver: None,
            }
        } else {
            Srtp::new(suite, rng)?
        };
        srtp.receiver = Some(receiver);
        Ok(Some(srtp))
    }

    /// Judges the source of a packet, which has been authenticated if SRTP is on.
    pub fn judge(&mut self, source: SocketAddr, rtcp: bool) -> Source {
        let apart = rtcp && !self.rtcp_mux;
        let known = if apart { &mut self.rtcp_remote } else { &mut self.remote };
        match known {
            Some(peer) if *peer == source => Source::Peer,
            Some(_) => Source::Stranger,
            None if self.comedia => {
                *known = Some(source);
                if apart { Source::LearntRtcp } else { Source::LearntRtp }
            }
            None => Source::Stranger,
        }
    }

    /// Decrypts an RTP packet in place; returns its plain length. None: drop it.
    pub fn unprotect_rtp(&mut self, packet: &mut [u8], header_length: usize) -> Option<usize> {
        match &mut self.srtp {
            None => Some(packet.len()),
            Some(srtp) => srtp.receiver.as_mut()?.unprotect_rtp(packet, header_length).ok(),
        }
    }

    /// Decrypts an RTCP packet in place; returns its plain length. None: drop it.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Option<usize> {
        match &mut self.srtp {
            None => Some(packet.len()),
            Some(srtp) => srtp.receiver.as_mut()?.unprotect_rtcp(packet).ok(),
        }
    }

    /// Never lets the replay state of a producer's SSRC be pushed out by those of strangers.
    pub fn pin(&mut self, ssrc: u32) {
        if let Some(receiver) = self.srtp.as_mut().and_then(|srtp| srtp.receiver.as_mut()) {
            receiver.pin(ssrc);
        }
    }

    /// Sends a packet of a consumer. None: it did not leave.
    pub fn send_rtp(
        &mut self,
        packet: &ForwardedPacket,
        rewrite: &Rewrite,
        received: &[u8],
        counter: Counter<'_>,
        now: u64,
        outbox: &mut Outbox,
    ) -> Option<Sent> {
        let destination = self.remote?;
        let (buffer, start) = outbox.begin();
        let srtp = self.srtp.as_mut().map(|srtp| &mut srtp.sender);
        let Ok(sent) = write_packet(packet, rewrite, received, srtp, buffer) else {
            outbox.abandon(start);
            return None;
        };
        hand_over(outbox, start, (self.local.socket, destination), counter, now);
        Some(sent)
    }

    /// Where RTP goes, once the peer is known.
    pub fn path(&self) -> Option<(SocketId, SocketAddr)> {
        Some((self.local.socket, self.remote?))
    }

    /// What encrypts RTP, if anything does.
    pub fn srtp_sender(&mut self) -> Option<&mut SrtpSender> {
        self.srtp.as_mut().map(|srtp| &mut srtp.sender)
    }

    /// Sends an RTCP packet; returns its size on the wire.
    pub fn send_rtcp(&mut self, packet: &[u8], outbox: &mut Outbox) -> Option<usize> {
        let (socket, destination) = match &self.rtcp_local {
            Some(local) => (local.socket, self.rtcp_remote?),
            None => (self.local.socket, self.remote?),
        };
        let (buffer, start) = outbox.begin();
        buffer.extend_from_slice(packet);
        if let Some(srtp) = &mut self.srtp
            && srtp.sender.protect_rtcp(buffer, start).is_err()
        {
            outbox.abandon(start);
            return None;
        }
        let size = buffer.len() - start;
        outbox.commit(start, socket, destination);
        Some(size)
    }

    /// Judges the source of a packet that SRTP does not protect. With SRTP such a packet never makes an address known:
    /// anybody could have sent it.
    pub fn judge_unprotected(&mut self, source: SocketAddr) -> Source {
        if self.remote.is_none() && self.srtp.is_some() {
            return Source::Stranger;
        }
        self.judge(source, false)
    }

    /// Sends an SCTP packet, without the protection of SRTP; returns its size on the wire.
    pub fn send_sctp(&mut self, packet: &[u8], outbox: &mut Outbox) -> Option<usize> {
        let destination = self.remote?;
        let (buffer, start) = outbox.begin();
        buffer.extend_from_slice(packet);
        outbox.commit(start, self.local.socket, destination);
        Some(packet.len())
    }

    /// RTP tuple, remote part if known.
    pub fn tuple(&self) -> TransportTuple {
        self.local.tuple(self.remote)
    }

    /// Local key, with SRTP.
    pub fn srtp_parameters(&self) -> Option<SrtpParameters> {
        self.srtp.as_deref().map(Srtp::parameters)
    }

    /// RTCP tuple without rtcpMux, remote part if known.
    pub fn rtcp_tuple(&self) -> Option<TransportTuple> {
        self.rtcp_local.as_ref().map(|local| local.tuple(self.rtcp_remote))
    }

    /// What it adds to the dump.
    pub fn dump(&self) -> TransportKindDump {
        TransportKindDump::Plain {
            rtcp_mux: self.rtcp_mux,
            comedia: self.comedia,
            tuple: self.tuple(),
            rtcp_tuple: self.rtcp_tuple(),
            srtp_parameters: self.srtp_parameters(),
        }
    }

    /// What it adds to the stats.
    pub fn fill_stats(&self, stats: &mut TransportStats) {
        stats.kind = "plain-rtp-transport".to_owned();
        stats.rtcp_mux = Some(self.rtcp_mux);
        stats.comedia = Some(self.comedia);
        stats.tuple = Some(self.tuple());
        stats.rtcp_tuple = self.rtcp_remote.and(self.rtcp_tuple());
    }
}

fn required<T>(field: Field<T>, missing: &str) -> Result<T, Failure> {
    match field {
        Field::Present(value) => Ok(value),
        Field::Absent => Err(Failure::type_error(missing)),
        Field::Invalid(error) => Err(error.into()),
    }
}
