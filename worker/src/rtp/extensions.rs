//! Header extensions: their ids inside the worker, their values, and headers written with them (RFC 8285).
//!
//! What the reference worker puts on the wire, by its recordings: ids are the canonical ones, in one-byte form (ours in
//! two-byte form if a dependency descriptor does not fit that), always
//! in the order MID, abs-send-time, transport-wide-cc, then what is copied from the sender in ascending order of id,
//! then zeros up to a multiple of four bytes. The MID always has room for eight bytes: `10 37 00 00 00 00 00 00 00` is
//! the MID "7", the unused bytes being filler of the block. Audio has neither abs-send-time nor transport-wide-cc.
//! A consumer without a MID gets `17` and eight zeros; if another consumer was served before in the same turn, it gets
//! that one's MID instead, which is a leak that we do not repeat.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

/// Id of the MID inside the worker.
pub const MID: u8 = 1;
/// Id of the RTP stream id.
pub const RID: u8 = 2;
/// Id of the repaired RTP stream id.
pub const RRID: u8 = 3;
/// Id of the time of sending.
pub const ABS_SEND_TIME: u8 = 4;
/// Id of the transport-wide sequence number.
pub const TRANSPORT_WIDE_CC: u8 = 5;
/// Id of frame marking, draft 07.
pub const FRAME_MARKING_07: u8 = 6;
/// Id of frame marking.
pub const FRAME_MARKING: u8 = 7;
/// Id of the dependency descriptor.
pub const DEPENDENCY_DESCRIPTOR: u8 = 8;
/// Id of the audio level.
pub const AUDIO_LEVEL: u8 = 10;
/// Id of the video orientation.
pub const VIDEO_ORIENTATION: u8 = 11;
/// Id of the transmission time offset.
pub const TOFFSET: u8 = 12;
/// Id of the time of capture.
pub const ABS_CAPTURE_TIME: u8 = 13;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $id:ident, $uri:literal;)*) => {
        /// Header extensions that we know.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum HeaderExtensionKind { $($(#[$doc])* $kind,)* }

        impl HeaderExtensionKind {
            /// By URI.
            pub fn from_uri(uri: &str) -> Option<Self> {
                match uri {
                    $($uri => Some(Self::$kind),)*
                    _ => None,
                }
            }

            /// Its URI.
            pub const fn uri(self) -> &'static str {
                match self { $(Self::$kind => $uri,)* }
            }

            /// Its id inside the worker.
            pub const fn id(self) -> u8 {
                match self { $(Self::$kind => $id,)* }
            }

            #[cfg(test)]
            const ALL: &'static [Self] = &[$(Self::$kind,)*];
        }
    };
}

kinds! {
    /// Media description (RFC 9143).
    Mid = MID, "urn:ietf:params:rtp-hdrext:sdes:mid";
    /// RTP stream (RFC 8852).
    Rid = RID, "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
    /// RTP stream that a retransmission is for (RFC 8852).
    RepairedRid = RRID, "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
    /// Time of sending.
    AbsSendTime = ABS_SEND_TIME, "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";
    /// Sequence number over all streams of a transport.
    TransportWideCc = TRANSPORT_WIDE_CC, "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
    /// Frame marking, draft 07.
    FrameMarking07 = FRAME_MARKING_07, "http://tools.ietf.org/html/draft-ietf-avtext-framemarking-07";
    /// Frame marking.
    FrameMarking = FRAME_MARKING, "urn:ietf:params:rtp-hdrext:framemarking";
    /// Dependency descriptor (AV1 RTP specification).
    DependencyDescriptor = DEPENDENCY_DESCRIPTOR,
        "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";
    /// Audio level (RFC 6464).
    AudioLevel = AUDIO_LEVEL, "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
    /// Video orientation (3GPP TS 26.114).
    VideoOrientation = VIDEO_ORIENTATION, "urn:3gpp:video-orientation";
    /// Transmission time offset (RFC 5450).
    TransmissionOffset = TOFFSET, "urn:ietf:params:rtp-hdrext:toffset";
    /// Time of capture.
    AbsCaptureTime = ABS_CAPTURE_TIME, "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";
}

/// Audio level of a packet (RFC 6464).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioLevel {
    /// The sender hears a voice.
    pub voice: bool,
    /// 0 (loudest) to 127 (silence): -dBov.
    pub level: u8,
}

impl AudioLevel {
    /// From the value of the extension.
    pub fn read(value: &[u8]) -> Option<Self> {
        let &[byte] = value else { return None };
        Some(Self {
            voice: byte & 0x80 != 0,
            level: byte & 0x7f,
        })
    }
}

/// How to show a video (3GPP TS 26.114, 7.4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoOrientation {
    /// From the camera at the back.
    pub camera: bool,
    /// Mirrored.
    pub flip: bool,
    /// 0, 90, 180 or 270 degrees.
    pub rotation: u16,
}

impl VideoOrientation {
    /// From the value of the extension. Two more bits of rotation, for finer steps, are ignored.
    pub fn read(value: &[u8]) -> Option<Self> {
        let &[byte] = value else { return None };
        let rotation = u16::from(byte & 3) * 90;
        Some(Self {
            camera: byte & 8 != 0,
            flip: byte & 4 != 0,
            rotation,
        })
    }
}

/// A 16-bit transport-wide sequence number.
pub fn transport_wide_cc(value: &[u8]) -> Option<u16> {
    <[u8; 2]>::try_from(value).ok().map(u16::from_be_bytes)
}

/// A 24-bit time of sending, in 2^-18 s.
pub fn read_abs_send_time(value: &[u8]) -> Option<u32> {
    let [a, b, c] = value.try_into().ok()?;
    Some(u32::from_be_bytes([0, a, b, c]))
}

/// A time of microseconds as 24 bits: 6 of seconds, 18 of fractions.
pub fn abs_send_time(now: u64) -> u32 {
    // 24 bits are 64 seconds; reduced first, nothing overflows.
    ((((now % 64_000_000) << 18) + 500_000) / 1_000_000) as u32 & 0x00ff_ffff
}

#[cfg(test)]
#[path = "extensions_tests.rs"]
mod tests;
