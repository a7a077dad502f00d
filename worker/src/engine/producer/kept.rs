//! Packets that a producer keeps: for those who ask for them again, and for consumers that begin with a key frame of
//! which parts came before its first packet.

use channel_proto::rtp_parameters::MediaKind;
use smallvec::SmallVec;

use super::Producer;
use crate::engine::mangle::ForwardedPacket;
use crate::rtp::codec::Codec;
use crate::rtp::extensions;
use crate::rtp::packet::RtpHeader;
use crate::rtp::retransmission::PacketStore;

/// How long packets are kept for those who ask for them again, in microseconds.
const VIDEO_AGE: u64 = 2_000_000;
const AUDIO_AGE: u64 = 1_000_000;
/// How many bytes of them: at these ages 16 and 2 Mbit/s.
const VIDEO_BYTES: usize = 4 << 20;
const AUDIO_BYTES: usize = 256 << 10;

/// How many packets before the first one of a key frame are looked at for packets that follow it. If that one was lost, it
/// comes a round trip later: a tenth of a second is 40 packets at 4 Mbit/s, and there may be other streams.
const MAX_OVERTAKEN_ARRIVALS: u32 = 256;
/// How far ahead of it they may be. A key frame of three spatial layers has some 50 packets.
const MAX_OVERTAKERS: u16 = 128;

impl Producer {
    /// Keeps a packet that is to be forwarded; `received` is the packet that came in. Returns its number.
    pub fn store(&mut self, packet: &ForwardedPacket, received: &[u8], now: u64) -> Option<u32> {
        let kind = self.kind;
        let store = self.store.get_or_insert_with(|| {
            Box::new(match kind {
                MediaKind::Audio => PacketStore::new(AUDIO_AGE, AUDIO_BYTES),
                MediaKind::Video => PacketStore::new(VIDEO_AGE, VIDEO_BYTES),
            })
        });
        packet.store(received, store, now)
    }

    /// Forgets all packets, since nobody can ask for them.
    pub fn clear_store(&mut self) {
        if let Some(store) = &mut self.store {
            store.clear();
        }
    }

    /// Number of the oldest packet that is kept.
    pub fn oldest_stored(&self) -> u32 {
        self.store.as_ref().map_or(0, |store| store.oldest())
    }

    /// A packet that is kept, and the bytes that take the place of the packet that came in.
    pub fn stored(&self, number: u32, now: u64) -> Option<(ForwardedPacket, &[u8])> {
        let (bytes, facts) = self.store.as_ref()?.get(number, now)?;
        Some((ForwardedPacket::restore(bytes, facts)?, bytes))
    }

    /// A packet that is kept, with the facts by which consumers decide, by what is known of its stream now.
    pub fn stored_whole(&self, number: u32, now: u64) -> Option<(ForwardedPacket, &[u8])> {
        let (mut packet, bytes) = self.stored(number, now)?;
        let header = RtpHeader::parse(bytes).ok()?;
        let (index, stream) = self
            .streams
            .iter()
            .enumerate()
            .find_map(|(index, stream)| Some((index, stream.as_ref().filter(|s| s.params.ssrc == header.ssrc)?)))?;
        packet.encoding = index;
        packet.mapped_ssrc = self
            .rtp_mapping
            .encodings
            .get(index)
            .map_or(0, |encoding| encoding.mapped_ssrc);
        packet.sequence_number = header.sequence_number;
        packet.timestamp = header.timestamp;
        packet.marker = header.marker;
        packet.captured_at = stream.captured_at(header.timestamp, now);
        packet.descriptor = match stream.codec {
            Codec::Av1 => header
                .extension(bytes, extensions::DEPENDENCY_DESCRIPTOR)
                .and_then(|value| stream.dependencies.read_again(value))
                .unwrap_or_default(),
            codec => codec.describe(header.payload(bytes)),
        };
        packet.is_key_frame = packet.descriptor.is_key_frame;
        packet.key_frame_needed = self.waits_for_key_frame(stream);
        Some((packet, bytes))
    }

    /// Packets of the same stream that came shortly before `packet` (kept as `number`) but follow it: by how much, and
    /// their numbers.
    pub fn overtakers(&self, packet: &ForwardedPacket, number: u32, now: u64) -> SmallVec<[(u16, u32); 8]> {
        let (Some(store), Some(stream)) = (&self.store, self.stream(packet.encoding)) else {
            return SmallVec::new();
        };
        let mut overtakers: SmallVec<[(u16, u32); 8]> = (1..=MAX_OVERTAKEN_ARRIVALS)
            .map(|back| number.wrapping_sub(back))
            .take_while(|number| number.wrapping_sub(store.oldest()) < 1 << 31)
            .filter_map(|number| {
                let header = RtpHeader::parse(store.get(number, now)?.0).ok()?;
                let ahead = header.sequence_number.wrapping_sub(packet.sequence_number);
                let follows = header.ssrc == stream.params.ssrc && (1..=MAX_OVERTAKERS).contains(&ahead);
                follows.then_some((ahead, number))
            })
            .collect();
        overtakers.sort_unstable();
        overtakers
    }
}
