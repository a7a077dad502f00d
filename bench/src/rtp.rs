//! The packets of the scenario: frames that look like VP8 key frames, numbered and stamped.

use std::ops::Range;

/// Payload type of the video.
pub const PAYLOAD_TYPE: u8 = 101;
/// SSRC of the produced stream.
pub const SSRC: u32 = 11_000_001;
/// Clock of the RTP timestamps.
pub const CLOCK_RATE: u32 = 90_000;
/// Frames per second.
pub const FRAME_RATE: u32 = 30;
/// Packets of one frame.
pub const FRAME_PACKETS: u64 = 10;
/// Bytes of one packet, which is the whole payload of a datagram.
pub const PACKET_SIZE: usize = 1_100;

/// Bytes of an RTP header without lists and extensions.
const HEADER: usize = 12;
/// Where the time of sending lies in the RTP payload, behind what looks like VP8.
const STAMP: Range<usize> = 16..24;

/// What a receiver can tell of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The sequence number.
    pub sequence: u16,
    /// Whether this is the last packet of a frame.
    pub marker: bool,
    /// Where the RTP payload begins.
    payload: usize,
}

/// Writes packet number `index` of the stream into a slice of [`PACKET_SIZE`] bytes.
pub fn write(packet: &mut [u8], index: u64) {
    let (frame, part) = (index / FRAME_PACKETS, index % FRAME_PACKETS);
    packet.fill(0x55);
    packet[0] = 0x80;
    packet[1] = PAYLOAD_TYPE | if part == FRAME_PACKETS - 1 { 0x80 } else { 0 };
    // Cut on purpose: these numbers wrap.
    packet[2..4].copy_from_slice(&(index as u16).to_be_bytes());
    packet[4..8].copy_from_slice(&(frame as u32).wrapping_mul(CLOCK_RATE / FRAME_RATE).to_be_bytes());
    packet[8..12].copy_from_slice(&SSRC.to_be_bytes());
    let payload = &mut packet[HEADER..];
    if part == 0 {
        // Start of partition 0; then the head of a key frame: frame tag, start code, 640 x 480.
        payload[..11].copy_from_slice(&[0x10, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0xe0, 0x01]);
    } else {
        payload[0] = 0;
    }
}

/// Writes the time of sending into a packet.
pub fn stamp(packet: &mut [u8], nanos: u64) {
    packet[HEADER..][STAMP].copy_from_slice(&nanos.to_be_bytes());
}

/// Reads the time of sending from a packet in the clear.
pub fn read_stamp(packet: &[u8], header: Header) -> Option<u64> {
    let bytes = packet.get(header.payload..)?.get(STAMP)?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

/// Reads what even a protected packet shows. RTCP and everything else is nothing.
pub fn read(packet: &[u8]) -> Option<Header> {
    let head: &[u8; HEADER] = packet.first_chunk()?;
    if head[0] >> 6 != 2 || head[1] & 0x7f != PAYLOAD_TYPE {
        return None;
    }
    let mut payload = HEADER + 4 * usize::from(head[0] & 0x0f);
    if head[0] & 0x10 != 0 {
        let length = packet.get(payload + 2..payload + 4)?;
        payload += 4 + 4 * usize::from(u16::from_be_bytes([length[0], length[1]]));
    }
    Some(Header {
        sequence: u16::from_be_bytes([head[2], head[3]]),
        marker: head[1] & 0x80 != 0,
        payload,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut packet = [0; PACKET_SIZE];
        write(&mut packet, 65_536 + 4);
        stamp(&mut packet, 123_456_789);
        let header = read(&packet).expect("RTP");
        assert_eq!((header.sequence, header.marker), (4, false));
        assert_eq!(read_stamp(&packet, header), Some(123_456_789));
        assert_eq!(packet[HEADER..HEADER + 2], [0x10, 0x10]);

        write(&mut packet, 29);
        assert!(read(&packet).expect("RTP").marker);
        assert_eq!(packet[HEADER], 0);
    }

    #[test]
    fn an_extension_is_skipped_and_rtcp_is_not_read() {
        let mut packet = [0; PACKET_SIZE];
        write(&mut packet, 1);
        packet[0] |= 0x10;
        packet[HEADER..HEADER + 4].copy_from_slice(&[0xbe, 0xde, 0, 2]);
        assert_eq!(read(&packet).expect("RTP").payload, HEADER + 12);
        packet[1] = 200;
        assert_eq!(read(&packet), None);
        assert_eq!(read(&packet[..11]), None);
    }
}
