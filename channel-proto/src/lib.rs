//! The wire between a worker and its parent.
pub mod srtp_parameters;
