//! Transports of pages.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use client::{
    AnyTransport, DtlsState, IceState, NumSctpStreams, SctpOptions, TraceInfo, Transport as _, TransportEvent,
    WebRtcTransport,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::member::{Access, Member};
use crate::refusal::Refusal;
use crate::room::Room;

/// How long a page may be without a way to it, until its transport is given up.
const DISCONNECTED: Duration = Duration::from_secs(30);
/// As good as never.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

impl Room {
    /// Makes a WebRTC transport; with numbers of streams, for data too. Returns what the other end needs of it.
    pub(crate) async fn create_transport(
        self: &Arc<Self>,
        member: &Arc<Member>,
        force_tcp: bool,
        consuming: bool,
        streams: Option<NumSctpStreams>,
    ) -> Result<Value, Refusal> {
        member.check_transports()?;
        let config = &self.config;
        let sctp = streams.map(|num_streams| SctpOptions {
            num_streams,
            max_message_size: config.max_sctp_message_size,
            ..SctpOptions::default()
        });
        let bitrate = config.initial_outgoing_bitrate;
        let transport = member.branch.transport(force_tcp, bitrate, sctp).await?;
        let answer = json!({
            "id": transport.id(),
            "iceParameters": transport.ice_parameters(),
            "iceCandidates": transport.ice_candidates(),
            "dtlsParameters": transport.dtls_parameters(),
        });
        let answer = with_sctp(answer, &transport);
        member.add_transport(transport.clone().into(), consuming)?;
        let (room, member, max) = (Arc::clone(self), Arc::clone(member), config.max_incoming_bitrate);
        tokio::spawn(async move {
            let _ = transport.set_max_incoming_bitrate(max).await;
            let _ = transport.enable_trace_event(&[client::TransportTraceType::Bwe]).await;
            room.follow_transport(&member, &transport).await;
        });
        Ok(answer)
    }

    /// Tells the page what happens to its transport, until that ends.
    async fn follow_transport(&self, member: &Member, transport: &WebRtcTransport) {
        let mut events = transport.events();
        let mut give_up = pin!(sleep(NEVER));
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = &mut give_up => {
                    transport.close();
                    continue;
                }
            };
            match event {
                Some(TransportEvent::Trace(trace)) => {
                    if let TraceInfo::Bandwidth(bwe) = trace.info {
                        let data = json!({
                            "desiredBitrate": bwe.desired_bitrate,
                            "effectiveDesiredBitrate": bwe.effective_desired_bitrate,
                            "availableBitrate": bwe.available_bitrate,
                        });
                        self.tell(member, "downlinkBwe", data);
                    }
                }
                Some(TransportEvent::IceStateChange(state)) => {
                    let patience = if state == IceState::Disconnected {
                        DISCONNECTED
                    } else {
                        NEVER
                    };
                    give_up.as_mut().reset(Instant::now() + patience);
                }
                Some(TransportEvent::DtlsStateChange(DtlsState::Failed | DtlsState::Closed)) => transport.close(),
                Some(TransportEvent::Closed(_)) | None => break,
                Some(_) => {}
            }
        }
        if member.lock().transports.remove(transport.id()).is_some() {
            self.tell(member, "transportClosed", json!({ "transportId": transport.id() }));
        }
    }

    /// Tells a member something, if it has a connection.
    pub(crate) fn tell(&self, member: &Member, method: &str, data: Value) {
        let peer = self.peers.get_peer(&member.id);
        if let Some(peer) = peer.filter(|peer| std::ptr::eq(Arc::as_ptr(peer.data()), member)) {
            let _ = peer.notify(method, data);
        }
    }
}

impl Member {
    /// Keeps a transport that was made for it, unless it is gone.
    pub(crate) fn add_transport(&self, transport: AnyTransport, consuming: bool) -> Result<(), Refusal> {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            transport.close();
            return Err(Refusal::gone());
        }
        let id = transport.id().to_owned();
        state.transports.insert(id, Access { transport, consuming });
        Ok(())
    }
}

/// Adds what the other end needs for data.
fn with_sctp(mut answer: Value, transport: &WebRtcTransport) -> Value {
    if let (Some(sctp), Some(answer)) = (transport.sctp_parameters(), answer.as_object_mut()) {
        answer.insert("sctpParameters".to_owned(), json!(sctp));
    }
    answer
}
