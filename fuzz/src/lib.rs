//! Fuzz targets: each takes bytes of a stranger and must neither panic, nor loop, nor break what it asserts.
//!
//! They are plain functions. `cargo fuzz run NAME` lets libFuzzer look for inputs (`make fuzz` runs each for a while);
//! the test of this package replays the corpora and seeded mutations of them.

mod cursor;
mod engine;
mod formats;
pub mod mutation;
mod stateful;

pub use engine::{commands, media, webrtc};
pub use formats::{frames, payloads, requests, rtcp, rtp, signalling, stun};
pub use stateful::{dtls, sctp, srtp};

/// A target.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Target); 13] = [
    ("frames", frames),
    ("requests", requests),
    ("rtp", rtp),
    ("rtcp", rtcp),
    ("stun", stun),
    ("srtp", srtp),
    ("payloads", payloads),
    ("dtls", dtls),
    ("sctp", sctp),
    ("media", media),
    ("commands", commands),
    ("webrtc", webrtc),
    ("signalling", signalling),
];
