//! Media coming in.

use std::fmt;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use channel_proto::command::{Command, PayloadCommand, Target};
use channel_proto::event::ProducerScore;
use channel_proto::reply::{ProducerDump, RtpStreamStats};
use channel_proto::rtp_parameters::{MediaKind, ProducerType, RtpParameters};

use crate::app_data::AppData;
use crate::channel::{Link, Message, Reply};
use crate::error::{Error, Result};
use crate::events::{CloseReason, Emitter, Events, ProducerEvent};
use crate::hooks::EndHooks;
use crate::sync::Lock;
use crate::trace::TraceType;
use crate::transport::Core;

/// What to produce.
#[derive(Debug, Clone)]
pub struct ProducerOptions {
    /// Id to use instead of a fresh one.
    pub id: Option<String>,
    /// Audio or video.
    pub kind: MediaKind,
    /// What is sent.
    pub rtp_parameters: RtpParameters,
    /// Whether nothing is forwarded at first.
    pub paused: bool,
    /// Least milliseconds between two requests for a key frame; 0 for none.
    pub key_frame_request_delay: u32,
    /// Data of the application.
    pub app_data: AppData,
}

impl ProducerOptions {
    /// A producer that is not paused.
    pub fn new(kind: MediaKind, rtp_parameters: RtpParameters) -> Self {
        Self {
            id: None,
            kind,
            rtp_parameters,
            paused: false,
            key_frame_request_delay: 0,
            app_data: AppData::default(),
        }
    }
}

/// Media coming in over a transport. Made by [`Transport::produce`](crate::Transport::produce).
#[derive(Clone)]
pub struct Producer {
    inner: Arc<Inner>,
}

/// What is fixed when a producer is created.
pub(crate) struct Parts {
    pub(crate) id: String,
    pub(crate) kind: MediaKind,
    pub(crate) producer_type: ProducerType,
    pub(crate) rtp_parameters: RtpParameters,
    pub(crate) consumable: RtpParameters,
    pub(crate) app_data: AppData,
    pub(crate) target: Target,
    pub(crate) transport: Weak<Core>,
    pub(crate) direct: bool,
}

struct Inner {
    parts: Parts,
    link: Link,
    events: Emitter<ProducerEvent>,
    end: EndHooks,
    state: Lock<State>,
}

struct State {
    closed: bool,
    paused: bool,
    score: Vec<ProducerScore>,
}

impl Producer {
    pub(crate) fn new(parts: Parts, link: Link, paused: bool) -> Self {
        let state = Lock::new(State {
            closed: false,
            paused,
            score: Vec::new(),
        });
        Self {
            inner: Arc::new(Inner {
                parts,
                link,
                events: Emitter::new(),
                end: EndHooks::new(),
                state,
            }),
        }
    }

    /// Lets messages of the worker in.
    pub(crate) fn listen(&self) {
        let inner = Arc::downgrade(&self.inner);
        self.inner.link.subscribe(&self.inner.parts.target, move |message| {
            if let Some(inner) = inner.upgrade() {
                inner.on_message(message);
            }
        });
    }

    pub(crate) fn target(&self) -> &Target {
        &self.inner.parts.target
    }

    pub(crate) fn on_end(&self, hook: impl FnOnce() + Send + 'static) {
        self.inner.end.add(hook);
    }

    /// Pauses or resumes it without waiting for the worker.
    pub(crate) fn post_paused(&self, paused: bool) {
        let command = if paused {
            Command::ProducerPause
        } else {
            Command::ProducerResume
        };
        let inner = Arc::clone(&self.inner);
        let target = self.inner.parts.target.clone();
        self.inner
            .link
            .post_then(target, command, move || inner.set_paused(paused));
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.inner.parts.id
    }

    /// Audio or video.
    pub fn kind(&self) -> MediaKind {
        self.inner.parts.kind
    }

    /// How many streams and layers it has.
    pub fn producer_type(&self) -> ProducerType {
        self.inner.parts.producer_type
    }

    /// What is sent, in normal form, with the CNAME in force.
    pub fn rtp_parameters(&self) -> &RtpParameters {
        &self.inner.parts.rtp_parameters
    }

    /// What consumers are derived from.
    pub fn consumable_rtp_parameters(&self) -> &RtpParameters {
        &self.inner.parts.consumable
    }

    /// Data of the application.
    pub fn app_data(&self) -> &AppData {
        &self.inner.parts.app_data
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.inner.state.lock().closed
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.inner.state.lock().paused
    }

    /// How well its streams arrive, as last reported.
    pub fn score(&self) -> Vec<ProducerScore> {
        self.inner.state.lock().score.clone()
    }

    /// What happens to it.
    pub fn events(&self) -> Events<ProducerEvent> {
        self.inner.events.subscribe()
    }

    /// Closes it, and with it all its consumers.
    pub fn close(&self) {
        self.end(CloseReason::Requested);
    }

    pub(crate) fn end(&self, reason: CloseReason) {
        let inner = &self.inner;
        if std::mem::replace(&mut inner.state.lock().closed, true) {
            return;
        }
        inner.link.unsubscribe(&inner.parts.target);
        if reason == CloseReason::Requested {
            inner.link.post(inner.parts.target.clone(), Command::ProducerClose);
        }
        if let Some(transport) = inner.parts.transport.upgrade() {
            transport.forget_producer(self.id());
        }
        inner.events.close(ProducerEvent::Closed(reason));
        inner.end.run();
    }

    /// The worker's view of it.
    pub async fn dump(&self) -> Result<ProducerDump> {
        self.request(Command::ProducerDump, |reply| reply.parse()).await
    }

    /// Counters of its streams; empty until media arrives.
    pub async fn get_stats(&self) -> Result<Vec<RtpStreamStats>> {
        self.request(Command::ProducerGetStats, |reply| reply.parse()).await
    }

    /// Stops forwarding.
    pub async fn pause(&self) -> Result<()> {
        let inner = Arc::clone(&self.inner);
        self.request(Command::ProducerPause, move |_| {
            inner.set_paused(true);
            Ok(())
        })
        .await
    }

    /// Forwards again.
    pub async fn resume(&self) -> Result<()> {
        let inner = Arc::clone(&self.inner);
        self.request(Command::ProducerResume, move |_| {
            inner.set_paused(false);
            Ok(())
        })
        .await
    }

    /// Chooses what is traced, instead of what was before; nothing if the list is empty.
    pub async fn enable_trace_event(&self, types: &[TraceType]) -> Result<()> {
        let types = TraceType::names(types);
        self.request(Command::ProducerEnableTraceEvent(Ok(types)), |_| Ok(()))
            .await
    }

    /// Puts an RTP packet in, as if it had been received. Only on direct transports. Waits if the worker does not keep
    /// up.
    pub async fn send(&self, packet: impl Into<Bytes>) -> Result<()> {
        if !self.inner.parts.direct {
            return Err(Error::Unsupported(
                "send() needs a producer on a direct transport".to_owned(),
            ));
        }
        self.check_open()?;
        let command = PayloadCommand::ProducerSend(self.inner.parts.target.clone());
        self.inner.link.send_payload(&command, packet.into()).await
    }

    fn check_open(&self) -> Result<()> {
        if self.is_closed() {
            Err(Error::closed("producer"))
        } else {
            Ok(())
        }
    }

    async fn request<T: Send + 'static>(
        &self,
        command: Command,
        apply: impl FnOnce(Reply) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.check_open()?;
        self.inner
            .link
            .request(self.inner.parts.target.clone(), command, apply)
            .await
    }
}

impl Inner {
    fn set_paused(&self, paused: bool) {
        if std::mem::replace(&mut self.state.lock().paused, paused) != paused {
            self.events.emit(if paused {
                ProducerEvent::Paused
            } else {
                ProducerEvent::Resumed
            });
        }
    }

    /// Whether this is the score of a stream of its own: at the other end of a pipe between two routers of one worker there
    /// is a producer with the same id.
    fn has_stream(&self, score: &ProducerScore) -> bool {
        let encodings = &self.parts.rtp_parameters.encodings;
        let encoding = usize::try_from(score.encoding_idx)
            .ok()
            .and_then(|index| encodings.get(index));
        encoding.is_some_and(|encoding| match (encoding.ssrc, &encoding.rid) {
            (Some(ssrc), _) => ssrc == score.ssrc,
            (None, Some(_)) => encoding.rid == score.rid,
            (None, None) => true,
        })
    }

    fn on_message(&self, message: Message) {
        let Message::Event(event) = message else { return };
        match event.name() {
            "score" => {
                if let Some(score) = event.data::<Vec<ProducerScore>>()
                    && score.iter().all(|score| self.has_stream(score))
                {
                    self.state.lock().score.clone_from(&score);
                    self.events.emit(ProducerEvent::Score(score));
                }
            }
            "videoorientationchange" => {
                event
                    .data()
                    .map(ProducerEvent::VideoOrientationChange)
                    .into_iter()
                    .for_each(|e| self.events.emit(e));
            }
            "trace" => event
                .data()
                .map(ProducerEvent::Trace)
                .into_iter()
                .for_each(|e| self.events.emit(e)),
            _ => event.unknown("producer"),
        }
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("id", &self.id())
            .field("kind", &self.kind())
            .finish_non_exhaustive()
    }
}
