//! Two associations over a network in virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand::{Rng as _, SeedableRng};
use rand_chacha::ChaCha12Rng;

use super::*;

/// One way, in microseconds.
pub(super) const DELAY: u64 = 20_000;

pub(super) const ORDERED: Delivery = Delivery {
    ordered: true,
    lifetime: None,
    max_retransmissions: None,
};
pub(super) const UNORDERED: Delivery = Delivery {
    ordered: false,
    ..ORDERED
};

pub(super) fn settings(seed: u8) -> Settings {
    Settings {
        max_message_size: 262_144,
        send_buffer_size: 262_144,
        over_dtls: false,
        secret: [seed; 32],
        seed: u64::from(seed),
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) stream: u16,
    pub(super) ppid: u32,
    pub(super) payload: Vec<u8>,
    pub(super) at: u64,
}

/// When a packet arrives, its number, where, and its bytes.
type Flying = (u64, u64, usize, Vec<u8>);

/// Two ends and what is on its way between them.
pub(super) struct Net {
    pub(super) now: u64,
    pub(super) ends: [Association; 2],
    /// Probability that a packet is lost.
    pub(super) loss: f64,
    /// Whether some packets overtake others.
    pub(super) reorder: bool,
    in_flight: BinaryHeap<Reverse<Flying>>,
    count: u64,
    pub(super) rng: ChaCha12Rng,
    pub(super) received: [Vec<Received>; 2],
    pub(super) states: [Vec<State>; 2],
    pub(super) resets: [Vec<Vec<u16>>; 2],
}

impl Net {
    pub(super) fn new(one: Settings, other: Settings) -> Self {
        Self {
            now: 1,
            ends: [Association::new(one, 1), Association::new(other, 1)],
            loss: 0.0,
            reorder: false,
            in_flight: BinaryHeap::new(),
            count: 0,
            rng: ChaCha12Rng::seed_from_u64(9),
            received: Default::default(),
            states: Default::default(),
            resets: Default::default(),
        }
    }

    pub(super) fn connected() -> Self {
        let mut net = Self::new(settings(1), settings(2));
        net.connect();
        net
    }

    pub(super) fn connect(&mut self) {
        let now = self.now;
        self.ends.iter_mut().for_each(|end| end.connect(now));
        self.run_until(self.now + 10_000_000, |net| {
            net.ends.iter().all(|end| end.state() == State::Connected)
        });
        assert!(self.ends.iter().all(|end| end.state() == State::Connected));
    }

    pub(super) fn poll(&mut self) {
        for from in 0..2 {
            while let Some(output) = self.ends[from].poll() {
                match output {
                    Output::Packet(packet) => {
                        assert!(packet.len() <= 1191, "a packet must fit its datagram");
                        if self.rng.random_bool(self.loss) {
                            continue;
                        }
                        let extra = if self.reorder {
                            self.rng.random_range(0..DELAY)
                        } else {
                            0
                        };
                        let at = self.now + DELAY + extra;
                        self.count += 1;
                        self.in_flight.push(Reverse((at, self.count, 1 - from, packet)));
                    }
                    Output::State(state) => self.states[from].push(state),
                    Output::Message { stream, ppid, payload } => self.received[from].push(Received {
                        stream,
                        ppid,
                        payload,
                        at: self.now,
                    }),
                    Output::StreamsReset(streams) => self.resets[from].push(streams),
                }
            }
        }
    }

    /// Lets time pass until something holds, or until `end`.
    pub(super) fn run_until(&mut self, end: u64, done: impl Fn(&Self) -> bool) {
        loop {
            self.poll();
            if done(self) {
                return;
            }
            let arrival = self.in_flight.peek().map(|packet| packet.0.0);
            let timers = self.ends.iter().filter_map(Association::next_timeout);
            let Some(next) = timers.chain(arrival).min().filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            while let Some(packet) = self.in_flight.peek().filter(|packet| packet.0.0 <= self.now) {
                let (_, _, to, bytes) = packet.0.clone();
                self.in_flight.pop();
                self.ends[to].receive(self.now, &bytes);
            }
            for end in &mut self.ends {
                if end.next_timeout().is_some_and(|at| at <= self.now) {
                    end.handle_timeout(self.now);
                }
            }
        }
    }

    pub(super) fn run_for(&mut self, micros: u64) {
        self.run_until(self.now + micros, |_| false);
    }

    pub(super) fn send(
        &mut self,
        from: usize,
        stream: u16,
        payload: &[u8],
        delivery: Delivery,
    ) -> Result<(), SendError> {
        let now = self.now;
        let payload = Bytes::copy_from_slice(payload);
        self.ends[from].send(now, stream, ppid::BINARY, payload, delivery)
    }
}

pub(super) fn numbered(number: u32, length: usize) -> Vec<u8> {
    let mut payload = vec![number as u8; length];
    payload[..4].copy_from_slice(&number.to_be_bytes());
    payload
}

pub(super) fn number(message: &Received) -> u32 {
    u32::from_be_bytes(*message.payload.first_chunk().unwrap())
}

#[test]
fn both_sides_connecting_at_once_make_one_association() {
    let net = Net::connected();
    assert_eq!(
        net.states,
        [
            [State::Connecting, State::Connected],
            [State::Connecting, State::Connected]
        ]
    );
    assert!(net.now < 200_000);
    assert_eq!(net.ends[0].outgoing_streams(), Some(65_535));
}

#[test]
fn one_side_alone_connects_only_with_the_other_started() {
    let mut net = Net::new(settings(1), settings(2));
    net.ends[0].connect(1);
    net.run_for(1_500_000);
    assert_eq!(net.ends[0].state(), State::Connecting);
    assert_eq!(net.ends[1].state(), State::New, "packets before the start are ignored");
    net.connect();
}

#[test]
fn nobody_at_the_other_end_is_a_failure() {
    let mut net = Net::new(settings(1), settings(2));
    net.loss = 1.0;
    net.ends[0].connect(1);
    net.run_for(20 * 60 * 1_000_000);
    assert_eq!(net.states[0], [State::Connecting, State::Failed]);
    assert_eq!(net.ends[0].next_timeout(), None);
    assert_eq!(net.send(0, 0, b"x", ORDERED), Err(SendError::NotConnected));
}

#[test]
fn a_peer_that_vanishes_closes_the_association() {
    let mut net = Net::connected();
    net.loss = 1.0;
    net.send(0, 0, b"hello?", ORDERED).unwrap();
    net.run_for(30 * 60 * 1_000_000);
    assert_eq!(net.states[0].last(), Some(&State::Closed));
    assert_eq!(net.ends[0].buffered_amount(), 0);
}

#[test]
fn a_peer_that_begins_anew_gets_nothing_of_before() {
    for seed in 3..8 {
        let mut net = Net::connected();
        for round in 0..3 {
            for stream in 0..10 {
                net.send(0, stream, &numbered(round, 8000), ORDERED).unwrap();
                net.send(1, stream, &numbered(round, 8000), ORDERED).unwrap();
            }
        }
        // One reset waits for its messages, with one behind it; the other is under way.
        let now = net.now;
        net.ends[0].reset_stream(now, 3);
        net.ends[0].reset_stream(now, 30);
        net.send(0, 3, b"held", ORDERED).unwrap();
        net.run_for(50_000);
        assert!(net.ends[0].buffered_amount() > 0);
        let now = net.now;
        net.ends[1] = Association::new(settings(seed), now);
        net.connect();
        net.run_for(10_000_000);
        assert_eq!(net.ends[0].buffered_amount(), 0, "seed {seed}");
        assert_eq!(
            net.states[0],
            [State::Connecting, State::Connected],
            "it never went down"
        );
        (net.received, net.resets) = Default::default();
        for stream in 0..40 {
            net.send(0, stream, b"anew", ORDERED).unwrap();
            net.send(1, stream, b"anew", ORDERED).unwrap();
        }
        let now = net.now;
        net.ends[0].reset_stream(now, 5);
        net.run_for(10_000_000);
        for received in &mut net.received {
            let streams: Vec<u16> = received.iter().map(|message| message.stream).collect();
            assert_eq!(streams, (0..40).collect::<Vec<_>>(), "seed {seed}");
            assert!(received.iter().all(|message| message.payload == b"anew"));
        }
        assert_eq!(net.resets, [vec![], vec![vec![5]]]);
    }
}

#[test]
fn an_abort_tells_the_peer() {
    let mut net = Net::connected();
    net.ends[0].abort(net.now);
    net.run_for(100_000);
    assert_eq!(
        net.states.each_ref().map(|states| *states.last().unwrap()),
        [State::Closed; 2]
    );
    net.ends[0].connect(net.now);
    assert_eq!(net.ends[0].state(), State::Closed, "final");
}

#[test]
fn ten_megabytes_arrive_whole_and_in_order_at_five_percent_loss() {
    let mut net = Net::connected();
    (net.loss, net.reorder) = (0.05, true);
    let total: u32 = 640;
    let mut next = 0;
    while net.received[1].len() < total as usize {
        while next < total && net.send(0, 3, &numbered(next, 16 * 1024), ORDERED).is_ok() {
            next += 1;
        }
        assert!(net.ends[0].buffered_amount() <= 262_144);
        let count = net.received[1].len();
        net.run_until(net.now + 60_000_000, |net| net.received[1].len() > count);
        assert!(net.received[1].len() > count, "stalled after {count}");
    }
    for (expected, message) in net.received[1].iter().enumerate() {
        assert_eq!(message.payload, numbered(expected as u32, 16 * 1024));
    }
    net.loss = 0.0;
    net.run_for(1_000_000);
    assert_eq!(net.ends[0].buffered_amount(), 0);
}

#[test]
fn a_peer_that_sends_small_messages_all_the_time_is_not_cut_off() {
    let mut net = Net::connected();
    (net.loss, net.reorder) = (0.05, true);
    let mut next = 0;
    while next < 200_000 {
        while next < 200_000 && net.send(0, (next % 7) as u16, &numbered(next, 60), ORDERED).is_ok() {
            next += 1;
        }
        net.run_for(100_000);
    }
    net.run_for(60_000_000);
    assert_eq!(net.received[1].len(), 200_000);
}

#[test]
fn a_thousand_streams_share_an_association() {
    let mut net = Net::connected();
    net.loss = 0.02;
    for round in 0..3_u32 {
        for stream in 0..1000_u16 {
            net.send(0, stream, &numbered(round, 20), ORDERED).unwrap();
            net.send(1, stream, &numbered(round, 30), ORDERED).unwrap();
        }
        net.run_for(500_000);
    }
    net.run_for(60_000_000);
    for received in &net.received {
        let mut next = vec![0; 1000];
        for message in received {
            let expected = &mut next[usize::from(message.stream)];
            assert_eq!(number(message), *expected);
            *expected += 1;
        }
        assert!(next.iter().all(|count| *count == 3));
    }
}

#[test]
fn identifiers_and_empty_messages_survive() {
    let mut net = Net::connected();
    let now = net.now;
    for ppid in [0, 50, 51, 52, 53, 54, 55, 56, 57, 1234, u32::MAX] {
        net.ends[0]
            .send(now, 7, ppid, Bytes::from_static(b" "), ORDERED)
            .unwrap();
    }
    net.ends[0].send(now, 7, ppid::STRING, Bytes::new(), ORDERED).unwrap();
    net.ends[0].send(now, 7, ppid::BINARY, Bytes::new(), ORDERED).unwrap();
    assert_eq!(
        net.ends[0].send(now, 7, 1234, Bytes::new(), ORDERED),
        Err(SendError::Empty)
    );
    net.run_for(1_000_000);
    let got: Vec<_> = net.received[1]
        .iter()
        .map(|message| (message.ppid, message.payload.as_slice()))
        .collect();
    let mut expected: Vec<(u32, &[u8])> = [0, 50, 51, 52, 53, 54, 55, 56, 57, 1234, u32::MAX]
        .map(|ppid| (ppid, &b" "[..]))
        .to_vec();
    expected.extend([(56, &[0][..]), (57, &[0][..])]);
    assert_eq!(got, expected);
}

#[test]
fn a_message_longer_than_agreed_is_dropped_and_the_stream_goes_on() {
    let small = Settings {
        max_message_size: 1000,
        ..settings(2)
    };
    let mut net = Net::new(settings(1), small);
    net.connect();
    net.send(0, 0, &[1; 1001], ORDERED).unwrap();
    net.send(0, 0, &[2; 1000], ORDERED).unwrap();
    net.run_for(1_000_000);
    assert_eq!(
        net.received[1]
            .iter()
            .map(|message| message.payload.len())
            .collect::<Vec<_>>(),
        [1000]
    );
}

#[test]
fn over_dtls_checksums_are_left_out() {
    let over_dtls = |seed| Settings {
        over_dtls: true,
        ..settings(seed)
    };
    let mut net = Net::new(over_dtls(1), over_dtls(2));
    net.connect();
    net.send(0, 0, b"data", ORDERED).unwrap();
    let now = net.now;
    let Some(Output::Packet(packet)) = net.ends[0].poll() else {
        panic!("a packet")
    };
    assert_eq!(packet[8..12], [0; 4]);
    net.ends[1].receive(now, &packet);
    net.run_for(1_000_000);
    assert_eq!(net.received[1].len(), 1);
}
