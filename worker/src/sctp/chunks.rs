//! Just enough of the SCTP packet format (RFC 9260) to look at packets on their way to and from the stack.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

/// Bytes of the common header: ports, verification tag, checksum.
pub const COMMON_HEADER: usize = 12;
/// The port of both ends.
pub const PORT: u16 = 5000;

/// Chunk types.
pub const DATA: u8 = 0;
/// INIT.
pub const INIT: u8 = 1;
/// INIT ACK.
pub const INIT_ACK: u8 = 2;
/// SACK.
pub const SACK: u8 = 3;
/// COOKIE ECHO.
pub const COOKIE_ECHO: u8 = 10;
/// COOKIE ACK.
pub const COOKIE_ACK: u8 = 11;
/// DATA with interleaving (RFC 8260).
pub const I_DATA: u8 = 64;
/// FORWARD TSN (RFC 3758).
pub const FORWARD_TSN: u8 = 192;
/// FORWARD TSN with interleaving (RFC 8260).
pub const I_FORWARD_TSN: u8 = 194;

/// A chunk of a packet.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    /// Type.
    pub kind: u8,
    /// Header and value, without padding.
    pub bytes: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// What follows the header of four bytes.
    pub fn value(&self) -> &'a [u8] {
        self.bytes.get(4..).unwrap_or_default()
    }
}

/// Whether a datagram is an SCTP packet between our ports. RTP, RTCP, STUN and DTLS begin with other bytes.
pub fn is_sctp(datagram: &[u8]) -> bool {
    let port = PORT.to_be_bytes();
    datagram.len() >= COMMON_HEADER && datagram.get(..2) == Some(&port) && datagram.get(2..4) == Some(&port)
}

/// The chunks of a packet, up to the first that is broken.
pub fn chunks(packet: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    elements(packet.get(COMMON_HEADER..).unwrap_or_default()).map(|bytes| Chunk {
        kind: bytes.first().copied().unwrap_or_default(),
        bytes,
    })
}

/// Chunks or parameters: two bytes, a length of two bytes that counts them, a value, padding to four bytes.
pub fn elements(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]));
        let element = rest.get(..length).filter(|element| element.len() >= 4)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(element)
    })
}

/// Appends an element with its length and padding.
pub fn push_element(out: &mut Vec<u8>, start: [u8; 2], parts: &[&[u8]]) {
    let length = 4 + parts.iter().map(|part| part.len()).sum::<usize>();
    out.extend_from_slice(&start);
    out.extend_from_slice(&(length as u16).to_be_bytes());
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out.resize(out.len() + length.next_multiple_of(4) - length, 0);
}

/// Whether the checksum of a packet is right.
pub fn has_valid_checksum(packet: &[u8]) -> bool {
    packet.get(8..COMMON_HEADER) == Some(&checksum(packet).to_le_bytes())
}

/// Writes the checksum of a packet.
pub fn write_checksum(packet: &mut [u8]) {
    let checksum = checksum(packet);
    if let Some(field) = packet.get_mut(8..COMMON_HEADER) {
        field.copy_from_slice(&checksum.to_le_bytes());
    }
}

/// CRC32c of a packet whose checksum field counts as zero (RFC 9260 6.8).
fn checksum(packet: &[u8]) -> u32 {
    let crc = crc32c(!0, packet.get(..8).unwrap_or_default());
    let crc = crc32c(crc, &[0; 4]);
    !crc32c(crc, packet.get(COMMON_HEADER..).unwrap_or_default())
}

/// Bit by bit: only packets of the handshake come here.
fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    /// Castagnoli's polynomial, reflected.
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    bytes.iter().fold(crc, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (POLYNOMIAL & 0_u32.wrapping_sub(crc & 1))
        })
    })
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]
mod tests {
    use super::*;

    #[test]
    fn crc32c_of_rfc_3720_b_4() {
        assert_eq!(!crc32c(!0, &[0; 32]), 0x8a91_36aa);
        assert_eq!(!crc32c(!0, &[0xff; 32]), 0x62a8_ab43);
        assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
    }

    #[test]
    fn chunks_end_at_the_first_broken_one() {
        let mut packet = vec![0; COMMON_HEADER];
        push_element(&mut packet, [DATA, 3], &[b"abcde"]);
        push_element(&mut packet, [COOKIE_ECHO, 0], &[b"x"]);
        let whole = packet.len();
        let kinds = |packet: &[u8]| chunks(packet).map(|chunk| chunk.kind).collect::<Vec<_>>();
        assert_eq!(kinds(&packet), [DATA, COOKIE_ECHO]);
        for length in 0..whole {
            assert!(kinds(&packet[..length]).len() <= 2);
        }
        packet[COMMON_HEADER + 2..COMMON_HEADER + 4].copy_from_slice(&[0, 0]);
        assert_eq!(kinds(&packet), [0; 0], "a length of zero must not loop");
    }

    #[test]
    fn only_packets_between_our_ports_are_sctp() {
        let packet = hex_packet("1388138813dea0f7d9b7dab80300001014ddf8ba0002000000000000");
        assert!(is_sctp(&packet) && has_valid_checksum(&packet));
        assert!(!is_sctp(&packet[..11]));
        assert!(!is_sctp(&[0x80; 40]));
    }

    fn hex_packet(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }
}
