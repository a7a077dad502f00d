//! A conference server. Each room is a router on one of several workers; whoever joins is sent what the others produce.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]
#![forbid(unsafe_code)]

mod certificate;
mod config;
mod listener;
mod page;
mod requests;
mod room;
mod server;

pub use config::Config;
pub use server::Server;
