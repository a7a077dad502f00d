//! The Sluice worker: an SFU that forwards real-time audio, video and data on one core, driven over pipes.
//!
//! * [`engine`]: every piece of state and every decision; no sockets, no clock.
//! * [`runtime`]: fds, sockets, signals and the clock, around the engine.
//! * [`ice`], [`dtls`], [`srtp`], [`rtp`], [`rtcp`], [`bwe`], [`sctp`]: the protocols below; they know nothing of routers
//!   or consumers.

pub mod bwe;
pub mod dtls;
pub mod engine;
pub mod ice;
pub mod rtcp;
pub mod rtp;
pub mod runtime;
pub mod sctp;
pub mod srtp;
