//! The pipes to the parent: frames in, frames out, never waiting.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::log::complain;
use bytes::{Buf as _, BytesMut};
use channel_proto::frame::{FrameCodec, FrameItem};
use nix::errno::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio_util::codec::{Decoder as _, Encoder as _};

use super::fds;

/// Bytes of one read.
const READ_SIZE: usize = 65_536;

/// Frames of the parent.
pub struct FrameReader {
    fd: AsyncFd<OwnedFd>,
    codec: FrameCodec,
    buffer: BytesMut,
}

impl FrameReader {
    /// Reads from a non-blocking descriptor.
    ///
    /// # Errors
    /// The descriptor cannot be polled.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        let fd = fds::poll(fd, Interest::READABLE)?;
        Ok(Self {
            fd,
            codec: FrameCodec::default(),
            buffer: BytesMut::new(),
        })
    }

    /// The next frame; None when the parent has closed its end, or reading failed.
    pub async fn next(&mut self) -> Option<FrameItem> {
        loop {
            if let Ok(Some(frame)) = self.codec.decode(&mut self.buffer) {
                return Some(frame);
            }
            let mut chunk = [0; READ_SIZE];
            let mut ready = self.fd.readable().await.ok()?;
            match ready.try_io(|fd| Ok(nix::unistd::read(fd.get_ref(), &mut chunk)?)) {
                Ok(Ok(0)) => return None,
                Ok(Ok(read)) => self.buffer.extend_from_slice(chunk.get(..read).unwrap_or_default()),
                Ok(Err(error)) if error.raw_os_error() == Some(Errno::EINTR as i32) => {}
                Ok(Err(_)) => return None,
                Err(_would_block) => {}
            }
        }
    }
}

/// Frames for the parent: a queue without bound, but counted, that the loop never waits for.
pub struct FrameWriter {
    name: &'static str,
    /// None once the parent no longer reads.
    fd: RefCell<Option<Rc<AsyncFd<OwnedFd>>>>,
    queue: RefCell<VecDeque<BytesMut>>,
    queued_bytes: RefCell<usize>,
    more: Notify,
}

impl FrameWriter {
    /// Writes to a non-blocking descriptor; `name` is for messages.
    ///
    /// # Errors
    /// The descriptor cannot be polled.
    pub fn new(name: &'static str, fd: OwnedFd) -> io::Result<Self> {
        let fd = fds::poll(fd, Interest::WRITABLE)?;
        Ok(Self {
            name,
            fd: RefCell::new(Some(Rc::new(fd))),
            queue: RefCell::default(),
            queued_bytes: RefCell::new(0),
            more: Notify::new(),
        })
    }

    /// Queues a frame. One that is too long is dropped with a line on stderr.
    pub fn push(&self, frame: &[u8]) {
        if self.fd.borrow().is_none() {
            return;
        }
        let mut framed = BytesMut::new();
        match FrameCodec::default().encode(frame, &mut framed) {
            Ok(()) => {
                *self.queued_bytes.borrow_mut() += framed.len();
                self.queue.borrow_mut().push_back(framed);
            }
            Err(error) => complain(format_args!("{}: {error}", self.name)),
        }
    }

    /// Bytes that wait for the parent.
    pub fn queued_bytes(&self) -> usize {
        *self.queued_bytes.borrow()
    }

    /// Writes what the pipe takes now; the rest is left to [`run`](Self::run).
    pub fn flush(&self) {
        let Some(fd) = self.fd.borrow().clone() else { return };
        let mut queue = self.queue.borrow_mut();
        while let Some(frame) = queue.front_mut() {
            match nix::unistd::write(fd.get_ref(), frame) {
                Ok(written) => {
                    *self.queued_bytes.borrow_mut() -= written;
                    frame.advance(written);
                    if frame.is_empty() {
                        queue.pop_front();
                    }
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    self.more.notify_one();
                    return;
                }
                Err(error) => {
                    complain(format_args!("{}: cannot write: {error}", self.name));
                    queue.clear();
                    *self.queued_bytes.borrow_mut() = 0;
                    self.fd.borrow_mut().take();
                    return;
                }
            }
        }
    }

    /// Writes on whenever the pipe takes more.
    pub async fn run(&self) {
        loop {
            self.more.notified().await;
            let Some(fd) = self.fd.borrow().clone() else { return };
            if let Ok(mut ready) = fd.writable().await {
                ready.clear_ready();
            }
            self.flush();
        }
    }
}
