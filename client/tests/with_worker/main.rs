//! The client with a real worker.

mod cascade;
mod common;
mod data;
mod death;
mod house;
mod media;
mod observers;
mod pipes;
mod transports;
mod web_rtc;
mod worker;
