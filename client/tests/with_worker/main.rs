//! The client with a real worker.

mod common;
mod media;
mod pipes;
mod transports;
mod web_rtc;
mod worker;
