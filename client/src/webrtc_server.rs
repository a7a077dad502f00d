//! Sockets that many WebRTC transports share.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};

use channel_proto::command::{Command, CreateWebRtcServer, Target};
use channel_proto::reply::WebRtcServerDump;
use channel_proto::transport_parameters::ListenInfo;

use crate::app_data::AppData;
use crate::channel::Link;
use crate::error::{Error, Result};
use crate::events::{CloseReason, Emitter, Events, WebRtcServerEvent};
use crate::sync::Lock;
use crate::transport::{Transport as _, WebRtcTransport};
use crate::worker::WorkerInner;

/// What a WebRtcServer is created with.
#[derive(Debug, Clone, Default)]
pub struct WebRtcServerOptions {
    /// 1 to 8 sockets.
    pub listen_infos: Vec<ListenInfo>,
    /// Data of the application.
    pub app_data: AppData,
}

impl WebRtcServerOptions {
    /// A server with these sockets.
    pub fn new(listen_infos: Vec<ListenInfo>) -> Self {
        Self {
            listen_infos,
            ..Self::default()
        }
    }

    pub(crate) fn into_command(self) -> (Command, AppData) {
        let Self { listen_infos, app_data } = self;
        (
            Command::WorkerCreateWebRtcServer(Ok(CreateWebRtcServer { listen_infos })),
            app_data,
        )
    }
}

/// Sockets that the WebRTC transports of a worker can share, so that few ports have to be open. Made by
/// [`Worker::create_web_rtc_server`](crate::Worker::create_web_rtc_server).
#[derive(Clone)]
pub struct WebRtcServer {
    inner: Arc<Inner>,
}

struct Inner {
    id: String,
    app_data: AppData,
    link: Link,
    worker: Weak<WorkerInner>,
    events: Emitter<WebRtcServerEvent>,
    state: Lock<State>,
}

#[derive(Default)]
struct State {
    closed: bool,
    transports: HashMap<String, WebRtcTransport>,
}

impl WebRtcServer {
    pub(crate) fn new(id: String, app_data: AppData, link: Link, worker: Weak<WorkerInner>) -> Self {
        Self {
            inner: Arc::new(Inner {
                id,
                app_data,
                link,
                worker,
                events: Emitter::new(),
                state: Lock::default(),
            }),
        }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// Data of the application.
    pub fn app_data(&self) -> &AppData {
        &self.inner.app_data
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.inner.state.lock().closed
    }

    /// What happens to it.
    pub fn events(&self) -> Events<WebRtcServerEvent> {
        self.inner.events.subscribe()
    }

    /// The transports that use it now, of any router of the worker.
    pub fn transports(&self) -> Vec<WebRtcTransport> {
        self.inner.state.lock().transports.values().cloned().collect()
    }

    /// Closes it, and with it all transports that use it.
    pub fn close(&self) {
        self.end(CloseReason::Requested);
    }

    pub(crate) fn end(&self, reason: CloseReason) {
        let inner = &self.inner;
        let transports = {
            let mut state = inner.state.lock();
            if std::mem::replace(&mut state.closed, true) {
                return;
            }
            state.transports.values().cloned().collect::<Vec<_>>()
        };
        for transport in transports {
            transport.core().end(CloseReason::ListenServerClosed);
        }
        // Only now: what the worker tells about producers must not be taken for the end of their consumers.
        if reason == CloseReason::Requested {
            inner.link.post(inner.target(), Command::WebRtcServerClose);
        }
        if let Some(worker) = inner.worker.upgrade() {
            worker.forget_web_rtc_server(&inner.id);
        }
        inner.events.close(WebRtcServerEvent::Closed(reason));
    }

    /// The worker's view of it.
    pub async fn dump(&self) -> Result<WebRtcServerDump> {
        self.check_open()?;
        let inner = &self.inner;
        inner
            .link
            .request(inner.target(), Command::WebRtcServerDump, |reply| reply.parse())
            .await
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.is_closed() {
            Err(Error::closed("WebRtcServer"))
        } else {
            Ok(())
        }
    }

    /// A transport uses it from now on, until it ends.
    pub(crate) fn handle(&self, transport: &WebRtcTransport) -> Result<()> {
        {
            let mut state = self.inner.state.lock();
            if state.closed {
                return Err(Error::closed("WebRtcServer"));
            }
            state.transports.insert(transport.id().to_owned(), transport.clone());
        }
        let event = WebRtcServerEvent::TransportHandled(transport.clone());
        self.inner.events.emit(event);
        let (server, id) = (Arc::downgrade(&self.inner), transport.id().to_owned());
        transport.core().on_end(move || {
            if let Some(inner) = server.upgrade()
                && let Some(transport) = { inner.state.lock().transports.remove(&id) }
            {
                inner.events.emit(WebRtcServerEvent::TransportUnhandled(transport));
            }
        });
        Ok(())
    }
}

impl Inner {
    fn target(&self) -> Target {
        Target {
            web_rtc_server_id: Some(self.id.clone()),
            ..Target::default()
        }
    }
}

impl fmt::Debug for WebRtcServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebRtcServer")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}
