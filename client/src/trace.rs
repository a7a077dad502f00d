//! What can be traced.

use channel_proto::command::TraceEventTypes;

/// What transports trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransportTraceType {
    /// Packets sent only to probe for bandwidth.
    Probation,
    /// Estimations of the bandwidth.
    Bwe,
}

impl TransportTraceType {
    fn name(self) -> &'static str {
        match self {
            Self::Probation => "probation",
            Self::Bwe => "bwe",
        }
    }

    pub(crate) fn names(types: &[Self]) -> TraceEventTypes {
        names(types.iter().map(|wanted| wanted.name()))
    }
}

/// What producers and consumers trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TraceType {
    /// Media packets.
    Rtp,
    /// Packets with which a key frame begins.
    KeyFrame,
    /// Requests for lost packets.
    Nack,
    /// Requests for a key frame (picture loss indications).
    Pli,
    /// Requests for a key frame (full intra requests).
    Fir,
}

impl TraceType {
    fn name(self) -> &'static str {
        match self {
            Self::Rtp => "rtp",
            Self::KeyFrame => "keyframe",
            Self::Nack => "nack",
            Self::Pli => "pli",
            Self::Fir => "fir",
        }
    }

    pub(crate) fn names(types: &[Self]) -> TraceEventTypes {
        names(types.iter().map(|wanted| wanted.name()))
    }
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> TraceEventTypes {
    TraceEventTypes {
        types: names.map(str::to_owned).collect(),
    }
}
