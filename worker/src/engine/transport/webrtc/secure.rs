//! DTLS of one transport: when it starts, in which role, and when its keys may be used.

use std::collections::VecDeque;
use std::rc::Rc;

use channel_proto::transport_parameters::{DtlsFingerprint, DtlsParameters, DtlsRole, DtlsState};

use crate::dtls::{Association, Certificate, Connected, Event, Role};
use crate::srtp::{SrtpReceiver, SrtpSender};

/// What has come up.
#[derive(Debug)]
pub enum SecureEvent {
    /// Another state, and when connected the peer's certificate (PEM).
    State(DtlsState, Option<String>),
    /// Application data of the peer whose certificate was announced.
    Data(Vec<u8>),
}

/// DTLS of one transport, and the SRTP keys that it brings.
#[derive(Debug)]
pub struct Secure {
    certificate: Rc<Certificate>,
    role: DtlsRole,
    state: DtlsState,
    association: Option<Association>,
    /// What the peer's certificate must be, once `connect` has told.
    remote: Option<DtlsFingerprint>,
    /// The end of a handshake that waits for that.
    unverified: Option<Box<Connected>>,
    /// Encrypts what goes to the peer, once connected.
    pub sender: Option<SrtpSender>,
    /// Decrypts what the peer sends, once connected.
    pub receiver: Option<SrtpReceiver>,
    events: VecDeque<SecureEvent>,
}

impl Secure {
    /// Not started.
    pub fn new(certificate: Rc<Certificate>) -> Self {
        Self {
            certificate,
            role: DtlsRole::Auto,
            state: DtlsState::New,
            association: None,
            remote: None,
            unverified: None,
            sender: None,
            receiver: None,
            events: VecDeque::new(),
        }
    }

    /// The state.
    pub fn state(&self) -> DtlsState {
        self.state
    }

    /// What has come up since the last call.
    pub fn poll_event(&mut self) -> Option<SecureEvent> {
        self.events.pop_front()
    }

    /// Our role and fingerprints.
    pub fn parameters(&self) -> DtlsParameters {
        DtlsParameters {
            role: self.role,
            fingerprints: self.certificate.fingerprints().to_vec(),
        }
    }

    /// Whether the parent has told about the peer.
    pub fn has_remote(&self) -> bool {
        self.remote.is_some()
    }

    /// The parent tells about the peer; `reachable` says whether packets can be sent to it.
    pub fn connect(&mut self, role: DtlsRole, fingerprint: DtlsFingerprint, reachable: bool, now: u64) {
        self.remote = Some(fingerprint);
        if self.role != role {
            // A handshake that has begun in the other role cannot go on.
            self.role = role;
            self.unverified = None;
            self.association = None;
            self.state = DtlsState::New;
        }
        if reachable {
            self.start_if_new(now);
        }
        if let Some(connected) = self.unverified.take() {
            self.verify(&connected, now);
        }
    }

    /// The peer can be reached: starts the handshake if it was not started yet.
    pub fn start_if_new(&mut self, now: u64) {
        if self.state != DtlsState::New {
            return;
        }
        let role = match self.role {
            DtlsRole::Client => Role::Client,
            DtlsRole::Server => Role::Server,
            DtlsRole::Auto => {
                // The parent has not told yet. Most peers want to be the client, so ours can wait for it.
                self.role = DtlsRole::Server;
                Role::Server
            }
        };
        self.set_state(DtlsState::Connecting, None);
        self.association = Some(Association::new(Rc::clone(&self.certificate), role, now));
        self.follow(now);
    }

    /// Takes a record of the peer. True: it completed the handshake, so the peer is where it came from.
    pub fn handle(&mut self, packet: &[u8], now: u64) -> bool {
        let before = self.completed();
        if let Some(association) = &mut self.association {
            association.handle(packet, now);
            self.follow(now);
        }
        !before && self.completed()
    }

    fn completed(&self) -> bool {
        self.unverified.is_some() || self.state == DtlsState::Connected
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn deadline(&self) -> Option<u64> {
        self.association.as_ref()?.deadline()
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: u64) {
        if let Some(association) = &mut self.association
            && association.deadline().is_some_and(|deadline| deadline <= now)
        {
            association.handle_timeout(now);
            self.follow(now);
        }
    }

    /// A packet for the peer.
    pub fn poll_output(&mut self) -> Option<Vec<u8>> {
        self.association.as_mut()?.poll_output()
    }

    /// Sends application data. False: it did not leave.
    pub fn send(&mut self, data: &[u8], now: u64) -> bool {
        self.state == DtlsState::Connected && self.association.as_mut().is_some_and(|a| a.send(data, now))
    }

    /// Says good-bye.
    pub fn close(&mut self, now: u64) {
        if let Some(association) = &mut self.association {
            association.close(now);
        }
    }

    fn follow(&mut self, now: u64) {
        while let Some(event) = self.association.as_mut().and_then(Association::poll_event) {
            match event {
                Event::Connected(connected) if self.remote.is_some() => self.verify(&connected, now),
                Event::Connected(connected) => self.unverified = Some(connected),
                // Whoever sends it before is not known to be the peer.
                Event::Data(data) if self.state == DtlsState::Connected => {
                    self.events.push_back(SecureEvent::Data(data));
                }
                Event::Data(_) => {}
                Event::Closed if self.state == DtlsState::Connected => self.end(DtlsState::Closed),
                Event::Closed | Event::Failed => self.end(DtlsState::Failed),
            }
        }
    }

    /// The handshake is over: whether it was the peer.
    fn verify(&mut self, connected: &Connected, now: u64) {
        let suite = connected.suite;
        let keys = SrtpSender::new(suite, &connected.local_key).and_then(|sender| {
            let receiver = SrtpReceiver::new(suite, &connected.remote_key)?;
            Ok((sender, receiver))
        });
        let announced = self
            .remote
            .as_ref()
            .is_some_and(|fingerprint| connected.peer_certificate.matches(fingerprint));
        match keys {
            Ok((sender, receiver)) if announced => {
                self.sender = Some(sender);
                self.receiver = Some(receiver);
                self.set_state(DtlsState::Connected, Some(connected.peer_certificate.pem()));
            }
            _ => {
                tracing::warn!(target: "dtls", "the peer's certificate is not the announced one");
                self.close(now);
                self.end(DtlsState::Failed);
            }
        }
    }

    fn end(&mut self, state: DtlsState) {
        self.sender = None;
        self.receiver = None;
        self.unverified = None;
        self.set_state(state, None);
    }

    fn set_state(&mut self, state: DtlsState, certificate: Option<String>) {
        if self.state != state {
            self.state = state;
            self.events.push_back(SecureEvent::State(state, certificate));
        }
    }
}
