//! What all consumers of a producer share of a packet: the rewritten header.
//!
//! The header is built once per packet, with canonical extension ids and room for the MID; each consumer copies it
//! and patches payload-independent fields ([`ForwardedPacket::write`]). The packet received is never changed.

use channel_proto::event::VideoOrientation;
use channel_proto::rtp_parameters::{MediaKind, RtpParameters};
use smallvec::SmallVec;

use super::producer::extension_id;
use crate::rtp::codec::{Codec, PayloadDescriptor, vp8};
use crate::rtp::extensions::{self, HeaderExtensionKind};
use crate::rtp::packet::RtpHeader;
use crate::rtp::retransmission::PacketStore;

/// Bytes of MID that every forwarded packet has room for.
pub const MID_LENGTH: usize = 8;

/// The longest header we write: 12 bytes, 15 CSRCs, and an extension block with all that we copy. The structure in a
/// dependency descriptor takes some 100 bytes.
const MAX_HEADER: usize = 252;

/// Extensions that are copied from sender to receivers, in the order in which they are written.
const COPIED_AUDIO: [(HeaderExtensionKind, u8); 1] = [(HeaderExtensionKind::AudioLevel, extensions::AUDIO_LEVEL)];
const COPIED_VIDEO: [(HeaderExtensionKind, u8); 6] = [
    (HeaderExtensionKind::FrameMarking07, extensions::FRAME_MARKING_07),
    (HeaderExtensionKind::FrameMarking, extensions::FRAME_MARKING),
    (
        HeaderExtensionKind::DependencyDescriptor,
        extensions::DEPENDENCY_DESCRIPTOR,
    ),
    (HeaderExtensionKind::VideoOrientation, extensions::VIDEO_ORIENTATION),
    (HeaderExtensionKind::TransmissionOffset, extensions::TOFFSET),
    (HeaderExtensionKind::AbsCaptureTime, extensions::ABS_CAPTURE_TIME),
];

/// Rewrites headers of one producer.
#[derive(Debug)]
pub struct HeaderMangler {
    kind: MediaKind,
    /// (id of the sender, canonical id).
    copied: SmallVec<[(u8, u8); 6]>,
    video_orientation: Option<u8>,
    dependency_descriptor: Option<u8>,
}

/// A packet for consumers: a finished header up to what differs between them, and where its payload is.
#[derive(Debug, Clone)]
pub struct ForwardedPacket {
    header: [u8; MAX_HEADER],
    header_length: usize,
    mid_offset: usize,
    /// Whether it has the extensions that only video has.
    is_video: bool,
    /// Offset of the payload, padding included, in the packet received.
    pub payload_offset: usize,
    /// Bytes of payload and padding.
    pub payload_length: usize,
    /// Bytes of padding at the end of these.
    pub padding_length: u8,
    /// Encoding of the producer.
    pub encoding: usize,
    /// SSRC inside the router.
    pub mapped_ssrc: u32,
    /// Payload type inside the router.
    pub payload_type: u8,
    /// As received.
    pub sequence_number: u16,
    /// As received.
    pub timestamp: u32,
    /// As received.
    pub marker: bool,
    /// When its content was captured in our time, as far as known, else when it arrived.
    pub captured_at: u64,
    /// Whether decoding can start here.
    pub is_key_frame: bool,
    /// What the payload tells about itself.
    pub descriptor: PayloadDescriptor,
    /// Whether a receiver must wait for a key frame before it can decode.
    pub key_frame_needed: bool,
    /// The sender has begun anew with this one: sequence numbers and timestamps have nothing to do with those before.
    pub begins_anew: bool,
}

/// What a consumer changes in a packet.
#[derive(Debug, Clone, Copy)]
pub struct Rewrite {
    /// Which of the consumer's streams it goes out on.
    pub stream: usize,
    /// SSRC of the consumer.
    pub ssrc: u32,
    /// Sequence number of the consumer.
    pub sequence_number: u16,
    /// Timestamp of the consumer.
    pub timestamp: u32,
    /// Whether the receiver is to see the end of a frame.
    pub marker: bool,
    /// Counters of a VP8 payload, if they are the consumer's own.
    pub vp8: Option<vp8::Rewrite>,
    /// Element of the MID extension, header byte included.
    pub mid: [u8; 1 + MID_LENGTH],
    /// Number among all packets of the consumer's transport, 0 if these are not counted. Of video only.
    pub wide_sequence_number: u16,
    /// Whether it is sent for the first time.
    pub form: Form,
}

/// How a packet is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For the first time.
    First,
    /// Again, with the same bytes on the wire: an SRTP index must not be used for others.
    Again {
        /// The last four of them.
        tail: [u8; 4],
    },
    /// Again, in a stream that repairs others (RFC 4588).
    Rtx {
        /// Payload type of that stream.
        payload_type: u8,
        /// SSRC of that stream.
        ssrc: u32,
        /// Sequence number in that stream.
        sequence_number: u16,
        /// Time of sending, 24 bits.
        abs_send_time: u32,
    },
}

/// The MID extension of a consumer: always 8 bytes of room, unused ones are padding; zeros without a MID.
pub fn mid_element(mid: Option<&str>) -> [u8; 1 + MID_LENGTH] {
    let mut element = [0; 1 + MID_LENGTH];
    let mid = mid
        .map(str::as_bytes)
        .filter(|mid| !mid.is_empty() && mid.len() <= MID_LENGTH);
    let length = mid.map_or(MID_LENGTH, <[u8]>::len);
    for (to, from) in element.iter_mut().zip(
        std::iter::once((extensions::MID << 4) | (length as u8 - 1)).chain(mid.unwrap_or_default().iter().copied()),
    ) {
        *to = from;
    }
    element
}

fn sends_av1(parameters: &RtpParameters) -> bool {
    let mut codecs = parameters.codecs.iter();
    codecs.any(|codec| Codec::from_mime_type(&codec.mime_type) == Codec::Av1)
}

impl HeaderMangler {
    /// For what a sender announced.
    pub fn new(kind: MediaKind, parameters: &RtpParameters) -> Self {
        let wanted: &[_] = if kind == MediaKind::Audio {
            &COPIED_AUDIO
        } else {
            &COPIED_VIDEO
        };
        // Of other codecs receivers know what depends on what without it; what we change, a switch to another stream for
        // instance, would not agree with it.
        let describes = |kind| kind != HeaderExtensionKind::DependencyDescriptor || sends_av1(parameters);
        let copied = wanted
            .iter()
            .filter(|(kind, _)| describes(*kind))
            .filter_map(|(kind, canonical)| Some((extension_id(parameters, *kind)?, *canonical)))
            .collect();
        let video_orientation = (kind == MediaKind::Video)
            .then(|| extension_id(parameters, HeaderExtensionKind::VideoOrientation))
            .flatten();
        Self {
            kind,
            copied,
            video_orientation,
            dependency_descriptor: extension_id(parameters, HeaderExtensionKind::DependencyDescriptor),
        }
    }

    /// Value of the frame marking that a packet carries, if its sender announced that.
    pub fn frame_marking<'a>(&self, header: &RtpHeader, packet: &'a [u8]) -> Option<&'a [u8]> {
        let marking = |canonical: u8| matches!(canonical, extensions::FRAME_MARKING | extensions::FRAME_MARKING_07);
        let (id, _) = self.copied.iter().find(|(_, canonical)| marking(*canonical))?;
        header.extension(packet, *id)
    }

    /// Whether the sender announced dependency descriptors.
    pub fn describes_dependencies(&self) -> bool {
        self.dependency_descriptor.is_some()
    }

    /// Value of the dependency descriptor that a packet carries.
    pub fn dependency_descriptor<'a>(&self, header: &RtpHeader, packet: &'a [u8]) -> Option<&'a [u8]> {
        header.extension(packet, self.dependency_descriptor?)
    }

    /// The orientation that a packet carries.
    pub fn video_orientation(&self, header: &RtpHeader, packet: &[u8]) -> Option<VideoOrientation> {
        let value = header.extension(packet, self.video_orientation?)?;
        let orientation = extensions::VideoOrientation::read(value)?;
        let (camera, flip, rotation) = (orientation.camera, orientation.flip, orientation.rotation);
        Some(VideoOrientation { camera, flip, rotation })
    }

    /// The audio level that a packet carries: 0 (loudest) to 127.
    pub fn audio_level(&self, header: &RtpHeader, packet: &[u8]) -> Option<u8> {
        let (received, _) = self
            .copied
            .iter()
            .find(|(_, canonical)| *canonical == extensions::AUDIO_LEVEL)?;
        let level = extensions::AudioLevel::read(header.extension(packet, *received)?)?;
        Some(level.level)
    }

    /// Builds the shared header of a packet.
    pub fn mangle(&self, header: &RtpHeader, packet: &[u8], payload_type: u8, now: u64) -> ForwardedPacket {
        let mut out = Writer {
            bytes: [0; MAX_HEADER],
            length: 0,
        };
        let padding = if header.padding_length > 0 { 0x20 } else { 0 };
        out.put(&[
            0x80 | 0x10 | padding | (header.csrc_count & 0x0f),
            payload_type | u8::from(header.marker) << 7,
        ]);
        out.put(&header.sequence_number.to_be_bytes());
        out.put(&header.timestamp.to_be_bytes());
        out.put(&header.ssrc.to_be_bytes()); // as received: tells the stream of a packet that is kept
        let csrcs = usize::from(header.csrc_count) * 4;
        out.put(packet.get(12..12 + csrcs).unwrap_or_default());
        let copied = || {
            let elements = self.copied.iter();
            elements.filter_map(|(received, canonical)| Some((*canonical, header.extension(packet, *received)?)))
        };
        // Only for what does not fit the shorter form: the structure of dependencies that comes with a key frame.
        let elements = if copied().any(|(_, value)| value.len() > 16) {
            Elements::TwoByte
        } else {
            Elements::OneByte
        };
        let block = out.length;
        out.put(&elements.profile());
        out.put(&[0, 0]);
        let mid_offset = out.length;
        elements.put(&mut out, extensions::MID, &[0; MID_LENGTH]);
        if self.kind == MediaKind::Video {
            let [_, time @ ..] = extensions::abs_send_time(now).to_be_bytes();
            elements.put(&mut out, extensions::ABS_SEND_TIME, &time);
            elements.put(&mut out, extensions::TRANSPORT_WIDE_CC, &[0, 0]);
        }
        for (canonical, value) in copied() {
            if !value.is_empty() {
                elements.put(&mut out, canonical, value);
            }
        }
        while !(out.length - block).is_multiple_of(4) {
            out.put(&[0]);
        }
        let words = ((out.length - block) / 4 - 1) as u16;
        if let Some(field) = out.bytes.get_mut(block + 2..block + 4) {
            field.copy_from_slice(&words.to_be_bytes());
        }
        ForwardedPacket {
            header: out.bytes,
            header_length: out.length,
            mid_offset,
            is_video: self.kind == MediaKind::Video,
            payload_offset: header.payload_offset,
            payload_length: header.payload_length + usize::from(header.padding_length),
            padding_length: header.padding_length,
            encoding: 0,
            mapped_ssrc: 0,
            payload_type,
            sequence_number: header.sequence_number,
            timestamp: header.timestamp,
            marker: header.marker,
            captured_at: now,
            is_key_frame: false,
            descriptor: PayloadDescriptor::default(),
            key_frame_needed: false,
            begins_anew: false,
        }
    }
}

impl ForwardedPacket {
    /// Bytes of the header as every consumer sends it.
    pub fn header_length(&self) -> usize {
        self.header_length
    }

    /// The form of its extensions.
    fn elements(&self) -> Elements {
        match self.header.get(self.mid_offset - 4) {
            Some(0x10) => Elements::TwoByte,
            _ => Elements::OneByte,
        }
    }

    /// Whether it has the extensions that only video has.
    pub fn is_video(&self) -> bool {
        self.is_video
    }

    /// Bytes of the whole packet before encryption, if its payload goes out as it came.
    pub fn size(&self) -> usize {
        self.header_length + self.payload_length
    }

    /// Whether there is nothing but padding in it.
    pub fn is_padding(&self) -> bool {
        self.payload_length <= usize::from(self.padding_length)
    }

    /// Bytes of the whole packet before encryption, as a consumer sends it.
    pub fn size_as(&self, rewrite: &Rewrite) -> usize {
        let grown = self.size() + rewrite.vp8.map_or(0, |vp8| usize::from(vp8.widens()));
        match rewrite.form {
            Form::First | Form::Again { .. } => grown,
            Form::Rtx { .. } => grown + 2 - usize::from(self.padding_length),
        }
    }

    /// Appends the packet as one consumer sends it; `received` is the packet that came in.
    pub fn write(&self, rewrite: &Rewrite, received: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(self.header.get(..self.header_length).unwrap_or_default());
        let mut patch = |offset: usize, bytes: &[u8]| {
            if let Some(field) = out.get_mut(start + offset..start + offset + bytes.len()) {
                field.copy_from_slice(bytes);
            }
        };
        let (payload_type, ssrc, sequence_number) = match rewrite.form {
            Form::First | Form::Again { .. } => (self.payload_type, rewrite.ssrc, rewrite.sequence_number),
            Form::Rtx {
                payload_type,
                ssrc,
                sequence_number,
                ..
            } => (payload_type, ssrc, sequence_number),
        };
        patch(1, &[payload_type | u8::from(rewrite.marker) << 7]);
        patch(2, &sequence_number.to_be_bytes());
        patch(4, &rewrite.timestamp.to_be_bytes());
        patch(8, &ssrc.to_be_bytes());
        let elements = self.elements();
        let [mid_header, mid @ ..] = &rewrite.mid;
        if elements == Elements::TwoByte {
            patch(self.mid_offset, &[extensions::MID, 1 + (mid_header & 0x0f)]);
        } else {
            patch(self.mid_offset, &[*mid_header]);
        }
        patch(self.mid_offset + elements.header(), mid);
        if self.is_video {
            let offset = self.mid_offset + elements.wide_offset();
            patch(offset, &rewrite.wide_sequence_number.to_be_bytes());
        }
        let mut length = self.payload_length;
        if let Form::Rtx { abs_send_time, .. } = rewrite.form {
            if self.is_video {
                let [_, time @ ..] = abs_send_time.to_be_bytes();
                patch(self.mid_offset + elements.time_offset(), &time);
            }
            // Without padding.
            let first = self.header.first().copied().unwrap_or_default();
            patch(0, &[first & !0x20]);
            length -= usize::from(self.padding_length);
            out.extend_from_slice(&rewrite.sequence_number.to_be_bytes());
        }
        let payload = received.get(self.payload_offset..self.payload_offset + length);
        let payload = payload.unwrap_or_default();
        match &rewrite.vp8 {
            Some(vp8) => vp8.write(payload, out),
            None => out.extend_from_slice(payload),
        }
    }

    /// Keeps the packet for those who will ask for it again; `received` is the packet that came in. Returns its number.
    pub fn store(&self, received: &[u8], store: &mut PacketStore<StoredHeader>, now: u64) -> Option<u32> {
        let header = self.header.get(..self.header_length)?;
        let payload = received.get(self.payload_offset..self.payload_offset + self.payload_length)?;
        let facts = StoredHeader {
            length: self.header_length as u8,
            mid_offset: self.mid_offset as u8,
            padding_length: self.padding_length,
            payload_type: self.payload_type,
            is_video: self.is_video,
        };
        store.add(header, payload, facts, now)
    }

    /// A packet from a store; `bytes` take the place of the packet that came in.
    pub fn restore(bytes: &[u8], facts: StoredHeader) -> Option<Self> {
        let header_length = usize::from(facts.length);
        let mut header = [0; MAX_HEADER];
        header
            .get_mut(..header_length)?
            .copy_from_slice(bytes.get(..header_length)?);
        let received = RtpHeader::parse(bytes).ok()?;
        Some(Self {
            header,
            header_length,
            mid_offset: facts.mid_offset.into(),
            is_video: facts.is_video,
            payload_offset: header_length,
            payload_length: bytes.len() - header_length,
            padding_length: facts.padding_length,
            encoding: 0,
            mapped_ssrc: 0,
            payload_type: facts.payload_type,
            sequence_number: received.sequence_number,
            timestamp: received.timestamp,
            marker: received.marker,
            captured_at: 0,
            is_key_frame: false,
            descriptor: PayloadDescriptor::default(),
            key_frame_needed: false,
            begins_anew: false,
        })
    }
}

/// The two forms of header extensions (RFC 8285 4.2 and 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Elements {
    OneByte,
    TwoByte,
}

impl Elements {
    fn profile(self) -> [u8; 2] {
        match self {
            Self::OneByte => [0xbe, 0xde],
            Self::TwoByte => [0x10, 0x00],
        }
    }

    /// Bytes before each value.
    const fn header(self) -> usize {
        match self {
            Self::OneByte => 1,
            Self::TwoByte => 2,
        }
    }

    /// Where the value of abs-send-time is from the MID on, in video.
    const fn time_offset(self) -> usize {
        self.header() + MID_LENGTH + self.header()
    }

    /// Where that of transport-wide-cc is.
    const fn wide_offset(self) -> usize {
        self.time_offset() + 3 + self.header()
    }

    /// Writes an element, if there is room for it and for the filler behind.
    fn put(self, out: &mut Writer, id: u8, value: &[u8]) {
        if out.length + self.header() + value.len() + 3 > MAX_HEADER {
            return;
        }
        match self {
            Self::OneByte => out.put(&[id << 4 | (value.len() as u8).wrapping_sub(1) & 0x0f]),
            Self::TwoByte => out.put(&[id, value.len() as u8]),
        }
        out.put(value);
    }
}

/// What has to be known of a header besides its bytes to write it again.
#[derive(Debug, Clone, Copy)]
pub struct StoredHeader {
    length: u8,
    mid_offset: u8,
    padding_length: u8,
    payload_type: u8,
    is_video: bool,
}

/// The longest header fits [`StoredHeader`].
const _: () = assert!(MAX_HEADER <= u8::MAX as usize);

/// A header under construction.
struct Writer {
    bytes: [u8; MAX_HEADER],
    length: usize,
}

impl Writer {
    fn put(&mut self, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.length..self.length + bytes.len()) {
            room.copy_from_slice(bytes);
            self.length += bytes.len();
        }
    }
}

#[cfg(test)]
#[path = "mangle_tests.rs"]
mod tests;
