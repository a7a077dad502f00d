//! RTP (RFC 3550): packets, their header extensions and payloads, and figures about streams of them.
//!
//! Nothing here knows of sockets, clocks or who sends to whom. Time is passed in, as microseconds of a monotonic clock.

pub mod clock;
pub mod codec;
pub mod extensions;
pub mod jitter;
pub mod key_frame;
pub mod layer_rates;
pub mod nack;
pub mod packet;
pub mod path_loss;
pub mod rate;
pub mod recv_stream;
pub mod retransmission;
pub mod score;
pub mod send_stream;
pub mod sequence;
pub mod silence;
