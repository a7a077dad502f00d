//! The wire between a Sluice worker and the process that drives it.
//!
//! * [`frame`]: length-prefixed frames, as a codec.
//! * [`command`], [`reply`], [`event`]: typed messages, with [`rtp_parameters`], [`srtp_parameters`] and
//!   [`transport_parameters`] as their vocabulary. They do not know how they are spelled.
//! * [`dialect`]: spellings. [`dialect::json`] is the one of the mediasoup 3.10 generation; nothing outside a dialect
//!   touches JSON values.

pub mod command;
pub mod dialect;

pub mod event;
pub mod frame;

pub mod reply;
pub mod rtp_parameters;
pub mod srtp_parameters;
pub mod transport_parameters;
