//! Events: one typed stream per object and subscriber.
//!
//! Every object has a method `events()` that returns [`Events`]. Each call makes a subscriber of its own, and none can
//! hold up or starve another one. A closing event is the last one: after it the stream ends. Who subscribes to an object
//! that is already closed gets the closing event and then the end.
//!
//! ```no_run
//! use client::{Consumer, ConsumerEvent};
//! use futures_util::StreamExt;
//!
//! # async fn example(consumer: Consumer) {
//! // They are a stream, and can be read like any other, in a task of their own if that is convenient.
//! let mut events = consumer.events();
//! tokio::spawn(async move {
//!     while let Some(event) = events.next().await {
//!         match event {
//!             ConsumerEvent::LayersChange(layers) => println!("now {layers:?}"),
//!             ConsumerEvent::Closed(reason) => println!("closed: {reason:?}"),
//!             _ => {}
//!         }
//!     }
//! });
//! # }
//! ```
//!
//! Events between the creation of an object and its first subscriber are kept for that subscriber (the last
//! 64 of them), so that nothing is lost between `consume(…).await` and `.events()`.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use channel_proto::event::{ProducerScore, Trace, VideoOrientation};
use channel_proto::reply::ConsumerScore;
use channel_proto::rtp_parameters::ConsumerLayers;
use channel_proto::transport_parameters::{DtlsState, IceState, SctpState, TransportTuple};
use futures_util::Stream;

use tokio::sync::mpsc;

use crate::data::DataMessage;
use crate::error::Exit;
use crate::observers::{AnyRtpObserver, Volume};
use crate::sync::Lock;
use crate::transport::{AnyTransport, WebRtcTransport};
use crate::{Consumer, DataConsumer, DataProducer, Producer, Router, WebRtcServer};

/// Why an object was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// Its own `close()` was called.
    Requested,
    /// The worker was closed or died (routers and WebRtcServers).
    WorkerClosed,
    /// The router was closed, in whatever way (transports and observers).
    RouterClosed,
    /// The WebRtcServer was closed (its transports).
    ListenServerClosed,
    /// The transport was closed, in whatever way (producers and consumers, of media and of data).
    TransportClosed,
    /// The producer was closed (its consumers).
    ProducerClosed,
    /// The data producer was closed (its data consumers).
    DataProducerClosed,
}

/// Events of a [`Worker`](crate::Worker).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum WorkerEvent {
    /// A router was created.
    NewRouter(Router),
    /// A WebRtcServer was created.
    NewWebRtcServer(WebRtcServer),
    /// `close()` was called. The last event.
    Closed,
    /// The process ended without having been asked to; all that it held is closed. The last event.
    Died(Exit),
}

/// Events of a [`Router`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RouterEvent {
    /// A transport was created.
    NewTransport(AnyTransport),
    /// An observer was created.
    NewRtpObserver(AnyRtpObserver),
    /// The last event.
    Closed(CloseReason),
}

/// Events of a [`WebRtcServer`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum WebRtcServerEvent {
    /// A transport uses it.
    TransportHandled(WebRtcTransport),
    /// A transport that used it is closed, in whatever way.
    TransportUnhandled(WebRtcTransport),
    /// The last event.
    Closed(CloseReason),
}

/// Events of transports.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TransportEvent {
    /// A WebRTC transport uses another pair.
    IceSelectedTupleChange(TransportTuple),
    /// ICE came further, or lost all pairs.
    IceStateChange(IceState),
    /// DTLS came further, failed or was ended by the peer.
    DtlsStateChange(DtlsState),
    /// The SCTP association came further, failed or was ended by the peer.
    SctpStateChange(SctpState),
    /// A plain transport learnt where the peer sends RTP from.
    Tuple(TransportTuple),
    /// A plain transport learnt where the peer sends RTCP from.
    RtcpTuple(TransportTuple),
    /// An RTCP packet for the application (direct transports).
    Rtcp(Bytes),
    /// A traced packet or estimation.
    Trace(Box<Trace>),
    /// A producer was created.
    NewProducer(Producer),
    /// A consumer was created.
    NewConsumer(Consumer),
    /// A data producer was created.
    NewDataProducer(DataProducer),
    /// A data consumer was created.
    NewDataConsumer(DataConsumer),
    /// The last event.
    Closed(CloseReason),
}

/// Events of a [`Producer`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ProducerEvent {
    /// How well its streams arrive.
    Score(Vec<ProducerScore>),
    /// The picture was turned.
    VideoOrientationChange(VideoOrientation),
    /// A traced packet.
    Trace(Box<Trace>),
    /// It was paused.
    Paused,
    /// It goes on.
    Resumed,
    /// The last event.
    Closed(CloseReason),
}

/// Events of a [`Consumer`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ConsumerEvent {
    /// The producer was paused.
    ProducerPaused,
    /// The producer goes on.
    ProducerResumed,
    /// Nothing is sent any more: the consumer, its producer or both are paused.
    Paused,
    /// Neither the consumer nor its producer is paused any more.
    Resumed,
    /// How well things go.
    Score(ConsumerScore),
    /// Other layers are sent; `None` if nothing is.
    LayersChange(Option<ConsumerLayers>),
    /// A traced packet.
    Trace(Box<Trace>),
    /// An RTP packet for the application (consumers of direct transports).
    Rtp(Bytes),
    /// The last event.
    Closed(CloseReason),
}

/// Events of a [`DataProducer`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum DataProducerEvent {
    /// The last event.
    Closed(CloseReason),
}

/// Events of a [`DataConsumer`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum DataConsumerEvent {
    /// A message for the application (data consumers of direct transports).
    Message(DataMessage),
    /// A message was lost because too much waits already.
    SctpSendBufferFull,
    /// What waits in the association, in bytes, fell to the threshold.
    BufferedAmountLow(u32),
    /// The last event.
    Closed(CloseReason),
}

/// Events of observers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RtpObserverEvent {
    /// The loudest producers of the interval, loudest first (audio level observers).
    Volumes(Vec<Volume>),
    /// Nobody was loud enough, after somebody had been (audio level observers).
    Silence,
    /// Another producer is the dominant speaker (active speaker observers).
    DominantSpeaker(Producer),
    /// It was paused.
    Paused,
    /// It goes on.
    Resumed,
    /// It observes a producer.
    ProducerAdded(Producer),
    /// It observes a producer no more.
    ProducerRemoved(Producer),
    /// The last event.
    Closed(CloseReason),
}

/// Events of one object, in the order in which they happened. Nothing is lost; read them, or drop it.
#[derive(Debug)]
#[must_use = "events are collected until they are read"]
pub struct Events<E> {
    receiver: mpsc::UnboundedReceiver<E>,
}

impl<E> Events<E> {
    /// The next event, or `None` after the closing one.
    pub async fn recv(&mut self) -> Option<E> {
        self.receiver.recv().await
    }

    /// The next event if there is one already.
    pub fn try_recv(&mut self) -> Option<E> {
        self.receiver.try_recv().ok()
    }
}

impl<E> Stream for Events<E> {
    type Item = E;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<E>> {
        self.receiver.poll_recv(cx)
    }
}

/// Events kept for the first subscriber.
const BACKLOG: usize = 64;

/// The sending side of [`Events`].
#[derive(Debug)]
pub(crate) struct Emitter<E> {
    state: Lock<State<E>>,
}

#[derive(Debug)]
enum State<E> {
    /// Nobody has subscribed yet.
    Waiting(VecDeque<E>),
    Open(Vec<mpsc::UnboundedSender<E>>),
    Closed(VecDeque<E>),
}

impl<E: Clone> Emitter<E> {
    pub(crate) fn new() -> Self {
        Self {
            state: Lock::new(State::Waiting(VecDeque::new())),
        }
    }

    /// One that keeps nothing for whoever comes first.
    pub(crate) fn without_backlog() -> Self {
        Self {
            state: Lock::new(State::Open(Vec::new())),
        }
    }

    pub(crate) fn subscribe(&self) -> Events<E> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut state = self.state.lock();
        let send_all = |events: &mut dyn Iterator<Item = E>| events.for_each(|event| drop(sender.send(event)));
        match &mut *state {
            State::Waiting(backlog) => {
                send_all(&mut backlog.drain(..));
                *state = State::Open(vec![sender]);
            }
            State::Open(subscribers) => subscribers.push(sender),
            State::Closed(last) => {
                send_all(&mut last.iter().cloned());
                // What came before the end is for the first one only.
                last.drain(..last.len().saturating_sub(1));
            }
        }
        Events { receiver }
    }

    /// Queueing never blocks and never runs code of a subscriber.
    pub(crate) fn emit(&self, event: E) {
        self.state.lock().emit(event);
    }

    /// Emits the last event.
    pub(crate) fn close(&self, event: E) {
        let mut state = self.state.lock();
        state.emit(event.clone());
        *state = match std::mem::replace(&mut *state, State::Open(Vec::new())) {
            State::Waiting(backlog) => State::Closed(backlog),
            State::Open(_) => State::Closed(VecDeque::from([event])),
            closed @ State::Closed(_) => closed,
        };
    }
}

impl<E: Clone> State<E> {
    fn emit(&mut self, event: E) {
        match self {
            Self::Waiting(backlog) => {
                if backlog.len() == BACKLOG {
                    backlog.pop_front();
                }
                backlog.push_back(event);
            }
            Self::Open(subscribers) => subscribers.retain(|subscriber| subscriber.send(event.clone()).is_ok()),
            Self::Closed(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(events: &mut Events<u32>) -> Vec<u32> {
        std::iter::from_fn(|| events.try_recv()).collect()
    }

    #[tokio::test]
    async fn every_subscriber_gets_everything_from_its_subscription_on() {
        let emitter = Emitter::new();
        let mut first = emitter.subscribe();
        emitter.emit(1);
        let mut second = emitter.subscribe();
        emitter.emit(2);
        emitter.close(3);
        emitter.emit(4);
        assert_eq!(all(&mut first), [1, 2, 3]);
        assert_eq!(all(&mut second), [2, 3]);
        assert_eq!(first.recv().await, None);
    }

    #[tokio::test]
    async fn the_first_subscriber_gets_what_happened_before() {
        let emitter = Emitter::new();
        (0..100).for_each(|number| emitter.emit(number));
        assert_eq!(all(&mut emitter.subscribe()), (36..100).collect::<Vec<_>>());
        assert!(all(&mut emitter.subscribe()).is_empty());
    }

    #[tokio::test]
    async fn a_late_subscriber_gets_the_end() {
        let emitter = Emitter::new();
        emitter.emit(1);
        emitter.close(2);
        let mut first = emitter.subscribe();
        assert_eq!(all(&mut first), [1, 2]);
        assert_eq!(first.recv().await, None);
        assert_eq!(all(&mut emitter.subscribe()), [2]);
        assert_eq!(all(&mut emitter.subscribe()), [2]);
    }
}
