//! The RTP header (RFC 3550 5.1) and its extension block (RFC 8285), read in place.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

/// Bytes of the fixed part of a header.
pub const FIXED_HEADER: usize = 12;

/// Profile of extension blocks with one-byte element headers (RFC 8285 4.2).
const ONE_BYTE: u16 = 0xbede;

/// Why bytes are not an RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RtpParseError {
    /// Ends before its header does.
    #[error("RTP packet of {0} bytes ends inside its header")]
    Truncated(usize),
    /// Not version 2.
    #[error("RTP version is {0}, not 2")]
    Version(u8),
    /// The extension block ends after the packet.
    #[error("RTP extension block of {0} bytes does not fit")]
    ExtensionBlock(usize),
    /// An extension element ends after its block.
    #[error("RTP extension element {0} does not fit into its block")]
    ExtensionElement(u8),
    /// Padding of no bytes, or of more than follow the header.
    #[error("RTP padding of {0} bytes is not possible")]
    Padding(u8),
}

/// Where the extension block of a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtensionBlock {
    /// What defines the format of its elements.
    pub profile: u16,
    /// Offset of the first element, after the four bytes of the block's own header.
    pub offset: usize,
    /// Bytes of elements.
    pub length: usize,
}

/// Facts of one RTP packet, as offsets into its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpHeader {
    /// 0 to 127.
    pub payload_type: u8,
    /// Marker bit.
    pub marker: bool,
    /// Sequence number.
    pub sequence_number: u16,
    /// Timestamp in units of the payload's clock.
    pub timestamp: u32,
    /// Synchronization source.
    pub ssrc: u32,
    /// Number of contributing sources; they begin at byte 12.
    pub csrc_count: u8,
    /// Length of the header, which is where the payload begins.
    pub payload_offset: usize,
    /// Bytes of payload, padding excluded.
    pub payload_length: usize,
    /// Bytes of padding at the end, its length byte included; 0 if there is none.
    pub padding_length: u8,
    /// The extension block.
    pub extensions: Option<ExtensionBlock>,
}

impl RtpHeader {
    /// Reads a packet in the clear.
    pub fn parse(packet: &[u8]) -> Result<Self, RtpParseError> {
        let mut header = Self::parse_encrypted(packet)?;
        if packet.first().is_some_and(|first| first & 0x20 != 0) {
            // Without a payload there is no length byte either: that counts as a padding of 0.
            let padding = match header.payload_length {
                0 => 0,
                _ => packet.last().copied().unwrap_or_default(),
            };
            if padding == 0 || usize::from(padding) > header.payload_length {
                return Err(RtpParseError::Padding(padding));
            }
            header.padding_length = padding;
            header.payload_length -= usize::from(padding);
        }
        Ok(header)
    }

    /// Reads the header of an SRTP packet. Its padding is encrypted (RFC 3711 3.1), so the payload length still
    /// counts padding and authentication tag.
    pub fn parse_encrypted(packet: &[u8]) -> Result<Self, RtpParseError> {
        let truncated = RtpParseError::Truncated(packet.len());
        let Some(&[first, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3]) = packet.first_chunk::<FIXED_HEADER>()
        else {
            return Err(truncated);
        };
        if first >> 6 != 2 {
            return Err(RtpParseError::Version(first >> 6));
        }
        let csrc_count = first & 0x0f;
        let mut offset = FIXED_HEADER + 4 * usize::from(csrc_count);
        let mut rest = packet.get(offset..).ok_or(truncated)?;
        let mut extensions = None;
        if first & 0x10 != 0 {
            let (&[p0, p1, l0, l1], after) = rest.split_first_chunk::<4>().ok_or(truncated)?;
            let length = 4 * usize::from(u16::from_be_bytes([l0, l1]));
            let (elements, payload) = after
                .split_at_checked(length)
                .ok_or(RtpParseError::ExtensionBlock(length))?;
            let profile = u16::from_be_bytes([p0, p1]);
            for element in Elements::new(profile, elements) {
                element?;
            }
            extensions = Some(ExtensionBlock {
                profile,
                offset: offset + 4,
                length,
            });
            offset += 4 + length;
            rest = payload;
        }
        Ok(Self {
            payload_type: second & 0x7f,
            marker: second & 0x80 != 0,
            sequence_number: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
            csrc_count,
            payload_offset: offset,
            payload_length: rest.len(),
            padding_length: 0,
            extensions,
        })
    }

    /// The value of an extension in the packet that this header was read from. Of repeated elements the last one
    /// counts; one without bytes counts as absent.
    pub fn extension<'a>(&self, packet: &'a [u8], id: u8) -> Option<&'a [u8]> {
        let block = self.extensions?;
        let elements = packet.get(block.offset..block.offset.checked_add(block.length)?)?;
        let last = Elements::new(block.profile, elements)
            .map_while(Result::ok)
            .filter(|found| found.0 == id)
            .last();
        last.map(|(_, value)| value).filter(|value| !value.is_empty())
    }

    /// The payload, without padding, of the packet that this header was read from.
    pub fn payload<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        let payload = self
            .payload_offset
            .checked_add(self.payload_length)
            .and_then(|end| packet.get(self.payload_offset..end));
        payload.unwrap_or_default()
    }
}

/// Walks the elements of an extension block; ends after the first error.
struct Elements<'a> {
    rest: &'a [u8],
    two_byte: bool,
}

impl<'a> Elements<'a> {
    fn new(profile: u16, elements: &'a [u8]) -> Self {
        let two_byte = profile & 0xfff0 == 0x1000;
        // What other profiles mean is their own business (RFC 3550 5.3.1): no elements that we know.
        let rest = if two_byte || profile == ONE_BYTE { elements } else { &[] };
        Self { rest, two_byte }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<(u8, &'a [u8]), RtpParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (&first, rest) = std::mem::take(&mut self.rest).split_first()?;
            // In the one-byte form any byte with id 0 is filler, whatever its length field says.
            let (id, length, rest) = if self.two_byte {
                if first == 0 {
                    self.rest = rest;
                    continue;
                }
                let Some((&length, rest)) = rest.split_first() else {
                    return Some(Err(RtpParseError::ExtensionElement(first)));
                };
                (first, usize::from(length), rest)
            } else {
                match first >> 4 {
                    0 => {
                        self.rest = rest;
                        continue;
                    }
                    // RFC 8285 4.2: processing stops here.
                    15 => return None,
                    id => (id, usize::from(first & 0x0f) + 1, rest),
                }
            };
            return match rest.split_at_checked(length) {
                Some((value, rest)) => {
                    self.rest = rest;
                    Some(Ok((id, value)))
                }
                None => Some(Err(RtpParseError::ExtensionElement(id))),
            };
        }
    }
}

/// Whether a datagram is RTP or SRTP, by its first two bytes (RFC 7983, RFC 5761 4).
pub fn is_rtp(datagram: &[u8]) -> bool {
    datagram.len() >= FIXED_HEADER && matches!(datagram, [128..=191, second, ..] if !(192..=223).contains(second))
}

/// Whether a datagram is RTCP or SRTCP, by its first two bytes (RFC 7983, RFC 5761 4).
pub fn is_rtcp(datagram: &[u8]) -> bool {
    datagram.len() >= 4 && matches!(datagram, [128..=191, 192..=223, ..])
}

#[cfg(test)]
#[path = "packet_tests.rs"]
mod tests;
