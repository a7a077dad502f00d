//! Frames: a length of four bytes in the byte order of the host, then that many bytes.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

/// Most bytes of one frame, its length field not counted.
pub const MAX_PAYLOAD: usize = 4_194_304;

/// What arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameItem {
    /// A frame.
    Frame(Bytes),
    /// A frame of this many bytes, more than allowed: it is skipped, the stream goes on behind it.
    Oversized(u32),
}

/// A frame that cannot be sent, or a stream that broke.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// More bytes than a frame holds.
    #[error("a message of {0} bytes is longer than the {MAX_PAYLOAD} that fit a frame")]
    TooLong(usize),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Reads and writes frames.
#[derive(Debug, Default)]
pub struct FrameCodec {
    /// Bytes of an oversized frame that have still to be skipped.
    skip: usize,
}

impl Decoder for FrameCodec {
    type Item = FrameItem;
    type Error = FrameError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<FrameItem>, FrameError> {
        if self.skip > 0 {
            let skipped = self.skip.min(source.len());
            source.advance(skipped);
            self.skip -= skipped;
            if self.skip > 0 {
                return Ok(None);
            }
        }
        let Some(field) = source.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_ne_bytes(*field);
        if length as usize > MAX_PAYLOAD {
            source.advance(4);
            self.skip = length as usize;
            return Ok(Some(FrameItem::Oversized(length)));
        }
        let length = length as usize;
        if source.len() < 4 + length {
            source.reserve(4 + length - source.len());
            return Ok(None);
        }
        source.advance(4);
        Ok(Some(FrameItem::Frame(source.split_to(length).freeze())))
    }
}

impl<T: AsRef<[u8]>> Encoder<T> for FrameCodec {
    type Error = FrameError;

    fn encode(&mut self, frame: T, out: &mut BytesMut) -> Result<(), FrameError> {
        let frame = frame.as_ref();
        if frame.len() > MAX_PAYLOAD {
            return Err(FrameError::TooLong(frame.len()));
        }
        out.reserve(4 + frame.len());
        out.put_slice(&(frame.len() as u32).to_ne_bytes());
        out.put_slice(frame);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_oversized_frame_is_skipped() {
        let mut stream = BytesMut::new();
        stream.put_slice(&(MAX_PAYLOAD as u32 + 1).to_ne_bytes());
        stream.put_bytes(7, MAX_PAYLOAD + 1);
        FrameCodec::default().encode(b"next", &mut stream).unwrap();
        let mut codec = FrameCodec::default();
        let mut items = Vec::new();
        let mut buffer = BytesMut::new();
        for chunk in stream.chunks(100_000) {
            buffer.extend_from_slice(chunk);
            while let Some(item) = codec.decode(&mut buffer).unwrap() {
                items.push(item);
            }
            assert!(buffer.len() < 200_000, "an oversized frame is not to be buffered");
        }
        let next = FrameItem::Frame(Bytes::from_static(b"next"));
        assert_eq!(items, [FrameItem::Oversized(MAX_PAYLOAD as u32 + 1), next]);
    }

    #[test]
    fn a_frame_of_the_largest_size_passes_and_a_larger_one_is_refused() {
        let mut stream = BytesMut::new();
        FrameCodec::default().encode(vec![1; MAX_PAYLOAD], &mut stream).unwrap();
        let frame = FrameCodec::default().decode(&mut stream).unwrap();
        assert!(matches!(frame, Some(FrameItem::Frame(frame)) if frame.len() == MAX_PAYLOAD));
        let refused = FrameCodec::default().encode(vec![1; MAX_PAYLOAD + 1], &mut stream);
        assert!(matches!(refused, Err(FrameError::TooLong(length)) if length == MAX_PAYLOAD + 1));
        assert!(stream.is_empty(), "nothing of a refused frame is written");
    }

    fn decode_in_pieces(stream: &[u8], cuts: &[usize]) -> Vec<FrameItem> {
        let mut codec = FrameCodec::default();
        let (mut buffer, mut items, mut start) = (BytesMut::new(), Vec::new(), 0);
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
        ends.push(stream.len());
        ends.sort_unstable();
        for end in ends {
            buffer.extend_from_slice(&stream[start..end]);
            start = end;
            while let Some(item) = codec.decode(&mut buffer).unwrap() {
                items.push(item);
            }
        }
        assert!(buffer.is_empty());
        items
    }

    fn small_frames() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..8)
    }

    fn written(frames: &[Vec<u8>], stream: &mut BytesMut) -> Vec<FrameItem> {
        for frame in frames {
            FrameCodec::default().encode(frame, stream).unwrap();
        }
        let items = frames.iter().map(|frame| FrameItem::Frame(Bytes::from(frame.clone())));
        items.collect()
    }

    proptest! {
        #[test]
        fn frames_are_the_same_however_the_stream_is_split(
            frames in small_frames(),
            cuts in prop::collection::vec(any::<usize>(), 0..40),
        ) {
            let mut stream = BytesMut::new();
            let expected = written(&frames, &mut stream);
            prop_assert_eq!(decode_in_pieces(&stream, &cuts), expected);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn an_oversized_frame_hides_nothing_however_the_stream_is_split(
            before in small_frames(),
            beyond in 1..100_u32,
            after in small_frames(),
            cuts in prop::collection::vec(any::<usize>(), 0..40),
        ) {
            let length = MAX_PAYLOAD as u32 + beyond;
            let mut stream = BytesMut::new();
            let mut expected = written(&before, &mut stream);
            stream.put_slice(&length.to_ne_bytes());
            stream.put_bytes(0, length as usize);
            expected.push(FrameItem::Oversized(length));
            expected.extend(written(&after, &mut stream));
            prop_assert_eq!(decode_in_pieces(&stream, &cuts), expected);
        }
    }
}
