//! Who is in a room, and what they have there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use client::{AnyTransport, Consumer, DataConsumer, DataProducer, Producer, RtpCapabilities, Transport as _};
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use crate::branch::Branch;
use crate::refusal::Refusal;
use crate::tally::Counted;

/// Most transports of a member: a page has two, a broadcaster one for each kind of media and direction.
const MAX_TRANSPORTS: usize = 16;
/// Most producers and most data producers of a member.
const MAX_PRODUCERS: usize = 64;

/// Somebody in a room: a page with a connection, or a broadcaster without.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: String,
    /// Where its transports are.
    pub(crate) branch: Arc<Branch>,
    /// As many as requests to it may be unanswered; the next ones wait.
    pub(crate) unanswered: Semaphore,
    max_unanswered: usize,
    state: Mutex<MemberState>,
}

#[derive(Debug, Default)]
pub(crate) struct MemberState {
    pub(crate) closed: bool,
    /// What it told of itself when it joined.
    pub(crate) profile: Option<Profile>,
    pub(crate) transports: HashMap<String, Access>,
    pub(crate) producers: HashMap<String, Producer>,
    pub(crate) consumers: HashMap<String, Consumer>,
    pub(crate) data_producers: HashMap<String, DataProducer>,
    pub(crate) data_consumers: HashMap<String, DataConsumer>,
    /// Its place in branch, worker and server.
    seat: Vec<Counted>,
    /// Requests to it without an answer, one after the other.
    not_answered: usize,
}

/// What a member told of itself when it joined.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    pub(crate) display_name: String,
    pub(crate) device: Map<String, Value>,
    /// What it can receive; nothing if not given.
    pub(crate) rtp_capabilities: Option<RtpCapabilities>,
    /// Whether it wants data.
    pub(crate) data: bool,
}

impl Profile {
    pub(crate) fn check_name(name: &str) -> Result<(), Refusal> {
        match name.chars().count() {
            1..=128 => Ok(()),
            _ => Err(Refusal::Invalid("displayName must have 1 to 128 characters".to_owned())),
        }
    }
}

/// A way in or out, and whether it is the one to send media to.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) transport: AnyTransport,
    pub(crate) consuming: bool,
}

impl Member {
    pub(crate) fn new(id: &str, branch: Arc<Branch>, seat: Vec<Counted>, max_unanswered: usize) -> Arc<Self> {
        Arc::new(Self {
            id: id.to_owned(),
            branch,
            unanswered: Semaphore::new(max_unanswered.clamp(1, Semaphore::MAX_PERMITS)),
            max_unanswered,
            state: Mutex::new(MemberState {
                seat,
                ..MemberState::default()
            }),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, MemberState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes all that it has and gives its seat back; returns whether it had joined. Only the first time.
    pub(crate) fn close(&self) -> bool {
        let (joined, transports) = {
            let mut state = self.lock();
            state.closed = true;
            state.seat.clear();
            (state.profile.take().is_some(), std::mem::take(&mut state.transports))
        };
        for access in transports.into_values() {
            access.transport.close();
        }
        joined
    }

    /// What it told of itself, if it has joined.
    pub(crate) fn profile(&self) -> Option<Profile> {
        self.lock().profile.clone()
    }

    pub(crate) fn check_joined(&self) -> Result<(), Refusal> {
        let joined = self.lock().profile.is_some();
        joined.then_some(()).ok_or_else(Refusal::not_joined)
    }

    /// As others are told of it.
    pub(crate) fn describe(&self, profile: &Profile) -> Value {
        json!({ "id": self.id, "displayName": profile.display_name, "device": profile.device })
    }

    pub(crate) fn transport(&self, id: &str) -> Result<AnyTransport, Refusal> {
        let found = self.lock().transports.get(id).map(|access| access.transport.clone());
        found.ok_or_else(|| Refusal::not_found("transport", id))
    }

    /// The transport to send media to.
    pub(crate) fn receiving(&self) -> Option<AnyTransport> {
        let state = self.lock();
        let access = state.transports.values().find(|access| access.consuming)?;
        Some(access.transport.clone())
    }

    pub(crate) fn producer(&self, id: &str) -> Result<Producer, Refusal> {
        let found = self.lock().producers.get(id).cloned();
        found.ok_or_else(|| Refusal::not_found("producer", id))
    }

    pub(crate) fn consumer(&self, id: &str) -> Result<Consumer, Refusal> {
        let found = self.lock().consumers.get(id).cloned();
        found.ok_or_else(|| Refusal::not_found("consumer", id))
    }

    pub(crate) fn data_producer(&self, id: &str) -> Result<DataProducer, Refusal> {
        let found = self.lock().data_producers.get(id).cloned();
        found.ok_or_else(|| Refusal::not_found("data producer", id))
    }

    pub(crate) fn data_consumer(&self, id: &str) -> Result<DataConsumer, Refusal> {
        let found = self.lock().data_consumers.get(id).cloned();
        found.ok_or_else(|| Refusal::not_found("data consumer", id))
    }

    /// It answered a request.
    pub(crate) fn answered(&self) {
        self.lock().not_answered = 0;
    }

    /// It did not answer a request; whether it never answers.
    pub(crate) fn not_answered(&self) -> bool {
        let mut state = self.lock();
        state.not_answered += 1;
        state.not_answered >= self.max_unanswered
    }

    /// Whether it may have one more transport.
    pub(crate) fn check_transports(&self) -> Result<(), Refusal> {
        below(self.lock().transports.len(), MAX_TRANSPORTS, "transports")
    }

    /// Whether it may have one more producer.
    pub(crate) fn check_producers(&self) -> Result<(), Refusal> {
        below(self.lock().producers.len(), MAX_PRODUCERS, "producers")
    }

    /// Whether it may have one more data producer.
    pub(crate) fn check_data_producers(&self) -> Result<(), Refusal> {
        below(self.lock().data_producers.len(), MAX_PRODUCERS, "data producers")
    }
}

fn below(count: usize, limit: usize, what: &str) -> Result<(), Refusal> {
    if count < limit {
        Ok(())
    } else {
        Err(Refusal::TooMany(format!("no more than {limit} {what}")))
    }
}
