//! How much bandwidth there is: what senders to us are told, and what receivers tell us.
//!
//! [`incoming`] decides what to tell a sender: when each of its packets arrived
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01), so that it can estimate by itself, or what we estimate for it
//! (draft-alvestrand-rmcat-remb-03). [`arrivals`] collects the former, [`remote`] makes the latter.
//!
//! [`outgoing`] takes what receivers tell.
//!
//! Nothing here knows of transports. Times are microseconds of a monotonic clock, rates bits per second.

pub mod arrivals;
pub mod incoming;
pub mod outgoing;
mod rate_control;
pub mod remote;
mod trend;

pub use incoming::{Feedback, Incoming};
pub use outgoing::Outgoing;
