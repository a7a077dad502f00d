//! Why a consumer sends what it sends, and a transport as much as it does.

use serde::{Deserialize, Serialize};

use crate::rtp_parameters::ConsumerLayers;

/// A decision of a consumer or a transport, or several equal ones with less than a second between them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// When, in milliseconds of a monotonic clock; of several, the first.
    pub timestamp: u64,
    /// When the last of several was taken; else the same.
    pub until: u64,
    /// How many.
    pub count: u32,
    /// What was decided.
    #[serde(flatten)]
    pub what: DecisionKind,
    /// What made it necessary.
    pub why: DecisionReason,
    /// What the parent preferred, of consumers with layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_layers: Option<ConsumerLayers>,
    /// What the consumer aimed at from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_layers: Option<ConsumerLayers>,
    /// What it sent then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_layers: Option<ConsumerLayers>,
    /// Of consumers: the first four streams of the producer as they were, null for those of which nothing had come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<Option<DecisionStream>>,
    /// Of transports: what was known of the way to the peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<DecisionBandwidth>,
}

/// What a consumer or a transport decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum DecisionKind {
    /// To aim at other layers, or at none.
    Target,
    /// To send other layers: those aimed at have come.
    Switch,
    /// To ask for a key frame.
    KeyFrameRequest {
        /// Encoding of the producer.
        encoding_idx: u16,
        /// Whether a request went out for it. If not, another one was on its way, or its stream has not come yet.
        sent: bool,
    },
    /// To leave out packets of what it sends, or waits for.
    Drop,
    /// Of a transport: to think that more can be sent to the peer than before.
    Raise,
    /// Of a transport: to think that less can be sent.
    Lower,
    /// Of a transport: to send padding for a moment, to see whether more can be sent.
    Probe {
        /// With the media that is sent meanwhile, in bits per second.
        bitrate: u32,
    },
    /// Of a transport: to send no more than so much.
    Limit {
        /// Bits per second, 0 for no limit.
        bitrate: u32,
    },
    /// Of a transport: to share what can be sent in another way among its consumers.
    Allocate,
}

/// What made a decision necessary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DecisionReason {
    /// It became able to send: connected, resumed, or its producer was.
    Started,
    /// It is paused, or its producer, or not connected.
    Stopped,
    /// The parent set preferred layers.
    Preferred,
    /// A stream appeared.
    NewStream,
    /// The score of a stream changed.
    Score,
    /// The first sender report of a stream came.
    Clock,
    /// Other spatial layers of the stream carry something.
    SpatialLayers,
    /// A key frame of the target came.
    KeyFrame,
    /// A frame came with which a receiver can go over to other layers.
    SwitchPoint,
    /// A key frame of the target came after pictures that follow it.
    KeyFrameLate,
    /// Timestamps of a key frame do not fit to what was sent before.
    Timestamps,
    /// The sender began anew.
    SenderRestarted,
    /// The receiver asked.
    Receiver,
    /// The bandwidth of the transport, or of what it sends, is another one.
    Bandwidth,
    /// The parent asked.
    Parent,
    /// Nothing can be decoded before a key frame.
    NoKeyFrame,
    /// Of a layer above those that are sent, or that depends on one; or of a picture from before the first one sent.
    Layer,
    /// Of a codec that the receiver does not understand.
    PayloadType,
    /// Nothing but padding.
    Padding,
    /// From before the last beginning, switch or gap.
    Late,
    /// It was sent before.
    Repeated,
    /// No stream of the producer can be sent.
    NoTarget,
    /// The transport could not send it.
    Transport,
    /// What can be sent is used, and packets do not wait on their way.
    Room,
    /// Packets take longer and longer.
    Delay,
    /// Packets take long, although not longer and longer: a queue stands.
    Queue,
    /// Packets are lost, or are no longer.
    Loss,
    /// A probe measured it.
    Probe,
    /// The receiver has not reported for a while.
    Silence,
    /// The receiver told what it can take (REMB).
    Remb,
    /// Consumers would like to send more than is known to be possible.
    Desired,
}

/// A stream of a producer as a decision saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionStream {
    /// 0 to 10.
    pub score: u8,
    /// Whether a sender report told what time its timestamps mean.
    pub clock: bool,
}

/// The way to a peer as a decision of its transport saw it. Rates are bits per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionBandwidth {
    /// What was thought possible before; of several equal decisions, before the first.
    pub before: u32,
    /// What was thought possible from then on; of several, after the last.
    pub estimate: u32,
    /// What was allowed of that: there may be a limit, and no more is allowed than may ever be of use.
    pub available: u32,
    /// What consumers would have liked to send.
    pub desired: u32,
    /// What they were allowed to.
    pub allocated: u32,
    /// What a probe measured; absent as long as the receiver has not told enough for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<u32>,
    /// From sending a packet to the report about it, in milliseconds, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip: Option<u32>,
    /// Packets lost lately, in percent.
    pub lost: u8,
}
