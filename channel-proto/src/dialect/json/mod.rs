//! The JSON dialect of the mediasoup 3.10 generation: requests with `internal` and `data` objects.
//!
//! The worker's side is [`decode_request`], [`decode_payload_header`] and the `encode_*` functions of what it says;
//! the client's side is [`encode_request`], [`encode_payload_command`], [`decode_incoming`] and
//! [`decode_incoming_payload`]. Decoding never panics and never allocates more than the frame is long, times a
//! constant.

mod client;
mod connect;
mod fields;
mod media;
mod request;
mod response;
mod rtp;
mod transport;

pub use client::{
    Data, Incoming, IncomingError, IncomingPayload, decode_incoming, decode_incoming_payload, encode_payload_command,
    encode_request,
};
pub use request::{PayloadHeaderError, RequestError, decode_payload_header, decode_request};
pub use response::{encode_notification, encode_payload_notification, encode_response};

#[cfg(test)]
mod tests;
