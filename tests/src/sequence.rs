//! RTP sequence numbers of what a worker sends, which may start anywhere: they are compared by difference to the first
//! one of each stream at each receiver.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::recording::text;

/// First sequence numbers, by receiver and ssrc.
#[derive(Debug, Default, Clone)]
pub struct FirstNumbers {
    first: HashMap<(String, u64), u16>,
    /// Ssrcs of retransmission streams and those they repeat.
    repeated: HashMap<u64, u64>,
}

impl FirstNumbers {
    /// Takes note of a request: a new consumer starts its streams anew.
    pub fn request(&mut self, request: &Value) {
        if text(request, "method") != "transport.consume" {
            return;
        }
        let encodings = request
            .pointer("/data/rtpParameters/encodings")
            .and_then(Value::as_array);
        for encoding in encodings.into_iter().flatten() {
            let Some(ssrc) = encoding["ssrc"].as_u64() else {
                continue;
            };
            self.first.retain(|(_, known), _| *known != ssrc);
            if let Some(rtx) = encoding.pointer("/rtx/ssrc").and_then(Value::as_u64) {
                self.repeated.insert(rtx, ssrc);
            }
        }
    }

    /// Distance of a number from the first one of its stream, which is taken as the first one if there is none yet.
    fn distance(&mut self, receiver: &str, ssrc: u64, number: u16) -> u16 {
        let first = *self.first.entry((receiver.to_owned(), ssrc)).or_insert(number);
        number.wrapping_sub(first)
    }

    /// The first number seen of a stream.
    pub fn get(&self, receiver: &str, ssrc: u64) -> Option<u16> {
        self.first.get(&(receiver.to_owned(), ssrc)).copied()
    }

    /// The first number seen of a stream, whoever got it.
    pub fn get_at_any(&self, ssrc: u64) -> Option<u16> {
        let mut known = self.first.iter().filter(|((_, known), _)| *known == ssrc);
        known.next().map(|(_, first)| *first)
    }

    /// Takes note of a packet received from the worker.
    pub fn received(&mut self, line: &Value) {
        let rtp = &line["rtp"];
        if let (Some(ssrc), Some(number), None) = (rtp["ssrc"].as_u64(), number(&rtp["seq"]), rtp.get("osn")) {
            self.distance(receiver(line), ssrc, number);
        }
    }

    /// Replaces the sequence number of a packet received from the worker, in its description and in its bytes.
    pub fn rewrite_packet(&mut self, line: &mut Value) {
        let receiver = receiver(line).to_owned();
        let rtp = &line["rtp"];
        let (Some(ssrc), Some(seq)) = (rtp["ssrc"].as_u64(), number(&rtp["seq"])) else {
            return;
        };
        if let Some(original) = rtp.get("osn").and_then(number) {
            let Some(repeated) = self.repeated.get(&ssrc).copied() else {
                return;
            };
            let distance = self.distance(&receiver, repeated, original);
            let payload = line["rtp"]["payload_len"].as_u64().unwrap_or(0);
            let padding = line["rtp"]["padding"].as_u64().unwrap_or(0);
            let from_end = usize::try_from((payload + padding) * 2).unwrap_or(0);
            line["rtp"]["osn"] = json!(distance);
            for key in BYTES {
                replace(line, key, |length| length.checked_sub(from_end), distance);
            }
            return;
        }
        let distance = self.distance(&receiver, ssrc, seq);
        line["rtp"]["seq"] = json!(distance);
        for key in BYTES {
            replace(line, key, |_| Some(4), distance);
        }
    }

    /// Replaces the sequence number that a trace reports of a packet sent.
    pub fn rewrite_trace(&mut self, line: &mut Value) {
        let receiver = format!("trace of {}", text(line, "targetId"));
        let Some(info) = line.pointer_mut("/data/info") else {
            return;
        };
        let (Some(ssrc), Some(seq)) = (info["ssrc"].as_u64(), info.get("sequenceNumber").and_then(number)) else {
            return;
        };
        info["sequenceNumber"] = json!(self.distance(&receiver, ssrc, seq));
    }
}

const BYTES: [&str; 3] = ["hex", "payload_hex", "plain_hex"];

fn number(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|value| u16::try_from(value).ok())
}

fn receiver(line: &Value) -> &str {
    match line.get("header") {
        Some(header) => text(header, "targetId"),
        None => text(line, "at"),
    }
}

/// Puts a number into bytes written in hexadecimal.
fn replace(line: &mut Value, key: &str, position: impl Fn(usize) -> Option<usize>, number: u16) {
    let Some(Value::String(bytes)) = line.get_mut(key) else {
        return;
    };
    if let Some(at) = position(bytes.len()).filter(|at| at + 4 <= bytes.len()) {
        bytes.replace_range(at..at + 4, &format!("{number:04x}"));
    }
}

/// A recorded RTCP packet of a receiver, or of any, with the sequence numbers of the streams as this worker counts them.
pub fn translate_feedback(packet: &mut [u8], receiver: Option<&str>, recorded: &FirstNumbers, replayed: &FirstNumbers) {
    let first = |numbers: &FirstNumbers, ssrc: u64| match receiver {
        Some(receiver) => numbers.get(receiver, ssrc),
        None => numbers.get_at_any(ssrc),
    };
    let offset_of = |ssrc: u32| {
        let (recorded, replayed) = (first(recorded, ssrc.into())?, first(replayed, ssrc.into())?);
        Some(replayed.wrapping_sub(recorded))
    };
    let mut start = 0;
    while start + 4 <= packet.len() {
        let length = (usize::from(u16::from_be_bytes([packet[start + 2], packet[start + 3]])) + 1) * 4;
        let Some(part) = packet.get_mut(start..start + length) else {
            break;
        };
        let count = usize::from(part[0] & 31);
        match (part[1], count) {
            (205, 1) if part.len() >= 12 => {
                if let Some(offset) = offset_of(word(part, 8)) {
                    for item in part[12..].chunks_exact_mut(4) {
                        shift(&mut item[..2], offset);
                    }
                }
            }
            (200 | 201, _) => {
                let from = if part[1] == 200 { 28 } else { 8 };
                for block in part
                    .get_mut(from..)
                    .unwrap_or_default()
                    .chunks_exact_mut(24)
                    .take(count)
                {
                    if let Some(offset) = offset_of(word(block, 0)) {
                        shift(&mut block[10..12], offset);
                    }
                }
            }
            _ => {}
        }
        start += length;
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn shift(bytes: &mut [u8], offset: u16) {
    let number = u16::from_be_bytes([bytes[0], bytes[1]]).wrapping_add(offset);
    bytes.copy_from_slice(&number.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feedback_follows_the_offset_of_the_stream() {
        let line = |seq: u16| json!({ "at": "B", "rtp": { "ssrc": 7, "seq": seq } });
        let (mut recorded, mut replayed) = (FirstNumbers::default(), FirstNumbers::default());
        recorded.received(&line(1));
        replayed.received(&line(65535));
        let mut nack = [0x81, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 7, 0, 3, 0, 0];
        translate_feedback(&mut nack, Some("B"), &recorded, &replayed);
        assert_eq!(nack[12..14], [0, 1]);
    }

    #[test]
    fn numbers_become_distances_in_description_and_bytes() {
        let mut numbers = FirstNumbers::default();
        let line = |seq: u16| {
            let hex = format!("8064{seq:04x}0000000000000007");
            json!({ "at": "B", "hex": hex, "rtp": { "ssrc": 7, "seq": seq } })
        };
        let (mut first, mut second) = (line(65535), line(1));
        numbers.rewrite_packet(&mut first);
        numbers.rewrite_packet(&mut second);
        assert_eq!(first["hex"], "806400000000000000000007");
        assert_eq!(
            (&second["rtp"]["seq"], &second["hex"]),
            (&json!(2), &json!("806400020000000000000007"))
        );
    }
}
