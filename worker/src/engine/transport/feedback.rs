//! Telling senders what arrives of what they send.

use super::super::Context;
use super::super::keys::TransportKey;
use super::super::router::Router;
use super::super::timers::Wake;
use crate::rtp::packet::RtpHeader;

impl Router {
    /// Takes note of a packet that arrived, for what its sender is to be told.
    pub(in crate::engine) fn note_arrival(
        &mut self,
        key: TransportKey,
        header: &RtpHeader,
        packet: &[u8],
        context: &mut Context<'_>,
    ) {
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        let mut message = Vec::new();
        if let Some(at) = transport.note_arrival(header, packet, context.now, &mut message) {
            context.timers.wake_at(at, Wake::TransportFeedback(self.key, key));
        }
        if !message.is_empty() {
            transport.send_rtcp(&message, context.now, context.outbox);
        }
    }

    /// Reports arrivals to the sender of a transport.
    pub fn report_arrivals(&mut self, key: TransportKey, context: &mut Context<'_>) {
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        let reports = transport.incoming.as_mut().map(|incoming| incoming.report());
        for report in reports.into_iter().flatten() {
            transport.send_rtcp(&report, context.now, context.outbox);
        }
    }
}
