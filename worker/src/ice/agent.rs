//! Which paths to the peer are valid, and which one is used.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::VecDeque;
use std::net::SocketAddr;

use channel_proto::transport_parameters::{IceState, Protocol};
use smallvec::SmallVec;

use super::Credentials;
use super::stun::{Class, ErrorCode, Message};

/// Paths that are remembered. A peer has as many as it has addresses; more are a peer playing tricks.
const MAX_TUPLES: usize = 8;
/// Without a check for so long, the peer is taken to be gone and not to want what we send, in microseconds
/// (RFC 7675 section 5.1).
const CONSENT_TIMEOUT: u64 = 30_000_000;
/// What may be sent to addresses that only checks came from, in bytes: a second of some video streams.
///
/// A check does not prove that its source address is the peer's. Somebody who knows the credentials could forge it, and
/// have a third party flooded. Media, reports and the DTLS handshake do prove it, and come within a round trip or, from
/// one who only watches, with the next report.
const ALLOWANCE: u64 = 1024 * 1024;
/// What that grows by, up to where it began, in bytes per second.
const ALLOWANCE_RATE: u64 = 16 * 1024;

/// A path: a socket or connection of ours, and an address of the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// The socket or connection, as its owner calls it.
    pub socket: u32,
    /// The peer's address.
    pub remote: SocketAddr,
    /// Our address.
    pub local: SocketAddr,
    /// UDP or TCP.
    pub protocol: Protocol,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The answer was appended.
    Answered,
    /// It is none of our business, or not authentic.
    Ignored,
}

/// What the owner is to do, and to tell, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Packets from this path are the peer's from now on.
    TupleAdded(Tuple),
    /// Packets from this path are not the peer's any more. A connection is of no use then.
    TupleRemoved(Tuple),
    /// This user fragment is not ours any more.
    FragmentRemoved(String),
    /// The path to send on is another.
    Selected(Tuple),
    /// The state is another.
    State(IceState),
}

#[derive(Debug)]
struct Entry {
    tuple: Tuple,
    /// When the last authentic check came, in microseconds.
    checked: u64,
    /// Whether something authentic other than a check came.
    confirmed: bool,
}

/// The ICE side of one transport.
#[derive(Debug)]
pub struct Agent {
    credentials: Credentials,
    /// Those before the restart, until the peer uses the new ones.
    old_credentials: Option<Credentials>,
    state: IceState,
    /// Newest first.
    tuples: SmallVec<[Entry; 2]>,
    selected: Option<Tuple>,
    selected_confirmed: bool,
    nomination: u32,
    /// Time of the last check that counted for consent, in microseconds.
    consented: u64,
    allowance: u64,
    allowance_updated: u64,
    events: VecDeque<Event>,
}

impl Agent {
    /// An agent that knows no peer.
    pub fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            old_credentials: None,
            state: IceState::New,
            tuples: SmallVec::new(),
            selected: None,
            selected_confirmed: false,
            nomination: 0,
            consented: 0,
            allowance: ALLOWANCE,
            allowance_updated: 0,
            events: VecDeque::new(),
        }
    }

    /// What happened since the last call.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether something happened since the last call of [`poll_event`](Self::poll_event).
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// The state.
    pub fn state(&self) -> IceState {
        self.state
    }

    /// Whether the peer can be sent to.
    pub fn is_connected(&self) -> bool {
        matches!(self.state, IceState::Connected | IceState::Completed)
    }

    /// The path to send on.
    pub fn selected(&self) -> Option<Tuple> {
        self.selected
    }

    /// The valid paths, newest first.
    pub fn tuples(&self) -> impl Iterator<Item = Tuple> + '_ {
        self.tuples.iter().map(|entry| entry.tuple)
    }

    /// The credentials that the peer is to use.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// User fragments of ours that are good.
    pub fn fragments(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.credentials.fragment()).chain(self.old_credentials.as_ref().map(Credentials::fragment))
    }

    /// Whether packets that came on this path are the peer's.
    pub fn knows(&self, tuple: &Tuple) -> bool {
        self.selected.as_ref() == Some(tuple) || self.tuples.iter().any(|entry| entry.tuple == *tuple)
    }

    /// New credentials. The old ones are good until the peer uses the new ones.
    pub fn restart(&mut self, credentials: Credentials, now: u64) {
        self.drop_old_credentials();
        self.old_credentials = Some(std::mem::replace(&mut self.credentials, credentials));
        self.nomination = 0;
        self.consented = now;
    }

    fn drop_old_credentials(&mut self) {
        if let Some(old) = self.old_credentials.take() {
            self.events.push_back(Event::FragmentRemoved(old.fragment().to_owned()));
        }
    }

    /// Takes a message that came on a path; appends its answer, which is to go back there before any event is told.
    pub fn handle(&mut self, message: &Message<'_>, tuple: Tuple, now: u64, answer: &mut Vec<u8>) -> Verdict {
        // We never ask, so there is nothing to be answered; and an indication keeps a path alive that we keep anyway.
        if message.class != Class::Request {
            return Verdict::Ignored;
        }
        let authentic =
            |credentials: &Credentials| message.addresses(credentials.fragment()) && message.verify(credentials.key());
        let current = authentic(&self.credentials);
        let credentials = match &self.old_credentials {
            _ if current => &self.credentials,
            Some(old) if authentic(old) => old,
            _ => return Verdict::Ignored,
        };
        if !message.is_binding() || !message.fingerprint || message.priority.is_none() {
            message.write_error(ErrorCode::BadRequest, answer);
            return Verdict::Answered;
        }
        if message.controlled {
            message.write_error(ErrorCode::RoleConflict, answer);
            return Verdict::Answered;
        }
        message.write_success(tuple.remote, credentials.key(), answer);
        if current {
            self.drop_old_credentials();
        }
        self.checked(message, tuple, now);
        Verdict::Answered
    }

    /// An authentic check came on this path.
    fn checked(&mut self, message: &Message<'_>, tuple: Tuple, now: u64) {
        self.add(tuple, now);
        let newer = message
            .nomination
            .is_some_and(|nomination| nomination > self.nomination);
        let choice = match (self.state, message.nomination) {
            // A peer may choose again and again without numbers, or mix both ways.
            (IceState::Completed, _) => newer || message.use_candidate,
            (_, Some(_)) => newer,
            (_, None) => message.use_candidate,
        };
        if let Some(nomination) = message.nomination.filter(|_| newer) {
            self.nomination = nomination;
        }
        match self.state {
            _ if choice => {
                self.select(tuple);
                self.set_state(IceState::Completed);
            }
            IceState::New | IceState::Disconnected if message.nomination.is_none() => {
                self.select(tuple);
                self.set_state(IceState::Connected);
            }
            _ => {}
        }
        if self.is_connected() {
            self.consented = now;
        }
        self.limit(tuple);
    }

    fn add(&mut self, tuple: Tuple, now: u64) {
        if let Some(entry) = self.tuples.iter_mut().find(|entry| entry.tuple == tuple) {
            entry.checked = now;
            return;
        }
        let entry = Entry {
            tuple,
            checked: now,
            confirmed: false,
        };
        self.tuples.insert(0, entry);
        self.events.push_back(Event::TupleAdded(tuple));
    }

    /// Forgets the oldest path if there are too many, but neither the one just checked nor the selected one.
    fn limit(&mut self, checked: Tuple) {
        if self.tuples.len() > MAX_TUPLES
            && let Some(oldest) = self
                .tuples
                .iter()
                .rposition(|entry| entry.tuple != checked && Some(entry.tuple) != self.selected)
        {
            let entry = self.tuples.remove(oldest);
            self.events.push_back(Event::TupleRemoved(entry.tuple));
        }
    }

    fn select(&mut self, tuple: Tuple) {
        if self.selected == Some(tuple) {
            return;
        }
        self.selected = Some(tuple);
        self.selected_confirmed = self.tuples.iter().any(|entry| entry.tuple == tuple && entry.confirmed);
        self.events.push_back(Event::Selected(tuple));
    }

    fn set_state(&mut self, state: IceState) {
        if self.state != state {
            self.state = state;
            self.events.push_back(Event::State(state));
        }
    }

    fn disconnect(&mut self) {
        self.selected = None;
        self.selected_confirmed = false;
        self.nomination = 0;
        if self.is_connected() {
            self.set_state(IceState::Disconnected);
        }
    }

    /// Something authentic other than a check came on this path: the peer is there.
    pub fn confirm(&mut self, tuple: &Tuple) {
        if self.selected_confirmed && self.selected.as_ref() == Some(tuple) {
            return;
        }
        if let Some(entry) = self.tuples.iter_mut().find(|entry| entry.tuple == *tuple) {
            entry.confirmed = true;
            self.selected_confirmed |= self.selected.as_ref() == Some(tuple);
        }
    }

    /// Authentic media came on this path: the peer uses it, so we do.
    ///
    /// A peer that nominates aggressively (RFC 5245) may never say which path it settled on.
    pub fn media(&mut self, tuple: &Tuple, now: u64) {
        self.confirm(tuple);
        if self.is_connected()
            && self.selected.as_ref() != Some(tuple)
            && self
                .tuples
                .iter()
                .any(|entry| entry.tuple == *tuple && now.saturating_sub(entry.checked) < CONSENT_TIMEOUT)
        {
            self.select(*tuple);
        }
    }

    /// Whether so many bytes of media or reports may go to the selected path; they are counted.
    pub fn allow(&mut self, bytes: usize, now: u64) -> bool {
        if self.selected_confirmed {
            return true;
        }
        let grown = now
            .saturating_sub(self.allowance_updated)
            .saturating_mul(ALLOWANCE_RATE)
            / 1_000_000;
        if grown > 0 {
            self.allowance = self.allowance.saturating_add(grown).min(ALLOWANCE);
            self.allowance_updated = now;
        }
        match self.allowance.checked_sub(bytes as u64) {
            Some(rest) => {
                self.allowance = rest;
                true
            }
            None => false,
        }
    }

    /// A socket or connection of ours is gone.
    pub fn remove_socket(&mut self, socket: u32) {
        let mut removed = false;
        self.tuples.retain(|entry| {
            let gone = entry.tuple.socket == socket;
            if gone {
                removed = true;
                self.events.push_back(Event::TupleRemoved(entry.tuple));
            }
            !gone
        });
        if !removed {
            return;
        }
        match self.tuples.first().map(|newest| newest.tuple) {
            None => self.disconnect(),
            Some(newest) if self.selected.is_some_and(|selected| selected.socket == socket) => self.select(newest),
            Some(_) => {}
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn deadline(&self) -> Option<u64> {
        self.is_connected()
            .then(|| self.consented.saturating_add(CONSENT_TIMEOUT))
    }

    /// Lets time pass: a peer that has not checked for long is gone.
    pub fn handle_timeout(&mut self, now: u64) {
        if self.deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        for entry in self.tuples.drain(..) {
            self.events.push_back(Event::TupleRemoved(entry.tuple));
        }
        self.disconnect();
    }
}
