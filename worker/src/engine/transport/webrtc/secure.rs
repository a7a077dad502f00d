//! DTLS of one transport: when it starts, in which role, and when its keys may be used.

use std::collections::VecDeque;
use std::rc::Rc;

use channel_proto::transport_parameters::{DtlsFingerprint, DtlsParameters, DtlsRole, DtlsState};

use crate::dtls::{Association, Certificate, Connected, Event, Role};
use crate::srtp::{SrtpReceiver, SrtpSender};

/// Records of a peer that is not known yet that are kept: it begins with one or two, which it repeats.
const MAX_HELD: usize = 4;

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
    /// What came behind it, as far as it is kept.
    held: Vec<Vec<u8>>,
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
            held: Vec::new(),
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
            self.held.clear();
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
                Event::Data(data) if self.state == DtlsState::Connected => {
                    self.events.push_back(SecureEvent::Data(data));
                }
                // Whoever sends it before is not known to be the peer.
                Event::Data(data) if self.unverified.is_some() && self.held.len() < MAX_HELD => self.held.push(data),
                Event::Data(_) => {}
                Event::Closed if self.state == DtlsState::Connected => self.end(DtlsState::Closed),
                Event::Closed | Event::Failed => self.end(DtlsState::Failed),
            }
        }
    }

    /// The handshake is over: whether it was the peer.
    fn verify(&mut self, connected: &Connected, now: u64) {
        let suite = connected.suite;
        let keys = SrtpSender::new(suite, connected.local_key.as_ref()).and_then(|sender| {
            let receiver = SrtpReceiver::new(suite, connected.remote_key.as_ref())?;
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
                let held = std::mem::take(&mut self.held);
                self.events.extend(held.into_iter().map(SecureEvent::Data));
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
        self.held = Vec::new();
        self.set_state(state, None);
    }

    fn set_state(&mut self, state: DtlsState, certificate: Option<String>) {
        if self.state != state {
            self.state = state;
            self.events.push_back(SecureEvent::State(state, certificate));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A transport, and its peer as DTLS client.
    struct Pair {
        secure: Secure,
        peer: Association,
        certificate: Rc<Certificate>,
    }

    impl Pair {
        fn new() -> Self {
            let certificate = || Rc::new(Certificate::generate().expect("a certificate"));
            let (ours, theirs) = (certificate(), certificate());
            Self {
                secure: Secure::new(ours),
                peer: Association::new(Rc::clone(&theirs), Role::Client, 0),
                certificate: theirs,
            }
        }

        /// Lets packets pass until there are none; tells what came of it.
        fn exchange(&mut self) -> Vec<String> {
            loop {
                let (to_us, to_peer) = (self.peer.poll_output(), self.secure.poll_output());
                if to_us.is_none() && to_peer.is_none() {
                    break;
                }
                if let Some(packet) = to_us {
                    self.secure.handle(&packet, 0);
                }
                if let Some(packet) = to_peer {
                    self.peer.handle(&packet, 0);
                }
            }
            std::iter::from_fn(|| self.secure.poll_event())
                .map(|event| match event {
                    SecureEvent::State(state, certificate) => {
                        format!("{state:?}{}", certificate.map_or("", |_| " with certificate"))
                    }
                    SecureEvent::Data(data) => String::from_utf8_lossy(&data).into_owned(),
                })
                .collect()
        }

        fn fingerprint(&self) -> DtlsFingerprint {
            self.certificate.fingerprints()[2].clone()
        }
    }

    #[test]
    fn data_waits_until_the_peer_is_known() {
        let mut pair = Pair::new();
        pair.secure.start_if_new(0);
        assert_eq!(pair.exchange(), ["Connecting"]);
        for number in 0..10 {
            assert!(pair.peer.send(format!("data {number}").as_bytes(), 0));
        }
        assert!(pair.exchange().is_empty());
        assert!(pair.secure.sender.is_none() && pair.secure.receiver.is_none());
        let fingerprint = pair.fingerprint();
        pair.secure.connect(DtlsRole::Server, fingerprint, true, 0);
        assert_eq!(
            pair.exchange(),
            ["Connected with certificate", "data 0", "data 1", "data 2", "data 3"]
        );
        assert!(pair.peer.send(b"later", 0));
        assert_eq!(pair.exchange(), ["later"]);
    }

    #[test]
    fn data_of_somebody_else_is_never_seen() {
        let mut pair = Pair::new();
        pair.secure.start_if_new(0);
        pair.exchange();
        assert!(pair.peer.send(b"data", 0));
        pair.exchange();
        let mut fingerprint = pair.fingerprint();
        fingerprint.value.replace_range(..2, "!!");
        pair.secure.connect(DtlsRole::Server, fingerprint, true, 0);
        assert_eq!(pair.exchange(), ["Failed"]);
        assert!(pair.peer.send(b"more", 0) || pair.exchange().is_empty());
        assert!(pair.secure.sender.is_none() && pair.secure.receiver.is_none());
    }

    #[test]
    fn another_role_begins_anew() {
        let mut pair = Pair::new();
        pair.secure.start_if_new(0);
        assert_eq!(pair.exchange(), ["Connecting"]);
        pair.peer = Association::new(Rc::clone(&pair.certificate), Role::Server, 0);
        let fingerprint = pair.fingerprint();
        pair.secure.connect(DtlsRole::Client, fingerprint, true, 0);
        assert_eq!(pair.exchange(), ["Connecting", "Connected with certificate"]);
    }
}
