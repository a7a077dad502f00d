//! RTP over UDP.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use channel_proto::command::{Command, Connect, CreatePlainTransport, Field, TransportOptions};
use channel_proto::reply::{Connected, TransportDump, TransportKindDump};
use channel_proto::srtp_parameters::{SrtpCryptoSuite, SrtpParameters};
use channel_proto::transport_parameters::{ListenIp, TransportTuple};

use super::core::{Core, Kind};
use super::sctp::SctpOptions;
use super::{Transport, sealed};
use crate::app_data::AppData;
use crate::channel::Reply;
use crate::error::Result;
use crate::router::Parts;
use crate::sync::Lock;

/// What a plain transport is created with.
#[derive(Debug, Clone)]
pub struct PlainTransportOptions {
    /// Address to listen on.
    pub listen_ip: ListenIp,
    /// Port to listen on; one of the worker's range if not given.
    pub port: Option<u16>,
    /// Whether RTCP uses the port of RTP (the default) or one of its own.
    pub rtcp_mux: bool,
    /// Whether the peer's address is learnt from its first packet instead of [`PlainTransport::connect`].
    pub comedia: bool,
    /// The suite of SRTP, if it is to be used.
    pub srtp_crypto_suite: Option<SrtpCryptoSuite>,
    /// SCTP, if data is to be sent or received.
    pub sctp: Option<SctpOptions>,
    /// Data of the application.
    pub app_data: AppData,
}

impl PlainTransportOptions {
    /// A transport on an address, with the defaults for everything else.
    pub fn new(listen_ip: impl Into<IpAddr>) -> Self {
        Self {
            listen_ip: ListenIp {
                ip: listen_ip.into(),
                announced_ip: None,
            },
            port: None,
            rtcp_mux: true,
            comedia: false,
            srtp_crypto_suite: None,
            sctp: None,
            app_data: AppData::default(),
        }
    }

    pub(crate) fn into_command(self) -> (Command, AppData) {
        let command = Command::RouterCreatePlainTransport(Ok(CreatePlainTransport {
            listen_ip: self.listen_ip,
            port: self.port,
            rtcp_mux: self.rtcp_mux,
            comedia: self.comedia,
            enable_srtp: self.srtp_crypto_suite.is_some(),
            srtp_crypto_suite: self.srtp_crypto_suite,
            options: TransportOptions {
                initial_available_outgoing_bitrate: None,
                sctp: self.sctp.map(|sctp| sctp.into_wire(false)),
            },
        }));
        (command, self.app_data)
    }
}

/// Where the peer of a plain transport is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlainConnectOptions {
    /// Its address, unless that is learnt.
    pub ip: Option<IpAddr>,
    /// Its RTP port, unless that is learnt.
    pub port: Option<u16>,
    /// Its RTCP port, if RTCP has one of its own and that is not learnt.
    pub rtcp_port: Option<u16>,
    /// Its key, with SRTP.
    pub srtp_parameters: Option<SrtpParameters>,
}

/// RTP over UDP with a peer that does neither ICE nor DTLS.
#[derive(Clone)]
pub struct PlainTransport {
    core: Arc<Core>,
    state: Arc<Lock<PlainState>>,
}

/// What is special about a plain transport.
#[derive(Debug, Clone)]
pub(crate) struct PlainState {
    rtcp_mux: bool,
    comedia: bool,
    pub(crate) tuple: TransportTuple,
    pub(crate) rtcp_tuple: Option<TransportTuple>,
    srtp_parameters: Option<SrtpParameters>,
}

impl PlainTransport {
    pub(crate) fn from_reply(reply: &Reply, parts: Parts, app_data: AppData) -> Result<Self> {
        let mut dump: TransportDump = reply.parse()?;
        let sctp = dump.sctp.take();
        let TransportKindDump::Plain {
            rtcp_mux,
            comedia,
            tuple,
            rtcp_tuple,
            srtp_parameters,
        } = dump.kind
        else {
            return Err(reply.error("not a plain transport"));
        };
        let state = PlainState {
            rtcp_mux,
            comedia,
            tuple,
            rtcp_tuple,
            srtp_parameters,
        };
        let state = Arc::new(Lock::new(state));
        let kind = Kind::Plain(Arc::clone(&state));
        Ok(Self {
            core: Core::new(parts, kind, sctp, dump.max_message_size, app_data),
            state,
        })
    }

    fn read<T>(&self, read: impl FnOnce(&PlainState) -> T) -> T {
        read(&self.state.lock())
    }

    /// Whether RTCP uses the port of RTP.
    pub fn rtcp_mux(&self) -> bool {
        self.read(|state| state.rtcp_mux)
    }

    /// Whether the peer's address is learnt from its first packet.
    pub fn comedia(&self) -> bool {
        self.read(|state| state.comedia)
    }

    /// The address of RTP, and the peer's once it is known.
    pub fn tuple(&self) -> TransportTuple {
        self.read(|state| state.tuple.clone())
    }

    /// The address of RTCP, if it has one of its own.
    pub fn rtcp_tuple(&self) -> Option<TransportTuple> {
        self.read(|state| state.rtcp_tuple.clone())
    }

    /// The key with which this side sends, with SRTP.
    pub fn srtp_parameters(&self) -> Option<SrtpParameters> {
        self.read(|state| state.srtp_parameters.clone())
    }

    /// Tells where the peer is. Once only; not at all if its address is learnt and there is no SRTP.
    pub async fn connect(&self, options: PlainConnectOptions) -> Result<()> {
        fn field<T>(value: Option<T>) -> Field<T> {
            value.map_or(Field::Absent, Field::Present)
        }
        let command = Command::TransportConnect(Ok(Connect {
            dtls_parameters: Field::Absent,
            srtp_parameters: field(options.srtp_parameters),
            ip: field(options.ip),
            port: field(options.port),
            rtcp_port: field(options.rtcp_port),
        }));
        let state = Arc::clone(&self.state);
        self.core
            .request(command, move |reply| {
                let Connected {
                    tuple,
                    rtcp_tuple,
                    srtp_parameters,
                } = reply.parse_optional()?.unwrap_or_default();
                let mut state = state.lock();
                if let Some(tuple) = tuple {
                    state.tuple = tuple;
                }
                state.rtcp_tuple = rtcp_tuple.or(state.rtcp_tuple.take());
                state.srtp_parameters = srtp_parameters;
                Ok(())
            })
            .await
    }
}

impl sealed::HasCore for PlainTransport {
    fn core(&self) -> &Arc<Core> {
        &self.core
    }
}

impl Transport for PlainTransport {}

impl fmt::Debug for PlainTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainTransport")
            .field("id", &self.core.id)
            .finish_non_exhaustive()
    }
}
