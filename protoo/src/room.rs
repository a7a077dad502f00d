//! A group of peers.

use std::fmt;
use std::sync::{Arc, Mutex};

use indexmap::IndexMap;
use tokio_util::sync::CancellationToken;

use crate::peer::{Link, lock};
use crate::{CloseCode, Connection, Peer, PeerEvents, pump};

/// Why a connection did not become a peer. It was closed (4000).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CreatePeerError {
    /// The id is empty.
    #[error("a peer needs an id")]
    EmptyId,
    /// There is one with this id; it is left alone.
    #[error("already a Peer with same peerId")]
    SameId,
    /// The room is closed.
    #[error("room closed")]
    RoomClosed,
}

/// A group of peers, each with its own id and with data of the application. Cheap to clone.
pub struct Room<D> {
    inner: Arc<RoomInner<D>>,
}

pub(crate) struct RoomInner<D> {
    state: Mutex<State<D>>,
    closed: CancellationToken,
}

struct State<D> {
    closed: bool,
    peers: IndexMap<String, Peer<D>>,
}

impl<D> Clone for Room<D> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<D> fmt::Debug for Room<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.inner.state);
        f.debug_struct("Room")
            .field("peers", &state.peers.keys().collect::<Vec<_>>())
            .field("closed", &state.closed)
            .finish()
    }
}

impl<D> Default for Room<D> {
    fn default() -> Self {
        Self {
            inner: Arc::new(RoomInner {
                state: Mutex::new(State {
                    closed: false,
                    peers: IndexMap::new(),
                }),
                closed: CancellationToken::new(),
            }),
        }
    }
}

impl<D> RoomInner<D> {
    /// Takes a peer out, if it is still the one with its id.
    pub(crate) fn forget(&self, peer: &Peer<D>) {
        let mut state = lock(&self.state);
        if state.peers.get(peer.id()).is_some_and(|known| known.is(peer)) {
            state.peers.shift_remove(peer.id());
        }
    }
}

impl<D: Send + Sync + 'static> Room<D> {
    /// An empty room.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a connection a peer; its messages are read from now on. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// The id is empty or taken, or the room is closed. The connection is closed then.
    pub fn create_peer(
        &self,
        id: &str,
        data: D,
        connection: Connection,
    ) -> Result<(Peer<D>, PeerEvents), CreatePeerError> {
        let Some((socket, address, options)) = connection.into_parts() else {
            return Err(CreatePeerError::RoomClosed);
        };
        let link = Arc::new(Link::new(options));
        let peer = Peer::new(id, address, data, Arc::clone(&link), Arc::downgrade(&self.inner));
        {
            let mut state = lock(&self.inner.state);
            if let Err(error) = checked(&state, id) {
                drop(state);
                // Nobody reads its events.
                peer.close();
                pump::start(socket, link);
                return Err(error);
            }
            state.peers.insert(id.to_owned(), peer.clone());
        }
        let events = pump::start(socket, link);
        Ok((peer, events))
    }

    /// Those who are in it, in the order in which they came.
    pub fn peers(&self) -> Vec<Peer<D>> {
        lock(&self.inner.state).peers.values().cloned().collect()
    }

    /// The one with this id.
    pub fn get_peer(&self, id: &str) -> Option<Peer<D>> {
        lock(&self.inner.state).peers.get(id).cloned()
    }

    /// Whether there is one with this id.
    pub fn has_peer(&self, id: &str) -> bool {
        lock(&self.inner.state).peers.contains_key(id)
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        lock(&self.inner.state).closed
    }

    /// Waits until it is closed, and everybody gone.
    pub async fn closed(&self) {
        self.inner.closed.cancelled().await;
    }

    /// Sends everybody away (4000): their libraries do not come back.
    pub fn close(&self) {
        self.end(CloseCode::DELIBERATE);
    }

    /// Ends it because the server goes down (1001): the libraries of its peers try to come back.
    pub fn go_away(&self) {
        self.end(CloseCode::GOING_AWAY);
    }

    fn end(&self, code: CloseCode) {
        let peers: Vec<_> = {
            let mut state = lock(&self.inner.state);
            if std::mem::replace(&mut state.closed, true) {
                return;
            }
            state.peers.values().cloned().collect()
        };
        // Not under the lock: each peer takes itself out.
        for peer in peers {
            peer.link().end(Some(code), true);
        }
        self.inner.closed.cancel();
    }
}

fn checked<D>(state: &State<D>, id: &str) -> Result<(), CreatePeerError> {
    if id.is_empty() {
        Err(CreatePeerError::EmptyId)
    } else if state.closed {
        Err(CreatePeerError::RoomClosed)
    } else if state.peers.contains_key(id) {
        Err(CreatePeerError::SameId)
    } else {
        Ok(())
    }
}
