//! A conference server. Each room is a router on one of several workers; whoever joins is sent what the others produce.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]
#![forbid(unsafe_code)]

mod admission;
mod bot;
mod branch;
mod broadcasters;
mod certificate;
mod config;
mod data;
mod followup;
mod listener;
mod media;
mod member;
mod metrics;
mod pace;
mod page;
mod refusal;
mod requests;
mod room;
mod rooms;
mod server;
mod signalling;
mod speakers;
mod tally;
mod throttle;
mod token;
mod transports;
mod workers;

pub use config::Config;
pub use server::Server;
