use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use client::{
    Consumer, Producer, Router, RouterOptions, RtpCapabilities, RtpCodecCapability, Transport, WebRtcServer,
    WebRtcTransport, Worker,
};
use protoo::{Connection, PeerEvent, PeerEvents};
use serde_json::{Value, json};

pub(crate) type Peer = protoo::Peer<PeerData>;

/// What the server knows of a peer.
#[derive(Debug, Default)]
pub(crate) struct PeerData(Mutex<PeerState>);

#[derive(Debug, Default)]
pub(crate) struct PeerState {
    pub(crate) closed: bool,
    pub(crate) profile: Option<Profile>,
    pub(crate) transports: HashMap<String, (WebRtcTransport, bool)>,
    pub(crate) producers: HashMap<String, Producer>,
    pub(crate) consumers: HashMap<String, Consumer>,
}

/// What a peer told of itself when it joined.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    pub(crate) display_name: String,
    pub(crate) device: Value,
    pub(crate) rtp_capabilities: Option<RtpCapabilities>,
}

impl PeerData {
    pub(crate) fn lock(&self) -> MutexGuard<'_, PeerState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Peers that see each other, and the router between them.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) peers: protoo::Room<PeerData>,
    pub(crate) router: Router,
    pub(crate) server: WebRtcServer,
    /// Held while a peer joins or a producer appears, so that each pair of them is seen exactly once.
    pub(crate) roster: Mutex<()>,
}

impl Room {
    pub(crate) async fn create(worker: &Worker, server: WebRtcServer) -> client::Result<Self> {
        Ok(Self {
            peers: protoo::Room::new(),
            router: worker.create_router(RouterOptions::new(codecs())).await?,
            server,
            roster: Mutex::default(),
        })
    }

    /// Takes a connection in; one of the same id that is there already has to go.
    pub(crate) fn enter(&self, id: &str, connection: Connection) -> Option<(Peer, PeerEvents)> {
        if let Some(old) = self.peers.get_peer(id) {
            old.close();
            self.clear(&old);
        }
        self.peers.create_peer(id, PeerData::default(), connection).ok()
    }

    pub(crate) async fn serve(self: &Arc<Self>, peer: &Peer, mut events: PeerEvents) {
        while let Some(event) = events.next().await {
            if let PeerEvent::Request(request, responder) = event {
                let (room, peer) = (Arc::clone(self), peer.clone());
                tokio::spawn(async move { room.handle(&peer, request, responder).await });
            }
        }
    }

    /// Forgets a peer; whether the room ended with it.
    pub(crate) fn leave(&self, peer: &Peer) -> bool {
        self.clear(peer);
        self.close_if_empty()
    }

    /// Ends the room if nobody is in it; whether it did.
    pub(crate) fn close_if_empty(&self) -> bool {
        let empty = self.peers.peers().is_empty();
        if empty {
            self.peers.close();
            self.router.close();
        }
        empty
    }

    fn clear(&self, peer: &Peer) {
        let (joined, transports) = {
            let mut state = peer.data().lock();
            state.closed = true;
            (state.profile.take().is_some(), std::mem::take(&mut state.transports))
        };
        if joined {
            self.tell_others(peer, "peerClosed", &json!({ "peerId": peer.id() }));
        }
        for (transport, _) in transports.into_values() {
            transport.close();
        }
    }

    /// The other peers that have joined.
    pub(crate) fn others(&self, peer: &Peer) -> Vec<(Peer, Profile)> {
        let others = self.peers.peers().into_iter().filter(|other| other.id() != peer.id());
        others
            .filter_map(|other| {
                let profile = other.data().lock().profile.clone()?;
                Some((other, profile))
            })
            .collect()
    }

    pub(crate) fn tell_others(&self, peer: &Peer, method: &str, data: &Value) {
        for (other, _) in self.others(peer) {
            // Whoever is gone need not know.
            let _ = other.notify(method, data);
        }
    }
}

fn codecs() -> Vec<RtpCodecCapability> {
    let video = |name: &str| RtpCodecCapability::video(name).with_parameter("x-google-start-bitrate", 1000);
    let h264 = |profile: &str| {
        video("video/H264")
            .with_parameter("packetization-mode", 1)
            .with_parameter("profile-level-id", profile)
            .with_parameter("level-asymmetry-allowed", 1)
    };
    vec![
        RtpCodecCapability::audio("audio/opus", 48_000, 2),
        video("video/VP8"),
        video("video/VP9").with_parameter("profile-id", 2),
        h264("4d0032"),
        h264("42e01f"),
    ]
}
