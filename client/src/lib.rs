//! Drives a Sluice worker: starts its process and mirrors what lives in it.
//!
//! ```text
//! Worker                      a process, with two channels to it
//! ├─ WebRtcServer             sockets that WebRTC transports share
//! └─ Router                   a room; knows which codecs may be forwarded in it
//!    ├─ WebRtcTransport       a browser
//!    ├─ PlainTransport        RTP over UDP
//!    ├─ PipeTransport         another router
//!    ├─ DirectTransport       packets to and from this process
//!    │  ├─ Producer           media coming in
//!    │  ├─ Consumer           media going out, of one producer of the same router
//!    │  ├─ DataProducer       messages coming in
//!    │  └─ DataConsumer       messages going out, of one data producer of the same router
//!    ├─ AudioLevelObserver    tells who is loudest
//!    └─ ActiveSpeakerObserver tells who speaks
//! ```
//!
//! It runs on Tokio, in whichever of its flavours, and starts a few tasks for each worker. No method holds a lock while it
//! waits, and none calls back into the application: what happens is told by [`events`].
//!
//! ```no_run
//! use client::{PlainTransportOptions, RouterOptions, RtpCodecCapability, Transport, Worker, WorkerSettings};
//!
//! # async fn example() -> client::Result<()> {
//! let worker = Worker::new(WorkerSettings::default()).await?;
//! let router = worker
//!     .create_router(RouterOptions::new(vec![
//!         RtpCodecCapability::audio("audio/opus", 48_000, 2),
//!         RtpCodecCapability::video("video/VP8"),
//!     ]))
//!     .await?;
//! let transport = router.create_plain_transport(PlainTransportOptions::new([127, 0, 0, 1])).await?;
//! println!("send RTP to port {}", transport.tuple().local_port);
//! transport.close();
//! # Ok(())
//! # }
//! ```
//!
//! A browser needs a [`WebRtcTransport`], whose parameters and whose own the application carries back and forth:
//!
//! ```no_run
//! use client::{DtlsParameters, Router, SctpOptions, Transport, TransportEvent, WebRtcTransportOptions};
//!
//! # async fn example(router: Router, of_the_browser: DtlsParameters) -> client::Result<()> {
//! let transport = router
//!     .create_web_rtc_transport(WebRtcTransportOptions {
//!         sctp: Some(SctpOptions::default()),
//!         ..WebRtcTransportOptions::new([127, 0, 0, 1])
//!     })
//!     .await?;
//! let for_the_browser = (
//!     transport.id(),
//!     transport.ice_parameters(),
//!     transport.ice_candidates(),
//!     transport.dtls_parameters(),
//!     transport.sctp_parameters(),
//! );
//! println!("{for_the_browser:?}");
//! transport.connect(of_the_browser).await?;
//! let mut events = transport.events();
//! while let Some(event) = events.recv().await {
//!     if let TransportEvent::DtlsStateChange(state) = event {
//!         println!("DTLS is {state:?}");
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Rooms grow beyond one worker by pipes: see [`Router::pipe_producer_to_router`]. What goes between peers with different
//! abilities is decided by [`ortc`]: pure functions that need no worker.
//!
//! # What ends, and when
//!
//! Handles are cheap to clone, and all clones are the same object. What dropping does:
//!
//! | Dropped | Effect |
//! |---|---|
//! | the last [`Worker`] | like [`Worker::close`]: all in it is closed, its process is asked to end, and killed after two seconds |
//! | a handle of anything else | none: parents keep their children alive until somebody calls `close()` |
//! | [`Events`] | this subscriber is gone, others are not disturbed |
//! | the future of a request | the answer is ignored; what was asked for may happen nevertheless |
//! | the future of a method that creates | what it was about to create is closed, also if it just had been |
//! | the Tokio runtime | the processes of all its workers are killed |
//!
//! `close()` never waits and never fails; closing again does nothing. With an object, all that it holds is closed at once,
//! and each says so by its last event with a [`CloseReason`]:
//!
//! | Closed | Ends with it |
//! |---|---|
//! | [`Worker`], or its process died | routers and WebRtcServers (`WorkerClosed`), and all that they hold |
//! | [`WebRtcServer`] | its transports (`ListenServerClosed`) |
//! | [`Router`] | its transports and observers (`RouterClosed`); pipe transports at the other ends of its pipes |
//! | a [`Transport`] | what is produced and consumed there (`TransportClosed`), and elsewhere the consumers of its producers |
//! | [`Producer`], [`DataProducer`] | its consumers, on whichever transport (`ProducerClosed`, `DataProducerClosed`): soon, since the worker tells |
//!
//! A worker that dies fails all requests that wait for it at once. Its last event is [`WorkerEvent::Died`], after those of
//! all that it held; [`Worker::wait`] returns how it ended, in both cases. An application that cannot go on without it may
//! end then, or start another one:
//!
//! ```no_run
//! use client::{Worker, WorkerEvent, WorkerSettings};
//!
//! # async fn example() -> client::Result<()> {
//! loop {
//!     let worker = Worker::new(WorkerSettings::default()).await?;
//!     let mut events = worker.events();
//!     while let Some(event) = events.recv().await {
//!         if let WorkerEvent::Died(exit) = event {
//!             eprintln!("{exit}; starting another one");
//!         }
//!     }
//! }
//! # }
//! ```
//!
//! # Errors
//!
//! There is one type, [`Error`]. [`Error::kind`] sorts what can go wrong into the classes that applications tell apart: an
//! argument is wrong, something is not supported, an object is closed, and the rest. Arguments are checked before anything
//! is sent wherever that is possible; what the worker refuses is [`Error::Worker`] with its words. All methods of a closed
//! object fail with [`ErrorKind::InvalidState`], and what it was last is still there to be read.
//!
//! # Coming from the library for Node
//!
//! Names are the same in the manner of Rust, and so are options, their defaults, and what is refused. These differ:
//!
//! | There | Here |
//! |---|---|
//! | `createWorker()` | [`Worker::new`] |
//! | an object's events and those of its `observer` | one stream, [`Events`]; each subscriber has its own, and it ends with a closing event |
//! | `workerclose`, `routerclose`, `transportclose`, `producerclose` …, `observer.on('close')` | `Closed` with a [`CloseReason`], also after the object's own `close()` |
//! | `died`, `subprocessclose` | [`WorkerEvent::Died`], [`Worker::wait`] |
//! | `observer.on('newworker')` | [`new_workers`] |
//! | `appData` | [`AppData`]: any type, with a mutex inside if it is to change |
//! | `pipeToRouter()` | [`Router::pipe_producer_to_router`], [`Router::pipe_data_producer_to_router`]; what is piped is not piped again |
//! | `enableTraceEvent(['rtp'])` | [`TraceType`], [`TransportTraceType`] |
//! | `enableSrtp` and `srtpCryptoSuite`, `enableSctp` and its settings | one option each, absent or with its settings |
//! | `directTransport.connect()` | there is nothing to connect |
//! | requests that wait for ever | fail after [`WorkerSettings::request_timeout`] |
//! | `MEDIASOUP_BUILDTYPE` | the worker beside this program is of the same build |

mod app_data;
mod channel;
mod consumer;
mod data;
mod error;
pub mod events;
mod hooks;
mod observers;
pub mod ortc;
mod pipe;
mod process;
mod producer;
mod router;
mod rtp_capabilities;
mod sync;
mod trace;
mod transport;
mod webrtc_server;
mod worker;

#[cfg(test)]
mod tests;

pub use channel_proto::command::{DataType, LogLevel, UpdateSettings};
pub use channel_proto::event::{
    BandwidthInfo, BweType, PacketInfo, ProducerScore, Trace, TraceDirection, TraceInfo, VideoOrientation,
};
pub use channel_proto::reply::{
    BoundAddress, ConsumerDump, ConsumerLayersDump, ConsumerScore, DataConsumerDump, DataConsumerStats,
    DataProducerDump, DataProducerStats, Decision, DecisionBandwidth, DecisionKind, DecisionReason, DecisionStream,
    FailureKind, PacingDump, ProducerDump, RecvRtpHeaderExtensions, ResourceUsage, RouterDump, RtpListenerDump,
    RtpStreamDump, RtpStreamParams, RtpStreamStats, RtxStreamDump, RtxStreamParams, SctpDump, SctpListenerDump,
    TransportDump, TransportKindDump, TransportStats, TupleOwner, UsernameFragmentOwner, WebRtcServerDump, WorkerDump,
};
pub use channel_proto::rtp_parameters::{
    CodecMapping, ConsumerLayers, ConsumerType, EncodingMapping, MediaKind, ParameterValue, ProducerType, RtcpFeedback,
    RtcpParameters, RtpCodecParameters, RtpEncodingParameters, RtpHeaderExtensionParameters, RtpMapping, RtpParameters,
    RtxParameters, ScalabilityLayers,
};
pub use channel_proto::srtp_parameters::{SrtpCryptoSuite, SrtpParameters};
pub use channel_proto::transport_parameters::{
    DtlsFingerprint, DtlsParameters, DtlsRole, DtlsState, FingerprintAlgorithm, IceCandidate, IceCandidateTcpType,
    IceCandidateType, IceParameters, IceRole, IceState, ListenInfo, ListenIp, NumSctpStreams, Protocol, SctpParameters,
    SctpState, SctpStreamParameters, TransportTuple,
};

pub use app_data::AppData;
pub use consumer::{Consumer, ConsumerOptions};
pub use data::{DataConsumer, DataConsumerOptions, DataMessage, DataProducer, DataProducerOptions};
pub use error::{Error, ErrorKind, Exit, Result};
pub use events::{
    CloseReason, ConsumerEvent, DataConsumerEvent, DataProducerEvent, Events, ProducerEvent, RouterEvent,
    RtpObserverEvent, TransportEvent, WebRtcServerEvent, WorkerEvent,
};
pub use observers::{
    ActiveSpeakerObserver, ActiveSpeakerObserverOptions, AnyRtpObserver, AudioLevelObserver, AudioLevelObserverOptions,
    RtpObserver, Volume,
};
pub use ortc::{parse_scalability_mode, supported_rtp_capabilities};
pub use pipe::{PipeToRouterOptions, PipedDataProducer, PipedProducer};
pub use producer::{Producer, ProducerOptions};
pub use router::{Router, RouterOptions};
pub use rtp_capabilities::{
    Parameter, RtpCapabilities, RtpCodecCapability, RtpHeaderExtension, RtpHeaderExtensionDirection,
};
pub use trace::{TraceType, TransportTraceType};
pub use transport::{
    AnyTransport, DirectTransport, DirectTransportOptions, PipeConnectOptions, PipeTransport, PipeTransportOptions,
    PlainConnectOptions, PlainTransport, PlainTransportOptions, SctpCapabilities, SctpOptions, Transport, WebRtcListen,
    WebRtcTransport, WebRtcTransportOptions,
};
pub use webrtc_server::{WebRtcServer, WebRtcServerOptions};
pub use worker::{Worker, WorkerSettings, new_workers};

/// Version of this library.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A fresh id for an object.
fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Objects whose creation nobody waited for are closed.
macro_rules! created {
    ($($object:ty),*) => {
        $(impl channel::Created for $object {
            fn abandon(self) {
                self.close();
            }
        })*
    };
}

created!(
    ActiveSpeakerObserver,
    AudioLevelObserver,
    Consumer,
    DataConsumer,
    DataProducer,
    DirectTransport,
    PipeTransport,
    PlainTransport,
    Producer,
    Router,
    WebRtcServer,
    WebRtcTransport
);

/// The example of the README, kept compiling.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
