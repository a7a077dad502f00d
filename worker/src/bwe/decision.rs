//! What is decided about a path, for whoever keeps it.

use channel_proto::reply::{DecisionBandwidth, DecisionKind, DecisionReason};

/// A decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// What was decided.
    pub what: DecisionKind,
    /// What made it necessary.
    pub why: DecisionReason,
    /// What was known then. With what a probe measured, it belongs to the decision to send that.
    pub facts: DecisionBandwidth,
}
