//! All rooms, by id.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protoo::{Connection, PeerEvents};
use tokio::sync::Notify;

use crate::Config;
use crate::refusal::Refusal;
use crate::room::{Peer, Room};
use crate::tally::Tally;
use crate::throttle::Throttle;
use crate::workers::Workers;

/// All rooms, by id.
#[derive(Debug)]
pub(crate) struct Rooms {
    pub(crate) config: Arc<Config>,
    workers: Arc<Workers>,
    throttle: Arc<Throttle>,
    places: Mutex<HashMap<String, Place>>,
    /// Whether nobody may enter any more.
    closing: AtomicBool,
    /// Told when one is gone.
    ended: Notify,
    /// Members of all rooms.
    pub(crate) members: Tally,
}

/// Where the room of an id is.
#[derive(Debug, Default)]
struct Place {
    /// Whoever enters or leaves holds this, so that a room neither exists twice nor ends under a newcomer.
    turn: Arc<tokio::sync::Mutex<()>>,
    room: Option<Arc<Room>>,
}

impl Rooms {
    pub(crate) fn new(config: Arc<Config>, workers: Arc<Workers>) -> Self {
        Self {
            throttle: Throttle::new(&config),
            config,
            workers,
            places: Mutex::default(),
            closing: AtomicBool::new(false),
            ended: Notify::new(),
            members: Tally::default(),
        }
    }

    fn places(&self) -> MutexGuard<'_, HashMap<String, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that are open.
    pub(crate) fn all(&self) -> Vec<Arc<Room>> {
        self.places().values().filter_map(|place| place.room.clone()).collect()
    }

    /// The one with this id.
    pub(crate) fn get(&self, id: &str) -> Result<Arc<Room>, Refusal> {
        let room = self.places().get(id).and_then(|place| place.room.clone());
        let open = room.filter(|room| !room.is_closed());
        open.ok_or_else(|| Refusal::not_found("room", id))
    }

    /// Lets nobody in any more.
    pub(crate) fn close_doors(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Whether nobody may enter any more.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Waits until there are none.
    pub(crate) async fn emptied(&self) {
        loop {
            let ended = self.ended.notified();
            if self.places().is_empty() {
                return;
            }
            ended.await;
        }
    }

    /// Ends all of them, and waits until everybody has heard that.
    pub(crate) async fn end(&self) {
        let mut peers = Vec::new();
        for room in self.all() {
            peers.extend(room.peers.peers());
            room.end(protoo::Room::go_away).await;
        }
        // Each has a limit for this.
        for peer in peers {
            peer.gone().await;
        }
    }

    /// Whether somebody may enter the one with this id, or open it.
    pub(crate) fn check(&self, id: &str) -> Result<(), Refusal> {
        if self.is_closing() {
            return Err(Refusal::Conflict("the server goes down".to_owned()));
        }
        let places = self.places();
        if places.contains_key(id) || places.len() < self.config.max_rooms {
            Ok(())
        } else {
            Err(Refusal::TooMany("too many rooms".to_owned()))
        }
    }

    /// What is to be held while a room is entered.
    fn turn(&self, id: &str) -> Result<Arc<tokio::sync::Mutex<()>>, Refusal> {
        self.check(id)?;
        Ok(Arc::clone(&self.places().entry(id.to_owned()).or_default().turn))
    }

    /// Takes a connection into a room, which is opened if need be.
    pub(crate) async fn enter(
        &self,
        room_id: &str,
        peer_id: &str,
        connection: Connection,
    ) -> Result<(Arc<Room>, Peer, PeerEvents), Refusal> {
        loop {
            let turn = self.turn(room_id)?;
            let _held = turn.lock().await;
            let room = match self.places().get(room_id) {
                Some(place) if Arc::ptr_eq(&place.turn, &turn) => place.room.clone(),
                // It ended while this one waited.
                _ => continue,
            };
            let result = match room.filter(|room| !room.is_closed()) {
                Some(room) => Ok(room),
                None => self.create(room_id).await,
            };
            let room = match result {
                Ok(room) => room,
                Err(refusal) => {
                    self.places().remove(room_id);
                    self.ended.notify_waiters();
                    return Err(refusal);
                }
            };
            if let Some(place) = self.places().get_mut(room_id) {
                place.room = Some(Arc::clone(&room));
            }
            let entered = room.enter(peer_id, connection).await;
            return match entered {
                Ok(Some((peer, events))) => Ok((room, peer, events)),
                other => {
                    // A room that was opened for this one alone has no use.
                    self.close_if_empty(&room).await;
                    other?;
                    Err(Refusal::gone())
                }
            };
        }
    }

    async fn create(&self, id: &str) -> Result<Arc<Room>, Refusal> {
        Room::create(id, &self.config, &self.workers, &self.throttle, &self.members).await
    }

    /// Lets a peer go, and its room if it was the last one there.
    pub(crate) async fn leave(&self, room: &Arc<Room>, peer: &Peer) {
        room.dismiss(peer.data());
        let turn = self.places().get(&room.id).map(|place| Arc::clone(&place.turn));
        if let Some(turn) = turn {
            let _held = turn.lock().await;
            self.close_if_empty(room).await;
        }
    }

    /// Whoever calls this holds the turn.
    async fn close_if_empty(&self, room: &Arc<Room>) {
        if !room.is_empty() {
            return;
        }
        {
            let mut places = self.places();
            let known = places.get(&room.id).and_then(|place| place.room.as_ref());
            if !known.is_some_and(|known| Arc::ptr_eq(known, room)) {
                return;
            }
            places.remove(&room.id);
        }
        self.ended.notify_waiters();
        room.end(protoo::Room::close).await;
        tracing::info!(room = room.id, "the room ended");
    }
}
