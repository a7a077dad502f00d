//! Members that see each other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use client::{CloseReason, RouterEvent};
use protoo::{Connection, PeerEvents};
use serde_json::{Value, json};

use crate::Config;
use crate::bot::Bot;
use crate::branch::Branch;
use crate::member::{Member, Profile};
use crate::refusal::Refusal;
use crate::speakers::Speakers;
use crate::tally::{Counted, Tally};
use crate::throttle::Throttle;
use crate::workers::Workers;

/// A member with a connection.
pub(crate) type Peer = protoo::Peer<Arc<Member>>;

/// Members that see each other.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) id: String,
    pub(crate) config: Arc<Config>,
    workers: Arc<Workers>,
    pub(crate) throttle: Arc<Throttle>,
    /// All members of the server.
    everybody: Tally,
    pub(crate) peers: protoo::Room<Arc<Member>>,
    broadcasters: Mutex<HashMap<String, Arc<Member>>>,
    /// The branch with which it began, where bot and observers are.
    pub(crate) home: Arc<Branch>,
    branches: tokio::sync::Mutex<Vec<Arc<Branch>>>,
    pub(crate) bot: Bot,
    pub(crate) speakers: Speakers,
    roster: Mutex<()>,
}

impl Room {
    pub(crate) async fn create(
        id: &str,
        config: &Arc<Config>,
        workers: &Arc<Workers>,
        throttle: &Arc<Throttle>,
        everybody: &Tally,
    ) -> Result<Arc<Self>, Refusal> {
        let free = workers.least_loaded(|slot| slot.members.get() < config.max_peers_per_worker);
        let (slot, running) = free.ok_or_else(full)?;
        let home = Branch::open(slot, running).await?;
        let parts = tokio::try_join!(Bot::create(&home), Speakers::create(&home));
        // Nobody else would close the router.
        let (bot, speakers) = parts.inspect_err(|_| home.router.close())?;
        let room = Arc::new(Self {
            id: id.to_owned(),
            config: Arc::clone(config),
            workers: Arc::clone(workers),
            throttle: Arc::clone(throttle),
            everybody: everybody.clone(),
            peers: protoo::Room::new(),
            broadcasters: Mutex::default(),
            branches: tokio::sync::Mutex::new(vec![Arc::clone(&home)]),
            home,
            bot,
            speakers,
            roster: Mutex::default(),
        });
        tokio::spawn(room.speakers.follow(Arc::downgrade(&room)));
        room.watch(&room.home);
        tracing::info!(room = id, worker = room.home.slot.index, "room");
        Ok(room)
    }

    /// Ends the room when the worker of a branch ends: its peers shall come back to another one.
    fn watch(self: &Arc<Self>, branch: &Branch) {
        let (room, mut events): (Weak<Self>, _) = (Arc::downgrade(self), branch.router.events());
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if let (RouterEvent::Closed(CloseReason::WorkerClosed), Some(room)) = (event, room.upgrade()) {
                    room.end(protoo::Room::go_away).await;
                }
            }
        });
    }

    /// Held while a member joins or a producer appears, so that each pair of them is seen exactly once.
    pub(crate) fn roster(&self) -> MutexGuard<'_, ()> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection in; one of the same id that is there already has to go.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        id: &str,
        connection: Connection,
    ) -> Result<Option<(Peer, PeerEvents)>, Refusal> {
        let old = self.peers.get_peer(id);
        if old.is_none() && self.size() >= self.config.max_peers_per_room {
            connection.close();
            return Err(Refusal::TooMany("the room is full".to_owned()));
        }
        if self.broadcasters().contains_key(id) {
            connection.close();
            return Err(Refusal::Conflict(format!("a broadcaster is called {id:?}")));
        }
        if let Some(old) = old {
            old.close();
            // It may be ending already; the room has its id until that is done.
            old.closed().await;
            self.dismiss(old.data());
        }
        let (branch, seat) = match self.seat().await {
            Ok(found) => found,
            Err(refusal) => {
                connection.close();
                return Err(refusal);
            }
        };
        let member = Member::new(id, branch, seat, self.config.max_unanswered);
        Ok(self.peers.create_peer(id, member, connection).ok())
    }

    /// How many are in it, broadcasters included.
    pub(crate) fn size(&self) -> usize {
        self.peers.peers().len() + self.broadcasters().len()
    }

    /// Finds the branch for one more member: the emptiest, or a new one on another worker if that is rather full.
    pub(crate) async fn seat(self: &Arc<Self>) -> Result<(Arc<Branch>, Vec<Counted>), Refusal> {
        let mut branches = self.branches.lock().await;
        let config = &self.config;
        let free = branches
            .iter()
            .filter(|branch| branch.slot.members.get() < config.max_peers_per_worker);
        let emptiest = free.min_by_key(|branch| branch.members.get()).cloned();
        let branch = match emptiest {
            Some(branch) if branch.members.get() < config.room_peers_per_worker => branch,
            other => match (self.grow(&mut branches).await?, other) {
                (Some(branch), _) | (None, Some(branch)) => branch,
                (None, None) => return Err(full()),
            },
        };
        let places = [
            self.everybody.add_below(config.max_peers),
            branch.slot.members.add_below(config.max_peers_per_worker),
            Some(branch.members.add()),
        ];
        let seat: Option<Vec<_>> = places.into_iter().collect();
        Ok((branch, seat.ok_or_else(full)?))
    }

    /// Opens a branch on a worker where the room has none, if there is one.
    async fn grow(self: &Arc<Self>, branches: &mut Vec<Arc<Branch>>) -> Result<Option<Arc<Branch>>, Refusal> {
        let limit = self.config.max_peers_per_worker;
        let elsewhere = self.workers.least_loaded(|slot| {
            let here = branches.iter().any(|branch| branch.slot.index == slot.index);
            !here && slot.members.get() < limit
        });
        let Some((slot, running)) = elsewhere else {
            return Ok(None);
        };
        let branch = Branch::open(slot, running).await?;
        self.watch(&branch);
        tracing::info!(room = self.id, worker = slot.index, "the room spreads");
        branches.push(Arc::clone(&branch));
        Ok(Some(branch))
    }

    /// The workers on which it is.
    pub(crate) async fn spread(&self) -> Vec<usize> {
        let branches = self.branches.lock().await;
        branches.iter().map(|branch| branch.slot.index).collect()
    }

    /// Forgets a member with all that it has, and tells the others.
    pub(crate) fn dismiss(&self, member: &Member) {
        if member.close() {
            self.tell_others(&member.id, "peerClosed", &json!({ "peerId": member.id }));
        }
    }

    /// Whether nobody with a connection is in it. Broadcasters alone have no room.
    pub(crate) fn is_empty(&self) -> bool {
        self.peers.peers().is_empty()
    }

    /// Whether it ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.peers.is_closed()
    }

    /// Ends it with all that is in it; `goodbye` sends the peers away.
    pub(crate) async fn end(&self, goodbye: fn(&protoo::Room<Arc<Member>>)) {
        goodbye(&self.peers);
        for (_, broadcaster) in self.broadcasters().drain() {
            broadcaster.close();
        }
        for branch in self.branches.lock().await.iter() {
            branch.router.close();
        }
        self.throttle.release(&self.id).await;
    }

    /// Those without a connection, by id.
    pub(crate) fn broadcasters(&self) -> MutexGuard<'_, HashMap<String, Arc<Member>>> {
        self.broadcasters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The other peers that have joined.
    pub(crate) fn other_peers(&self, id: &str) -> Vec<(Peer, Profile)> {
        let others = self.peers.peers().into_iter().filter(|other| other.id() != id);
        others
            .filter_map(|other| {
                let profile = other.data().profile()?;
                Some((other, profile))
            })
            .collect()
    }

    /// The other members that have joined, broadcasters last.
    pub(crate) fn others(&self, id: &str) -> Vec<(Arc<Member>, Profile)> {
        let peers = self.other_peers(id).into_iter();
        let mut others: Vec<_> = peers
            .map(|(peer, profile)| (Arc::clone(peer.data()), profile))
            .collect();
        let broadcasters: Vec<_> = self.broadcasters().values().cloned().collect();
        others.extend(broadcasters.into_iter().filter_map(|member| {
            let profile = member.profile()?;
            (member.id != id).then_some((member, profile))
        }));
        others
    }

    /// Tells all that have joined but one.
    pub(crate) fn tell_others(&self, id: &str, method: &str, data: &Value) {
        for (other, _) in self.other_peers(id) {
            // Whoever is gone need not know.
            let _ = other.notify(method, data);
        }
    }

    /// Tells all that have joined.
    pub(crate) fn tell_all(&self, method: &str, data: &Value) {
        // No id is empty.
        self.tell_others("", method, data);
    }
}

fn full() -> Refusal {
    Refusal::TooMany("all workers are full".to_owned())
}
