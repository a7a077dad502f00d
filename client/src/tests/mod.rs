//! Objects against a worker that is played by the test, for what a real one does only at odd moments.

mod fake;
mod pipes;
mod told;
