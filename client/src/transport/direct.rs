//! Packets to and from this process.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use channel_proto::command::{Command, CreateDirectTransport, PayloadCommand};
use channel_proto::reply::TransportDump;

use super::core::{Core, Kind};
use super::{Transport, sealed};
use crate::app_data::AppData;
use crate::channel::Reply;
use crate::error::Result;
use crate::router::Parts;

/// What a direct transport is created with.
#[derive(Debug, Clone)]
pub struct DirectTransportOptions {
    /// Largest data message in bytes.
    pub max_message_size: u32,
    /// Data of the application.
    pub app_data: AppData,
}

impl Default for DirectTransportOptions {
    fn default() -> Self {
        Self {
            max_message_size: 262_144,
            app_data: AppData::default(),
        }
    }
}

impl DirectTransportOptions {
    pub(crate) fn into_command(self) -> (Command, AppData) {
        let command = Command::RouterCreateDirectTransport(Ok(CreateDirectTransport {
            direct: true,
            max_message_size: self.max_message_size.into(),
        }));
        (command, self.app_data)
    }
}

/// Packets go between this process and the router, without a network.
///
/// Packets are put in with [`Producer::send`](crate::Producer::send) and come out as
/// [`ConsumerEvent::Rtp`](crate::ConsumerEvent::Rtp).
#[derive(Clone)]
pub struct DirectTransport {
    core: Arc<Core>,
}

impl DirectTransport {
    pub(crate) fn from_reply(reply: &Reply, parts: Parts, app_data: AppData) -> Result<Self> {
        let dump: TransportDump = reply.parse()?;
        Ok(Self {
            core: Core::new(parts, Kind::Direct, None, dump.max_message_size, app_data),
        })
    }

    /// Puts an RTCP packet in, as if it had been received. Waits if the worker does not keep up.
    pub async fn send_rtcp(&self, packet: impl Into<Bytes>) -> Result<()> {
        self.core.check_open()?;
        let command = PayloadCommand::TransportSendRtcp(self.core.target.clone());
        self.core.link.send_payload(&command, packet.into()).await
    }
}

impl sealed::HasCore for DirectTransport {
    fn core(&self) -> &Arc<Core> {
        &self.core
    }
}

impl Transport for DirectTransport {}

impl fmt::Debug for DirectTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectTransport")
            .field("id", &self.core.id)
            .finish_non_exhaustive()
    }
}
