//! The server over real connections, with the real worker.

mod broadcasters;
mod client;
mod data;
mod media;
mod signalling;
mod site;
mod spreading;
mod throttle;
