//! A consumer of one stream with one layer: everything goes out, from a key frame on.

use crate::engine::decisions::Why;
use crate::engine::mangle::ForwardedPacket;
use crate::rtp::sequence::SequenceMapper;

/// Numbers what is sent without gaps for what is not.
#[derive(Debug)]
pub struct Simple {
    sequence: SequenceMapper<16>,
    /// Nothing has been sent since it last became active.
    starting: bool,
}

impl Simple {
    /// The first packet will carry `first_sequence`.
    pub fn new(first_sequence: u16) -> Self {
        Self {
            sequence: SequenceMapper::with_initial_offset(first_sequence.wrapping_sub(1)),
            starting: true,
        }
    }

    /// Begins anew: with a key frame if the codec needs one, with the next sequence number.
    pub fn restart(&mut self) {
        self.starting = true;
    }

    /// Whether nothing has been sent since it last became active.
    pub fn is_starting(&self) -> bool {
        self.starting
    }

    /// The sequence number to send a packet with.
    ///
    /// # Errors
    /// Why it does not go out.
    pub fn forward(&mut self, packet: &ForwardedPacket, supported: bool) -> Result<u16, Why> {
        let sequence_number = packet.sequence_number;
        if !supported {
            // Accounted for, so that the receiver sees no gap and asks for nothing.
            if !self.starting {
                self.sequence.drop(sequence_number);
            }
            return Err(Why::PayloadType);
        }
        if self.starting {
            if packet.key_frame_needed && !packet.is_key_frame {
                return Err(Why::NoKeyFrame);
            }
            self.sequence.sync(sequence_number.wrapping_sub(1));
            self.starting = false;
        }
        self.sequence.input(sequence_number).ok_or(Why::Late)
    }
}
