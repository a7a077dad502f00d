//! The framing of all four pipes: a little-endian length of four bytes, then that many bytes.

/// The largest frame a worker accepts.
pub const MAX_FRAME: usize = 4_194_304;

/// One frame with this content.
pub fn encode(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("a frame of less than 4 GiB");
    let mut frame = Vec::with_capacity(4 + content.len());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(content);
    frame
}

/// Cuts a stream of bytes into frames.
#[derive(Debug, Default)]
pub struct Deframer {
    buffer: Vec<u8>,
}

impl Deframer {
    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, if it is there.
    pub fn next_frame(&mut self) -> Option<Vec<u8>> {
        let length = self.pending_length()?;
        if self.buffer.len() < 4 + length {
            return None;
        }
        let frame = self.buffer[4..4 + length].to_vec();
        self.buffer.drain(..4 + length);
        Some(frame)
    }

    /// Whether the stream stands between two frames.
    pub fn at_boundary(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Length announced by the frame that has begun.
    pub fn pending_length(&self) -> Option<usize> {
        let length: [u8; 4] = self.buffer.get(..4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(length)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_every_split() {
        let stream: Vec<u8> = [encode(b"one"), encode(b""), encode(b"three")].concat();
        for split in 0..=stream.len() {
            let mut deframer = Deframer::default();
            let mut frames = Vec::new();
            for part in [&stream[..split], &stream[split..]] {
                deframer.push(part);
                frames.extend(std::iter::from_fn(|| deframer.next_frame()));
            }
            assert_eq!(frames, [b"one".to_vec(), Vec::new(), b"three".to_vec()]);
            assert!(deframer.at_boundary());
        }
    }
}
