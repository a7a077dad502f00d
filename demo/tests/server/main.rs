//! The server over real connections, with the real worker.

mod broadcasters;
mod client;
mod data;
mod hostile;
mod media;
mod metrics;
mod process;
mod signalling;
mod site;
mod spreading;
mod throttle;
mod webrtc;
