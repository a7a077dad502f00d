//! The estimator of str0m, which cannot be had alone: two of its peers, one of which sends video to the other.
//!
//! They are set up as its own tests of the estimation do it: RTP mode, its pacer, probes, reports of the receiver every
//! 50 ms. What it estimates is read from its statistics, since its events tell an average of the last three seconds, with
//! which it overruns links. It counts payloads alone; the source leaves `PAYLOADS` to them. As with ours, nobody
//! repeats what was lost.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use str0m::bwe::Bitrate;
use str0m::format::Codec;
use str0m::media::{MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpWrite, Ssrc};
use str0m::{Candidate, Event, Input, Output, Rtc};

use super::figures::Sample;
use super::links::Scenario;
use super::{Run, STEP, way_back};
use crate::link::{Link, Way};
use crate::simulator::bottleneck::Bottleneck;

/// Where the estimate starts, in bits per second: where ours does.
const INITIAL: u64 = 600_000;
/// What the sender would like to send, in bits per second.
const DESIRED: u64 = 100_000_000;
/// Share of the estimate that payloads have; the rest is headers, extensions and tags.
const PAYLOADS: f64 = 0.95;
/// Between two looks at the estimate.
const LOOK: Duration = Duration::from_millis(50);
/// Until the peers are connected and the narrow link begins, in microseconds.
const OPENED: u64 = 1_000_000;
/// Between two frames in microseconds, and in ticks.
const FRAME: u64 = 33_333;
const FRAME_TICKS: u32 = 3000;
/// Longest payload, and how much larger the first frame is.
const PAYLOAD: usize = 1100;
const KEY_FRAME: f64 = 5.0;
/// First sequence number.
const FIRST: u64 = 1000;
const MID: &str = "vid";
/// SSRCs of media and retransmissions.
const SSRC: u32 = 42;
const RTX: u32 = 44;

/// How a source hands over what it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rhythm {
    /// All of a frame at once, 30 frames a second, as the sources of the simulator do.
    Frames,
    /// A packet at a time, evenly spaced, as str0m's own tests do.
    Even,
}

/// Sends over a link what str0m estimates.
///
/// # Panics
/// The peers cannot connect.
pub fn run(scenario: &Scenario, rhythm: Rhythm, seed: u64) -> Run {
    str0m::crypto::from_feature_flags().install_process_default();
    let mut world = World::new(scenario, rhythm, seed);
    world.run(OPENED);
    let connected = |flow: &Flow| flow.peers.iter().all(|peer| peer.rtc.is_connected());
    assert!(world.flows.iter().all(connected), "str0m connects over a perfect link");
    world.open(scenario);
    while world.now < OPENED + scenario.duration {
        world.run(world.now + STEP);
        world.sample();
    }
    let flows = world.flows.into_iter().map(|flow| flow.samples).collect();
    let log = world.bottleneck.map(|bottleneck| bottleneck.log);
    Run {
        flows,
        log: log.unwrap_or_default(),
    }
}

/// Who sends, and who receives.
const SENDER: usize = 0;
const RECEIVER: usize = 1;

/// A peer.
struct Peer {
    rtc: Rtc,
    address: SocketAddr,
    deadline: u64,
}

/// Two peers.
struct Flow {
    peers: [Peer; 2],
    payload_type: Pt,
    estimate: u64,
    rate: u64,
    next_at: u64,
    sequence: u64,
    timestamp: u32,
    /// Bytes that arrived.
    bytes: u64,
    samples: Vec<Sample>,
}

/// Where a packet goes, and its bytes.
type Packet = (usize, usize, Vec<u8>);

struct World {
    now: u64,
    epoch: Instant,
    rhythm: Rhythm,
    rng: ChaCha8Rng,
    flows: Vec<Flow>,
    /// None as long as nothing takes time.
    bottleneck: Option<Bottleneck>,
    back: Link,
    way: BTreeMap<(u64, u64), Packet>,
    counter: u64,
}

impl Peer {
    fn new(address: SocketAddr, estimates: bool, epoch: Instant) -> Self {
        let config = Rtc::builder().set_rtp_mode(true).set_stats_interval(Some(LOOK));
        let config = config.enable_bwe(estimates.then_some(Bitrate::bps(INITIAL)));
        Self {
            rtc: config.build(epoch),
            address,
            deadline: 0,
        }
    }

    /// Learns of the other one.
    fn meet(&mut self, other: &mut Self, active: bool) {
        let candidate = |address| Candidate::host(address, "udp").expect("a candidate");
        self.rtc.add_local_candidate(candidate(self.address));
        self.rtc.add_remote_candidate(candidate(other.address));
        let theirs = other.rtc.direct_api();
        let fingerprint = theirs.local_dtls_fingerprint().clone();
        let credentials = theirs.local_ice_credentials();
        let mut api = self.rtc.direct_api();
        api.set_remote_fingerprint(fingerprint);
        api.set_remote_ice_credentials(credentials);
        api.set_ice_controlling(active);
        api.start_dtls(active).expect("a start");
    }
}

impl Flow {
    fn new(index: usize, epoch: Instant) -> Self {
        let address = |host| SocketAddr::from(([10, 8, index as u8, host], 5000));
        let mut sender = Peer::new(address(1), true, epoch);
        let mut receiver = Peer::new(address(2), false, epoch);
        sender.meet(&mut receiver, true);
        receiver.meet(&mut sender, false);
        let codecs = sender.rtc.codec_config();
        let vp8 = codecs.iter().find(|codec| codec.spec().codec == Codec::Vp8);
        Self {
            payload_type: vp8.expect("VP8 is there unless disabled").pt(),
            peers: [sender, receiver],
            estimate: INITIAL,
            rate: INITIAL,
            next_at: u64::MAX,
            sequence: FIRST,
            timestamp: 1000,
            bytes: 0,
            samples: Vec::new(),
        }
    }

    /// Begins to send.
    fn open(&mut self, now: u64) {
        let (mid, ssrc, rtx) = (Mid::from(MID), Ssrc::from(SSRC), Ssrc::from(RTX));
        let mut api = self.peers[SENDER].rtc.direct_api();
        api.declare_media(mid, MediaKind::Video);
        api.declare_stream_tx(ssrc, Some(rtx), mid, None);
        let mut api = self.peers[RECEIVER].rtc.direct_api();
        api.declare_media(mid, MediaKind::Video);
        api.expect_stream_rx(ssrc, Some(rtx), mid, None);
        api.enable_twcc_feedback();
        let mut bwe = self.peers[SENDER].rtc.bwe();
        bwe.set_bitrate(Bitrate::ZERO, Bitrate::bps(DESIRED));
        self.peers.iter_mut().for_each(|peer| peer.deadline = now);
        self.next_at = now;
    }

    /// Sizes of the packets of the next frame.
    fn frame(&mut self, rng: &mut ChaCha8Rng) -> Vec<usize> {
        let key = if self.sequence == FIRST { KEY_FRAME } else { 1.0 };
        let mean = self.rate as f64 / 8.0 * FRAME as f64 / 1e6;
        let size = ((mean * key * rng.random_range(0.85..1.15)) as usize).max(60);
        let parts = size.div_ceil(PAYLOAD);
        vec![size / parts; parts]
    }
}

impl World {
    fn new(scenario: &Scenario, rhythm: Rhythm, seed: u64) -> Self {
        let epoch = Instant::now();
        Self {
            now: 0,
            epoch,
            rhythm,
            rng: ChaCha8Rng::seed_from_u64(seed),
            flows: (0..scenario.flows).map(|index| Flow::new(index, epoch)).collect(),
            bottleneck: None,
            back: Link::PERFECT,
            way: BTreeMap::new(),
            counter: 0,
        }
    }

    fn open(&mut self, scenario: &Scenario) {
        self.bottleneck = Some(Bottleneck::new(scenario.narrow.clone(), self.now));
        self.back = way_back(scenario);
        // Frames of two sources do not come at once.
        for (index, flow) in self.flows.iter_mut().enumerate() {
            flow.open(self.now + 7_000 * index as u64);
        }
    }

    /// Lets time pass up to `end`.
    fn run(&mut self, end: u64) {
        loop {
            let flows = self.flows.iter();
            let deadlines = flows.flat_map(|flow| [flow.peers[0].deadline, flow.peers[1].deadline, flow.next_at]);
            let arrival = self.way.first_key_value().map(|((at, _), _)| *at);
            let Some(next) = deadlines.chain(arrival).min().filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            while let Some(first) = self.way.first_entry().filter(|first| first.key().0 <= self.now) {
                let (flow, peer, bytes) = first.remove();
                self.deliver(flow, peer, &bytes);
            }
            for flow in 0..self.flows.len() {
                if self.flows[flow].next_at <= self.now {
                    self.send_next(flow);
                }
                for peer in [SENDER, RECEIVER] {
                    if self.flows[flow].peers[peer].deadline <= self.now {
                        let input = Input::Timeout(self.instant());
                        self.flows[flow].peers[peer].rtc.handle_input(input).expect("no error");
                        self.poll(flow, peer);
                    }
                }
            }
        }
        self.now = end;
    }

    fn instant(&self) -> Instant {
        self.epoch + Duration::from_micros(self.now)
    }

    fn send_next(&mut self, flow: usize) {
        let at = self.instant();
        let sending = &mut self.flows[flow];
        let sizes = match self.rhythm {
            Rhythm::Frames => {
                sending.next_at += FRAME;
                sending.timestamp += FRAME_TICKS;
                sending.frame(&mut self.rng)
            }
            Rhythm::Even => {
                let pause = PAYLOAD as u64 * 8_000_000 / sending.rate;
                sending.next_at += pause;
                sending.timestamp += (pause * 9 / 100) as u32;
                vec![PAYLOAD]
            }
        };
        for (index, size) in sizes.iter().enumerate() {
            let sending = &mut self.flows[flow];
            let (pt, sequence, timestamp) = (sending.payload_type, sending.sequence, sending.timestamp);
            sending.sequence += 1;
            let mut api = sending.peers[SENDER].rtc.direct_api();
            let stream = api.stream_tx(&Ssrc::from(SSRC)).expect("a declared stream");
            let packet = RtpWrite::new(pt, sequence.into(), timestamp, at, vec![0; *size]);
            stream.write_rtp(packet.nackable(false).marker(index + 1 == sizes.len()));
            self.poll(flow, SENDER);
        }
    }

    fn deliver(&mut self, flow: usize, peer: usize, bytes: &[u8]) {
        let at = self.instant();
        let flows = &mut self.flows[flow];
        // RTP as opposed to RTCP, DTLS and STUN.
        if peer == RECEIVER && (128..192).contains(&bytes[0]) && !(192..224).contains(&bytes[1]) {
            flows.bytes += bytes.len() as u64;
        }
        let (from, to) = (flows.peers[1 - peer].address, flows.peers[peer].address);
        let receive = Receive::new(Protocol::Udp, from, to, bytes).expect("what str0m sends can be read");
        let rtc = &mut flows.peers[peer].rtc;
        rtc.handle_input(Input::Receive(at, receive)).expect("no error");
        self.poll(flow, peer);
    }

    /// Takes what a peer puts out until it wants to wait.
    fn poll(&mut self, flow: usize, peer: usize) {
        loop {
            let owner = &mut self.flows[flow];
            match owner.peers[peer].rtc.poll_output().expect("no error") {
                Output::Timeout(at) => {
                    let micros = at.saturating_duration_since(self.epoch).as_nanos().div_ceil(1000);
                    owner.peers[peer].deadline = u64::try_from(micros).unwrap_or(u64::MAX);
                    return;
                }
                Output::Transmit(transmit) => {
                    let bytes = transmit.contents.to_vec();
                    self.send(flow, 1 - peer, bytes);
                }
                Output::Event(Event::PeerStats(stats)) => {
                    owner.estimate = stats.bwe_tx.map_or(owner.estimate, |estimate| estimate.as_u64());
                }
                Output::Event(_) => {}
            }
        }
    }

    /// Sends a packet to a peer on its way.
    fn send(&mut self, flow: usize, to: usize, bytes: Vec<u8>) {
        let size = bytes.len();
        let takes = match &mut self.bottleneck {
            Some(bottleneck) if to == RECEIVER => bottleneck.pass(size, self.now, &mut self.rng),
            _ => Way::default().deliver(&self.back, size, self.now, &mut self.rng).next(),
        };
        if let Some(takes) = takes {
            self.counter += 1;
            self.way.insert((self.now + takes, self.counter), (flow, to, bytes));
        }
    }

    /// Looks at the flows, and tells sources what they may send.
    fn sample(&mut self) {
        for flow in &mut self.flows {
            flow.rate = (PAYLOADS * flow.estimate as f64) as u64;
            flow.samples.push(Sample {
                at: self.now - OPENED,
                estimate: flow.estimate,
                bytes: flow.bytes,
            });
        }
    }
}
