//! What a receiver tells about its bandwidth, and what follows: layers, probes, and packets that leave later.

use channel_proto::event::TraceDirection;

use super::super::Context;
use super::super::keys::TransportKey;
use super::super::router::Router;
use super::super::timers::Wake;
use super::Transport;
use super::probation::MAX_PACKET;
use crate::bwe::Outgoing;
use crate::bwe::decision::Decision;
use crate::bwe::outgoing::Change;
use crate::engine::consumer::claims::Cause;
use crate::engine::decisions::Why;
use crate::rtcp::TransportFeedback;

impl Router {
    /// The receiver tells which packets arrived.
    pub(super) fn arrivals_reported(&mut self, key: TransportKey, body: &[u8], context: &mut Context<'_>) {
        let Some(feedback) = TransportFeedback::parse(body) else {
            return;
        };
        if let Some(outgoing) = self.outgoing(key) {
            outgoing.transport_feedback(&feedback, context.now);
            self.bandwidth_told(key, context);
            self.repeat_lost(key, context);
        }
    }

    /// The receiver tells what it can take.
    pub(super) fn maximum_bitrate_told(&mut self, key: TransportKey, bitrate: u64, context: &mut Context<'_>) {
        if let Some(outgoing) = self.outgoing(key) {
            outgoing.maximum_bitrate(bitrate);
            self.bandwidth_told(key, context);
        }
    }

    /// The receiver has told what it lost of what was sent to it.
    pub(super) fn losses_reported(&mut self, key: TransportKey, context: &mut Context<'_>) {
        let now = context.now;
        if self.outgoing(key).is_some_and(|outgoing| outgoing.losses_told(now)) {
            self.bandwidth_told(key, context);
        }
    }

    fn outgoing(&mut self, key: TransportKey) -> Option<&mut Outgoing> {
        self.transports.get_mut(key)?.outgoing.as_deref_mut()
    }

    /// The receiver told something.
    fn bandwidth_told(&mut self, key: TransportKey, context: &mut Context<'_>) {
        let now = context.now;
        if let Some(change) = self.outgoing(key).map(|outgoing| outgoing.take_change(now)) {
            self.follow_bandwidth(key, change, context);
        }
    }

    /// The estimate has changed: the parent is told, and layers chosen.
    fn follow_bandwidth(&mut self, key: TransportKey, change: Change, context: &mut Context<'_>) {
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        let Some(outgoing) = transport.outgoing.as_deref_mut() else {
            return;
        };
        for Decision { what, why, facts } in outgoing.decisions() {
            transport.decisions.note(&transport.id, what, why, facts, context.now);
        }
        if change.announce
            && let Some(event) = transport.trace.bandwidth(|| outgoing.info(), context.now)
        {
            context.outbox.notify(&transport.id, event);
        }
        if change.allocate {
            self.allocate_layers(key, &Cause::of(Why::Bandwidth), context);
        }
        self.plan_bandwidth(key, context);
    }

    /// Plans the next wake-up for what waits on a transport.
    pub(in crate::engine) fn plan_bandwidth(&mut self, key: TransportKey, context: &mut Context<'_>) {
        if let Some(outgoing) = self.outgoing(key)
            && let Some(at) = outgoing.plan_wake()
        {
            context.timers.wake_at(at, Wake::Bandwidth(self.key, key));
        }
    }

    /// Sends what has waited long enough on a transport, and probes; looks at what its receiver has not told.
    pub fn wake_bandwidth(&mut self, key: TransportKey, context: &mut Context<'_>) {
        let now = context.now;
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        let Some(outgoing) = transport.outgoing.as_deref_mut() else {
            return;
        };
        let change = outgoing.handle_timeout(now);
        transport.send_waiting(context);
        transport.send_padding(context);
        self.follow_bandwidth(key, change, context);
    }
}

impl Transport {
    /// Sends packets that have waited long enough.
    fn send_waiting(&mut self, context: &mut Context<'_>) {
        let path = self.path();
        let Some(outgoing) = self.outgoing.as_deref_mut() else {
            return;
        };
        let Some((socket, remote)) = path else {
            outgoing.clear();
            return;
        };
        loop {
            let (buffer, start) = context.outbox.begin();
            if !outgoing.pop(context.now, buffer) {
                return;
            }
            context.outbox.commit(start, socket, remote);
        }
    }

    /// Sends padding for a probe, if any is due.
    fn send_padding(&mut self, context: &mut Context<'_>) {
        let Some(outgoing) = self.outgoing.as_deref_mut() else {
            return;
        };
        let mut left = outgoing.padding(context.now);
        while left > 0 {
            let size = left.min(MAX_PACKET);
            if !self.send_probation(size, context) {
                return;
            }
            left -= size;
        }
    }

    /// Sends one packet of padding of about so many bytes. False: it did not leave.
    fn send_probation(&mut self, size: usize, context: &mut Context<'_>) -> bool {
        let now = context.now;
        let Some((socket, remote)) = self.path() else {
            return false;
        };
        let Some(outgoing) = self.outgoing.as_deref_mut() else {
            return false;
        };
        let number = outgoing.next_number();
        let (buffer, start) = context.outbox.begin();
        let info = self.probation.write(size, number, now, buffer);
        if !self.kind.protect(buffer, start, info.header_length) {
            context.outbox.abandon(start);
            return false;
        }
        let wire_size = buffer.len() - start;
        context.outbox.commit(start, socket, remote);
        outgoing.left(wire_size, None, now);
        self.traffic.sent.update(now, wire_size);
        self.traffic.probation_sent.update(now, info.size);
        if self.trace.has("probation")
            && let Some(event) = self.trace.probation(info.told(number), TraceDirection::Out, now)
        {
            context.outbox.notify(&self.id, event);
        }
        true
    }
}
