//! SCTP of transports: settings, and stream ids for what goes out.

use channel_proto::command;
use channel_proto::transport_parameters::NumSctpStreams;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What an endpoint can do with data channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SctpCapabilities {
    /// How many streams it can have.
    pub num_streams: NumSctpStreams,
}

/// SCTP settings of a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SctpOptions {
    /// Numbers of streams (1024 each).
    pub num_streams: NumSctpStreams,
    /// Largest message in bytes, in both directions (262,144).
    pub max_message_size: u32,
    /// Bytes that may wait to be sent (262,144), at most 268,435,456.
    pub send_buffer_size: u32,
}

impl Default for SctpOptions {
    fn default() -> Self {
        Self {
            num_streams: NumSctpStreams { os: 1024, mis: 1024 },
            max_message_size: 262_144,
            send_buffer_size: 262_144,
        }
    }
}

impl SctpOptions {
    /// Settings for a pipe: whatever came in shall go through, so sizes are the largest that are possible.
    pub fn for_pipe() -> Self {
        Self {
            max_message_size: 268_435_456,
            send_buffer_size: 268_435_456,
            ..Self::default()
        }
    }

    pub(crate) fn into_wire(self, is_data_channel: bool) -> command::SctpOptions {
        command::SctpOptions {
            enable_sctp: true,
            num_sctp_streams: self.num_streams,
            max_sctp_message_size: self.max_message_size.into(),
            sctp_send_buffer_size: self.send_buffer_size.into(),
            is_data_channel,
        }
    }
}

/// Which streams data consumers of a transport use.
#[derive(Debug, Default)]
pub(crate) struct StreamIds {
    used: Vec<bool>,
    next: usize,
}

impl StreamIds {
    /// Ids from 0 on, this many.
    pub(crate) fn new(count: u16) -> Self {
        Self {
            used: vec![false; usize::from(count)],
            next: 0,
        }
    }

    /// The next free id, round and round, so that ids rest before they are used again.
    pub(crate) fn take(&mut self) -> Result<u16> {
        let count = self.used.len();
        let free = (self.next..count)
            .chain(0..self.next)
            .find(|id| self.used.get(*id) == Some(&false));
        let Some(id) = free else {
            return Err(Error::Exhausted("no SCTP stream is free".to_owned()));
        };
        self.used[id] = true;
        self.next = (id + 1) % count;
        Ok(id as u16)
    }

    /// An id may be used again.
    pub(crate) fn give_back(&mut self, id: u16) {
        if let Some(used) = self.used.get_mut(usize::from(id)) {
            *used = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_round() {
        let mut ids = StreamIds::new(3);
        assert_eq!([0, 1].map(|_| ids.take().unwrap()), [0, 1]);
        ids.give_back(0);
        assert_eq!([0, 1].map(|_| ids.take().unwrap()), [2, 0]);
        assert!(matches!(ids.take(), Err(Error::Exhausted(_))));
        ids.give_back(1);
        ids.give_back(9);
        assert_eq!(ids.take().unwrap(), 1);
    }

    #[test]
    fn there_may_be_none() {
        assert!(StreamIds::new(0).take().is_err());
    }
}
