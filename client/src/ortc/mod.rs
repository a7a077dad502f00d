//! Which codecs, header extensions and streams go between a sender, a router and a receiver.
//!
//! Pure functions: they neither send anything nor draw random numbers. A router has capabilities
//! ([`router_capabilities`]). What a producer sends is renamed ([`producer_mapping`]) into the router's terms
//! ([`consumable_parameters`]); every receiver gets a selection of that ([`consumer_parameters`],
//! [`pipe_consumer_parameters`]).
//!
//! ```
//! use client::RtpCodecCapability;
//! use client::ortc::{ConsumerSsrcs, can_consume, consumable_parameters, consumer_parameters};
//! use client::ortc::{normalize_parameters, producer_mapping, router_capabilities};
//! # use client::{MediaKind, RtpCodecParameters, RtpEncodingParameters, RtpParameters};
//!
//! # fn main() -> client::Result<()> {
//! # let sent = RtpParameters {
//! #     codecs: vec![RtpCodecParameters { mime_type: "video/VP8".into(), payload_type: 96, clock_rate: 90_000,
//! #         channels: None, parameters: Default::default(), rtcp_feedback: vec![] }],
//! #     encodings: vec![RtpEncodingParameters { ssrc: Some(1234), ..Default::default() }],
//! #     ..Default::default()
//! # };
//! let router = router_capabilities(&[RtpCodecCapability::video("video/VP8")])?;
//! // Somebody sends VP8 with payload type 96,
//! let mut sent = normalize_parameters(&sent)?;
//! let mapping = producer_mapping(&mut sent, &router, 500_000_000)?;
//! // which in this router is 100,
//! let consumable = consumable_parameters(MediaKind::Video, &sent, &router, &mapping);
//! assert_eq!(consumable.codecs[0].payload_type, 100);
//! // and is what somebody else receives who can do all that the router can.
//! assert!(can_consume(&consumable, &router)?);
//! let ssrcs = ConsumerSsrcs { media: 600_000_000, rtx: 600_000_001 };
//! let received = consumer_parameters(&consumable, &router, false, ssrcs)?;
//! assert_eq!(received.encodings[0].ssrc, Some(600_000_000));
//! # Ok(())
//! # }
//! ```

mod codec_matching;
mod consumer;
pub mod h264_profile;
mod normalize;
mod producer;
mod router;
mod supported;

use channel_proto::rtp_parameters::ScalabilityLayers;

pub use consumer::{ConsumerSsrcs, can_consume, consumer_parameters, pipe_consumer_parameters};
pub use normalize::{normalize_capabilities, normalize_parameters};
pub use producer::{consumable_parameters, producer_mapping};
pub use router::router_capabilities;
pub use supported::supported_rtp_capabilities;

pub(crate) use normalize::kind_of;

/// Reads a scalability mode such as `L1T3` or `L3T2_KEY`; one layer of each kind if there is none or it is not
/// understood.
pub fn parse_scalability_mode(mode: Option<&str>) -> ScalabilityLayers {
    mode.and_then(ScalabilityLayers::parse).unwrap_or(ScalabilityLayers {
        spatial_layers: 1,
        temporal_layers: 1,
        ksvc: false,
    })
}

fn is_audio(mime_type: &str) -> bool {
    matches!(kind_of(mime_type), Ok(channel_proto::rtp_parameters::MediaKind::Audio))
}

/// Whether a MIME type is that of a retransmission format.
fn is_rtx(mime_type: &str) -> bool {
    mime_type
        .split_once('/')
        .is_some_and(|(kind, subtype)| !kind.is_empty() && subtype.eq_ignore_ascii_case("rtx"))
}

#[cfg(test)]
mod tests;
