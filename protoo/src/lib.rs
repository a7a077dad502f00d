//! The server side of the protoo signalling protocol.
//!
//! One WebSocket per user carries JSON messages: either side sends requests, which are answered exactly once, and
//! notifications, which are not. A connection that was accepted becomes a [`Peer`] of a [`Room`]; the application talks
//! to peers and counts rooms.
//!
//! ```no_run
//! use axum::response::Response;
//! use axum::{Router, routing::get};
//! use protoo::{ConnectionRequest, Peer, PeerEvent, PeerEvents, Room};
//!
//! async fn connect(room: Room<()>, request: ConnectionRequest) -> Response {
//!     let Some(id) = request.query("peerId") else {
//!         return request.reject(400, "who are you?");
//!     };
//!     request.accept(move |connection| async move {
//!         if let Ok((peer, events)) = room.create_peer(&id, (), connection) {
//!             serve(peer, events).await;
//!         }
//!     })
//! }
//!
//! async fn serve(peer: Peer<()>, mut events: PeerEvents) {
//!     while let Some(event) = events.next().await {
//!         match event {
//!             PeerEvent::Request(request, responder) => match request.method.as_str() {
//!                 "echo" => responder.accept(request.data),
//!                 _ => responder.reject(404, "unknown method"),
//!             },
//!             PeerEvent::Notification(notification) => println!("{} says {}", peer.id(), notification.data),
//!         }
//!     }
//! }
//!
//! # async fn example() -> std::io::Result<()> {
//! let room = Room::new();
//! let site = Router::new().route("/", get(move |request| connect(room.clone(), request)));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:4443").await?;
//! axum::serve(listener, site.into_make_service_with_connect_info::<std::net::SocketAddr>()).await
//! # }
//! ```
//!
//! Signalling is small messages: have the listener set `TCP_NODELAY` on what it accepts (`tap_io` of axum).
//!
//! A handler that itself waits for an answer of the same peer must let others of its messages be handled meanwhile: give
//! each request a task of its own. A [`Responder`] that is dropped answers with an error, so that a handler which
//! panics is seen by the other side.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]
#![forbid(unsafe_code)]

mod connection;
mod message;
mod options;
mod outgoing;
mod peer;
mod pump;
mod room;

pub use connection::{Connection, ConnectionRequest};
pub use message::{Message, Notification, ParseError, Rejection, Request};
pub use options::Options;
pub use peer::{Peer, PeerEvent, PeerEvents, RequestError, Responder, TransportClosed};
pub use room::{CreatePeerError, Room};

/// Name of the WebSocket subprotocol.
pub const SUBPROTOCOL: &str = "protoo";

/// Why a connection is closed, as told to the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CloseCode {
    code: u16,
    reason: &'static str,
}

impl CloseCode {
    /// On purpose: the other side shall not come back.
    const DELIBERATE: Self = Self::new(4000, "closed by protoo-server");
    /// The server goes down: the other side may come back.
    const GOING_AWAY: Self = Self::new(1001, "going away");
    const PROTOCOL_ERROR: Self = Self::new(1002, "protocol error");
    const NOT_UTF8: Self = Self::new(1007, "not UTF-8");
    const TOO_MANY_MALFORMED: Self = Self::new(1008, "too many malformed messages");
    const TOO_MANY_WAITING: Self = Self::new(1008, "too many messages waiting");
    const TOO_LARGE: Self = Self::new(1009, "message too large");
    const INTERNAL_ERROR: Self = Self::new(1011, "internal error");

    const fn new(code: u16, reason: &'static str) -> Self {
        Self { code, reason }
    }
}
