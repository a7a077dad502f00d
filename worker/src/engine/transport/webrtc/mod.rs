//! WebRTC: ICE finds the way, DTLS brings the keys, SRTP carries the media.
//!
//! This file holds the state and the way out; `receive` is the way in, and what follows from it.

mod listener;
mod receive;
mod secure;

use std::net::SocketAddr;
use std::rc::Rc;

use channel_proto::command::{Connect, CreateWebRtcTransport, Field};
use channel_proto::event::{Event, IceSelectedTuple};
use channel_proto::reply::{Failure, TransportKindDump, TransportStats, WebRtcConnected};
use channel_proto::transport_parameters::{DtlsRole, IceCandidate, IceParameters, IceRole, Protocol, TransportTuple};
use rand::RngCore;

use crate::dtls::Certificate;
use crate::engine::Context;
use crate::engine::keys::{RouterKey, ServerKey, TransportKey};
use crate::engine::mangle::{ForwardedPacket, Rewrite};
use crate::engine::outbox::Outbox;
use crate::engine::ports::{Ports, SocketId};
use crate::engine::sockets::{Owner, Sockets};
use crate::engine::transport::outgoing::{Counter, Sent, hand_over, write_packet};
use crate::engine::webrtc_server::WebRtcServer;
use crate::ice::{Agent, Credentials, Tuple};
use crate::srtp::SrtpSender;
pub use listener::Listener;
pub use receive::tuple;
use secure::Secure;

/// A WebRTC transport.
#[derive(Debug)]
pub struct WebRtc {
    /// Sockets of its own; none with a server.
    listeners: Vec<Listener>,
    /// The server whose sockets it uses.
    pub server: Option<ServerKey>,
    candidates: Vec<IceCandidate>,
    ice: Agent,
    secure: Secure,
    /// Whether it was connected when last looked at.
    connected: bool,
    /// When it is to be woken, if it is.
    planned_wake: Option<u64>,
}

impl WebRtc {
    /// A transport with sockets of its own.
    ///
    /// # Errors
    /// `Error` if a socket cannot be opened; none stays open then.
    pub fn open(
        options: &CreateWebRtcTransport,
        certificate: &Rc<Certificate>,
        ports: &mut dyn Ports,
        rng: &mut dyn RngCore,
    ) -> Result<Self, Failure> {
        let mut listeners: Vec<Listener> = Vec::new();
        let mut candidates = Vec::new();
        let protocols = [(Protocol::Udp, options.enable_udp), (Protocol::Tcp, options.enable_tcp)];
        for (index, listen_ip) in options.listen_ips.iter().enumerate() {
            for (protocol, _) in protocols.into_iter().filter(|(_, enabled)| *enabled) {
                let announced_ip = listen_ip.announced_ip.clone();
                let port = options.port.unwrap_or_default();
                match Listener::open(protocol, listen_ip.ip, port, announced_ip, ports) {
                    Ok(listener) => {
                        candidates.push(listener.candidate(index, options));
                        listeners.push(listener);
                    }
                    Err(error) => {
                        listeners.iter().for_each(|listener| ports.close(listener.socket));
                        return Err(error);
                    }
                }
            }
        }
        Ok(Self::new(listeners, None, candidates, certificate, rng))
    }

    /// A transport on the sockets of a server.
    ///
    /// # Errors
    /// `TypeError` if the server has no socket that these options allow.
    pub fn with_server(
        options: &CreateWebRtcTransport,
        key: ServerKey,
        server: &WebRtcServer,
        certificate: &Rc<Certificate>,
        rng: &mut dyn RngCore,
    ) -> Result<Self, Failure> {
        let candidates = server.candidates(options);
        if candidates.is_empty() {
            return Err(Failure::type_error("empty iceCandidates"));
        }
        Ok(Self::new(Vec::new(), Some(key), candidates, certificate, rng))
    }

    fn new(
        listeners: Vec<Listener>,
        server: Option<ServerKey>,
        candidates: Vec<IceCandidate>,
        certificate: &Rc<Certificate>,
        rng: &mut dyn RngCore,
    ) -> Self {
        Self {
            listeners,
            server,
            candidates,
            ice: Agent::new(Credentials::random(rng)),
            secure: Secure::new(Rc::clone(certificate)),
            connected: false,
            planned_wake: None,
        }
    }

    /// Makes its sockets known, or it to its server.
    pub fn register(
        &self,
        id: &str,
        key: (RouterKey, TransportKey),
        sockets: &mut Sockets,
        server: Option<&mut WebRtcServer>,
    ) {
        for listener in &self.listeners {
            listener.register(Owner::Transport(key.0, key.1), sockets);
        }
        if let Some(server) = server {
            server.add_transport(key, id, &self.ice);
        }
    }

    /// Says good-bye to the peer, and closes its sockets and connections.
    pub fn close(&mut self, key: (RouterKey, TransportKey), context: &mut Context<'_>) {
        self.secure.close(context.now);
        self.send_secure(context.outbox);
        // While the sockets are still there.
        context.outbox.flush(context.ports);
        for listener in &self.listeners {
            context.sockets.close(listener.socket, context.ports);
        }
        for tuple in self.ice.tuples().filter(|tuple| tuple.protocol == Protocol::Tcp) {
            context.sockets.close(SocketId(tuple.socket), context.ports);
        }
        if let Some(server) = self.server.and_then(|server| context.servers.get_mut(server)) {
            server.remove_transport(key, &self.ice);
        }
    }

    /// Whether media can be sent to the peer.
    pub fn is_connected(&self) -> bool {
        self.ice.is_connected() && self.secure.sender.is_some()
    }

    /// `transport.connect`. What follows from it is to be looked for afterwards.
    ///
    /// # Errors
    /// `Error` the second time, `TypeError` for parameters that are missing or wrong. Nothing has changed then.
    pub fn connect(&mut self, connect: Connect, now: u64) -> Result<WebRtcConnected, Failure> {
        if self.secure.has_remote() {
            return Err(Failure::error("connect() already called"));
        }
        let remote = match connect.dtls_parameters {
            Field::Present(parameters) => parameters,
            Field::Absent => return Err(Failure::type_error("missing dtlsParameters")),
            Field::Invalid(error) => return Err(error.into()),
        };
        let role = match remote.role {
            DtlsRole::Client => DtlsRole::Server,
            DtlsRole::Server | DtlsRole::Auto => DtlsRole::Client,
        };
        let Some(fingerprint) = remote.fingerprints.into_iter().next() else {
            return Err(Failure::type_error("empty dtlsParameters.fingerprints array"));
        };
        self.secure.connect(role, fingerprint, self.ice.is_connected(), now);
        Ok(WebRtcConnected { dtls_local_role: role })
    }

    /// `transport.restartIce`.
    pub fn restart_ice(&mut self, key: (RouterKey, TransportKey), context: &mut Context<'_>) -> IceParameters {
        self.ice.restart(Credentials::random(context.rng), context.now);
        if let Some(server) = self.server.and_then(|server| context.servers.get_mut(server)) {
            server.add_fragment(key, self.ice.credentials().fragment());
        }
        self.ice_parameters()
    }

    fn ice_parameters(&self) -> IceParameters {
        IceParameters {
            username_fragment: self.ice.credentials().fragment().to_owned(),
            password: self.ice.credentials().password().to_owned(),
            ice_lite: true,
        }
    }

    /// Never lets the replay state of a producer's SSRC be pushed out by those of strangers.
    pub fn pin(&mut self, ssrc: u32) {
        if let Some(receiver) = &mut self.secure.receiver {
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
        let destination = self.destination()?;
        let sender = self.secure.sender.as_mut()?;
        if !self.ice.allow(packet.size_as(rewrite), now) {
            return None;
        }
        let (buffer, start) = outbox.begin();
        let Ok(sent) = write_packet(packet, rewrite, received, Some(sender), buffer) else {
            outbox.abandon(start);
            return None;
        };
        let path = (SocketId(destination.socket), destination.remote);
        hand_over(outbox, start, path, counter, now);
        Some(sent)
    }

    /// Where packets go, while the peer can be reached.
    pub fn path(&self) -> Option<(SocketId, SocketAddr)> {
        let destination = self.destination()?;
        Some((SocketId(destination.socket), destination.remote))
    }

    /// What encrypts, once keys are agreed on.
    pub fn srtp_sender(&mut self) -> Option<&mut SrtpSender> {
        self.secure.sender.as_mut()
    }

    /// Sends an RTCP packet; returns its size on the wire.
    pub fn send_rtcp(&mut self, packet: &[u8], now: u64, outbox: &mut Outbox) -> Option<usize> {
        let destination = self.destination()?;
        let sender = self.secure.sender.as_mut()?;
        if !self.ice.allow(packet.len(), now) {
            return None;
        }
        let (buffer, start) = outbox.begin();
        buffer.extend_from_slice(packet);
        if sender.protect_rtcp(buffer, start).is_err() {
            outbox.abandon(start);
            return None;
        }
        let size = buffer.len() - start;
        outbox.commit(start, SocketId(destination.socket), destination.remote);
        Some(size)
    }

    /// Sends an SCTP packet through DTLS; returns its size on the wire.
    pub fn send_sctp(&mut self, packet: &[u8], now: u64, outbox: &mut Outbox) -> Option<usize> {
        self.destination()?;
        if !self.ice.allow(packet.len(), now) || !self.secure.send(packet, now) {
            return None;
        }
        Some(self.send_secure(outbox))
    }

    /// Where to send, while the peer is reachable.
    fn destination(&self) -> Option<Tuple> {
        self.ice.selected()
    }

    /// Sends what DTLS has to say; returns the bytes of it.
    fn send_secure(&mut self, outbox: &mut Outbox) -> usize {
        let destination = self.ice.selected();
        let mut sent = 0;
        while let Some(packet) = self.secure.poll_output() {
            let Some(tuple) = destination else { continue };
            let (buffer, start) = outbox.begin();
            buffer.extend_from_slice(&packet);
            outbox.commit(start, SocketId(tuple.socket), tuple.remote);
            sent += packet.len();
        }
        sent
    }

    fn selected_tuple(&self) -> Option<TransportTuple> {
        self.ice.selected().map(|tuple| public_tuple(&tuple))
    }

    /// What it adds to the dump.
    pub fn dump(&self) -> TransportKindDump {
        TransportKindDump::WebRtc {
            ice_role: IceRole::Controlled,
            ice_parameters: self.ice_parameters(),
            ice_candidates: self.candidates.clone(),
            ice_state: self.ice.state(),
            ice_selected_tuple: self.selected_tuple(),
            dtls_parameters: self.secure.parameters(),
            dtls_state: self.secure.state(),
        }
    }

    /// What it adds to the stats.
    pub fn fill_stats(&self, stats: &mut TransportStats) {
        stats.kind = "webrtc-transport".to_owned();
        stats.ice_role = Some(IceRole::Controlled);
        stats.ice_state = Some(self.ice.state());
        stats.ice_selected_tuple = self.selected_tuple();
        stats.dtls_state = Some(self.secure.state());
    }
}

/// A path as parents see it.
fn public_tuple(tuple: &Tuple) -> TransportTuple {
    TransportTuple {
        local_ip: tuple.local.ip().to_string(),
        local_port: tuple.local.port(),
        remote_ip: Some(tuple.remote.ip().to_string()),
        remote_port: Some(tuple.remote.port()),
        protocol: tuple.protocol,
    }
}

fn selected_event(tuple: &Tuple) -> Event {
    Event::IceSelectedTupleChange(IceSelectedTuple {
        ice_selected_tuple: public_tuple(tuple),
    })
}
