//! Packets of padding that probe a path. Receivers know their stream, and throw them away.

use channel_proto::event::PacketInfo;

use crate::rtp::extensions;

/// Their SSRC, payload type and MID.
const SSRC: u32 = 1234;
const PAYLOAD_TYPE: u8 = 127;
const MID: &[u8; 8] = b"probator";
/// Bytes of a header with its extensions, and of a packet at most.
const HEADER: usize = 12 + 4 + EXTENSIONS;
const EXTENSIONS: usize = 1 + MID.len() + 4 + 3;
/// Longest packet in bytes.
pub const MAX_PACKET: usize = 1400;
/// Ticks between two of them.
const TICKS: u32 = 20;

const _: () = assert!(EXTENSIONS.is_multiple_of(4));

/// Numbers packets of padding.
#[derive(Debug, Default)]
pub struct Probation {
    sequence_number: u16,
    timestamp: u32,
}

/// A packet of padding.
#[derive(Debug, Clone, Copy)]
pub struct Padding {
    /// Bytes of its header.
    pub header_length: usize,
    /// Bytes of all of it.
    pub size: usize,
    sequence_number: u16,
    timestamp: u32,
}

impl Padding {
    /// What a trace tells of it.
    pub fn told(&self, wide_sequence_number: u16) -> PacketInfo {
        PacketInfo {
            payload_type: PAYLOAD_TYPE,
            sequence_number: self.sequence_number,
            timestamp: self.timestamp,
            marker: false,
            ssrc: SSRC,
            is_key_frame: false,
            size: self.size as u64,
            payload_size: (self.size - self.header_length) as u64,
            spatial_layer: 0,
            temporal_layer: 0,
            mid: Some(String::from_utf8_lossy(MID).into_owned()),
            rid: None,
            rrid: None,
            wide_sequence_number: Some(wide_sequence_number),
            is_rtx: false,
        }
    }
}

impl Probation {
    /// Starts at numbers that nobody can foresee.
    pub fn new(sequence_number: u16, timestamp: u32) -> Self {
        Self {
            sequence_number,
            timestamp,
        }
    }

    /// Appends a packet of about `size` bytes: as many as a header has at least, and a multiple of four.
    pub fn write(&mut self, size: usize, wide_sequence_number: u16, now: u64, out: &mut Vec<u8>) -> Padding {
        let size = size.next_multiple_of(4).clamp(HEADER, MAX_PACKET);
        let start = out.len();
        self.sequence_number = self.sequence_number.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(TICKS);
        out.extend_from_slice(&[0x90, PAYLOAD_TYPE]);
        out.extend_from_slice(&self.sequence_number.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&SSRC.to_be_bytes());
        out.extend_from_slice(&[0xbe, 0xde, 0, (EXTENSIONS / 4) as u8]);
        out.push(extensions::MID << 4 | (MID.len() - 1) as u8);
        out.extend_from_slice(MID);
        let [_, time @ ..] = extensions::abs_send_time(now).to_be_bytes();
        out.push(extensions::ABS_SEND_TIME << 4 | 2);
        out.extend_from_slice(&time);
        out.push(extensions::TRANSPORT_WIDE_CC << 4 | 1);
        out.extend_from_slice(&wide_sequence_number.to_be_bytes());
        out.resize(start + size, 0);
        Padding {
            header_length: HEADER,
            size,
            sequence_number: self.sequence_number,
            timestamp: self.timestamp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::packet::RtpHeader;

    #[test]
    fn it_is_a_packet_of_its_stream() {
        let mut probation = Probation::new(65_535, 7);
        for (asked, size) in [(1, 32), (33, 36), (200, 200), (9000, 1400)] {
            let mut out = vec![1, 2, 3];
            let padding = probation.write(asked, 0x1234, 1_000_000, &mut out);
            let packet = &out[3..];
            assert_eq!((packet.len(), padding.size), (size, size));
            let header = RtpHeader::parse(packet).expect("a packet");
            assert_eq!((header.ssrc, header.payload_type), (1234, 127));
            assert_eq!(header.payload_offset, padding.header_length);
            assert_eq!(header.extension(packet, extensions::MID), Some(MID.as_slice()));
            let wide = header.extension(packet, extensions::TRANSPORT_WIDE_CC);
            assert_eq!(wide, Some([0x12, 0x34].as_slice()));
            assert!(packet[padding.header_length..].iter().all(|byte| *byte == 0));
        }
        assert_eq!((probation.sequence_number, probation.timestamp), (3, 87));
    }
}
