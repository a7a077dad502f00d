//! A room: transports, and the producers that can be consumed in it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};

use channel_proto::command::{Command, Target};
use channel_proto::reply::RouterDump;

use crate::app_data::AppData;
use crate::channel::{Link, Reply};
use crate::error::{Error, Result};
use crate::events::{CloseReason, Emitter, Events, RouterEvent};
use crate::rtp_capabilities::{RtpCapabilities, RtpCodecCapability};
use crate::sync::Lock;
use crate::transport::{AnyTransport, Core, DirectTransport, DirectTransportOptions, PlainTransport};
use crate::transport::{PlainTransportOptions, Transport as _};
use crate::worker::WorkerInner;
use crate::{Producer, new_id, ortc};

/// What a router is created with.
#[derive(Debug, Clone, Default)]
pub struct RouterOptions {
    /// Codecs that may be forwarded, without retransmission formats: those are added. Payload types are given out in
    /// this order, so codecs that prefer one should come first.
    pub media_codecs: Vec<RtpCodecCapability>,
    /// Data of the application.
    pub app_data: AppData,
}

impl RouterOptions {
    /// A router that forwards these codecs.
    pub fn new(media_codecs: Vec<RtpCodecCapability>) -> Self {
        Self {
            media_codecs,
            ..Self::default()
        }
    }
}

/// Forwards media between its transports. Made by [`Worker::create_router`](crate::Worker::create_router).
#[derive(Clone)]
pub struct Router {
    inner: Arc<RouterInner>,
}

pub(crate) struct RouterInner {
    id: String,
    rtp_capabilities: RtpCapabilities,
    app_data: AppData,
    link: Link,
    worker: Weak<WorkerInner>,
    events: Emitter<RouterEvent>,
    state: Lock<State>,
}

#[derive(Default)]
struct State {
    closed: bool,
    transports: HashMap<String, AnyTransport>,
    producers: HashMap<String, Producer>,
}

impl Router {
    pub(crate) fn new(
        id: String,
        rtp_capabilities: RtpCapabilities,
        app_data: AppData,
        link: Link,
        worker: Weak<WorkerInner>,
    ) -> Self {
        let (events, state) = (Emitter::new(), Lock::default());
        Self {
            inner: Arc::new(RouterInner {
                id,
                rtp_capabilities,
                app_data,
                link,
                worker,
                events,
                state,
            }),
        }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// What can be sent to it and received from it.
    pub fn rtp_capabilities(&self) -> &RtpCapabilities {
        &self.inner.rtp_capabilities
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
    pub fn events(&self) -> Events<RouterEvent> {
        self.inner.events.subscribe()
    }

    /// The transports in it now.
    pub fn transports(&self) -> Vec<AnyTransport> {
        self.inner.state.lock().transports.values().cloned().collect()
    }

    /// The producers in it now.
    pub fn producers(&self) -> Vec<Producer> {
        self.inner.state.lock().producers.values().cloned().collect()
    }

    /// Whether an endpoint with these capabilities can consume a producer. Also false if there is no such producer or
    /// the capabilities make no sense.
    pub fn can_consume(&self, producer_id: &str, rtp_capabilities: &RtpCapabilities) -> bool {
        let Some(producer) = self.inner.producer(producer_id) else {
            tracing::error!(router = self.id(), producer_id, "can_consume: no such producer");
            return false;
        };
        ortc::can_consume(producer.consumable_rtp_parameters(), rtp_capabilities).unwrap_or_else(|error| {
            tracing::error!(router = self.id(), producer_id, %error, "can_consume: wrong capabilities");
            false
        })
    }

    /// Closes it with all that it holds.
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
            std::mem::take(&mut state.transports)
        };
        if reason == CloseReason::Requested {
            inner.link.post(inner.target(), Command::RouterClose);
        }
        transports
            .into_values()
            .for_each(|transport| transport.core().end(CloseReason::RouterClosed));
        inner.state.lock().producers.clear();
        if let Some(worker) = inner.worker.upgrade() {
            worker.forget_router(&inner.id);
        }
        inner.events.close(RouterEvent::Closed(reason));
    }

    /// The worker's view of it.
    pub async fn dump(&self) -> Result<RouterDump> {
        self.check_open()?;
        self.inner
            .link
            .request(self.inner.target(), Command::RouterDump, |reply| reply.parse())
            .await
    }

    /// Creates a transport for RTP over UDP.
    pub async fn create_plain_transport(&self, options: PlainTransportOptions) -> Result<PlainTransport> {
        let (command, app_data) = options.into_command();
        self.create(command, move |reply, core| {
            PlainTransport::from_reply(&reply, core, app_data)
        })
        .await
    }

    /// Creates a transport between this process and the router.
    pub async fn create_direct_transport(&self, options: DirectTransportOptions) -> Result<DirectTransport> {
        let (command, app_data) = options.into_command();
        self.create(command, move |_, core| Ok(DirectTransport::new(core, app_data)))
            .await
    }

    async fn create<T>(
        &self,
        command: Command,
        build: impl FnOnce(Reply, TransportParts) -> Result<T> + Send + 'static,
    ) -> Result<T>
    where
        T: Into<AnyTransport> + Clone + Send + 'static,
    {
        self.check_open()?;
        let router = Arc::clone(&self.inner);
        let id = new_id();
        let target = Target {
            transport_id: Some(id.clone()),
            ..router.target()
        };
        let parts = TransportParts {
            id: id.clone(),
            target: target.clone(),
            link: router.link.clone(),
            router: Arc::downgrade(&router),
        };
        let link = router.link.clone();
        link.create(&id, target, command, Command::TransportClose, move |reply| {
            let transport = build(reply, parts)?;
            let any = transport.clone().into();
            {
                let mut state = router.state.lock();
                if state.closed {
                    return Err(Error::closed("router"));
                }
                state.transports.insert(any.id().to_owned(), any.clone());
            }
            router.events.emit(RouterEvent::NewTransport(any.clone()));
            Core::listen(any.core());
            Ok(transport)
        })
        .await
    }

    fn check_open(&self) -> Result<()> {
        if self.is_closed() {
            Err(Error::closed("router"))
        } else {
            Ok(())
        }
    }
}

/// What every transport is made of.
pub(crate) struct TransportParts {
    pub(crate) id: String,
    pub(crate) target: Target,
    pub(crate) link: Link,
    pub(crate) router: Weak<RouterInner>,
}

impl RouterInner {
    fn target(&self) -> Target {
        Target {
            router_id: Some(self.id.clone()),
            ..Target::default()
        }
    }

    pub(crate) fn rtp_capabilities(&self) -> &RtpCapabilities {
        &self.rtp_capabilities
    }

    pub(crate) fn producer(&self, id: &str) -> Option<Producer> {
        self.state.lock().producers.get(id).cloned()
    }

    /// Whether a producer of this router uses one of `count` SSRCs from this one on.
    pub(crate) fn uses_ssrcs(&self, first: u32, count: usize) -> bool {
        let used = |ssrc: u32| u64::from(ssrc.wrapping_sub(first)) < count as u64;
        let state = self.state.lock();
        let mut encodings = state
            .producers
            .values()
            .flat_map(|producer| &producer.consumable_rtp_parameters().encodings);
        encodings.any(|encoding| encoding.ssrc.is_some_and(used))
    }

    pub(crate) fn add_producer(&self, producer: &Producer) {
        self.state
            .lock()
            .producers
            .insert(producer.id().to_owned(), producer.clone());
    }

    pub(crate) fn forget_producer(&self, id: &str) {
        self.state.lock().producers.remove(id);
    }

    pub(crate) fn forget_transport(&self, id: &str) {
        self.state.lock().transports.remove(id);
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("id", &self.id()).finish_non_exhaustive()
    }
}
