//! A user who is connected.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rand::Rng as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Number, Value};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::CloseCode;
use crate::message::{self, Notification, Rejection, Request};
use crate::options::Options;
use crate::outgoing::{Outgoing, Refused};
use crate::room::RoomInner;

/// A lock that a panic elsewhere does not poison.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nothing can be sent any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("transport closed")]
pub struct TransportClosed;

/// Why a request brought no data.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The other side refused.
    #[error(transparent)]
    Rejected(Rejection),
    /// The other side did not answer in time. The connection lives on.
    #[error("request timeout")]
    Timeout,
    /// The peer was closed, by either side, while the request waited.
    #[error("peer closed")]
    PeerClosed,
    /// The peer was closed before.
    #[error("transport closed")]
    TransportClosed,
    /// What is to be sent cannot be written as JSON, or the answer is not what was expected.
    #[error("unusable data: {0}")]
    Data(#[from] serde_json::Error),
}

/// What the other side wants.
#[derive(Debug)]
pub enum PeerEvent {
    /// An answer.
    Request(Request, Responder),
    /// Nothing in return.
    Notification(Notification),
}

/// Answers one request. If it is dropped instead, the other side gets error 500.
#[derive(Debug)]
pub struct Responder {
    id: Number,
    link: Option<Arc<Link>>,
}

impl Responder {
    pub(crate) fn new(id: Number, link: Arc<Link>) -> Self {
        Self { id, link: Some(link) }
    }

    /// Answers with data; `()` and null become an empty object.
    pub fn accept(mut self, data: impl Serialize) {
        let result = serde_json::to_value(data).map_err(|error| Rejection::new(500, error.to_string()));
        self.answer(result);
    }

    /// Refuses.
    pub fn reject(mut self, code: i64, reason: impl Into<String>) {
        self.answer(Err(Rejection::new(code, reason)));
    }

    /// Answers with what a handler made.
    pub fn respond(mut self, result: Result<Value, Rejection>) {
        self.answer(result);
    }

    fn answer(&mut self, result: Result<Value, Rejection>) {
        if let Some(link) = self.link.take() {
            // A peer that is gone needs no answer.
            let _ = link.send(message::response(&self.id, result));
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.answer(Err(Rejection::new(500, "not answered")));
    }
}

/// What a peer's connection has to do with it, whatever the application keeps there.
pub(crate) struct Link {
    pub(crate) outgoing: Outgoing,
    pub(crate) options: Options,
    pending: Mutex<Pending>,
    closed: AtomicBool,
    /// Cancelled when the end was ours.
    closed_here: CancellationToken,
    /// Cancelled at the end, after everything else.
    ended: CancellationToken,
    /// Cancelled when nothing goes over the connection any more.
    gone: CancellationToken,
    /// Tells the room.
    on_end: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// Requests that wait for an answer.
#[derive(Debug, Default)]
struct Pending {
    last: u32,
    answers: HashMap<u32, oneshot::Sender<Result<Value, Rejection>>>,
}

impl Pending {
    /// An id that is not in use.
    fn next_id(&mut self) -> u32 {
        loop {
            self.last = self.last.wrapping_add(1);
            if self.last != 0 && !self.answers.contains_key(&self.last) {
                return self.last;
            }
        }
    }
}

impl Link {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            outgoing: Outgoing::new(&options),
            options,
            pending: Mutex::new(Pending {
                last: rand::rng().random(),
                answers: HashMap::new(),
            }),
            closed: AtomicBool::new(false),
            closed_here: CancellationToken::new(),
            ended: CancellationToken::new(),
            gone: CancellationToken::new(),
            on_end: Mutex::new(None),
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    pub(crate) fn gone(&self) -> &CancellationToken {
        &self.gone
    }

    fn send(&self, text: String) -> Result<(), TransportClosed> {
        self.outgoing.text(text).map_err(|refused| {
            if refused == Refused::Full {
                tracing::warn!("the other side does not read: closing");
                self.outgoing.clear();
                self.end(Some(CloseCode::TOO_MANY_WAITING), false);
            }
            refused.into()
        })
    }

    /// Completes the request with this id.
    pub(crate) fn answered(&self, id: &Number, result: Result<Value, Rejection>) {
        let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
        let waiting = id.and_then(|id| lock(&self.pending).answers.remove(&id));
        match waiting {
            Some(waiting) => drop(waiting.send(result)),
            None => tracing::warn!("answer to no request of ours"),
        }
    }

    /// Ends it, once: nothing is sent after `close`, requests fail, the room forgets the peer, and only then is it told.
    pub(crate) fn end(&self, close: Option<CloseCode>, here: bool) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        if here {
            self.closed_here.cancel();
        }
        self.outgoing.close(close);
        let answers = std::mem::take(&mut lock(&self.pending).answers);
        drop(answers);
        let on_end = lock(&self.on_end).take();
        if let Some(on_end) = on_end {
            on_end();
        }
        self.ended.cancel();
    }

    async fn request(&self, method: &str, data: Value) -> Result<Value, RequestError> {
        if self.is_closed() {
            return Err(RequestError::TransportClosed);
        }
        let (sender, receiver) = oneshot::channel();
        // Registered before anything is sent, so that no answer is too fast.
        let (waiting, timeout) = {
            let mut pending = lock(&self.pending);
            let timeout = self.options.timeout(pending.answers.len());
            let id = pending.next_id();
            pending.answers.insert(id, sender);
            (Waiting { link: self, id }, timeout)
        };
        self.send(message::request(waiting.id, method, data))
            .map_err(|TransportClosed| RequestError::TransportClosed)?;
        // If it was closed since, nobody else will take the entry out.
        if self.is_closed() {
            return Err(RequestError::PeerClosed);
        }
        match tokio::time::timeout(timeout, receiver).await {
            Err(_) => Err(RequestError::Timeout),
            Ok(Err(_)) => Err(RequestError::PeerClosed),
            Ok(Ok(result)) => result.map_err(RequestError::Rejected),
        }
    }
}

/// Takes a request out of the table, however its waiting ends.
struct Waiting<'a> {
    link: &'a Link,
    id: u32,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        lock(&self.link.pending).answers.remove(&self.id);
    }
}

/// A user who is connected, and what the application knows of them. Cheap to clone.
pub struct Peer<D> {
    inner: Arc<Inner<D>>,
}

struct Inner<D> {
    id: String,
    address: String,
    data: D,
    link: Arc<Link>,
}

impl<D> Clone for Peer<D> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<D> fmt::Debug for Peer<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl<D: Send + Sync + 'static> Peer<D> {
    pub(crate) fn new(id: &str, address: String, data: D, link: Arc<Link>, room: Weak<RoomInner<D>>) -> Self {
        let peer = Self {
            inner: Arc::new(Inner {
                id: id.to_owned(),
                address,
                data,
                link,
            }),
        };
        let weak = Arc::downgrade(&peer.inner);
        *lock(&peer.inner.link.on_end) = Some(Box::new(move || {
            if let (Some(room), Some(inner)) = (room.upgrade(), weak.upgrade()) {
                room.forget(&Self { inner });
            }
        }));
        peer
    }
}

impl<D> Peer<D> {
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.inner.link
    }

    /// Id given by the application.
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// What the application knows of them.
    pub fn data(&self) -> &D {
        &self.inner.data
    }

    /// Where they are, for logs: `WS:[address]:port`.
    pub fn address(&self) -> &str {
        &self.inner.address
    }

    /// Whether they are gone.
    pub fn is_closed(&self) -> bool {
        self.inner.link.is_closed()
    }

    /// Waits until they are gone.
    pub async fn closed(&self) {
        self.inner.link.ended.cancelled().await;
    }

    /// Waits until nothing goes over their connection any more: both sides have closed it, or time for that is up. Whoever
    /// ends the program waits for this, so that the other side learns why.
    pub async fn gone(&self) {
        self.inner.link.gone().cancelled().await;
    }

    /// Asks them something and waits for the answer.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn request<T: DeserializeOwned>(&self, method: &str, data: impl Serialize) -> Result<T, RequestError> {
        let data = serde_json::to_value(data)?;
        let answer = self.inner.link.request(method, data).await?;
        Ok(serde_json::from_value(answer)?)
    }

    /// Tells them something. Whatever is sent to a peer leaves in the order of the calls.
    ///
    /// # Errors
    /// They are gone.
    pub fn notify(&self, method: &str, data: impl Serialize) -> Result<(), TransportClosed> {
        let data = serde_json::to_value(data).unwrap_or_else(|error| {
            tracing::error!(%error, method, "data that is no JSON");
            Value::Null
        });
        self.inner.link.send(message::notification(method, data))
    }

    /// Sends them away (4000): their library does not come back.
    pub fn close(&self) {
        self.inner.link.end(Some(CloseCode::DELIBERATE), true);
    }
}

/// What a peer wants, in order.
#[derive(Debug)]
pub struct PeerEvents {
    receiver: mpsc::UnboundedReceiver<Queued>,
    link: Arc<Link>,
}

/// An event that waits; its size is given back when it is taken.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) event: PeerEvent,
    pub(crate) _room: tokio::sync::OwnedSemaphorePermit,
}

impl PeerEvents {
    pub(crate) fn new(receiver: mpsc::UnboundedReceiver<Queued>, link: Arc<Link>) -> Self {
        Self { receiver, link }
    }

    /// The next event. None when the peer is gone: what came before the other side left is still delivered, but nothing
    /// after the peer was closed here.
    pub async fn next(&mut self) -> Option<PeerEvent> {
        tokio::select! {
            biased;
            () = self.link.closed_here.cancelled() => None,
            queued = self.receiver.recv() => queued.map(|queued| queued.event),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn requests_wait_longer_the_more_are_pending() {
        let link = Link::new(Options::default());
        let start = Instant::now();
        let waits = (0..6).map(|_| async {
            let result = link.request("m", Value::Null).await;
            assert!(matches!(result, Err(RequestError::Timeout)), "{result:?}");
            start.elapsed().as_millis()
        });
        let waited = futures_util::future::join_all(waits).await;
        assert_eq!(waited, [30_000, 30_200, 30_400, 30_600, 30_800, 31_000]);
        assert!(lock(&link.pending).answers.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_given_up_leaves_nothing() {
        let link = Link::new(Options::default());
        let given_up = tokio::time::timeout(Duration::from_secs(1), link.request("m", Value::Null)).await;
        assert!(given_up.is_err());
        assert!(lock(&link.pending).answers.is_empty());
    }

    #[test]
    fn ids_are_neither_zero_nor_in_use() {
        let mut pending = Pending {
            last: u32::MAX - 1,
            answers: HashMap::new(),
        };
        pending.answers.insert(1, oneshot::channel().0);
        assert_eq!([pending.next_id(), pending.next_id()], [u32::MAX, 2]);
    }

    #[tokio::test]
    async fn an_answer_to_nothing_is_ignored() {
        let link = Link::new(Options::default());
        for id in [json!(1), json!(-1), json!(1.5), json!(u64::MAX)] {
            let Value::Number(id) = id else { unreachable!() };
            link.answered(&id, Ok(Value::Null));
        }
    }
}
