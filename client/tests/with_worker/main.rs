//! The client with a real worker.

mod common;
mod data;
mod media;
mod observers;
mod pipes;
mod transports;
mod web_rtc;
mod worker;
