//! Packets that a recording does not list one by one, but describes: what is sent at each beat, and until when.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::Replay;
use crate::recording::text;
use crate::session::State;

/// The words of the recorder. Levels of each producer in turn, until one of them is told to be dominant.
const SPEECH: &str = "every 20 ms one opus packet of each producer with these levels in turn: ";
const UNTIL: &str = ", until: ";
/// The lower of two simulcast streams goes on alone until the score of the other one has dropped.
const LOWER: &str = "one packet of ssrc 22220001 (no key frame) every 100 ms until the score of the other stream drops, \
                     then a key frame";
/// A second of video with times of sending, and one with transport-wide numbers.
const TIMED: &str = "60 packets of ssrc 22220001 with abs-send-time at A, one every 20 ms, key frame first";
const NUMBERED: &str = "60 packets of ssrc 22220002 with transport-wide sequence numbers (number 7 missing) at A, one \
                        every 20 ms, key frame first";

/// Longest time for an event.
const LIMIT: Duration = Duration::from_secs(20);
/// The socket that sends video.
const SOCKET: &str = "A";

/// The recordings' ids of extensions: levels (RFC 6464), transport-wide numbers, time of sending.
const LEVEL: u8 = 6;
const WIDE: u8 = 8;
const SEND_TIME: u8 = 9;
const OPUS: u8 = 111;
const VP8: u8 = 96;

/// A rhythm that a `repeat` describes.
#[derive(Debug)]
enum Rhythm {
    /// The levels of each producer of a direct transport, by its number.
    Speech(Vec<(u32, Vec<u8>)>),
    /// The lower of two simulcast streams, whose first frame has been sent.
    Lower,
    /// 60 frames of VP8 with times of sending.
    Timed,
    /// 60 frames of VP8 with transport-wide numbers, of which one is lost.
    Numbered,
}

impl Rhythm {
    /// What a `repeat` describes; None if that is not known.
    fn read(repeat: &Value) -> Option<Self> {
        match text(repeat, "what") {
            LOWER => Some(Self::Lower),
            TIMED => Some(Self::Timed),
            NUMBERED => Some(Self::Numbered),
            what => {
                let (levels, _) = what.strip_prefix(SPEECH)?.split_once(UNTIL)?;
                serde_json::from_str(levels).ok().map(Self::Speech)
            }
        }
    }

    /// From one beat to the next.
    fn pace(&self) -> Duration {
        Duration::from_millis(if matches!(self, Self::Lower) { 100 } else { 20 })
    }

    /// The packets of a beat, counted from 0, with the numbers of their producers.
    fn packets(&self, beat: u16) -> Vec<(u32, Vec<u8>)> {
        let (sequence, time) = (beat, 1800 * u32::from(beat));
        let payload = || vp8(&[0x80, 0x80, beat as u8], 400, 0, beat == 0);
        match self {
            Self::Speech(producers) => {
                let packet = |(number, levels): &(u32, Vec<u8>)| {
                    let level = *levels.get(usize::from(beat) % levels.len().max(1))?;
                    let header = header(OPUS, 1000 + beat, 960 * u32::from(beat), 11_110_000 + number, false);
                    Some((*number, with_extension(header, LEVEL, &[level], &[7; 20])))
                };
                producers.iter().filter_map(packet).collect()
            }
            Self::Lower => {
                let (frame, sequence) = (beat + 1, 11 + beat);
                let mut packet = header(VP8, sequence, 900_000 + 3000 * u32::from(frame), 22_220_001, true);
                let counters = [0xf0, 0x80, frame as u8, (frame + 1) as u8, 1];
                packet.extend(vp8(&counters, 24, sequence, false));
                vec![(1, packet)]
            }
            Self::Timed => {
                // Seconds with 18 bits of fraction (draft-alvestrand-rmcat-remb).
                let sent_at = ((u32::from(beat) * 20) << 18) / 1000;
                let header = header(VP8, sequence, time, 22_220_001, true);
                let packet = with_extension(header, SEND_TIME, &sent_at.to_be_bytes()[1..], &payload());
                vec![(1, packet)]
            }
            Self::Numbered if beat == 7 => Vec::new(),
            Self::Numbered => {
                let header = header(VP8, sequence, time, 22_220_002, true);
                vec![(2, with_extension(header, WIDE, &beat.to_be_bytes(), &payload()))]
            }
        }
    }

    /// Whether it ends before a beat.
    fn is_over(&self, beat: u16, state: &State) -> bool {
        let told = |event: &str, holds: &dyn Fn(&Value) -> bool| {
            let mut pending = state.pending();
            pending.any(|line| text(line, "event") == event && holds(line))
        };
        match self {
            Self::Speech(_) => told("dominantspeaker", &|_| true),
            Self::Lower => told("score", &|line| line.pointer("/data/1/score") == Some(&json!(0))),
            Self::Timed | Self::Numbered => beat == 60,
        }
    }
}

impl Replay<'_> {
    /// Sends what a `repeat` describes.
    pub(super) fn repeat(&mut self, value: &Value) -> anyhow::Result<()> {
        let rhythm = Rhythm::read(value).context("a rhythm that is not known")?;
        let begin = Instant::now();
        for beat in 0_u16.. {
            for (producer, packet) in rhythm.packets(beat) {
                self.send_of_producer(value, &rhythm, producer, &packet)?;
            }
            let over = self
                .session
                .wait(rhythm.pace(), |state| rhythm.is_over(beat + 1, state));
            if over || begin.elapsed() > LIMIT {
                break;
            }
        }
        Ok(())
    }

    /// Sends a packet on the transport of its producer: in both kinds of recording they have simple numbers.
    fn send_of_producer(&mut self, value: &Value, rhythm: &Rhythm, number: u32, packet: &[u8]) -> anyhow::Result<()> {
        if matches!(rhythm, Rhythm::Speech(_)) {
            let header = json!({ "event": "producer.send", "internal": {
                "routerId": "00000000-0000-4000-8000-000000000001",
                "transportId": "11111111-0000-4000-8000-000000000001",
                "producerId": format!("22222222-0000-4000-8000-{number:012}"),
            } });
            let process = self.process(value)?;
            process.worker.send_payload(header.to_string().as_bytes(), Some(packet));
            return Ok(());
        }
        let to = format!("11111111-0000-4000-8000-{number:012} rtp");
        self.send_from(SOCKET, &to, packet)
    }
}

fn header(payload_type: u8, sequence: u16, timestamp: u32, ssrc: u32, marker: bool) -> Vec<u8> {
    let mut header = vec![0x80, payload_type | (u8::from(marker) << 7)];
    header.extend(sequence.to_be_bytes());
    header.extend(timestamp.to_be_bytes());
    header.extend(ssrc.to_be_bytes());
    header
}

/// A packet with one extension of one to three bytes.
fn with_extension(mut packet: Vec<u8>, id: u8, value: &[u8], payload: &[u8]) -> Vec<u8> {
    packet[0] |= 0x10;
    packet.extend([0xbe, 0xde, 0, 1, (id << 4) | (value.len() - 1) as u8]);
    packet.extend(value);
    packet.resize(16 + 4, 0);
    packet.extend(payload);
    packet
}

/// The first payload of a frame of VP8: descriptor behind its first byte, and `size` bytes as the recorder fills them.
fn vp8(descriptor: &[u8], size: u16, seed: u16, key: bool) -> Vec<u8> {
    let filling = (0..size).map(|at| (31 * u32::from(seed) + 7 * u32::from(at) + 1) as u8);
    let mut payload = vec![0x90];
    payload.extend(descriptor);
    let first = payload.len();
    payload.extend(filling);
    payload[first] = (payload[first] & 0xfe) | u8::from(!key);
    payload
}
