//! Sources of video whose bitrates are known, and viewers of it who report what arrives.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use worker::bwe::incoming::{Arrival as Arrived, Feedback, Incoming};
use worker::rtcp::{self, ReportBlock};
use worker::rtp::extensions;
use worker::rtp::packet::RtpHeader;
use worker::rtp::sequence::Unwrapper;

use super::Simulation;
use super::media::{FRAME_TICKS, RECEIVED_TYPE, SENT_TYPE};
use super::network::{Arrival, Protocol};

/// Microseconds between two frames.
const FRAME: u64 = 33_333;
/// Microseconds between two sender reports.
const REPORT: u64 = 500_000;
/// Longest payload.
const PAYLOAD: usize = 1100;
/// How much larger a key frame is.
const KEY_FRAME: f64 = 5.0;
/// Temporal layers: that of each frame in turn, and the share of the bitrate of each layer.
const PATTERN: [u8; 4] = [0, 2, 1, 2];
const SHARES: [f64; 3] = [0.4, 0.25, 0.35];

const TRANSPORT_CC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

const ABS_SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";
/// Microseconds between two reports of losses.
const LOSS_REPORT: u64 = 1_000_000;

/// VP8 with requests for key frames, and this feedback about bandwidth.
fn codecs(payload_type: u8, feedback: Feedback) -> Value {
    let feedback = match feedback {
        Feedback::TransportCc => "transport-cc",
        Feedback::Remb => "goog-remb",
    };
    json!([{ "mimeType": "video/VP8", "payloadType": payload_type, "clockRate": 90_000,
        "rtcpFeedback": [{ "type": "nack", "parameter": "pli" }, { "type": feedback }] }])
}

impl Simulation {
    /// A source of streams of these bitrates, from the lowest to the highest, with transport `source<index>` and producer
    /// `s<index>`. Several are simulcast with three temporal layers each. Returns its index.
    pub fn add_source(&mut self, rates: &[u64], seed: u64) -> usize {
        let index = self.sources.len();
        let first = 10_000 + 100 * index as u32;
        let streams: Vec<_> = (first..).zip(rates.iter().copied()).collect();
        let address = SocketAddr::from(([10, 6, 0, index as u8 + 1], 5000));
        let to = self.plain_transport(&format!("source{index}"), None);
        let mode = if rates.len() > 1 { "L1T3" } else { "L1T1" };
        let ssrcs = streams.iter().map(|(ssrc, _)| *ssrc);
        let encodings: Vec<_> = ssrcs
            .clone()
            .map(|ssrc| json!({ "ssrc": ssrc, "scalabilityMode": mode }))
            .collect();
        let mapped: Vec<_> = ssrcs
            .map(|ssrc| json!({ "ssrc": ssrc, "mappedSsrc": ssrc + 50 }))
            .collect();
        let codecs = codecs(SENT_TYPE, Feedback::TransportCc);
        let internal =
            json!({ "routerId": "r", "transportId": format!("source{index}"), "producerId": format!("s{index}") });
        let data = json!({ "kind": "video", "rtpParameters": { "codecs": codecs, "encodings": encodings },
            "rtpMapping": { "codecs": [{ "payloadType": SENT_TYPE, "mappedPayloadType": RECEIVED_TYPE }],
                "encodings": mapped } });
        self.request("transport.produce", internal, data);
        self.sources.push(Source::new(address, to, &streams, seed, self.now()));
        index
    }

    /// A viewer of a source of so many streams, behind a bottleneck, with transport `view<index>` and consumer `u<index>`;
    /// its bandwidth is estimated. `wanted`: bits per second that it would like to get at most. Returns its index.
    pub fn add_viewer(&mut self, source: usize, streams: usize, wanted: u64, bottleneck: usize) -> usize {
        self.add_viewer_with(Feedback::TransportCc, source, streams, wanted, bottleneck)
    }

    /// The same with one that reports arrivals, or says what it can take and what it lost.
    pub fn add_viewer_with(
        &mut self,
        feedback: Feedback,
        source: usize,
        streams: usize,
        wanted: u64,
        bottleneck: usize,
    ) -> usize {
        let index = self.viewers.len();
        let address = SocketAddr::from(([10, 7, 0, index as u8 + 1], 5000));
        let to = self.plain_transport(&format!("view{index}"), Some(address));
        self.network.behind.insert(address, bottleneck);
        self.viewers.push(Viewer::new(address, to, feedback, self.now()));
        self.consume_counted(index, &format!("u{index}"), source, streams, wanted);
        index
    }

    /// One more consumer for a viewer.
    pub fn consume_counted(&mut self, viewer: usize, consumer: &str, source: usize, streams: usize, wanted: u64) {
        let first = 10_000 + 100 * source as u32;
        let ssrc = 2_000_000 + 100 * viewer as u32 + source as u32;
        let (kind, mode) = if streams > 1 {
            ("simulcast", format!("S{streams}T3"))
        } else {
            ("simple", "L1T1".to_owned())
        };
        let consumable: Vec<_> = (first..)
            .take(streams)
            .map(|ssrc| json!({ "ssrc": ssrc + 50 }))
            .collect();
        let feedback = self.viewers[viewer].feedback;
        let extension = match feedback {
            Feedback::TransportCc => json!({ "uri": TRANSPORT_CC, "id": extensions::TRANSPORT_WIDE_CC }),
            Feedback::Remb => json!({ "uri": ABS_SEND_TIME, "id": extensions::ABS_SEND_TIME }),
        };
        let parameters = json!({ "codecs": codecs(RECEIVED_TYPE, feedback),
            "headerExtensions": [extension],
            "encodings": [{ "ssrc": ssrc, "scalabilityMode": mode, "maxBitrate": wanted }] });
        let internal = json!({ "routerId": "r", "transportId": format!("view{viewer}"), "consumerId": consumer,
            "producerId": format!("s{source}") });
        let data = json!({ "kind": "video", "type": kind, "rtpParameters": parameters,
            "consumableRtpEncodings": consumable });
        self.request("transport.consume", internal, data);
    }

    /// What can be sent to a viewer, in bits per second, as the stats of its transport tell.
    pub fn available_bitrate(&mut self, viewer: usize) -> u64 {
        let internal = json!({ "routerId": "r", "transportId": format!("view{viewer}") });
        let stats = self.request("transport.getStats", internal, json!({}));
        stats[0]["availableOutgoingBitrate"].as_u64().expect("an estimate")
    }
}

/// One stream of a source.
#[derive(Debug)]
struct Stream {
    ssrc: u32,
    rate: u64,
    sequence: u16,
    timestamp: u32,
    picture: u16,
    tl0: u8,
    position: usize,
    key_wanted: bool,
}

/// Sends video of one or several sizes, 30 frames a second.
#[derive(Debug)]
pub struct Source {
    /// Its address.
    pub address: SocketAddr,
    /// The transport's.
    pub to: SocketAddr,
    /// Frames of a key frame's size are sent when asked for.
    pub key_requests: u64,
    streams: Vec<Stream>,
    rng: ChaCha8Rng,
    next_frame: u64,
    next_report: u64,
    out: Vec<Arrival>,
}

impl Source {
    /// One that begins now: a stream of so many bits per second under each of these SSRCs.
    pub fn new(address: SocketAddr, to: SocketAddr, streams: &[(u32, u64)], seed: u64, now: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let streams = streams.iter().map(|(ssrc, rate)| Stream {
            ssrc: *ssrc,
            rate: *rate,
            sequence: rng.random(),
            timestamp: rng.random(),
            picture: rng.random::<u16>() & 0x7fff,
            tl0: rng.random(),
            position: 0,
            key_wanted: true,
        });
        Self {
            address,
            to,
            key_requests: 0,
            streams: streams.collect(),
            rng,
            next_frame: now,
            next_report: now + 20_000,
            out: Vec::new(),
        }
    }

    /// Changes the bitrate of its only stream.
    pub fn set_rate(&mut self, rate: u64) {
        self.streams[0].rate = rate;
    }

    /// When it has something to send.
    pub fn deadline(&self) -> u64 {
        self.next_frame.min(self.next_report)
    }

    /// Sends a frame of each stream, or reports, if they are due.
    pub fn handle_timeout(&mut self, now: u64) {
        let (address, to) = (self.address, self.to);
        let mut put = |bytes: Vec<u8>| {
            self.out.push(Arrival {
                from: address,
                to,
                protocol: Protocol::Udp,
                bytes,
            });
        };
        if now >= self.next_frame {
            self.next_frame += FRAME;
            let layers = self.streams.len() > 1;
            for stream in &mut self.streams {
                stream.frame(layers, &mut self.rng).into_iter().for_each(&mut put);
            }
        }
        if now >= self.next_report {
            self.next_report += REPORT;
            for stream in &self.streams {
                put(stream.report(now));
            }
        }
    }

    /// Takes a packet of the worker: requests for key frames are obeyed.
    pub fn handle(&mut self, arrival: &Arrival) {
        let mut compound = arrival.bytes.as_slice();
        while let Some(&[first, packet_type, l0, l1]) = compound.first_chunk::<4>() {
            let length = 4 * (1 + usize::from(u16::from_be_bytes([l0, l1])));
            let (packet, rest) = compound.split_at(length);
            compound = rest;
            if (packet_type, first & 0x1f) == (206, 1) {
                let ssrc = u32::from_be_bytes(packet[8..12].try_into().expect("four bytes"));
                self.key_requests += 1;
                for stream in self.streams.iter_mut().filter(|stream| stream.ssrc == ssrc) {
                    stream.key_wanted = true;
                }
            }
        }
    }

    /// What it wants to send.
    pub fn take_output(&mut self) -> Vec<Arrival> {
        std::mem::take(&mut self.out)
    }
}

impl Stream {
    fn frame(&mut self, layers: bool, rng: &mut ChaCha8Rng) -> Vec<Vec<u8>> {
        let key = std::mem::take(&mut self.key_wanted);
        if key {
            self.position = 0;
        }
        let layer = if layers {
            PATTERN[self.position % PATTERN.len()]
        } else {
            0
        };
        let sync = layers && matches!(self.position % PATTERN.len(), 1 | 2);
        self.position += 1;
        self.tl0 = self.tl0.wrapping_add(u8::from(layer == 0));
        let mean = self.rate as f64 / 8.0 * FRAME as f64 / 1e6;
        let share = if layers {
            let frames = PATTERN.iter().filter(|of| **of == layer).count() as f64;
            SHARES[usize::from(layer)] * PATTERN.len() as f64 / frames
        } else {
            1.0
        };
        let varied = mean * share * rng.random_range(0.85..1.15) * if key { KEY_FRAME } else { 1.0 };
        let size = (varied as usize).max(60);
        let parts = size.div_ceil(PAYLOAD);
        let packets = (0..parts).map(|part| {
            let marker = u8::from(part + 1 == parts) << 7;
            let mut packet = vec![0x80, SENT_TYPE | marker];
            packet.extend(self.sequence.to_be_bytes());
            packet.extend(self.timestamp.to_be_bytes());
            packet.extend(self.ssrc.to_be_bytes());
            packet.extend([if part == 0 { 0x90 } else { 0x80 }, 0xf0]);
            packet.extend((self.picture | 0x8000).to_be_bytes());
            packet.extend([self.tl0, layer << 6 | u8::from(sync) << 5 | 1, u8::from(!key)]);
            packet.resize(12 + size / parts, self.ssrc as u8);
            self.sequence = self.sequence.wrapping_add(1);
            packet
        });
        let packets = packets.collect();
        self.picture = (self.picture + 1) & 0x7fff;
        self.timestamp = self.timestamp.wrapping_add(FRAME_TICKS);
        packets
    }

    fn report(&self, now: u64) -> Vec<u8> {
        let mut report = vec![0x80, 200, 0, 6];
        report.extend(self.ssrc.to_be_bytes());
        let ntp = (3_900_000_000_u64 << 32) + ((now << 32) / 1_000_000);
        report.extend(ntp.to_be_bytes());
        report.extend(self.timestamp.to_be_bytes());
        report.extend([0; 8]);
        report
    }
}

/// Receives video, and reports what arrives as browsers do.
#[derive(Debug)]
pub struct Viewer {
    /// Its address.
    pub address: SocketAddr,
    /// The transport's.
    pub to: SocketAddr,
    /// How it lets the worker know what it can take.
    pub feedback: Feedback,
    /// When each packet of media came, its bytes, and the source's stream that it is of.
    pub got: Vec<(u64, usize, u8)>,
    /// Bytes that came, with those of padding.
    pub bytes: u64,
    /// Packets of media that should have come, by their numbers, and those that have.
    pub counted: (u64, u64),
    incoming: Incoming,
    streams: BTreeMap<u32, Received>,
    next_report: Option<u64>,
    next_loss_report: u64,
    out: Vec<Arrival>,
}

/// Numbers of a stream that came.
#[derive(Debug)]
struct Received {
    numbers: Unwrapper,
    first: u64,
    highest: u64,
    packets: u64,
    reported: (u64, u64),
}

impl Received {
    fn report(&mut self, ssrc: u32) -> ReportBlock {
        let now = (self.highest + 1 - self.first, self.packets);
        let before = std::mem::replace(&mut self.reported, now);
        let expected = now.0 - before.0;
        let lost = expected.saturating_sub(now.1 - before.1);
        ReportBlock {
            ssrc,
            fraction_lost: (lost * 256 / expected.max(1)).min(255) as u8,
            cumulative_lost: now.0 as i32 - now.1 as i32,
            highest_sequence: self.highest as u32,
            ..ReportBlock::default()
        }
    }
}

impl Viewer {
    /// One that waits.
    pub fn new(address: SocketAddr, to: SocketAddr, feedback: Feedback, now: u64) -> Self {
        Self {
            address,
            to,
            feedback,
            got: Vec::new(),
            bytes: 0,
            counted: (0, 0),
            incoming: Incoming::new(feedback, 0),
            streams: BTreeMap::new(),
            next_report: None,
            next_loss_report: now + LOSS_REPORT,
            out: Vec::new(),
        }
    }

    /// Takes a packet of the worker.
    ///
    /// # Panics
    /// It is not one that the worker should send.
    pub fn handle(&mut self, arrival: &Arrival, now: u64) {
        let packet = &arrival.bytes;
        if matches!(packet[1], 192..=223) {
            return;
        }
        let header = RtpHeader::parse(packet).expect("a packet");
        let read = |id| header.extension(packet, id);
        if header.payload_type == RECEIVED_TYPE {
            // The source fills each stream with a byte of its own.
            self.got.push((now, packet.len(), packet[packet.len() - 1]));
            self.count(header.ssrc, header.sequence_number);
        }
        self.bytes += packet.len() as u64;
        let arrived = Arrived {
            ssrc: header.ssrc,
            wide_sequence_number: read(extensions::TRANSPORT_WIDE_CC).and_then(extensions::transport_wide_cc),
            abs_send_time: read(extensions::ABS_SEND_TIME).and_then(extensions::read_abs_send_time),
            size: packet.len(),
        };
        let mut message = Vec::new();
        let at = self.incoming.add(arrived, now, &mut message);
        self.next_report = at.or(self.next_report);
        self.put(message);
    }

    fn count(&mut self, ssrc: u32, sequence_number: u16) {
        let stream = self.streams.entry(ssrc).or_insert_with(|| {
            let number = Unwrapper::new().unwrap(sequence_number);
            Received {
                numbers: Unwrapper::new(),
                first: number,
                highest: number,
                packets: 0,
                reported: (0, 0),
            }
        });
        stream.highest = stream.highest.max(stream.numbers.unwrap(sequence_number));
        stream.packets += 1;
        let expected = self.streams.values().map(|stream| stream.highest + 1 - stream.first);
        let packets = self.streams.values().map(|stream| stream.packets);
        self.counted = (expected.sum(), packets.sum());
    }

    fn put(&mut self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.out.push(Arrival {
                from: self.address,
                to: self.to,
                protocol: Protocol::Udp,
                bytes,
            });
        }
    }

    /// When it wants to be woken.
    pub fn deadline(&self) -> Option<u64> {
        match self.feedback {
            Feedback::TransportCc => self.next_report,
            Feedback::Remb => Some(self.next_loss_report),
        }
    }

    /// Reports, if that is due.
    pub fn handle_timeout(&mut self, now: u64) {
        if self.feedback == Feedback::Remb && now >= self.next_loss_report {
            self.next_loss_report = now + LOSS_REPORT;
            let blocks: Vec<_> = self
                .streams
                .iter_mut()
                .map(|(ssrc, stream)| stream.report(*ssrc))
                .collect();
            let mut report = Vec::new();
            rtcp::receiver_report(&mut report, &blocks);
            self.put(report);
        }
        if self.next_report.is_none_or(|at| now < at) {
            return;
        }
        self.next_report = None;
        for report in self.incoming.report() {
            self.put(report);
        }
    }

    /// What it wants to send.
    pub fn take_output(&mut self) -> Vec<Arrival> {
        std::mem::take(&mut self.out)
    }
}
