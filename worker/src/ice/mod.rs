//! ICE-lite (RFC 8445 section 2.5): the side that only answers.
//!
//! A peer checks which of its paths reach us with STUN binding requests (RFC 8489). The [`Agent`] answers those that
//! prove knowledge of our password, remembers where they came from, and follows the peer's choice of the path that we
//! send on. It never sends anything of its own accord. Sockets and clock are its owner's.
//!
//! Everything here meets bytes from anyone on the network, so no input may panic. What is not authentic is not
//! answered at all: an answer, even an error, would tell a stranger that someone listens, and could be aimed at a third
//! party by a forged source address.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod agent;
mod candidate;
mod credentials;
pub mod stun;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests;

pub use agent::{Agent, Event, Tuple, Verdict};
pub use candidate::priority;
pub use credentials::Credentials;
