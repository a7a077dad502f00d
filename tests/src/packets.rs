//! Decoding packets as far as their comparison needs it: RTP, RTCP, STUN, SCTP chunk types, DTLS record headers.

use serde_json::{Map, Value, json};

/// What a packet is known to hold before it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// Nothing is known.
    Unknown,
    /// Bytes of an application.
    Data,
}

/// Whether the second byte is that of an RTCP packet.
pub fn is_rtcp(packet: &[u8]) -> bool {
    packet.len() >= 4 && packet[0] >> 6 == 2 && (192..=223).contains(&packet[1])
}

/// Describes a packet: an object with one key named after the protocol, or an empty one.
pub fn describe(packet: &[u8], hint: Hint) -> Map<String, Value> {
    let described = if hint == Hint::Data {
        None
    } else if is_stun(packet) {
        Some(("stun", stun(packet)))
    } else if packet.len() >= 13 && (20..64).contains(&packet[0]) && packet[1] == 0xfe {
        Some((
            "dtls",
            json!({ "content_type": packet[0], "version": hex::encode(&packet[1..3]) }),
        ))
    } else if is_rtcp(packet) {
        Some(("rtcp", Value::Array(rtcp(packet))))
    } else if packet.len() >= 12 && packet[0] >> 6 == 2 {
        rtp(packet).map(|rtp| ("rtp", rtp))
    } else if packet.len() >= 16 && u16_at(packet, 0) == 5000 && u16_at(packet, 2) == 5000 {
        Some(("sctp", sctp(packet)))
    } else {
        None
    };
    described
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

/// Whether a described packet is one that timers send, in numbers and places without meaning.
pub fn is_asynchronous(description: &Map<String, Value>, on_wire: bool) -> bool {
    const REPORTS: [&str; 4] = ["SR", "RR", "XR", "SDES"];
    if on_wire && description.contains_key("sctp") {
        return true;
    }
    description
        .get("rtcp")
        .and_then(Value::as_array)
        .is_some_and(|packets| {
            packets
                .iter()
                .filter_map(|packet| packet["type"].as_str())
                .any(|kind| REPORTS.contains(&kind) || (on_wire && ["TCC", "REMB"].contains(&kind)))
        })
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
}

fn rtp(packet: &[u8]) -> Option<Value> {
    let mut described = json!({
        "pt": packet[1] & 0x7f,
        "seq": u16_at(packet, 2),
        "ts": u32_at(packet, 4),
        "ssrc": u32_at(packet, 8),
        "marker": packet[1] & 0x80 != 0,
    });
    let mut offset = 12 + usize::from(packet[0] & 15) * 4;
    if packet[0] & 0x10 != 0 {
        let length = usize::from(u16_at(packet, offset + 2)) * 4;
        let body = packet.get(offset + 4..offset + 4 + length)?;
        described["ext"] = extensions(u16_at(packet, offset), body);
        offset += 4 + length;
    }
    let mut padding = 0;
    if packet[0] & 0x20 != 0 {
        padding = usize::from(packet[packet.len() - 1]);
        described["padding"] = json!(padding);
    }
    let payload = packet
        .get(offset..packet.len().saturating_sub(padding))
        .unwrap_or_default();
    described["payload_len"] = json!(payload.len());
    match packet[1] & 0x7f {
        96 | 101 if !payload.is_empty() => described["vp8"] = vp8(payload),
        98 | 103 if !payload.is_empty() => described["vp9"] = vp9(payload),
        97 | 99 | 102 | 105 | 106 | 108 if payload.len() >= 2 => described["osn"] = json!(u16_at(payload, 0)),
        _ => {}
    }
    Some(described)
}

fn extensions(profile: u16, body: &[u8]) -> Value {
    let mut elements = Map::new();
    let one_byte = profile == 0xbede;
    if !one_byte && profile & 0xfff0 != 0x1000 {
        return Value::Object(elements);
    }
    let mut at = 0;
    while at < body.len() {
        if body[at] == 0 {
            at += 1;
            continue;
        }
        let (id, length, header) = if one_byte {
            (body[at] >> 4, usize::from(body[at] & 15) + 1, 1)
        } else {
            (body[at], body.get(at + 1).copied().map_or(0, usize::from), 2)
        };
        if one_byte && id == 15 {
            break;
        }
        let end = (at + header + length).min(body.len());
        let data = body.get(at + header..end).unwrap_or_default();
        elements.insert(id.to_string(), json!(hex::encode(data)));
        at += header + length;
    }
    Value::Object(elements)
}

/// Reads bytes, zeros when there are no more.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn next(&mut self) -> u8 {
        self.at += 1;
        self.bytes.get(self.at - 1).copied().unwrap_or(0)
    }

    fn picture_id(&mut self) -> u16 {
        let first = self.next();
        if first & 0x80 == 0 {
            u16::from(first)
        } else {
            u16::from_be_bytes([first & 0x7f, self.next()])
        }
    }
}

fn vp8(payload: &[u8]) -> Value {
    let mut cursor = Cursor { bytes: payload, at: 0 };
    let first = cursor.next();
    let start = first & 0x10 != 0;
    let mut described = json!({ "start": start });
    if first & 0x80 != 0 {
        let flags = cursor.next();
        if flags & 0x80 != 0 {
            described["pid"] = json!(cursor.picture_id());
        }
        if flags & 0x40 != 0 {
            described["tl0"] = json!(cursor.next());
        }
        if flags & 0x30 != 0 {
            let byte = cursor.next();
            if flags & 0x20 != 0 {
                described["tid"] = json!(byte >> 6);
                described["y"] = json!((byte >> 5) & 1);
            }
            if flags & 0x10 != 0 {
                described["keyidx"] = json!(byte & 0x1f);
            }
        }
    }
    if start && let Some(byte) = payload.get(cursor.at) {
        described["key"] = json!(byte & 1 == 0);
    }
    described
}

fn vp9(payload: &[u8]) -> Value {
    let mut cursor = Cursor { bytes: payload, at: 0 };
    let first = cursor.next();
    let mut described = json!({ "inter": first & 0x40 != 0, "b": first & 8 != 0, "e": first & 4 != 0 });
    if first & 0x80 != 0 {
        described["pid"] = json!(cursor.picture_id());
    }
    if first & 0x20 != 0 {
        let layers = cursor.next();
        described["tid"] = json!(layers >> 5);
        described["u"] = json!((layers >> 4) & 1);
        described["sid"] = json!((layers >> 1) & 7);
        described["d"] = json!(layers & 1);
        if first & 0x10 == 0 {
            described["tl0"] = json!(cursor.next());
        }
    }
    described
}

/// Describes every packet of a compound RTCP packet.
pub fn rtcp(compound: &[u8]) -> Vec<Value> {
    let mut described = Vec::new();
    let mut offset = 0;
    while offset + 4 <= compound.len() {
        let length = (usize::from(u16_at(compound, offset + 2)) + 1) * 4;
        let Some(packet) = compound
            .get(offset..offset + length)
            .filter(|packet| packet[0] >> 6 == 2)
        else {
            described.push(json!({ "type": "malformed" }));
            break;
        };
        described.push(rtcp_packet(packet));
        offset += length;
    }
    described
}

fn rtcp_packet(packet: &[u8]) -> Value {
    let count = packet[0] & 31;
    let words = |from: usize| (from..).step_by(4).take_while(|at| at + 4 <= packet.len());
    let feedback = |kind: &str| json!({ "type": kind, "sender": u32_at(packet, 4), "media": u32_at(packet, 8) });
    match (packet[1], count) {
        (200, _) if packet.len() >= 28 => json!({
            "type": "SR", "ssrc": u32_at(packet, 4), "ntpSec": u32_at(packet, 8), "ntpFrac": u32_at(packet, 12),
            "rtpTs": u32_at(packet, 16), "packets": u32_at(packet, 20), "octets": u32_at(packet, 24),
            "reports": reports(packet, 28, count),
        }),
        (201, _) if packet.len() >= 8 => {
            json!({ "type": "RR", "ssrc": u32_at(packet, 4), "reports": reports(packet, 8, count) })
        }
        (202, _) => json!({ "type": "SDES" }),
        (203, _) => {
            json!({ "type": "BYE", "ssrc": (packet.len() >= 8).then(|| u32_at(packet, 4)) })
        }
        (205, 1) => {
            let mut nack = feedback("NACK");
            let item = |at: usize| json!({ "pid": u16_at(packet, at), "blp": u16_at(packet, at + 2) });
            nack["items"] = words(12).map(item).collect();
            nack
        }
        (205, 15) if packet.len() >= 20 => feedback("TCC"),
        (206, 1) => feedback("PLI"),
        (206, 4) => {
            let mut fir = feedback("FIR");
            let items = (12..).step_by(8).take_while(|at| at + 8 <= packet.len());
            fir["items"] = items
                .map(|at| json!({ "ssrc": u32_at(packet, at), "seq": packet[at + 4] }))
                .collect();
            fir
        }
        (206, 15) if packet.get(12..16) == Some(b"REMB") => {
            let mut remb = feedback("REMB");
            remb["ssrcs"] = words(20).map(|at| json!(u32_at(packet, at))).collect();
            remb
        }
        (207, _) => json!({ "type": "XR", "ssrc": u32_at(packet, 4) }),
        (kind, _) => json!({ "type": format!("pt{kind}/{count}") }),
    }
}

fn reports(packet: &[u8], from: usize, count: u8) -> Value {
    let blocks = (from..)
        .step_by(24)
        .take(usize::from(count))
        .take_while(|at| at + 24 <= packet.len());
    blocks
        .map(|at| json!({ "ssrc": u32_at(packet, at), "highest": u32_at(packet, at + 8) }))
        .collect()
}

fn is_stun(packet: &[u8]) -> bool {
    packet.len() >= 20 && packet[0] < 4 && u32_at(packet, 4) == 0x2112_a442
}

fn stun(packet: &[u8]) -> Value {
    let kind = u16_at(packet, 0);
    let class =
        ["request", "indication", "success", "error"][usize::from(((kind & 0x100) >> 7) | ((kind & 0x10) >> 4))];
    let method = (kind & 0xf) | ((kind & 0xe0) >> 1) | ((kind & 0x3e00) >> 2);
    let mut attributes = Map::new();
    let end = packet.len().min(20 + usize::from(u16_at(packet, 2)));
    let mut offset = 20;
    while offset + 4 <= end {
        let length = usize::from(u16_at(packet, offset + 2));
        let value = packet.get(offset + 4..offset + 4 + length).unwrap_or_default();
        let (name, value) = stun_attribute(u16_at(packet, offset), value);
        attributes.insert(name, value);
        offset += 4 + length.next_multiple_of(4);
    }
    json!({ "class": class, "method": method, "txid": hex::encode(&packet[8..20]), "attrs": attributes })
}

fn stun_attribute(kind: u16, value: &[u8]) -> (String, Value) {
    let (name, value) = match kind {
        0x0006 => ("USERNAME", json!(String::from_utf8_lossy(value))),
        0x0008 => ("MESSAGE-INTEGRITY", json!(true)),
        0x0009 => {
            let (class, number) = (value.get(2).copied().unwrap_or(0), value.get(3).copied().unwrap_or(0));
            ("ERROR-CODE", json!(u32::from(class) * 100 + u32::from(number)))
        }
        0x0020 => {
            let port = u16_at(value, 2) ^ 0x2112;
            let ip = match value {
                [_, 1, _, _, a, b, c, d, ..] => format!("{}.{}.{}.{}", a ^ 0x21, b ^ 0x12, c ^ 0xa4, d ^ 0x42),
                _ => "ipv6".to_owned(),
            };
            ("XOR-MAPPED-ADDRESS", json!({ "ip": ip, "port": port }))
        }
        0x0024 => ("PRIORITY", json!(u32_at(value, 0))),
        0x0025 => ("USE-CANDIDATE", json!(true)),
        0x8022 => ("SOFTWARE", json!(String::from_utf8_lossy(value))),
        0x8028 => ("FINGERPRINT", json!(true)),
        0x8029 => ("ICE-CONTROLLED", json!(true)),
        0x802a => ("ICE-CONTROLLING", json!(true)),
        0xc001 => ("NOMINATION", json!(u32_at(value, 0))),
        _ => return (format!("0x{kind:x}"), json!(hex::encode(value))),
    };
    (name.to_owned(), value)
}

fn sctp(packet: &[u8]) -> Value {
    let mut chunks = Vec::new();
    let mut offset = 12;
    while offset + 4 <= packet.len() {
        let length = usize::from(u16_at(packet, offset + 2));
        if length < 4 {
            break;
        }
        chunks.push(packet[offset]);
        offset += length.next_multiple_of(4);
    }
    json!({ "sport": u16_at(packet, 0), "dport": u16_at(packet, 2), "chunks": chunks })
}
