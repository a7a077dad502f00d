//! Packets that a recording does not list one by one, but describes.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::Replay;
use crate::recording::text;

/// How the recorder describes speech: levels of each producer, in turn, until one of them is told to be dominant.
const SPEECH: &str = "every 20 ms one opus packet of each producer with these levels in turn: ";
const UNTIL: &str = ", until: ";
/// Longest time for an event.
const LIMIT: Duration = Duration::from_secs(20);
/// Between two packets of a producer.
const PACE: Duration = Duration::from_millis(20);
/// The recordings' id of the extension for levels (RFC 6464).
const LEVEL: u8 = 6;
const PAYLOAD_TYPE: u8 = 111;

/// The levels of each producer, by its number, that a `repeat` describes; None if it describes something else.
pub(crate) fn speech(repeat: &Value) -> Option<Vec<(u32, Vec<u8>)>> {
    let (levels, _) = text(repeat, "what").strip_prefix(SPEECH)?.split_once(UNTIL)?;
    serde_json::from_str(levels).ok()
}

impl Replay<'_> {
    /// Lets producers of a direct transport speak until the next speaker is told.
    pub(super) fn repeat(&mut self, value: &Value) -> anyhow::Result<()> {
        let speech = speech(value).context("a rhythm that is not known")?;
        let begin = Instant::now();
        for index in 0_u16.. {
            for (number, levels) in &speech {
                let level = levels
                    .get(usize::from(index) % levels.len().max(1))
                    .context("no levels")?;
                let header = json!({ "event": "producer.send", "internal": {
                    "routerId": "00000000-0000-4000-8000-000000000001",
                    "transportId": "11111111-0000-4000-8000-000000000001",
                    "producerId": format!("22222222-0000-4000-8000-{number:012}"),
                } });
                let packet = packet(11_110_000 + number, index, *level);
                let process = self.process(value)?;
                process
                    .worker
                    .send_payload(header.to_string().as_bytes(), Some(&packet));
            }
            let told = self.session.wait(PACE, |state| {
                let mut pending = state.pending();
                pending.any(|line| text(line, "event") == "dominantspeaker")
            });
            if told || begin.elapsed() > LIMIT {
                break;
            }
        }
        Ok(())
    }
}

fn packet(ssrc: u32, index: u16, level: u8) -> Vec<u8> {
    let mut packet = vec![0x90, PAYLOAD_TYPE];
    packet.extend((1000 + index).to_be_bytes());
    packet.extend((960 * u32::from(index)).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0xbe, 0xde, 0, 1, LEVEL << 4, level, 0, 0]);
    packet.extend([7; 20]);
    packet
}
