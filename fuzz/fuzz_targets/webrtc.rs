//! `cargo fuzz run webrtc`; what it does stands in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::webrtc(data));
