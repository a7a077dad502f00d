//! Why a consumer sends what it sends.

use serde::{Deserialize, Serialize};

use crate::rtp_parameters::ConsumerLayers;

/// A decision of a consumer, or several equal ones with less than a second between them.
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
    /// The first four streams of the producer as they were, null for those of which nothing had come.
    pub streams: Vec<Option<DecisionStream>>,
}

/// What a consumer decided.
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
}

/// A stream of a producer as a decision saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionStream {
    /// 0 to 10.
    pub score: u8,
    /// Whether a sender report told what time its timestamps mean.
    pub clock: bool,
}
