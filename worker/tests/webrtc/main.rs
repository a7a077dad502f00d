//! WebRTC transports and WebRtcServers of a whole engine, in virtual time and without sockets. Tests of threats name
//! them.

mod allocations;
mod dtls;
mod ice;
mod media;
mod peer;
mod server;
mod tcp;
mod world;
