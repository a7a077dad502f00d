//! The SCTP association of a transport: what is told of it, and which streams data producers read.

use std::collections::BTreeMap;

use channel_proto::command::SctpOptions;
use channel_proto::reply::{SctpDump, SctpListenerDump};
use channel_proto::transport_parameters::{SctpParameters, SctpState};
use rand::RngCore;
use slotmap::SlotMap;

use super::DataProducer;
use crate::engine::keys::DataProducerKey;
use crate::sctp::chunks::PORT;
use crate::sctp::{Association, Settings, State};

/// Streams that are added at a time when a data consumer needs more.
const MORE_STREAMS: u16 = 32;
/// Messages up to this size can be received whatever the parent asked for, in bytes: one that does not fit the window
/// would never be complete.
const MAX_MESSAGE_SIZE: u64 = 16 * 1024 * 1024;

/// The association of a transport.
#[derive(Debug)]
pub struct Sctp {
    /// The protocol.
    pub association: Association,
    /// Data producers by the stream they read.
    pub streams: BTreeMap<u16, DataProducerKey>,
    /// Bytes that waited when the parent last learnt of it.
    pub told: usize,
    /// When the association will be woken.
    pub wake: Option<u64>,
    options: SctpOptions,
    /// Outgoing streams, as dumped.
    outgoing: u16,
}

impl Sctp {
    /// An association that has not been started.
    pub fn new(options: SctpOptions, over_dtls: bool, now: u64, rng: &mut dyn RngCore) -> Self {
        let mut secret = [0; 32];
        rng.fill_bytes(&mut secret);
        let settings = Settings {
            max_message_size: options.max_sctp_message_size.min(MAX_MESSAGE_SIZE) as usize,
            send_buffer_size: options.sctp_send_buffer_size as usize,
            over_dtls,
            secret,
            seed: rng.next_u64(),
        };
        Self {
            association: Association::new(settings, now),
            streams: BTreeMap::new(),
            told: 0,
            wake: None,
            options,
            outgoing: options.num_sctp_streams.os,
        }
    }

    /// Whether streams are WebRTC data channels, which are closed in both directions.
    pub fn is_data_channel(&self) -> bool {
        self.options.is_data_channel
    }

    /// Longest message in bytes, as the parent asked for.
    pub fn max_message_size(&self) -> u64 {
        self.options.max_sctp_message_size
    }

    /// State as parents know it.
    pub fn state(&self) -> SctpState {
        match self.association.state() {
            State::New => SctpState::New,
            State::Connecting => SctpState::Connecting,
            State::Connected => SctpState::Connected,
            State::Failed => SctpState::Failed,
            State::Closed => SctpState::Closed,
        }
    }

    /// Bytes that wait to be acknowledged.
    pub fn buffered(&self) -> u32 {
        u32::try_from(self.association.buffered_amount()).unwrap_or(u32::MAX)
    }

    /// The same, for the parent: from now on it is to learn when that has become less.
    pub fn tell_buffered(&mut self) -> u32 {
        self.told = self.association.buffered_amount();
        self.buffered()
    }

    /// The association is up: streams are what both sides have.
    pub fn negotiated(&mut self) {
        if let Some(streams) = self.association.outgoing_streams() {
            self.outgoing = self.outgoing.min(streams);
        }
    }

    /// A data consumer writes this stream. The association has all streams that the peer takes from the start; what
    /// parents see grows in steps.
    pub fn use_stream(&mut self, stream: u16) {
        let Some(limit) = self.association.outgoing_streams() else {
            return;
        };
        while self.outgoing <= stream && self.outgoing < limit {
            self.outgoing = self.outgoing.saturating_add(MORE_STREAMS).min(limit);
        }
    }

    /// As dumped.
    pub fn dump(&self, producers: &SlotMap<DataProducerKey, DataProducer>) -> SctpDump {
        let ids = self.streams.iter().filter_map(|(stream, key)| {
            let producer = producers.get(*key)?;
            Some((*stream, producer.id.clone()))
        });
        SctpDump {
            sctp_parameters: SctpParameters {
                port: PORT,
                os: self.outgoing,
                mis: self.options.num_sctp_streams.mis,
                max_message_size: self.options.max_sctp_message_size,
                send_buffer_size: self.options.sctp_send_buffer_size,
                sctp_buffered_amount: self.buffered(),
                is_data_channel: self.options.is_data_channel,
            },
            sctp_state: self.state(),
            sctp_listener: SctpListenerDump {
                stream_id_table: ids.collect(),
            },
        }
    }
}
