//! A producer: what a peer sends into a router.
//!
//! It finds the stream of a packet, keeps its receive state, and makes of it what all consumers share: a header with
//! the router's payload type, the mapped SSRC's position and canonical header extensions, and facts about the payload.

use channel_proto::command::Produce;
use channel_proto::event::{Event, ProducerScore, VideoOrientation};
use channel_proto::reply::{ProducerDump, RtpStreamParams, RtpStreamStats};
use channel_proto::rtp_parameters::{
    MediaKind, ProducerType, RtpCodecParameters, RtpEncodingParameters, RtpMapping, RtpParameters,
};
use smallvec::SmallVec;

use super::keys::{ConsumerKey, TransportKey};
use super::mangle::{ForwardedPacket, HeaderMangler};
use super::trace::TraceEvents;
use crate::rtp::extensions::HeaderExtensionKind;
use crate::rtp::key_frame::KeyFrameRequests;
use crate::rtp::packet::RtpHeader;
use crate::rtp::recv_stream::RecvStream;

/// A source of media inside a router.
#[derive(Debug)]
pub struct Producer {
    /// Id given by the parent.
    pub id: String,
    /// The transport that receives it.
    pub transport: TransportKey,
    /// Audio or video.
    pub kind: MediaKind,
    /// What its encodings make of it.
    pub producer_type: ProducerType,
    /// What the peer sends.
    pub rtp_parameters: RtpParameters,
    /// Its consumers, on any transport of the router.
    pub consumers: Vec<ConsumerKey>,
    /// Whether nothing is forwarded.
    pub paused: bool,
    /// Enabled trace events.
    pub trace: TraceEvents,
    /// Key frame requests that wait.
    pub key_frames: KeyFrameRequests,
    /// Whether a check for silence is in the timers.
    pub inactivity_armed: bool,
    /// When the timers will look at key frame requests.
    pub key_frame_wake: Option<u64>,
    rtp_mapping: RtpMapping,
    /// Streams by encoding index, as far as packets have come.
    streams: SmallVec<[Option<RecvStream>; 1]>,
    mangler: HeaderMangler,
    video_orientation: Option<VideoOrientation>,
}

/// The header extensions by which a transport finds the producer of a packet.
#[derive(Debug, Default, Clone, Copy)]
pub struct PacketNames<'a> {
    /// MID.
    pub mid: Option<&'a [u8]>,
    /// RID.
    pub rid: Option<&'a [u8]>,
    /// Repaired RID.
    pub repaired_rid: Option<&'a [u8]>,
}

/// What became of a packet.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a box would be an allocation per packet")]
pub enum Received {
    /// Not one of ours, or not to be used.
    Discarded,
    /// Counted; not to be forwarded.
    Counted {
        /// Index of the stream if this packet created it or woke it up.
        score_changed: Option<StreamChange>,
    },
    /// To be forwarded.
    Forward {
        /// Index of the stream if this packet created it or woke it up.
        score_changed: Option<StreamChange>,
        /// What consumers get.
        packet: ForwardedPacket,
        /// New orientation of the picture.
        orientation: Option<VideoOrientation>,
    },
}

/// Why the score of a stream changed with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamChange {
    /// The stream was created.
    New,
    /// It had been silent.
    Awake,
}

impl Producer {
    /// A producer of which nothing has arrived.
    pub fn new(id: String, transport: TransportKey, producer_type: ProducerType, produce: Produce) -> Self {
        let mangler = HeaderMangler::new(produce.kind, &produce.rtp_parameters);
        let delay = if produce.kind == MediaKind::Video {
            produce.key_frame_request_delay
        } else {
            0
        };
        Self {
            id,
            transport,
            kind: produce.kind,
            producer_type,
            streams: produce.rtp_parameters.encodings.iter().map(|_| None).collect(),
            rtp_parameters: produce.rtp_parameters,
            rtp_mapping: produce.rtp_mapping,
            consumers: Vec::new(),
            paused: produce.paused,
            trace: TraceEvents::of_rtp_entity(),
            key_frames: KeyFrameRequests::new(delay),
            inactivity_armed: false,
            key_frame_wake: None,
            mangler,
            video_orientation: None,
        }
    }

    /// Takes a packet whose bytes are plain.
    pub fn receive(&mut self, header: &RtpHeader, packet: &[u8], names: PacketNames<'_>, now: u64) -> Received {
        let Some((index, created)) = self.stream_of(header, names, now) else {
            return Received::Discarded;
        };
        let mapped_ssrc = self
            .rtp_mapping
            .encodings
            .get(index)
            .map_or(0, |encoding| encoding.mapped_ssrc);
        let Some(stream) = self.streams.get_mut(index).and_then(Option::as_mut) else {
            return Received::Discarded;
        };
        if !stream.receive(header, packet.len(), now) {
            self.forget_if(created, index);
            return Received::Discarded;
        }
        // Counted by its stream, but of a payload type that means nothing inside the router.
        let Some(mapped_payload_type) = mapped_payload_type(&self.rtp_mapping, header.payload_type) else {
            self.forget_if(created, index);
            return Received::Discarded;
        };
        let awake = header.payload_length > 0 && stream.reactivate();
        let score_changed = if created {
            Some(StreamChange::New)
        } else if awake {
            Some(StreamChange::Awake)
        } else {
            None
        };
        let payload = packet.get(header.payload_offset..header.payload_offset + header.payload_length);
        let descriptor = stream.codec.describe(payload.unwrap_or_default());
        stream.count_layers(&descriptor, packet.len(), now);
        if descriptor.is_key_frame {
            self.key_frames.received(stream.params.ssrc);
        }
        if self.paused {
            return Received::Counted { score_changed };
        }
        let key_frame_needed = stream.codec.waits_for_key_frame();
        let mut forwarded = self.mangler.mangle(header, packet, mapped_payload_type, now);
        forwarded.encoding = index;
        forwarded.mapped_ssrc = mapped_ssrc;
        forwarded.is_key_frame = descriptor.is_key_frame;
        forwarded.descriptor = descriptor;
        forwarded.key_frame_needed = key_frame_needed;
        let orientation = self.mangler.video_orientation(header, packet);
        let orientation = orientation.filter(|orientation| self.video_orientation.as_ref() != Some(orientation));
        if orientation.is_some() {
            self.video_orientation = orientation;
        }
        Received::Forward {
            score_changed,
            packet: forwarded,
            orientation,
        }
    }

    fn forget_if(&mut self, created: bool, index: usize) {
        if created && let Some(slot) = self.streams.get_mut(index) {
            *slot = None;
        }
    }

    /// Finds the stream of a packet, or creates it. The second value tells that it is new.
    fn stream_of(&mut self, header: &RtpHeader, names: PacketNames<'_>, now: u64) -> Option<(usize, bool)> {
        let known = self
            .streams
            .iter()
            .position(|stream| stream.as_ref().is_some_and(|s| s.params.ssrc == header.ssrc));
        if let Some(index) = known {
            return Some((index, false));
        }
        let encodings = &self.rtp_parameters.encodings;
        let index = if let Some(index) = encodings.iter().position(|encoding| encoding.ssrc == Some(header.ssrc)) {
            index
        } else if let Some(rid) = names.rid.or(names.repaired_rid) {
            // An unknown RID is refused; it must not fall through to the rule below.
            encodings
                .iter()
                .position(|encoding| encoding.rid.as_deref().map(str::as_bytes) == Some(rid))?
        } else if let [
            RtpEncodingParameters {
                ssrc: None, rid: None, ..
            },
        ] = encodings.as_slice()
        {
            0
        } else {
            return None;
        };
        let encoding = encodings.get(index)?;
        let codec = media_codec(&self.rtp_parameters, encoding)?;
        // Whatever the order in which a peer names its encoding (SSRC, RID): one stream each.
        let slot = self.streams.get_mut(index)?;
        if codec.payload_type != header.payload_type || slot.is_some() {
            return None;
        }
        let cname = self
            .rtp_parameters
            .rtcp
            .as_ref()
            .and_then(|rtcp| rtcp.cname.clone())
            .unwrap_or_default();
        let params = stream_params(index, header.ssrc, encoding, codec, cname);
        *slot = Some(RecvStream::new(params, now));
        Some((index, true))
    }

    /// The stream of an encoding.
    pub fn stream_mut(&mut self, index: usize) -> Option<&mut RecvStream> {
        self.streams.get_mut(index).and_then(Option::as_mut)
    }

    /// The stream of an encoding.
    pub fn stream(&self, index: usize) -> Option<&RecvStream> {
        self.streams.get(index).and_then(Option::as_ref)
    }

    /// All streams seen so far, in encoding order.
    pub fn streams_mut(&mut self) -> impl Iterator<Item = &mut RecvStream> {
        self.streams.iter_mut().flatten()
    }

    /// The stream with this SSRC.
    pub fn stream_by_ssrc(&mut self, ssrc: u32) -> Option<&mut RecvStream> {
        self.streams_mut().find(|stream| stream.params.ssrc == ssrc)
    }

    /// The encoding that consumers know by `mapped_ssrc`.
    pub fn encoding_of_mapped(&self, mapped_ssrc: u32) -> Option<usize> {
        self.rtp_mapping
            .encodings
            .iter()
            .position(|encoding| encoding.mapped_ssrc == mapped_ssrc)
    }

    /// Scores of all encodings, 0 for those not seen.
    pub fn scores(&self) -> Vec<u8> {
        self.streams
            .iter()
            .map(|stream| stream.as_ref().map_or(0, RecvStream::score))
            .collect()
    }

    /// The `score` event.
    pub fn score_event(&self) -> Event {
        let scores = self.streams.iter().flatten().map(|stream| ProducerScore {
            encoding_idx: stream.params.encoding_idx,
            ssrc: stream.params.ssrc,
            rid: stream.params.rid.clone(),
            score: stream.score(),
        });
        Event::ProducerScore(scores.collect())
    }

    /// As dumped.
    pub fn dump(&self) -> ProducerDump {
        ProducerDump {
            id: self.id.clone(),
            kind: self.kind,
            rtp_parameters: self.rtp_parameters.clone(),
            producer_type: self.producer_type,
            rtp_mapping: self.rtp_mapping.clone(),
            rtp_streams: self.streams.iter().flatten().map(RecvStream::dump).collect(),
            paused: self.paused,
            trace_event_types: self.trace.dump(),
        }
    }

    /// As in `producer.getStats`.
    pub fn stats(&mut self, now: u64) -> Vec<RtpStreamStats> {
        self.streams_mut().map(|stream| stream.stats(now)).collect()
    }
}

fn mapped_payload_type(mapping: &RtpMapping, payload_type: u8) -> Option<u8> {
    let codec = mapping.codecs.iter().find(|codec| codec.payload_type == payload_type)?;
    Some(codec.mapped_payload_type)
}

/// The media codec of an encoding.
pub fn media_codec<'a>(
    parameters: &'a RtpParameters,
    encoding: &RtpEncodingParameters,
) -> Option<&'a RtpCodecParameters> {
    match encoding.codec_payload_type {
        Some(payload_type) => parameters
            .codecs
            .iter()
            .find(|codec| codec.payload_type == payload_type),
        None => parameters.codecs.iter().find(|codec| codec.is_media()),
    }
}

/// What codec and encoding say about a stream.
pub fn stream_params(
    index: usize,
    ssrc: u32,
    encoding: &RtpEncodingParameters,
    codec: &RtpCodecParameters,
    cname: String,
) -> RtpStreamParams {
    RtpStreamParams {
        encoding_idx: index as u32,
        ssrc,
        payload_type: codec.payload_type,
        mime_type: codec.mime_type.clone(),
        clock_rate: codec.clock_rate,
        rid: encoding.rid.clone(),
        cname,
        rtx_ssrc: None,
        rtx_payload_type: None,
        use_nack: codec.has_feedback("nack", ""),
        use_pli: codec.has_feedback("nack", "pli"),
        use_fir: codec.has_feedback("ccm", "fir"),
        use_in_band_fec: codec.integer_parameter("useinbandfec") == Some(1),
        use_dtx: codec.integer_parameter("usedtx") == Some(1) || encoding.dtx,
        spatial_layers: encoding.spatial_layers(),
        temporal_layers: encoding.temporal_layers(),
    }
}

/// The id of a header extension among a sender's parameters; of a repeated one the first counts.
pub fn extension_id(parameters: &RtpParameters, kind: HeaderExtensionKind) -> Option<u8> {
    parameters
        .header_extensions
        .iter()
        .find(|extension| HeaderExtensionKind::from_uri(&extension.uri) == Some(kind))
        .map(|extension| extension.id)
}
