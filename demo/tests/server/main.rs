//! The server over real connections, with the real worker.

mod client;
mod signalling;
mod site;
