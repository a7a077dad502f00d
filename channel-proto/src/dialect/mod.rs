//! Spellings of the typed messages.

pub mod json;
