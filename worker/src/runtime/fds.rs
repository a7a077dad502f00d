//! The four descriptors that the parent passed: the only `unsafe` of the worker.

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

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
