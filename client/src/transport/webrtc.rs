//! ICE, DTLS and SRTP with a browser.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use channel_proto::command::{Command, Connect, CreateWebRtcTransport, Field, TransportOptions};
use channel_proto::event::{DtlsStateChange, IceSelectedTuple, IceStateChange};
use channel_proto::reply::{IceRestarted, TransportDump, TransportKindDump, WebRtcConnected};
use channel_proto::transport_parameters::{
    DtlsParameters, DtlsState, IceCandidate, IceParameters, IceRole, IceState, ListenIp, TransportTuple,
};

use super::core::{Core, Kind};
use super::sctp::SctpOptions;
use super::{Transport, sealed};
use crate::WebRtcServer;
use crate::app_data::AppData;
use crate::channel::{EventMessage, Reply};
use crate::error::Result;
use crate::events::TransportEvent;
use crate::router::Parts;
use crate::sync::Lock;

/// Where a WebRTC transport listens.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum WebRtcListen {
    /// On sockets of its own.
    Ips {
        /// 1 to 8 addresses.
        ips: Vec<ListenIp>,
        /// Port to listen on; ones of the worker's range if not given.
        port: Option<u16>,
    },
    /// On those of a server of the same worker.
    Server(WebRtcServer),
}

/// What a WebRTC transport is created with.
#[derive(Debug, Clone)]
pub struct WebRtcTransportOptions {
    /// Where it listens.
    pub listen: WebRtcListen,
    /// Whether it offers UDP (the default).
    pub enable_udp: bool,
    /// Whether it offers TCP.
    pub enable_tcp: bool,
    /// Whether it asks peers to prefer UDP.
    pub prefer_udp: bool,
    /// Whether it asks peers to prefer TCP.
    pub prefer_tcp: bool,
    /// Where the estimation of the peer's bandwidth starts, in bits per second.
    pub initial_available_outgoing_bitrate: u32,
    /// SCTP, if data channels are to be used.
    pub sctp: Option<SctpOptions>,
    /// Data of the application.
    pub app_data: AppData,
}

impl WebRtcTransportOptions {
    /// A transport on an address, with the defaults for everything else.
    pub fn new(listen_ip: impl Into<IpAddr>) -> Self {
        Self::listening(WebRtcListen::Ips {
            ips: vec![ListenIp {
                ip: listen_ip.into(),
                announced_ip: None,
            }],
            port: None,
        })
    }

    /// A transport on the sockets of a server, with the defaults for everything else.
    pub fn with_server(server: WebRtcServer) -> Self {
        Self::listening(WebRtcListen::Server(server))
    }

    /// A transport with the defaults for everything else.
    pub fn listening(listen: WebRtcListen) -> Self {
        Self {
            listen,
            enable_udp: true,
            enable_tcp: false,
            prefer_udp: false,
            prefer_tcp: false,
            initial_available_outgoing_bitrate: 600_000,
            sctp: None,
            app_data: AppData::default(),
        }
    }

    pub(crate) fn into_command(self) -> (Command, Option<WebRtcServer>, AppData) {
        let (listen_ips, port, server) = match self.listen {
            WebRtcListen::Ips { ips, port } => (ips, port, None),
            WebRtcListen::Server(server) => (Vec::new(), None, Some(server)),
        };
        let arguments = Ok(CreateWebRtcTransport {
            listen_ips,
            port,
            enable_udp: self.enable_udp,
            enable_tcp: self.enable_tcp,
            prefer_udp: self.prefer_udp,
            prefer_tcp: self.prefer_tcp,
            options: TransportOptions {
                initial_available_outgoing_bitrate: Some(self.initial_available_outgoing_bitrate),
                sctp: self.sctp.map(|sctp| sctp.into_wire(true)),
            },
        });
        let command = match server {
            Some(_) => Command::RouterCreateWebRtcTransportWithServer(arguments),
            None => Command::RouterCreateWebRtcTransport(arguments),
        };
        (command, server, self.app_data)
    }
}

/// ICE, DTLS and SRTP with a browser or another WebRTC endpoint.
#[derive(Clone)]
pub struct WebRtcTransport {
    core: Arc<Core>,
    state: Arc<Lock<WebRtcState>>,
}

/// What is special about a WebRTC transport.
#[derive(Debug, Clone)]
pub(crate) struct WebRtcState {
    ice_role: IceRole,
    ice_parameters: IceParameters,
    ice_candidates: Vec<IceCandidate>,
    ice_state: IceState,
    ice_selected_tuple: Option<TransportTuple>,
    dtls_parameters: DtlsParameters,
    dtls_state: DtlsState,
    dtls_remote_cert: Option<String>,
}

impl WebRtcState {
    /// The transport has ended.
    pub(crate) fn close(&mut self) {
        self.ice_state = IceState::Closed;
        self.ice_selected_tuple = None;
        self.dtls_state = DtlsState::Closed;
    }

    /// Takes in what the worker tells. None if that is not about WebRTC, or makes no sense.
    pub(crate) fn on_event(&mut self, event: &EventMessage) -> Option<TransportEvent> {
        match event.name() {
            "iceselectedtuplechange" => {
                let IceSelectedTuple { ice_selected_tuple } = event.data()?;
                self.ice_selected_tuple = Some(ice_selected_tuple.clone());
                Some(TransportEvent::IceSelectedTupleChange(ice_selected_tuple))
            }
            "icestatechange" => {
                let IceStateChange { ice_state } = event.data()?;
                self.ice_state = ice_state;
                if ice_state == IceState::Disconnected {
                    self.ice_selected_tuple = None;
                }
                Some(TransportEvent::IceStateChange(ice_state))
            }
            "dtlsstatechange" => {
                let DtlsStateChange {
                    dtls_state,
                    dtls_remote_cert,
                } = event.data()?;
                self.dtls_state = dtls_state;
                if dtls_state == DtlsState::Connected {
                    self.dtls_remote_cert = dtls_remote_cert;
                }
                Some(TransportEvent::DtlsStateChange(dtls_state))
            }
            _ => None,
        }
    }

    /// Whether [`on_event`](Self::on_event) is for an event of this name.
    pub(crate) fn knows(name: &str) -> bool {
        matches!(name, "iceselectedtuplechange" | "icestatechange" | "dtlsstatechange")
    }
}

impl WebRtcTransport {
    pub(crate) fn from_reply(reply: &Reply, parts: Parts, app_data: AppData) -> Result<Self> {
        let mut dump: TransportDump = reply.parse()?;
        let sctp = dump.sctp.take();
        let TransportKindDump::WebRtc {
            ice_role,
            ice_parameters,
            ice_candidates,
            ice_state,
            ice_selected_tuple,
            dtls_parameters,
            dtls_state,
        } = dump.kind
        else {
            return Err(reply.error("not a WebRTC transport"));
        };
        let state = Arc::new(Lock::new(WebRtcState {
            ice_role,
            ice_parameters,
            ice_candidates,
            ice_state,
            ice_selected_tuple,
            dtls_parameters,
            dtls_state,
            dtls_remote_cert: None,
        }));
        let kind = Kind::WebRtc(Arc::clone(&state));
        Ok(Self {
            core: Core::new(parts, kind, sctp, dump.max_message_size, app_data),
            state,
        })
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    fn read<T>(&self, read: impl FnOnce(&WebRtcState) -> T) -> T {
        read(&self.state.lock())
    }

    /// Its part in ICE: always controlled.
    pub fn ice_role(&self) -> IceRole {
        self.read(|state| state.ice_role)
    }

    /// Its credentials, for the peer.
    pub fn ice_parameters(&self) -> IceParameters {
        self.read(|state| state.ice_parameters.clone())
    }

    /// Where it can be reached, for the peer.
    pub fn ice_candidates(&self) -> Vec<IceCandidate> {
        self.read(|state| state.ice_candidates.clone())
    }

    /// How far ICE has come.
    pub fn ice_state(&self) -> IceState {
        self.read(|state| state.ice_state)
    }

    /// The pair of addresses in use, if there is one.
    pub fn ice_selected_tuple(&self) -> Option<TransportTuple> {
        self.read(|state| state.ice_selected_tuple.clone())
    }

    /// Its role and the fingerprints of its certificate, for the peer.
    pub fn dtls_parameters(&self) -> DtlsParameters {
        self.read(|state| state.dtls_parameters.clone())
    }

    /// How far DTLS has come.
    pub fn dtls_state(&self) -> DtlsState {
        self.read(|state| state.dtls_state)
    }

    /// The peer's certificate (PEM), once DTLS is connected.
    pub fn dtls_remote_cert(&self) -> Option<String> {
        self.read(|state| state.dtls_remote_cert.clone())
    }

    /// Tells what the peer's certificate is, and which role it has. Once only.
    pub async fn connect(&self, dtls_parameters: DtlsParameters) -> Result<()> {
        let command = Command::TransportConnect(Ok(Connect {
            dtls_parameters: Field::Present(dtls_parameters),
            ..Connect::default()
        }));
        let state = Arc::clone(&self.state);
        self.core
            .request(command, move |reply| {
                let WebRtcConnected { dtls_local_role } = reply.parse()?;
                state.lock().dtls_parameters.role = dtls_local_role;
                Ok(())
            })
            .await
    }

    /// Draws new credentials, with which the peer can start ICE again.
    pub async fn restart_ice(&self) -> Result<IceParameters> {
        let state = Arc::clone(&self.state);
        self.core
            .request(Command::TransportRestartIce, move |reply| {
                let IceRestarted { ice_parameters } = reply.parse()?;
                state.lock().ice_parameters.clone_from(&ice_parameters);
                Ok(ice_parameters)
            })
            .await
    }
}

impl sealed::HasCore for WebRtcTransport {
    fn core(&self) -> &Arc<Core> {
        &self.core
    }
}

impl Transport for WebRtcTransport {}

impl fmt::Debug for WebRtcTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebRtcTransport")
            .field("id", &self.core.id)
            .finish_non_exhaustive()
    }
}
