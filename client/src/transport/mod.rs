//! Ways into and out of a router.

mod core;
mod data;
mod direct;
mod pipe;
mod plain;
mod sctp;
mod webrtc;

use std::sync::Arc;

use channel_proto::command::{Command, MaxBitrate};
use channel_proto::reply::{TransportDump, TransportStats};
use channel_proto::transport_parameters::{SctpParameters, SctpState};

pub use direct::{DirectTransport, DirectTransportOptions};
pub use pipe::{PipeConnectOptions, PipeTransport, PipeTransportOptions};
pub use plain::{PlainConnectOptions, PlainTransport, PlainTransportOptions};

pub use sctp::{SctpCapabilities, SctpOptions};
pub use webrtc::{WebRtcListen, WebRtcTransport, WebRtcTransportOptions};

pub(crate) use self::core::Core;

use crate::app_data::AppData;
use crate::error::Result;
use crate::events::{Events, TransportEvent};
use crate::trace::TransportTraceType;
use crate::{Consumer, ConsumerOptions, Producer, ProducerOptions};
use crate::{DataConsumer, DataConsumerOptions, DataProducer, DataProducerOptions};

mod sealed {
    pub trait HasCore {
        fn core(&self) -> &std::sync::Arc<super::core::Core>;
    }
}

/// What all transports have in common.
pub trait Transport: sealed::HasCore + Sync {
    /// Its id.
    fn id(&self) -> &str {
        &self.core().id
    }

    /// Data of the application.
    fn app_data(&self) -> &AppData {
        &self.core().app_data
    }

    /// Whether it is closed.
    fn is_closed(&self) -> bool {
        self.core().is_closed()
    }

    /// What happens to it.
    fn events(&self) -> Events<TransportEvent> {
        self.core().events.subscribe()
    }

    /// The producers on it now.
    fn producers(&self) -> Vec<Producer> {
        self.core().producers()
    }

    /// The consumers on it now.
    fn consumers(&self) -> Vec<Consumer> {
        self.core().consumers()
    }

    /// The data producers on it now.
    fn data_producers(&self) -> Vec<DataProducer> {
        self.core().data_producers()
    }

    /// The data consumers on it now.
    fn data_consumers(&self) -> Vec<DataConsumer> {
        self.core().data_consumers()
    }

    /// SCTP parameters for the peer, with SCTP.
    fn sctp_parameters(&self) -> Option<SctpParameters> {
        self.core().sctp_parameters
    }

    /// How far the SCTP association has come, with SCTP.
    fn sctp_state(&self) -> Option<SctpState> {
        self.core().sctp_state()
    }

    /// Closes it with all that it holds.
    fn close(&self) {
        self.core().end(crate::CloseReason::Requested);
    }

    /// The worker's view of it.
    fn dump(&self) -> impl Future<Output = Result<TransportDump>> + Send {
        self.core().request(Command::TransportDump, |reply| reply.parse())
    }

    /// Its counters.
    fn get_stats(&self) -> impl Future<Output = Result<Vec<TransportStats>>> + Send {
        self.core().request(Command::TransportGetStats, |reply| reply.parse())
    }

    /// Limits what the peer sends, in bits per second; 0 lifts the limit. Not on direct transports.
    fn set_max_incoming_bitrate(&self, bitrate: u32) -> impl Future<Output = Result<()>> + Send {
        self.core()
            .set_bitrate(Command::TransportSetMaxIncomingBitrate(Ok(MaxBitrate { bitrate })))
    }

    /// Limits what is sent to the peer, in bits per second. Not on direct transports.
    fn set_max_outgoing_bitrate(&self, bitrate: u32) -> impl Future<Output = Result<()>> + Send {
        self.core()
            .set_bitrate(Command::TransportSetMaxOutgoingBitrate(Ok(MaxBitrate { bitrate })))
    }

    /// Chooses what is traced, instead of what was before; nothing if the list is empty.
    fn enable_trace_event(&self, types: &[TransportTraceType]) -> impl Future<Output = Result<()>> + Send {
        let types = TransportTraceType::names(types);
        self.core()
            .request(Command::TransportEnableTraceEvent(Ok(types)), |_| Ok(()))
    }

    /// Announces media that the peer sends.
    fn produce(&self, options: ProducerOptions) -> impl Future<Output = Result<Producer>> + Send {
        Core::produce(self.core(), options)
    }

    /// Sends media of a producer to the peer. On a pipe transport, all its streams and whatever the other end can do:
    /// see [`ConsumerOptions::for_pipe`].
    fn consume(&self, options: ConsumerOptions) -> impl Future<Output = Result<Consumer>> + Send {
        Core::consume(self.core(), options)
    }

    /// Announces data that the peer sends, or this process on a direct transport.
    fn produce_data(&self, options: DataProducerOptions) -> impl Future<Output = Result<DataProducer>> + Send {
        Core::produce_data(self.core(), options)
    }

    /// Sends data of a data producer to the peer, or to this process on a direct transport.
    fn consume_data(&self, options: DataConsumerOptions) -> impl Future<Output = Result<DataConsumer>> + Send {
        Core::consume_data(self.core(), options)
    }
}

/// A transport of any kind.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum AnyTransport {
    /// ICE, DTLS and SRTP.
    WebRtc(WebRtcTransport),
    /// RTP over UDP.
    Plain(PlainTransport),
    /// RTP between two routers.
    Pipe(PipeTransport),
    /// Packets to and from this process.
    Direct(DirectTransport),
}

impl sealed::HasCore for AnyTransport {
    fn core(&self) -> &Arc<Core> {
        match self {
            Self::WebRtc(transport) => transport.core(),
            Self::Plain(transport) => transport.core(),
            Self::Pipe(transport) => transport.core(),
            Self::Direct(transport) => transport.core(),
        }
    }
}

impl Transport for AnyTransport {}

impl AnyTransport {
    pub(crate) fn core(&self) -> &Arc<Core> {
        sealed::HasCore::core(self)
    }
}

impl From<WebRtcTransport> for AnyTransport {
    fn from(transport: WebRtcTransport) -> Self {
        Self::WebRtc(transport)
    }
}

impl From<PipeTransport> for AnyTransport {
    fn from(transport: PipeTransport) -> Self {
        Self::Pipe(transport)
    }
}

impl From<PlainTransport> for AnyTransport {
    fn from(transport: PlainTransport) -> Self {
        Self::Plain(transport)
    }
}

impl From<DirectTransport> for AnyTransport {
    fn from(transport: DirectTransport) -> Self {
        Self::Direct(transport)
    }
}
