//! What payloads tell about themselves.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

pub mod dependency;
pub mod frame_marking;
pub mod h264;
pub mod opus;
pub mod svc_layers;
pub mod vp8;
pub mod vp8_layers;
pub mod vp9;

/// Facts of one payload. The default is what a payload of an unknown codec has: no key frame, layer 0:0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PayloadDescriptor {
    /// Decoding can start here.
    pub is_key_frame: bool,
    /// Spatial layer.
    pub spatial_layer: u8,
    /// Temporal layer.
    pub temporal_layer: u8,
    /// What only one codec has.
    pub details: Details,
}

/// Facts that only one codec has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Details {
    /// No descriptor: another codec, or a payload that is cut short.
    #[default]
    None,
    /// VP8.
    Vp8(vp8::Descriptor),
    /// VP9.
    Vp9(vp9::Descriptor),
    /// Opus.
    Opus(opus::Descriptor),
    /// H.264 whose sender marks frames.
    Marked(frame_marking::FrameMarking),
    /// AV1 whose sender describes dependencies.
    Layered(svc_layers::LayerPacket),
}

/// Codecs whose payloads we look into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// VP8 (RFC 7741).
    Vp8,
    /// VP9 (RFC 9628).
    Vp9,
    /// H.264 (RFC 6184).
    H264,
    /// H.264 with scalability: treated as H.264.
    H264Svc,
    /// AV1: what is known of it stands in the dependency descriptor.
    Av1,
    /// Opus (RFC 7587).
    Opus,
    /// Any other: opaque.
    Other,
}

impl Codec {
    /// By MIME type, in any case.
    pub fn from_mime_type(mime_type: &str) -> Self {
        let known = [
            ("video/vp8", Self::Vp8),
            ("video/vp9", Self::Vp9),
            ("video/h264", Self::H264),
            ("video/h264-svc", Self::H264Svc),
            ("video/av1", Self::Av1),
            ("audio/opus", Self::Opus),
        ];
        let found = known.iter().find(|(name, _)| name.eq_ignore_ascii_case(mime_type));
        found.map_or(Self::Other, |(_, codec)| *codec)
    }

    /// Whether a receiver can only begin with a key frame, and we can tell one.
    pub const fn waits_for_key_frame(self) -> bool {
        matches!(self, Self::Vp8 | Self::Vp9 | Self::H264 | Self::H264Svc)
    }

    /// Reads a payload, padding excluded.
    pub fn describe(self, payload: &[u8]) -> PayloadDescriptor {
        match self {
            Self::Vp8 => vp8::Descriptor::parse(payload).map_or_else(PayloadDescriptor::default, Into::into),
            Self::Vp9 => vp9::Descriptor::parse(payload).map_or_else(PayloadDescriptor::default, Into::into),
            Self::H264 | Self::H264Svc => PayloadDescriptor {
                is_key_frame: h264::is_key_frame(payload),
                ..PayloadDescriptor::default()
            },
            Self::Opus => PayloadDescriptor {
                details: opus::Descriptor::parse(payload).map_or(Details::None, Details::Opus),
                ..PayloadDescriptor::default()
            },
            Self::Av1 | Self::Other => PayloadDescriptor::default(),
        }
    }
}

impl PayloadDescriptor {
    /// Adds what the frame marking extension tells of a packet.
    pub fn marked(self, value: &[u8]) -> Self {
        match frame_marking::FrameMarking::read(value) {
            Some(marking) => Self {
                temporal_layer: marking.temporal_layer,
                details: Details::Marked(marking),
                ..self
            },
            None => self,
        }
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test may fail")]
mod properties;
#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]
mod tests;
