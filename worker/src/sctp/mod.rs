//! An SCTP association over a function that carries datagrams (RFC 9260, RFC 8831), without sockets and clock.
//!
//! The protocol itself is `dcsctp`'s. This module keeps the interface small, bounds what a peer can make us hold, counts
//! what is buffered until the peer has acknowledged it, lets queued messages leave before their stream is reset, and
//! authenticates cookies.
//!
//! Time is in microseconds of the clock that `now` comes from. After each call, [`Association::poll`] says what follows.

mod burden;
pub mod chunks;
mod cookie;
#[cfg(test)]
mod hostile_tests;
mod sending;
#[cfg(test)]
mod sending_tests;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use dcsctp::api::{
    DcSctpSocket, Options, SocketEvent, SocketState, SocketTime,
    ZERO_CHECKSUM_ALTERNATE_ERROR_DETECTION_METHOD_LOWER_LAYER_DTLS,
};

use burden::Burden;
use chunks::{COOKIE_ACK, INIT, PORT, chunks, is_sctp};
use cookie::{CookieKey, has_cookie};
use sending::{Outgoing, Sending};

/// Payload protocol identifiers (RFC 8831 8).
pub mod ppid {
    /// Data channel establishment (RFC 8832).
    pub const DCEP: u32 = 50;
    /// Text.
    pub const STRING: u32 = 51;
    /// Bytes.
    pub const BINARY: u32 = 53;
    /// Text of no bytes; one byte of payload that means nothing.
    pub const EMPTY_STRING: u32 = 56;
    /// No bytes; one byte of payload that means nothing.
    pub const EMPTY_BINARY: u32 = 57;
}

/// What stands for no bytes (RFC 8831 6.6).
const NOTHING: Bytes = Bytes::from_static(&[0]);
/// Streams that we announce in both directions: they cost nothing until used, and their number cannot grow later.
const STREAMS: u16 = 65_535;
/// Smallest and largest receive window in bytes: what a peer can make us hold of messages that are not complete.
const WINDOW: (usize, usize) = (5 * 1024 * 1024, 64 * 1024 * 1024);
/// How long an acknowledgement may wait for company. Shorter than the 200 ms of RFC 9260 6.2: peers learn sooner that
/// their buffers are free, for a few packets more.
const ACK_DELAY: Duration = Duration::from_millis(20);

/// What an association is set up with.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Longest message in bytes, in both directions.
    pub max_message_size: usize,
    /// Bytes of messages that may wait to be acknowledged.
    pub send_buffer_size: usize,
    /// Whether packets travel over DTLS, so that checksums may be left out (RFC 9653).
    pub over_dtls: bool,
    /// Key of state cookies; nobody else may know it.
    pub secret: [u8; 32],
    /// Where tags and first sequence numbers come from.
    pub seed: u64,
}

/// State of an association.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not started; packets are ignored.
    New,
    /// Being set up.
    Connecting,
    /// Messages flow.
    Connected,
    /// Could not be set up. Final.
    Failed,
    /// Ended by either side, or lost. Final.
    Closed,
}

/// How a message is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// In the order of the stream.
    pub ordered: bool,
    /// Milliseconds after which it is given up.
    pub lifetime: Option<u16>,
    /// Retransmissions after which it is given up.
    pub max_retransmissions: Option<u16>,
}

/// Why a message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There is no association, or not any more.
    #[error("SCTP association not connected")]
    NotConnected,
    /// Too much waits already; the message may be sent later.
    #[error("SCTP send buffer full")]
    BufferFull,
    /// The message is longer than allowed.
    #[error("message too large")]
    TooLarge,
    /// The peer does not take that many streams.
    #[error("SCTP stream beyond those of the peer")]
    NoSuchStream,
    /// A message of no bytes whose identifier has no form for that.
    #[error("empty message")]
    Empty,
}

/// What follows from a call.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// A packet for the peer.
    Packet(Vec<u8>),
    /// The state changed.
    State(State),
    /// A message came.
    Message {
        /// Stream that it came on.
        stream: u16,
        /// Payload protocol identifier.
        ppid: u32,
        /// Its bytes, at least one.
        payload: Vec<u8>,
    },
    /// The peer reset these of its streams; none means all.
    StreamsReset(Vec<u16>),
}

/// One association.
pub struct Association {
    /// Absent once it is over.
    socket: Option<Box<dyn DcSctpSocket>>,
    state: State,
    settings: Settings,
    cookies: CookieKey,
    started: u64,
    /// Tag that packets of the peer carry.
    tag: Option<[u8; 4]>,
    /// Tag of the cookie that is being looked at: the one above from when it is acknowledged.
    tag_of_cookie: Option<[u8; 4]>,
    sending: Sending,
    /// The peer has begun anew, and the stack is to be replaced.
    restarted: bool,
    burden: Burden,
    outputs: VecDeque<Output>,
}

impl fmt::Debug for Association {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Association")
            .field("state", &self.state)
            .field("buffered", &self.buffered_amount())
            .finish_non_exhaustive()
    }
}

/// The receive window in bytes.
fn window(settings: &Settings) -> usize {
    settings.max_message_size.saturating_mul(2).clamp(WINDOW.0, WINDOW.1)
}

/// A message longer than agreed is dropped when it is complete; one that takes half the window is not waited for.
fn burden(settings: &Settings) -> Burden {
    Burden::new(settings.max_message_size.max(window(settings) / 2))
}

/// The stack's part of an association.
fn stack(settings: &Settings) -> Box<dyn DcSctpSocket> {
    let mut options = Options {
        local_port: PORT,
        remote_port: PORT,
        announced_maximum_incoming_streams: STREAMS,
        announced_maximum_outgoing_streams: STREAMS,
        max_message_size: settings.max_message_size,
        max_receiver_window_buffer_size: window(settings),
        delayed_ack_max_timeout: ACK_DELAY,
        // Both are enforced here, and count what is in flight too.
        max_send_buffer_size: settings.send_buffer_size.saturating_mul(2),
        per_stream_send_queue_limit: settings.send_buffer_size.saturating_mul(2),
        ..Options::default()
    };
    if settings.over_dtls {
        options.zero_checksum_alternate_error_detection_method =
            ZERO_CHECKSUM_ALTERNATE_ERROR_DETECTION_METHOD_LOWER_LAYER_DTLS;
    }
    dcsctp::new_socket("", &options)
}

impl Association {
    /// An association that has not been started.
    pub fn new(settings: Settings, now: u64) -> Self {
        // The stack draws tags from the generator of this thread.
        fastrand::seed(settings.seed);
        Self {
            socket: Some(stack(&settings)),
            state: State::New,
            settings,
            cookies: CookieKey::new(&settings.secret),
            started: now,
            tag: None,
            tag_of_cookie: None,
            sending: Sending::default(),
            restarted: false,
            burden: burden(&settings),
            outputs: VecDeque::new(),
        }
    }

    /// Its state.
    pub fn state(&self) -> State {
        self.state
    }

    /// Bytes of messages that the peer has not acknowledged.
    pub fn buffered_amount(&self) -> usize {
        self.sending.buffered_amount()
    }

    /// How many streams the peer lets us send on, while connected.
    pub fn outgoing_streams(&self) -> Option<u16> {
        let socket = self.socket.as_ref()?;
        // A peer that shuts down gets no more.
        let up = self.state == State::Connected && socket.state() == SocketState::Connected;
        up.then(|| Some(socket.get_metrics()?.negotiated_maximum_outgoing_streams))?
    }

    /// Starts it. The peer may do so at the same time.
    pub fn connect(&mut self, now: u64) {
        if self.state == State::New {
            self.set_state(State::Connecting);
            self.with_socket(now, |socket| socket.connect());
        }
    }

    /// Takes a packet of the peer.
    pub fn receive(&mut self, now: u64, packet: &[u8]) {
        if !matches!(self.state, State::Connecting | State::Connected) || !is_sctp(packet) {
            return;
        }
        let opened = if has_cookie(packet) {
            let Some(opened) = self.cookies.open(packet, now) else {
                return;
            };
            self.tag_of_cookie = opened.get(4..8).and_then(|tag| tag.try_into().ok());
            Some(opened)
        } else {
            None
        };
        let of_peer = self.tag.is_some() && packet.get(4..8) == self.tag.as_ref().map(|tag| &tag[..]);
        if of_peer && self.burden.receive(packet) {
            self.abort(now);
            return;
        }
        let packet = opened.as_deref().unwrap_or(packet);
        self.with_socket(now, |socket| socket.handle_input(packet));
        if self.restarted {
            self.begin_anew(now, packet);
        }
    }

    /// The peer has begun anew with this packet, and knows nothing of what was (RFC 9260 5.2.4). The stack would send it
    /// the rest of a message whose beginning it never got, after which the stream is stuck: so take another stack.
    fn begin_anew(&mut self, now: u64, packet: &[u8]) {
        self.restarted = false;
        self.sending.forget();
        self.burden = burden(&self.settings);
        self.socket = Some(stack(&self.settings));
        self.with_socket(now, |socket| socket.handle_input(packet));
        if self.outgoing_streams().is_none() {
            self.end();
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn next_timeout(&self) -> Option<u64> {
        let at = self.socket.as_ref()?.poll_timeout();
        (at != SocketTime::infinite_future()).then(|| {
            self.started
                .saturating_add((at - SocketTime::zero()).as_micros() as u64)
        })
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: u64) {
        self.with_socket(now, |_| {});
    }

    /// Sends a message. One of no bytes is sent as RFC 8831 6.6 says.
    ///
    /// # Errors
    /// It was not taken.
    pub fn send(
        &mut self,
        now: u64,
        stream: u16,
        ppid: u32,
        payload: Bytes,
        delivery: Delivery,
    ) -> Result<(), SendError> {
        let Some(streams) = self.outgoing_streams() else {
            return Err(SendError::NotConnected);
        };
        if stream >= streams {
            return Err(SendError::NoSuchStream);
        }
        let (ppid, payload) = match ppid {
            _ if !payload.is_empty() => (ppid, payload),
            ppid::STRING => (ppid::EMPTY_STRING, NOTHING),
            ppid::BINARY => (ppid::EMPTY_BINARY, NOTHING),
            ppid::EMPTY_STRING | ppid::EMPTY_BINARY => (ppid, NOTHING),
            _ => return Err(SendError::Empty),
        };
        let length = payload.len();
        if length > self.settings.max_message_size.min(self.settings.send_buffer_size) {
            return Err(SendError::TooLarge);
        }
        let message = Outgoing {
            stream,
            ppid,
            payload,
            delivery,
        };
        self.sending.send(now, message, self.settings.send_buffer_size)?;
        self.with_socket(now, |_| {});
        Ok(())
    }

    /// Resets one of our streams, once its messages are through. What is sent on it later comes after the reset.
    pub fn reset_stream(&mut self, now: u64, stream: u16) {
        if self.outgoing_streams().is_some_and(|streams| stream < streams) {
            self.sending.reset(stream);
            self.collect(now);
        }
    }

    /// Ends it at once; the peer is told.
    pub fn abort(&mut self, now: u64) {
        if matches!(self.state, State::Connecting | State::Connected) {
            self.with_socket(now, |socket| socket.close());
        }
    }

    /// What follows from the calls so far, in order.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn time(&self, now: u64) -> SocketTime {
        SocketTime::zero() + Duration::from_micros(now.saturating_sub(self.started))
    }

    fn with_socket(&mut self, now: u64, work: impl FnOnce(&mut dyn DcSctpSocket)) {
        let at = self.time(now);
        let Some(socket) = &mut self.socket else {
            return;
        };
        socket.advance_time(at);
        work(socket.as_mut());
        self.collect(now);
    }

    /// Takes what the stack has to say, and gives it what it can have then.
    fn collect(&mut self, now: u64) {
        self.drain(now);
        while !self.restarted
            && let Some(socket) = &mut self.socket
            && self.sending.advance(socket.as_mut(), now)
        {
            self.drain(now);
        }
    }

    fn drain(&mut self, now: u64) {
        loop {
            let Some(socket) = &mut self.socket else {
                return;
            };
            while let Some(message) = socket.get_next_message() {
                self.burden.completed();
                if message.payload.len() <= self.settings.max_message_size {
                    self.outputs.push_back(Output::Message {
                        stream: message.stream_id.0,
                        ppid: message.ppid.0,
                        payload: message.payload,
                    });
                }
            }
            let Some(event) = socket.poll_event() else {
                return;
            };
            match event {
                // What was to be in it fits no packet.
                SocketEvent::SendPacket(packet) if chunks(&packet).next().is_none() => {}
                SocketEvent::SendPacket(packet) => {
                    self.learn_tag(&packet);
                    self.burden.sent(&packet);
                    let packet = self.cookies.seal(packet, now);
                    self.outputs.push_back(Output::Packet(packet));
                }
                SocketEvent::OnConnected() => self.set_state(State::Connected),
                SocketEvent::OnConnectionRestarted() => {
                    self.restarted = true;
                    return;
                }
                SocketEvent::OnClosed() | SocketEvent::OnAborted(..) => self.end(),
                SocketEvent::OnIncomingStreamReset(streams) => {
                    let streams = streams.iter().map(|stream| stream.0).collect();
                    self.outputs.push_back(Output::StreamsReset(streams));
                }
                SocketEvent::OnStreamsResetPerformed(streams) | SocketEvent::OnStreamsResetFailed(streams) => {
                    self.sending.answered(&streams);
                }
                SocketEvent::OnLifecycleMessageFullySent(id) => self.sending.sent(id.value()),
                SocketEvent::OnLifecycleEnd(id) => self.sending.finished(id.value()),
                SocketEvent::OnError(..)
                | SocketEvent::OnBufferedAmountLow(_)
                | SocketEvent::OnTotalBufferedAmountLow()
                | SocketEvent::OnLifecycleMessageMaybeExpired(_)
                | SocketEvent::OnLifecycleMessageExpired(_)
                | SocketEvent::OnLifecycleMessageDelivered(_) => {}
            }
        }
    }

    /// We choose the tag of the peer's packets in our INIT, or in a cookie that comes back.
    fn learn_tag(&mut self, packet: &[u8]) {
        let first = chunks(packet).next();
        match first.map(|chunk| (chunk.kind, chunk.value())) {
            Some((INIT, value)) => self.tag = value.first_chunk().copied(),
            Some((COOKIE_ACK, _)) => self.tag = self.tag_of_cookie.take().or(self.tag),
            _ => {}
        }
    }

    /// It is over: it was lost, or never came about.
    fn end(&mut self) {
        let never = self.state == State::Connecting;
        self.set_state(if never { State::Failed } else { State::Closed });
        self.sending.forget();
        self.socket = None;
    }

    fn set_state(&mut self, state: State) {
        if self.state != state {
            self.state = state;
            self.outputs.push_back(Output::State(state));
        }
    }
}
