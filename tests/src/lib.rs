//! Whole-system tests of Sluice: a worker process is driven exactly as a parent would drive it, over file descriptors
//! 3 to 6 and real sockets, and what it says is compared with recorded conversations. The [`simulator`] runs the engine
//! without a process, in virtual time over a virtual network.

pub mod bandwidth;
pub mod browsers;
pub mod compare;
pub mod deviations;
pub mod dtls_peer;
pub mod frame;
pub mod link;
pub mod memory;
pub mod normalise;
pub mod npm;
pub mod packets;
pub mod peers;
pub mod recording;
pub mod relay;
pub mod replay;
pub mod sequence;
mod session;
pub mod simulator;
pub mod srtp;
pub mod stun;
pub mod suite;
pub mod worker_process;
