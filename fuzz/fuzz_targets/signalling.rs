//! `cargo fuzz run signalling`; what it does stands in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::signalling(data));
