//! Frames from and to streams.

use bytes::{BufMut, Bytes, BytesMut};
use channel_proto::frame::{FrameCodec, FrameItem, MAX_PAYLOAD};
use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::codec::FramedRead;

use crate::error::{Error, Result};

/// Frames are gathered up to this many bytes before they are written.
const WRITE_CHUNK: usize = 64 * 1024;

/// Hands over frames until the end, or until the channel is broken.
pub(super) async fn read_frames(reader: impl AsyncRead + Unpin, pid: u32, mut on_frame: impl FnMut(Bytes)) {
    let mut frames = FramedRead::new(reader, FrameCodec::default());
    while let Some(item) = frames.next().await {
        match item {
            Ok(FrameItem::Frame(frame)) => on_frame(frame),
            Ok(FrameItem::Oversized(length)) => {
                tracing::error!(pid, length, "frame too large: the channel is broken");
                return;
            }
            Err(error) => {
                tracing::error!(pid, %error, "cannot read from the worker");
                return;
            }
        }
    }
}

/// Something that is written as frames with nothing in between.
pub(super) trait Frames {
    /// Appends the frames.
    fn put(&self, buffer: &mut BytesMut);
}

impl Frames for Vec<u8> {
    fn put(&self, buffer: &mut BytesMut) {
        put_frame(buffer, self);
    }
}

/// A header with its payload.
impl Frames for (Vec<u8>, Bytes) {
    fn put(&self, buffer: &mut BytesMut) {
        put_frame(buffer, &self.0);
        put_frame(buffer, &self.1);
    }
}

/// Where messages to be written come from.
pub(super) trait Queue {
    /// What is written.
    type Item: Frames;
    /// Waits for the next message.
    fn next(&mut self) -> impl Future<Output = Option<Self::Item>> + Send;
    /// The next message if there is one already.
    fn try_next(&mut self) -> Option<Self::Item>;
}

impl<T: Frames + Send> Queue for mpsc::UnboundedReceiver<T> {
    type Item = T;

    fn next(&mut self) -> impl Future<Output = Option<T>> + Send {
        self.recv()
    }

    fn try_next(&mut self) -> Option<T> {
        self.try_recv().ok()
    }
}

impl<T: Frames + Send> Queue for mpsc::Receiver<T> {
    type Item = T;

    fn next(&mut self) -> impl Future<Output = Option<T>> + Send {
        self.recv()
    }

    fn try_next(&mut self) -> Option<T> {
        self.try_recv().ok()
    }
}

/// Writes what is queued until nobody can queue anything any more, or until it fails.
pub(super) async fn write_frames(mut writer: impl AsyncWrite + Unpin, mut queue: impl Queue, pid: u32) {
    let mut buffer = BytesMut::new();
    while let Some(message) = queue.next().await {
        message.put(&mut buffer);
        while buffer.len() < WRITE_CHUNK
            && let Some(message) = queue.try_next()
        {
            message.put(&mut buffer);
        }
        if let Err(error) = writer.write_all_buf(&mut buffer).await {
            tracing::debug!(pid, %error, "cannot write to the worker");
            return;
        }
    }
}

/// Whether this many bytes fit into a frame.
pub(super) fn check_length(length: usize) -> Result<()> {
    if length > MAX_PAYLOAD {
        Err(Error::TooBig {
            length,
            limit: MAX_PAYLOAD,
        })
    } else {
        Ok(())
    }
}

/// Appends a frame that is not larger than allowed.
pub(super) fn put_frame(buffer: &mut BytesMut, frame: &[u8]) {
    buffer.put_u32_ne(frame.len() as u32);
    buffer.put_slice(frame);
}
