//! How much bandwidth there is: what senders to us are told, and what can be sent to receivers.
//!
//! [`incoming`] decides what to tell a sender: when each of its packets arrived
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01), so that it can estimate by itself, or what we estimate for it
//! (draft-alvestrand-rmcat-remb-03). [`arrivals`] collects the former, [`remote`] makes the latter.
//!
//! [`outgoing`] is the way to a receiver: an [`estimator`] (Google congestion control in [`gcc`], or a [`follower`] of
//! REMB), probes, and pacing. `gcc` is made of the trend of delays (`trend`), the rate that this allows
//! (`rate_control`), what losses allow (`loss`), and what arrives (`throughput`); `standing` sees what the trend does not.
//!
//! What is decided on the way is handed out ([`decision`]) for whoever keeps it.
//!
//! Nothing here knows of transports. Times are microseconds of a monotonic clock, rates bits per second.

pub mod arrivals;
pub mod decision;
pub mod estimator;
pub mod follower;
pub mod gcc;
mod history;
pub mod incoming;
mod limited;
mod loss;
pub mod outgoing;
pub mod pacer;
mod probe_plan;
mod prober;
mod rate_control;
pub mod remote;
mod standing;
mod throughput;
mod trend;

pub use history::{Carried, LostPacket};
pub use incoming::{Feedback, Incoming};
pub use outgoing::Outgoing;
