//! Objects against a worker that is played by the test.
