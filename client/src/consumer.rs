//! Media going out.

use std::fmt;
use std::mem;
use std::sync::{Arc, Weak};

use channel_proto::command::{Command, SetPriority, Target};
use channel_proto::event::PayloadEvent;
use channel_proto::reply::{ConsumerDump, ConsumerScore, Priority, RtpStreamStats};
use channel_proto::rtp_parameters::{ConsumerLayers, ConsumerType, MediaKind, RtpParameters};

use crate::Producer;
use crate::app_data::AppData;
use crate::channel::{Link, Message, Reply};
use crate::error::{Error, Result};
use crate::events::{CloseReason, ConsumerEvent, Emitter, Events};
use crate::hooks::EndHooks;
use crate::rtp_capabilities::RtpCapabilities;
use crate::sync::Lock;
use crate::trace::TraceType;
use crate::transport::Core;

/// What to consume.
#[derive(Debug, Clone)]
pub struct ConsumerOptions {
    /// A producer of the same router.
    pub producer_id: String,
    /// What the receiver can do.
    pub rtp_capabilities: RtpCapabilities,
    /// Whether nothing is sent at first. Recommended for video: resume when the receiver is ready, so that it does not
    /// miss the key frame.
    pub paused: bool,
    /// MID to use instead of a number of the transport's.
    pub mid: Option<String>,
    /// Layers to prefer to the highest ones.
    pub preferred_layers: Option<ConsumerLayers>,
    /// Whether to send all streams instead of one.
    pub pipe: bool,
    /// Data of the application.
    pub app_data: AppData,
}

impl ConsumerOptions {
    /// A consumer that is not paused.
    pub fn new(producer_id: impl Into<String>, rtp_capabilities: RtpCapabilities) -> Self {
        Self {
            producer_id: producer_id.into(),
            rtp_capabilities,
            paused: false,
            mid: None,
            preferred_layers: None,
            pipe: false,
            app_data: AppData::default(),
        }
    }

    /// For a consumer on a pipe transport: it gets all streams, and needs no capabilities. Only the producer's id and the
    /// data of the application count then.
    pub fn for_pipe(producer_id: impl Into<String>) -> Self {
        Self::new(producer_id, RtpCapabilities::default())
    }
}

/// Media going out over a transport. Made by [`Transport::consume`](crate::Transport::consume).
#[derive(Clone)]
pub struct Consumer {
    inner: Arc<Inner>,
}

/// What is fixed when a consumer is created.
pub(crate) struct Parts {
    pub(crate) id: String,
    pub(crate) producer_id: String,
    pub(crate) kind: MediaKind,
    pub(crate) consumer_type: ConsumerType,
    pub(crate) rtp_parameters: RtpParameters,
    pub(crate) app_data: AppData,
    pub(crate) target: Target,
    pub(crate) transport: Weak<Core>,
}

/// What changes.
pub(crate) struct State {
    pub(crate) closed: bool,
    pub(crate) paused: bool,
    pub(crate) producer_paused: bool,
    pub(crate) priority: u8,
    pub(crate) score: ConsumerScore,
    pub(crate) preferred_layers: Option<ConsumerLayers>,
    pub(crate) current_layers: Option<ConsumerLayers>,
}

struct Inner {
    parts: Parts,
    link: Link,
    events: Emitter<ConsumerEvent>,
    end: EndHooks,
    /// The producer in another router that this consumer feeds.
    mirror: Lock<Option<Producer>>,
    state: Lock<State>,
}

impl Consumer {
    pub(crate) fn new(parts: Parts, link: Link, state: State) -> Self {
        Self {
            inner: Arc::new(Inner {
                parts,
                link,
                events: Emitter::new(),
                end: EndHooks::new(),
                mirror: Lock::default(),
                state: Lock::new(state),
            }),
        }
    }

    /// Lets messages of the worker in.
    pub(crate) fn listen(&self) {
        let inner = Arc::downgrade(&self.inner);
        self.inner.link.subscribe(&self.inner.parts.target, move |message| {
            if let Some(inner) = inner.upgrade() {
                Consumer { inner }.on_message(message);
            }
        });
    }

    pub(crate) fn target(&self) -> &Target {
        &self.inner.parts.target
    }

    pub(crate) fn on_end(&self, hook: impl FnOnce() + Send + 'static) {
        self.inner.end.add(hook);
    }

    /// From now on a producer of another router is paused whenever nothing comes out of this consumer.
    pub(crate) fn mirror(&self, producer: &Producer) {
        *self.inner.mirror.lock() = Some(producer.clone());
        let paused = {
            let state = self.inner.state.lock();
            state.paused || state.producer_paused
        };
        if paused != producer.is_paused() {
            producer.post_paused(paused);
        }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.inner.parts.id
    }

    /// Id of its producer.
    pub fn producer_id(&self) -> &str {
        &self.inner.parts.producer_id
    }

    /// Audio or video.
    pub fn kind(&self) -> MediaKind {
        self.inner.parts.kind
    }

    /// How it follows its producer.
    pub fn consumer_type(&self) -> ConsumerType {
        self.inner.parts.consumer_type
    }

    /// What is sent.
    pub fn rtp_parameters(&self) -> &RtpParameters {
        &self.inner.parts.rtp_parameters
    }

    /// Data of the application.
    pub fn app_data(&self) -> &AppData {
        &self.inner.parts.app_data
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.inner.state.lock().closed
    }

    /// Whether it is paused itself.
    pub fn is_paused(&self) -> bool {
        self.inner.state.lock().paused
    }

    /// Whether its producer is paused.
    pub fn is_producer_paused(&self) -> bool {
        self.inner.state.lock().producer_paused
    }

    /// Its share of bandwidth, 1 to 255.
    pub fn priority(&self) -> u8 {
        self.inner.state.lock().priority
    }

    /// How well things go, as last reported.
    pub fn score(&self) -> ConsumerScore {
        self.inner.state.lock().score.clone()
    }

    /// Layers asked for, if it has any.
    pub fn preferred_layers(&self) -> Option<ConsumerLayers> {
        self.inner.state.lock().preferred_layers
    }

    /// Layers being sent, once the worker has told.
    pub fn current_layers(&self) -> Option<ConsumerLayers> {
        self.inner.state.lock().current_layers
    }

    /// What happens to it.
    pub fn events(&self) -> Events<ConsumerEvent> {
        self.inner.events.subscribe()
    }

    /// Closes it.
    pub fn close(&self) {
        self.end(CloseReason::Requested);
    }

    pub(crate) fn end(&self, reason: CloseReason) {
        let inner = &self.inner;
        if mem::replace(&mut inner.state.lock().closed, true) {
            return;
        }
        inner.link.unsubscribe(&inner.parts.target);
        if reason == CloseReason::Requested {
            inner.link.post(inner.parts.target.clone(), Command::ConsumerClose);
        }
        if let Some(transport) = inner.parts.transport.upgrade() {
            transport.forget_consumer(self.id());
        }
        drop(inner.mirror.lock().take());
        inner.events.close(ConsumerEvent::Closed(reason));
        inner.end.run();
    }

    /// The worker's view of it.
    pub async fn dump(&self) -> Result<ConsumerDump> {
        self.request(Command::ConsumerDump, |reply| reply.parse()).await
    }

    /// Counters of what it sends (`outbound-rtp`), and of what its producer receives if there is anything.
    pub async fn get_stats(&self) -> Result<Vec<RtpStreamStats>> {
        self.request(Command::ConsumerGetStats, |reply| reply.parse()).await
    }

    /// Stops sending.
    pub async fn pause(&self) -> Result<()> {
        let inner = Arc::clone(&self.inner);
        self.request(Command::ConsumerPause, move |_| {
            inner.set_paused(true);
            Ok(())
        })
        .await
    }

    /// Sends again; video goes on with a key frame, which the producer is asked for.
    pub async fn resume(&self) -> Result<()> {
        let inner = Arc::clone(&self.inner);
        self.request(Command::ConsumerResume, move |_| {
            inner.set_paused(false);
            Ok(())
        })
        .await
    }

    /// Chooses the highest layers to send. Returns what is in force, none if there are no layers.
    pub async fn set_preferred_layers(&self, layers: ConsumerLayers) -> Result<Option<ConsumerLayers>> {
        let inner = Arc::clone(&self.inner);
        self.request(Command::ConsumerSetPreferredLayers(Ok(layers)), move |reply| {
            let layers = reply.parse_optional()?;
            inner.state.lock().preferred_layers = layers;
            Ok(layers)
        })
        .await
    }

    /// Sets its share of bandwidth, 1 (the default) to 255.
    pub async fn set_priority(&self, priority: u8) -> Result<()> {
        if priority == 0 {
            return Err(Error::Type("priority must be at least 1".to_owned()));
        }
        let inner = Arc::clone(&self.inner);
        self.request(
            Command::ConsumerSetPriority(Ok(SetPriority { priority })),
            move |reply| {
                inner.state.lock().priority = reply.parse::<Priority>()?.priority;
                Ok(())
            },
        )
        .await
    }

    /// Sets the default priority.
    pub async fn unset_priority(&self) -> Result<()> {
        self.set_priority(1).await
    }

    /// Asks the producer for a key frame (video).
    pub async fn request_key_frame(&self) -> Result<()> {
        self.request(Command::ConsumerRequestKeyFrame, |_| Ok(())).await
    }

    /// Chooses what is traced, instead of what was before; nothing if the list is empty.
    pub async fn enable_trace_event(&self, types: &[TraceType]) -> Result<()> {
        let types = TraceType::names(types);
        self.request(Command::ConsumerEnableTraceEvent(Ok(types)), |_| Ok(()))
            .await
    }

    async fn request<T: Send + 'static>(
        &self,
        command: Command,
        apply: impl FnOnce(Reply) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if self.is_closed() {
            return Err(Error::closed("consumer"));
        }
        self.inner
            .link
            .request(self.inner.parts.target.clone(), command, apply)
            .await
    }

    fn on_message(&self, message: Message) {
        let inner = &self.inner;
        let event = match message {
            Message::Event(event) => event,
            Message::Payload(PayloadEvent::Rtp, packet) => return inner.events.emit(ConsumerEvent::Rtp(packet)),
            Message::Payload(..) => return,
        };
        match event.name() {
            "producerclose" => self.end(CloseReason::ProducerClosed),
            "producerpause" => inner.set_producer_paused(true),
            "producerresume" => inner.set_producer_paused(false),
            "score" => {
                if let Some(score) = event.data::<ConsumerScore>() {
                    inner.state.lock().score.clone_from(&score);
                    inner.events.emit(ConsumerEvent::Score(score));
                }
            }
            "layerschange" => {
                if let Some(layers) = event.data::<Option<ConsumerLayers>>() {
                    inner.state.lock().current_layers = layers;
                    inner.events.emit(ConsumerEvent::LayersChange(layers));
                }
            }
            "trace" => event
                .data()
                .map(ConsumerEvent::Trace)
                .into_iter()
                .for_each(|e| inner.events.emit(e)),
            _ => event.unknown("consumer"),
        }
    }
}

impl Inner {
    fn set_producer_paused(&self, paused: bool) {
        let mut changed = false;
        let edge = self.change_paused(|state| changed = mem::replace(&mut state.producer_paused, paused) != paused);
        if changed {
            self.events.emit(if paused {
                ConsumerEvent::ProducerPaused
            } else {
                ConsumerEvent::ProducerResumed
            });
        }
        self.on_edge(edge);
    }

    fn on_edge(&self, edge: Option<ConsumerEvent>) {
        let Some(event) = edge else { return };
        let mirror = self.mirror.lock().clone();
        if let Some(producer) = mirror {
            producer.post_paused(matches!(event, ConsumerEvent::Paused));
        }
        self.events.emit(event);
    }

    fn set_paused(&self, paused: bool) {
        let edge = self.change_paused(|state| state.paused = paused);
        self.on_edge(edge);
    }

    /// Changes one of the two reasons to be paused. Returns the event if that makes a difference.
    fn change_paused(&self, change: impl FnOnce(&mut State)) -> Option<ConsumerEvent> {
        let mut state = self.state.lock();
        let before = state.paused || state.producer_paused;
        change(&mut state);
        match (before, state.paused || state.producer_paused) {
            (false, true) => Some(ConsumerEvent::Paused),
            (true, false) => Some(ConsumerEvent::Resumed),
            _ => None,
        }
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("id", &self.id())
            .field("producer_id", &self.producer_id())
            .field("kind", &self.kind())
            .finish_non_exhaustive()
    }
}
