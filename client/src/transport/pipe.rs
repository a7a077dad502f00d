//! RTP between two routers.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use channel_proto::command::{Command, Connect, CreatePipeTransport, Field, TransportOptions};
use channel_proto::reply::{Connected, TransportDump, TransportKindDump};
use channel_proto::srtp_parameters::SrtpParameters;
use channel_proto::transport_parameters::{ListenIp, TransportTuple};

use super::core::{Core, Kind};
use super::sctp::SctpOptions;
use super::{Transport, sealed};
use crate::app_data::AppData;
use crate::channel::Reply;
use crate::error::Result;
use crate::router::Parts;
use crate::sync::Lock;

/// What a pipe transport is created with.
#[derive(Debug, Clone)]
pub struct PipeTransportOptions {
    /// Address to listen on.
    pub listen_ip: ListenIp,
    /// Port to listen on; one of the worker's range if not given.
    pub port: Option<u16>,
    /// SCTP, if data is to be piped. [`SctpOptions::for_pipe`] has buffers that suit a pipe.
    pub sctp: Option<SctpOptions>,
    /// Whether lost packets are sent again. Not needed where none get lost, as on one host.
    pub enable_rtx: bool,
    /// Whether packets are encrypted.
    pub enable_srtp: bool,
    /// Data of the application.
    pub app_data: AppData,
}

impl PipeTransportOptions {
    /// A transport on an address, with the defaults for everything else.
    pub fn new(listen_ip: impl Into<IpAddr>) -> Self {
        Self {
            listen_ip: ListenIp {
                ip: listen_ip.into(),
                announced_ip: None,
            },
            port: None,
            sctp: None,
            enable_rtx: false,
            enable_srtp: false,
            app_data: AppData::default(),
        }
    }

    pub(crate) fn into_command(self) -> (Command, AppData) {
        let command = Command::RouterCreatePipeTransport(Ok(CreatePipeTransport {
            listen_ip: self.listen_ip,
            port: self.port,
            enable_rtx: self.enable_rtx,
            enable_srtp: self.enable_srtp,
            options: TransportOptions {
                initial_available_outgoing_bitrate: None,
                sctp: self.sctp.map(|sctp| sctp.into_wire(false)),
            },
        }));
        (command, self.app_data)
    }
}

/// Where the other end of a pipe is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipeConnectOptions {
    /// Its address.
    pub ip: IpAddr,
    /// Its port.
    pub port: u16,
    /// Its key, with SRTP.
    pub srtp_parameters: Option<SrtpParameters>,
}

/// RTP between two routers, on one host or on two. Its consumers get all streams of a producer.
///
/// Between routers that this process drives, [`Router::pipe_producer_to_router`](crate::Router::pipe_producer_to_router)
/// does all that is needed.
#[derive(Clone)]
pub struct PipeTransport {
    core: Arc<Core>,
    state: Arc<Lock<PipeState>>,
}

/// What is special about a pipe transport.
#[derive(Debug, Clone)]
pub(crate) struct PipeState {
    tuple: TransportTuple,
    pub(crate) rtx: bool,
    srtp_parameters: Option<SrtpParameters>,
}

impl PipeTransport {
    pub(crate) fn from_reply(reply: &Reply, parts: Parts, app_data: AppData) -> Result<Self> {
        let mut dump: TransportDump = reply.parse()?;
        let sctp = dump.sctp.take();
        let TransportKindDump::Pipe {
            tuple,
            rtx,
            srtp_parameters,
        } = dump.kind
        else {
            return Err(reply.error("not a pipe transport"));
        };
        let state = Arc::new(Lock::new(PipeState {
            tuple,
            rtx,
            srtp_parameters,
        }));
        let kind = Kind::Pipe(Arc::clone(&state));
        Ok(Self {
            core: Core::new(parts, kind, sctp, dump.max_message_size, app_data),
            state,
        })
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Its address, and that of the other end once it is connected.
    pub fn tuple(&self) -> TransportTuple {
        self.state.lock().tuple.clone()
    }

    /// Whether lost packets are sent again.
    pub fn rtx(&self) -> bool {
        self.state.lock().rtx
    }

    /// The key with which this side sends, with SRTP.
    pub fn srtp_parameters(&self) -> Option<SrtpParameters> {
        self.state.lock().srtp_parameters.clone()
    }

    /// Tells where the other end is. Once only.
    pub async fn connect(&self, options: PipeConnectOptions) -> Result<()> {
        let command = Command::TransportConnect(Ok(Connect {
            srtp_parameters: options.srtp_parameters.map_or(Field::Absent, Field::Present),
            ip: Field::Present(options.ip),
            port: Field::Present(options.port),
            ..Connect::default()
        }));
        let state = Arc::clone(&self.state);
        self.core
            .request(command, move |reply| {
                if let Some(tuple) = reply.parse::<Connected>()?.tuple {
                    state.lock().tuple = tuple;
                }
                Ok(())
            })
            .await
    }
}

impl sealed::HasCore for PipeTransport {
    fn core(&self) -> &Arc<Core> {
        &self.core
    }
}

impl Transport for PipeTransport {}

impl fmt::Debug for PipeTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipeTransport")
            .field("id", &self.core.id)
            .finish_non_exhaustive()
    }
}
