//! Trace events: which are enabled, and what they tell.

use channel_proto::event::{BandwidthInfo, Event, PacketInfo, Trace, TraceDirection, TraceInfo};

/// Types of trace events of producers and consumers, in the order of dumps.
const RTP_ENTITY: [&str; 5] = ["rtp", "keyframe", "nack", "pli", "fir"];
/// Types of trace events of transports, in the order of dumps.
const TRANSPORT: [&str; 2] = ["probation", "bwe"];

/// The enabled trace events of an entity.
#[derive(Debug, Clone, Copy)]
pub struct TraceEvents {
    names: &'static [&'static str],
    enabled: u8,
}

impl TraceEvents {
    /// None enabled, of a producer or consumer.
    pub fn of_rtp_entity() -> Self {
        Self {
            names: &RTP_ENTITY,
            enabled: 0,
        }
    }

    /// None enabled, of a transport.
    pub fn of_transport() -> Self {
        Self {
            names: &TRANSPORT,
            enabled: 0,
        }
    }

    /// Replaces the set; unknown names are ignored.
    pub fn set(&mut self, types: &[String]) {
        self.enabled = self
            .names
            .iter()
            .enumerate()
            .filter(|(_, name)| types.iter().any(|wanted| wanted == *name))
            .fold(0, |set, (index, _)| set | 1 << index);
    }

    /// Whether any is enabled: the only question on the packet path.
    pub fn any(&self) -> bool {
        self.enabled != 0
    }

    /// Whether this one is enabled.
    pub fn has(&self, name: &str) -> bool {
        self.names
            .iter()
            .position(|known| *known == name)
            .is_some_and(|index| self.enabled & (1 << index) != 0)
    }

    /// The enabled ones, joined by commas.
    pub fn dump(&self) -> String {
        self.names
            .iter()
            .copied()
            .filter(|name| self.has(name))
            .collect::<Vec<_>>()
            .join(",")
    }

    /// The event for a packet: a key frame as `keyframe` if that is enabled, else as `rtp`.
    pub fn packet(&self, info: PacketInfo, direction: TraceDirection, now: u64) -> Option<Event> {
        let kind = if info.is_key_frame && self.has("keyframe") {
            "keyframe"
        } else if self.has("rtp") {
            "rtp"
        } else {
            return None;
        };
        Some(trace(kind, direction, TraceInfo::Packet(Box::new(info)), now))
    }

    /// The event for a key frame request (`pli` or `fir`).
    pub fn request(&self, kind: &str, ssrc: u32, direction: TraceDirection, now: u64) -> Option<Event> {
        self.has(kind)
            .then(|| trace(kind, direction, TraceInfo::Stream { ssrc }, now))
    }
}

impl TraceEvents {
    /// The event for a packet of padding.
    pub fn probation(&self, info: PacketInfo, direction: TraceDirection, now: u64) -> Option<Event> {
        self.has("probation")
            .then(|| trace("probation", direction, TraceInfo::Packet(Box::new(info)), now))
    }

    /// The event for an estimate of bandwidth.
    pub fn bandwidth(&self, info: impl FnOnce() -> BandwidthInfo, now: u64) -> Option<Event> {
        self.has("bwe")
            .then(|| trace("bwe", TraceDirection::Out, TraceInfo::Bandwidth(Box::new(info())), now))
    }

    /// The event for a request for packets.
    pub fn nack(&self, direction: TraceDirection, now: u64) -> Option<Event> {
        self.has("nack")
            .then(|| trace("nack", direction, TraceInfo::Nothing {}, now))
    }
}

fn trace(kind: &str, direction: TraceDirection, info: TraceInfo, now: u64) -> Event {
    Event::Trace(Trace {
        kind: kind.to_owned(),
        timestamp: now / 1000,
        direction,
        info,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filtered_and_dumped_in_a_fixed_order() {
        let mut events = TraceEvents::of_rtp_entity();
        events.set(&["fir".to_owned(), "nonsense".to_owned(), "nack".to_owned()]);
        assert_eq!(events.dump(), "nack,fir");
        events.set(&[]);
        assert_eq!(events.dump(), "");
        assert!(!events.any());
    }
}
