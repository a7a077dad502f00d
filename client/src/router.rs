//! A room: transports, and the producers that can be consumed in it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};

use channel_proto::command::{Command, Target};
use channel_proto::reply::RouterDump;

use crate::app_data::AppData;
use crate::channel::{Created, Link, Reply};
use crate::error::{Error, Result};
use crate::events::{CloseReason, Emitter, Events, RouterEvent};
use crate::observers::{
    ActiveSpeakerObserver, ActiveSpeakerObserverOptions, AnyRtpObserver, AudioLevelObserver, AudioLevelObserverOptions,
    ObserverCore, RtpObserver as _,
};
use crate::pipe::{self, Pipe, PipeToRouterOptions, PipedDataProducer, PipedProducer};
use crate::rtp_capabilities::{RtpCapabilities, RtpCodecCapability};
use crate::sync::Lock;
use crate::transport::{
    AnyTransport, Core, DirectTransport, DirectTransportOptions, PipeTransport, PipeTransportOptions, PlainTransport,
    PlainTransportOptions, Transport as _, WebRtcTransport, WebRtcTransportOptions,
};
use crate::worker::WorkerInner;
use crate::{DataProducer, Producer, new_id, ortc};

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
    data_producers: HashMap<String, DataProducer>,
    rtp_observers: HashMap<String, AnyRtpObserver>,
    /// By the id of the router at the other end.
    pipes: HashMap<String, Arc<Pipe>>,
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

    /// The data producers in it now.
    pub fn data_producers(&self) -> Vec<DataProducer> {
        self.inner.state.lock().data_producers.values().cloned().collect()
    }

    /// The observers in it now.
    pub fn rtp_observers(&self) -> Vec<AnyRtpObserver> {
        self.inner.state.lock().rtp_observers.values().cloned().collect()
    }

    pub(crate) fn producer(&self, id: &str) -> Option<Producer> {
        self.inner.producer(id)
    }

    pub(crate) fn data_producer(&self, id: &str) -> Option<DataProducer> {
        self.inner.data_producer(id)
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
        let (transports, observers, pipes) = {
            let mut state = inner.state.lock();
            if std::mem::replace(&mut state.closed, true) {
                return;
            }
            (
                std::mem::take(&mut state.transports),
                std::mem::take(&mut state.rtp_observers),
                std::mem::take(&mut state.pipes),
            )
        };
        if reason == CloseReason::Requested {
            inner.link.post(inner.target(), Command::RouterClose);
        }
        transports
            .into_values()
            .for_each(|transport| transport.core().end(CloseReason::RouterClosed));
        observers
            .into_values()
            .for_each(|observer| observer.core().end(CloseReason::RouterClosed));
        pipes.into_values().for_each(|pipe| pipe.detach());
        {
            let mut state = inner.state.lock();
            state.producers.clear();
            state.data_producers.clear();
        }
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

    /// Creates a transport for a browser or another WebRTC endpoint.
    ///
    /// # Errors
    /// It would have neither UDP nor TCP, its server is closed or of another worker, or an address cannot be bound.
    pub async fn create_web_rtc_transport(&self, options: WebRtcTransportOptions) -> Result<WebRtcTransport> {
        if !options.enable_udp && !options.enable_tcp {
            return Err(Error::Type("both UDP and TCP are disabled".to_owned()));
        }
        let (command, server, app_data) = options.into_command();
        if let Some(server) = &server {
            server.check_open()?;
        }
        let server_id = server.as_ref().map(|server| server.id().to_owned());
        self.create(command, server_id, move |reply, parts| {
            let transport = WebRtcTransport::from_reply(&reply, parts, app_data)?;
            if let Some(server) = server {
                server.handle(&transport)?;
            }
            Ok(transport)
        })
        .await
    }

    /// Creates a transport for RTP over UDP.
    pub async fn create_plain_transport(&self, options: PlainTransportOptions) -> Result<PlainTransport> {
        let (command, app_data) = options.into_command();
        self.create(command, None, move |reply, parts| {
            PlainTransport::from_reply(&reply, parts, app_data)
        })
        .await
    }

    /// Creates one end of a connection to another router.
    pub async fn create_pipe_transport(&self, options: PipeTransportOptions) -> Result<PipeTransport> {
        let (command, app_data) = options.into_command();
        self.create(command, None, move |reply, parts| {
            PipeTransport::from_reply(&reply, parts, app_data)
        })
        .await
    }

    /// Creates a transport between this process and the router.
    pub async fn create_direct_transport(&self, options: DirectTransportOptions) -> Result<DirectTransport> {
        let (command, app_data) = options.into_command();
        self.create(command, None, move |reply, parts| {
            DirectTransport::from_reply(&reply, parts, app_data)
        })
        .await
    }

    /// Creates an observer that tells who is loudest. It observes nobody at first.
    pub async fn create_audio_level_observer(&self, options: AudioLevelObserverOptions) -> Result<AudioLevelObserver> {
        let (command, app_data) = options.into_command();
        self.create_observer(command, |parts| AudioLevelObserver::new(parts, app_data))
            .await
    }

    /// Creates an observer that tells who speaks. It observes nobody at first.
    pub async fn create_active_speaker_observer(
        &self,
        options: ActiveSpeakerObserverOptions,
    ) -> Result<ActiveSpeakerObserver> {
        let (command, app_data) = options.into_command();
        self.create_observer(command, |parts| ActiveSpeakerObserver::new(parts, app_data))
            .await
    }

    /// Makes a producer of this router available in another one, of the same or of another worker on this host. It has
    /// the same id there. What is piped already is not piped again.
    ///
    /// ```no_run
    /// # async fn example(here: client::Router, there: client::Router, producer: client::Producer) -> client::Result<()> {
    /// let piped = here.pipe_producer_to_router(producer.id(), &there, &Default::default()).await?;
    /// assert_eq!(piped.producer.id(), producer.id());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// There is no such producer in this router, or the other one is this router, or the worker refuses.
    pub async fn pipe_producer_to_router(
        &self,
        producer_id: &str,
        router: &Router,
        options: &PipeToRouterOptions,
    ) -> Result<PipedProducer> {
        pipe::pipe_producer(self, producer_id, router, options).await
    }

    /// Makes a data producer of this router available in another one: like
    /// [`pipe_producer_to_router`](Self::pipe_producer_to_router).
    ///
    /// # Errors
    /// There is no such data producer in this router, or the other one is this router, or the routers were connected
    /// without SCTP, or the worker refuses.
    pub async fn pipe_data_producer_to_router(
        &self,
        data_producer_id: &str,
        router: &Router,
        options: &PipeToRouterOptions,
    ) -> Result<PipedDataProducer> {
        pipe::pipe_data_producer(self, data_producer_id, router, options).await
    }

    /// The pipe between this router and another one.
    pub(crate) fn pipe_to(&self, other: &Router) -> Result<Arc<Pipe>> {
        let (here, there) = (&self.inner, &other.inner);
        if here.id == there.id {
            return Err(Error::Type("a router cannot be piped to itself".to_owned()));
        }
        // Everybody locks two routers in the order of their ids.
        let (first, second) = if here.id < there.id {
            (here, there)
        } else {
            (there, here)
        };
        let (mut first_state, mut second_state) = (first.state.lock(), second.state.lock());
        if first_state.closed || second_state.closed {
            return Err(Error::closed("router"));
        }
        if let Some(pipe) = first_state.pipes.get(&second.id) {
            return Ok(Arc::clone(pipe));
        }
        let pipe = Pipe::new([first, second]);
        first_state.pipes.insert(second.id.clone(), Arc::clone(&pipe));
        second_state.pipes.insert(first.id.clone(), Arc::clone(&pipe));
        Ok(pipe)
    }

    async fn create<T>(
        &self,
        command: Command,
        web_rtc_server_id: Option<String>,
        build: impl FnOnce(Reply, Parts) -> Result<T> + Send + 'static,
    ) -> Result<T>
    where
        T: Into<AnyTransport> + Clone + Created,
    {
        self.check_open()?;
        let router = Arc::clone(&self.inner);
        let id = new_id();
        let target = Target {
            transport_id: Some(id.clone()),
            web_rtc_server_id,
            ..router.target()
        };
        let parts = router.parts(&id, &target);
        let link = router.link.clone();
        link.create(target, command, Command::TransportClose, move |reply| {
            let transport = build(reply, parts)?;
            let any = transport.clone().into();
            let open = {
                let mut state = router.state.lock();
                if !state.closed {
                    state.transports.insert(any.id().to_owned(), any.clone());
                }
                !state.closed
            };
            if !open {
                any.core().end(CloseReason::RouterClosed);
                return Err(Error::closed("router"));
            }
            router.events.emit(RouterEvent::NewTransport(any.clone()));
            Core::listen(any.core());
            Ok(transport)
        })
        .await
    }

    async fn create_observer<T>(&self, command: Command, build: impl FnOnce(Parts) -> T + Send + 'static) -> Result<T>
    where
        T: Into<AnyRtpObserver> + Clone + Created,
    {
        self.check_open()?;
        let router = Arc::clone(&self.inner);
        let id = new_id();
        let target = Target {
            rtp_observer_id: Some(id.clone()),
            ..router.target()
        };
        let parts = router.parts(&id, &target);
        let link = router.link.clone();
        link.create(target, command, Command::RtpObserverClose, move |_| {
            let observer = build(parts);
            let any = observer.clone().into();
            {
                let mut state = router.state.lock();
                if state.closed {
                    return Err(Error::closed("router"));
                }
                state.rtp_observers.insert(any.id().to_owned(), any.clone());
            }
            router.events.emit(RouterEvent::NewRtpObserver(any.clone()));
            ObserverCore::listen(any.core());
            Ok(observer)
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

/// What every transport and every observer is made of.
pub(crate) struct Parts {
    pub(crate) id: String,
    pub(crate) target: Target,
    pub(crate) link: Link,
    pub(crate) router: Weak<RouterInner>,
}

impl RouterInner {
    fn parts(self: &Arc<Self>, id: &str, target: &Target) -> Parts {
        Parts {
            id: id.to_owned(),
            target: target.clone(),
            link: self.link.clone(),
            router: Arc::downgrade(self),
        }
    }

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

    pub(crate) fn data_producer(&self, id: &str) -> Option<DataProducer> {
        self.state.lock().data_producers.get(id).cloned()
    }

    pub(crate) fn add_data_producer(&self, producer: &DataProducer) {
        let mut state = self.state.lock();
        state.data_producers.insert(producer.id().to_owned(), producer.clone());
    }

    pub(crate) fn forget_data_producer(&self, id: &str) {
        self.state.lock().data_producers.remove(id);
    }

    pub(crate) fn forget_rtp_observer(&self, id: &str) {
        self.state.lock().rtp_observers.remove(id);
    }

    pub(crate) fn forget_pipe(&self, pipe: &Arc<Pipe>) {
        self.state.lock().pipes.retain(|_, known| !Arc::ptr_eq(known, pipe));
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
