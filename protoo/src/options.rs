//! Limits and times.

use std::time::Duration;

/// Limits and times of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Largest message that is received, in bytes (default 960,000). A larger one ends the connection (1009).
    pub max_message_size: usize,
    /// Silence after which the other side is pinged (default 60 s).
    pub ping_after: Duration,
    /// How long it may take to answer that (default 10 s).
    pub pong_within: Duration,
    /// How long the closing handshake may take (default 5 s).
    pub close_within: Duration,
    /// Most messages that wait to be sent, and most that wait to be handled (default 10,000). More end the connection.
    pub max_queued_messages: usize,
    /// Most bytes that wait to be sent, and most that wait to be handled (default 4 MiB). More end the connection.
    pub max_queued_bytes: usize,
    /// Texts that are no messages and are dropped, until the connection is ended (default 100).
    pub max_malformed: usize,
    /// How long an answer may take if no other request is pending (default 30 s).
    pub request_timeout: Duration,
    /// How much longer it may take for each pending request (default 0.2 s).
    pub request_timeout_per_pending: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_message_size: 960_000,
            ping_after: Duration::from_secs(60),
            pong_within: Duration::from_secs(10),
            close_within: Duration::from_secs(5),
            max_queued_messages: 10_000,
            max_queued_bytes: 4 << 20,
            max_malformed: 100,
            request_timeout: Duration::from_secs(30),
            request_timeout_per_pending: Duration::from_millis(200),
        }
    }
}

impl Options {
    /// How long the answer to a request may take while `pending` others wait for theirs.
    pub(crate) fn timeout(&self, pending: usize) -> Duration {
        let pending = u32::try_from(pending).unwrap_or(u32::MAX);
        let extra = self.request_timeout_per_pending.saturating_mul(pending);
        self.request_timeout.saturating_add(extra)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_peer_is_given_more_time() {
        let options = Options::default();
        assert_eq!(options.timeout(0), Duration::from_secs(30));
        assert_eq!(options.timeout(5), Duration::from_secs(31));
    }
}
