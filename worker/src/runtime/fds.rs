//! The four descriptors that the parent passed: the only `unsafe` of the worker.

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Takes over a descriptor that the parent passed and makes it non-blocking.
///
/// # Errors
/// It is not open.
///
/// Call it once per descriptor, before anything else opens one.
#[allow(unsafe_code, reason = "descriptors arrive as numbers")]
pub fn adopt(fd: i32) -> io::Result<OwnedFd> {
    // Checks that it is open, without owning it.
    // SAFETY: borrowed for this call only.
    let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
    let flags = OFlag::from_bits_retain(fcntl(borrowed, FcntlArg::F_GETFL)?);
    fcntl(borrowed, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    // SAFETY: open, as the call above has shown, and owned by nobody: it was inherited.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Waits for a descriptor's readiness.
///
/// # Errors
/// It is of a kind that cannot be polled.
#[allow(unsafe_code, reason = "the caller must vouch for the descriptor")]
pub fn poll(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` answers with the same open descriptor for as long as it lives.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(Into::into)
}
