//! Requests to the worker, and what it answers and tells: the one place that knows about messages in flight.
//!
//! There are two channels to a worker, one for messages and one for messages with a payload. Both share the table of
//! objects that listen, so the rules of delivery hold for both:
//!
//! * Answers are applied to the objects they concern in the order in which they arrive, before anything that the worker
//!   told later is delivered. Callers only wait for that.
//! * What the worker tells about an object that is being created is queued until the object listens.

mod listeners;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use channel_proto::command::{Command, PayloadCommand, Request, Target};
use channel_proto::dialect::json;
use channel_proto::event::{PayloadEvent, PayloadNotification};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use listeners::{Listener, Listeners};
use wire::{check_length, read_frames, write_frames};

use crate::error::{Error, Result};
use crate::sync::Lock;

/// Payload messages that may wait to be written.
const PAYLOAD_QUEUE: usize = 256;

/// What the worker tells about an object.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    /// A notification.
    Event(EventMessage),
    /// A payload.
    Payload(PayloadEvent, Bytes),
}

/// A notification, its data not looked at yet.
#[derive(Debug, Clone)]
pub(crate) struct EventMessage {
    target_id: String,
    name: String,
    data: json::Data,
}

impl EventMessage {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The data; logs if it makes no sense.
    pub(crate) fn data<T: DeserializeOwned>(&self) -> Option<T> {
        self.data
            .parse()
            .inspect_err(|error| {
                tracing::error!(target_id = self.target_id, event = self.name, %error, "event not understood");
            })
            .ok()
    }

    pub(crate) fn unknown(&self, what: &'static str) {
        tracing::error!(
            target_id = self.target_id,
            event = self.name,
            "unknown event of a {what}"
        );
    }
}

/// The data of an accepted request.
#[derive(Debug)]
pub(crate) struct Reply {
    method: &'static str,
    data: json::Data,
}

impl Reply {
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        self.data.parse().map_err(|error| self.error(&error.to_string()))
    }

    /// `None` if there is no data.
    pub(crate) fn parse_optional<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        self.parse()
    }

    pub(crate) fn error(&self, reason: &str) -> Error {
        Error::Protocol {
            method: self.method,
            reason: reason.to_owned(),
        }
    }
}

/// Applies the answer to a request. Runs on the task that reads.
type Apply = Box<dyn FnOnce(Result<Reply>) + Send>;

/// Both channels to one worker.
#[derive(Clone)]
pub(crate) struct Link {
    inner: Arc<Inner>,
}

struct Inner {
    pid: u32,
    timeout: Duration,
    requests: mpsc::UnboundedSender<Vec<u8>>,
    payloads: mpsc::Sender<(Vec<u8>, Bytes)>,
    state: Lock<State>,
}

#[derive(Default)]
struct State {
    closed: bool,
    last_id: u32,
    pending: HashMap<u32, Pending>,
    listeners: Listeners,
    running: Option<oneshot::Sender<()>>,
}

struct Pending {
    method: &'static str,
    apply: Apply,
}

/// The parent's ends of the channels.
pub(crate) struct Ends<S> {
    pub(crate) requests: S,
    pub(crate) responses: S,
    pub(crate) payloads: S,
    pub(crate) payload_events: S,
}

/// What [`Link::start`] leaves to its caller.
pub(crate) struct Started {
    pub(crate) link: Link,
    /// Resolves when the worker says that it is up.
    pub(crate) running: oneshot::Receiver<()>,
    /// One task per channel. It ends when the channel has been read to its end or is broken.
    pub(crate) readers: JoinSet<()>,
}

impl Link {
    /// Starts reading and writing.
    pub(crate) fn start<S>(ends: Ends<S>, pid: u32, timeout: Duration) -> Started
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (requests, request_queue) = mpsc::unbounded_channel();
        let (payloads, payload_queue) = mpsc::channel(PAYLOAD_QUEUE);
        let (running_sender, running) = oneshot::channel();
        let state = Lock::new(State {
            running: Some(running_sender),
            ..State::default()
        });
        let link = Self {
            inner: Arc::new(Inner {
                pid,
                timeout,
                requests,
                payloads,
                state,
            }),
        };

        tokio::spawn(write_frames(ends.requests, request_queue, pid));
        tokio::spawn(write_frames(ends.payloads, payload_queue, pid));
        let mut readers = JoinSet::new();
        let reader = link.clone();
        readers.spawn(async move { read_frames(ends.responses, pid, |frame| reader.on_frame(&frame)).await });
        let reader = link.clone();
        readers.spawn(async move { reader.read_payloads(ends.payload_events).await });
        Started { link, running, readers }
    }

    /// Sends a request and waits until its answer was applied.
    pub(crate) async fn request<T: Send + 'static>(
        &self,
        target: Target,
        command: Command,
        apply: impl FnOnce(Reply) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.exchange(target, command, None, apply, drop).await
    }

    /// Sends a request that creates an object. What the worker tells about the object is queued until `build` makes it
    /// listen, which it has to do last. If nobody waits for the answer any more, the object is closed: with `undo` if the
    /// answer is not there yet, or else by itself.
    pub(crate) async fn create<T: Created>(
        &self,
        target: Target,
        command: Command,
        undo: Command,
        build: impl FnOnce(Reply) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if !self.inner.state.lock().listeners.expect(&target) {
            return Err(Error::Type(format!("id {:?} is in use", listeners::id(&target))));
        }
        let creation = Creation {
            link: self,
            target: target.clone(),
        };
        let result = self.exchange(target, command, Some(undo), build, T::abandon).await;
        drop(creation);
        result
    }

    async fn exchange<T: Send + 'static>(
        &self,
        target: Target,
        command: Command,
        undo: Option<Command>,
        apply: impl FnOnce(Reply) -> Result<T> + Send + 'static,
        abandon: fn(T),
    ) -> Result<T> {
        let method = command.method();
        let (sender, receiver) = oneshot::channel();
        let undo = undo.map(|undo| (target.clone(), undo));
        let apply = move |result: Result<Reply>| {
            if let Err(Ok(value)) = sender.send(result.and_then(apply)) {
                abandon(value);
            }
        };
        let id = self.enqueue(target, command, Box::new(apply))?;
        let mut flight = Flight { link: self, id, undo };
        let mut waiting = Waiting { receiver, abandon };
        let result = self.answer(method, &mut waiting.receiver).await;
        if !matches!(result, Err(Error::Timeout { .. })) {
            flight.undo = None;
        }
        result
    }

    async fn answer<T>(&self, method: &'static str, receiver: &mut oneshot::Receiver<Result<T>>) -> Result<T> {
        let after = self.inner.timeout;
        match tokio::time::timeout(after, receiver).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Error::closed("the channel to the worker")),
            Err(_) => Err(Error::Timeout { method, after }),
        }
    }

    /// Sends a request whose answer is of no interest.
    pub(crate) fn post(&self, target: Target, command: Command) {
        self.post_then(target, command, || ());
    }

    /// Sends a request without waiting for the answer; does something when it was accepted.
    pub(crate) fn post_then(&self, target: Target, command: Command, accepted: impl FnOnce() + Send + 'static) {
        let method = command.method();
        let apply = move |result: Result<Reply>| match result {
            Ok(_) => accepted(),
            Err(error) => tracing::debug!(method, %error, "refused"),
        };
        if let Err(error) = self.enqueue(target, command, Box::new(apply)) {
            tracing::debug!(method, %error, "not sent");
        }
    }

    fn enqueue(&self, target: Target, command: Command, apply: Apply) -> Result<u32> {
        let id = self.expect(command.method(), apply)?;
        let frame = json::encode_request(&Request { id, target, command });
        let sent = match check_length(frame.len()) {
            Ok(()) => self
                .inner
                .requests
                .send(frame)
                .map_err(|_| Error::closed("the channel to the worker")),
            Err(error) => Err(error),
        };
        sent.inspect_err(|_| self.forget(id)).map(|()| id)
    }

    /// Notes that an answer will come, on either channel.
    fn expect(&self, method: &'static str, apply: Apply) -> Result<u32> {
        let mut state = self.inner.state.lock();
        if state.closed {
            return Err(Error::closed("the channel to the worker"));
        }
        let id = state.free_id();
        state.pending.insert(id, Pending { method, apply });
        Ok(id)
    }

    /// Sends a message of a data consumer and waits for the answer, which has no data.
    pub(crate) async fn send_data(&self, target: Target, ppid: u32, payload: Bytes) -> Result<()> {
        let method = "dataConsumer.send";
        let (sender, mut receiver) = oneshot::channel();
        let apply = move |result: Result<Reply>| drop(sender.send(result.map(drop)));
        let id = self.expect(method, Box::new(apply))?;
        let _flight = Flight {
            link: self,
            id,
            undo: None,
        };
        let command = PayloadCommand::DataConsumerSend(id, target, Ok(ppid));
        self.send_payload(&command, payload).await?;
        self.answer(method, &mut receiver).await
    }

    /// Sends a message with a payload. Waits while too many of them are waiting to be written.
    pub(crate) async fn send_payload(&self, command: &PayloadCommand, payload: Bytes) -> Result<()> {
        if self.inner.state.lock().closed {
            return Err(Error::closed("the channel to the worker"));
        }
        let header = json::encode_payload_command(command);
        check_length(header.len())?;
        check_length(payload.len())?;
        let sent = self.inner.payloads.send((header, payload)).await;
        sent.map_err(|_| Error::closed("the channel to the worker"))
    }

    /// Delivers what the worker tells about an object from now on, after what is in its queue.
    pub(crate) fn subscribe(&self, target: &Target, listener: impl Fn(Message) + Send + Sync + 'static) {
        let listener: Listener = Arc::new(listener);
        loop {
            let queued = self.inner.state.lock().listeners.listen(target, &listener);
            if queued.is_empty() {
                return;
            }
            queued.into_iter().for_each(|message| listener(message));
        }
    }

    /// Delivers nothing to an object any more.
    pub(crate) fn unsubscribe(&self, target: &Target) {
        self.inner.state.lock().listeners.remove(target);
    }

    /// Fails what is waiting for an answer, and all that comes later.
    pub(crate) fn close(&self) {
        let pending = {
            let mut state = self.inner.state.lock();
            state.closed = true;
            state.running = None;
            state.listeners.clear();
            std::mem::take(&mut state.pending)
        };
        for Pending { apply, .. } in pending.into_values() {
            apply(Err(Error::closed("the channel to the worker")));
        }
    }

    fn forget(&self, id: u32) {
        self.inner.state.lock().pending.remove(&id);
    }

    fn on_frame(&self, frame: &[u8]) {
        let pid = self.inner.pid;
        let text = |bytes| String::from_utf8_lossy(bytes);
        match frame {
            [] => {}
            [b'{', ..] => self.on_message(frame),
            [b'D', line @ ..] => tracing::debug!(pid, "{}", text(line)),
            [b'W', line @ ..] => tracing::warn!(pid, "{}", text(line)),
            [b'E', line @ ..] => tracing::error!(pid, "{}", text(line)),
            [b'X', line @ ..] => println!("{}", text(line)),
            [first, ..] => tracing::warn!(pid, first, "unexpected frame"),
        }
    }

    fn on_message(&self, frame: &[u8]) {
        match json::decode_incoming(frame) {
            Ok(json::Incoming::Response { id, result }) => self.on_response(id, result),
            Ok(json::Incoming::Notification { target_id, event, data }) => {
                if event == "running"
                    && let Some(running) = self.inner.state.lock().running.take()
                {
                    let _ = running.send(());
                    return;
                }
                let message = EventMessage {
                    target_id: target_id.clone(),
                    name: event,
                    data,
                };
                self.deliver(&target_id, Message::Event(message));
            }
            Err(error) => tracing::error!(pid = self.inner.pid, %error, "message not understood"),
        }
    }

    fn on_response(&self, id: u32, result: Result<json::Data, channel_proto::reply::Failure>) {
        let pending = self.inner.state.lock().pending.remove(&id);
        let Some(Pending { method, apply }) = pending else {
            tracing::debug!(pid = self.inner.pid, id, "answer that nobody waits for");
            return;
        };
        let result = match result {
            Ok(data) => Ok(Reply { method, data }),
            Err(failure) => Err(Error::Worker {
                method,
                kind: failure.kind,
                reason: failure.reason,
            }),
        };
        apply(result);
    }

    fn deliver(&self, target_id: &str, message: Message) {
        let Some(mut ready) = self.inner.state.lock().listeners.route(target_id, &message) else {
            tracing::debug!(target_id, "told about an object that nobody listens for");
            return;
        };
        let Some(last) = ready.pop() else { return };
        ready.iter().for_each(|listener| listener(message.clone()));
        last(message);
    }

    /// Reads the other channel, where every notification is followed by its payload.
    async fn read_payloads(&self, reader: impl AsyncRead + Unpin) {
        let mut header = None;
        let on_frame = |frame: Bytes| match header.take() {
            Some(PayloadNotification { target_id, event }) => {
                self.deliver(&target_id, Message::Payload(event, frame));
            }
            None => header = self.payload_header(&frame),
        };
        read_frames(reader, self.inner.pid, on_frame).await;
    }

    fn payload_header(&self, frame: &[u8]) -> Option<PayloadNotification> {
        match json::decode_incoming_payload(frame) {
            Ok(json::IncomingPayload::Notification(notification)) => return Some(notification),
            Ok(json::IncomingPayload::Response { id, result }) => self.on_response(id, result),
            Err(error) => tracing::error!(pid = self.inner.pid, %error, "payload header not understood"),
        }
        None
    }
}

impl State {
    /// The next id: never 0, and not one that is in flight.
    fn free_id(&mut self) -> u32 {
        loop {
            self.last_id = self.last_id.wrapping_add(1).max(1);
            if !self.pending.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }
}

/// What a request creates.
pub(crate) trait Created: Send + 'static {
    /// Nobody has it: it is closed.
    fn abandon(self);
}

/// The answer that a caller waits for.
struct Waiting<T> {
    receiver: oneshot::Receiver<Result<T>>,
    abandon: fn(T),
}

impl<T> Drop for Waiting<T> {
    fn drop(&mut self) {
        self.receiver.close();
        // Still there if the caller gave up when it had just come.
        if let Ok(Ok(value)) = self.receiver.try_recv() {
            (self.abandon)(value);
        }
    }
}

/// A request that waits for its answer.
struct Flight<'a> {
    link: &'a Link,
    id: u32,
    undo: Option<(Target, Command)>,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        // Still there if nobody waits any more: it timed out, or the caller gave up.
        let abandoned = self.link.inner.state.lock().pending.remove(&self.id).is_some();
        if let Some((target, undo)) = self.undo.take()
            && abandoned
        {
            self.link.post(target, undo);
        }
    }
}

/// The queue of an object that is being created. It ends with the creation, unless the object listens by then.
struct Creation<'a> {
    link: &'a Link,
    target: Target,
}

impl Drop for Creation<'_> {
    fn drop(&mut self) {
        let mut state = self.link.inner.state.lock();
        state.listeners.remove_unless_listening(&self.target);
    }
}

#[cfg(test)]
mod tests;
