//! Two connections of ours against each other over a bad network, and against OpenSSL.

mod hostile;
mod openssl;

use std::collections::BTreeMap;
use std::rc::Rc;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;
use channel_proto::srtp_parameters::SrtpCryptoSuite;
use channel_proto::transport_parameters::{DtlsFingerprint, FingerprintAlgorithm};

/// How packets travel.
#[derive(Debug, Clone, Copy, Default)]
struct Network {
    /// Lost of 100.
    loss: u32,
    /// Delivered twice of 100.
    duplicates: u32,
    /// Longest way in microseconds; the shortest is a tenth of it.
    delay: u64,
    /// Packets of the client, then of the server, that are lost before any arrives.
    lost_first: [usize; 2],
}

/// Two ends and the packets between them.
struct Pair {
    ends: [Association; 2],
    connected: [Option<Connected>; 2],
    events: [Vec<&'static str>; 2],
    data: [Vec<Vec<u8>>; 2],
    /// By arrival time and a running number: where to, and what.
    way: BTreeMap<(u64, u64), (usize, Vec<u8>)>,
    sent: [usize; 2],
    largest: usize,
    now: u64,
    counter: u64,
    network: Network,
    rng: ChaCha8Rng,
}

impl Pair {
    fn new(network: Network, seed: u64) -> Self {
        let certificate = || Rc::new(Certificate::generate().expect("a certificate"));
        Self::of(certificate(), certificate(), network, seed)
    }

    /// A client and a server.
    fn of(client: Rc<Certificate>, server: Rc<Certificate>, network: Network, seed: u64) -> Self {
        Self {
            ends: [
                Association::new(client, Role::Client, 0),
                Association::new(server, Role::Server, 0),
            ],
            connected: [None, None],
            events: Default::default(),
            data: Default::default(),
            way: BTreeMap::new(),
            sent: [0, 0],
            largest: 0,
            now: 0,
            counter: 0,
            network,
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    fn collect(&mut self) {
        for from in 0..2 {
            while let Some(packet) = self.ends[from].poll_output() {
                self.sent[from] += 1;
                self.largest = self.largest.max(packet.len());
                let copies = 1 + usize::from(self.rng.random_range(0..100) < self.network.duplicates);
                for _ in 0..copies {
                    let lost = self.sent[from] <= self.network.lost_first[from];
                    if lost || self.rng.random_range(0..100) < self.network.loss {
                        continue;
                    }
                    let delay = self.rng.random_range(self.network.delay / 10..=self.network.delay);
                    self.counter += 1;
                    self.way
                        .insert((self.now + delay, self.counter), (1 - from, packet.clone()));
                }
            }
            while let Some(event) = self.ends[from].poll_event() {
                self.events[from].push(match event {
                    Event::Connected(connected) => {
                        self.connected[from] = Some(*connected);
                        "connected"
                    }
                    Event::Data(data) => {
                        self.data[from].push(data);
                        "data"
                    }
                    Event::Closed => "closed",
                    Event::Failed => "failed",
                });
            }
        }
    }

    /// Lets things go on until `until` microseconds or until nothing more happens.
    fn run(&mut self, until: u64) {
        loop {
            self.collect();
            let arrival = self.way.first_key_value().map(|((at, _), _)| *at);
            let deadlines = self.ends.iter().filter_map(Association::deadline);
            let Some(next) = deadlines.chain(arrival).min().filter(|next| *next <= until) else {
                return;
            };
            self.now = self.now.max(next);
            while let Some(first) = self.way.first_entry().filter(|first| first.key().0 <= self.now) {
                let (to, packet) = first.remove();
                self.ends[to].handle(&packet, self.now);
                self.collect();
            }
            for end in &mut self.ends {
                end.handle_timeout(self.now);
            }
        }
    }

    fn assert_connected(&self, what: &str) {
        assert_eq!(self.events, [["connected"], ["connected"]], "{what}");
        let [Some(client), Some(server)] = &self.connected else {
            panic!("{what}: both are connected");
        };
        assert_eq!(client.suite, server.suite, "{what}");
        assert_eq!(client.local_key.as_ref(), server.remote_key.as_ref(), "{what}");
        assert_eq!(client.remote_key.as_ref(), server.local_key.as_ref(), "{what}");
        assert_ne!(client.local_key.as_ref(), client.remote_key.as_ref(), "{what}");
        assert_eq!(client.local_key.len(), client.suite.master_length(), "{what}");
    }
}

#[test]
fn a_quiet_network_connects_with_the_best_suite() {
    let mut pair = Pair::new(
        Network {
            delay: 20_000,
            ..Network::default()
        },
        1,
    );
    pair.run(1_000_000);
    pair.assert_connected("quiet network");
    let client = pair.connected[0].as_ref().expect("connected");
    assert_eq!(client.suite, SrtpCryptoSuite::AeadAes256Gcm);
    assert!(pair.ends.iter().all(|end| end.deadline().is_none()));
    assert!(pair.largest <= 1350, "{} bytes in a datagram", pair.largest);
}

#[test]
fn each_side_sees_the_certificate_of_the_other() {
    let certificate = || Rc::new(Certificate::generate().expect("a certificate"));
    let (ours, theirs) = (certificate(), certificate());
    let mut pair = Pair::of(Rc::clone(&ours), Rc::clone(&theirs), Network::default(), 2);
    pair.run(1_000_000);
    pair.assert_connected("certificates");
    for (end, other) in [(0, theirs), (1, ours)] {
        let shown = &pair.connected[end].as_ref().expect("connected").peer_certificate;
        assert_eq!(other.fingerprints().len(), 5);
        for fingerprint in other.fingerprints() {
            assert!(shown.matches(fingerprint), "{fingerprint:?}");
            let lower = DtlsFingerprint {
                value: fingerprint.value.to_lowercase(),
                ..fingerprint.clone()
            };
            assert!(shown.matches(&lower), "{lower:?}");
        }
        for value in ["", "00", "zz:zz", "0:1"] {
            let wrong = DtlsFingerprint {
                algorithm: FingerprintAlgorithm::Sha256,
                value: value.to_owned(),
            };
            assert!(!shown.matches(&wrong), "{value}");
        }
        let (_, parsed) = x509_parser::pem::parse_x509_pem(shown.pem().as_bytes()).expect("a PEM certificate");
        assert!(PeerCertificate::new(parsed.contents).matches(&other.fingerprints()[2]));
    }
}

#[test]
fn loss_duplication_and_reordering_only_cost_time() {
    for seed in 0..200 {
        let loss = [0, 10, 20, 30][seed as usize % 4];
        let network = Network {
            loss,
            duplicates: 20,
            delay: 150_000,
            ..Network::default()
        };
        let mut pair = Pair::new(network, seed);
        pair.run(40_000_000);
        pair.assert_connected(&format!("seed {seed}, {network:?}"));
    }
}

#[test]
fn silence_ends_in_failure_after_a_bounded_number_of_packets() {
    let mut pair = Pair::new(
        Network {
            loss: 100,
            ..Network::default()
        },
        4,
    );
    pair.run(60_000_000);
    assert_eq!(pair.events[0], ["failed"]);
    // A server that has heard nothing has nothing to repeat.
    assert!(pair.events[1].is_empty() && pair.sent[1] == 0);
    assert!((5..=12).contains(&pair.sent[0]), "{} packets", pair.sent[0]);
    assert_eq!(pair.now, 30_000_000);
}

#[test]
fn a_handshake_survives_as_long_as_it_may_take() {
    // The ninth packet of a client that hears nothing leaves after 20.7 s.
    for lost_first in [[8, 0], [0, 8], [4, 4]] {
        let mut pair = Pair::new(
            Network {
                lost_first,
                delay: 10_000,
                ..Network::default()
            },
            7,
        );
        pair.run(60_000_000);
        pair.assert_connected(&format!("{lost_first:?}"));
    }
}

#[test]
fn data_goes_both_ways_and_closing_is_told() {
    let mut pair = Pair::new(
        Network {
            delay: 1000,
            ..Network::default()
        },
        5,
    );
    assert!(!pair.ends[0].send(b"too early", 0));
    pair.run(1_000_000);
    let now = pair.now;
    assert!(pair.ends[0].send(b"from the client", now));
    assert!(pair.ends[1].send(&[7; 1200], now));
    pair.run(2_000_000);
    assert_eq!(pair.data[1], [b"from the client".to_vec()]);
    assert_eq!(pair.data[0], [vec![7; 1200]]);
    pair.ends[0].close(now);
    pair.run(3_000_000);
    assert_eq!(pair.events[1].last(), Some(&"closed"));
    assert!(!pair.ends[1].send(b"too late", now));
    // Who closes is not told about it.
    assert_eq!(pair.events[0], ["connected", "data"]);
}

#[test]
fn a_certificate_is_read_from_files() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
    let certificate = rcgen::CertificateParams::default()
        .self_signed(&key)
        .expect("a certificate");
    let read = Certificate::from_pem(&certificate.pem(), &key.serialize_pem()).expect("a pair");
    let shown = PeerCertificate::new(certificate.der().to_vec());
    assert!(read.fingerprints().iter().all(|fingerprint| shown.matches(fingerprint)));
    let mut pair = Pair::of(
        Rc::new(read),
        Rc::new(Certificate::generate().expect("one")),
        Network::default(),
        6,
    );
    pair.run(1_000_000);
    pair.assert_connected("certificate from a file");

    let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
    let wrong = Certificate::from_pem(&certificate.pem(), &other.serialize_pem());
    assert_eq!(wrong.err(), Some(CertificateError::KeyOfAnother));
    assert!(matches!(
        Certificate::from_pem("junk", &key.serialize_pem()),
        Err(CertificateError::NoCertificate(_))
    ));
    assert!(matches!(
        Certificate::from_pem(&certificate.pem(), ""),
        Err(CertificateError::NoKey(_))
    ));
}
