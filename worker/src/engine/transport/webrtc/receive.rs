//! What comes in on a WebRTC transport, and what follows from it.

use std::net::SocketAddr;

use channel_proto::event::{DtlsStateChange, Event, IceStateChange};
use channel_proto::transport_parameters::Protocol;

use super::secure::SecureEvent;
use super::{WebRtc, selected_event};
use crate::engine::Context;
use crate::engine::forward::Pending;
use crate::engine::keys::{RouterKey, TransportKey};
use crate::engine::ports::SocketId;
use crate::engine::router::Router;
use crate::engine::sockets::Path;
use crate::engine::timers::Wake;
use crate::engine::transport::{Kind, Transport};
use crate::ice::stun::{Message, is_stun};
use crate::ice::{self, Tuple, Verdict};
use crate::rtp::packet::{RtpHeader, is_rtcp, is_rtp};

/// Whether a packet is a DTLS record (RFC 7983).
fn is_dtls(packet: &[u8]) -> bool {
    packet.len() >= 13 && packet.first().is_some_and(|first| (20..64).contains(first))
}

/// The path of a packet in the words of ICE.
pub fn tuple(path: &Path, remote: SocketAddr) -> Tuple {
    Tuple {
        socket: path.socket.0,
        remote,
        local: path.local,
        protocol: path.protocol,
    }
}

impl Transport {
    /// Its WebRTC part, if it is one.
    pub fn web_rtc(&mut self) -> Option<&mut WebRtc> {
        match &mut self.kind {
            Kind::WebRtc(web_rtc) => Some(web_rtc),
            _ => None,
        }
    }
}

/// What a packet turned out to be.
enum Plain<'a> {
    /// STUN or DTLS: something may follow from it.
    Inner,
    Rtcp(&'a [u8]),
    Rtp(RtpHeader, &'a [u8]),
}

impl Router {
    /// Takes a packet that came in for a WebRTC transport. What is to be forwarded is appended to `batch`.
    pub fn receive_web_rtc(
        &mut self,
        key: TransportKey,
        tuple: Tuple,
        packet: &mut [u8],
        index: usize,
        batch: &mut Vec<Pending>,
        context: &mut Context<'_>,
    ) {
        let router_key = self.key;
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        let Kind::WebRtc(web_rtc) = &mut transport.kind else {
            return;
        };
        let plain = if is_stun(packet) {
            match web_rtc.receive_stun((router_key, key), packet, tuple, context) {
                Some(answered) => {
                    transport.traffic.sent.update(context.now, answered);
                    Some(Plain::Inner)
                }
                None => None,
            }
        } else {
            web_rtc.receive_secured(packet, &tuple, context.now)
        };
        let selection_moved = web_rtc.ice.has_events();
        match plain {
            None => transport.traffic.dropped += 1,
            Some(Plain::Inner) => self.follow_web_rtc(key, context),
            Some(Plain::Rtcp(packet)) => self.receive_rtcp(key, packet, context),
            Some(Plain::Rtp(header, packet)) => {
                if selection_moved {
                    self.follow_web_rtc(key, context);
                }
                self.receive_rtp(key, &header, packet, index, batch, context);
            }
        }
    }

    /// A connection of a WebRTC transport is gone.
    pub fn web_rtc_disconnected(&mut self, key: TransportKey, connection: SocketId, context: &mut Context<'_>) {
        if let Some(web_rtc) = self.transports.get_mut(key).and_then(Transport::web_rtc) {
            web_rtc.ice.remove_socket(connection.0);
            self.follow_web_rtc(key, context);
        }
    }

    /// The time for consent or for a repetition of the handshake has come.
    pub fn wake_web_rtc(&mut self, key: TransportKey, context: &mut Context<'_>) {
        // Earlier plans are still in the queue. Answering to those too would plan one more each time.
        if let Some(web_rtc) = self.transports.get_mut(key).and_then(Transport::web_rtc)
            && web_rtc.planned_wake.is_some_and(|planned| planned <= context.now)
        {
            web_rtc.planned_wake = None;
            web_rtc.ice.handle_timeout(context.now);
            web_rtc.secure.handle_timeout(context.now);
            self.follow_web_rtc(key, context);
        }
    }

    /// Sends, tells and does what has come up in ICE and DTLS.
    pub fn follow_web_rtc(&mut self, key: TransportKey, context: &mut Context<'_>) {
        let router_key = self.key;
        loop {
            let Some(transport) = self.transports.get_mut(key) else {
                return;
            };
            let Transport { kind, id, traffic, .. } = transport;
            let Kind::WebRtc(web_rtc) = kind else { return };
            let was_connected = web_rtc.connected;
            while let Some(event) = web_rtc.ice.poll_event() {
                web_rtc.follow_ice(event, (router_key, key), id, context);
            }
            let sent = web_rtc.send_secure(context.outbox);
            if sent > 0 {
                traffic.sent.update(context.now, sent);
            }
            let event = web_rtc.secure.poll_event();
            let more = event.is_some();
            match event {
                Some(SecureEvent::State(dtls_state, dtls_remote_cert)) => {
                    let change = DtlsStateChange {
                        dtls_state,
                        dtls_remote_cert,
                    };
                    context.outbox.notify(id, Event::DtlsStateChange(change));
                }
                Some(SecureEvent::Data(data)) => self.receive_sctp(key, &data, context),
                None => {}
            }
            let web_rtc = self.transports.get_mut(key).and_then(Transport::web_rtc);
            let connected = web_rtc.is_some_and(|web_rtc| {
                web_rtc.connected = web_rtc.is_connected();
                web_rtc.connected
            });
            match (was_connected, connected) {
                (false, true) => self.transport_connected(key, context),
                (true, false) => self.transport_disconnected(key, context),
                _ if !more => break,
                _ => {}
            }
        }
        self.plan_web_rtc(key, context);
    }

    fn plan_web_rtc(&mut self, key: TransportKey, context: &mut Context<'_>) {
        let router_key = self.key;
        let Some(web_rtc) = self.transports.get_mut(key).and_then(Transport::web_rtc) else {
            return;
        };
        let deadlines = [web_rtc.ice.deadline(), web_rtc.secure.deadline()];
        if let Some(at) = deadlines.into_iter().flatten().min()
            && web_rtc.planned_wake.is_none_or(|planned| planned > at)
        {
            web_rtc.planned_wake = Some(at);
            context.timers.wake_at(at, Wake::WebRtc(router_key, key));
        }
    }

    /// Stops the consumers of a transport whose peer cannot be reached for now.
    fn transport_disconnected(&mut self, key: TransportKey, context: &mut Context<'_>) {
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        if let Some(incoming) = &mut transport.incoming {
            incoming.reset();
        }
        for consumer in transport.consumers.values() {
            if let Some(consumer) = self.consumers.get_mut(*consumer)
                && consumer.set_connected(false, context.now).layers_lost
            {
                context.outbox.notify(&consumer.id, consumer.layers_event());
            }
        }
    }
}

impl WebRtc {
    /// Takes a check; returns the bytes of its answer.
    fn receive_stun(
        &mut self,
        key: (RouterKey, TransportKey),
        packet: &[u8],
        tuple: Tuple,
        context: &mut Context<'_>,
    ) -> Option<usize> {
        let message = match Message::parse(packet) {
            Ok(message) => message,
            Err(error) => {
                tracing::debug!(target: "ice", "dropped a message from {}: {error}", tuple.remote);
                return None;
            }
        };
        let (buffer, start) = context.outbox.begin();
        let verdict = self.ice.handle(&message, tuple, context.now, buffer);
        let answered = buffer.len() - start;
        context.outbox.commit(start, SocketId(tuple.socket), tuple.remote);
        if verdict == Verdict::Ignored {
            tracing::debug!(target: "ice", "ignored a message from {}", tuple.remote);
            return None;
        }
        if self.ice.knows(&tuple)
            && let Some(server) = self.server.and_then(|server| context.servers.get_mut(server))
        {
            server.claim_tuple(key, tuple, context.now);
        }
        Some(answered)
    }

    /// Takes anything but a check. Only what comes on a path that an authentic check has opened is looked at.
    fn receive_secured<'a>(&mut self, packet: &'a mut [u8], tuple: &Tuple, now: u64) -> Option<Plain<'a>> {
        if !self.ice.knows(tuple) {
            return None;
        }
        if is_rtcp(packet) {
            let length = self.secure.receiver.as_mut()?.unprotect_rtcp(packet).ok()?;
            self.ice.confirm(tuple);
            return Some(Plain::Rtcp(packet.get(..length)?));
        }
        if is_rtp(packet) {
            let receiver = self.secure.receiver.as_mut()?;
            let header = RtpHeader::parse_encrypted(packet).ok()?;
            let length = receiver.unprotect_rtp(packet, header.payload_offset).ok()?;
            let packet = packet.get(..length)?;
            let header = RtpHeader::parse(packet).ok()?;
            self.ice.media(tuple, now);
            return Some(Plain::Rtp(header, packet));
        }
        if is_dtls(packet) {
            if self.secure.handle(packet, now) {
                self.ice.confirm(tuple);
            }
            return Some(Plain::Inner);
        }
        None
    }

    fn follow_ice(&mut self, event: ice::Event, key: (RouterKey, TransportKey), id: &str, context: &mut Context<'_>) {
        match event {
            ice::Event::TupleAdded(tuple) => context.sockets.claim(SocketId(tuple.socket)),
            ice::Event::TupleRemoved(tuple) => {
                if let Some(server) = self.server.and_then(|server| context.servers.get_mut(server)) {
                    server.remove_tuple(key, &tuple);
                }
                if tuple.protocol == Protocol::Tcp {
                    // What was said before may still be on its way out.
                    context.outbox.flush(context.ports);
                    context.sockets.close(SocketId(tuple.socket), context.ports);
                }
            }
            ice::Event::FragmentRemoved(fragment) => {
                if let Some(server) = self.server.and_then(|server| context.servers.get_mut(server)) {
                    server.remove_fragment(&fragment);
                }
            }
            ice::Event::Selected(tuple) => context.outbox.notify(id, selected_event(&tuple)),
            ice::Event::State(ice_state) => {
                context
                    .outbox
                    .notify(id, Event::IceStateChange(IceStateChange { ice_state }));
                if self.ice.is_connected() {
                    self.secure.start_if_new(context.now);
                }
            }
        }
    }
}
