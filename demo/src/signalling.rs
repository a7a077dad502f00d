//! Connections of pages, from the handshake until they leave.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use protoo::{ConnectionRequest, Options, PeerEvent, PeerEvents};
use serde_json::json;
use tokio::time::{Instant, sleep_until};
use tracing::Instrument as _;

use crate::admission::Admitted;
use crate::pace::Pace;
use crate::room::{Peer, Room};
use crate::rooms::Rooms;

/// Answers a request to connect, from somebody who was admitted as long as the connection lasts.
pub(crate) fn connect(rooms: Arc<Rooms>, request: ConnectionRequest, admitted: Option<Arc<Admitted>>) -> Response {
    let valid = |name: &String| (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    let (Some(room_id), Some(peer_id)) = (
        request.query("roomId").filter(valid),
        request.query("peerId").filter(valid),
    ) else {
        return request.reject(400, "roomId and peerId must have 1 to 64 printable characters");
    };
    if let Err(refusal) = rooms.check(&room_id) {
        return request.reject(503, &refusal.to_string());
    }
    let request = request.with_options(Options {
        max_message_size: rooms.config.max_message_size,
        request_timeout: Duration::from_secs(rooms.config.answer_within),
        ..Options::default()
    });
    let span = tracing::info_span!("peer", room = room_id, peer = peer_id);
    request.accept(move |connection| {
        let stay = async move {
            let _admitted = admitted;
            match rooms.enter(&room_id, &peer_id, connection).await {
                Ok((room, peer, events)) => {
                    tracing::info!(address = peer.address(), "connected");
                    room.serve(&peer, events).await;
                    rooms.leave(&room, &peer).await;
                    tracing::info!("gone");
                }
                Err(refusal) => tracing::warn!(%refusal, "cannot enter"),
            }
        };
        stay.instrument(span)
    })
}

impl Room {
    /// Answers what a peer asks for, until it is gone. One that does not join in time has to go.
    async fn serve(self: &Arc<Self>, peer: &Peer, mut events: PeerEvents) {
        let _ = peer.notify("mediasoup-version", json!({ "version": client::VERSION }));
        let mut running = FuturesUnordered::new();
        let join_until = Instant::now() + Duration::from_secs(self.config.join_within);
        let mut joined = false;
        let mut pace = Pace::new(self.config.max_requests_per_second);
        loop {
            tokio::select! {
                event = events.next() => match event {
                    None => return,
                    Some(PeerEvent::Notification(_)) => {}
                    Some(PeerEvent::Request(_, responder)) if running.len() >= self.config.max_unanswered => {
                        responder.reject(429, "too many requests at a time");
                    }
                    Some(PeerEvent::Request(_, responder)) if !pace.allows() => {
                        responder.reject(429, "too many requests in a short time");
                    }
                    // Begun in order; each may take its time.
                    Some(PeerEvent::Request(request, responder)) => {
                        running.push(self.handle(peer, request, responder));
                    }
                },
                Some(()) = running.next(), if !running.is_empty() => {}
                () = sleep_until(join_until), if !joined => {
                    joined = peer.data().profile().is_some();
                    if !joined {
                        tracing::info!("it does not join");
                        peer.close();
                        return;
                    }
                }
            }
        }
    }
}
