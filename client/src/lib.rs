//! Drives a Sluice worker: starts its process and mirrors what lives in it.
//!
//! ```text
//! Worker                a process, with two channels to it
//! └─ Router             a room; knows which codecs may be forwarded in it
//!    ├─ PlainTransport  RTP over UDP
//!    └─ DirectTransport packets to and from this process
//!       ├─ Producer     media coming in
//!       └─ Consumer     media going out, of one producer of the same router
//! ```
//!
//! Handles are cheap to clone. Parents keep their children alive and close them when they are closed themselves; nothing
//! is closed by dropping a handle, except the worker: its process ends with the last [`Worker`]. All objects tell what
//! happens to them by [`events`].
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
//! What goes between peers with different abilities is decided by [`ortc`]: pure functions that need no worker.

mod app_data;
mod channel;
mod consumer;
mod error;
pub mod events;
pub mod ortc;
mod process;
mod producer;
mod router;
mod rtp_capabilities;
mod sync;
mod transport;
mod worker;

pub use channel_proto::command::{LogLevel, UpdateSettings};
pub use channel_proto::event::{ProducerScore, Trace, VideoOrientation};
pub use channel_proto::reply::{
    ConsumerDump, ConsumerScore, ProducerDump, ResourceUsage, RouterDump, RtpStreamStats, TransportDump,
    TransportStats, WorkerDump,
};
pub use channel_proto::rtp_parameters::{
    ConsumerLayers, ConsumerType, MediaKind, ParameterValue, ProducerType, RtcpFeedback, RtcpParameters,
    RtpCodecParameters, RtpEncodingParameters, RtpHeaderExtensionParameters, RtpParameters, RtxParameters,
};
pub use channel_proto::srtp_parameters::{SrtpCryptoSuite, SrtpParameters};
pub use channel_proto::transport_parameters::{ListenIp, Protocol, TransportTuple};

pub use app_data::AppData;
pub use consumer::{Consumer, ConsumerOptions};
pub use error::{Error, ErrorKind, Exit, Result};
pub use events::{CloseReason, ConsumerEvent, Events, ProducerEvent, RouterEvent, TransportEvent, WorkerEvent};
pub use ortc::{parse_scalability_mode, supported_rtp_capabilities};
pub use producer::{Producer, ProducerOptions};
pub use router::{Router, RouterOptions};
pub use rtp_capabilities::{
    Parameter, RtpCapabilities, RtpCodecCapability, RtpHeaderExtension, RtpHeaderExtensionDirection,
};
pub use transport::{
    AnyTransport, DirectTransport, DirectTransportOptions, PlainConnectOptions, PlainTransport, PlainTransportOptions,
    Transport,
};
pub use worker::{Worker, WorkerSettings};

/// Version of this library.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A fresh id for an object.
fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// The example of the README, kept compiling.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
