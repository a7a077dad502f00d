//! One DTLS connection with a peer.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use channel_proto::srtp_parameters::SrtpCryptoSuite;
use rtc_crypto::SecretVec;
use rtc_dtls::cipher_suite::CipherSuiteId;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_dtls::state::State;
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error;

use super::flight::Flights;
use super::hello::best_suite;
use super::records::{Gate, content, records};
use super::{Certificate, PeerCertificate, Role};

/// Pause before the first retransmission in microseconds; it doubles with each.
const FIRST_RETRANSMISSION: u64 = 100_000;
/// Longest pause between retransmissions in microseconds.
const MAX_PAUSE: u64 = 8_000_000;
/// How often the machine repeats a flight: it gives up when it is asked once more.
const MACHINE_REPEATS: u32 = 7;
/// A handshake that takes longer has failed, in microseconds.
const HANDSHAKE_TIMEOUT: u64 = 30_000_000;
/// Bytes of handshake fragments in a datagram; with headers and tags it stays below the 1,350 that are safe on the way.
const MTU: usize = 1200;
/// Records that may wait for the peer to read them before new ones are refused.
const MAX_OUTPUTS: usize = 4096;
const EXPORTER_LABEL: &str = "EXTRACTOR-dtls_srtp";
/// The protocol machine tells peers apart by address. It only has one.
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 1);

/// What a connection has to tell.
#[derive(Debug)]
pub enum Event {
    /// The handshake is done. Whether the certificate is the announced one is still to be checked.
    Connected(Box<Connected>),
    /// Application data. Comes after `Connected` only.
    Data(Vec<u8>),
    /// The peer ended the connection. The last event.
    Closed,
    /// The handshake failed. The last event.
    Failed,
}

/// The outcome of a handshake.
#[derive(Debug)]
pub struct Connected {
    /// The SRTP suite agreed on.
    pub suite: SrtpCryptoSuite,
    /// Master key, then master salt, of what is sent. Wiped when dropped.
    pub local_key: SecretVec,
    /// Master key, then master salt, of what is received. Wiped when dropped.
    pub remote_key: SecretVec,
    /// What the peer has shown.
    pub peer_certificate: PeerCertificate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Handshaking,
    Established,
    Over,
}

/// A DTLS connection.
pub struct Association {
    certificate: Rc<Certificate>,
    role: Role,
    phase: Phase,
    /// None until a server has seen the whole ClientHello.
    endpoint: Option<Box<Endpoint>>,
    flights: Flights,
    gate: Gate,
    /// Our answer to the first ClientHello, which the machine does not repeat.
    verify_request: Option<Vec<u8>>,
    outputs: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
    pause: u64,
    retransmit_at: u64,
    fails_at: u64,
    /// How often the machine has repeated this flight, and what it sent the last time.
    repeats: u32,
    repeated: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Association {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Association")
            .field("role", &self.role)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

/// Time as the protocol machine wants it. Where it starts does not matter.
fn instant(now: u64) -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now) + Duration::from_micros(now)
}

fn profile(suite: SrtpCryptoSuite) -> SrtpProtectionProfile {
    match suite {
        SrtpCryptoSuite::AeadAes256Gcm => SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm,
        SrtpCryptoSuite::AeadAes128Gcm => SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
        SrtpCryptoSuite::AesCm128HmacSha1_80 => SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
        SrtpCryptoSuite::AesCm128HmacSha1_32 => SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_32,
    }
}

/// Bytes of the master salt.
fn salt_length(suite: SrtpCryptoSuite) -> usize {
    match suite {
        SrtpCryptoSuite::AeadAes256Gcm | SrtpCryptoSuite::AeadAes128Gcm => 12,
        SrtpCryptoSuite::AesCm128HmacSha1_80 | SrtpCryptoSuite::AesCm128HmacSha1_32 => 14,
    }
}

impl Association {
    /// A connection with a peer. A client speaks at once, a server waits.
    pub fn new(certificate: Rc<Certificate>, role: Role, now: u64) -> Self {
        let mut association = Self {
            certificate,
            role,
            phase: Phase::Handshaking,
            endpoint: None,
            flights: Flights::new(role),
            gate: Gate::default(),
            verify_request: None,
            outputs: VecDeque::new(),
            events: VecDeque::new(),
            pause: FIRST_RETRANSMISSION,
            retransmit_at: now + FIRST_RETRANSMISSION,
            fails_at: now.saturating_add(HANDSHAKE_TIMEOUT),
            repeats: 0,
            repeated: Vec::new(),
        };
        if role == Role::Client {
            association.begin_as_client(now);
        }
        association
    }

    fn config(&self, suites: &[SrtpCryptoSuite]) -> Result<Arc<HandshakeConfig>, String> {
        let provider = rtc_crypto::default_provider().map_err(|error| error.to_string())?;
        ConfigBuilder::default()
            .with_crypto_provider(provider)
            .with_certificates(vec![self.certificate.inner.clone()])
            .with_cipher_suites(vec![
                CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_128_Gcm_Sha256,
                CipherSuiteId::Tls_Ecdhe_Rsa_With_Aes_128_Gcm_Sha256,
                CipherSuiteId::Tls_Ecdhe_Ecdsa_With_ChaCha20_Poly1305_Sha256,
                CipherSuiteId::Tls_Ecdhe_Rsa_With_ChaCha20_Poly1305_Sha256,
                CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_256_Cbc_Sha,
                CipherSuiteId::Tls_Ecdhe_Rsa_With_Aes_256_Cbc_Sha,
            ])
            .with_srtp_protection_profiles(suites.iter().copied().map(profile).collect())
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_extended_master_secret(ExtendedMasterSecretType::Request)
            // No authority vouches for a peer; its fingerprint does.
            .with_insecure_skip_verify(true)
            .with_mtu(MTU)
            .build(self.role == Role::Client, Some(PEER))
            .map(Arc::new)
            .map_err(|error| error.to_string())
    }

    fn begin_as_client(&mut self, now: u64) {
        let mut endpoint = Endpoint::new(PEER, TransportProtocol::UDP, None);
        let begun = self.config(&SrtpCryptoSuite::ALL).and_then(|config| {
            let begun = endpoint.connect(instant(now), PEER, config, None);
            begun.map_err(|error| error.to_string())
        });
        self.endpoint = Some(Box::new(endpoint));
        match begun {
            Ok(()) => self.collect(),
            Err(error) => self.fail(&error),
        }
    }

    /// Takes a datagram of the peer.
    pub fn handle(&mut self, packet: &[u8], now: u64) {
        if self.phase == Phase::Over {
            return;
        }
        let packet = self.gate.filter(packet, self.phase == Phase::Established);
        if self.phase == Phase::Established {
            if !packet.is_empty() {
                let before = self.outputs.len();
                self.feed(&packet, now);
                let handshake = records(&packet).any(|record| record.content_type == content::HANDSHAKE);
                if handshake && self.outputs.len() > before {
                    self.gate.answered();
                }
            }
            return;
        }
        let mut other = Vec::new();
        for record in records(&packet) {
            if self.flights.repeats_first_hello(&record) {
                self.outputs.extend(self.verify_request.clone());
            }
            if !self.flights.push(&record) {
                other.extend_from_slice(record.bytes);
            }
        }
        while self.phase == Phase::Handshaking
            && let Some(flight) = self.flights.take()
        {
            match flight.client_hello.filter(|_| self.endpoint.is_none()) {
                None => self.feed(&flight.datagram, now),
                Some(client_hello) => {
                    self.begin_as_server(&client_hello, now);
                    self.feed(&flight.datagram, now);
                    self.verify_request = self.outputs.back().cloned();
                }
            }
        }
        // What may come in the same datagram after the last flight, and alerts.
        if !other.is_empty() {
            self.feed(&other, now);
        }
    }

    fn begin_as_server(&mut self, client_hello: &[u8], now: u64) {
        let Some(suite) = best_suite(client_hello) else {
            self.outputs.push_back(HANDSHAKE_FAILURE.to_vec());
            self.fail("the peer offers no SRTP suite that is known");
            return;
        };
        match self.config(&[suite]) {
            Ok(config) => {
                let endpoint = Endpoint::new(PEER, TransportProtocol::UDP, Some(config));
                self.endpoint = Some(Box::new(endpoint));
                self.fails_at = now.saturating_add(HANDSHAKE_TIMEOUT);
            }
            Err(error) => self.fail(&error),
        }
    }

    fn feed(&mut self, packet: &[u8], now: u64) {
        let Some(endpoint) = self.endpoint.as_mut().filter(|_| self.phase != Phase::Over) else {
            return;
        };
        let before = self.outputs.len();
        let result = endpoint.read(instant(now), PEER, None, BytesMut::from(packet));
        self.collect();
        let established = self.phase == Phase::Established;
        match result {
            Ok(events) => {
                for event in events {
                    match event {
                        EndpointEvent::HandshakeComplete => self.complete(),
                        EndpointEvent::ApplicationData(data) if self.phase == Phase::Established => {
                            self.events.push_back(Event::Data(data.to_vec()));
                        }
                        EndpointEvent::PeerClosed => self.end(),
                        _ => {}
                    }
                }
            }
            // The peer has ended it.
            Err(_) if !established && records(packet).any(|record| record.is_fatal_alert()) => self.end(),
            Err(Error::ErrAlertFatalOrClose) if established => self.end(),
            // So have we: the machine has written an alert.
            Err(error) if !established && self.outputs.iter().skip(before).any(|output| has_alert(output)) => {
                tracing::warn!(target: "dtls", "DTLS error: {error}");
                self.end();
            }
            // A record that could not be read is as if it had not come.
            Err(error) => tracing::debug!(target: "dtls", "DTLS record dropped: {error}"),
        }
        if self.phase == Phase::Handshaking && self.outputs.len() > before {
            // The handshake has gone on: patience starts anew.
            self.pause = FIRST_RETRANSMISSION;
            self.retransmit_at = now + self.pause;
            (self.repeats, self.repeated) = (0, Vec::new());
        }
    }

    /// Moves what the machine wants to send to the outputs.
    fn collect(&mut self) {
        if let Some(endpoint) = &mut self.endpoint {
            while let Some(transmit) = endpoint.poll_transmit() {
                if self.outputs.len() < MAX_OUTPUTS {
                    self.outputs.push_back(transmit.message.to_vec());
                }
            }
        }
    }

    fn complete(&mut self) {
        let state = self
            .endpoint
            .as_ref()
            .and_then(|endpoint| endpoint.get_connection_state(PEER));
        match state.ok_or("no state".to_owned()).and_then(outcome) {
            Ok(connected) => {
                self.phase = Phase::Established;
                self.events.push_back(Event::Connected(Box::new(connected)));
            }
            Err(error) => {
                self.fail(&error);
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn deadline(&self) -> Option<u64> {
        let running = self.phase == Phase::Handshaking && self.endpoint.is_some();
        running.then_some(self.retransmit_at.min(self.fails_at))
    }

    /// Repeats what the peer has not answered.
    pub fn handle_timeout(&mut self, now: u64) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        if now >= self.fails_at {
            self.fail("the peer does not answer");
            return;
        }
        self.pause = (self.pause * 2).min(MAX_PAUSE);
        self.retransmit_at = now + self.pause;
        if self.repeats == MACHINE_REPEATS {
            // The same records again: a peer that has had none of them takes them.
            self.outputs.extend(self.repeated.iter().cloned());
            return;
        }
        self.repeats += 1;
        let before = self.outputs.len();
        let Some(endpoint) = &mut self.endpoint else {
            return;
        };
        // The machine counts in fixed steps; telling it that its time has come makes the steps ours.
        let Some(due) = endpoint.poll_timeout(&PEER) else {
            return;
        };
        let result = endpoint.handle_timeout(PEER, due.max(instant(now)));
        self.collect();
        self.repeated = self.outputs.iter().skip(before).cloned().collect();
        if let Err(error) = result {
            self.fail(&error.to_string());
        }
    }

    /// A datagram for the peer.
    pub fn poll_output(&mut self) -> Option<Vec<u8>> {
        self.outputs.pop_front()
    }

    /// What has come up.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Sends application data, as one record. False: not connected, or too much waits.
    pub fn send(&mut self, data: &[u8], now: u64) -> bool {
        if self.phase != Phase::Established || self.outputs.len() >= MAX_OUTPUTS || data.is_empty() {
            return false;
        }
        let Some(endpoint) = &mut self.endpoint else {
            return false;
        };
        let sent = endpoint.write(instant(now), PEER, data).is_ok();
        self.collect();
        sent
    }

    /// Says good-bye, if there is somebody to say it to. No event follows.
    pub fn close(&mut self, now: u64) {
        if self.phase == Phase::Established
            && let Some(endpoint) = &mut self.endpoint
        {
            endpoint.stop(instant(now), PEER);
            self.collect();
        }
        self.phase = Phase::Over;
    }

    fn fail(&mut self, reason: &str) {
        tracing::warn!(target: "dtls", "DTLS handshake failed: {reason}");
        self.phase = Phase::Over;
        self.events.push_back(Event::Failed);
    }

    fn end(&mut self) {
        let event = match self.phase {
            Phase::Handshaking => Event::Failed,
            Phase::Established => Event::Closed,
            Phase::Over => return,
        };
        self.phase = Phase::Over;
        self.events.push_back(event);
    }
}

/// A fatal `handshake_failure` alert in the clear.
const HANDSHAKE_FAILURE: [u8; 15] = [21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40];

fn has_alert(datagram: &[u8]) -> bool {
    records(datagram).any(|record| record.content_type == content::ALERT)
}

/// Keys and certificate of a finished handshake.
fn outcome(state: &State) -> Result<Connected, String> {
    let suite = SrtpCryptoSuite::ALL
        .into_iter()
        .find(|suite| profile(*suite) == state.srtp_protection_profile())
        .ok_or("no SRTP suite in common")?;
    let certificate = state.peer_certificates.first().ok_or("the peer has no certificate")?;
    let salt = salt_length(suite);
    let key = suite.master_length() - salt;
    let material = state
        .export_keying_material(EXPORTER_LABEL, &[], 2 * (key + salt))
        .map_err(|error| error.to_string())?;
    // Client key, server key, client salt, server salt (RFC 5764 section 4.2).
    let (keys, salts) = material
        .as_ref()
        .split_at_checked(2 * key)
        .ok_or("short key material")?;
    let (client_key, server_key) = keys.split_at(key);
    let (client_salt, server_salt) = salts.split_at(salt);
    let client = SecretVec::new([client_key, client_salt].concat());
    let server = SecretVec::new([server_key, server_salt].concat());
    let (local_key, remote_key) = if state.is_client() {
        (client, server)
    } else {
        (server, client)
    };
    Ok(Connected {
        suite,
        local_key,
        remote_key,
        peer_certificate: PeerCertificate::new(certificate.clone()),
    })
}
