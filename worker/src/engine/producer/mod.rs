//! A producer: what a peer sends into a router.
//!
//! It finds the stream of a packet, keeps its receive state, and makes of it what all consumers share: a header with
//! the router's payload type, the mapped SSRC's position and canonical header extensions, and facts about the payload.

mod kept;

use channel_proto::command::Produce;
use channel_proto::event::{Event, ProducerScore, VideoOrientation};
use channel_proto::reply::{ProducerDump, RtpStreamParams, RtpStreamStats, RtxStreamParams};
use channel_proto::rtp_parameters::{
    MediaKind, ProducerType, RtpCodecParameters, RtpEncodingParameters, RtpMapping, RtpParameters,
};
use smallvec::SmallVec;

use super::keys::{ConsumerKey, ObserverKey, TransportKey};
use super::mangle::{ForwardedPacket, HeaderMangler, StoredHeader};
use super::trace::TraceEvents;
use crate::rtp::codec::{Codec, PayloadDescriptor};
use crate::rtp::extensions::HeaderExtensionKind;
use crate::rtp::key_frame::KeyFrameRequests;
use crate::rtp::packet::RtpHeader;
use crate::rtp::recv_stream::RecvStream;
use crate::rtp::retransmission::PacketStore;

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
    /// Who listens to it.
    pub observers: Vec<ObserverKey>,
    /// Whether nothing is forwarded.
    pub paused: bool,
    /// Enabled trace events.
    pub trace: TraceEvents,
    /// Key frame requests that wait.
    pub key_frames: KeyFrameRequests,
    /// Whether a check for silence is in the timers.
    pub inactivity_armed: bool,
    /// A stream fell silent while others went on.
    pub stream_vanished: bool,
    /// A spatial layer is not there any more while others of its stream are.
    pub layer_vanished: bool,
    /// When the timers will look at key frame requests.
    pub key_frame_wake: Option<u64>,
    /// When the timers will look at missing packets.
    pub nack_wake: Option<u64>,
    /// Packets of all its streams, for consumers whose peers ask for them again.
    store: Option<Box<PacketStore<StoredHeader>>>,
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

/// A packet that a stream of a producer has taken.
#[derive(Debug)]
pub struct Received {
    /// What the packet did to its stream, if that is of interest to others.
    pub change: Option<StreamChange>,
    /// Its header; of a retransmission, that of the packet which it repeats.
    pub header: RtpHeader,
    /// Whether it came as a retransmission.
    pub is_rtx: bool,
    /// Bytes of it; of a retransmission, those of the packet which it repeats.
    pub size: usize,
    /// What consumers get, unless it is only counted.
    pub forward: Option<Forward>,
}

/// A packet to be forwarded.
#[derive(Debug)]
pub struct Forward {
    /// What consumers get.
    pub packet: ForwardedPacket,
    /// New orientation of the picture.
    pub orientation: Option<VideoOrientation>,
}

/// What a packet did to its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamChange {
    /// The stream was created.
    New,
    /// It had been silent.
    Awake,
    /// Its retransmission stream was found.
    Repairable,
}

/// A share of packets lost that is much, in 1/256: 2 %.
const MUCH_LOST: u8 = 5;

/// Where a packet belongs.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// A media stream, by encoding.
    Media { index: usize, created: bool },
    /// The stream that repairs one.
    Rtx { index: usize, created: bool },
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
            observers: Vec::new(),
            paused: produce.paused,
            trace: TraceEvents::of_rtp_entity(),
            key_frames: KeyFrameRequests::new(delay),
            inactivity_armed: false,
            stream_vanished: false,
            layer_vanished: false,
            key_frame_wake: None,
            nack_wake: None,
            store: None,
            mangler,
            video_orientation: None,
        }
    }

    /// Takes a packet whose bytes are plain. None: it is not one of ours, or not to be used.
    pub fn receive(&mut self, header: &RtpHeader, packet: &[u8], names: PacketNames<'_>, now: u64) -> Option<Received> {
        match self.place(header, names, now)? {
            Place::Media { index, created } => {
                let received = self.receive_media(index, created, header, packet, now);
                if created && received.is_none() {
                    *self.streams.get_mut(index)? = None;
                }
                received
            }
            Place::Rtx { index, created } => self.receive_rtx(index, created, header, packet, now),
        }
    }

    fn receive_media(
        &mut self,
        index: usize,
        created: bool,
        header: &RtpHeader,
        packet: &[u8],
        now: u64,
    ) -> Option<Received> {
        let stream = self.streams.get_mut(index)?.as_mut()?;
        if !stream.receive(header, packet.len(), now) {
            return None;
        }
        // Counted by its stream, but of a payload type that means nothing inside the router.
        mapped_payload_type(&self.rtp_mapping, header.payload_type)?;
        let descriptor = describe(stream, &self.mangler, header, packet);
        // Packets of padding end no picture.
        let ends_picture = header.marker && header.payload_length > 0;
        self.layer_vanished |= ends_picture && stream.note_picture();
        stream.count_layers(&descriptor, packet.len(), now);
        stream.note_arrival(header.sequence_number, descriptor.is_key_frame, now);
        let change = if created {
            Some(StreamChange::New)
        } else {
            wake(stream, header, now)
        };
        if ends_picture && self.kind == MediaKind::Video {
            self.others_go_on(index, now);
        }
        Some(Received {
            change,
            header: *header,
            is_rtx: false,
            size: packet.len(),
            forward: self.forward(index, header, packet, descriptor, now),
        })
    }

    /// A picture of one stream is complete: do the others go on too?
    fn others_go_on(&mut self, index: usize, now: u64) {
        for (other, stream) in self.streams.iter_mut().enumerate() {
            if let Some(stream) = stream.as_mut().filter(|_| other != index) {
                self.stream_vanished |= stream.note_picture_of_another(now);
            }
        }
    }

    fn receive_rtx(
        &mut self,
        index: usize,
        created: bool,
        header: &RtpHeader,
        packet: &[u8],
        now: u64,
    ) -> Option<Received> {
        let stream = self.streams.get_mut(index)?.as_mut()?;
        let mut received = Received {
            change: created.then_some(StreamChange::Repairable),
            header: *header,
            is_rtx: true,
            size: packet.len(),
            forward: None,
        };
        let Some(original) = stream.receive_rtx(header, packet, now) else {
            return Some(received);
        };
        received.header = original;
        received.size = original.payload_offset - 2 + original.payload_length;
        let descriptor = describe(stream, &self.mangler, &original, packet);
        if stream.repair(&original, received.size, descriptor.is_key_frame, now) {
            stream.count_layers(&descriptor, received.size, now);
            received.change = received.change.or(wake(stream, &original, now));
            received.forward = self.forward(index, &original, packet, descriptor, now);
        }
        Some(received)
    }

    /// What consumers get of a packet of a stream.
    fn forward(
        &mut self,
        index: usize,
        header: &RtpHeader,
        packet: &[u8],
        descriptor: PayloadDescriptor,
        now: u64,
    ) -> Option<Forward> {
        let begins_anew = self.streams.get_mut(index)?.as_mut()?.take_began_anew();
        let stream = self.streams.get(index)?.as_ref()?;
        if descriptor.is_key_frame {
            self.key_frames.received(stream.params.ssrc);
        }
        if self.paused {
            return None;
        }
        let key_frame_needed = self.waits_for_key_frame(stream);
        let captured_at = stream.captured_at(header.timestamp, now);
        let mapped_payload_type = mapped_payload_type(&self.rtp_mapping, header.payload_type)?;
        let mut forwarded = self.mangler.mangle(header, packet, mapped_payload_type, now);
        forwarded.encoding = index;
        forwarded.mapped_ssrc = self
            .rtp_mapping
            .encodings
            .get(index)
            .map_or(0, |encoding| encoding.mapped_ssrc);
        forwarded.is_key_frame = descriptor.is_key_frame;
        forwarded.descriptor = descriptor;
        forwarded.key_frame_needed = key_frame_needed;
        forwarded.begins_anew = begins_anew;
        forwarded.captured_at = captured_at;
        let orientation = self.mangler.video_orientation(header, packet);
        let orientation = orientation.filter(|orientation| self.video_orientation.as_ref() != Some(orientation));
        if orientation.is_some() {
            self.video_orientation = orientation;
        }
        Some(Forward {
            packet: forwarded,
            orientation,
        })
    }

    /// Whether packets of the sender are lost, so that some for it are too.
    pub fn loses_much(&self) -> bool {
        let streams = self.streams.iter().flatten();
        streams.map(RecvStream::fraction_lost).max() >= Some(MUCH_LOST)
    }

    /// The audio level that a packet carries: 0 (loudest) to 127.
    pub fn audio_level(&self, header: &RtpHeader, packet: &[u8]) -> Option<u8> {
        self.mangler.audio_level(header, packet)
    }

    /// Whether receivers of a stream begin with a key frame; of AV1 only the dependency descriptor tells which is one.
    fn waits_for_key_frame(&self, stream: &RecvStream) -> bool {
        stream.codec.waits_for_key_frame() || (stream.codec == Codec::Av1 && self.mangler.describes_dependencies())
    }

    /// Finds the stream of a packet, or creates it.
    fn place(&mut self, header: &RtpHeader, names: PacketNames<'_>, now: u64) -> Option<Place> {
        for (index, stream) in self.streams.iter().enumerate() {
            let Some(stream) = stream else { continue };
            if stream.params.ssrc == header.ssrc {
                return Some(Place::Media { index, created: false });
            }
            if stream.rtx_ssrc() == Some(header.ssrc) {
                return Some(Place::Rtx { index, created: false });
            }
        }
        let (index, is_rtx) = self.encoding_of(header, names)?;
        let encoding = self.rtp_parameters.encodings.get(index)?;
        let codec = media_codec(&self.rtp_parameters, encoding)?;
        let slot = self.streams.get_mut(index)?;
        if is_rtx {
            let codec = rtx_codec(&self.rtp_parameters, codec.payload_type)?;
            // It repairs a stream that there is, and each has one repairer.
            let stream = slot.as_mut()?;
            let rrid = names.repaired_rid.or(names.rid);
            let params = RtxStreamParams {
                ssrc: header.ssrc,
                payload_type: codec.payload_type,
                mime_type: codec.mime_type.clone(),
                clock_rate: codec.clock_rate,
                rrid: rrid.map(|rrid| String::from_utf8_lossy(rrid).into_owned()),
                cname: stream.params.cname.clone(),
            };
            return stream.attach_rtx(params).then_some(Place::Rtx { index, created: true });
        }
        // Whatever the order in which a peer names its encoding (SSRC, RID): one stream each.
        if slot.is_some() {
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
        Some(Place::Media { index, created: true })
    }

    /// The encoding of a packet with an unknown SSRC, and whether it is one of its retransmission stream.
    fn encoding_of(&self, header: &RtpHeader, names: PacketNames<'_>) -> Option<(usize, bool)> {
        let parameters = &self.rtp_parameters;
        let encodings = &parameters.encodings;
        let find = |wanted: &dyn Fn(&RtpEncodingParameters) -> bool| encodings.iter().position(wanted);
        // What it is by its payload type; neither is no answer.
        let is_rtx = |index: usize| {
            let media = media_codec(parameters, encodings.get(index)?)?.payload_type;
            let rtx = rtx_codec(parameters, media).map(|codec| codec.payload_type);
            match header.payload_type {
                payload_type if payload_type == media => Some((index, false)),
                payload_type if Some(payload_type) == rtx => Some((index, true)),
                _ => None,
            }
        };
        if let Some(index) = find(&|encoding| encoding.ssrc == Some(header.ssrc)) {
            return is_rtx(index).filter(|(_, is_rtx)| !is_rtx);
        }
        if let Some(index) = find(&|encoding| encoding.rtx.and_then(|rtx| rtx.ssrc) == Some(header.ssrc)) {
            return is_rtx(index).filter(|(_, is_rtx)| *is_rtx);
        }
        if let Some(rid) = names.rid.or(names.repaired_rid) {
            // An unknown RID is refused; it must not fall through to the rule below.
            return is_rtx(find(&|encoding| {
                encoding.rid.as_deref().map(str::as_bytes) == Some(rid)
            })?);
        }
        match encodings.as_slice() {
            [
                RtpEncodingParameters {
                    ssrc: None, rid: None, ..
                },
            ] => is_rtx(0),
            _ => None,
        }
    }

    /// Whether a NACK may be due, or its timer is not set though it should be.
    pub fn nack_is_waiting(&self) -> bool {
        self.streams.iter().flatten().any(|stream| {
            stream
                .nack
                .as_ref()
                .is_some_and(|nack| nack.is_waiting() || self.nack_wake.is_none() && nack.next_round().is_some())
        })
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

    /// The stream that has this SSRC or is repaired by that one.
    pub fn stream_by_any_ssrc(&mut self, ssrc: u32) -> Option<&mut RecvStream> {
        self.streams_mut()
            .find(|stream| stream.params.ssrc == ssrc || stream.rtx_ssrc() == Some(ssrc))
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

/// What a packet tells about its payload, if it is of the stream's codec.
fn describe(stream: &mut RecvStream, mangler: &HeaderMangler, header: &RtpHeader, packet: &[u8]) -> PayloadDescriptor {
    if header.payload_type != stream.params.payload_type {
        return PayloadDescriptor::default();
    }
    let descriptor = stream.codec.describe(header.payload(packet));
    match stream.codec {
        Codec::H264 => match mangler.frame_marking(header, packet) {
            Some(value) => descriptor.marked(value),
            None => descriptor,
        },
        Codec::Av1 => mangler
            .dependency_descriptor(header, packet)
            .and_then(|value| stream.dependencies.read(value))
            .unwrap_or_default(),
        _ => descriptor,
    }
}

fn wake(stream: &mut RecvStream, header: &RtpHeader, now: u64) -> Option<StreamChange> {
    (header.payload_length > 0 && stream.reactivate(now)).then_some(StreamChange::Awake)
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

/// The codec by which a media codec is repaired.
pub fn rtx_codec(parameters: &RtpParameters, payload_type: u8) -> Option<&RtpCodecParameters> {
    parameters
        .codecs
        .iter()
        .find(|codec| codec.is_rtx() && codec.integer_parameter("apt") == Some(i64::from(payload_type)))
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
