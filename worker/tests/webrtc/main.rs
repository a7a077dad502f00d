//! WebRTC transports and WebRtcServers of a whole engine, in virtual time and without sockets. Tests of threats name
//! them.

mod ice;
mod server;
mod tcp;
mod world;
