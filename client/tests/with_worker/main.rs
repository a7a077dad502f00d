//! The client with a real worker.

mod cascade;
mod common;
mod data;
mod death;
mod house;
mod layers;
mod media;
mod observers;
mod pipes;
mod pipes_of_layers;
mod transports;
mod web_rtc;
mod worker;
