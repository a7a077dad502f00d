//! The server over real sockets, with a WebSocket client that does what it is told.

mod common;
mod endings;
mod handshake;
mod messages;
mod requests;
